/* server/workflow/statements.c - the SQL of workflows. Each statement says what its parameters
 * are and what a missing row means. Configurations travel as text, state ids separated by
 * spaces; delays travel as milliseconds, so that all times are PostgreSQL's. */
#include "server/workflow/store.h"

/* ---- finding tasks, timers and bindings ----
 *
 * These tables are often empty when autovacuum looks. PostgreSQL then counts one row until the
 * next look, and reading a whole index costs it no more than one look-up: a join by key may do
 * the former for as long as the plan is kept. Hence LATERAL (... OFFSET 0), which can only be
 * one look-up for each key; and so that the look-up uses the primary key, for another index costs
 * as little, it asks for a task's id by BETWEEN and in order, and leaves no other condition for an
 * index (IS TRUE). There are two ways to write:
 *
 * - By ctid, where the transaction has locked the row or its instance before. A row that another
 *   transaction moved since the statement began would be passed over in silence.
 * - By an INSERT that always finds its row there, because it has just locked it, and goes over it
 *   by the primary key; which works also where the row was moved while the lock was awaited. */
#define TASK_IS_K                                                       \
    "t.namespace_id = k.namespace_id AND t.instance_id = k.instance_id" \
    " AND t.task_id BETWEEN k.task_id AND k.task_id"
#define FOR_TASKS(guard)                                                     \
    " LATERAL (SELECT * FROM waymark.workflow_task t WHERE " TASK_IS_K guard \
    "  ORDER BY t.task_id OFFSET 0 FOR UPDATE) AS t"
#define LOCKED_TASK FOR_TASKS("")
#define LEASED_TASK FOR_TASKS(" AND t.lease = k.lease")
/* What follows is the new available_at, attempt and lease, and where the locked `t` is from. */
#define PUT_TASKS                                                                        \
    "INSERT INTO waymark.workflow_task AS t (namespace_id, instance_id, task_id, queue," \
    "  lease_ms, name, record, available_at, attempt, lease)"                            \
    " SELECT t.namespace_id, t.instance_id, t.task_id, t.queue, t.lease_ms, t.name, t.record, "
#define OVER_TASKS                                                           \
    " ON CONFLICT (namespace_id, instance_id, task_id) DO UPDATE"            \
    " SET available_at = excluded.available_at, attempt = excluded.attempt," \
    "  lease = excluded.lease"
#define TIMER_CTIDS(guard)                                                                        \
    "ctid = ANY(ARRAY(SELECT t.ctid"                                                              \
    " FROM unnest($1::int4[], $2::text[], $3::text[]) AS k(namespace_id, instance_id, timer_id)," \
    " LATERAL (SELECT t.ctid FROM waymark.workflow_timer t"                                       \
    "  WHERE t.namespace_id = k.namespace_id AND t.instance_id = k.instance_id"                   \
    "   AND t.timer_id = k.timer_id" guard " OFFSET 0) AS t))"

/* Starts. $1..$3 charts whose newest version must be $3; $4 namespaces $5 instances $6 charts
 * $7 versions $8 statuses $9 configurations $10 data $11 memories $12 entities $13 start keys
 * $14 must be the newest $15 inputs $16 task names $17 logs $18 request ids $19 revisions.
 * No row: the id is taken, or the chart has a newer version. */
const store_stmt workflow_stmt_start = {
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
const store_stmt workflow_stmt_tasks_made = {
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
const store_stmt workflow_stmt_tasks = {
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
const store_stmt workflow_stmt_timers_made = {
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
const store_stmt workflow_stmt_timers = {
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
const store_stmt workflow_stmt_lock = {
    "workflow_lock",
    "SELECT " INSTANCE_COLUMNS " FROM waymark.workflow_instance i"
    " WHERE (i.namespace_id, i.instance_id) IN (SELECT * FROM unnest($1::int4[], $2::text[]))"
    " ORDER BY i.namespace_id, i.instance_id FOR UPDATE OF i",
};

/* $1 namespaces $2 entities. */
const store_stmt workflow_stmt_lock_bound = {
    "workflow_lock_bound",
    "SELECT " INSTANCE_COLUMNS " FROM waymark.workflow_instance i"
    " WHERE (i.namespace_id, i.instance_id) IN (SELECT b.namespace_id, b.instance_id"
    "  FROM unnest($1::int4[], $2::text[]) AS e(namespace_id, entity_id),"
    "  LATERAL (SELECT * FROM waymark.workflow_binding b WHERE b.namespace_id = e.namespace_id"
    "   AND b.entity_id = e.entity_id OFFSET 0) AS b)"
    " ORDER BY i.namespace_id, i.instance_id FOR UPDATE OF i",
};

/* $1 namespaces $2 instances $3 tasks. No row: the task is over. */
const store_stmt workflow_stmt_lock_tasks = {
    "workflow_lock_tasks",
    "SELECT t.namespace_id, t.instance_id, t.task_id, t.queue, t.name, t.attempt, t.lease,"
    "  t.lease_ms, t.available_at, t.record"
    " FROM (SELECT DISTINCT k.* FROM unnest($1::int4[], $2::text[], $3::uuid[])"
    "  AS k(namespace_id, instance_id, task_id) ORDER BY k.task_id) AS k," LOCKED_TASK
    " ORDER BY k.task_id",
};

/* $1 namespaces $2 instances $3 timers. No row: applied by another, cancelled, or not due. */
const store_stmt workflow_stmt_take_timers = {
    "workflow_take_timers",
    "DELETE FROM waymark.workflow_timer t WHERE " TIMER_CTIDS(
        " AND (t.fire_at <= now()) IS TRUE") " RETURNING t.namespace_id, t.instance_id, t.timer_id, t.event, t.data::text",
};

/* $1 namespaces $2 instances $3 request ids. No row: a new request. */
const store_stmt workflow_stmt_requests = {
    "workflow_requests",
    "SELECT h.namespace_id, h.instance_id, h.request_id,"
    "  array_to_string(h.to_configuration, ' '), h.revision, h.handled"
    " FROM unnest($1::int4[], $2::text[], $3::text[]) AS k(namespace_id, instance_id, request_id),"
    " LATERAL (SELECT * FROM waymark.workflow_history h WHERE h.namespace_id = k.namespace_id"
    "  AND h.instance_id = k.instance_id AND h.request_id = k.request_id"
    "  AND h.request_id IS NOT NULL AND h.kind = 2 OFFSET 0) AS h",
};

/* $1 namespaces $2 instances $3 revisions $4 statuses $5 configurations $6 data $7 memories;
 * the history: $8 namespaces $9 instances $10 revisions $11 kinds $12 handled $13 event times
 * $14 events $15 data $16 from $17 to $18 task names $19 logs $20 request ids $21 failures. */
const store_stmt workflow_stmt_move = {
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

/* What an ended instance leaves behind goes. $1 namespaces $2 instances. Its tasks are locked by
 * a statement before: workers claim and extend them without the instance's lock. */
const store_stmt workflow_stmt_lock_ended = {
    "workflow_lock_ended",
    "SELECT FROM (SELECT t.* FROM unnest($1::int4[], $2::text[]) AS e(namespace_id, instance_id),"
    "  LATERAL (SELECT t.namespace_id, t.instance_id, t.task_id FROM waymark.workflow_task t"
    "   WHERE t.namespace_id = e.namespace_id AND t.instance_id = e.instance_id"
    "   ORDER BY t.task_id OFFSET 0) AS t ORDER BY t.task_id) AS k," LOCKED_TASK,
};
const store_stmt workflow_stmt_end = {
    "workflow_end",
    "WITH tasks AS (DELETE FROM waymark.workflow_task WHERE ctid = ANY(ARRAY(SELECT t.ctid"
    "  FROM unnest($1::int4[], $2::text[]) AS e(namespace_id, instance_id),"
    "  LATERAL (SELECT t.ctid FROM waymark.workflow_task t"
    "   WHERE t.namespace_id = e.namespace_id AND t.instance_id = e.instance_id"
    "   ORDER BY t.task_id OFFSET 0) AS t))),"
    " timers AS (DELETE FROM waymark.workflow_timer WHERE ctid = ANY(ARRAY(SELECT t.ctid"
    "  FROM unnest($1::int4[], $2::text[]) AS e(namespace_id, instance_id),"
    "  LATERAL (SELECT t.ctid FROM waymark.workflow_timer t"
    "   WHERE t.namespace_id = e.namespace_id AND t.instance_id = e.instance_id"
    "   OFFSET 0) AS t)))"
    " SELECT 1",
};
/* $1 namespaces $2 entities $3 instances. */
const store_stmt workflow_stmt_unbind = {
    "workflow_unbind",
    "DELETE FROM waymark.workflow_binding WHERE ctid = ANY(ARRAY(SELECT b.ctid"
    " FROM unnest($1::int4[], $2::text[], $3::text[]) AS e(namespace_id, entity_id, instance_id),"
    " LATERAL (SELECT b.ctid FROM waymark.workflow_binding b"
    "  WHERE b.namespace_id = e.namespace_id AND b.entity_id = e.entity_id"
    "   AND b.instance_id = e.instance_id OFFSET 0) AS b))",
};

/* $1 namespaces $2 instances $3 tasks. */
const store_stmt workflow_stmt_delete_tasks = {
    "workflow_delete_tasks",
    "DELETE FROM waymark.workflow_task WHERE ctid = ANY(ARRAY(SELECT t.ctid"
    " FROM unnest($1::int4[], $2::text[], $3::uuid[]) AS k(namespace_id, instance_id, task_id),"
    " LATERAL (SELECT t.ctid FROM waymark.workflow_task t WHERE " TASK_IS_K
    "  ORDER BY t.task_id OFFSET 0) AS t))",
};

/* $1 namespaces $2 instances $3 tasks $4 delays, ms. */
const store_stmt workflow_stmt_retry_tasks = {
    "workflow_retry_tasks",
    PUT_TASKS "now() + k.delay_ms * interval '1 ms', t.attempt, t.lease + 1"
              " FROM (SELECT DISTINCT ON (k.task_id, k.namespace_id, k.instance_id) k.*"
              "  FROM unnest($1::int4[], $2::text[], $3::uuid[], $4::int8[])"
              "  AS k(namespace_id, instance_id, task_id, delay_ms)) AS k," LOCKED_TASK OVER_TASKS,
};

/* $1 namespaces $2 instances $3 timers. */
const store_stmt workflow_stmt_delete_timers = {
    "workflow_delete_timers",
    "DELETE FROM waymark.workflow_timer t WHERE " TIMER_CTIDS(""),
};

const store_stmt workflow_stmt_claim = {
    "workflow_claim",
    "WITH next AS MATERIALIZED ("
    "  SELECT * FROM waymark.workflow_task"
    "  WHERE namespace_id = $1::int4 AND queue = $2::text AND available_at <= now()"
    "  ORDER BY available_at LIMIT $3::int4 FOR UPDATE SKIP LOCKED) " PUT_TASKS
    "now() + t.lease_ms * interval '1 ms', t.attempt + 1, t.lease + 1 FROM next t" OVER_TASKS
    " RETURNING t.namespace_id, t.instance_id, t.task_id, t.queue, t.name, t.attempt, t.lease,"
    "  t.lease_ms, t.available_at, t.record",
};

/* Locks in the order of task_id, as workflow_stmt_lock_tasks does. No row: the lease is lost, or
 * the task is over. */
const store_stmt workflow_stmt_heartbeat = {
    "workflow_heartbeat",
    PUT_TASKS
    "now() + t.lease_ms * interval '1 ms', t.attempt, t.lease"
    " FROM (SELECT DISTINCT k.* FROM unnest($1::int4[], $2::text[], $3::uuid[], $4::int8[])"
    "  AS k(namespace_id, instance_id, task_id, lease) ORDER BY k.task_id) AS k," LEASED_TASK
        OVER_TASKS " RETURNING t.task_id, t.lease, t.available_at",
};

/* The lease is over at once. $5: attempts that were never begun, 1 or 0. */
const store_stmt workflow_stmt_release = {
    "workflow_release",
    PUT_TASKS
    "now(), t.attempt - k.unbegun, t.lease + 1"
    " FROM (SELECT DISTINCT ON (k.task_id, k.namespace_id, k.instance_id, k.lease) k.*"
    "  FROM unnest($1::int4[], $2::text[], $3::uuid[], $4::int8[], $5::int4[])"
    "  AS k(namespace_id, instance_id, task_id, lease, unbegun)) AS k," LEASED_TASK OVER_TASKS
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
