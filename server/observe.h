/* server/observe.h - the metrics of the whole server and the listener that shows them.
 *
 *   observe_new ─> its interceptor goes into the chain ─> observe_start ─> observe_stop ─>
 * observe_free
 *
 * Counting begins with the server; the listener opens when all parts run and closes before the
 * first of them goes.
 *
 * Threads: main thread only.
 */
#ifndef WAYMARK_SERVER_OBSERVE_H
#define WAYMARK_SERVER_OBSERVE_H

#include "server/gate/gate.h"
#include "server/rpc/rpc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct observe observe;

observe *observe_new(size_t n_lanes);
rpc_interceptor *observe_interceptor(observe *observe);
/* `address` NULL: nobody looks. `gate` may be NULL. */
WM_MUST_USE wm_code observe_start(observe *observe, const char *address, rpc_server *server,
                                  const gate *gate, lane *const *lanes, size_t n_lanes,
                                  wm_err *err);
/* Before the gate and the server are freed. The interceptor still counts. */
void observe_stop(observe *observe);
/* After the server is freed. NULL is fine. */
void observe_free(observe *observe);

#ifdef __cplusplus
}
#endif
#endif
