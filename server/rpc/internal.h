/* server/rpc/internal.h - what the files of the call runtime know of each other.
 *
 * README.md has the picture: who owns a call when, and who frees it. In short:
 *
 *   intake   the queue thread and the interceptors own the call
 *   handled  its home owns it: the loop thread, or the queue thread for inline methods
 *   over     the core has let go; ended() runs at home and the call is recycled
 *
 * Must not be included outside server/rpc.
 */
#ifndef WAYMARK_SERVER_RPC_INTERNAL_H
#define WAYMARK_SERVER_RPC_INTERNAL_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/slice.h>

#include "server/rpc/busy_poll.h"
#include "server/rpc/rpc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The status text and the serialized google.rpc.Status of an error (status.c). `violations` are
 * the fields that are wrong; without any, `err` speaks for itself. `domain` is at most
 * RPC_DOMAIN_SIZE - 1 long. */
void rpc_status_pack(const wm_err *err, const wm_err *violations, size_t n_violations,
                     const char *domain, uint64_t call_id, grpc_slice *message,
                     grpc_slice *details);

/* Whose connection it is (places.c): a peer without its port, of IPv6 the /64. */
enum { RPC_ADDRESS_SIZE = 64 };
void rpc_address_of(const char *peer, char address[RPC_ADDRESS_SIZE]);

#ifdef __cplusplus
}
#else

#include <stdatomic.h>

enum {
    /* Debian builds the core with assertions, and each completion then searches the list of all
     * tags that are out: more slots cost every call (docs/performance.md). */
    RPC_SLOTS_DEFAULT = 16,
    RPC_CALLS_MAX_DEFAULT = 10000,
    RPC_OPEN_CALLS_MAX_DEFAULT = 4000,
    RPC_OPEN_PART = 4, /* one address has a fourth of them */
    RPC_ANSWER_MS_DEFAULT = 60000,
    RPC_ANSWER_BYTES_PER_S = 16 * 1024, /* a large answer has a second more for each of these */
    RPC_LEAVING_MIN = 1024, /* answers may be on their way, also where calls_max is less */
    RPC_MEMORY_MAX_DEFAULT = 64 * 1024 * 1024,
    RPC_FREE_CALLS_MAX = 512, /* recycled calls kept per lane */
    RPC_CHECK_MS = 400,       /* between two looks at each open stream */
    RPC_END_WAIT_MS = 1000,   /* how long a status waits behind a message that does not leave */
    RPC_TRIM_CALLS = 1000,    /* after a peak of so many calls memory is given back, */
    RPC_TRIM_FIRST_MS = 2000, /* soon, */
    RPC_TRIM_LAST_MS = 20000, /* and once more, since the core frees in its own time */
    RPC_LINGER_MS = 100,      /* between the last reply of a drain and the end of its connection */
    RPC_CLOSE_MS = 10,        /* in which the connections' own threads close them */
    RPC_STOP_WAIT_MS = 30000, /* how long drain waits for handlers that were cancelled */
    RPC_STUCK_CALLS_MAX = 20, /* that it names before it gives up */
    RPC_STREAMS_MAX_DEFAULT = 16384,
    RPC_METADATA_SIZE_MAX_DEFAULT = 32 * 1024, /* tokens can be long */
    RPC_LIMIT_TICK_MS = 10,                    /* how exactly wait_max_ms is kept */
    RPC_REPLY_METADATA_MAX = 8
};

/* Something the core will report on a completion queue; its address is the tag. */
typedef struct rpc_event rpc_event;
struct rpc_event {
    void (*run)(rpc_event *event, bool ok); /* on the queue thread */
    /* Written before the operation is handed to the core and read when it comes back: the
     * order between the two threads, in terms that the C memory model (and TSan) knows. */
    atomic_uint handed;
};

typedef struct rpc_limiter rpc_limiter;
typedef struct rpc_limits rpc_limits;

/* A method as it is served. */
typedef struct rpc_binding {
    const wm_method *method;
    const rpc_handler *handler;
    void *ctx;
    void *registered;     /* the core's name of it */
    rpc_limiter *limiter; /* NULL: no limit of its own */
    bool uncounted;       /* answers whatever else is going on: Health/Check */
    bool is_open;         /* other calls for which nobody needs a token: health, reflection */
    bool compresses;      /* replies, for clients that accept it */
} rpc_binding;

typedef struct rpc_slot rpc_slot;
typedef struct rpc_stream rpc_stream;

typedef struct rpc_place_address rpc_place_address;

/* Answered calls whose final batch is not done, as they were answered. */
typedef struct rpc_leaving {
    rpc_call *first;
    size_t n, max;
} rpc_leaving;

/* What is bounded of a lane (places.c). */
typedef struct rpc_places {
    uv_mutex_t mutex;             /* of what follows */
    size_t n_working;             /* counted calls without an answer, at most server->calls_max */
    size_t n_open;                /* calls of open methods without an answer */
    rpc_place_address *addresses; /* that have any */
    rpc_leaving results;          /* what was asked for */
    rpc_leaving others;           /* what anybody can make us say */
    uint64_t n_cut;
    /* Constant. */
    size_t open_max, open_address_max;
    int64_t answer_us;
} rpc_places;

/* A lane as the runtime sees it. */
typedef struct rpc_queue {
    rpc_server *server;
    lane *lane;
    grpc_completion_queue *core;
    uv_thread_t thread;
    bool started;
    rpc_slot *slots;
    size_t n_slots;
    atomic_size_t slots_armed; /* from which calls may still come; none once the core has stopped */
    /* Calls at rest: `free_calls` is the queue thread's, `returned` is where loops push. */
    rpc_call *free_calls;
    size_t n_free_calls;
    _Atomic(rpc_call *) returned;
    atomic_size_t calls;         /* not yet over, whether counted or not */
    atomic_size_t calls_on_loop; /* of them, unary ones that were given to a handler there */
    atomic_size_t calls_peak;    /* most of them since memory was given back */
    /* Every call that was allocated, at rest or not: what drain looks through. */
    uv_mutex_t all_mutex;
    rpc_call *all;
    rpc_places places;
    struct {
        atomic_size_t streams;
        atomic_ullong received_messages, received_bytes, sent_messages, sent_bytes;
        atomic_ullong refused_busy, refused_stopping;
        atomic_ullong busy_waits_found, busy_waits_in_vain;
    } stats;
    uint64_t next_id;
    /* The queue thread's. */
    rpc_busy_poll busy_poll;
    bool has_handed_over; /* something to the loop, since it last waited */
    /* The loop's: open streams and the timer that looks at them. */
    rpc_stream *streams;
    uv_timer_t check_timer;
    uv_sem_t timer_closed;
    bool stopping; /* the loop's: streams are being ended */
    lane_job trim_job;
    unsigned trim_ticks; /* looks of the timer since the peak was left; 0: no peak */
    bool is_trimming, is_timer_closed;
} rpc_queue;

typedef struct rpc_tls rpc_tls;
typedef struct rpc_adoption rpc_adoption;
typedef struct rpc_health rpc_health;
typedef struct rpc_reflection rpc_reflection;

struct rpc_server {
    grpc_server *core;
    grpc_resource_quota *quota;
    rpc_queue *queues;
    size_t n_queues;
    rpc_service *services; /* the built-in ones too */
    size_t n_services;
    rpc_binding *bindings; /* all methods of all services */
    size_t n_bindings;
    rpc_interceptor **interceptors;
    size_t n_interceptors;
    size_t slots_per_method, calls_max, message_size_max;
    char error_domain[RPC_DOMAIN_SIZE];
    uint32_t stop_wait_ms;
    rpc_limits *limits;     /* NULL: no method has one */
    rpc_tls *tls;           /* of all TLS listeners */
    rpc_adoption *adoption; /* of connections of the gate */
    int *ports;
    size_t n_ports;
    uint64_t id_prefix;
    uint64_t trace_seed; /* first half of the ids of traces that begin here */
    rpc_health *health;
    rpc_reflection *reflection;
    /* Draining: set by drain, signalled by queue threads and loops. */
    atomic_bool draining;
    rpc_event core_stopped;
    uv_mutex_t mutex;
    uv_cond_t changed;
    bool is_core_stopped;
};

typedef enum rpc_stage {
    RPC_STARTING,  /* interceptors: started() */
    RPC_ADMITTING, /* waits for its method's limit */
    RPC_DECODING,  /* waits for the first message of a client stream */
    RPC_REQUESTED, /* interceptors: requested() */
    RPC_HANDLED    /* given to the handler */
} rpc_stage;

struct rpc_call {
    grpc_call *core;
    rpc_queue *queue;
    const rpc_binding *binding;
    rpc_stream *stream; /* NULL for unary methods */
    uint64_t id;
    int64_t start_us, deadline_us;
    grpc_metadata_array metadata;
    grpc_byte_buffer *received; /* the first message until it is decoded */
    ProtobufCMessage *request;  /* the first message after that */
    char *peer;
    void *data;
    void *principal;
    void (*principal_release)(void *principal);
    const char *subject;
    const char *namespace_name;
    int32_t namespace_id;
    rpc_stage stage;
    /* limits.c; under the limiter's mutex while the call waits. */
    rpc_call *limit_next, *limit_prev;
    int64_t limit_until_us;
    enum { RPC_LIMIT_NONE, RPC_LIMIT_WAITS, RPC_LIMIT_HELD, RPC_LIMIT_EXPIRED } limit;
    /* places.c; under the mutex of the queue's places. */
    rpc_call *place_next, *place_prev;
    int64_t answered_us, leave_until_us;
    enum { RPC_PLACE_NONE, RPC_PLACE_WORKING, RPC_PLACE_OPEN, RPC_PLACE_LEAVING } place;
    rpc_place_address *place_address; /* of an OPEN one */
    rpc_leaving *leaving;             /* of a LEAVING one */
    bool is_cut;                      /* the answer did not leave, though the core says so */
    size_t interceptor;               /* the next one to ask */
    bool on_loop;                     /* home: the loop thread, else the queue thread */
    bool is_counted_on_loop;          /* in queue->calls_on_loop */
    bool opened;                      /* the handler knows of the call */
    bool is_initial_metadata_sent;
    bool is_close_armed;
    /* Completions still to come before the core has let go: the queue thread's. */
    unsigned core_parts;
    int close_cancelled; /* written by the core */

    atomic_bool ended;     /* somebody has answered */
    atomic_bool cancelled; /* the client is gone, or the call was aborted */
    atomic_bool is_cancel_posted;
    _Atomic(wm_err *) abort_err; /* in the arena */

    /* The answer, from claim to the end. */
    wm_code code;
    grpc_slice message, details;
    grpc_byte_buffer *reply;
    grpc_metadata *initial, *trailing; /* in the arena; room for RPC_REPLY_METADATA_MAX */
    size_t n_initial, n_trailing;

    rpc_event on_resumed, on_first_read, on_closed, on_final;
    lane_msg home_msg; /* first: handle; last: over. Never both at once */
    lane_msg cancel_msg;
    rpc_call *next_free;
    atomic_bool is_live; /* taken and not yet over */
    /* From here on nothing is cleared when the call is taken again. */
    wm_arena arena;
    rpc_call *all_next, *all_prev; /* in queue->all */
};

/* What only streams have. All fields are the loop's, but for those the core writes. */
struct rpc_stream {
    rpc_call *call;
    rpc_stream *next, *prev; /* in queue->streams */
    bool is_listed;
    bool is_first_pending; /* the first message waits for the first rpc_read() */
    bool is_reading, is_read_wanted, is_in_message, is_half_closed;
    bool is_writing;
    bool is_ending, is_final_started;
    bool is_core_done;
    int64_t ending_since_us;
    grpc_byte_buffer *sending, *received;
    ProtobufCMessage *message;
    enum { RPC_READ_MESSAGE, RPC_READ_HALF_CLOSE, RPC_READ_GONE, RPC_READ_BAD } read;
    wm_err read_err;
    rpc_event on_read, on_written;
    lane_msg read_msg, written_msg, end_msg;
    wm_arena arena; /* of the message being delivered */
};

/* ---- server.c ---- */
void rpc_server_changed(rpc_server *server); /* wakes drain */

/* ---- arguments.c: what the core is told about connections ---- */
void rpc_core_create(rpc_server *server, const rpc_config *config);

/* ---- limits.c: calls in flight of one method ---- */
/* Does `pattern` (see rpc_limit.method) name the method? 0: no; else how precisely. */
size_t rpc_pattern_match(const char *pattern, const wm_method *method);
/* Gives bindings their limiters. OPTION_INVALID when a name fits no method. */
WM_MUST_USE wm_code rpc_limits_new(rpc_server *server, const rpc_config *config, wm_err *err);
void rpc_limits_free(rpc_server *server); /* no lane's loop may be inside */
/* Queue thread. True: the call has its place. False: it waits, and goes on by on_resumed, or
 * was refused. */
WM_MUST_USE bool rpc_limit_enter(rpc_call *call);
/* Queue thread, when a call that waited goes on. False: it was refused. */
WM_MUST_USE bool rpc_limit_resumed(rpc_call *call);
/* Queue thread, when the client has gone. True: the call was waiting and has been ended. */
bool rpc_limit_cancelled(rpc_call *call);
/* Whoever ends the call, before the final batch starts: a client that has its answer finds the
 * place free. */
void rpc_limit_leave(rpc_call *call);

/* ---- places.c: calls at work in a lane, and answers on their way ---- */
void rpc_places_init(rpc_queue *queue, const rpc_config *config);
void rpc_places_free(rpc_queue *queue);
/* Queue thread. False: too many calls are at work, or open. */
WM_MUST_USE bool rpc_place_enter(rpc_call *call);
/* Whoever ends the call, before the final batch starts. `answer` is what has still to be sent, or
 * NULL. May cut the answer of another call. */
void rpc_place_answered(rpc_call *call, grpc_byte_buffer *answer);
/* Queue thread: the final batch is done. */
void rpc_place_left(rpc_call *call);
void rpc_places_check(rpc_queue *queue);   /* loop: the timer; cuts answers whose time is over */
uint64_t rpc_places_cut(rpc_queue *queue); /* answers that were, ever */

/* ---- tls.c ---- */
WM_MUST_USE wm_code rpc_tls_new(rpc_server *server, const rpc_listener *listener,
                                grpc_server_credentials **made, wm_err *err);
void rpc_tls_free_all(rpc_server *server);

/* ---- adopt.c: connections of the gate ---- */
void rpc_adoption_init(rpc_server *server);
void rpc_adoption_free(rpc_server *server);
/* The peer's own name in place of the core's, which is gpr_free()d when it is another. */
char *rpc_adoption_peer(rpc_server *server, char *core_peer);

/* ---- slot.c: from the core's queue to a call ---- */
extern const rpc_binding rpc_unknown_binding; /* of methods that nobody registered */
WM_MUST_USE wm_code rpc_slots_start(rpc_queue *queue, wm_err *err);
void rpc_slots_free(rpc_queue *queue);

/* ---- queue.c: the queue thread ---- */
void rpc_queue_main(void *queue);
/* Queue thread: the loop goes on with what has come. */
void rpc_hand_over(rpc_queue *queue, lane_msg *msg);
/* Hands `ops` to the core; the completion runs event->run on the queue thread. */
void rpc_start_batch(grpc_call *core, const grpc_op *ops, size_t n, rpc_event *event);

/* ---- deadlock.c ---- */
void rpc_deadlock_check_off(void); /* before the core takes its first lock */

/* ---- call.c: the life of a call ---- */
rpc_call *rpc_call_take(rpc_queue *queue, const rpc_binding *binding, grpc_call *core);
void rpc_call_begin(rpc_call *call); /* queue thread: runs the intake */
void rpc_call_free_all(rpc_queue *queue);
/* At home, when nothing of the core refers to the call any more. */
void rpc_call_over(rpc_call *call);
/* Sends cancelled() on its way, once. */
void rpc_call_cancel(rpc_call *call);
/* Has the core tell when the client goes. */
void rpc_call_arm_close(rpc_call *call);
/* Logs the calls that have not ended, a few of them by name. */
void rpc_calls_log(rpc_queue *queue);

/* ---- message.c ---- */
WM_MUST_USE wm_code rpc_call_decode(rpc_call *call, wm_arena *arena, grpc_byte_buffer *bytes,
                                    ProtobufCMessage **message, wm_err *err);
/* NULL, with err, when it is too big. */
grpc_byte_buffer *rpc_call_pack(rpc_call *call, const ProtobufCMessage *message, wm_err *err);

/* ---- answer.c ---- */
/* Fixes who ends the call; ends the process when somebody has already. */
void rpc_call_claim(rpc_call *call);
void rpc_call_set_status(rpc_call *call, const wm_err *err);
/* Starts the batch that ends the call. */
void rpc_call_final(rpc_call *call);
/* The operation that sends initial metadata. */
void rpc_initial_metadata_op(rpc_call *call, grpc_op *op);

/* ---- stream.c ---- */
rpc_stream *rpc_stream_new(rpc_call *call);
void rpc_stream_free(rpc_stream *stream);
void rpc_stream_open(rpc_stream *stream);      /* loop: lists it */
void rpc_stream_end(rpc_stream *stream);       /* any thread: the answer is known */
void rpc_stream_core_done(rpc_stream *stream); /* loop: closed and final batch done */
void rpc_streams_check(rpc_queue *queue);      /* loop: the timer */
void rpc_streams_stop(rpc_queue *queue);       /* loop: aborts all */

/* ---- wake.c ---- */
void rpc_wake_core(void);

/* ---- health.c, reflection.c: services that every server has ---- */
enum { RPC_REFLECTION_SERVICES = 2 };
rpc_health *rpc_health_new(rpc_server *server);
void rpc_health_free(rpc_health *health);
rpc_service rpc_health_service(rpc_health *health);
void rpc_health_set(rpc_health *health, bool serving);
bool rpc_health_get(const rpc_health *health);

WM_MUST_USE wm_code rpc_reflection_new(rpc_server *server, const rpc_config *config,
                                       rpc_reflection **made, wm_err *err);
void rpc_reflection_free(rpc_reflection *reflection);
/* i: 0 for v1, 1 for v1alpha. */
rpc_service rpc_reflection_service(rpc_reflection *reflection, size_t i);

#endif /* !__cplusplus: tests in C++ see the pure parts */
#endif
