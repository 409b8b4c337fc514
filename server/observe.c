/* server/observe.c - see observe.h. Must not know what any metric means. */
#include "server/observe.h"

#include <stdlib.h>

#include "base/log.h"
#include "server/obs/gate_metrics.h"
#include "server/obs/http.h"
#include "server/obs/lane_metrics.h"
#include "server/obs/process_metrics.h"
#include "server/obs/rpc_metrics.h"
#include "server/version.h"

struct observe {
    obs_rpc *rpc;
    obs_metrics *metrics;
    obs_lanes *lanes;
    obs_http *http;
};

observe *observe_new(size_t n_lanes)
{
    observe *observe = calloc(1, sizeof(*observe));

    if (observe == NULL)
        abort();
    observe->rpc = obs_rpc_new(n_lanes);
    return observe;
}

rpc_interceptor *observe_interceptor(observe *observe)
{
    return obs_rpc_interceptor(observe->rpc);
}

static bool is_ready(void *server)
{
    return rpc_server_is_serving(server);
}

wm_code observe_start(observe *observe, const char *address, rpc_server *server, const gate *gate,
                      lane *const *lanes, size_t n_lanes, wm_err *err)
{
    wm_code code;

    if (address == NULL)
        return WM_OK;
    observe->metrics = obs_metrics_new();
    observe->lanes = obs_lanes_new(lanes, n_lanes);
    obs_rpc_add(observe->rpc, server, observe->metrics);
    obs_gate_add(gate, observe->metrics);
    obs_lanes_add(observe->lanes, observe->metrics);
    obs_process_add(observe->metrics, WAYMARK_VERSION);
    code = obs_http_start(address, observe->metrics, is_ready, server, &observe->http, err);
    if (code == WM_OK)
        wm_log(WM_LOG_INFO, "showing metrics", wm_log_s("address", address),
               wm_log_i("port", obs_http_port(observe->http)));
    return code;
}

void observe_stop(observe *observe)
{
    obs_http_free(observe->http);
    obs_lanes_free(observe->lanes);
    obs_metrics_free(observe->metrics);
    observe->http = NULL;
    observe->lanes = NULL;
    observe->metrics = NULL;
}

void observe_free(observe *observe)
{
    if (observe == NULL)
        return;
    observe_stop(observe);
    obs_rpc_free(observe->rpc);
    free(observe);
}
