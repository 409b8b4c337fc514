/* server/workflow/task.c - TaskService but for its stream: PollTask, CompleteTask, FailTask,
 * HeartbeatTask; and lease tokens.
 *
 * A lease token is "<lease>.<task>.<instance>": all that finds the row by its key, and the
 * fencing number that must still be the row's. It is no secret; the permission to work on
 * tasks is asked of every call. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "server/workflow/task.h"
#include "waymark/workflow/v1/record.pb-c.h"

/* ---- tokens and messages ---- */

char *workflow_lease_token(wm_arena *arena, const workflow_task_key *key, int64_t lease)
{
    char id[WM_UUID_TEXT_SIZE];

    wm_uuid_format(&key->task_id, id);
    return wm_arena_printf(arena, "%" PRId64 ".%s.%s", lease, id, key->instance_id);
}

wm_code workflow_lease_parse(wm_arena *arena, const char *token, const char *field,
                             workflow_task_key *key, int64_t *lease, wm_err *err)
{
    size_t digits = strspn(token, "0123456789");
    const char *task = token + digits + 1, *instance;
    char id[WM_UUID_TEXT_SIZE];

    if (digits == 0 || digits > 18 || token[digits] != '.' || strlen(task) < WM_UUID_TEXT_SIZE ||
        task[WM_UUID_TEXT_SIZE - 1] != '.')
        return wm_fail_field(err, field, "FIELD_INVALID", "this is no lease token");
    memcpy(id, task, WM_UUID_TEXT_SIZE - 1);
    id[WM_UUID_TEXT_SIZE - 1] = '\0';
    instance = task + WM_UUID_TEXT_SIZE;
    if (!wm_uuid_parse(id, &key->task_id) || !workflow_id_is_valid(instance))
        return wm_fail_field(err, field, "FIELD_INVALID", "this is no lease token");
    *lease = strtoll(token, NULL, 10);
    key->instance_id = wm_arena_strdup(arena, instance);
    return WM_OK;
}

Waymark__Workflow__V1__Task *workflow_task_message(wm_arena *arena, const workflow_task_row *row)
{
    Waymark__Workflow__V1__Task *task = WM_NEW(arena, Waymark__Workflow__V1__Task);
    const Waymark__Workflow__V1__TaskRecord *record;
    char *id = (char *)wm_arena_alloc(arena, WM_UUID_TEXT_SIZE);
    ProtobufCMessage *message;
    wm_err err;

    waymark__workflow__v1__task__init(task);
    wm_uuid_format(&row->key.task_id, id);
    task->task_id = id;
    task->lease_token = workflow_lease_token(arena, &row->key, row->lease);
    task->fencing_number = row->lease;
    task->name = wm_arena_strdup(arena, row->name);
    task->queue = wm_arena_strdup(arena, row->queue);
    task->instance_id = wm_arena_strdup(arena, row->key.instance_id);
    task->attempt = row->attempt;
    task->lease_expire_time = workflow_timestamp(arena, row->available_time_us);
    if (wm_codec_unpack(arena, &waymark__workflow__v1__task_record__descriptor, row->record,
                        row->record_size, &message, &err) == WM_OK) {
        record = (const Waymark__Workflow__V1__TaskRecord *)message;
        task->input = record->input;
        task->entity_id = record->entity_id;
    }
    return task;
}

wm_code workflow_check_queues(char *const *queues, size_t n, const char *field, wm_err *err)
{
    if (n > TASK_QUEUES_MAX)
        return wm_fail_field(err, field, "FIELD_TOO_LONG", "more than %d queues", TASK_QUEUES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (!workflow_id_is_valid(queues[i]))
            return wm_fail_field(err, field, "ID_MALFORMED",
                                 "a queue's name is [A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}");
        for (size_t j = 0; j < i; j++) {
            if (strcmp(queues[i], queues[j]) == 0)
                return wm_fail_field(err, field, "FIELD_INVALID", "queue %s is named twice",
                                     queues[i]);
        }
    }
    return WM_OK;
}

static wm_code check_worker(const char *worker, wm_err *err)
{
    if (strlen(worker) > CHART_NAME_MAX)
        return wm_fail_field(err, "worker", "FIELD_TOO_LONG", "longer than %d bytes",
                             CHART_NAME_MAX);
    return WM_OK;
}

/* ---- what results and failures ask ---- */

wm_code workflow_ask_complete(workflow_ask *ask, wm_arena *arena, int32_t namespace_id,
                              const char *token, const Google__Protobuf__Struct *result,
                              wm_err *err)
{
    workflow_task_key key;

    if (workflow_lease_parse(arena, token, "lease_token", &key, &ask->lease, err) != WM_OK ||
        workflow_check_data(arena, result, "result", &ask->data, &ask->data_text, err) != WM_OK)
        return err->code;
    ask->kind = APPLY_COMPLETE;
    ask->namespace_id = namespace_id;
    ask->instance_id = key.instance_id;
    ask->task_id = key.task_id;
    return WM_OK;
}

wm_code workflow_ask_fail(workflow_ask *ask, wm_arena *arena, int32_t namespace_id,
                          const char *token, const char *message, bool permanent,
                          const Google__Protobuf__Duration *retry_delay, wm_err *err)
{
    workflow_task_key key;

    if (workflow_lease_parse(arena, token, "lease_token", &key, &ask->lease, err) != WM_OK)
        return err->code;
    if (strlen(message) > TASK_MESSAGE_MAX)
        return wm_fail_field(err, "message", "FIELD_TOO_LONG", "longer than %d bytes",
                             TASK_MESSAGE_MAX);
    if (!workflow_duration_ms(retry_delay, CHART_DELAY_MS_MAX, &ask->retry_delay_ms))
        return wm_fail_field(err, "retry_delay", "FIELD_INVALID", "0 s to 10 years are allowed");
    if (!retry_delay)
        ask->retry_delay_ms = -1;
    ask->kind = APPLY_FAIL;
    ask->namespace_id = namespace_id;
    ask->instance_id = key.instance_id;
    ask->task_id = key.task_id;
    ask->message = wm_arena_strdup(arena, message);
    ask->permanent = permanent;
    return WM_OK;
}

/* ---- CompleteTask, FailTask ---- */

typedef struct result_call {
    rpc_call *call;
    workflow_apply_op op;
} result_call;

static void result_done(store_op *op)
{
    result_call *c = wm_container_of(wm_container_of(op, workflow_apply_op, op), result_call, op);
    Waymark__Workflow__V1__CompleteTaskResponse completed =
        WAYMARK__WORKFLOW__V1__COMPLETE_TASK_RESPONSE__INIT;
    Waymark__Workflow__V1__FailTaskResponse failed =
        WAYMARK__WORKFLOW__V1__FAIL_TASK_RESPONSE__INIT;

    if (op->code != WM_OK) {
        rpc_fail(c->call, &op->err);
    } else if (c->op.ask.kind == APPLY_COMPLETE) {
        waymark_workflow_v1_task_service_complete_task_reply(c->call, &completed);
    } else {
        failed.retried = c->op.ask.retried;
        waymark_workflow_v1_task_service_fail_task_reply(c->call, &failed);
    }
}

static void result_start(result_call *c, wm_code code, wm_err *err)
{
    workflow_lane *wl = workflow_lane_of((workflow *)rpc_ctx(c->call), rpc_lane(c->call));

    c->op.op.weight = 1;
    c->op.op.deadline_us = rpc_deadline_us(c->call);
    c->op.op.done = result_done;
    if (code != WM_OK || !store_batcher_add(wl->applies, &c->op.op, err))
        rpc_fail(c->call, err);
}

void workflow_complete_task(rpc_call *call,
                            const Waymark__Workflow__V1__CompleteTaskRequest *request)
{
    result_call *c = WM_NEW(rpc_arena(call), result_call);
    wm_err err = {0};

    c->call = call;
    result_start(c,
                 workflow_ask_complete(&c->op.ask, rpc_arena(call), rpc_namespace(call),
                                       request->lease_token, request->result, &err),
                 &err);
}

void workflow_fail_task(rpc_call *call, const Waymark__Workflow__V1__FailTaskRequest *request)
{
    result_call *c = WM_NEW(rpc_arena(call), result_call);
    wm_err err = {0};

    c->call = call;
    result_start(c,
                 workflow_ask_fail(&c->op.ask, rpc_arena(call), rpc_namespace(call),
                                   request->lease_token, request->message, request->permanent,
                                   request->retry_delay, &err),
                 &err);
}

/* ---- HeartbeatTask ---- */

typedef struct beat_call {
    rpc_call *call;
    workflow_beat_op op;
} beat_call;

static void beat_done(store_op *op)
{
    beat_call *c = wm_container_of(wm_container_of(op, workflow_beat_op, op), beat_call, op);
    Waymark__Workflow__V1__HeartbeatTaskResponse response =
        WAYMARK__WORKFLOW__V1__HEARTBEAT_TASK_RESPONSE__INIT;

    if (op->code != WM_OK) {
        rpc_fail(c->call, &op->err);
        return;
    }
    response.lease_expire_time = workflow_timestamp(rpc_arena(c->call), c->op.expire_time_us);
    waymark_workflow_v1_task_service_heartbeat_task_reply(c->call, &response);
}

void workflow_heartbeat_task(rpc_call *call,
                             const Waymark__Workflow__V1__HeartbeatTaskRequest *request)
{
    beat_call *c = WM_NEW(rpc_arena(call), beat_call);
    workflow_lane *wl = workflow_lane_of((workflow *)rpc_ctx(call), rpc_lane(call));
    wm_err err = {0};

    c->call = call;
    c->op.key.namespace_id = rpc_namespace(call);
    c->op.op.weight = 1;
    c->op.op.deadline_us = rpc_deadline_us(call);
    c->op.op.done = beat_done;
    if (workflow_lease_parse(rpc_arena(call), request->lease_token, "lease_token", &c->op.key,
                             &c->op.lease, &err) != WM_OK ||
        !store_batcher_add(wl->beats, &c->op.op, &err))
        rpc_fail(call, &err);
}

/* ---- PollTask: a worker with one credit ----
 *
 * The worker lives on the heap, since a delivery may be under way when the call ends; the
 * call ends when the first of task, alarm and cancellation comes. */

typedef struct poll {
    workflow_worker worker;
    workflow_alarm alarm;
    workflow *wf;
    rpc_call *call; /* NULL once it has been answered */
} poll;

static void poll_freed(workflow_worker *worker)
{
    free(wm_container_of(worker, poll, worker));
}

/* Answers and leaves; `p` may be gone after this. */
static void poll_end(poll *p, Waymark__Workflow__V1__Task *task)
{
    Waymark__Workflow__V1__PollTaskResponse response =
        WAYMARK__WORKFLOW__V1__POLL_TASK_RESPONSE__INIT;
    rpc_call *call = p->call;

    workflow_alarm_clear(&p->alarm);
    rpc_set_data(call, NULL);
    p->call = NULL;
    workflow_worker_close(p->wf->dispatch, &p->worker);
    response.task = task;
    waymark_workflow_v1_task_service_poll_task_reply(call, &response);
}

static void poll_deliver(workflow_worker *worker, workflow_delivery *delivery)
{
    poll *p = wm_container_of(worker, poll, worker);

    poll_end(p, workflow_task_message(rpc_arena(p->call), &delivery->row));
    free(delivery);
}

static void poll_rang(workflow_alarm *alarm)
{
    poll_end(wm_container_of(alarm, poll, alarm), NULL);
}

void workflow_poll_cancelled(rpc_call *call)
{
    if (rpc_data(call))
        poll_end((poll *)rpc_data(call), NULL);
}

void workflow_poll_task(rpc_call *call, const Waymark__Workflow__V1__PollTaskRequest *request)
{
    static const char *const fallback[] = {"default"};
    workflow *wf = (workflow *)rpc_ctx(call);
    int64_t wait_ms;
    wm_err err = {0};
    poll *p;

    if (workflow_check_queues(request->queues, request->n_queues, "queues", &err) != WM_OK ||
        check_worker(request->worker, &err) != WM_OK ||
        workflow_check_wait(request->wait_timeout, WORKFLOW_WAIT_MS, &wait_ms, &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    p = (poll *)calloc(1, sizeof *p);
    if (!p)
        abort();
    p->wf = wf;
    p->call = call;
    p->worker.lane = rpc_lane(call);
    p->worker.namespace_id = rpc_namespace(call);
    p->worker.deliver = poll_deliver;
    p->worker.freed = poll_freed;
    p->alarm.rang = poll_rang;
    rpc_set_data(call, p);
    wait_ms = workflow_wait_ms(call, wait_ms);
    workflow_alarm_set(workflow_lane_of(wf, rpc_lane(call)), &p->alarm, wait_ms);
    if (request->n_queues > 0)
        workflow_worker_open(wf->dispatch, &p->worker, (const char *const *)request->queues,
                             request->n_queues);
    else
        workflow_worker_open(wf->dispatch, &p->worker, fallback, 1);
    workflow_worker_add_credits(wf->dispatch, &p->worker, 1);
}
