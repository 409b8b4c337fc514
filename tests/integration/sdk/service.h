/* tests/integration/sdk/service.h - the echo service on <waymark/server.h>, for server_test.cc.
 *
 * Counts what its handlers see, so that tests can say what must have happened.
 */
#ifndef WAYMARK_TESTS_SDK_SERVICE_H
#define WAYMARK_TESTS_SDK_SERVICE_H

#include <waymark/server.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Starts it; NULL with the problem filled in. Interceptors refuse calls with the metadata
 * "refuse: me" and count calls that have finished. */
waymark_server *service_start(const waymark_listener *listeners, size_t n, unsigned threads,
                              waymark_problem *problem);

/* How often, since the program's start. */
unsigned service_seen(void); /* by Echo */
unsigned service_cancelled(void);
unsigned service_ended(void);
unsigned service_finished(void);

#ifdef __cplusplus
}
#endif
#endif
