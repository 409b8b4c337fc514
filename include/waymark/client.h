/* waymark/client.h - a connection to waymark.
 *
 * A client holds one channel, which connects when the first call needs it and again whenever
 * the connection breaks, and the threads on which callbacks run. Make one and share it.
 *
 * Threads: everything here may be called from any thread, but waymark_client_free() not from
 *          a callback. With one thread (the default) callbacks never run at the same time.
 * Memory:  options are copied, and so is what they point to. waymark_client_free() cancels what
 *          is open, waits until every call and stream has had its last callback, and frees; no
 *          callback comes after it.
 * Fork:    a child of fork() has none of the client's threads. There, calls on a client that is
 *          older than the fork end at once with FAILED_PRECONDITION, reason CLIENT_FORKED (with
 *          their callback inside the call that started them), streams that were open are over,
 *          and freeing them or the client, or answering a suspension or a request for a token,
 *          does nothing. waymark_client_new() refuses in the child while the parent held clients
 *          or credentials at the fork; make clients after forking.
 */
#ifndef WAYMARK_CLIENT_H
#define WAYMARK_CLIENT_H

#include <waymark/credentials.h>
#include <waymark/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct waymark_client waymark_client;
struct waymark_interceptor;

/* When the SDK repeats a unary call by itself: the method's idempotency_level says that it may
 * come twice, and the call ended with UNAVAILABLE, or with RESOURCE_EXHAUSTED and a retry_delay.
 * The wait before attempt n+1 is random between half and all of backoff * 2^(n-1), but never less
 * than the server's retry_delay_ms; a call whose deadline would pass meanwhile is not repeated.
 * While more than one call in ten fails so, a client stops repeating (it has a budget of ten
 * failures, five of which it may repeat; ten calls that succeed give one back). */
typedef struct waymark_retry {
    unsigned attempts_max;  /* with the first one, 1 to 5; 1: never repeat; 0: 3 */
    int64_t backoff_ms;     /* 1 to 60,000; 0: 100 */
    int64_t backoff_max_ms; /* 1 to 600,000; 0: 2,000 */
} waymark_retry;

typedef struct waymark_client_options {
    /* "127.0.0.1:7654", "[::1]:7654", "unix:/run/waymark.sock", "dns:///waymark.example:443";
     * several addresses: "ipv4:10.0.0.1:443,10.0.0.2:443", "ipv6:[fd00::1]:443,[fd00::2]:443". */
    const char *address;
    bool tls;
    const char *ca_file;   /* trusted authorities, PEM; NULL: the system's */
    const char *cert_file; /* with key_file: our certificate for mutual TLS */
    const char *key_file;
    const char *tls_name; /* the name to expect in the server's certificate */
    /* NULL: calls carry no token. Without TLS, tokens are sent to this machine only (see
     * allow_plaintext_token). */
    waymark_credentials *credentials;
    int64_t timeout_ms;      /* of unary calls that name none; 0: 30 s; < 0: no limit */
    size_t message_size_max; /* bytes, of a response, below 2 GiB; 0: 4 MiB */
    unsigned threads;        /* that run callbacks, at most 64; 0: 1 */
    /* Clients of one process with the same address and options share a connection (not with TLS,
     * for which `share` is there). True: this one has its own. */
    bool own_connection;

    /* A gRPC service config, JSON: load balancing, retries, timeouts and wait-for-ready by
     * method. With one, its retryPolicy is what repeats calls, streams too, and `retry` below
     * is off unless it names attempts_max. (Hedging policies are ignored: the gRPC core that
     * the SDK stands on does not have hedging.) */
    const char *service_config;
    /* Among several addresses: "pick_first" (the default) or "round_robin". A service config
     * that chooses has the last word. */
    const char *load_balancing;
    waymark_retry retry;
    bool wait_for_ready;    /* calls wait for a connection unless they say fail_fast */
    size_t send_size_max;   /* bytes, of a request, below 2 GiB; 0: no limit here */
    const char *user_agent; /* "ship/1.2": goes before ours; at most 256 bytes */
    /* A silent peer is pinged after this while calls are open; at least 1,000 (servers may take
     * more than one ping in ten seconds for an attack); 0: 30 s; < 0: never */
    int64_t keepalive_ms;
    int64_t keepalive_timeout_ms; /* and given up after this; 0: 10 s */
    bool keepalive_without_calls; /* also while no call is open; the server must allow it */
    int64_t reconnect_max_ms;     /* the longest wait between attempts to connect; 0: 5 s */
    /* Compressed messages are taken and may be sent (waymark_call_options.compression). A small
     * message may then grow to any size in memory before message_size_max is looked at, so only
     * for servers that are trusted. */
    bool compression;
    /* Send tokens without TLS to other machines: anyone on the way can read and use them. */
    bool allow_plaintext_token;
    const struct waymark_interceptor *interceptors; /* see waymark/interceptor.h */
    size_t n_interceptors;                          /* at most 16 */
    /* Use this client's connection: its address, TLS, service config, load balancing, keepalive,
     * compression and sizes; those options here must be zero. Tokens, timeouts, threads, retries
     * and interceptors are this client's own. Either may be freed first. */
    waymark_client *share;

    void *reserved[8]; /* NULL; room for options to come */
} waymark_client_options;

/* Why a client could not be made. */
typedef struct waymark_problem {
    waymark_code code;
    char message[256];
} waymark_problem;

/* Reads the environment: WAYMARK_ADDRESS (default 127.0.0.1:7654), WAYMARK_TOKEN or
 * WAYMARK_TOKEN_FILE, WAYMARK_CA_FILE (which turns TLS on), and WAYMARK_PLAINTEXT_TOKEN=1
 * (allow_plaintext_token). Texts point into the environment; `options->credentials` is the
 * caller's to free. */
void waymark_client_options_from_env(waymark_client_options *options);

/* NULL options: those of the environment. Does not wait for a connection. Returns NULL, with
 * `problem` (which may be NULL) filled, when a file cannot be read or an option is wrong. Any
 * thread. */
WAYMARK_MUST_USE waymark_client *waymark_client_new(const waymark_client_options *options,
                                                    waymark_problem *problem);
/* Cancels, waits and frees (see above), once. Any thread, but not from a callback. NULL is fine. */
void waymark_client_free(waymark_client *client);

/* ---- the connection ---- */

typedef enum waymark_state {
    WAYMARK_STATE_IDLE = 0, /* nobody needs a connection */
    WAYMARK_STATE_CONNECTING = 1,
    WAYMARK_STATE_READY = 2,
    WAYMARK_STATE_TRANSIENT_FAILURE = 3, /* could not connect; tries again after a while */
    WAYMARK_STATE_SHUTDOWN = 4
} waymark_state;

/* "READY"; "UNKNOWN" for what is none. Any thread. */
const char *waymark_state_name(waymark_state state);

/* The state now. `connect`: an idle client starts to connect. Any thread, also callbacks. */
waymark_state waymark_client_state(waymark_client *client, bool connect);

/* Connects and waits until the client is ready. False: not within `timeout_ms` (< 0: no limit).
 * Any thread, not from a callback. */
bool waymark_client_wait_ready(waymark_client *client, int64_t timeout_ms);

/* Tells of the state: once soon, and then whenever it has changed, on a thread of the client,
 * one call at a time. States that last only a moment may be left out. It does not connect by
 * itself. The watch ends with the client. Any thread. */
typedef struct waymark_watch waymark_watch;
typedef void (*waymark_state_changed)(void *ctx, waymark_state state);
WAYMARK_MUST_USE waymark_watch *waymark_client_watch(waymark_client *client,
                                                     waymark_state_changed changed, void *ctx);
/* Before the client is freed. No call of changed() comes after it; it waits for one that is
 * running, unless it is called from there. NULL is fine. */
void waymark_watch_free(waymark_watch *watch);

#ifdef __cplusplus
}
#endif
#endif
