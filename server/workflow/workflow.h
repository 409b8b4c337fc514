/* server/workflow/workflow.h - the workflow subject as main.c sees it.
 *
 * Threads: made and freed by the main thread while the lanes run.
 * Memory:  owns its caches, batchers and timers; lanes and hub outlive it.
 */
#ifndef WAYMARK_SERVER_WORKFLOW_WORKFLOW_H
#define WAYMARK_SERVER_WORKFLOW_WORKFLOW_H

#include "server/event/hub.h"
#include "server/rpc/rpc.h"
#include "server/workflow/events_in.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The lanes have their stores. Starts the timers. */
workflow *workflow_new(lane **lanes, size_t n_lanes, event_hub *hub);
/* After the server has drained: no call may be open. */
void workflow_free(workflow *wf);

rpc_service workflow_chart_service(workflow *wf);
rpc_service workflow_service(workflow *wf);
rpc_service workflow_task_service(workflow *wf);

#ifdef __cplusplus
}
#endif
#endif
