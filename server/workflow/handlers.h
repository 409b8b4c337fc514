/* server/workflow/handlers.h - the RPC handlers, and what they share. */
#ifndef WAYMARK_SERVER_WORKFLOW_HANDLERS_H
#define WAYMARK_SERVER_WORKFLOW_HANDLERS_H

#include "server/workflow/internal.h"
#include "waymark/workflow/v1/chart_service.server.h"
#include "waymark/workflow/v1/task_service.server.h"
#include "waymark/workflow/v1/workflow_service.server.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- a call that waits for an instance (watch.c) ----
 *
 * Listens for commits, looks into the database where it must, and ends once, with the
 * instance or with an error: never while a query or a message of its own is under way, so
 * that it may be embedded in the call's arena. On the call's loop. */
typedef struct workflow_watch workflow_watch;
struct workflow_watch {
    rpc_call *call;
    workflow_lane *wl;
    wm_arena *arena; /* the call's, or one that a stream empties between two waits */
    bool held;       /* the caller has something of its own under way: no end, no looking */
    /* The instance as it was seen last; where the wait is fulfilled, as it fulfils it. */
    Waymark__Workflow__V1__Instance *found;
    bool reached; /* the wait was fulfilled; else the time was up */
    wm_err err;
    void (*done)(workflow_watch *watch, wm_code code);
    /* private */
    workflow_waiter waiter;
    workflow_alarm alarm;
    store_query query;
    bool listening, querying, timed_out, ending;
    wm_code code;
};

/* Ends when the instance's revision is above, or when it has ended. */
void workflow_watch_init(workflow_watch *watch, rpc_call *call, const char *instance_id,
                         int64_t after_revision, void (*done)(workflow_watch *watch, wm_code code));
/* Listens for at most wait_ms (< 0: without limit), and does not look yet. */
void workflow_watch_listen(workflow_watch *watch, int64_t wait_ms);
/* What the caller knows of the instance; NULL: look. After listen(); not held any more. */
void workflow_watch_look(workflow_watch *watch, Waymark__Workflow__V1__Instance *known);
/* Ends with an error, or because the client is gone; when held, later. */
void workflow_watch_fail(workflow_watch *watch, const wm_err *err);
void workflow_watch_cancel(workflow_watch *watch);

/* ---- checks; each fills err ---- */
WM_MUST_USE wm_code workflow_check_id(const char *id, const char *field, wm_err *err);
WM_MUST_USE wm_code workflow_check_wait(const Google__Protobuf__Duration *wait, int64_t missing_ms,
                                        int64_t *wait_ms, wm_err *err);
WM_MUST_USE wm_code workflow_check_data(wm_arena *arena, const Google__Protobuf__Struct *in,
                                        const char *field, const wm_json **data, const char **text,
                                        wm_err *err);
WM_MUST_USE wm_code workflow_check_page(int32_t *page_size, wm_err *err);
/* The least of a wait and what is left of the deadline, with a margin. */
int64_t workflow_wait_ms(const rpc_call *call, int64_t wait_ms);

/* ---- handlers ---- */
void workflow_put_chart(rpc_call *call, const Waymark__Workflow__V1__PutChartRequest *request);
void workflow_get_chart(rpc_call *call, const Waymark__Workflow__V1__GetChartRequest *request);
void workflow_list_charts(rpc_call *call, const Waymark__Workflow__V1__ListChartsRequest *request);
void workflow_validate_chart(rpc_call *call,
                             const Waymark__Workflow__V1__ValidateChartRequest *request);

void workflow_start_instance(rpc_call *call,
                             const Waymark__Workflow__V1__StartInstanceRequest *request);
void workflow_send_event(rpc_call *call, const Waymark__Workflow__V1__SendEventRequest *request);
void workflow_get_instance(rpc_call *call,
                           const Waymark__Workflow__V1__GetInstanceRequest *request);
void workflow_list_history(rpc_call *call,
                           const Waymark__Workflow__V1__ListHistoryRequest *request);
void workflow_wait_instance(rpc_call *call,
                            const Waymark__Workflow__V1__WaitInstanceRequest *request);
void workflow_watch_instance(rpc_call *call,
                             const Waymark__Workflow__V1__WatchInstanceRequest *request);
void workflow_watch_writable(rpc_call *call);
void workflow_watch_ended(rpc_call *call);
/* Calls whose data is a workflow_watch, or NULL. */
void workflow_watch_cancelled(rpc_call *call);

void workflow_poll_task(rpc_call *call, const Waymark__Workflow__V1__PollTaskRequest *request);
void workflow_poll_cancelled(rpc_call *call);
void workflow_complete_task(rpc_call *call,
                            const Waymark__Workflow__V1__CompleteTaskRequest *request);
void workflow_fail_task(rpc_call *call, const Waymark__Workflow__V1__FailTaskRequest *request);
void workflow_heartbeat_task(rpc_call *call,
                             const Waymark__Workflow__V1__HeartbeatTaskRequest *request);
void workflow_work_opened(rpc_call *call);
void workflow_work_message(rpc_call *call, const Waymark__Workflow__V1__WorkTasksRequest *message);
void workflow_work_half_closed(rpc_call *call);
void workflow_work_writable(rpc_call *call);
void workflow_work_cancelled(rpc_call *call);
void workflow_work_ended(rpc_call *call);

#ifdef __cplusplus
}
#endif
#endif
