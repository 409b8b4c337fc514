/* server/obs/lane_metrics.h - how the lanes' loops and their stores are doing.
 *
 * A store belongs to its loop, so each loop is asked to take a snapshot and is waited for a moment.
 * A loop that does not answer in time is shown with its last snapshot, and with how long it has
 * kept the question waiting: the sign of a handler that blocks.
 *
 * Threads: setup and free on one thread outside the loops; the source on the writer's thread.
 * Memory:  obs_lanes_free() before the lanes are freed, when the metrics are written no more.
 */
#ifndef WAYMARK_SERVER_OBS_LANE_METRICS_H
#define WAYMARK_SERVER_OBS_LANE_METRICS_H

#include "server/lane.h"
#include "server/obs/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { OBS_LANE_WAIT_MS = 200 };

typedef struct obs_lanes obs_lanes;

obs_lanes *obs_lanes_new(lane *const *lanes, size_t n);
/* Waits for questions that no loop has answered yet. */
void obs_lanes_free(obs_lanes *lanes);
void obs_lanes_add(obs_lanes *lanes, obs_metrics *metrics);

#ifdef __cplusplus
}
#endif
#endif
