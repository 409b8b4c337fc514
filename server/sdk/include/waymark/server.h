/* waymark/server.h - a gRPC server in C: what generated handlers (x.server.h) stand on.
 *
 * A service is a struct of handlers, which the generated x_bind() turns into a waymark_service.
 * docs/grpc-in-c.md makes one from the first line on.
 *
 * What a handler may count on
 * - Handlers of one call never run at the same time: they run on one of the server's loops. A
 *   handler must not block, because other calls wait for that loop; waymark_server_work() is for
 *   what blocks, waymark_server_after() for waiting.
 * - A handler ends each call exactly once (the generated reply, waymark_server_fail() or
 *   waymark_server_finish()), now or later, and also after cancelled(). A second end, or none until
 *   the server has stopped, is a bug and ends the process.
 * - The request of a unary or server-streaming call lives until the call has ended; a message of a
 *   client stream until message() returns.
 * - cancelled() comes at most once: the client has gone, the deadline has passed or the server
 *   stops. The handler must still end the call. When it will anyway, cancelled() may be NULL: what
 *   is sent now is dropped. When it waits for nothing but the client, as streams do, set it to
 *   waymark_server_give_up.
 * - ended() comes exactly once, last; free there what waymark_server_set_data() keeps.
 *
 * Streams: one message is being written at a time. A send answers false when one still is; then
 * wait for writable(). Messages are read when asked for: waymark_server_read() brings message(), or
 * half_closed() when the client has no more. So nothing queues.
 *
 * Threads: functions of a call belong on its loop, in its handlers and in what work(), after() and
 *          post() run there. Those that say "any thread" may be called from elsewhere.
 * Memory:  texts and structs that are passed in are copied, except those of options and services,
 *          which live as long as the server.
 */
#ifndef WAYMARK_SERVER_H
#define WAYMARK_SERVER_H

#include <protobuf-c/protobuf-c.h>
#include <waymark/client.h>
#include <waymark/method.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WAYMARK_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

typedef struct waymark_server waymark_server;
typedef struct waymark_server_call waymark_server_call;

/* A method's `flags`. */
enum {
    /* request() runs on the thread that received it, which saves a change of threads: for handlers
     * that answer at once. They are not told of cancelling. */
    WAYMARK_INLINE = 1u << 0,
    /* A client stream may end without a message; else that is INVALID_ARGUMENT. */
    WAYMARK_MAY_BE_EMPTY = 1u << 1,
    /* Responses are compressed for clients that accept it. */
    WAYMARK_COMPRESS = 1u << 2
};

/* One method's handler, as generated code fills it in. */
typedef struct waymark_handler {
    const wm_method *method;
    unsigned flags;
    void (*request)(waymark_server_call *call, const ProtobufCMessage *request);
    void (*opened)(waymark_server_call *call);
    void (*message)(waymark_server_call *call, const ProtobufCMessage *message);
    void (*half_closed)(waymark_server_call *call);
    void (*writable)(waymark_server_call *call);
    void (*cancelled)(waymark_server_call *call);
    void (*ended)(waymark_server_call *call);
    const void *typed;
    void *reserved[2]; /* NULL, here and below; room for what is to come */
} waymark_handler;

/* A service with its handlers; the generated x_bind() makes one. */
typedef struct waymark_service {
    const wm_service *service;
    const waymark_handler *handlers; /* one for each method */
    void *ctx;                       /* waymark_server_ctx() */
    const void *files;               /* its protos, as a FileDescriptorSet, for reflection */
    size_t files_size;
    void *reserved[2];
} waymark_service;

/* ---- what a handler reads ---- */

/* What was given to x_bind(). Any thread. */
void *waymark_server_ctx(const waymark_server_call *call);
/* The method that was called, with its options. Any thread. */
const wm_method *waymark_server_method(const waymark_server_call *call);
/* A number that is the call's alone, in logs too. Any thread. */
uint64_t waymark_server_call_id(const waymark_server_call *call);
/* Milliseconds until the deadline, 0 when it has passed; INT64_MAX without one. Any thread. */
int64_t waymark_server_time_left_ms(const waymark_server_call *call);
/* Has the client gone, or the deadline passed? Any thread. */
bool waymark_server_is_cancelled(const waymark_server_call *call);
/* Who calls: "ipv4:192.0.2.1:5000", "unix:". Lives as long as the call. */
const char *waymark_server_peer(waymark_server_call *call);
/* The first value of a key of the request's metadata, or NULL. Keys are lower case; the value of a
 * key that ends in "-bin" is bytes. It is *size bytes of the call, with no NUL behind. */
const char *waymark_server_metadata(const waymark_server_call *call, const char *key, size_t *size);

/* ---- what a handler keeps ---- */

/* `size` bytes, zeroed, that live as long as the call. */
void *waymark_server_alloc(waymark_server_call *call, size_t size);
/* One pointer of the handler's own; NULL at first. */
void *waymark_server_data(const waymark_server_call *call);
/* Sets it. */
void waymark_server_set_data(waymark_server_call *call, void *data);

/* ---- how a handler answers ---- */

/* Metadata that goes before the first message. */
void waymark_server_add_initial_metadata(waymark_server_call *call, const char *key,
                                         const char *value, size_t size);
/* Metadata that goes with the status. */
void waymark_server_add_trailing_metadata(waymark_server_call *call, const char *key,
                                          const char *value, size_t size);
/* Ends a unary or client-streaming call; the message is packed before this returns. The generated
 * x_reply() is this with a type. Any thread. */
void waymark_server_reply(waymark_server_call *call, const ProtobufCMessage *response);
/* Ends any call with a status. The client gets the code, the message and google.rpc.ErrorInfo with
 * the reason, which is UPPER_SNAKE_CASE and for programs. Any thread. */
void waymark_server_fail(waymark_server_call *call, waymark_code code, const char *reason,
                         const char *fmt, ...) WAYMARK_PRINTF(4, 5);
/* The same with INVALID_ARGUMENT and google.rpc.BadRequest, which names the field of the request.
 */
void waymark_server_fail_field(waymark_server_call *call, const char *field, const char *reason,
                               const char *fmt, ...) WAYMARK_PRINTF(4, 5);
/* The same with google.rpc.RetryInfo: the client is to come again after that time. */
void waymark_server_fail_for_now(waymark_server_call *call, waymark_code code, const char *reason,
                                 uint32_t retry_after_ms, const char *fmt, ...)
    WAYMARK_PRINTF(5, 6);
/* A cancelled() for handlers that wait for nothing but the client: ends the call. */
void waymark_server_give_up(waymark_server_call *call);
/* Sends on a server or bidi stream; the message is packed before this returns. False: not now, wait
 * for writable(). The generated x_send() is this with a type. */
WAYMARK_MUST_USE bool waymark_server_send(waymark_server_call *call,
                                          const ProtobufCMessage *message);
/* Would a send be accepted now? */
bool waymark_server_is_writable(const waymark_server_call *call);
/* Ends a server or bidi stream with OK, after all that was sent. */
void waymark_server_finish(waymark_server_call *call);
/* Asks for the next message of a client or bidi stream. */
void waymark_server_read(waymark_server_call *call);

/* ---- later ---- */

/* Runs run(ctx) on a worker thread, where it may block, and then done(call, ctx) on the call's
 * loop. The call must not end before done(): it answers there. Any thread. */
void waymark_server_work(waymark_server_call *call, void (*run)(void *ctx),
                         void (*done)(waymark_server_call *call, void *ctx), void *ctx);
/* Runs fn(call, ctx) on the call's loop after that time. The call must not end before. Any
 * thread. */
void waymark_server_after(waymark_server_call *call, uint64_t delay_ms,
                          void (*fn)(waymark_server_call *call, void *ctx), void *ctx);
/* Runs fn(call, ctx) on the call's loop soon; in the order of the posts of one thread. The call
 * must not end before. Any thread. */
void waymark_server_post(waymark_server_call *call,
                         void (*fn)(waymark_server_call *call, void *ctx), void *ctx);

/* ---- interceptors ---- */

/* Sees every call of the server's services, health and reflection included. Members may be NULL. */
typedef struct waymark_server_interceptor {
    void *ctx;
    /* Before the handler, when the metadata is known. Ends with exactly one waymark_server_next()
     * or waymark_server_fail(), now or later, from any thread. */
    void (*started)(void *ctx, waymark_server_call *call);
    /* After the call, with its status. */
    void (*finished)(void *ctx, waymark_server_call *call, waymark_code code, int64_t duration_us);
    void *reserved[2];
} waymark_server_interceptor;

/* Lets the call go on to the next interceptor, or to its handler. */
void waymark_server_next(waymark_server_call *call);

/* ---- the server ---- */

/* Where to listen, and with which certificate. */
typedef struct waymark_listener {
    const char *address;   /* "127.0.0.1:7000", "[::]:443", "unix:/run/hello.sock"; port 0: any */
    const char *cert_file; /* with key_file: TLS, PEM; NULL: plaintext. Both are read again when
                            * they have changed */
    const char *key_file;
    const char *client_ca_file; /* client certificates of these authorities are required */
    void *reserved[2];
} waymark_listener;

/* 0 and NULL mean the default, which is in brackets. */
typedef struct waymark_server_options {
    const waymark_listener *listeners;
    size_t n_listeners;
    const waymark_service *services; /* health and reflection are added */
    size_t n_services;
    const waymark_server_interceptor *interceptors; /* in this order */
    size_t n_interceptors;
    unsigned threads;        /* loops, each with a thread that receives (1) */
    size_t calls_max;        /* at work on each loop; more get RESOURCE_EXHAUSTED (10,000) */
    size_t message_size_max; /* bytes, in both directions (4 MiB) */
    size_t memory_max;       /* bytes that the transport may buffer (64 MiB) */
    /* Whose reasons are in google.rpc.ErrorInfo: below 64 characters, a name of yours ("waymark").
     */
    const char *error_domain;
    uint64_t grace_ms; /* waymark_server_run(): how long calls may go on at the end (10 s) */
    /* waymark_server_run(): when it serves; may be NULL. */
    void (*started)(waymark_server *server, void *ctx);
    void *ctx;
    /* How long a thread looks for the next call before it sleeps, while calls that WAYMARK_INLINE
     * handlers answer follow each other as fast: down to half the time of a call for a client that
     * has one in flight, for a processor that rests less meanwhile. Microseconds, at most 1,000 (0:
     * 100); below 0: never. */
    int busy_poll_us;
    void *reserved[7];
} waymark_server_options;

/* Starts serving; NULL, with `problem` (which may be NULL) filled, when an address or a file cannot
 * be used. Threads of the server take no signals. */
WAYMARK_MUST_USE waymark_server *waymark_server_start(const waymark_server_options *options,
                                                      waymark_problem *problem);
/* The port of listener i, which matters where 0 was asked for; 0 of a unix socket. Any thread. */
int waymark_server_port(const waymark_server *server, size_t i);
/* What health checks are told; true from the start. Any thread. */
void waymark_server_set_serving(waymark_server *server, bool serving);
/* Takes no more calls, waits up to grace_ms for those that run, cancels the rest, waits for their
 * ends and frees the server. Not from a handler. NULL is fine. */
void waymark_server_stop(waymark_server *server, uint64_t grace_ms);

/* All of main(): starts, waits for SIGTERM or SIGINT, stops. Returns 0, or 1 after printing why it
 * could not start. To be called before the program has made threads, since it blocks these signals.
 */
int waymark_server_run(const waymark_server_options *options);

/* ---- for generated code only ---- */

/* What x_bind() put into waymark_handler.typed. */
const void *waymark__server_typed(const waymark_server_call *call);

#ifdef __cplusplus
}
#endif
#endif
