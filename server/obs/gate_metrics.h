/* server/obs/gate_metrics.h - what the gate lets in, holds and turns away.
 *
 * Threads: the writer's.
 */
#ifndef WAYMARK_SERVER_OBS_GATE_METRICS_H
#define WAYMARK_SERVER_OBS_GATE_METRICS_H

#include "server/gate/gate.h"
#include "server/obs/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `gate` may be NULL: then the families have no samples. It outlives the metrics. */
void obs_gate_add(const gate *gate, obs_metrics *metrics);

#ifdef __cplusplus
}
#endif
#endif
