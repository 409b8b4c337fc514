/* server/workflow/apply.c - events for locked instances, in whatever transaction.
 *
 *   LOCK  instances in id order, then tasks; take due timers; look request ids up   (one step)
 *   CHARTS those that the cache does not have                                (seldom, one step)
 *   DECIDE in C, ask by ask in order, and add the writes to the next step
 *
 * SendEvent, task results, timers and other subjects' events all come through here, so that
 * several events for one instance in one batch are applied in order, and so that a task's
 * end, its event and what that event starts are one commit.
 *
 * The order of the lock statements matters: each has a snapshot of its own (READ COMMITTED),
 * so what is read after the instances' lock is what the last holder left. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "server/workflow/internal.h"
#include "waymark/workflow/v1/record.pb-c.h"

typedef Waymark__Workflow__V1__TaskRecord task_record;

enum {
    APPLY_MEMORY_MAX = 160 * 1024 * 1024,
    UNREADABLE_AGAIN_MS = 10000 /* a newer release may have written what this one cannot read */
};

/* ---- LOCK ---- */

static bool asks_for_task(const workflow_ask *ask, wm_uuid *task_id)
{
    if (ask->kind == APPLY_COMPLETE || ask->kind == APPLY_FAIL) {
        *task_id = ask->task_id;
        return true;
    }
    return ask->kind == APPLY_TIMER && workflow_task_of_timer(ask->timer_id, task_id);
}

static void lock_instances(workflow_apply *a)
{
    workflow_key *keys = WM_NEW_ARRAY(a->arena, workflow_key, a->n_asks);
    workflow_key *entities = WM_NEW_ARRAY(a->arena, workflow_key, a->n_asks);
    size_t n = 0, n_entities = 0;

    for (size_t i = 0; i < a->n_asks; i++) {
        workflow_key *key = a->asks[i]->kind == APPLY_ENTITY ? &entities[n_entities++] : &keys[n++];

        key->namespace_id = a->asks[i]->namespace_id;
        key->id = a->asks[i]->instance_id;
    }
    /* One statement must take all locks, or their order would be broken. */
    assert(n == 0 || n_entities == 0);
    a->has_bound = n_entities > 0;
    a->has_lock = n > 0;
    if (n_entities > 0)
        a->bound_index = workflow_store_add_lock_bound(a->tx, a->arena, entities, n_entities);
    if (n > 0)
        a->lock_index = workflow_store_add_lock(a->tx, a->arena, keys, n);
}

static void lock_tasks(workflow_apply *a)
{
    workflow_task_key *keys = WM_NEW_ARRAY(a->arena, workflow_task_key, a->n_asks);
    size_t n = 0;

    for (size_t i = 0; i < a->n_asks; i++) {
        if (!asks_for_task(a->asks[i], &keys[n].task_id))
            continue;
        keys[n].namespace_id = a->asks[i]->namespace_id;
        keys[n++].instance_id = a->asks[i]->instance_id;
    }
    a->has_tasks = n > 0;
    if (n > 0)
        a->tasks_index = workflow_store_add_lock_tasks(a->tx, a->arena, keys, n);
}

static void take_timers_and_requests(workflow_apply *a)
{
    workflow_timer_key *timers = WM_NEW_ARRAY(a->arena, workflow_timer_key, a->n_asks);
    workflow_timer_key *requests = WM_NEW_ARRAY(a->arena, workflow_timer_key, a->n_asks);
    size_t n_timers = 0, n_requests = 0;

    for (size_t i = 0; i < a->n_asks; i++) {
        const workflow_ask *ask = a->asks[i];
        workflow_timer_key *key;

        if (ask->kind == APPLY_TIMER)
            key = &timers[n_timers++];
        else if (ask->kind == APPLY_EVENT && ask->request_id)
            key = &requests[n_requests++];
        else
            continue;
        key->namespace_id = ask->namespace_id;
        key->instance_id = ask->instance_id;
        key->timer_id = ask->kind == APPLY_TIMER ? ask->timer_id : ask->request_id;
    }
    a->has_timers = n_timers > 0;
    a->has_requests = n_requests > 0;
    if (n_timers > 0)
        a->timers_index = workflow_store_add_take_timers(a->tx, a->arena, timers, n_timers);
    if (n_requests > 0)
        a->requests_index = workflow_store_add_requests(a->tx, a->arena, requests, n_requests);
}

/* ---- finding what was read ---- */

static workflow_row *find_row(const workflow_apply *a, int32_t namespace_id,
                              const char *instance_id)
{
    size_t low = 0, high = a->n_rows;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const workflow_move *move = &a->rows[middle].move;
        int order =
            workflow_key_compare(namespace_id, instance_id, move->namespace_id, move->instance_id);

        if (order == 0)
            return &a->rows[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static workflow_task_row *find_task(const workflow_apply *a, const workflow_ask *ask,
                                    const wm_uuid *task_id)
{
    size_t low = 0, high = a->n_tasks;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        workflow_task_row *row = &a->tasks[middle];
        int order = memcmp(task_id->bytes, row->key.task_id.bytes, sizeof task_id->bytes);

        if (order == 0)
            return workflow_key_compare(ask->namespace_id, ask->instance_id, row->key.namespace_id,
                                        row->key.instance_id) == 0
                       ? row
                       : NULL;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static int compare_timer_rows(const void *x, const void *y)
{
    const workflow_timer_key *a = &((const workflow_timer_row *)x)->key;
    const workflow_timer_key *b = &((const workflow_timer_row *)y)->key;
    int order =
        workflow_key_compare(a->namespace_id, a->instance_id, b->namespace_id, b->instance_id);

    return order ? order : strcmp(a->timer_id, b->timer_id);
}

static const workflow_timer_row *find_timer(const workflow_apply *a, const workflow_ask *ask)
{
    workflow_timer_row key = {{ask->namespace_id, ask->instance_id, ask->timer_id}, NULL, NULL};

    return a->n_timers == 0
               ? NULL
               : (const workflow_timer_row *)bsearch(&key, a->timers, a->n_timers,
                                                     sizeof *a->timers, compare_timer_rows);
}

/* Found ones are repeats and few. */
static const workflow_request_row *find_request(const workflow_apply *a, const workflow_ask *ask)
{
    for (size_t i = 0; i < a->n_requests; i++) {
        const workflow_request_row *row = &a->requests[i];

        if (row->namespace_id == ask->namespace_id &&
            strcmp(row->instance_id, ask->instance_id) == 0 &&
            strcmp(row->request_id, ask->request_id) == 0)
            return row;
    }
    return NULL;
}

/* ---- DECIDE ---- */

/* Instances are up to a few hundred KB, their trees thirty times that: a batch of the biggest
 * does not fit, and what comes last in it is asked to come again. */
static bool is_full(const workflow_apply *a)
{
    return wm_arena_used(a->arena) > APPLY_MEMORY_MAX;
}

/* Makes a row's tree when the first ask comes to it, and not for all beforehand: so a batch that is
 * too big is decided as far as it fits. */
static wm_code load_row(workflow_apply *a, workflow_row *row)
{
    size_t i = (size_t)(row - a->rows);
    wm_err err;

    if (a->row_loaded[i])
        return a->row_codes[i];
    a->row_loaded[i] = true;
    row->move.chart = a->charts[i];
    if (!a->charts[i])
        a->row_codes[i] = WM_DATA_LOSS;
    else if (is_full(a))
        a->row_codes[i] = WM_EXHAUSTED;
    else
        a->row_codes[i] = workflow_move_load(&row->move, a->arena, row->move.data, row->move.memory,
                                             row->move.memory_size, row->ended, &err);
    return a->row_codes[i];
}

static void answer(workflow_ask *ask, const workflow_row *row, const move_entry *entry)
{
    ask->code = WM_OK;
    ask->configuration = row->move.configuration;
    ask->revision = entry->revision;
    ask->handled = entry->handled;
    ask->ended = row->move.state.ended;
}

static void ask_fail(workflow_ask *ask, wm_code code, const char *reason, const char *what)
{
    ask->code = wm_fail(&ask->err, code, reason, "%s", what);
}

/* An event that nobody waits for an answer to: a failure goes into the history. */
static void take_or_record(workflow_apply *a, workflow_row *row, const move_take *take)
{
    wm_err err;

    if (workflow_move_take(&row->move, a->arena, take, &err) != WM_OK)
        workflow_move_fail(&row->move, a->arena, take, &err);
}

static bool answer_repeat(workflow_apply *a, workflow_ask *ask, const workflow_row *row)
{
    const move_entry *entry = workflow_move_find_request(&row->move, ask->request_id);
    const workflow_request_row *found = entry ? NULL : find_request(a, ask);

    if (!entry && !found)
        return false;
    ask->code = WM_OK;
    ask->repeated = true;
    ask->configuration = entry ? entry->to : found->configuration;
    ask->revision = entry ? entry->revision : found->revision;
    ask->handled = entry ? entry->handled : found->handled;
    ask->ended = row->move.state.ended;
    return true;
}

static void decide_event(workflow_apply *a, workflow_ask *ask, workflow_row *row)
{
    move_take take = {WAYMARK__WORKFLOW__V1__HISTORY_KIND__HISTORY_KIND_EVENT,
                      ask->event,
                      ask->data,
                      ask->data_text,
                      ask->request_id,
                      STORE_NULL_INT};

    if (ask->request_id && answer_repeat(a, ask, row))
        return;
    if (row->move.state.ended) {
        ask_fail(ask, WM_PRECONDITION, "INSTANCE_ENDED", "the instance has ended");
        return;
    }
    ask->code = workflow_move_take(&row->move, a->arena, &take, &ask->err);
    if (ask->code == WM_OK)
        answer(ask, row, wm_container_of(row->move.entries_tail, move_entry, next));
}

static int compare_entity(int32_t namespace_id, const char *entity, const workflow_row *row)
{
    return workflow_key_compare(namespace_id, entity, row->move.namespace_id, row->move.entity_id);
}

static int compare_by_entity(const void *x, const void *y)
{
    const workflow_row *a = *(const workflow_row *const *)x, *b = *(const workflow_row *const *)y;
    int order = compare_entity(a->move.namespace_id, a->move.entity_id, b);

    return order ? order : strcmp(a->move.instance_id, b->move.instance_id);
}

static void sort_by_entity(workflow_apply *a)
{
    a->by_entity = WM_NEW_ARRAY(a->arena, workflow_row *, a->n_rows + 1);
    for (size_t i = 0; i < a->n_rows; i++)
        a->by_entity[i] = &a->rows[i];
    qsort(a->by_entity, a->n_rows, sizeof *a->by_entity, compare_by_entity);
}

/* The first row of the entity or of one after it. */
static size_t find_entity(const workflow_apply *a, int32_t namespace_id, const char *entity)
{
    size_t low = 0, high = a->n_rows;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_entity(namespace_id, entity, a->by_entity[middle]) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Every running instance bound to the entity. */
static void decide_entity(workflow_apply *a, workflow_ask *ask)
{
    move_take take = {WAYMARK__WORKFLOW__V1__HISTORY_KIND__HISTORY_KIND_ENTITY,
                      ask->event,
                      ask->data,
                      ask->data_text,
                      NULL,
                      ask->event_time_us};

    ask->code = WM_OK;
    for (size_t i = find_entity(a, ask->namespace_id, ask->instance_id); i < a->n_rows; i++) {
        workflow_row *row = a->by_entity[i];

        if (compare_entity(ask->namespace_id, ask->instance_id, row) != 0)
            return;
        if (load_row(a, row) == WM_OK && !row->move.state.ended)
            take_or_record(a, row, &take);
    }
}

static const task_record *read_record(workflow_apply *a, const workflow_task_row *task)
{
    ProtobufCMessage *message;
    wm_err err;

    if (wm_codec_unpack(a->arena, &waymark__workflow__v1__task_record__descriptor, task->record,
                        task->record_size, &message, &err) != WM_OK)
        return NULL;
    return (const task_record *)message;
}

/* The task is over: its row goes, and the timer of its timeout. */
static void end_task(workflow_apply *a, workflow_row *row, workflow_task_row *task,
                     const task_record *record)
{
    task->gone = true;
    a->done[a->n_done++] = task;
    if (record && record->has_timeout)
        workflow_move_cancel_timer(&row->move, a->arena,
                                   workflow_task_timer_id(a->arena, &task->key.task_id));
}

static void take_task_event(workflow_apply *a, workflow_row *row, const workflow_task_row *task,
                            const char *prefix, const wm_json *data, const char *data_text)
{
    move_take take = {WAYMARK__WORKFLOW__V1__HISTORY_KIND__HISTORY_KIND_TASK,
                      wm_arena_printf(a->arena, "%s.task.%s", prefix, task->name),
                      data,
                      data_text,
                      NULL,
                      STORE_NULL_INT};

    take_or_record(a, row, &take);
}

static void fail_for_good(workflow_apply *a, workflow_row *row, workflow_task_row *task,
                          const task_record *record, const char *message, const char *reason)
{
    workflow_builder data;

    workflow_build(&data, a->arena, WM_JSON_OBJECT);
    workflow_build_add(&data, "message", workflow_value_string(a->arena, message, strlen(message)));
    workflow_build_add(&data, "reason", workflow_value_string(a->arena, reason, strlen(reason)));
    workflow_build_add(&data, "attempt", workflow_value_number(a->arena, task->attempt));
    end_task(a, row, task, record);
    take_task_event(a, row, task, "error", data.value, NULL);
}

static int64_t duration_ms(const Google__Protobuf__Duration *duration)
{
    return duration ? duration->seconds * 1000 + duration->nanos / 1000000 : 0;
}

static int64_t backoff_ms(const Waymark__Workflow__V1__RetryPolicy *retry, int32_t attempt)
{
    double wait = (double)duration_ms(retry->initial_interval) *
                  pow(retry->multiplier, attempt > 1 ? attempt - 1 : 0);
    double limit = (double)duration_ms(retry->max_interval);

    return (int64_t)(wait < limit ? wait : limit);
}

static void decide_failure(workflow_apply *a, workflow_ask *ask, workflow_row *row,
                           workflow_task_row *task, const task_record *record)
{
    const Waymark__Workflow__V1__RetryPolicy *retry = record->retry;

    if (ask->permanent || !retry ||
        (retry->max_attempts >= 0 && task->attempt >= retry->max_attempts)) {
        fail_for_good(a, row, task, record, ask->message,
                      ask->reason      ? ask->reason
                      : ask->permanent ? "FAILED"
                                       : "ATTEMPTS_USED_UP");
        return;
    }
    task->gone = true;
    ask->retried = true;
    a->retries[a->n_retries].task = task;
    a->retries[a->n_retries++].delay_ms =
        ask->retry_delay_ms >= 0 ? ask->retry_delay_ms : backoff_ms(retry, task->attempt);
}

/* A result or a failure counts if the lease still is the sender's. */
static void decide_task(workflow_apply *a, workflow_ask *ask, workflow_row *row)
{
    workflow_task_row *task = find_task(a, ask, &ask->task_id);
    const task_record *record;

    if (!task || task->gone || row->move.state.ended) {
        ask_fail(ask, WM_NOT_FOUND, "TASK_NOT_FOUND", "the task is over");
        return;
    }
    if (task->lease != ask->lease) {
        ask_fail(ask, WM_ABORTED, "TASK_LEASE_LOST", "the task was given to another worker");
        return;
    }
    record = read_record(a, task);
    if (!record) {
        ask_fail(ask, WM_DATA_LOSS, "INTERNAL", "the stored task cannot be read");
        return;
    }
    ask->code = WM_OK;
    if (ask->kind == APPLY_FAIL) {
        decide_failure(a, ask, row, task, record);
        return;
    }
    end_task(a, row, task, record);
    take_task_event(a, row, task, "done", ask->data, ask->data_text);
}

static void decide_timeout(workflow_apply *a, workflow_ask *ask, workflow_row *row)
{
    wm_uuid task_id;
    workflow_task_row *task =
        workflow_task_of_timer(ask->timer_id, &task_id) ? find_task(a, ask, &task_id) : NULL;

    if (task && !task->gone)
        fail_for_good(a, row, task, NULL, "the task took longer than its timeout", "TIMEOUT");
}

/* Nothing happens when another process was first, or when an event before this one in the
 * batch has cancelled the timer or set it again. */
static void decide_timer(workflow_apply *a, workflow_ask *ask, workflow_row *row)
{
    const workflow_timer_row *timer = find_timer(a, ask);
    move_take take = {WAYMARK__WORKFLOW__V1__HISTORY_KIND__HISTORY_KIND_TIMER,
                      NULL,
                      workflow_value_empty(),
                      NULL,
                      NULL,
                      STORE_NULL_INT};
    wm_json *data;
    wm_err err;

    ask->code = WM_OK;
    if (!timer || row->move.state.ended || workflow_move_find_timer(&row->move, ask->timer_id))
        return;
    if (!timer->event[0]) {
        decide_timeout(a, ask, row);
        return;
    }
    take.event = timer->event;
    if (timer->data) {
        if (wm_json_parse(a->arena, timer->data, strlen(timer->data), &data, &err) != WM_OK)
            return;
        take.data = data;
        take.data_text = timer->data;
    }
    take_or_record(a, row, &take);
}

/* An ask that is not decided now. The lock step has deleted its timer already, and what nobody
 * puts back would never fire. */
static void put_off(workflow_apply *a, workflow_ask *ask, workflow_row *row, int64_t delay_ms)
{
    const workflow_timer_row *timer = ask->kind == APPLY_TIMER ? find_timer(a, ask) : NULL;

    if (timer && !row->move.state.ended && !workflow_move_find_timer(&row->move, ask->timer_id))
        workflow_move_set_timer(&row->move, a->arena, timer->key.timer_id, timer->event,
                                timer->data, delay_ms);
}

static void decide(workflow_apply *a, workflow_ask *ask)
{
    workflow_row *row;
    wm_code code;

    ask->code = WM_OK;
    ask->repeated = ask->retried = false;
    if (ask->kind == APPLY_ENTITY) {
        decide_entity(a, ask);
        return;
    }
    row = find_row(a, ask->namespace_id, ask->instance_id);
    if (!row) {
        if (ask->kind == APPLY_EVENT)
            ask_fail(ask, WM_NOT_FOUND, "INSTANCE_NOT_FOUND", "there is no such instance");
        else
            ask_fail(ask, WM_NOT_FOUND, "TASK_NOT_FOUND", "the task is over");
        return;
    }
    code = load_row(a, row);
    if (code == WM_EXHAUSTED || is_full(a)) {
        put_off(a, ask, row, 0);
        ask_fail(ask, WM_EXHAUSTED, "STORE_BUSY", "too many big instances at once");
        ask->err.retry_after_ms = 50;
        return;
    }
    if (code != WM_OK) {
        put_off(a, ask, row, UNREADABLE_AGAIN_MS);
        ask_fail(ask, WM_DATA_LOSS, "INTERNAL", "the stored instance cannot be read");
        return;
    }
    switch (ask->kind) {
    case APPLY_EVENT:
        decide_event(a, ask, row);
        return;
    case APPLY_COMPLETE:
    case APPLY_FAIL:
        decide_task(a, ask, row);
        return;
    case APPLY_TIMER:
        decide_timer(a, ask, row);
        return;
    case APPLY_ENTITY:
        break;
    }
}

/* Tasks of an ended instance go with it, without a statement of their own. */
static void drop_ended(workflow_apply *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n_done; i++) {
        const workflow_task_key *key = &a->done[i]->key;

        if (!find_row(a, key->namespace_id, key->instance_id)->move.state.ended)
            a->done[n++] = a->done[i];
    }
    a->n_done = n;
}

static void add_writes(workflow_apply *a)
{
    workflow_move **moves = WM_NEW_ARRAY(a->arena, workflow_move *, a->n_rows);
    size_t n = 0;

    for (size_t i = 0; i < a->n_rows; i++) {
        if (!a->rows[i].move.entries && !a->rows[i].move.timers)
            continue;
        if (a->may_push)
            workflow_push_reserve(a->wf, &a->rows[i].move);
        moves[n++] = &a->rows[i].move;
    }
    drop_ended(a);
    workflow_store_add_moves(a->tx, a->arena, moves, n, a->done, a->n_done, a->retries,
                             a->n_retries);
    workflow_add_records(a->tx, a->arena, moves, n);
}

/* Nobody could send an entity's events again, so its transaction fails as a whole. */
static bool loses_entity_events(const workflow_apply *a)
{
    return a->has_bound && is_full(a);
}

static void apply_too_big(store_tx *tx, wm_code code)
{
    workflow_apply *a = (workflow_apply *)tx->ctx;

    (void)code;
    code = wm_fail(&tx->err, WM_EXHAUSTED, "STORE_BUSY",
                   "too many big instances are bound to these entities");
    a->ready(a, code);
}

static void apply_decide(workflow_apply *a)
{
    if (a->has_bound)
        sort_by_entity(a);
    a->done = WM_NEW_ARRAY(a->arena, const workflow_task_row *, a->n_asks);
    a->retries = WM_NEW_ARRAY(a->arena, workflow_retry, a->n_asks);
    a->n_done = a->n_retries = 0;
    for (size_t i = 0; i < a->n_asks; i++)
        decide(a, a->asks[i]);
    if (loses_entity_events(a)) {
        store_tx_rollback(a->tx, apply_too_big);
        return;
    }
    add_writes(a);
    a->ready(a, WM_OK);
}

/* ---- CHARTS ---- */

static bool find_charts(workflow_apply *a)
{
    bool all = true;

    for (size_t i = 0; i < a->n_rows; i++) {
        if (!a->charts[i])
            a->charts[i] = workflow_cache_find(a->wf->cache, a->rows[i].move.namespace_id,
                                               a->rows[i].chart_id, a->rows[i].chart_version);
        all &= a->charts[i] != NULL;
    }
    return all;
}

static void charts_loaded(store_tx *tx, wm_code code)
{
    workflow_apply *a = (workflow_apply *)tx->ctx;
    const store_rows *rows;

    if (code != WM_OK) {
        workflow_apply_release(a);
        a->ready(a, code);
        return;
    }
    rows = store_tx_rows(tx, 0);
    for (size_t i = 0; i < store_rows_len(rows); i++) {
        workflow_chart *chart;
        size_t size;
        const void *definition = store_bytes(rows, i, 2, &size);
        wm_err err;

        if (workflow_cache_add(a->wf->cache, store_int32(rows, i, 0), store_int64(rows, i, 1),
                               false, definition, size, &chart, &err) == WM_OK)
            workflow_chart_unref(chart);
    }
    find_charts(a);
    apply_decide(a);
}

static void load_charts(workflow_apply *a)
{
    int32_t *namespaces = WM_NEW_ARRAY(a->arena, int32_t, a->n_rows);
    const char **ids = WM_NEW_ARRAY(a->arena, const char *, a->n_rows);
    int64_t *versions = WM_NEW_ARRAY(a->arena, int64_t, a->n_rows);
    store_args args;
    size_t n = 0;

    for (size_t i = 0; i < a->n_rows; i++) {
        if (a->charts[i])
            continue;
        namespaces[n] = a->rows[i].move.namespace_id;
        ids[n] = a->rows[i].chart_id;
        versions[n++] = a->rows[i].chart_version;
    }
    store_args_init(&args, a->arena);
    store_arg_int32s(&args, namespaces, n);
    store_arg_texts(&args, ids, n);
    store_arg_int64s(&args, versions, n);
    store_tx_add(a->tx, &workflow_stmt_charts, &args);
    store_tx_step(a->tx, charts_loaded);
}

static void apply_locked(store_tx *tx, wm_code code)
{
    workflow_apply *a = (workflow_apply *)tx->ctx;

    if (code != WM_OK) {
        a->ready(a, code);
        return;
    }
    if (a->has_lock || a->has_bound)
        a->rows = workflow_store_read_instances(
            store_tx_rows(tx, a->has_lock ? a->lock_index : a->bound_index), a->arena, &a->n_rows);
    if (a->has_tasks)
        a->tasks =
            workflow_store_read_tasks(store_tx_rows(tx, a->tasks_index), a->arena, &a->n_tasks);
    if (a->has_timers) {
        a->timers =
            workflow_store_read_timers(store_tx_rows(tx, a->timers_index), a->arena, &a->n_timers);
        if (a->n_timers > 1)
            qsort(a->timers, a->n_timers, sizeof *a->timers, compare_timer_rows);
    }
    if (a->has_requests)
        a->requests = workflow_store_read_requests(store_tx_rows(tx, a->requests_index), a->arena,
                                                   &a->n_requests);
    a->charts = (workflow_chart **)wm_arena_zalloc(a->arena, (a->n_rows + 1) * sizeof *a->charts);
    a->row_codes = WM_NEW_ARRAY(a->arena, wm_code, a->n_rows + 1);
    a->row_loaded = (bool *)wm_arena_zalloc(a->arena, a->n_rows + 1);
    if (find_charts(a))
        apply_decide(a);
    else
        load_charts(a);
}

/* ---- the whole ---- */

void workflow_apply_start(workflow_apply *a)
{
    a->rows = NULL;
    a->n_rows = a->n_tasks = a->n_timers = a->n_requests = 0;
    a->charts = NULL;
    a->tx->ctx = a;
    lock_instances(a);
    lock_tasks(a);
    take_timers_and_requests(a);
    store_tx_step(a->tx, apply_locked);
}

void workflow_apply_release(workflow_apply *a)
{
    for (size_t i = 0; a->charts && i < a->n_rows; i++) {
        workflow_chart_unref(a->charts[i]);
        a->rows[i].move.chart = NULL;
    }
    a->charts = NULL;
}

void workflow_apply_committed(workflow_apply *a)
{
    bool any = false;

    for (size_t i = 0; i < a->n_rows; i++) {
        workflow_row *row = &a->rows[i];

        if (!row->move.entries)
            continue;
        any = true;
        row->ended = row->move.state.ended;
        row->move.update_time_us = row->now_us;
        if (row->ended)
            row->move.end_time_us = row->now_us;
        workflow_move_wake(a->wf, &row->move);
        if (a->may_push)
            workflow_push_send(a->wf, &row->move, row->now_us);
        workflow_wait_notify(a->wf->waiters, row);
    }
    for (size_t i = 0; i < a->n_retries; i++) {
        if (a->retries[i].delay_ms <= 0)
            workflow_dispatch_waiting(a->wf->dispatch, a->retries[i].task->key.namespace_id,
                                      a->retries[i].task->queue);
        else
            workflow_dispatch_due(a->wf->dispatch, a->retries[i].delay_ms);
    }
    if (any)
        event_hub_wake(a->wf->hub);
    workflow_apply_release(a);
}

void workflow_apply_dropped(workflow_apply *a)
{
    for (size_t i = 0; a->may_push && i < a->n_rows; i++)
        workflow_push_return(a->wf, &a->rows[i].move);
    workflow_apply_release(a);
}
