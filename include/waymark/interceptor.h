/* waymark/interceptor.h - looks at every call of a client: to log, measure, add or refuse.
 *
 * A client has an ordered chain, fixed when it is made. Every call and stream goes through
 *
 *   its deadline -> interceptors[0].start -> [1].start ... -> token -> attempt -> attempt ...
 *   interceptors[n-1].ended ... -> [0].ended -> the caller's callback
 *
 * start() may add metadata, change the deadline, refuse the call, or suspend it and let it go on
 * later. Tokens come after all of them and retries after the tokens, so an interceptor sees a
 * call once, however many attempts it takes. attempted() tells of each of those.
 *
 * Threads: start() runs on the thread that starts the call, or on one that lets it go on after an
 *          interceptor before; attempted() and ended() on a thread of the client. Those of one call
 *          never run at the same time; of different calls they may. They must not block.
 * Memory:  a waymark_context is good inside the function it is given to, and the texts it returns
 *          as well.
 */
#ifndef WAYMARK_INTERCEPTOR_H
#define WAYMARK_INTERCEPTOR_H

#include <waymark/client.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct waymark_context waymark_context;
typedef struct waymark_suspension waymark_suspension;

/* Unused members are NULL. Copied; `ctx` must live as long as the client. */
typedef struct waymark_interceptor {
    void *ctx;
    /* A call begins. It goes on when this returns, unless it refused or suspended it. */
    void (*start)(void *ctx, waymark_context *call);
    /* An attempt came back; others may follow. */
    void (*attempted)(void *ctx, waymark_context *call, const waymark_status *status);
    /* The call is over: exactly once for each start(), before the caller hears of it. */
    void (*ended)(void *ctx, waymark_context *call, const waymark_status *status);
    void *reserved[4]; /* NULL */
} waymark_interceptor;

/* What repeating a request does, by the method's idempotency_level. */
typedef enum waymark_idempotency {
    WAYMARK_IDEMPOTENCY_UNKNOWN = 0, /* it may do it again */
    WAYMARK_NO_SIDE_EFFECTS = 1,     /* the method only reads */
    WAYMARK_IDEMPOTENT = 2           /* nothing more, and the answer is such an answer */
} waymark_idempotency;

/* ---- what is known of the call ---- */

/* "/waymark.geo.v1.TrackService/GetEntity" */
const char *waymark_context_method(const waymark_context *call);
/* Does the client send several messages? */
bool waymark_context_client_streaming(const waymark_context *call);
/* Does the server? */
bool waymark_context_server_streaming(const waymark_context *call);
/* What the contract says of repeating this method. */
waymark_idempotency waymark_context_idempotency(const waymark_context *call);
/* The permission that the contract names for the method; "" without one. */
const char *waymark_context_permission(const waymark_context *call);
/* Milliseconds until the deadline, at least 0; -1 without a deadline. */
int64_t waymark_context_remaining_ms(const waymark_context *call);
/* Microseconds since the call was started. */
int64_t waymark_context_elapsed_us(const waymark_context *call);
/* Attempts sent until now. */
unsigned waymark_context_attempts(const waymark_context *call);
/* Messages handed to the connection, over all attempts. In attempted() and ended(). */
uint64_t waymark_context_messages_sent(const waymark_context *call);
/* Messages that came, over all attempts. In attempted() and ended(). */
uint64_t waymark_context_messages_received(const waymark_context *call);
/* Bytes of the messages sent, before compression. */
uint64_t waymark_context_bytes_sent(const waymark_context *call);
/* Bytes of the messages that came, after decompression. */
uint64_t waymark_context_bytes_received(const waymark_context *call);
/* The server of the last attempt, "ipv4:10.0.0.2:443"; "" before the first one. */
const char *waymark_context_peer(waymark_context *call);

/* One pointer that this interceptor keeps with this call; NULL at first. */
void *waymark_context_data(const waymark_context *call);
/* Sets it. What it points to is the interceptor's; ended() is the place to free it. */
void waymark_context_set_data(waymark_context *call, void *data);

/* ---- what start() may do ---- */

/* Adds a piece of metadata to the request; copied. A piece that HTTP does not allow, or one too
 * many (64), makes the call end with INVALID_ARGUMENT, METADATA_INVALID. */
void waymark_context_add_metadata(waymark_context *call, const char *key, const char *value,
                                  size_t size);
/* A new deadline, so many milliseconds from now; < 0: none. */
void waymark_context_set_timeout_ms(waymark_context *call, int64_t timeout_ms);
/* Wait for a connection, or fail at once without one. */
void waymark_context_set_wait_for_ready(waymark_context *call, bool wait);

/* The call ends with this status (domain waymark.client) and is not sent. `code` is not OK;
 * `reason` at most 47 bytes, `message` at most 159. Copied. */
void waymark_context_refuse(waymark_context *call, waymark_code code, const char *reason,
                            const char *message);

/* The call waits after start() returns, until exactly one of the two below, from any thread, or
 * until it is cancelled or its deadline passes, after which they do nothing. At most once in a
 * start(), and not after a refusal. */
WAYMARK_MUST_USE waymark_suspension *waymark_context_suspend(waymark_context *call);
/* The call goes on, with these pieces of metadata as well (copied; none: NULL, 0). Gives the
 * suspension up. Any thread, also inside start(). */
void waymark_suspension_resume(waymark_suspension *suspension, const waymark_metadata *metadata,
                               size_t n_metadata);
/* The call ends with this status, as by waymark_context_refuse(). Gives the suspension up. Any
 * thread. */
void waymark_suspension_refuse(waymark_suspension *suspension, waymark_code code,
                               const char *reason, const char *message);

#ifdef __cplusplus
}
#endif
#endif
