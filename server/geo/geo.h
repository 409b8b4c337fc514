/* geo/geo.h - the geo subject as main.c sees it.
 *
 * Threads: made and freed by the main thread while the lanes run.
 * Memory:  owns its indexes, fence sets and batchers; lanes, hub and workflow outlive it.
 */
#ifndef WAYMARK_SERVER_GEO_GEO_H
#define WAYMARK_SERVER_GEO_GEO_H

#include "server/event/hub.h"
#include "server/rpc/rpc.h"
#include "server/workflow/events_in.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct geo geo;

/* The lanes have their stores. Starts to load the live index; searches wait for it. `wf` may be
 * NULL: then crossings move no workflow. */
geo *geo_new(lane **lanes, size_t n_lanes, event_hub *hub, workflow *wf);
/* After the server has drained: no call may be open. */
void geo_free(geo *geo);

rpc_service geo_track_service(geo *geo);
rpc_service geo_fence_service(geo *geo);

#ifdef __cplusplus
}
#endif
#endif
