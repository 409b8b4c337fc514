/* tests/integration/client/echo_service.h - waymark.testing.v1.EchoService on a real server in
 * this process, for tests and benches of the client.
 *
 * Threads: from the test's thread only.
 */
#ifndef WAYMARK_TESTS_ECHO_SERVICE_H
#define WAYMARK_TESTS_ECHO_SERVICE_H

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
int echo_server_port(const echo_server *server);
/* Cancels what is in flight at once. */
void echo_server_stop(echo_server *server);

/* How many messages Repeat has handed to the runtime, ever; to see flow control at work. */
uint64_t echo_server_repeated(void);
/* How many calls were cancelled before their handler ended them, ever. */
uint64_t echo_server_cancelled(void);

#ifdef __cplusplus
}
#endif
#endif
