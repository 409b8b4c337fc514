/* server/workflow/watch.c - calls that wait for an instance: WaitInstance, WatchInstance, and
 * StartInstance with wait_timeout.
 *
 *   listen ──> look (query) ──> fulfilled? ──yes──> end
 *      ^                            │no
 *      └── woken without bytes <────┴──> woken with bytes ──> end
 *
 * Listening comes before looking, so that no commit falls between. */
#include <string.h>

#include "base/codec.h"
#include "server/workflow/handlers.h"

static void look(workflow_watch *w);

/* Ends when nothing of this watch is under way any more. */
static void settle(workflow_watch *w)
{
    if (!w->ending)
        return;
    workflow_alarm_clear(&w->alarm);
    if (w->listening && workflow_wait_remove(w->wl->wf->waiters, &w->waiter))
        w->listening = false;
    if (w->listening || w->querying || w->held)
        return;
    w->ending = false;
    w->done(w, w->code);
}

static void end(workflow_watch *w, wm_code code, bool reached)
{
    if (!w->ending) {
        w->ending = true;
        w->code = code;
        w->reached = reached;
    }
    settle(w);
}

void workflow_watch_fail(workflow_watch *w, const wm_err *err)
{
    if (!w->ending)
        w->err = *err;
    end(w, err->code, false);
}

void workflow_watch_cancel(workflow_watch *w)
{
    wm_err err = {0};

    (void)wm_fail(&err, WM_CANCELLED, "CANCELLED", "the client has gone");
    workflow_watch_fail(w, &err);
}

static bool is_fulfilled(const workflow_watch *w)
{
    return w->found->revision > w->waiter.after_revision ||
           w->found->status == WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_ENDED;
}

/* What is known of the instance now. */
static void seen(workflow_watch *w, Waymark__Workflow__V1__Instance *instance)
{
    w->found = instance;
    if (is_fulfilled(w))
        end(w, WM_OK, true);
    else if (w->timed_out)
        end(w, WM_OK, false);
    else if (!w->listening)
        look(w); /* woken while looking: what was read may be too old */
}

static void looked(store_query *query, wm_code code)
{
    workflow_watch *w = wm_container_of(query, workflow_watch, query);
    Waymark__Workflow__V1__Instance *message;
    workflow_row *rows;
    wm_err err = {0};
    size_t n;

    w->querying = false;
    if (w->ending) {
        settle(w);
        return;
    }
    if (code != WM_OK) {
        workflow_watch_fail(w, &query->tx.err);
        return;
    }
    rows = workflow_store_read_instances(store_query_rows(query), w->arena, &n);
    message = n > 0 ? workflow_instance_message(w->arena, &rows[0]) : NULL;
    if (message) {
        seen(w, message);
        return;
    }
    if (n == 0)
        (void)wm_fail(&err, WM_NOT_FOUND, "INSTANCE_NOT_FOUND", "there is no instance %s",
                      w->waiter.instance_id);
    else
        (void)wm_fail(&err, WM_DATA_LOSS, "INTERNAL", "the stored instance cannot be read");
    workflow_watch_fail(w, &err);
}

static void listen_again(workflow_watch *w)
{
    w->listening = true;
    workflow_wait_add(w->wl->wf->waiters, &w->waiter);
}

static void look(workflow_watch *w)
{
    store_args args;

    if (!w->listening && !w->timed_out)
        listen_again(w);
    w->querying = true;
    store_args_init(&args, w->arena);
    store_arg_int32(&args, w->waiter.namespace_id);
    store_arg_text(&args, w->waiter.instance_id);
    store_query_start(w->wl->store, &w->query, w->arena, &workflow_stmt_get, &args, false, looked);
}

static void woken(workflow_waiter *waiter, const void *bytes, size_t size)
{
    workflow_watch *w = wm_container_of(waiter, workflow_watch, waiter);
    ProtobufCMessage *message;
    wm_err err;

    w->listening = false;
    if (w->ending) {
        settle(w);
    } else if (bytes && wm_codec_unpack(w->arena, &waymark__workflow__v1__instance__descriptor,
                                        bytes, size, &message, &err) == WM_OK) {
        w->found = (Waymark__Workflow__V1__Instance *)message;
        end(w, WM_OK, true);
    } else if (!w->querying && !w->held) {
        look(w);
    }
}

static void rang(workflow_alarm *alarm)
{
    workflow_watch *w = wm_container_of(alarm, workflow_watch, alarm);

    w->timed_out = true;
    if (!w->querying && !w->ending && !w->held)
        look(w);
}

void workflow_watch_init(workflow_watch *w, rpc_call *call, const char *instance_id,
                         int64_t after_revision, void (*done)(workflow_watch *watch, wm_code code))
{
    memset(w, 0, sizeof *w);
    w->call = call;
    w->wl = workflow_lane_of((workflow *)rpc_ctx(call), rpc_lane(call));
    w->arena = rpc_arena(call);
    w->done = done;
    w->waiter.lane = rpc_lane(call);
    w->waiter.namespace_id = rpc_namespace(call);
    w->waiter.instance_id = instance_id;
    w->waiter.after_revision = after_revision;
    w->waiter.woken = woken;
    w->alarm.rang = rang;
}

void workflow_watch_listen(workflow_watch *w, int64_t wait_ms)
{
    listen_again(w);
    if (wait_ms >= 0)
        workflow_alarm_set(w->wl, &w->alarm, wait_ms);
}

void workflow_watch_look(workflow_watch *w, Waymark__Workflow__V1__Instance *known)
{
    w->held = false;
    if (w->ending || w->querying)
        settle(w);
    else if (known)
        seen(w, known);
    else
        look(w);
}

void workflow_watch_cancelled(rpc_call *call)
{
    if (rpc_data(call))
        workflow_watch_cancel((workflow_watch *)rpc_data(call));
}

/* ---- WaitInstance ---- */

static void wait_done(workflow_watch *w, wm_code code)
{
    Waymark__Workflow__V1__WaitInstanceResponse response =
        WAYMARK__WORKFLOW__V1__WAIT_INSTANCE_RESPONSE__INIT;

    if (code != WM_OK) {
        rpc_fail(w->call, &w->err);
        return;
    }
    response.instance = w->found;
    response.reached = w->reached;
    waymark_workflow_v1_workflow_service_wait_instance_reply(w->call, &response);
}

void workflow_wait_instance(rpc_call *call,
                            const Waymark__Workflow__V1__WaitInstanceRequest *request)
{
    workflow_watch *w = WM_NEW(rpc_arena(call), workflow_watch);
    int64_t wait_ms;
    wm_err err = {0};

    if (request->after_revision < 0)
        (void)wm_fail_field(&err, "after_revision", "FIELD_INVALID", "0 or more is needed");
    else if (workflow_check_id(request->instance_id, "instance_id", &err) == WM_OK &&
             workflow_check_wait(request->wait_timeout, WORKFLOW_WAIT_MS, &wait_ms, &err) == WM_OK)
        err.code = WM_OK;
    if (err.code != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    rpc_set_data(call, w);
    workflow_watch_init(w, call, request->instance_id,
                        request->after_revision > 0 ? request->after_revision : INT64_MAX,
                        wait_done);
    workflow_watch_listen(w, workflow_wait_ms(call, wait_ms));
    workflow_watch_look(w, NULL);
}

/* ---- WatchInstance: waits again and again ---- */

typedef struct watch_stream {
    workflow_watch watch;
    wm_arena arena;   /* of one wait */
    int64_t revision; /* sent last */
} watch_stream;

static void stream_done(workflow_watch *w, wm_code code);

/* Waits for the next change; nothing of the last wait is needed any more. */
static void stream_next(watch_stream *stream)
{
    rpc_call *call = stream->watch.call;
    const char *instance_id = stream->watch.waiter.instance_id;

    wm_arena_reset(&stream->arena);
    workflow_watch_init(&stream->watch, call, instance_id, stream->revision, stream_done);
    stream->watch.arena = &stream->arena;
    workflow_watch_listen(&stream->watch, -1);
    workflow_watch_look(&stream->watch, NULL);
}

static void stream_done(workflow_watch *w, wm_code code)
{
    watch_stream *stream = wm_container_of(w, watch_stream, watch);
    Waymark__Workflow__V1__WatchInstanceResponse response =
        WAYMARK__WORKFLOW__V1__WATCH_INSTANCE_RESPONSE__INIT;

    if (code != WM_OK) {
        rpc_fail(w->call, &w->err);
        return;
    }
    response.instance = w->found;
    if (!waymark_workflow_v1_workflow_service_watch_instance_send(w->call, &response))
        return; /* workflow_watch_writable() goes on, with the newest state */
    stream->revision = w->found->revision;
    if (w->found->status == WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_ENDED)
        rpc_finish(w->call);
    else
        stream_next(stream);
}

void workflow_watch_writable(rpc_call *call)
{
    workflow_watch *w = (workflow_watch *)rpc_data(call);

    /* Only a watch that waits for room has nothing under way. It looks anew. */
    if (w && w->found && !w->listening && !w->querying && !w->ending)
        stream_next(wm_container_of(w, watch_stream, watch));
}

void workflow_watch_ended(rpc_call *call)
{
    workflow_watch *w = (workflow_watch *)rpc_data(call);

    if (w)
        wm_arena_free(&wm_container_of(w, watch_stream, watch)->arena);
}

void workflow_watch_instance(rpc_call *call,
                             const Waymark__Workflow__V1__WatchInstanceRequest *request)
{
    watch_stream *stream = WM_NEW(rpc_arena(call), watch_stream);
    wm_err err = {0};

    if (workflow_check_id(request->instance_id, "instance_id", &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    wm_arena_init(&stream->arena, 0);
    stream->watch.call = call;
    stream->watch.waiter.instance_id = request->instance_id;
    rpc_set_data(call, &stream->watch);
    stream_next(stream);
}
