/* server/workflow/work.c - WorkTasks, a worker's stream.
 *
 *   messages in:   open, then credits, results, failures and heartbeats, each an operation
 *   messages out:  tasks and acknowledgements gather while one message is being written, and
 *                  leave together in the next
 *
 * The stream keeps no more than WORK_OPS_MAX operations under way and acknowledgements that
 * wait for the reader: it asks for the next message only below that. Tasks out are bounded by
 * the worker's credits, and by bytes: when a slow reader leaves too many waiting here, its
 * credits are put aside until they have left.
 *
 * Lives: the stream is on the heap. The dispatch refers to it as a worker, operations under
 * way count in `n_ops`; whichever ends last of call, worker and operations frees it. The call
 * is answered only when no operation is under way, or at once when the client has gone.
 */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "server/workflow/task.h"

enum {
    WORK_OPS_MAX = 1024,
    WORK_OUT_MAX = 256,                  /* tasks and acknowledgements of one message */
    WORK_MESSAGE_SIZE_MAX = 1024 * 1024, /* of its tasks' records, and one more task */
    WORK_WAITING_SIZE_MAX = 4 * 1024 * 1024
};

/* A task that the worker has, so that it can be given back when the stream ends. */
typedef struct held_task {
    UT_hash_handle hh;
    workflow_task_row row; /* key and lease; its instance id follows */
} held_task;

typedef struct ack {
    struct ack *next, *prev;
    wm_code code;
    int64_t expire_time_us; /* STORE_NULL_INT: none */
    wm_err err;
    char token[];
} ack;

typedef struct work_stream {
    workflow_worker worker;
    workflow *wf;
    workflow_lane *wl;
    rpc_call *call; /* NULL once it has ended */
    bool opened, reading, half_closed, gone;
    atomic_int owners; /* call and worker */
    size_t n_ops;
    uint32_t credits;    /* given and not used, as the worker knows */
    uint32_t aside;      /* of these, not with the dispatch */
    size_t waiting_size; /* of the deliveries' records */
    workflow_delivery *deliveries;
    ack *acks;
    size_t n_acks;
    held_task *held;
    wm_arena arena; /* of one message out */
} work_stream;

/* One result, failure or heartbeat. */
typedef struct work_op {
    work_stream *stream;
    wm_arena arena;
    bool is_beat;
    char *token;
    workflow_apply_op apply;
    workflow_beat_op beat;
} work_op;

static void work_flush(work_stream *s);
static void work_read(work_stream *s);

/* ---- lives ---- */

static void drop_owner(work_stream *s)
{
    if (atomic_fetch_sub(&s->owners, 1) == 1)
        free(s);
}

static void worker_freed(workflow_worker *worker)
{
    drop_owner(wm_container_of(worker, work_stream, worker));
}

static void forget(work_stream *s, held_task *held)
{
    HASH_DEL(s->held, held);
    free(held);
}

static void release_all(work_stream *s)
{
    held_task *held, *next;
    workflow_delivery *delivery, *following;
    ack *a, *after;

    HASH_ITER (hh, s->held, held, next) {
        workflow_dispatch_release(s->wl, &held->row, false);
        forget(s, held);
    }
    LL_FOREACH_SAFE (s->deliveries, delivery, following) {
        workflow_dispatch_release(s->wl, &delivery->row, true);
        free(delivery);
    }
    s->deliveries = NULL;
    DL_FOREACH_SAFE (s->acks, a, after)
        free(a);
    s->acks = NULL;
}

/* Ends the call when nothing is due to the worker any more. */
static void work_finish(work_stream *s)
{
    rpc_call *call = s->call;
    wm_err err = {0};

    if (!call || s->n_ops > 0)
        return;
    if (s->gone) {
        s->call = NULL;
        (void)wm_fail(&err, WM_CANCELLED, "CANCELLED", "the client has gone");
        rpc_fail(call, &err);
    } else if (s->half_closed && !s->acks && !s->deliveries) {
        s->call = NULL;
        rpc_finish(call);
    }
}

static void work_fail(work_stream *s, const wm_err *err)
{
    rpc_call *call = s->call;

    s->call = NULL;
    rpc_fail(call, err);
}

/* ---- out ---- */

static void hold(work_stream *s, const workflow_task_row *row)
{
    size_t size = strlen(row->key.instance_id) + 1;
    held_task *held, *same;

    HASH_FIND(hh, s->held, &row->key.task_id, sizeof row->key.task_id, same);
    if (same)
        forget(s, same);
    held = (held_task *)calloc(1, sizeof *held + size);
    if (!held)
        abort();
    held->row.key = row->key;
    held->row.lease = row->lease;
    held->row.key.instance_id = (char *)memcpy(held + 1, row->key.instance_id, size);
    HASH_ADD(hh, s->held, row.key.task_id, sizeof held->row.key.task_id, held);
}

static Waymark__Workflow__V1__TaskAck *ack_message(work_stream *s, const ack *a)
{
    Waymark__Workflow__V1__TaskAck *out = WM_NEW(&s->arena, Waymark__Workflow__V1__TaskAck);

    waymark__workflow__v1__task_ack__init(out);
    out->lease_token = (char *)a->token;
    out->code = (int32_t)a->code;
    if (a->code != WM_OK) {
        out->reason = (char *)a->err.reason;
        out->message = (char *)a->err.message;
    }
    out->lease_expire_time = workflow_timestamp(&s->arena, a->expire_time_us);
    return out;
}

static void fill_message(work_stream *s, Waymark__Workflow__V1__WorkTasksResponse *response)
{
    size_t room = WORK_MESSAGE_SIZE_MAX;
    ack *a;

    response->tasks = WM_NEW_ARRAY(&s->arena, Waymark__Workflow__V1__Task *, WORK_OUT_MAX);
    response->acks = WM_NEW_ARRAY(&s->arena, Waymark__Workflow__V1__TaskAck *, WORK_OUT_MAX);
    for (workflow_delivery *d = s->deliveries; d && response->n_tasks < WORK_OUT_MAX && room;
         d = d->next) {
        response->tasks[response->n_tasks++] = workflow_task_message(&s->arena, &d->row);
        room = d->row.record_size < room ? room - d->row.record_size : 0;
    }
    DL_FOREACH (s->acks, a) {
        if (response->n_acks == WORK_OUT_MAX)
            break;
        response->acks[response->n_acks++] = ack_message(s, a);
    }
}

/* What the message took with it. */
static void drop_sent(work_stream *s, const Waymark__Workflow__V1__WorkTasksResponse *response)
{
    for (size_t i = 0; i < response->n_tasks; i++) {
        workflow_delivery *d = s->deliveries;

        s->deliveries = d->next;
        s->waiting_size -= d->row.record_size;
        if (s->credits > 0)
            s->credits--;
        hold(s, &d->row);
        free(d);
    }
    for (size_t i = 0; i < response->n_acks; i++) {
        ack *a = s->acks;

        DL_DELETE(s->acks, a);
        s->n_acks--;
        free(a);
    }
}

static void work_flush(work_stream *s)
{
    while (s->call && !s->gone && (s->deliveries || s->acks) && rpc_is_writable(s->call)) {
        Waymark__Workflow__V1__WorkTasksResponse response =
            WAYMARK__WORKFLOW__V1__WORK_TASKS_RESPONSE__INIT;

        wm_arena_reset(&s->arena);
        fill_message(s, &response);
        if (!waymark_workflow_v1_task_service_work_tasks_send(s->call, &response))
            return;
        drop_sent(s, &response);
    }
    if (s->aside > 0 && s->waiting_size < WORK_WAITING_SIZE_MAX / 2 && s->call && !s->gone) {
        uint32_t n = s->aside;

        s->aside = 0;
        workflow_worker_add_credits(s->wf->dispatch, &s->worker, n);
    }
    work_finish(s);
}

static void worker_deliver(workflow_worker *worker, workflow_delivery *delivery)
{
    work_stream *s = wm_container_of(worker, work_stream, worker);

    LL_APPEND(s->deliveries, delivery);
    s->waiting_size += delivery->row.record_size;
    if (s->waiting_size > WORK_WAITING_SIZE_MAX)
        s->aside += workflow_worker_take_credits(s->wf->dispatch, &s->worker);
    work_flush(s);
}

static void add_ack(work_stream *s, const char *token, wm_code code, const wm_err *err,
                    int64_t expire_time_us)
{
    size_t size = strlen(token) + 1;
    ack *a = (ack *)calloc(1, sizeof *a + size);

    if (!a)
        abort();
    a->code = code;
    if (code != WM_OK)
        a->err = *err;
    a->expire_time_us = expire_time_us;
    memcpy(a->token, token, size);
    DL_APPEND(s->acks, a);
    s->n_acks++;
}

/* ---- operations ---- */

static void op_end(work_op *op, wm_code code, const wm_err *err)
{
    work_stream *s = op->stream;

    s->n_ops--;
    if (s->call && !s->gone)
        add_ack(s, op->token, code, err,
                op->is_beat && code == WM_OK ? op->beat.expire_time_us : STORE_NULL_INT);
    wm_arena_free(&op->arena);
    free(op);
    work_flush(s);
    work_read(s);
    drop_owner(s);
}

static void apply_op_done(store_op *op)
{
    op_end(wm_container_of(wm_container_of(op, workflow_apply_op, op), work_op, apply), op->code,
           &op->err);
}

static void beat_op_done(store_op *op)
{
    op_end(wm_container_of(wm_container_of(op, workflow_beat_op, op), work_op, beat), op->code,
           &op->err);
}

static work_op *op_new(work_stream *s, const char *token)
{
    work_op *op = (work_op *)calloc(1, sizeof *op);

    if (!op)
        abort();
    wm_arena_init(&op->arena, 0);
    op->stream = s;
    op->token = wm_arena_strdup(&op->arena, token);
    op->apply.op.weight = op->beat.op.weight = 1;
    op->apply.op.deadline_us = op->beat.op.deadline_us = INT64_MAX;
    op->apply.op.done = apply_op_done;
    op->beat.op.done = beat_op_done;
    s->n_ops++;
    atomic_fetch_add(&s->owners, 1);
    return op;
}

/* The worker has no more to do with the task, whatever becomes of its result. */
static void let_go(work_stream *s, const workflow_ask *ask)
{
    held_task *held;

    HASH_FIND(hh, s->held, &ask->task_id, sizeof ask->task_id, held);
    if (held && held->row.lease == ask->lease)
        forget(s, held);
}

static void op_apply(work_op *op, wm_code code, wm_err *err)
{
    work_stream *s = op->stream;

    if (code == WM_OK)
        let_go(s, &op->apply.ask);
    if (code != WM_OK || !store_batcher_add(s->wl->applies, &op->apply.op, err))
        op_end(op, err->code, err);
}

static void take_result(work_stream *s, const Waymark__Workflow__V1__TaskResult *result)
{
    work_op *op = op_new(s, result->lease_token);
    wm_err err = {0};

    op_apply(op,
             workflow_ask_complete(&op->apply.ask, &op->arena, s->worker.namespace_id, op->token,
                                   result->result, &err),
             &err);
}

static void take_failure(work_stream *s, const Waymark__Workflow__V1__TaskFailure *failure)
{
    work_op *op = op_new(s, failure->lease_token);
    wm_err err = {0};

    op_apply(op,
             workflow_ask_fail(&op->apply.ask, &op->arena, s->worker.namespace_id, op->token,
                               failure->message, failure->permanent, failure->retry_delay, &err),
             &err);
}

static void take_beat(work_stream *s, const Waymark__Workflow__V1__TaskHeartbeat *beat)
{
    work_op *op = op_new(s, beat->lease_token);
    wm_err err = {0};

    op->is_beat = true;
    op->beat.key.namespace_id = s->worker.namespace_id;
    if (workflow_lease_parse(&op->arena, op->token, "lease_token", &op->beat.key, &op->beat.lease,
                             &err) != WM_OK ||
        !store_batcher_add(s->wl->beats, &op->beat.op, &err))
        op_end(op, err.code, &err);
}

/* ---- in ---- */

static void work_read(work_stream *s)
{
    if (!s->call || s->gone || s->half_closed || s->reading || s->n_ops + s->n_acks >= WORK_OPS_MAX)
        return;
    s->reading = true;
    rpc_read(s->call);
}

static void add_credits(work_stream *s, int32_t n, const char *field)
{
    wm_err err = {0};

    if (n < 0 || n > TASK_CREDITS_MAX || s->credits + (uint32_t)n > TASK_CREDITS_MAX) {
        (void)wm_fail_field(&err, field, "FIELD_INVALID", "0 to %d unused credits are allowed",
                            TASK_CREDITS_MAX);
        work_fail(s, &err);
        return;
    }
    s->credits += (uint32_t)n;
    if (s->waiting_size > WORK_WAITING_SIZE_MAX) {
        s->aside += (uint32_t)n;
        return;
    }
    workflow_worker_add_credits(s->wf->dispatch, &s->worker, (uint32_t)n);
}

static void open_worker(work_stream *s, const Waymark__Workflow__V1__OpenWorker *open)
{
    static const char *const fallback[] = {"default"};
    const char *const *queues = (const char *const *)open->queues;
    wm_err err = {0};

    if (workflow_check_queues(open->queues, open->n_queues, "open.queues", &err) == WM_OK &&
        strlen(open->worker) > CHART_NAME_MAX)
        (void)wm_fail_field(&err, "open.worker", "FIELD_TOO_LONG", "longer than %d bytes",
                            CHART_NAME_MAX);
    if (err.code != WM_OK) {
        work_fail(s, &err);
        return;
    }
    s->opened = true;
    s->worker.lane = rpc_lane(s->call);
    s->worker.namespace_id = rpc_namespace(s->call);
    s->worker.deliver = worker_deliver;
    s->worker.freed = worker_freed;
    atomic_fetch_add(&s->owners, 1);
    workflow_worker_open(s->wf->dispatch, &s->worker, open->n_queues > 0 ? queues : fallback,
                         open->n_queues > 0 ? open->n_queues : 1);
    add_credits(s, open->credits, "open.credits");
}

static void take_message(work_stream *s, const Waymark__Workflow__V1__WorkTasksRequest *message)
{
    wm_err err = {0};
    bool is_open = message->kind_case == WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_OPEN;

    if (is_open == s->opened) {
        (void)wm_fail_field(&err, "open", "FIELD_REQUIRED",
                            "the first message is `open`, and only the first");
        work_fail(s, &err);
        return;
    }
    switch (message->kind_case) {
    case WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_OPEN:
        open_worker(s, message->open);
        break;
    case WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_CREDITS:
        add_credits(s, message->credits->credits, "credits.credits");
        break;
    case WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_RESULT:
        take_result(s, message->result);
        if (message->result->add_credit && s->call)
            add_credits(s, 1, "result.add_credit");
        break;
    case WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_FAILURE:
        take_failure(s, message->failure);
        if (message->failure->add_credit && s->call)
            add_credits(s, 1, "failure.add_credit");
        break;
    case WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_HEARTBEAT:
        take_beat(s, message->heartbeat);
        break;
    default:
        (void)wm_fail_field(&err, "kind", "FIELD_REQUIRED", "a message needs its kind");
        work_fail(s, &err);
        break;
    }
}

void workflow_work_opened(rpc_call *call)
{
    work_stream *s = (work_stream *)calloc(1, sizeof *s);

    if (!s)
        abort();
    s->wf = (workflow *)rpc_ctx(call);
    s->wl = workflow_lane_of(s->wf, rpc_lane(call));
    s->call = call;
    atomic_init(&s->owners, 1);
    wm_arena_init(&s->arena, 0);
    rpc_set_data(call, s);
    work_read(s);
}

void workflow_work_message(rpc_call *call, const Waymark__Workflow__V1__WorkTasksRequest *message)
{
    work_stream *s = (work_stream *)rpc_data(call);

    s->reading = false;
    if (!s->call || s->gone)
        return;
    take_message(s, message);
    work_read(s);
}

void workflow_work_half_closed(rpc_call *call)
{
    work_stream *s = (work_stream *)rpc_data(call);

    s->reading = false;
    s->half_closed = true;
    /* No new tasks: the worker wants to leave. */
    if (s->opened && !s->worker.closed)
        workflow_worker_close(s->wf->dispatch, &s->worker);
    work_finish(s);
}

void workflow_work_writable(rpc_call *call)
{
    work_stream *s = (work_stream *)rpc_data(call);

    work_flush(s);
    work_read(s);
}

void workflow_work_cancelled(rpc_call *call)
{
    work_stream *s = (work_stream *)rpc_data(call);

    s->gone = true;
    work_finish(s);
}

void workflow_work_ended(rpc_call *call)
{
    work_stream *s = (work_stream *)rpc_data(call);

    s->call = NULL;
    s->gone = true;
    release_all(s);
    wm_arena_free(&s->arena);
    if (s->opened && !s->worker.closed)
        workflow_worker_close(s->wf->dispatch, &s->worker);
    drop_owner(s);
}
