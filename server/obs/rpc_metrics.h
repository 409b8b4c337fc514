/* server/obs/rpc_metrics.h - counts calls, as an interceptor, and shows what the runtime knows.
 *
 * Threads: the interceptor counts on whichever thread a call ends on, in the lane's own cells.
 * Memory:  obs_rpc_free() after the server is gone and the metrics are written no more.
 */
#ifndef WAYMARK_SERVER_OBS_RPC_METRICS_H
#define WAYMARK_SERVER_OBS_RPC_METRICS_H

#include "server/obs/metrics.h"
#include "server/rpc/rpc.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { OBS_METHODS_MAX = 256 }; /* those after it are counted together as the last */

typedef struct obs_rpc obs_rpc;

obs_rpc *obs_rpc_new(size_t n_lanes);
void obs_rpc_free(obs_rpc *rpc);
/* Put it early in the chain: it lets every call pass. */
rpc_interceptor *obs_rpc_interceptor(obs_rpc *rpc);
/* Once the server has started. */
void obs_rpc_add(obs_rpc *rpc, const rpc_server *server, obs_metrics *metrics);

#ifdef __cplusplus
}
#endif
#endif
