/* client/internal.h - what the parts of the SDK share.
 *
 * Every unary call and every stream begins with a client_call. Its life:
 *
 *   client_call_start ─> interceptors ─> token ─> attempt: begin() ── batches ── events ──
 *                          │    ^         │  ^      ^                                  │
 *                          v    │         v  │      │                                  v
 *                         parked with a ticket   backoff, a new token <── client_call_again?
 *                               │                                                      │ no
 *                               └── refused: an event without an attempt ──>  client_call_end
 *
 * Who drives: the thread that runs one of these steps. A parked call is driven by whoever claims
 * its ticket: what it waits for, its cancelling, or its deadline. One of them does.
 *
 * Events come from the completion queue on a thread of the client and run one after the other
 * for one call, since a call belongs to one queue and a queue has one thread.
 *
 * Locks: a handle's or stream's lock > client.lock > credentials.lock; a stream's may be held
 *        while batches are started. Callbacks, hooks and fetch() run without any.
 */
#ifndef WAYMARK_CLIENT_INTERNAL_H
#define WAYMARK_CLIENT_INTERNAL_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/method.h"
#include "client/retry.h"
#include "client/wire.h"
#include "include/waymark/call.h"
#include "include/waymark/interceptor.h"

enum {
    CLIENT_TIMEOUT_MS = 30000,   /* of unary calls, when nobody says otherwise */
    CLIENT_FREE_CALLS_MAX = 512, /* unary calls kept for reuse, per client */
    CLIENT_THREADS_MAX = 64,
    CLIENT_INTERCEPTORS_MAX = 16,
    CLIENT_KEEPALIVE_MS = 30000, /* the server takes a ping every 10 s */
    CLIENT_KEEPALIVE_MIN_MS = 1000,
    CLIENT_KEEPALIVE_TIMEOUT_MS = 10000,
    CLIENT_RECONNECT_MS = 100, /* the first wait; then longer, up to: */
    CLIENT_RECONNECT_MAX_MS = 5000,
    CLIENT_USER_AGENT_MAX = 256, /* bytes */
    CLIENT_METADATA_MAX = 64,    /* pieces sent with one call */
    CLIENT_WATCH_MS =
        500, /* a question for the state; freeing a client that shares may wait so long */
    CREDENTIALS_CHECK_MS = 1000,      /* between looks at a token file */
    CREDENTIALS_RENEW_MAX_MS = 60000, /* before its end a token is renewed, at most */
    CREDENTIALS_FORCE_MS = 1000,      /* between tokens dropped because the server refused them */
    CREDENTIALS_BACKOFF_MS = 100,     /* after a failure, doubling up to: */
    CREDENTIALS_BACKOFF_MAX_MS = 10000,
    CREDENTIALS_TOKEN_SIZE_MAX = 64 * 1024
};

/* Longer timeouts are none: ten years. */
#define CLIENT_TIMEOUT_MAX_MS INT64_C(315360000000)

typedef waymark_context client_call;
typedef waymark_suspension client_ticket;

/* ---- events ---- */

/* A batch's tag. */
typedef struct client_event client_event;
struct client_event {
    void (*run)(client_event *event, bool ok);
};

/* grpc_call_start_batch() with an event as its tag; a refused batch is a bug and asserts.
 * No operations: the event comes all the same, which is how other threads post one. */
void client_batch(grpc_call *call, const grpc_op *ops, size_t n, client_event *event);

/* ---- parking ---- */

/* A call that waits for something outside. Counted: one reference is the call's, one the
 * holder's, who calls client_unpark() once. A holder may come after the call is gone. */
struct waymark_suspension {
    atomic_uint refs;
    unsigned born;               /* client_forks at that time */
    _Atomic(client_call *) call; /* whoever takes it out drives the call */
    /* Of one that waits for a token. The first is set before anybody else knows the ticket; the
     * others are under the lock of the credentials. */
    waymark_credentials *credentials;
    client_ticket *prev, *next;
    bool listed;
};

typedef enum client_parking {
    PARKED_UNTIL_DEADLINE, /* then it ends with DEADLINE_EXCEEDED */
    PARKED_FOR_BACKOFF     /* then it goes on, in client_call_resume() */
} client_parking;

/* Parks the call until `due_us` (monotonic; INT64_MAX: for ever), for a token of `credentials` or
 * NULL. NULL: the call was cancelled, and the caller still drives it. Else the caller holds the
 * ticket and has let go of the call. */
client_ticket *client_park(client_call *call, client_parking parking, int64_t due_us,
                           waymark_credentials *credentials);
/* Gives the ticket up. The call, to be driven on, or NULL: somebody else has it. */
client_call *client_unpark(client_ticket *ticket);
/* Cancels a parked call's waiting; client.lock is held. True: the caller drives it now. */
bool client_park_break(client_call *call);
/* When thread 0 has to look, monotonic microseconds. */
int64_t client_park_next_us(waymark_client *client);
/* Thread 0: drives the calls whose time has come. */
void client_park_look(waymark_client *client);
void client_ticket_unref(client_ticket *ticket);
/* One without a call, for a holder who will give it up. */
client_ticket *client_ticket_spent(void);

/* ---- credentials ---- */

typedef enum token_answer {
    TOKEN_READY,
    TOKEN_REFUSED,
    TOKEN_AWAITED,  /* the call is parked; client_call_token() comes */
    TOKEN_CANCELLED /* the call was cancelled meanwhile */
} token_answer;

/* Why there is no token. */
typedef struct token_failure {
    waymark_code code;
    const char *reason;     /* static */
    int64_t retry_delay_ms; /* -1: unknown */
    char message[160];
} token_failure;

waymark_credentials *credentials_ref(waymark_credentials *credentials);
/* READY fills `token` ("Bearer ..."), a reference for the caller; REFUSED fills `failure`. */
token_answer credentials_get(waymark_credentials *credentials, client_call *call, grpc_slice *token,
                             token_failure *failure);
/* Takes a ticket out of its list, if it is in one, and gives that reference up. */
void credentials_forget(client_ticket *ticket);
/* The server refused this token. True: asking again may bring another one. */
bool credentials_refused(waymark_credentials *credentials, const grpc_slice *token);
/* Can they ever bring another token than the first? */
bool credentials_renew(const waymark_credentials *credentials);

/* ---- client ---- */

typedef struct client_method client_method; /* a method registered with the channel */

/* What clients may share. */
typedef struct client_channel {
    atomic_uint refs;
    grpc_channel *channel;
    bool may_send_token; /* by TLS, to this machine, or because the user wants it */
    bool compression;
} client_channel;

/* NULL: `problem` says why. */
client_channel *client_channel_new(const waymark_client_options *options, waymark_problem *problem);
client_channel *client_channel_ref(client_channel *channel);
void client_channel_unref(client_channel *channel);
/* Fills a problem, which may be NULL. client/channel.c */
void client_problem(waymark_problem *problem, waymark_code code, const char *fmt, ...)
    WM_PRINTF(3, 4);

typedef struct client_thread {
    waymark_client *client;
    grpc_completion_queue *queue;
    grpc_call *poster; /* never sent; events without a call of their own are posted on it */
    pthread_t thread;
} client_thread;

struct waymark_client {
    client_channel *channel;
    waymark_credentials *credentials;
    int64_t timeout_ms;
    bool wait_for_ready;
    retry_policy retry;
    retry_budget retry_budget;
    waymark_interceptor *interceptors;
    size_t n_interceptors;
    unsigned born; /* client_forks at that time */
    client_thread *threads;
    unsigned n_threads, n_started;
    atomic_uint next_thread;

    pthread_mutex_t lock;
    pthread_cond_t idle; /* open became empty */
    bool closing;
    client_call *open; /* every call and stream that has not had its last callback */
    client_method *methods;
    client_call *free_calls; /* by next */
    size_t n_free_calls;

    /* Parked calls, a heap by due_us; thread 0 looks at it. */
    client_call **parked;
    size_t n_parked, parked_room;
    _Atomic(int64_t) parked_next_us;
    client_event bell; /* wakes thread 0 */

    /* Watches of the connection; see state.c. */
    waymark_watch *watches;
    waymark_watch *telling; /* whose callback runs now */
    pthread_cond_t told;
    bool state_watched; /* a watch of the core's is under way */
    client_event state_event;
};

/* Posts an event to one of the client's threads. */
void client_post(waymark_client *client, unsigned thread, client_event *event);
/* The channel's handle of a method, for cheaper calls; client.lock is held. */
void *client_method_register(waymark_client *client, const wm_method *method);

/* state.c, on thread 0: tells watches of the state. */
void client_state_look(waymark_client *client);
void client_state_changed(client_event *event, bool ok);
/* The client is closing from here on. Waits for a callback that runs, then frees the watches. */
void client_watches_free(waymark_client *client);

/* ---- fork ---- */

/* Counted in the child of each fork. What was made before has no threads there. */
extern atomic_uint client_forks;
/* Is this from before a fork? */
#define CLIENT_IS_STALE(born) (atomic_load_explicit(&client_forks, memory_order_relaxed) != (born))
/* grpc_init(). False: a fork has left the core without its threads. */
bool client_core_use(void);
/* What calls end with there. */
extern const waymark_status client_forked_status;

/* ---- calls ---- */

struct waymark_context {
    client_call *prev, *next;
    waymark_client *client; /* valid until client_call_end() */
    const wm_method *method;
    void *registered;
    unsigned thread;
    int64_t started_us, deadline_us; /* monotonic; INT64_MAX: none */
    uint32_t flags;                  /* of the initial metadata */
    bool want_metadata;
    unsigned attempts_max;
    waymark_compression compression;
    waymark_credentials *credentials; /* a reference when it is the call's own */
    bool own_credentials;
    grpc_metadata *metadata; /* in the arena, with room for the token and the attempt */
    size_t n_metadata, metadata_room;
    bool bad_metadata;
    grpc_slice token; /* empty without */

    /* Of the chain. */
    size_t stage;  /* interceptors that have started */
    size_t viewer; /* the one whose hook runs */
    void **data;   /* a pointer of each */
    struct client_frame *frame;
    unsigned attempts;
    bool refreshed;  /* a refused token was renewed once */
    bool repeatable; /* there may be another attempt: keep what is sent */
    uint64_t n_sent, n_received, bytes_sent, bytes_received;

    /* Under client.lock: */
    grpc_call *call; /* the attempt's; also read by whoever drives */
    bool cancelled;
    client_ticket *ticket;
    client_parking parking;
    int64_t due_us;
    size_t parked_at; /* in client.parked, from 1; 0: not there */

    client_event refused_event;
    /* Why the call ended without, or before another, attempt; read with refused_event. */
    waymark_code refused_code;
    int64_t refused_delay_ms;
    char refused_reason[48];
    char refused_message[160];
    void (*begin)(client_call *call);   /* starts an attempt's batches; any thread */
    void (*refused)(client_call *call); /* ends it without; a thread of the client */
    wm_arena arena;
};

/* Fills a call from its options, links it to the client, and starts it. `timeout_ms` where the
 * options name none; < 0: none. What the options, an interceptor or the credentials make
 * impossible ends in refused(). */
void client_call_start(client_call *call, waymark_client *client, const wm_method *method,
                       const waymark_call_options *options, int64_t timeout_ms);
/* Cancels what was started, or what the call waits for. Any thread, while the call lives. */
void client_call_cancel(client_call *call);
/* The same with client.lock held. */
void client_call_cancel_locked(client_call *call);
/* An attempt came back with this status. True: there will be another one, and the call is not the
 * caller's any more. On the call's thread. */
bool client_call_again(client_call *call, const waymark_status *status);
/* A parked call goes on: with the next interceptor, with a token or without (`failure`), or with
 * another attempt after a backoff. */
void client_call_token(client_call *call, grpc_slice token, const token_failure *failure);
void client_call_resume(client_call *call);
/* Ends the call with this status from its own thread, soon. Whoever drives the call. */
void client_call_refuse(client_call *call, waymark_code code, const char *reason,
                        int64_t retry_delay_ms, const char *message);
/* The status of a refused call. */
void client_call_refusal(client_call *call, waymark_status *status);
/* Tells the interceptors that the call is over; before the caller's callback. */
void client_call_report(client_call *call, const waymark_status *status);
/* The last thing done with a call on the client's thread: lets go of the grpc call and of the
 * client, which may be freed at once by its waiting owner. With `recycle` the client may keep
 * the memory for another unary call; true: it did. */
bool client_call_end(client_call *call, bool recycle);
/* Frees the calls that are kept. */
void client_calls_free(waymark_client *client);
/* What an attempt sends. */
grpc_metadata *client_call_metadata(client_call *call, size_t *n);
/* One more piece; copied. False: it is not allowed, and the call must not be sent. */
bool client_call_add_metadata(client_call *call, const char *key, const char *value, size_t size);
void client_call_set_timeout(client_call *call, int64_t timeout_ms);
/* interceptor.c: runs the hook of the next interceptor. True: the call goes on. */
bool client_chain_step(client_call *call);

/* ThreadSanitizer does not see the synchronisation inside the gRPC core, which is not built
 * with it: these say that what happened before a batch was started happens before its event. */
#if defined(__SANITIZE_THREAD__)
#define CLIENT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CLIENT_TSAN 1
#endif
#endif
#ifdef CLIENT_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define CLIENT_SENT(event) __tsan_release(event)
#define CLIENT_CAME(event) __tsan_acquire(event)
#else
#define CLIENT_SENT(event) ((void)(event))
#define CLIENT_CAME(event) ((void)(event))
#endif

#endif
