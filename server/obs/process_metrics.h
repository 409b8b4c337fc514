/* server/obs/process_metrics.h - the process as /proc shows it, under Prometheus' usual names.
 *
 * Threads: the writer's.
 */
#ifndef WAYMARK_SERVER_OBS_PROCESS_METRICS_H
#define WAYMARK_SERVER_OBS_PROCESS_METRICS_H

#include "server/obs/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `version` is static. */
void obs_process_add(obs_metrics *metrics, const char *version);

#ifdef __cplusplus
}
#endif
#endif
