/* server/workflow/store.c - arguments and rows of the statements in statements.c. */
#include "server/workflow/store.h"

#include <string.h>

/* ---- starts ---- */

int workflow_key_compare(int32_t a_namespace, const char *a, int32_t b_namespace, const char *b)
{
    if (a_namespace != b_namespace)
        return a_namespace < b_namespace ? -1 : 1;
    return strcmp(a, b);
}

static const char *text_or_null(const char *text)
{
    return text && text[0] ? text : NULL;
}

static int32_t status_of(const workflow_move *move)
{
    return move->state.ended ? WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_ENDED
                             : WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_RUNNING;
}

/* The distinct charts that must be the newest; charts in a batch are few. */
static void add_newest_args(store_args *args, wm_arena *arena, workflow_start *const *starts,
                            size_t n)
{
    int32_t *namespaces = WM_NEW_ARRAY(arena, int32_t, n);
    const char **ids = WM_NEW_ARRAY(arena, const char *, n);
    int64_t *versions = WM_NEW_ARRAY(arena, int64_t, n);
    size_t n_charts = 0;

    for (size_t i = 0; i < n; i++) {
        const workflow_move *move = starts[i]->move;
        size_t j = 0;

        while (j < n_charts &&
               (namespaces[j] != move->namespace_id || versions[j] != move->chart->version ||
                strcmp(ids[j], move->chart->chart_id) != 0))
            j++;
        if (!starts[i]->latest || j < n_charts)
            continue;
        namespaces[n_charts] = move->namespace_id;
        ids[n_charts] = move->chart->chart_id;
        versions[n_charts++] = move->chart->version;
    }
    store_arg_int32s(args, namespaces, n_charts);
    store_arg_texts(args, ids, n_charts);
    store_arg_int64s(args, versions, n_charts);
}

/* Columns of moves, for unnest(). */
typedef struct move_columns {
    int32_t *namespaces, *statuses;
    int64_t *revisions;
    const char **ids, **configurations, **data, **entities;
    const void **memories;
    size_t *memory_sizes;
} move_columns;

static void columns_of(move_columns *c, wm_arena *arena, workflow_move *const *moves, size_t n)
{
    c->namespaces = WM_NEW_ARRAY(arena, int32_t, n);
    c->statuses = WM_NEW_ARRAY(arena, int32_t, n);
    c->revisions = WM_NEW_ARRAY(arena, int64_t, n);
    c->ids = WM_NEW_ARRAY(arena, const char *, n);
    c->configurations = WM_NEW_ARRAY(arena, const char *, n);
    c->data = WM_NEW_ARRAY(arena, const char *, n);
    c->entities = WM_NEW_ARRAY(arena, const char *, n);
    c->memories = WM_NEW_ARRAY(arena, const void *, n);
    c->memory_sizes = WM_NEW_ARRAY(arena, size_t, n);
    for (size_t i = 0; i < n; i++) {
        c->namespaces[i] = moves[i]->namespace_id;
        c->statuses[i] = status_of(moves[i]);
        c->revisions[i] = moves[i]->revision;
        c->ids[i] = moves[i]->instance_id;
        c->configurations[i] = moves[i]->configuration;
        c->data[i] = moves[i]->data;
        c->entities[i] = text_or_null(moves[i]->entity_id);
        c->memories[i] = moves[i]->memory;
        c->memory_sizes[i] = moves[i]->memory_size;
    }
}

static void add_start_columns(store_args *args, wm_arena *arena, workflow_start *const *starts,
                              size_t n)
{
    const char **charts = WM_NEW_ARRAY(arena, const char *, n);
    const char **inputs = WM_NEW_ARRAY(arena, const char *, n);
    const char **started = WM_NEW_ARRAY(arena, const char *, n);
    const char **logs = WM_NEW_ARRAY(arena, const char *, n);
    const char **requests = WM_NEW_ARRAY(arena, const char *, n);
    int64_t *versions = WM_NEW_ARRAY(arena, int64_t, n);
    const void **keys = WM_NEW_ARRAY(arena, const void *, n);
    size_t *key_sizes = WM_NEW_ARRAY(arena, size_t, n);
    bool *latest = WM_NEW_ARRAY(arena, bool, n);
    workflow_move **moves = WM_NEW_ARRAY(arena, workflow_move *, n);
    move_columns c;

    for (size_t i = 0; i < n; i++) {
        const move_entry *entry = starts[i]->move->entries;

        moves[i] = starts[i]->move;
        charts[i] = moves[i]->chart->chart_id;
        versions[i] = moves[i]->chart->version;
        keys[i] = starts[i]->start_key;
        key_sizes[i] = sizeof starts[i]->start_key;
        latest[i] = starts[i]->latest;
        inputs[i] = entry->data;
        started[i] = entry->started;
        logs[i] = entry->logs;
        requests[i] = starts[i]->request_id;
    }
    columns_of(&c, arena, moves, n);
    store_arg_int32s(args, c.namespaces, n);
    store_arg_texts(args, c.ids, n);
    store_arg_texts(args, charts, n);
    store_arg_int64s(args, versions, n);
    store_arg_int32s(args, c.statuses, n);
    store_arg_texts(args, c.configurations, n);
    store_arg_texts(args, c.data, n);
    store_arg_bytess(args, c.memories, c.memory_sizes, n);
    store_arg_texts(args, c.entities, n);
    store_arg_bytess(args, keys, key_sizes, n);
    store_arg_bools(args, latest, n);
    store_arg_texts(args, inputs, n);
    store_arg_texts(args, started, n);
    store_arg_texts(args, logs, n);
    store_arg_texts(args, requests, n);
    store_arg_int64s(args, c.revisions, n);
}

static void add_tasks(store_tx *tx, wm_arena *arena, const store_stmt *stmt,
                      workflow_move *const *moves, size_t n_moves)
{
    size_t n = 0, i = 0;

    for (size_t m = 0; m < n_moves; m++) {
        for (const move_task *t = moves[m]->tasks; t && !moves[m]->state.ended; t = t->next)
            n++;
    }
    if (n == 0)
        return;
    int32_t *namespaces = WM_NEW_ARRAY(arena, int32_t, n);
    int32_t *attempts = WM_NEW_ARRAY(arena, int32_t, n);
    const char **ids = WM_NEW_ARRAY(arena, const char *, n);
    const char **queues = WM_NEW_ARRAY(arena, const char *, n);
    const char **names = WM_NEW_ARRAY(arena, const char *, n);
    wm_uuid *tasks = WM_NEW_ARRAY(arena, wm_uuid, n);
    int64_t *delays = WM_NEW_ARRAY(arena, int64_t, n);
    int64_t *leases = WM_NEW_ARRAY(arena, int64_t, n);
    int64_t *lease_ms = WM_NEW_ARRAY(arena, int64_t, n);
    const void **records = WM_NEW_ARRAY(arena, const void *, n);
    size_t *sizes = WM_NEW_ARRAY(arena, size_t, n);
    store_args args;

    for (size_t m = 0; m < n_moves; m++) {
        for (const move_task *t = moves[m]->tasks; t && !moves[m]->state.ended; t = t->next, i++) {
            namespaces[i] = moves[m]->namespace_id;
            ids[i] = moves[m]->instance_id;
            tasks[i] = t->id;
            queues[i] = t->action->id;
            names[i] = t->action->name;
            lease_ms[i] = t->action->lease_ms;
            /* A worker waits: the task is born leased to it. */
            attempts[i] = t->worker != NULL;
            leases[i] = t->worker != NULL;
            delays[i] = t->worker ? t->action->lease_ms : 0;
            records[i] = t->record;
            sizes[i] = t->record_size;
        }
    }
    store_args_init(&args, arena);
    store_arg_int32s(&args, namespaces, n);
    store_arg_texts(&args, ids, n);
    store_arg_uuids(&args, tasks, n);
    store_arg_texts(&args, queues, n);
    store_arg_int64s(&args, delays, n);
    store_arg_int32s(&args, attempts, n);
    store_arg_int64s(&args, leases, n);
    store_arg_int64s(&args, lease_ms, n);
    store_arg_texts(&args, names, n);
    store_arg_bytess(&args, records, sizes, n);
    store_tx_add(tx, stmt, &args);
}

static void add_timers(store_tx *tx, wm_arena *arena, const store_stmt *stmt, bool set,
                       workflow_move *const *moves, size_t n_moves)
{
    size_t n = 0, i = 0;

    for (size_t m = 0; m < n_moves; m++) {
        for (const move_timer *t = moves[m]->timers; t && !moves[m]->state.ended; t = t->next)
            n += t->set == set;
    }
    if (n == 0)
        return;
    int32_t *namespaces = WM_NEW_ARRAY(arena, int32_t, n);
    const char **ids = WM_NEW_ARRAY(arena, const char *, n);
    const char **timers = WM_NEW_ARRAY(arena, const char *, n);
    const char **events = WM_NEW_ARRAY(arena, const char *, n);
    const char **data = WM_NEW_ARRAY(arena, const char *, n);
    int64_t *delays = WM_NEW_ARRAY(arena, int64_t, n);
    store_args args;

    for (size_t m = 0; m < n_moves; m++) {
        for (const move_timer *t = moves[m]->timers; t && !moves[m]->state.ended; t = t->next) {
            if (t->set != set)
                continue;
            namespaces[i] = moves[m]->namespace_id;
            ids[i] = moves[m]->instance_id;
            timers[i] = t->id;
            events[i] = t->event;
            data[i] = t->data;
            delays[i++] = t->delay_ms;
        }
    }
    store_args_init(&args, arena);
    store_arg_int32s(&args, namespaces, n);
    store_arg_texts(&args, ids, n);
    store_arg_texts(&args, timers, n);
    if (set) {
        store_arg_int64s(&args, delays, n);
        store_arg_texts(&args, events, n);
        store_arg_texts(&args, data, n);
    }
    store_tx_add(tx, stmt, &args);
}

size_t workflow_store_add_starts(store_tx *tx, wm_arena *arena, workflow_start *const *starts,
                                 size_t n)
{
    workflow_move **moves = WM_NEW_ARRAY(arena, workflow_move *, n);
    store_args args;
    size_t index;

    for (size_t i = 0; i < n; i++)
        moves[i] = starts[i]->move;
    store_args_init(&args, arena);
    add_newest_args(&args, arena, starts, n);
    add_start_columns(&args, arena, starts, n);
    index = store_tx_add(tx, &workflow_stmt_start, &args);
    add_tasks(tx, arena, &workflow_stmt_tasks_made, moves, n);
    add_timers(tx, arena, &workflow_stmt_timers_made, true, moves, n);
    return index;
}

workflow_made *workflow_store_read_made(const store_rows *rows, wm_arena *arena, size_t *n)
{
    workflow_made *made;

    *n = store_rows_len(rows);
    made = WM_NEW_ARRAY(arena, workflow_made, *n);
    for (size_t i = 0; i < *n; i++) {
        made[i].namespace_id = store_int32(rows, i, 0);
        made[i].instance_id = wm_arena_strdup(arena, store_text(rows, i, 1));
        made[i].time_us = store_time(rows, i, 2);
    }
    return made;
}

/* ---- locking and reading ---- */

static size_t add_by_keys(store_tx *tx, wm_arena *arena, const store_stmt *stmt,
                          const workflow_key *keys, size_t n)
{
    int32_t *namespaces = WM_NEW_ARRAY(arena, int32_t, n);
    const char **ids = WM_NEW_ARRAY(arena, const char *, n);
    store_args args;

    for (size_t i = 0; i < n; i++) {
        namespaces[i] = keys[i].namespace_id;
        ids[i] = keys[i].id;
    }
    store_args_init(&args, arena);
    store_arg_int32s(&args, namespaces, n);
    store_arg_texts(&args, ids, n);
    return store_tx_add(tx, stmt, &args);
}

size_t workflow_store_add_lock(store_tx *tx, wm_arena *arena, const workflow_key *keys, size_t n)
{
    return add_by_keys(tx, arena, &workflow_stmt_lock, keys, n);
}

size_t workflow_store_add_lock_bound(store_tx *tx, wm_arena *arena, const workflow_key *entities,
                                     size_t n)
{
    return add_by_keys(tx, arena, &workflow_stmt_lock_bound, entities, n);
}

static const char *copy_text(wm_arena *arena, const store_rows *rows, size_t row, int column)
{
    return store_is_null(rows, row, column) ? NULL
                                            : wm_arena_strdup(arena, store_text(rows, row, column));
}

static const void *copy_bytes(wm_arena *arena, const store_rows *rows, size_t row, int column,
                              size_t *size)
{
    const void *bytes;

    *size = 0;
    if (store_is_null(rows, row, column))
        return NULL;
    bytes = store_bytes(rows, row, column, size);
    return wm_arena_memdup(arena, bytes, *size);
}

static void read_instance(const store_rows *rows, size_t i, wm_arena *arena, workflow_row *row)
{
    workflow_move *move = &row->move;
    const char *entity;
    size_t size;

    workflow_move_init(move);
    move->namespace_id = store_int32(rows, i, 0);
    move->instance_id = copy_text(arena, rows, i, 1);
    row->chart_id = copy_text(arena, rows, i, 2);
    row->chart_version = store_int64(rows, i, 3);
    move->revision = store_int64(rows, i, 4);
    row->ended =
        store_int32(rows, i, 5) == WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_ENDED;
    move->configuration = copy_text(arena, rows, i, 6);
    move->data = copy_text(arena, rows, i, 7);
    move->memory = copy_bytes(arena, rows, i, 8, &move->memory_size);
    entity = copy_text(arena, rows, i, 9);
    move->entity_id = entity ? entity : "";
    row->start_key = copy_bytes(arena, rows, i, 10, &size);
    move->create_time_us = store_time(rows, i, 11);
    move->update_time_us = store_time(rows, i, 12);
    if (!store_is_null(rows, i, 13))
        move->end_time_us = store_time(rows, i, 13);
    row->now_us = store_time(rows, i, 14);
}

workflow_row *workflow_store_read_instances(const store_rows *rows, wm_arena *arena, size_t *n)
{
    workflow_row *made;

    *n = store_rows_len(rows);
    made = (workflow_row *)wm_arena_zalloc(arena, *n * sizeof *made + 1);
    for (size_t i = 0; i < *n; i++)
        read_instance(rows, i, arena, &made[i]);
    return made;
}

static void add_task_key_args(store_args *args, wm_arena *arena, const workflow_task_key *keys,
                              size_t n)
{
    int32_t *namespaces = WM_NEW_ARRAY(arena, int32_t, n);
    const char **ids = WM_NEW_ARRAY(arena, const char *, n);
    wm_uuid *tasks = WM_NEW_ARRAY(arena, wm_uuid, n);

    for (size_t i = 0; i < n; i++) {
        namespaces[i] = keys[i].namespace_id;
        ids[i] = keys[i].instance_id;
        tasks[i] = keys[i].task_id;
    }
    store_arg_int32s(args, namespaces, n);
    store_arg_texts(args, ids, n);
    store_arg_uuids(args, tasks, n);
}

size_t workflow_store_add_lock_tasks(store_tx *tx, wm_arena *arena, const workflow_task_key *keys,
                                     size_t n)
{
    store_args args;

    store_args_init(&args, arena);
    add_task_key_args(&args, arena, keys, n);
    return store_tx_add(tx, &workflow_stmt_lock_tasks, &args);
}

workflow_task_row *workflow_store_read_tasks(const store_rows *rows, wm_arena *arena, size_t *n)
{
    workflow_task_row *made;

    *n = store_rows_len(rows);
    made = (workflow_task_row *)wm_arena_zalloc(arena, *n * sizeof *made + 1);
    for (size_t i = 0; i < *n; i++) {
        made[i].key.namespace_id = store_int32(rows, i, 0);
        made[i].key.instance_id = copy_text(arena, rows, i, 1);
        made[i].key.task_id = store_uuid(rows, i, 2);
        made[i].queue = copy_text(arena, rows, i, 3);
        made[i].name = copy_text(arena, rows, i, 4);
        made[i].attempt = store_int32(rows, i, 5);
        made[i].lease = store_int64(rows, i, 6);
        made[i].lease_ms = store_int64(rows, i, 7);
        made[i].available_time_us = store_time(rows, i, 8);
        made[i].record = copy_bytes(arena, rows, i, 9, &made[i].record_size);
    }
    return made;
}

static size_t add_by_timer_keys(store_tx *tx, wm_arena *arena, const store_stmt *stmt,
                                const workflow_timer_key *keys, size_t n)
{
    int32_t *namespaces = WM_NEW_ARRAY(arena, int32_t, n);
    const char **ids = WM_NEW_ARRAY(arena, const char *, n);
    const char **names = WM_NEW_ARRAY(arena, const char *, n);
    store_args args;

    for (size_t i = 0; i < n; i++) {
        namespaces[i] = keys[i].namespace_id;
        ids[i] = keys[i].instance_id;
        names[i] = keys[i].timer_id;
    }
    store_args_init(&args, arena);
    store_arg_int32s(&args, namespaces, n);
    store_arg_texts(&args, ids, n);
    store_arg_texts(&args, names, n);
    return store_tx_add(tx, stmt, &args);
}

size_t workflow_store_add_take_timers(store_tx *tx, wm_arena *arena, const workflow_timer_key *keys,
                                      size_t n)
{
    return add_by_timer_keys(tx, arena, &workflow_stmt_take_timers, keys, n);
}

workflow_timer_row *workflow_store_read_timers(const store_rows *rows, wm_arena *arena, size_t *n)
{
    workflow_timer_row *made;

    *n = store_rows_len(rows);
    made = WM_NEW_ARRAY(arena, workflow_timer_row, *n);
    for (size_t i = 0; i < *n; i++) {
        made[i].key.namespace_id = store_int32(rows, i, 0);
        made[i].key.instance_id = copy_text(arena, rows, i, 1);
        made[i].key.timer_id = copy_text(arena, rows, i, 2);
        made[i].event = copy_text(arena, rows, i, 3);
        made[i].data = copy_text(arena, rows, i, 4);
    }
    return made;
}

size_t workflow_store_add_requests(store_tx *tx, wm_arena *arena, const workflow_timer_key *keys,
                                   size_t n)
{
    return add_by_timer_keys(tx, arena, &workflow_stmt_requests, keys, n);
}

workflow_request_row *workflow_store_read_requests(const store_rows *rows, wm_arena *arena,
                                                   size_t *n)
{
    workflow_request_row *made;

    *n = store_rows_len(rows);
    made = WM_NEW_ARRAY(arena, workflow_request_row, *n);
    for (size_t i = 0; i < *n; i++) {
        made[i].namespace_id = store_int32(rows, i, 0);
        made[i].instance_id = copy_text(arena, rows, i, 1);
        made[i].request_id = copy_text(arena, rows, i, 2);
        made[i].configuration = copy_text(arena, rows, i, 3);
        made[i].revision = store_int64(rows, i, 4);
        made[i].handled = store_bool(rows, i, 5);
    }
    return made;
}

/* ---- writing ---- */

/* The entries of all moves as columns, $8 to $21. */
static void add_entry_args(store_args *args, wm_arena *arena, workflow_move *const *moves,
                           size_t n_moves)
{
    enum { EVENT, DATA, FROM, TO, STARTED, LOGS, REQUEST, FAILURE, TEXTS };
    size_t n = 0, i = 0;

    for (size_t m = 0; m < n_moves; m++) {
        for (const move_entry *e = moves[m]->entries; e; e = e->next)
            n++;
    }
    int32_t *namespaces = WM_NEW_ARRAY(arena, int32_t, n);
    int32_t *kinds = WM_NEW_ARRAY(arena, int32_t, n);
    const char **ids = WM_NEW_ARRAY(arena, const char *, n);
    int64_t *revisions = WM_NEW_ARRAY(arena, int64_t, n);
    int64_t *times = WM_NEW_ARRAY(arena, int64_t, n);
    bool *handled = WM_NEW_ARRAY(arena, bool, n);
    const char **texts[TEXTS];

    for (int t = 0; t < TEXTS; t++)
        texts[t] = WM_NEW_ARRAY(arena, const char *, n);
    for (size_t m = 0; m < n_moves; m++) {
        for (const move_entry *e = moves[m]->entries; e; e = e->next, i++) {
            namespaces[i] = moves[m]->namespace_id;
            ids[i] = moves[m]->instance_id;
            revisions[i] = e->revision;
            kinds[i] = e->kind;
            handled[i] = e->handled;
            times[i] = e->event_time_us;
            texts[EVENT][i] = e->event;
            texts[DATA][i] = e->data;
            texts[FROM][i] = e->from;
            texts[TO][i] = e->to;
            texts[STARTED][i] = e->started;
            texts[LOGS][i] = e->logs;
            texts[REQUEST][i] = e->request_id;
            texts[FAILURE][i] = e->failure;
        }
    }
    store_arg_int32s(args, namespaces, n);
    store_arg_texts(args, ids, n);
    store_arg_int64s(args, revisions, n);
    store_arg_int32s(args, kinds, n);
    store_arg_bools(args, handled, n);
    store_arg_times(args, times, n);
    for (int t = 0; t < TEXTS; t++)
        store_arg_texts(args, texts[t], n);
}

static void add_move_rows(store_tx *tx, wm_arena *arena, workflow_move *const *moves, size_t n)
{
    move_columns c;
    store_args args;

    columns_of(&c, arena, moves, n);
    store_args_init(&args, arena);
    store_arg_int32s(&args, c.namespaces, n);
    store_arg_texts(&args, c.ids, n);
    store_arg_int64s(&args, c.revisions, n);
    store_arg_int32s(&args, c.statuses, n);
    store_arg_texts(&args, c.configurations, n);
    store_arg_texts(&args, c.data, n);
    store_arg_bytess(&args, c.memories, c.memory_sizes, n);
    add_entry_args(&args, arena, moves, n);
    store_tx_add(tx, &workflow_stmt_move, &args);
}

static void add_ends(store_tx *tx, wm_arena *arena, workflow_move *const *moves, size_t n)
{
    workflow_key *ended = WM_NEW_ARRAY(arena, workflow_key, n);
    workflow_timer_key *bound = WM_NEW_ARRAY(arena, workflow_timer_key, n);
    size_t n_ended = 0, n_bound = 0;

    for (size_t i = 0; i < n; i++) {
        if (!moves[i]->state.ended)
            continue;
        ended[n_ended].namespace_id = moves[i]->namespace_id;
        ended[n_ended++].id = moves[i]->instance_id;
        if (!moves[i]->entity_id[0])
            continue;
        bound[n_bound].namespace_id = moves[i]->namespace_id;
        bound[n_bound].instance_id = moves[i]->entity_id;
        bound[n_bound++].timer_id = moves[i]->instance_id;
    }
    if (n_ended > 0) {
        add_by_keys(tx, arena, &workflow_stmt_lock_ended, ended, n_ended);
        add_by_keys(tx, arena, &workflow_stmt_end, ended, n_ended);
    }
    if (n_bound > 0)
        add_by_timer_keys(tx, arena, &workflow_stmt_unbind, bound, n_bound);
}

static void add_retries(store_tx *tx, wm_arena *arena, const workflow_retry *retries, size_t n)
{
    workflow_task_key *keys = WM_NEW_ARRAY(arena, workflow_task_key, n);
    int64_t *delays = WM_NEW_ARRAY(arena, int64_t, n);
    store_args args;

    for (size_t i = 0; i < n; i++) {
        keys[i] = retries[i].task->key;
        delays[i] = retries[i].delay_ms;
    }
    store_args_init(&args, arena);
    add_task_key_args(&args, arena, keys, n);
    store_arg_int64s(&args, delays, n);
    store_tx_add(tx, &workflow_stmt_retry_tasks, &args);
}

static void add_done_tasks(store_tx *tx, wm_arena *arena, const workflow_task_row *const *done,
                           size_t n)
{
    workflow_task_key *keys = WM_NEW_ARRAY(arena, workflow_task_key, n);
    store_args args;

    for (size_t i = 0; i < n; i++)
        keys[i] = done[i]->key;
    store_args_init(&args, arena);
    add_task_key_args(&args, arena, keys, n);
    store_tx_add(tx, &workflow_stmt_delete_tasks, &args);
}

void workflow_store_add_moves(store_tx *tx, wm_arena *arena, workflow_move *const *moves, size_t n,
                              const workflow_task_row *const *done, size_t n_done,
                              const workflow_retry *retries, size_t n_retries)
{
    workflow_move **moved = WM_NEW_ARRAY(arena, workflow_move *, n);
    size_t n_moved = 0;

    for (size_t i = 0; i < n; i++) {
        if (moves[i]->entries)
            moved[n_moved++] = moves[i];
    }
    if (n_moved > 0)
        add_move_rows(tx, arena, moved, n_moved);
    if (n_done > 0)
        add_done_tasks(tx, arena, done, n_done);
    if (n_retries > 0)
        add_retries(tx, arena, retries, n_retries);
    /* Timers of moves without entries: a fired one whose event came to nothing. */
    add_timers(tx, arena, &workflow_stmt_delete_timers, false, moves, n);
    add_timers(tx, arena, &workflow_stmt_timers, true, moves, n);
    add_tasks(tx, arena, &workflow_stmt_tasks, moves, n);
    add_ends(tx, arena, moved, n_moved);
}

void workflow_store_lease_args(store_args *args, wm_arena *arena, const workflow_task_key *keys,
                               const int64_t *leases, size_t n)
{
    store_args_init(args, arena);
    add_task_key_args(args, arena, keys, n);
    store_arg_int64s(args, leases, n);
}
