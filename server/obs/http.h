/* server/obs/http.h - a small HTTP listener for those who watch the server.
 *
 *   /metrics   Prometheus' text format, or OpenMetrics for who accepts it
 *   /healthz   200 while the process lives
 *   /readyz    200 while it takes calls, else 503
 *
 * It has no TLS and asks for no token: listen where only they can reach it. It shows numbers and
 * names of methods, never what a call carries or whose it is.
 *
 * Threads: one of its own, on which metrics are written and is_ready() is asked.
 * Memory:  obs_http_free() waits for requests under way; nothing is called after it.
 */
#ifndef WAYMARK_SERVER_OBS_HTTP_H
#define WAYMARK_SERVER_OBS_HTTP_H

#include "server/obs/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    OBS_HTTP_CONNECTIONS_MAX = 32,
    OBS_HTTP_CONNECTIONS_ADDRESS = 8, /* of one address, so that it leaves room for others */
    OBS_HTTP_TIMEOUT_S = 10           /* without a byte */
};

typedef struct obs_http obs_http;

/* `address` is "HOST:PORT", with a port 0 for any; "[::1]:9464". */
WM_MUST_USE wm_code obs_http_start(const char *address, obs_metrics *metrics,
                                   bool (*is_ready)(void *ctx), void *ctx, obs_http **made,
                                   wm_err *err);
int obs_http_port(const obs_http *http);
void obs_http_free(obs_http *http);

#ifdef __cplusplus
}
#endif
#endif
