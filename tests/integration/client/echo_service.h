/* tests/integration/client/echo_service.h - waymark.testing.v1.EchoService on a real server in
 * this process, for tests and benches of the client.
 *
 * Threads: from the test's thread only, but for the counters and what tells calls how to end.
 */
#ifndef WAYMARK_TESTS_ECHO_SERVICE_H
#define WAYMARK_TESTS_ECHO_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct echo_server echo_server;

/* Listens on an address as in rpc_listener, with one lane; aborts when it cannot. */
echo_server *echo_server_start(const char *address);
/* By TLS; a client_ca_file asks for client certificates. */
echo_server *echo_server_start_tls(const char *address, const char *cert_file, const char *key_file,
                                   const char *client_ca_file);
/* In plaintext; Echo and Repeat answer compressed where the client takes it, and with `takes` the
 * server takes compressed requests. */
echo_server *echo_server_start_compressing(const char *address, bool takes);
int echo_server_port(const echo_server *server);
/* Cancels what is in flight at once. */
void echo_server_stop(echo_server *server);

/* The next `n` calls of Echo, Nothing and Repeat end with this code, and a RetryInfo when
 * `retry_after_ms` is not 0. */
void echo_server_fail_next(echo_server *server, unsigned n, int code, int retry_after_ms);
/* Calls of Echo, Nothing and Repeat that do not carry this bearer token end with UNAUTHENTICATED. A
 * text that lives as long as the server; NULL: all are welcome. */
void echo_server_require_token(echo_server *server, const char *token);
/* How many calls of Echo, Nothing and Repeat came, refused ones too. */
uint64_t echo_server_calls(const echo_server *server);

/* How many messages Repeat has handed to the runtime, ever; to see flow control at work. */
uint64_t echo_server_repeated(void);
/* How many calls were cancelled before their handler ended them, ever. */
uint64_t echo_server_cancelled(void);

#ifdef __cplusplus
}
#endif
#endif
