/* server/workflow/instance.c - operations on instances and their batches: the hot path.
 *
 *   start   the step is made when the operation is, since it depends on nothing stored; a
 *           batch is one round trip: insert all whose ids are free, with their history,
 *           tasks and timers, and commit. What was not inserted is looked up by the caller.
 *   apply   two round trips: lock and read, then write and commit (apply.c).
 *   beat    one round trip: heartbeats.
 *
 * A batch may run several times. What a run has reserved (credits of workers) it gives back
 * before it reports that it failed. */
#include <stdlib.h>
#include <string.h>

#include "server/workflow/internal.h"
#include "waymark/workflow/v1/record.pb-c.h"

/* ---- what a committed move leaves to do ---- */

void workflow_push_reserve(workflow *wf, workflow_move *move)
{
    for (move_task *t = move->tasks; t && !move->state.ended; t = t->next)
        t->worker = workflow_dispatch_reserve(wf->dispatch, move->namespace_id, t->queue);
}

void workflow_push_return(workflow *wf, workflow_move *move)
{
    for (move_task *t = move->tasks; t; t = t->next) {
        if (t->worker)
            workflow_dispatch_return(wf->dispatch, (workflow_worker *)t->worker);
        t->worker = NULL;
    }
}

void workflow_push_send(workflow *wf, workflow_move *move, int64_t now_us)
{
    for (move_task *t = move->tasks; t; t = t->next) {
        workflow_task_row row = {
            .key = {move->namespace_id, move->instance_id, t->id},
            .queue = t->queue,
            .attempt = 1,
            .lease = 1,
            .record = t->record,
            .record_size = t->record_size,
        };

        if (!t->worker)
            continue;
        row.name = t->action->name;
        row.lease_ms = t->action->lease_ms;
        row.available_time_us = now_us + t->action->lease_ms * 1000;
        workflow_dispatch_deliver(wf->dispatch, (workflow_worker *)t->worker, &row);
        t->worker = NULL;
    }
}

/* Whether this task was written without a worker. Not to be asked after sending. */
static bool is_waiting(const move_task *task)
{
    return !task->worker;
}

void workflow_move_wake(workflow *wf, const workflow_move *move)
{
    if (move->state.ended)
        return;
    for (const move_timer *t = move->timers; t; t = t->next) {
        if (t->set)
            workflow_timers_due(wf->timers, t->delay_ms);
    }
    for (const move_task *t = move->tasks; t; t = t->next) {
        if (is_waiting(t))
            workflow_dispatch_waiting(wf->dispatch, move->namespace_id, t->queue);
    }
}

/* ---- outbox records ---- */

static void add_packed(store_tx *tx, wm_arena *arena, event_topic topic, int32_t namespace_id,
                       const ProtobufCMessage *message)
{
    uint8_t *bytes = (uint8_t *)wm_arena_alloc(arena, protobuf_c_message_get_packed_size(message));
    size_t size = protobuf_c_message_pack(message, bytes);

    event_outbox_add(tx, topic, namespace_id, bytes, size);
}

static void add_instance_record(store_tx *tx, wm_arena *arena, workflow_move *const *moves,
                                size_t n, int32_t namespace_id)
{
    typedef Waymark__Workflow__V1__InstanceRecord__Change proto_change;
    Waymark__Workflow__V1__InstanceRecord record = WAYMARK__WORKFLOW__V1__INSTANCE_RECORD__INIT;

    record.changes = WM_NEW_ARRAY(arena, proto_change *, n);
    for (size_t i = 0; i < n; i++) {
        proto_change *change;

        if (moves[i]->namespace_id != namespace_id || !moves[i]->entries)
            continue;
        change = WM_NEW(arena, proto_change);
        waymark__workflow__v1__instance_record__change__init(change);
        change->instance_id = (char *)moves[i]->instance_id;
        change->revision = moves[i]->revision;
        change->status = moves[i]->state.ended
                             ? WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_ENDED
                             : WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_RUNNING;
        record.changes[record.n_changes++] = change;
    }
    if (record.n_changes > 0)
        add_packed(tx, arena, EVENT_INSTANCES, namespace_id, &record.base);
}

static bool has_text(char *const *texts, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(texts[i], text) == 0)
            return true;
    }
    return false;
}

static void add_queue_record(store_tx *tx, wm_arena *arena, workflow_move *const *moves, size_t n,
                             int32_t namespace_id)
{
    enum { QUEUES_MAX = 64 };
    Waymark__Workflow__V1__TaskQueueRecord record = WAYMARK__WORKFLOW__V1__TASK_QUEUE_RECORD__INIT;

    record.queues = WM_NEW_ARRAY(arena, char *, QUEUES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (moves[i]->namespace_id != namespace_id || moves[i]->state.ended)
            continue;
        for (const move_task *t = moves[i]->tasks; t; t = t->next) {
            /* More queues than that are found by the poll. */
            if (is_waiting(t) && record.n_queues < QUEUES_MAX &&
                !has_text(record.queues, record.n_queues, t->queue))
                record.queues[record.n_queues++] = (char *)t->queue;
        }
    }
    if (record.n_queues > 0)
        add_packed(tx, arena, EVENT_TASKS, namespace_id, &record.base);
}

void workflow_add_records(store_tx *tx, wm_arena *arena, workflow_move *const *moves, size_t n)
{
    /* Batches are of few namespaces: one pass for each that is met first. */
    for (size_t i = 0; i < n; i++) {
        size_t j = 0;

        while (j < i && moves[j]->namespace_id != moves[i]->namespace_id)
            j++;
        if (j < i)
            continue;
        add_instance_record(tx, arena, moves, n, moves[i]->namespace_id);
        add_queue_record(tx, arena, moves, n, moves[i]->namespace_id);
    }
}

/* ---- start ---- */

typedef struct start_run {
    workflow *wf;
    workflow_start_op **ops; /* sorted by key, without repeats of one key */
    size_t n;
    size_t index;
} start_run;

static int compare_starts(const void *a, const void *b)
{
    const workflow_move *x = &(*(workflow_start_op *const *)a)->move;
    const workflow_move *y = &(*(workflow_start_op *const *)b)->move;

    return workflow_key_compare(x->namespace_id, x->instance_id, y->namespace_id, y->instance_id);
}

/* Sorted: the same order of inserts everywhere, and repeats side by side. Of two starts of one
 * id in a batch only one can be made; the other is looked up like any that was there. */
static void sort_starts(store_batch *batch, start_run *run)
{
    size_t n = 0, kept = 0;

    run->ops = WM_NEW_ARRAY(&batch->arena, workflow_start_op *, batch->n_ops);
    for (store_op *op = batch->ops; op; op = op->next) {
        run->ops[n] = wm_container_of(op, workflow_start_op, op);
        run->ops[n++]->made = false;
    }
    qsort(run->ops, n, sizeof *run->ops, compare_starts);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || compare_starts(&run->ops[kept - 1], &run->ops[i]) != 0)
            run->ops[kept++] = run->ops[i];
    }
    run->n = kept;
}

static void mark_made(start_run *run, const workflow_made *made)
{
    workflow_start_op key, *at = &key, **found;

    key.move.namespace_id = made->namespace_id;
    key.move.instance_id = made->instance_id;
    found = (workflow_start_op **)bsearch(&at, run->ops, run->n, sizeof at, compare_starts);
    if (!found)
        return;
    (*found)->made = true;
    (*found)->time_us = made->time_us;
}

static void start_made(workflow *wf, workflow_start_op *op)
{
    workflow_row row;

    workflow_row_of_move(&row, &op->move, op->time_us);
    workflow_move_wake(wf, &op->move);
    workflow_push_send(wf, &op->move, op->time_us);
    workflow_wait_notify(wf->waiters, &row);
}

static void starts_committed(store_tx *tx, wm_code code)
{
    store_batch *batch = wm_container_of(tx, store_batch, tx);
    start_run *run = (start_run *)batch->state;
    workflow_made *made;
    size_t n;

    if (code == WM_OK) {
        made = workflow_store_read_made(store_tx_rows(tx, run->index), &batch->arena, &n);
        for (size_t i = 0; i < n; i++)
            mark_made(run, &made[i]);
        for (size_t i = 0; i < run->n; i++) {
            if (run->ops[i]->made)
                start_made(run->wf, run->ops[i]);
        }
        event_hub_wake(run->wf->hub);
    }
    for (size_t i = 0; i < run->n; i++)
        workflow_push_return(run->wf, &run->ops[i]->move);
    store_batch_done(batch, code);
}

static void starts_run(store_batch *batch)
{
    start_run *run = WM_NEW(&batch->arena, start_run);
    workflow_start **starts;
    workflow_move **moves;

    run->wf = (workflow *)batch->kind_ctx;
    batch->state = run;
    sort_starts(batch, run);
    starts = WM_NEW_ARRAY(&batch->arena, workflow_start *, run->n);
    moves = WM_NEW_ARRAY(&batch->arena, workflow_move *, run->n);
    for (size_t i = 0; i < run->n; i++) {
        run->ops[i]->start.move = &run->ops[i]->move;
        starts[i] = &run->ops[i]->start;
        moves[i] = &run->ops[i]->move;
        workflow_push_reserve(run->wf, moves[i]);
    }
    run->index = workflow_store_add_starts(&batch->tx, &batch->arena, starts, run->n);
    workflow_add_records(&batch->tx, &batch->arena, moves, run->n);
    store_tx_commit(&batch->tx, starts_committed);
}

const store_batch_kind workflow_start_kind = {
    .name = "workflow_start",
    .weight_max = 512,
    .in_flight_max = 2,
    .run = starts_run,
};

/* ---- apply ---- */

static void ops_take_results(store_batch *batch)
{
    for (store_op *op = batch->ops; op; op = op->next) {
        workflow_ask *ask = &wm_container_of(op, workflow_apply_op, op)->ask;

        op->code = ask->code;
        if (ask->code != WM_OK)
            op->err = ask->err;
    }
}

static void apply_done(store_batch *batch, wm_code code)
{
    workflow_apply *a = (workflow_apply *)batch->state;

    batch->tx.ctx = batch;
    if (code == WM_OK) {
        workflow_apply_committed(a);
        ops_take_results(batch);
    } else {
        workflow_apply_dropped(a);
    }
    store_batch_done(batch, code);
}

static void apply_committed(store_tx *tx, wm_code code)
{
    apply_done(wm_container_of(tx, store_batch, tx), code);
}

static void apply_ready(workflow_apply *a, wm_code code)
{
    store_batch *batch = (store_batch *)a->ctx;

    if (code == WM_OK)
        store_tx_commit(&batch->tx, apply_committed);
    else
        apply_done(batch, code);
}

static void applies_run(store_batch *batch)
{
    workflow_apply *a = WM_NEW(&batch->arena, workflow_apply);
    size_t n = 0;

    a->wf = (workflow *)batch->kind_ctx;
    a->tx = &batch->tx;
    a->arena = &batch->arena;
    a->asks = WM_NEW_ARRAY(&batch->arena, workflow_ask *, batch->n_ops);
    for (store_op *op = batch->ops; op; op = op->next)
        a->asks[n++] = &wm_container_of(op, workflow_apply_op, op)->ask;
    a->n_asks = n;
    a->may_push = true;
    a->ready = apply_ready;
    a->ctx = batch;
    batch->state = a;
    workflow_apply_start(a);
}

/* One batch in flight per lane: several events for one instance stay in order, and two
 * batches do not wait for each other's locks. */
const store_batch_kind workflow_apply_kind_of_batch = {
    .name = "workflow_apply",
    .weight_max = 512,
    .in_flight_max = 1,
    .run = applies_run,
};

/* ---- beat ---- */

static void beats_committed(store_tx *tx, wm_code code)
{
    store_batch *batch = wm_container_of(tx, store_batch, tx);
    const store_rows *rows;

    for (store_op *op = batch->ops; op && code == WM_OK; op = op->next) {
        workflow_beat_op *beat = wm_container_of(op, workflow_beat_op, op);
        bool found = false;

        rows = store_tx_rows(tx, 0);
        for (size_t i = 0; i < store_rows_len(rows) && !found; i++) {
            wm_uuid id = store_uuid(rows, i, 0);

            if (memcmp(&id, &beat->key.task_id, sizeof id) != 0 ||
                store_int64(rows, i, 1) != beat->lease)
                continue;
            beat->expire_time_us = store_time(rows, i, 2);
            found = true;
        }
        op->code = found ? WM_OK
                         : wm_fail(&op->err, WM_ABORTED, "TASK_LEASE_LOST",
                                   "the task is over or was given to another worker");
    }
    store_batch_done(batch, code);
}

static void beats_run(store_batch *batch)
{
    workflow_task_key *keys = WM_NEW_ARRAY(&batch->arena, workflow_task_key, batch->n_ops);
    int64_t *leases = WM_NEW_ARRAY(&batch->arena, int64_t, batch->n_ops);
    store_args args;
    size_t n = 0;

    for (store_op *op = batch->ops; op; op = op->next) {
        const workflow_beat_op *beat = wm_container_of(op, workflow_beat_op, op);

        keys[n] = beat->key;
        leases[n++] = beat->lease;
    }
    workflow_store_lease_args(&args, &batch->arena, keys, leases, n);
    store_tx_add(&batch->tx, &workflow_stmt_heartbeat, &args);
    store_tx_commit(&batch->tx, beats_committed);
}

const store_batch_kind workflow_beat_kind = {
    .name = "workflow_beat",
    .weight_max = 128,
    .in_flight_max = 1,
    .run = beats_run,
};

/* ---- events of another subject's transaction ---- */

typedef struct events_in {
    workflow_apply apply;
    store_hook hook;
    void *callers_ctx;
    void (*done)(void *ctx, store_tx *tx, wm_code code);
    void *done_ctx;
} events_in;

static void events_in_committed(store_hook *hook)
{
    workflow_apply_committed(&wm_container_of(hook, events_in, hook)->apply);
}

/* Whether the caller's commit fails is not told here: so nothing may be held for it, no
 * chart and no worker's credit. Tasks wait until the hook tells the dispatch. */
static void events_in_ready(workflow_apply *a, wm_code code)
{
    events_in *in = wm_container_of(a, events_in, apply);
    store_tx *tx = a->tx;

    workflow_apply_release(a);
    tx->ctx = in->callers_ctx;
    if (code == WM_OK)
        store_tx_add_hook(tx, &in->hook);
    in->done(in->done_ctx, tx, code);
}

static workflow_ask *ask_of_event(wm_arena *arena, const workflow_event_in *event)
{
    workflow_ask *ask = WM_NEW(arena, workflow_ask);
    wm_json *data = NULL;
    wm_err err;

    ask->kind = APPLY_ENTITY;
    ask->namespace_id = event->namespace_id;
    ask->instance_id = event->entity_id;
    ask->event = event->name;
    ask->event_time_us = event->time_us;
    ask->data = workflow_value_empty();
    if (event->data &&
        wm_json_parse(arena, event->data, strlen(event->data), &data, &err) == WM_OK) {
        ask->data = data;
        ask->data_text = event->data;
    }
    return ask;
}

void workflow_events_in(workflow *wf, store_tx *tx, wm_arena *arena,
                        const workflow_event_in *events, size_t n,
                        void (*done)(void *ctx, store_tx *tx, wm_code code), void *ctx)
{
    events_in *in = WM_NEW(arena, events_in);

    in->callers_ctx = tx->ctx;
    in->done = done;
    in->done_ctx = ctx;
    in->hook.committed = events_in_committed;
    in->apply.wf = wf;
    in->apply.tx = tx;
    in->apply.arena = arena;
    in->apply.asks = WM_NEW_ARRAY(arena, workflow_ask *, n);
    for (size_t i = 0; i < n; i++)
        in->apply.asks[i] = ask_of_event(arena, &events[i]);
    in->apply.n_asks = n;
    in->apply.ready = events_in_ready;
    workflow_apply_start(&in->apply);
}
