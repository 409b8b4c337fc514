/* server/rpc/rpc.h - serving gRPC calls; with client/, the only home of grpc_*.
 *
 * A service is a table of handlers (the generated X.server.h fills it with
 * types). Per call the runtime does this:
 *
 *   queue thread                                   loop thread of the same lane
 *   ------------                                   ----------------------------
 *   take the call, re-arm the request slot
 *   interceptors: started()   (may suspend)
 *   guard + unpack the message into an arena
 *   interceptors: requested() (may suspend)
 *   inline handler: request()                 or   request() / opened(), message(), ...
 *                                                  writable(), cancelled()
 *   ended() where the callbacks ran, after the core has let go of the call
 *
 * What a handler may count on
 * - Callbacks of one call never run at the same time. Handlers run on the lane's
 *   loop; a method with RPC_INLINE runs request() on the queue thread, and then
 *   must neither block nor touch what belongs to the loop.
 * - A handler ends each call exactly once (rpc_reply, rpc_fail or rpc_finish), also
 *   after cancelled(). A second end, or none by the time the server stops, is a bug and
 *   ends the process with a log line that names the call, in every build. rpc_reply and
 *   rpc_fail may be called from any thread, rpc_send and rpc_finish on the loop.
 * - A client stream's first message is read before opened(), so that interceptors see it; it
 *   is delivered at the first rpc_read(). A client that half-closes without a message gets
 *   INVALID_ARGUMENT, and the handler never hears of the call; a method with RPC_MAY_BE_EMPTY
 *   gets opened() and, at its first rpc_read(), half_closed().
 * - A call and its arena stay until the callback that ended the call returns (an inline call
 *   that another thread answers: until that answer).
 * - cancelled() comes at most once, when the client has gone, the deadline has
 *   passed, the server is stopping now, or rpc_abort() was called. It does not come
 *   after the handler has ended the call, nor to inline methods, which never wait.
 * - ended() comes exactly once for each call whose request() or opened() was called,
 *   after everything else; free per-call state there. The call is gone after it.
 * - Requests live in the call's arena (unary, server streaming) or until the return
 *   of message() (client streaming, bidi).
 *
 * Flow control: on client streams the runtime reads a message only when asked
 * (rpc_read; opened() has asked for none). On server streams at most one message is
 * being written; rpc_send() then answers false until writable(), which comes after
 * each message that has left. So nothing queues here.
 */
#ifndef WAYMARK_SERVER_RPC_RPC_H
#define WAYMARK_SERVER_RPC_RPC_H

#include "base/arena.h"
#include "base/code.h"
#include "base/method.h"
#include "server/lane.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rpc_server rpc_server;
typedef struct rpc_call rpc_call;

/* rpc_handler.flags */
enum {
    RPC_INLINE = 1u << 0,
    /* A client stream may end without a message. Then requested() of interceptors is not asked:
     * not for methods whose permission depends on the request. */
    RPC_MAY_BE_EMPTY = 1u << 1,
    /* Replies are compressed for clients that accept it (rpc_config.compressed says it by name). */
    RPC_COMPRESS = 1u << 2
};

/* One method's handler. Unused members are NULL. Generated code fills it. */
typedef struct rpc_handler {
    const wm_method *method;
    unsigned flags;
    /* Unary and server streaming: the request. */
    void (*request)(rpc_call *call, const ProtobufCMessage *request);
    /* Client streaming and bidi. */
    void (*opened)(rpc_call *call);
    void (*message)(rpc_call *call, const ProtobufCMessage *message);
    void (*half_closed)(rpc_call *call);
    /* All kinds; optional. */
    void (*writable)(rpc_call *call);
    void (*cancelled)(rpc_call *call);
    void (*ended)(rpc_call *call);
    const void *typed; /* the generated handlers struct; rpc_typed() gives it to trampolines */
} rpc_handler;

typedef struct rpc_service {
    const wm_service *service;
    const rpc_handler *handlers; /* as many as service->n_methods, same order */
    void *ctx;                   /* rpc_ctx() in handlers */
} rpc_service;

/* Names in a client certificate that was verified. Texts hold no NUL. */
typedef struct rpc_identity {
    char *common_name;            /* of the subject, or "" */
    char **dns, **uris, **emails; /* alternative names; spiffe://... is a URI */
    size_t n_dns, n_uris, n_emails;
} rpc_identity;
/* Of one that was made on the heap; NULL is none. */
void rpc_identity_free(rpc_identity *identity);

/* ---- what a handler reads ---- */
void *rpc_ctx(const rpc_call *call);
const void *rpc_typed(const rpc_call *call); /* for generated code: rpc_handler.typed */
lane *rpc_lane(const rpc_call *call);
wm_arena *rpc_arena(rpc_call *call);
const wm_method *rpc_method(const rpc_call *call);
uint64_t rpc_id(const rpc_call *call); /* in logs */
/* Monotonic microseconds (base/clock.h); INT64_MAX without a deadline. */
int64_t rpc_deadline_us(const rpc_call *call);
bool rpc_is_cancelled(const rpc_call *call); /* any thread */
/* "ipv4:192.0.2.1:5000", "ipv6:%5B2001:db8::1%5D:5000", "unix:": behind the gate and a balancer
 * that says so, the client's own address. */
const char *rpc_peer(rpc_call *call);
/* Who the client's certificate says it is, in the call's arena; NULL without a verified one. On the
 * thread that has the call. */
const rpc_identity *rpc_peer_identity(rpc_call *call);
/* Who calls, for logs; "" for nobody. Set by the interceptor that knows; the text is borrowed
 * and must stay as long as the principal. */
const char *rpc_subject(const rpc_call *call);
void rpc_set_subject(rpc_call *call, const char *subject);
/* First value of a request metadata key (lower case; "-bin" values are raw), or NULL. It is
 * `*len` bytes in the call, not followed by a NUL. */
const char *rpc_metadata(const rpc_call *call, const char *key, size_t *len);

/* W3C Trace Context. `trace_id` and `parent_id` are the client's when it sent a `traceparent`
 * (has_parent), else the trace begins here with this call. Our own span is the call's id, so that
 * a span of ours is found in the log by it. Any thread; read anew each time, kept nowhere. */
typedef struct rpc_trace {
    uint8_t trace_id[16], parent_id[8];
    uint64_t span_id; /* rpc_id() */
    uint8_t flags;    /* bit 0: sampled */
    bool has_parent;
} rpc_trace;
enum { RPC_TRACE_ID_SIZE = 33, RPC_TRACEPARENT_SIZE = 56 }; /* with the NUL */
void rpc_trace_get(const rpc_call *call, rpc_trace *trace);
/* As 32 hexadecimal digits. */
void rpc_trace_id_format(const rpc_trace *trace, char text[RPC_TRACE_ID_SIZE]);
/* What a call made on behalf of this one has to send as `traceparent`. */
void rpc_traceparent_format(const rpc_trace *trace, char text[RPC_TRACEPARENT_SIZE]);
/* Reads a `traceparent`; false, with nothing changed, when it is none (version 00, or a later one
 * that begins alike). */
WM_MUST_USE bool rpc_traceparent_parse(const char *text, size_t len, rpc_trace *trace);

/* ---- what a handler keeps: one pointer of its own ---- */
void *rpc_data(const rpc_call *call);
void rpc_set_data(rpc_call *call, void *data);

/* ---- how a handler answers ---- */
void rpc_add_initial_metadata(rpc_call *call, const char *key, const char *value, size_t len);
void rpc_add_trailing_metadata(rpc_call *call, const char *key, const char *value, size_t len);
/* Ends a unary or client-streaming call. The message is packed before this returns. */
void rpc_reply(rpc_call *call, const ProtobufCMessage *response);
/* Ends any call with a status; `err->code` is not WM_OK. The status carries
 * google.rpc.ErrorInfo (reason, domain "waymark"), BadRequest when `field` is set and
 * RetryInfo when retry_after_ms is. */
void rpc_fail(rpc_call *call, const wm_err *err);
/* The same, with everything that is wrong: BadRequest names the field and message of each of
 * `violations` (as many as fit into 4 KiB). */
void rpc_fail_all(rpc_call *call, const wm_err *err, const wm_err *violations, size_t n);
/* Sends on a server or bidi stream; packed before this returns. False: not now, wait
 * for writable(). A message sent after the client has gone is dropped and answers true. */
WM_MUST_USE bool rpc_send(rpc_call *call, const ProtobufCMessage *message);
bool rpc_is_writable(const rpc_call *call);
/* Ends a server or bidi stream with OK, after the last rpc_send() has left. */
void rpc_finish(rpc_call *call);
/* Asks for the next message of a client or bidi stream: message() or half_closed() follows, not
 * from inside this call. Asking again while one is on its way changes nothing. */
void rpc_read(rpc_call *call);

/* Ends a call from outside its handler (auth, drain). On the call's loop. The status
 * is fixed now; the handler gets cancelled() and still ends the call. What it sends after
 * that is dropped, unless the code is UNAVAILABLE (drain): then acknowledgements still leave. */
void rpc_abort(rpc_call *call, const wm_err *err);

/* ---- interceptors: an ordered chain, fixed at start ---- */
typedef struct rpc_interceptor rpc_interceptor;
struct rpc_interceptor {
    const char *name;
    void *self;
    /* Metadata is known. Ends with exactly one rpc_next() or rpc_fail(), now or later
     * and from any thread. */
    void (*started)(rpc_interceptor *self, rpc_call *call);
    /* The (first) request is decoded; same rule. */
    void (*requested)(rpc_interceptor *self, rpc_call *call, const ProtobufCMessage *request);
    /* For each open stream on its loop, at least twice a second; may rpc_abort(). */
    void (*checked)(rpc_interceptor *self, rpc_call *call);
    /* After the call, with its final code, before ended(). */
    void (*finished)(rpc_interceptor *self, rpc_call *call, wm_code code, int64_t duration_us);
};
void rpc_next(rpc_call *call);

/* What the auth interceptor learns of a call, for handlers. Typed accessors are in
 * auth/auth.h; the runtime only carries it. `release` runs when the call ends. */
void rpc_set_principal(rpc_call *call, void *principal, void (*release)(void *principal));
void *rpc_principal(const rpc_call *call);
void rpc_set_namespace(rpc_call *call, int32_t namespace_id, const char *name);
int32_t rpc_namespace(const rpc_call *call); /* 0: the method has none */
const char *rpc_namespace_name(const rpc_call *call);

/* ---- the server ---- */
typedef struct rpc_listener {
    const char *address;   /* "127.0.0.1:7654", "[::]:443", "unix:/run/waymark.sock" */
    const char *cert_file; /* NULL: plaintext */
    const char *key_file;
    const char *client_ca_file; /* not NULL: client certificates are required (mTLS) */
} rpc_listener;

/* How many calls of a method are served at once in this process, over all lanes. More wait, in the
 * order they came, and are refused (RESOURCE_EXHAUSTED, METHOD_BUSY, with RetryInfo) when too many
 * wait already or after wait_max_ms. A waiting call whose client goes or whose deadline passes
 * leaves the queue at once. Interceptors are asked started() before, so only calls that they
 * let pass take a place. It is left when the call is answered. */
typedef struct rpc_limit {
    const char *method; /* "pkg.Service/Method"; with '*' at its end a beginning; "*" is all */
    uint32_t in_flight_max;
    uint32_t waiting_max;
    uint32_t wait_max_ms; /* 0: RPC_LIMIT_WAIT_MS */
} rpc_limit;
enum { RPC_LIMIT_WAIT_MS = 1000, RPC_LIMIT_MAX = 1000000 };
/* Reads "METHOD=IN_FLIGHT[:WAITING[:WAIT_MS]]" into `limit`, whose method is put into `name`. */
enum { RPC_LIMIT_NAME_SIZE = 256 };
WM_MUST_USE wm_code rpc_limit_parse(const char *text, rpc_limit *limit,
                                    char name[RPC_LIMIT_NAME_SIZE], wm_err *err);

/* Of each connection. 0 takes the default, which is in brackets. */
typedef struct rpc_connection_config {
    uint32_t keepalive_ms;         /* silence after which we ping (60,000) */
    uint32_t keepalive_timeout_ms; /* in which the ping must be answered (20,000) */
    uint32_t client_ping_min_ms;   /* between pings of an idle client (10,000) ... */
    uint32_t ping_strikes_max;     /* of which so many may come too early (2) */
    uint32_t idle_max_ms;          /* without a call, then GOAWAY (never) */
    uint32_t age_max_ms;           /* then GOAWAY (never); calls go on ... */
    uint32_t age_grace_ms;         /* for so long (for ever) */
    uint32_t streams_max;          /* calls at once (calls_max, at most 16,384) */
    uint32_t metadata_size_max;    /* bytes of a call's metadata (32 KiB) */
} rpc_connection_config;

/* Sets what "NAME=VALUE" says, the name being a member's with dashes: "age-max-ms=600000". */
WM_MUST_USE wm_code rpc_connection_set(rpc_connection_config *connection, const char *text,
                                       wm_err *err);

enum {
    RPC_DOMAIN_SIZE = 64, /* with the NUL */
    RPC_BUSY_POLL_US_DEFAULT = 100,
    RPC_BUSY_POLL_US_MAX = 1000
};

typedef struct rpc_config {
    lane **lanes;
    size_t n_lanes;
    const rpc_listener *listeners;
    size_t n_listeners;
    const rpc_service *services; /* health and reflection are added by the runtime */
    size_t n_services;
    rpc_interceptor *const *interceptors;
    size_t n_interceptors;
    size_t slots_per_method; /* outstanding request slots per method and lane; 0: 16 */
    size_t calls_max;        /* calls at work per lane; more get RESOURCE_EXHAUSTED; 0: 10000 */
    /* The same of health's and reflection's streams, for which clients need no token, and which are
     * not of calls_max; one address (IPv6: a /64) has a fourth of them; 0: 4000. */
    size_t open_calls_max;
    /* In which a client has to take the end of a call, with a second more for each 16 KiB; 0:
     * 60,000. Then the call ends as CANCELLED; before when too many that ended later wait in its
     * lane: calls_max, of failures and calls without a token open_calls_max, at least 1,024. */
    uint64_t answer_ms;
    /* How long a queue thread looks for the next call before it sleeps, while calls that it answers
     * by itself follow each other so fast (busy_poll.h); at most 1,000; 0: the default; below 0:
     * never. */
    int busy_poll_us;
    size_t message_size_max;  /* bytes, both directions; 0: WM_WIRE_SIZE_MAX */
    size_t memory_max;        /* resource quota, bytes; 0: 64 MiB */
    const char *error_domain; /* of google.rpc.ErrorInfo, below 64 characters; NULL: "waymark" */
    uint32_t stop_wait_ms;    /* how long a stop waits for handlers that do not end; 0: 30,000 */
    rpc_connection_config connection;
    const rpc_limit *limits; /* the most precise name counts, of equal ones the last */
    size_t n_limits;
    const char *const *compressed; /* methods whose replies are compressed, named as in rpc_limit */
    size_t n_compressed;
    /* Take compressed requests. They are inflated before their size can be looked at: for clients
     * that are trusted. */
    bool takes_compressed;
    /* FileDescriptorSets for reflection, one serialized set with imports. */
    const void *descriptor_set;
    size_t descriptor_set_size;
} rpc_config;

WM_MUST_USE wm_code rpc_server_start(const rpc_config *config, rpc_server **made, wm_err *err);
/* The port bound for listener i (for port 0). */
int rpc_server_port(const rpc_server *server, size_t i);
/* Serves a connection that the gate has accepted: `fd` is a connected stream socket, owned from
 * here on, that carries plain HTTP/2 from its first byte. `identity` may be NULL; both are copied.
 * Answers the connection's number for rpc_server_abandon(), or -1 when no number is free. Any
 * thread, until the server is freed. */
WM_MUST_USE int rpc_server_adopt(rpc_server *server, int fd, const char *peer,
                                 const rpc_identity *identity);
/* The other end of an adopted connection is closed. */
void rpc_server_abandon(rpc_server *server, int number);
/* grpc.health.v1: "" is the whole server. Any thread. */
void rpc_server_set_serving(rpc_server *server, bool serving);
/* Stops taking calls (health says NOT_SERVING, GOAWAY), waits up to `grace_ms` for those
 * in flight, cancels the rest and waits for their end. Blocks; not on a loop. */
void rpc_server_drain(rpc_server *server, uint64_t grace_ms);
void rpc_server_free(rpc_server *server);

/* ---- what the server is doing: any thread, between start and free ---- */
bool rpc_server_is_serving(const rpc_server *server);
/* Methods are numbered from 0; all that nobody registered share the last number. */
size_t rpc_server_n_methods(const rpc_server *server);
const wm_method *rpc_server_method(const rpc_server *server, size_t i);
size_t rpc_method_index(const rpc_call *call);
size_t rpc_server_n_lanes(const rpc_server *server);

/* Cumulative, but for the first two. */
typedef struct rpc_lane_stats {
    uint64_t calls, streams; /* in flight; streams are among the calls */
    uint64_t received_messages, received_bytes, sent_messages, sent_bytes; /* of messages */
    uint64_t refused_busy, refused_stopping;       /* TOO_MANY_CALLS, SHUTTING_DOWN */
    uint64_t answers_cut;                          /* that a client did not take in time */
    uint64_t busy_waits_found, busy_waits_in_vain; /* of the queue thread (busy_poll.h) */
} rpc_lane_stats;
void rpc_server_lane_stats(const rpc_server *server, size_t lane, rpc_lane_stats *stats);

typedef struct rpc_limit_stats {
    const wm_method *method;
    uint64_t in_flight, waiting, in_flight_max, waiting_max;
    uint64_t waited, refused; /* cumulative */
} rpc_limit_stats;
size_t rpc_server_n_limits(const rpc_server *server); /* methods that have one */
void rpc_server_limit_stats(const rpc_server *server, size_t i, rpc_limit_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
