/* client/internal.h - what the parts of the SDK share.
 *
 * Every unary call and every stream begins with a client_call. Its life:
 *
 *   client_call_start ── token there ──────────────> begin() ── batches ── events ──
 * client_call_end │                                             ^ └── token awaited ──
 * token_waiter.ready ──────┘ └────── no token, cancelled ──> refused: an empty batch as an event
 *
 * Events come from the completion queue on a thread of the client and run one after the other
 * for one call, since a call belongs to one queue and a queue has one thread.
 *
 * Locks: client.lock and credentials.lock are leaves: nothing is called while they are held.
 *        A stream's lock may be held while batches are started.
 */
#ifndef WAYMARK_CLIENT_INTERNAL_H
#define WAYMARK_CLIENT_INTERNAL_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/method.h"
#include "client/wire.h"
#include "include/waymark/call.h"

enum {
    CLIENT_TIMEOUT_MS = 30000,   /* of unary calls, when nobody says otherwise */
    CLIENT_TICK_MS = 500,        /* how often waiting calls' deadlines are looked at */
    CLIENT_FREE_CALLS_MAX = 512, /* unary calls kept for reuse, per client */
    CLIENT_THREADS_MAX = 64,
    CLIENT_KEEPALIVE_MS = 30000, /* the server takes a ping every 10 s */
    CLIENT_KEEPALIVE_TIMEOUT_MS = 10000,
    CLIENT_METADATA_MAX = 64,    /* pieces sent with one call */
    CREDENTIALS_CHECK_MS = 1000, /* between looks at a token file */
    CREDENTIALS_TOKEN_SIZE_MAX = 64 * 1024
};

/* ---- events ---- */

/* A batch's tag. */
typedef struct client_event client_event;
struct client_event {
    void (*run)(client_event *event, bool ok);
};

/* grpc_call_start_batch() with an event as its tag; a refused batch is a bug and asserts.
 * No operations: the event comes all the same, which is how other threads post one. */
void client_batch(grpc_call *call, const grpc_op *ops, size_t n, client_event *event);

/* ---- credentials ---- */

typedef struct token_waiter token_waiter;
struct token_waiter {
    token_waiter *prev, *next;
    /* Once, from any thread: the token (which the waiter then owns), or why there is none. */
    void (*ready)(token_waiter *waiter, grpc_slice token, const char *reason, const char *why);
};

typedef enum token_answer { TOKEN_READY, TOKEN_AWAITED, TOKEN_REFUSED } token_answer;

waymark_credentials *credentials_ref(waymark_credentials *credentials);
/* READY fills `token` ("Bearer ..."), a reference for the caller; REFUSED fills the texts,
 * which are static; AWAITED means that ready() comes. */
token_answer credentials_get(waymark_credentials *credentials, token_waiter *waiter,
                             grpc_slice *token, const char **reason, const char **why);
/* True: ready() will not come. */
bool credentials_forget(waymark_credentials *credentials, token_waiter *waiter);
bool credentials_has_waiters(waymark_credentials *credentials);
/* The server refused this token: get another one for the next call. */
void credentials_refused(waymark_credentials *credentials, const grpc_slice *token);

/* ---- client ---- */

typedef struct client_call client_call;

typedef struct client_method client_method; /* a method registered with the channel */

typedef struct client_thread {
    waymark_client *client;
    grpc_completion_queue *queue;
    pthread_t thread;
} client_thread;

struct waymark_client {
    grpc_channel *channel;
    waymark_credentials *credentials;
    int64_t timeout_ms;
    size_t message_size_max;
    client_thread *threads;
    unsigned n_threads, n_started;
    atomic_uint next_thread;

    pthread_mutex_t lock;
    pthread_cond_t idle; /* open became empty */
    bool closing;
    client_call *open; /* every call and stream that has not had its last callback */
    size_t n_open;
    client_method *methods;
    client_call *free_calls; /* by next */
    size_t n_free_calls;
};

/* ---- calls ---- */

struct client_call {
    client_call *prev, *next;
    waymark_client *client; /* valid until client_call_end() */
    const wm_method *method;
    grpc_call *call;
    gpr_timespec deadline;
    uint32_t flags; /* of the initial metadata */
    bool want_metadata;
    grpc_metadata *metadata; /* in the arena; the first is the token's when there is one */
    size_t n_metadata;
    grpc_slice token; /* empty without credentials */
    token_waiter waiter;
    client_event refused_event;
    /* Why the call ended before anything was sent; read with refused_event. */
    waymark_code refused_code;
    const char *refused_reason;
    char refused_message[160];
    void (*begin)(client_call *call);   /* starts the batches; any thread */
    void (*refused)(client_call *call); /* ends it without; a thread of the client */
    void (*cancel)(client_call *call);  /* client.lock is held: may take only the call's own lock */
    wm_arena arena;
};

/* Fills a call from its options and links it to the client. `timeout_ms` where the options
 * name none; < 0: none. What the options or the credentials make impossible ends in refused(). */
void client_call_start(client_call *call, waymark_client *client, const wm_method *method,
                       const waymark_call_options *options, int64_t timeout_ms);
/* Cancels what was started, or what waits for a token. The grpc call must be alive. */
void client_call_cancel(client_call *call);
/* The last thing done with a call on the client's thread: lets go of the grpc call and of the
 * client, which may be freed at once by its waiting owner. With `recycle` the client may keep
 * the memory for another unary call; true: it did. */
bool client_call_end(client_call *call, bool recycle);
/* Frees the calls that are kept. */
void client_calls_free(waymark_client *client);
/* The channel's handle of a method, for cheaper calls. */
void *client_method_register(waymark_client *client, const wm_method *method);

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
