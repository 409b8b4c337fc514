/* waymark/client.h - a connection to waymark.
 *
 * A client holds one channel, which connects when the first call needs it and again whenever
 * the connection breaks, and the threads on which callbacks run. Make one and share it.
 *
 * Threads: everything here may be called from any thread, but waymark_client_free() not from
 *          a callback. With one thread (the default) callbacks never run at the same time.
 * Memory:  options are copied. waymark_client_free() cancels what is open, waits until every
 *          call and stream has had its last callback, and frees; no callback comes after it.
 */
#ifndef WAYMARK_CLIENT_H
#define WAYMARK_CLIENT_H

#include <waymark/credentials.h>
#include <waymark/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct waymark_client waymark_client;

typedef struct waymark_client_options {
    /* "127.0.0.1:7654", "[::1]:7654", "unix:/run/waymark.sock", "dns:///waymark.example:443" */
    const char *address;
    bool tls;
    const char *ca_file;   /* trusted authorities, PEM; NULL: the system's */
    const char *cert_file; /* with key_file: our certificate for mutual TLS */
    const char *key_file;
    const char *tls_name;             /* the name to expect in the server's certificate */
    waymark_credentials *credentials; /* NULL: calls carry no token */
    int64_t timeout_ms;               /* of unary calls that name none; 0: 30 s; < 0: no limit */
    size_t message_size_max;          /* bytes, of a response; 0: 4 MiB */
    unsigned threads;                 /* that run callbacks; 0: 1 */
    bool own_connection;              /* share no connection with other clients of the process */
} waymark_client_options;

/* Why a client could not be made. */
typedef struct waymark_problem {
    waymark_code code;
    char message[256];
} waymark_problem;

/* Reads the environment: WAYMARK_ADDRESS (default 127.0.0.1:7654), WAYMARK_TOKEN or
 * WAYMARK_TOKEN_FILE, WAYMARK_CA_FILE (which turns TLS on). Texts point into the environment;
 * `options->credentials` is the caller's to free. */
void waymark_client_options_from_env(waymark_client_options *options);

/* NULL options: those of the environment. Does not wait for a connection. Returns NULL, with
 * `problem` (which may be NULL) filled, when a file cannot be read or an option is wrong. */
WAYMARK_MUST_USE waymark_client *waymark_client_new(const waymark_client_options *options,
                                                    waymark_problem *problem);
/* NULL is fine. */
void waymark_client_free(waymark_client *client);

#ifdef __cplusplus
}
#endif
#endif
