/* server/workflow/store.c - see store.h. Each statement says what its parameters are and what
 * a missing row means. Configurations travel as text, state ids separated by spaces. */
#include "server/workflow/store.h"

#include <string.h>

#define NO_TIME STORE_NULL_INT

/* ---- statements ---- */

/* Starts. $1..$3 charts whose newest version must be $3; $4 namespaces $5 instances $6 charts
 * $7 versions $8 statuses $9 configurations $10 data $11 memories $12 entities $13 start keys
 * $14 must be the newest $15 inputs $16 task names $17 logs $18 request ids $19 revisions.
 * No row: the id is taken, or the chart has a newer version. */
static const store_stmt stmt_start = {
    "workflow_start",
    "WITH stale AS ("
    "  SELECT c.namespace_id, c.chart_id"
    "  FROM unnest($1::int4[], $2::text[], $3::int8[]) AS c(namespace_id, chart_id, version)"
    "  WHERE c.version IS DISTINCT FROM (SELECT max(k.version) FROM waymark.workflow_chart k"
    "    WHERE k.namespace_id = c.namespace_id AND k.chart_id = c.chart_id)"
    "), given AS ("
    "  SELECT * FROM unnest($4::int4[], $5::text[], $6::text[], $7::int8[], $8::int4[],"
    "    $9::text[], $10::text[], $11::bytea[], $12::text[], $13::bytea[], $14::bool[],"
    "    $15::text[], $16::text[], $17::text[], $18::text[], $19::int8[])"
    "  AS g(namespace_id, instance_id, chart_id, chart_version, status, configuration, data,"
    "    memory, entity_id, start_key, latest, input, started, logs, request_id, revision)"
    "), made AS ("
    "  INSERT INTO waymark.workflow_instance (namespace_id, instance_id, chart_id,"
    "    chart_version, revision, status, configuration, data, memory, entity_id, start_key,"
    "    create_time, update_time, end_time)"
    "  SELECT g.namespace_id, g.instance_id, g.chart_id, g.chart_version, g.revision, g.status,"
    "    string_to_array(g.configuration, ' '), g.data::jsonb, g.memory, g.entity_id,"
    "    g.start_key, now(), now(), CASE WHEN g.status = 2 THEN now() END"
    "  FROM given g WHERE NOT (g.latest AND EXISTS (SELECT FROM stale s"
    "    WHERE s.namespace_id = g.namespace_id AND s.chart_id = g.chart_id))"
    "  ORDER BY g.namespace_id, g.instance_id COLLATE \"C\""
    "  ON CONFLICT DO NOTHING RETURNING namespace_id, instance_id, start_key"
    "), history AS ("
    "  INSERT INTO waymark.workflow_history (namespace_id, instance_id, revision, kind, handled,"
    "    create_time, event, data, from_configuration, to_configuration, started_tasks, logs,"
    "    request_id)"
    "  SELECT g.namespace_id, g.instance_id, g.revision, 1, true, now(), '', g.input::jsonb, '{}',"
    "    string_to_array(g.configuration, ' '), string_to_array(g.started, ' '),"
    "    g.logs::jsonb, g.request_id"
    "  FROM given g JOIN made m ON m.namespace_id = g.namespace_id"
    "    AND m.instance_id = g.instance_id AND m.start_key = g.start_key"
    "), bound AS ("
    "  INSERT INTO waymark.workflow_binding (namespace_id, entity_id, instance_id)"
    "  SELECT g.namespace_id, g.entity_id, g.instance_id"
    "  FROM given g JOIN made m ON m.namespace_id = g.namespace_id"
    "    AND m.instance_id = g.instance_id AND m.start_key = g.start_key"
    "  WHERE g.entity_id IS NOT NULL AND g.status = 1"
    ") SELECT namespace_id, instance_id, now() FROM made",
};

/* Tasks of instances that this transaction has just made (xmin) or has locked ($11 false).
 * $1 namespaces $2 instances $3 tasks $4 queues $5 delays, ms $6 attempts $7 leases
 * $8 lease times, ms $9 names $10 records. */
static const store_stmt stmt_tasks_made = {
    "workflow_tasks_made",
    "INSERT INTO waymark.workflow_task (namespace_id, instance_id, task_id, queue, available_at,"
    "  attempt, lease, lease_ms, name, record)"
    " SELECT t.namespace_id, t.instance_id, t.task_id, t.queue,"
    "  now() + t.delay_ms * interval '1 ms', t.attempt, t.lease, t.lease_ms, t.name, t.record"
    " FROM unnest($1::int4[], $2::text[], $3::uuid[], $4::text[], $5::int8[], $6::int4[],"
    "  $7::int8[], $8::int8[], $9::text[], $10::bytea[])"
    " AS t(namespace_id, instance_id, task_id, queue, delay_ms, attempt, lease, lease_ms, name,"
    "  record)"
    " JOIN waymark.workflow_instance i ON i.namespace_id = t.namespace_id"
    "  AND i.instance_id = t.instance_id AND i.xmin = pg_current_xact_id()::xid"
    "  AND i.revision = 1",
};
static const store_stmt stmt_tasks = {
    "workflow_tasks",
    "INSERT INTO waymark.workflow_task (namespace_id, instance_id, task_id, queue, available_at,"
    "  attempt, lease, lease_ms, name, record)"
    " SELECT t.namespace_id, t.instance_id, t.task_id, t.queue,"
    "  now() + t.delay_ms * interval '1 ms', t.attempt, t.lease, t.lease_ms, t.name, t.record"
    " FROM unnest($1::int4[], $2::text[], $3::uuid[], $4::text[], $5::int8[], $6::int4[],"
    "  $7::int8[], $8::int8[], $9::text[], $10::bytea[])"
    " AS t(namespace_id, instance_id, task_id, queue, delay_ms, attempt, lease, lease_ms, name,"
    "  record)",
};

/* Timers, like tasks. $1 namespaces $2 instances $3 timers $4 delays, ms $5 events $6 data. */
static const store_stmt stmt_timers_made = {
    "workflow_timers_made",
    "INSERT INTO waymark.workflow_timer (namespace_id, instance_id, timer_id, fire_at, event,"
    "  data)"
    " SELECT t.namespace_id, t.instance_id, t.timer_id, now() + t.delay_ms * interval '1 ms',"
    "  t.event, t.data::jsonb"
    " FROM unnest($1::int4[], $2::text[], $3::text[], $4::int8[], $5::text[], $6::text[])"
    " AS t(namespace_id, instance_id, timer_id, delay_ms, event, data)"
    " JOIN waymark.workflow_instance i ON i.namespace_id = t.namespace_id"
    "  AND i.instance_id = t.instance_id AND i.xmin = pg_current_xact_id()::xid"
    "  AND i.revision = 1",
};
static const store_stmt stmt_timers = {
    "workflow_timers",
    "INSERT INTO waymark.workflow_timer AS w (namespace_id, instance_id, timer_id, fire_at, event,"
    "  data)"
    " SELECT t.namespace_id, t.instance_id, t.timer_id, now() + t.delay_ms * interval '1 ms',"
    "  t.event, t.data::jsonb"
    " FROM unnest($1::int4[], $2::text[], $3::text[], $4::int8[], $5::text[], $6::text[])"
    " AS t(namespace_id, instance_id, timer_id, delay_ms, event, data)"
    " ON CONFLICT (namespace_id, instance_id, timer_id) DO UPDATE"
    "  SET fire_at = excluded.fire_at, event = excluded.event, data = excluded.data",
};

#define INSTANCE_COLUMNS                                                                        \
    "i.namespace_id, i.instance_id, i.chart_id, i.chart_version, i.revision, i.status::int4,"   \
    " array_to_string(i.configuration, ' '), i.data::text, i.memory, i.entity_id, i.start_key," \
    " i.create_time, i.update_time, i.end_time, now()"

/* $1 namespaces $2 instances. No row: there is no such instance. */
static const store_stmt stmt_lock = {
    "workflow_lock",
    "SELECT " INSTANCE_COLUMNS " FROM waymark.workflow_instance i"
    " WHERE (i.namespace_id, i.instance_id) IN (SELECT * FROM unnest($1::int4[], $2::text[]))"
    " ORDER BY i.namespace_id, i.instance_id FOR UPDATE OF i",
};

/* $1 namespaces $2 entities. */
static const store_stmt stmt_lock_bound = {
    "workflow_lock_bound",
    "SELECT " INSTANCE_COLUMNS " FROM waymark.workflow_instance i"
    " WHERE (i.namespace_id, i.instance_id) IN (SELECT b.namespace_id, b.instance_id"
    "  FROM unnest($1::int4[], $2::text[]) AS e(namespace_id, entity_id)"
    "  JOIN waymark.workflow_binding b ON b.namespace_id = e.namespace_id"
    "   AND b.entity_id = e.entity_id)"
    " ORDER BY i.namespace_id, i.instance_id FOR UPDATE OF i",
};

/* $1 namespaces $2 instances $3 tasks. No row: the task is over. */
static const store_stmt stmt_lock_tasks = {
    "workflow_lock_tasks",
    "SELECT t.namespace_id, t.instance_id, t.task_id, t.queue, t.name, t.attempt, t.lease,"
    "  t.lease_ms, t.available_at, t.record"
    " FROM waymark.workflow_task t"
    " WHERE (t.namespace_id, t.instance_id, t.task_id) IN"
    "  (SELECT * FROM unnest($1::int4[], $2::text[], $3::uuid[]))"
    " ORDER BY t.task_id FOR UPDATE OF t",
};

/* $1 namespaces $2 instances $3 timers. No row: applied by another, cancelled, or not due. */
static const store_stmt stmt_take_timers = {
    "workflow_take_timers",
    "DELETE FROM waymark.workflow_timer t"
    " USING unnest($1::int4[], $2::text[], $3::text[]) AS k(namespace_id, instance_id, timer_id)"
    " WHERE t.namespace_id = k.namespace_id AND t.instance_id = k.instance_id"
    "  AND t.timer_id = k.timer_id AND t.fire_at <= now()"
    " RETURNING t.namespace_id, t.instance_id, t.timer_id, t.event, t.data::text",
};

/* $1 namespaces $2 instances $3 request ids. No row: a new request. */
static const store_stmt stmt_requests = {
    "workflow_requests",
    "SELECT h.namespace_id, h.instance_id, h.request_id,"
    "  array_to_string(h.to_configuration, ' '), h.revision, h.handled"
    " FROM unnest($1::int4[], $2::text[], $3::text[]) AS k(namespace_id, instance_id, request_id)"
    " JOIN waymark.workflow_history h ON h.namespace_id = k.namespace_id"
    "  AND h.instance_id = k.instance_id AND h.request_id = k.request_id"
    " WHERE h.request_id IS NOT NULL AND h.kind = 2",
};

/* $1 namespaces $2 instances $3 revisions $4 statuses $5 configurations $6 data $7 memories;
 * the history: $8 namespaces $9 instances $10 revisions $11 kinds $12 handled $13 event times
 * $14 events $15 data $16 from $17 to $18 task names $19 logs $20 request ids $21 failures. */
static const store_stmt stmt_move = {
    "workflow_move",
    "WITH history AS ("
    "  INSERT INTO waymark.workflow_history (namespace_id, instance_id, revision, kind, handled,"
    "    create_time, event_time, event, data, from_configuration, to_configuration,"
    "    started_tasks, logs, request_id, failure)"
    "  SELECT h.namespace_id, h.instance_id, h.revision, h.kind, h.handled, now(), h.event_time,"
    "    h.event, h.data::jsonb, string_to_array(h.from_, ' '), string_to_array(h.to_, ' '),"
    "    string_to_array(h.started, ' '), h.logs::jsonb, h.request_id, h.failure"
    "  FROM unnest($8::int4[], $9::text[], $10::int8[], $11::int4[], $12::bool[],"
    "    $13::timestamptz[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[],"
    "    $19::text[], $20::text[], $21::text[])"
    "  AS h(namespace_id, instance_id, revision, kind, handled, event_time, event, data, from_,"
    "    to_, started, logs, request_id, failure)"
    ") UPDATE waymark.workflow_instance i SET revision = u.revision, status = u.status,"
    "  configuration = string_to_array(u.configuration, ' '), data = u.data::jsonb,"
    "  memory = u.memory, update_time = now(),"
    "  end_time = CASE WHEN u.status = 2 THEN now() END"
    " FROM unnest($1::int4[], $2::text[], $3::int8[], $4::int4[], $5::text[], $6::text[],"
    "  $7::bytea[])"
    " AS u(namespace_id, instance_id, revision, status, configuration, data, memory)"
    " WHERE i.namespace_id = u.namespace_id AND i.instance_id = u.instance_id",
};

/* What an ended instance leaves behind goes. $1 namespaces $2 instances. */
static const store_stmt stmt_end = {
    "workflow_end",
    "WITH ended AS MATERIALIZED (SELECT * FROM unnest($1::int4[], $2::text[])"
    "   AS e(namespace_id, instance_id)),"
    " tasks AS (DELETE FROM waymark.workflow_task t USING ended e"
    "  WHERE t.namespace_id = e.namespace_id AND t.instance_id = e.instance_id),"
    " timers AS (DELETE FROM waymark.workflow_timer t USING ended e"
    "  WHERE t.namespace_id = e.namespace_id AND t.instance_id = e.instance_id)"
    " SELECT 1",
};
/* $1 namespaces $2 entities $3 instances. */
static const store_stmt stmt_unbind = {
    "workflow_unbind",
    "DELETE FROM waymark.workflow_binding b"
    " USING unnest($1::int4[], $2::text[], $3::text[]) AS e(namespace_id, entity_id, instance_id)"
    " WHERE b.namespace_id = e.namespace_id AND b.entity_id = e.entity_id"
    "  AND b.instance_id = e.instance_id",
};

/* $1 namespaces $2 instances $3 tasks. */
static const store_stmt stmt_delete_tasks = {
    "workflow_delete_tasks",
    "DELETE FROM waymark.workflow_task t"
    " USING unnest($1::int4[], $2::text[], $3::uuid[]) AS k(namespace_id, instance_id, task_id)"
    " WHERE t.namespace_id = k.namespace_id AND t.instance_id = k.instance_id"
    "  AND t.task_id = k.task_id",
};

/* $1 namespaces $2 instances $3 tasks $4 delays, ms. */
static const store_stmt stmt_retry_tasks = {
    "workflow_retry_tasks",
    "UPDATE waymark.workflow_task t SET lease = t.lease + 1,"
    "  available_at = now() + k.delay_ms * interval '1 ms'"
    " FROM unnest($1::int4[], $2::text[], $3::uuid[], $4::int8[])"
    "  AS k(namespace_id, instance_id, task_id, delay_ms)"
    " WHERE t.namespace_id = k.namespace_id AND t.instance_id = k.instance_id"
    "  AND t.task_id = k.task_id",
};

/* $1 namespaces $2 instances $3 timers. */
static const store_stmt stmt_delete_timers = {
    "workflow_delete_timers",
    "DELETE FROM waymark.workflow_timer t"
    " USING unnest($1::int4[], $2::text[], $3::text[]) AS k(namespace_id, instance_id, timer_id)"
    " WHERE t.namespace_id = k.namespace_id AND t.instance_id = k.instance_id"
    "  AND t.timer_id = k.timer_id",
};

const store_stmt workflow_stmt_claim = {
    "workflow_claim",
    "WITH next AS MATERIALIZED ("
    "  SELECT namespace_id, instance_id, task_id FROM waymark.workflow_task"
    "  WHERE namespace_id = $1::int4 AND queue = $2::text AND available_at <= now()"
    "  ORDER BY available_at LIMIT $3::int4 FOR UPDATE SKIP LOCKED)"
    " UPDATE waymark.workflow_task t SET attempt = t.attempt + 1, lease = t.lease + 1,"
    "  available_at = now() + t.lease_ms * interval '1 ms'"
    " FROM next n WHERE t.namespace_id = n.namespace_id AND t.instance_id = n.instance_id"
    "  AND t.task_id = n.task_id"
    " RETURNING t.namespace_id, t.instance_id, t.task_id, t.queue, t.name, t.attempt, t.lease,"
    "  t.lease_ms, t.available_at, t.record",
};

/* Locks in the order of task_id, as stmt_lock_tasks does. No row: the lease is lost, or the
 * task is over. */
const store_stmt workflow_stmt_heartbeat = {
    "workflow_heartbeat",
    "WITH mine AS MATERIALIZED ("
    "  SELECT t.namespace_id, t.instance_id, t.task_id FROM waymark.workflow_task t"
    "  WHERE (t.namespace_id, t.instance_id, t.task_id, t.lease) IN"
    "   (SELECT * FROM unnest($1::int4[], $2::text[], $3::uuid[], $4::int8[]))"
    "  ORDER BY t.task_id FOR UPDATE OF t)"
    " UPDATE waymark.workflow_task t SET available_at = now() + t.lease_ms * interval '1 ms'"
    " FROM mine m WHERE t.namespace_id = m.namespace_id AND t.instance_id = m.instance_id"
    "  AND t.task_id = m.task_id"
    " RETURNING t.task_id, t.lease, t.available_at",
};

/* The lease is over at once. $5: attempts that were never begun, 1 or 0. */
const store_stmt workflow_stmt_release = {
    "workflow_release",
    "UPDATE waymark.workflow_task t SET available_at = now(), lease = t.lease + 1,"
    "  attempt = t.attempt - k.unbegun"
    " FROM unnest($1::int4[], $2::text[], $3::uuid[], $4::int8[], $5::int4[])"
    "  AS k(namespace_id, instance_id, task_id, lease, unbegun)"
    " WHERE t.namespace_id = k.namespace_id AND t.instance_id = k.instance_id"
    "  AND t.task_id = k.task_id AND t.lease = k.lease"
    " RETURNING t.namespace_id, t.queue",
};

const store_stmt workflow_stmt_get = {
    "workflow_get",
    "SELECT " INSTANCE_COLUMNS " FROM waymark.workflow_instance i"
    " WHERE i.namespace_id = $1::int4 AND i.instance_id = $2::text",
};

const store_stmt workflow_stmt_history = {
    "workflow_history",
    "SELECT h.revision, h.kind::int4, h.handled, h.create_time, h.event_time, h.event,"
    "  h.data_text, array_to_string(h.from_configuration, ' '),"
    "  array_to_string(h.to_configuration, ' '), array_to_string(h.started_tasks, ' '),"
    "  h.logs_text, h.request_id, h.failure, i.revision"
    " FROM waymark.workflow_instance i LEFT JOIN LATERAL ("
    "   SELECT *, sum(coalesce(length(data_text), 0) + coalesce(length(logs_text), 0))"
    "     OVER (ORDER BY revision ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS size_before"
    "   FROM (SELECT h.*, h.data::text AS data_text, h.logs::text AS logs_text"
    "    FROM waymark.workflow_history h"
    "    WHERE h.namespace_id = i.namespace_id AND h.instance_id = i.instance_id"
    "     AND h.revision > $3::int8 ORDER BY h.revision LIMIT $4::int4) h"
    "   ) h ON coalesce(h.size_before, 0) < 1048576"
    " WHERE i.namespace_id = $1::int4 AND i.instance_id = $2::text ORDER BY h.revision",
};

const store_stmt workflow_stmt_put_chart = {
    "workflow_put_chart",
    "WITH newest AS (SELECT version, digest FROM waymark.workflow_chart"
    "  WHERE namespace_id = $1::int4 AND chart_id = $2::text ORDER BY version DESC LIMIT 1),"
    " made AS (INSERT INTO waymark.workflow_chart"
    "   (namespace_id, chart_id, version, digest, definition)"
    "  SELECT $1::int4, $2::text, coalesce((SELECT version FROM newest), 0) + 1, $3::bytea,"
    "   $4::bytea WHERE NOT EXISTS (SELECT FROM newest WHERE digest = $3::bytea)"
    "  RETURNING version)"
    " SELECT version, true FROM made"
    " UNION ALL SELECT version, false FROM newest WHERE digest = $3::bytea",
};

const store_stmt workflow_stmt_get_chart = {
    "workflow_get_chart",
    "SELECT version, definition, create_time FROM waymark.workflow_chart"
    " WHERE namespace_id = $1::int4 AND chart_id = $2::text"
    "  AND ($3::int8 = 0 OR version = $3::int8) ORDER BY version DESC LIMIT 1",
};

const store_stmt workflow_stmt_list_charts = {
    "workflow_list_charts",
    "SELECT DISTINCT ON (chart_id) chart_id, version, create_time FROM waymark.workflow_chart"
    " WHERE namespace_id = $1::int4 AND chart_id > $2::text COLLATE \"C\""
    " ORDER BY chart_id, version DESC LIMIT $3::int4",
};

const store_stmt workflow_stmt_due_timers = {
    "workflow_due_timers",
    "SELECT namespace_id, instance_id, timer_id, fire_at, now() FROM waymark.workflow_timer"
    " WHERE fire_at <= now() + interval '1 s' ORDER BY fire_at LIMIT $1::int4",
};

const store_stmt workflow_stmt_charts = {
    "workflow_charts",
    "SELECT c.namespace_id, c.version, c.definition FROM waymark.workflow_chart c"
    " WHERE (c.namespace_id, c.chart_id, c.version) IN"
    "  (SELECT * FROM unnest($1::int4[], $2::text[], $3::int8[]))",
};

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
    index = store_tx_add(tx, &stmt_start, &args);
    add_tasks(tx, arena, &stmt_tasks_made, moves, n);
    add_timers(tx, arena, &stmt_timers_made, true, moves, n);
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
    return add_by_keys(tx, arena, &stmt_lock, keys, n);
}

size_t workflow_store_add_lock_bound(store_tx *tx, wm_arena *arena, const workflow_key *entities,
                                     size_t n)
{
    return add_by_keys(tx, arena, &stmt_lock_bound, entities, n);
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
    return store_tx_add(tx, &stmt_lock_tasks, &args);
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
    return add_by_timer_keys(tx, arena, &stmt_take_timers, keys, n);
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
    return add_by_timer_keys(tx, arena, &stmt_requests, keys, n);
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
    store_tx_add(tx, &stmt_move, &args);
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
    if (n_ended > 0)
        add_by_keys(tx, arena, &stmt_end, ended, n_ended);
    if (n_bound > 0)
        add_by_timer_keys(tx, arena, &stmt_unbind, bound, n_bound);
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
    store_tx_add(tx, &stmt_retry_tasks, &args);
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
    store_tx_add(tx, &stmt_delete_tasks, &args);
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
    add_timers(tx, arena, &stmt_delete_timers, false, moves, n);
    add_timers(tx, arena, &stmt_timers, true, moves, n);
    add_tasks(tx, arena, &stmt_tasks, moves, n);
    add_ends(tx, arena, moved, n_moved);
}

void workflow_store_lease_args(store_args *args, wm_arena *arena, const workflow_task_key *keys,
                               const int64_t *leases, size_t n)
{
    store_args_init(args, arena);
    add_task_key_args(args, arena, keys, n);
    store_arg_int64s(args, leases, n);
}
