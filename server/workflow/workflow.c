/* server/workflow/workflow.c - the parts of the subject, put together and taken apart. */
#include "server/workflow/workflow.h"

#include <stdlib.h>

#include "base/codec.h"
#include "server/workflow/handlers.h"
#include "waymark/workflow/v1/record.pb-c.h"

workflow_lane *workflow_lane_of(workflow *wf, lane *lane)
{
    return &wf->lanes[lane_index(lane)];
}

/* ---- what other processes committed ---- */

static void instances_changed(workflow *wf, const event_record *record)
{
    const Waymark__Workflow__V1__InstanceRecord *changed;
    ProtobufCMessage *message;
    wm_arena arena;
    wm_err err;

    wm_arena_init(&arena, 0);
    if (wm_codec_unpack(&arena, &waymark__workflow__v1__instance_record__descriptor,
                        record->payload, record->payload_size, &message, &err) == WM_OK) {
        changed = (const Waymark__Workflow__V1__InstanceRecord *)message;
        for (size_t i = 0; i < changed->n_changes; i++)
            workflow_wait_notify_remote(
                wf->waiters, record->namespace_id, changed->changes[i]->instance_id,
                changed->changes[i]->revision,
                changed->changes[i]->status ==
                    WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_ENDED);
    }
    wm_arena_free(&arena);
}

static void tasks_waiting(workflow *wf, const event_record *record)
{
    const Waymark__Workflow__V1__TaskQueueRecord *waiting;
    ProtobufCMessage *message;
    wm_arena arena;
    wm_err err;

    wm_arena_init(&arena, 0);
    if (wm_codec_unpack(&arena, &waymark__workflow__v1__task_queue_record__descriptor,
                        record->payload, record->payload_size, &message, &err) == WM_OK) {
        waiting = (const Waymark__Workflow__V1__TaskQueueRecord *)message;
        for (size_t i = 0; i < waiting->n_queues; i++)
            workflow_dispatch_waiting(wf->dispatch, record->namespace_id, waiting->queues[i]);
    }
    wm_arena_free(&arena);
}

static void hub_record(event_subscriber *subscriber, const event_record *record)
{
    workflow *wf = wm_container_of(subscriber, workflow, subscriber);

    if (record->topic == EVENT_TASKS)
        tasks_waiting(wf, record);
    else if (workflow_wait_any(wf->waiters))
        instances_changed(wf, record);
}

/* ---- lanes ---- */

static void lane_start(void *ctx)
{
    workflow_lane *wl = (workflow_lane *)ctx;

    wl->starts = store_batcher_new(wl->store, &workflow_start_kind, wl->wf);
    wl->applies = store_batcher_new(wl->store, &workflow_apply_kind_of_batch, wl->wf);
    wl->beats = store_batcher_new(wl->store, &workflow_beat_kind, wl->wf);
    workflow_alarms_init(wl);
}

static void lane_stop(void *ctx)
{
    workflow_lane *wl = (workflow_lane *)ctx;

    workflow_alarms_stop(wl);
    store_batcher_free(wl->starts);
    store_batcher_free(wl->applies);
    store_batcher_free(wl->beats);
}

static void subscribe(void *ctx)
{
    workflow *wf = (workflow *)ctx;

    wf->subscriber.topics = 1u << EVENT_INSTANCES | 1u << EVENT_TASKS;
    wf->subscriber.record = hub_record;
    event_hub_subscribe(wf->hub, wf->lanes[0].lane, &wf->subscriber, NULL);
}

static void unsubscribe(void *ctx)
{
    event_hub_unsubscribe(&((workflow *)ctx)->subscriber);
}

/* A turn of the loop, in which handles that were closed go. */
static void turn(void *ctx)
{
    (void)ctx;
}

workflow *workflow_new(lane **lanes, size_t n_lanes, event_hub *hub)
{
    workflow *wf = (workflow *)calloc(1, sizeof *wf);

    if (!wf)
        abort();
    wf->hub = hub;
    wf->n_lanes = n_lanes;
    wf->lanes = (workflow_lane *)calloc(n_lanes, sizeof *wf->lanes);
    if (!wf->lanes)
        abort();
    wf->cache = workflow_cache_new();
    wf->waiters = workflow_waiters_new();
    for (size_t i = 0; i < n_lanes; i++) {
        wf->lanes[i].wf = wf;
        wf->lanes[i].lane = lanes[i];
        wf->lanes[i].store = lane_store(lanes[i]);
        lane_call(lanes[i], lane_start, &wf->lanes[i]);
    }
    wf->dispatch = workflow_dispatch_new(wf);
    wf->timers = workflow_timers_new(wf);
    lane_call(lanes[0], subscribe, wf);
    return wf;
}

void workflow_free(workflow *wf)
{
    lane_call(wf->lanes[0].lane, unsubscribe, wf);
    workflow_timers_free(wf->timers);
    workflow_dispatch_free(wf->dispatch);
    for (size_t i = 0; i < wf->n_lanes; i++) {
        lane_call(wf->lanes[i].lane, lane_stop, &wf->lanes[i]);
        lane_call(wf->lanes[i].lane, turn, NULL);
    }
    workflow_waiters_free(wf->waiters);
    workflow_cache_free(wf->cache);
    free(wf->lanes);
    free(wf);
}

/* ---- services ---- */

rpc_service workflow_chart_service(workflow *wf)
{
    static const waymark_workflow_v1_chart_service_handlers handlers = {
        .put_chart = {.request = workflow_put_chart},
        .get_chart = {.request = workflow_get_chart},
        .list_charts = {.request = workflow_list_charts},
        .validate_chart = {.request = workflow_validate_chart},
    };

    return waymark_workflow_v1_chart_service_bind(&handlers, wf->chart_handlers, wf);
}

rpc_service workflow_service(workflow *wf)
{
    static const waymark_workflow_v1_workflow_service_handlers handlers = {
        .start_instance = {.request = workflow_start_instance,
                           .cancelled = workflow_watch_cancelled},
        .send_event = {.request = workflow_send_event},
        .get_instance = {.request = workflow_get_instance},
        .list_history = {.request = workflow_list_history},
        .wait_instance = {.request = workflow_wait_instance, .cancelled = workflow_watch_cancelled},
        .watch_instance = {.request = workflow_watch_instance,
                           .writable = workflow_watch_writable,
                           .cancelled = workflow_watch_cancelled,
                           .ended = workflow_watch_ended},
    };

    return waymark_workflow_v1_workflow_service_bind(&handlers, wf->instance_handlers, wf);
}

rpc_service workflow_task_service(workflow *wf)
{
    static const waymark_workflow_v1_task_service_handlers handlers = {
        .work_tasks = {.opened = workflow_work_opened,
                       .message = workflow_work_message,
                       .half_closed = workflow_work_half_closed,
                       .writable = workflow_work_writable,
                       .cancelled = workflow_work_cancelled,
                       .ended = workflow_work_ended},
        .poll_task = {.request = workflow_poll_task, .cancelled = workflow_poll_cancelled},
        .complete_task = {.request = workflow_complete_task},
        .fail_task = {.request = workflow_fail_task},
        .heartbeat_task = {.request = workflow_heartbeat_task},
    };

    return waymark_workflow_v1_task_service_bind(&handlers, wf->task_handlers, wf);
}
