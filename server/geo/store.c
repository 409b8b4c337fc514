/* geo/store.c - every statement of geo/.
 *
 * Statements over arrays join unnest() to tables by their whole key, so that each plan is a
 * nested loop over an index, however big the tables have become since it was made.
 */
#include "server/geo/store.h"

#include <math.h>

/* ---- the batch of positions ---- */

/* Makes the partitions for these times. $1 times */
static const store_stmt months_ensure = {
    "geo.months_ensure",
    "SELECT waymark.ensure_position_partition(t) FROM unnest($1::timestamptz[]) t"};

/* Makes entities that are not there; rows without a fix are seen by nobody else, as their
 * transaction gives them one, deletes them or fails. $1 namespaces, $2 entities */
static const store_stmt insert_entities = {"geo.insert_entities",
                                           "INSERT INTO waymark.entity (namespace_id, entity_id)"
                                           " SELECT * FROM unnest($1::int[], $2::text[])"
                                           " ON CONFLICT DO NOTHING"};

/* Locks entities one by one in the order given. $1 namespaces, $2 entities */
static const store_stmt lock_entities = {
    "geo.lock_entities",
    "SELECT u.i, e.fix_time, e.fence_keys, now()"
    " FROM unnest($1::int[], $2::text[]) WITH ORDINALITY AS u (namespace_id, entity_id, i),"
    " LATERAL (SELECT e.fix_time, e.fence_keys FROM waymark.entity e"
    "  WHERE e.namespace_id = u.namespace_id AND e.entity_id = u.entity_id"
    "  FOR NO KEY UPDATE) e"};

/* A statement after the lock and with a snapshot of its own, so what it says holds for the
 * locked entities: a fence that was committed before is in. $1 namespaces */
static const store_stmt fence_revisions = {
    "geo.fence_revisions", "SELECT namespace_id, revision FROM waymark.fence_revision"
                           " WHERE namespace_id = ANY ($1::int[])"};

/* $1 namespace, $2 revision known */
static const store_stmt fence_changes = {
    "geo.fence_changes", "SELECT fence_key, revision, fence_id, wkb FROM waymark.fence"
                         " WHERE namespace_id = $1::int AND revision > $2::bigint"
                         " ORDER BY revision"};

/* $1 namespaces, $2 entities */
static const store_stmt bindings = {
    "geo.bindings",
    "SELECT u.i FROM unnest($1::int[], $2::text[]) WITH ORDINALITY AS u (namespace_id, entity_id, i)"
    " WHERE EXISTS (SELECT FROM waymark.workflow_binding b"
    "  WHERE b.namespace_id = u.namespace_id AND b.entity_id = u.entity_id)"
    " ORDER BY u.i"};

/* $1 namespaces, $2 entities, $3 times, $4 to $8 the fix, $9 memberships as text or null */
static const store_stmt update_entities = {
    "geo.update_entities",
    "UPDATE waymark.entity e SET fix_time = u.fix_time, lon_deg = u.lon_deg, lat_deg = u.lat_deg,"
    " alt_m = u.alt_m, speed_mps = u.speed_mps, heading_deg = u.heading_deg,"
    " fence_keys = coalesce(u.fence_keys::bigint[], e.fence_keys), update_time = now()"
    " FROM unnest($1::int[], $2::text[], $3::timestamptz[], $4::float8[], $5::float8[],"
    "  $6::float8[], $7::float8[], $8::float8[], $9::text[])"
    "  AS u (namespace_id, entity_id, fix_time, lon_deg, lat_deg, alt_m, speed_mps, heading_deg,"
    "   fence_keys)"
    " WHERE e.namespace_id = u.namespace_id AND e.entity_id = u.entity_id"};

/* $1 namespaces, $2 entities */
static const store_stmt delete_blank_entities = {
    "geo.delete_blank_entities",
    "DELETE FROM waymark.entity e USING unnest($1::int[], $2::text[]) AS u (namespace_id, entity_id)"
    " WHERE e.namespace_id = u.namespace_id AND e.entity_id = u.entity_id AND e.fix_time IS NULL"};

#define INSERT_POSITIONS                                                                          \
    "INSERT INTO waymark.position"                                                                \
    " (namespace_id, entity_id, time, lon_deg, lat_deg, alt_m, speed_mps, heading_deg)"           \
    " SELECT * FROM unnest($1::int[], $2::text[], $3::timestamptz[], $4::float8[], $5::float8[]," \
    "  $6::float8[], $7::float8[], $8::float8[])"                                                 \
    " ON CONFLICT DO NOTHING"

/* $1 namespaces, $2 entities, $3 times, $4 to $8 the fix */
static const store_stmt insert_positions = {"geo.insert_positions", INSERT_POSITIONS};

/* The same; says which were not there before. */
static const store_stmt insert_late_positions = {"geo.insert_late_positions", INSERT_POSITIONS
                                                 " RETURNING namespace_id, entity_id, time"};

/* $1 namespaces, $2 entities, $3 times, $4 fence keys, $5 kinds, $6 event ids, $7 fence ids,
 * $8 longitudes, $9 latitudes, $10 first fixes */
static const store_stmt insert_events = {
    "geo.insert_events",
    "INSERT INTO waymark.fence_event (namespace_id, entity_id, time, fence_key, kind, event_id,"
    " fence_id, lon_deg, lat_deg, first_fix)"
    " SELECT * FROM unnest($1::int[], $2::text[], $3::timestamptz[], $4::bigint[], $5::int[],"
    "  $6::uuid[], $7::text[], $8::float8[], $9::float8[], $10::boolean[])"
    " ON CONFLICT DO NOTHING"};

static void arg_keys(store_args *args, const geo_entity_keys *keys)
{
    store_arg_int32s(args, keys->namespace_ids, keys->n);
    store_arg_texts(args, keys->entity_ids, keys->n);
}

static void arg_fixes(store_args *args, const geo_fix_columns *fixes)
{
    size_t n = fixes->keys.n;

    arg_keys(args, &fixes->keys);
    store_arg_times(args, fixes->times_us, n);
    store_arg_float8s(args, fixes->lon_deg, n, false);
    store_arg_float8s(args, fixes->lat_deg, n, false);
    store_arg_float8s(args, fixes->alt_m, n, true);
    store_arg_float8s(args, fixes->speed_mps, n, true);
    store_arg_float8s(args, fixes->heading_deg, n, true);
}

static size_t add_keys(store_tx *tx, wm_arena *arena, const store_stmt *stmt,
                       const geo_entity_keys *keys)
{
    store_args args;

    store_args_init(&args, arena);
    arg_keys(&args, keys);
    return store_tx_add(tx, stmt, &args);
}

void geo_store_months_ensure(store *store, store_query *query, wm_arena *arena,
                             const int64_t *times_us, size_t n,
                             void (*done)(store_query *query, wm_code code))
{
    store_args args;

    store_args_init(&args, arena);
    store_arg_times(&args, times_us, n);
    store_query_start(store, query, arena, &months_ensure, &args, true, done);
}

void geo_store_add_insert_entities(store_tx *tx, wm_arena *arena, const geo_entity_keys *keys)
{
    add_keys(tx, arena, &insert_entities, keys);
}

size_t geo_store_add_lock_entities(store_tx *tx, wm_arena *arena, const geo_entity_keys *keys)
{
    return add_keys(tx, arena, &lock_entities, keys);
}

size_t geo_store_read_motion(const store_rows *rows, size_t row, wm_arena *arena,
                             geo_motion *motion, int64_t *now_us)
{
    motion->seen = !store_is_null(rows, row, 1);
    motion->time_us = motion->seen ? store_time(rows, row, 1) : 0;
    motion->keys = store_int64s(rows, row, 2, arena, &motion->n_keys);
    motion->keys_changed = false;
    *now_us = store_time(rows, row, 3);
    return (size_t)store_int64(rows, row, 0) - 1;
}

size_t geo_store_add_fence_revisions(store_tx *tx, wm_arena *arena, const int32_t *namespace_ids,
                                     size_t n)
{
    store_args args;

    store_args_init(&args, arena);
    store_arg_int32s(&args, namespace_ids, n);
    return store_tx_add(tx, &fence_revisions, &args);
}

size_t geo_store_add_fence_changes(store_tx *tx, wm_arena *arena, int32_t namespace_id,
                                   int64_t revision)
{
    store_args args;

    store_args_init(&args, arena);
    store_arg_int32(&args, namespace_id);
    store_arg_int64(&args, revision);
    return store_tx_add(tx, &fence_changes, &args);
}

void geo_store_read_fence_change(const store_rows *rows, size_t row, geo_fence_change *change)
{
    change->key = store_int64(rows, row, 0);
    change->revision = store_int64(rows, row, 1);
    change->fence_id = store_text(rows, row, 2);
    change->deleted = store_is_null(rows, row, 3);
    if (!change->deleted)
        change->wkb.bytes = store_bytes(rows, row, 3, &change->wkb.size);
}

size_t geo_store_add_bindings(store_tx *tx, wm_arena *arena, const geo_entity_keys *keys)
{
    return add_keys(tx, arena, &bindings, keys);
}

void geo_store_add_update_entities(store_tx *tx, wm_arena *arena, const geo_fix_columns *fixes)
{
    store_args args;

    store_args_init(&args, arena);
    arg_fixes(&args, fixes);
    store_arg_texts(&args, fixes->fence_keys, fixes->keys.n);
    store_tx_add(tx, &update_entities, &args);
}

void geo_store_add_delete_blank_entities(store_tx *tx, wm_arena *arena, const geo_entity_keys *keys)
{
    add_keys(tx, arena, &delete_blank_entities, keys);
}

void geo_store_add_insert_positions(store_tx *tx, wm_arena *arena, const geo_fix_columns *fixes)
{
    store_args args;

    store_args_init(&args, arena);
    arg_fixes(&args, fixes);
    store_tx_add(tx, &insert_positions, &args);
}

size_t geo_store_add_insert_late_positions(store_tx *tx, wm_arena *arena,
                                           const geo_fix_columns *fixes)
{
    store_args args;

    store_args_init(&args, arena);
    arg_fixes(&args, fixes);
    return store_tx_add(tx, &insert_late_positions, &args);
}

void geo_store_add_insert_events(store_tx *tx, wm_arena *arena, const geo_event_columns *events)
{
    size_t n = events->keys.n;
    store_args args;

    store_args_init(&args, arena);
    arg_keys(&args, &events->keys);
    store_arg_times(&args, events->times_us, n);
    store_arg_int64s(&args, events->fence_keys, n);
    store_arg_int32s(&args, events->kinds, n);
    store_arg_uuids(&args, events->event_ids, n);
    store_arg_texts(&args, events->fence_ids, n);
    store_arg_float8s(&args, events->lon_deg, n, false);
    store_arg_float8s(&args, events->lat_deg, n, false);
    store_arg_bools(&args, events->first_fixes, n);
    store_tx_add(tx, &insert_events, &args);
}

/* ---- entities and tracks ---- */

const store_stmt geo_store_get_entity = {
    "geo.get_entity",
    "SELECT e.fix_time, e.lon_deg, e.lat_deg, e.alt_m, e.speed_mps, e.heading_deg,"
    " (SELECT string_agg(f.fence_id, E'\\n' ORDER BY f.fence_id) FROM waymark.fence f"
    "  WHERE f.namespace_id = e.namespace_id AND f.fence_key = ANY (e.fence_keys)"
    "  AND f.delete_time IS NULL),"
    " e.create_time, e.update_time"
    " FROM waymark.entity e WHERE e.namespace_id = $1::int AND e.entity_id = $2::text"};

const store_stmt geo_store_get_track = {
    "geo.get_track", "SELECT time, lon_deg, lat_deg, alt_m, speed_mps, heading_deg"
                     " FROM waymark.position WHERE namespace_id = $1::int AND entity_id = $2::text"
                     " AND time >= $3::timestamptz AND time < $4::timestamptz"
                     " ORDER BY time LIMIT $5::bigint"};

const store_stmt geo_store_scan_entities = {
    "geo.scan_entities",
    "SELECT fix_time, lon_deg, lat_deg, alt_m, speed_mps, heading_deg, namespace_id, entity_id"
    " FROM waymark.entity WHERE (namespace_id, entity_id) > ($1::int, $2::text)"
    " ORDER BY namespace_id, entity_id LIMIT $3::bigint"};

static double read_optional(const store_rows *rows, size_t row, int column)
{
    return store_is_null(rows, row, column) ? NAN : store_float8(rows, row, column);
}

geo_fix geo_store_read_fix(const store_rows *rows, size_t row, int column)
{
    geo_fix fix = {
        .time_us = store_time(rows, row, column),
        .lon_deg = store_float8(rows, row, column + 1),
        .lat_deg = store_float8(rows, row, column + 2),
        .alt_m = read_optional(rows, row, column + 3),
        .speed_mps = read_optional(rows, row, column + 4),
        .heading_deg = read_optional(rows, row, column + 5),
    };

    return fix;
}

/* ---- fences ---- */

#define FENCE_COLUMNS "fence_id, display_name, revision, create_time, update_time, wkb"

const store_stmt geo_store_next_fence_revision = {
    "geo.next_fence_revision",
    "INSERT INTO waymark.fence_revision AS r (namespace_id, revision) VALUES ($1::int, 1)"
    " ON CONFLICT (namespace_id) DO UPDATE SET revision = r.revision + 1"
    " RETURNING revision"};

const store_stmt geo_store_get_fence = {"geo.get_fence",
                                        "SELECT " FENCE_COLUMNS " FROM waymark.fence"
                                        " WHERE namespace_id = $1::int AND fence_id = $2::text"
                                        " AND delete_time IS NULL"};

const store_stmt geo_store_list_fences = {
    "geo.list_fences", "SELECT fence_id, display_name, revision, create_time, update_time,"
                       " CASE WHEN $4::boolean THEN wkb END"
                       " FROM waymark.fence WHERE namespace_id = $1::int AND fence_id > $2::text"
                       " AND delete_time IS NULL ORDER BY fence_id LIMIT $3::bigint"};

const store_stmt geo_store_insert_fence = {
    "geo.insert_fence",
    "INSERT INTO waymark.fence (namespace_id, fence_id, display_name, revision, wkb)"
    " VALUES ($1::int, $2::text, $3::text, $4::bigint, $5::bytea) RETURNING " FENCE_COLUMNS};

const store_stmt geo_store_update_fence = {
    "geo.update_fence",
    "UPDATE waymark.fence SET display_name = coalesce($3::text, display_name),"
    " revision = $4::bigint, wkb = coalesce($5::bytea, wkb), update_time = now()"
    " WHERE namespace_id = $1::int AND fence_id = $2::text AND delete_time IS NULL"
    " RETURNING " FENCE_COLUMNS};

const store_stmt geo_store_delete_fence = {
    "geo.delete_fence",
    "UPDATE waymark.fence SET revision = $3::bigint, wkb = NULL, delete_time = now()"
    " WHERE namespace_id = $1::int AND fence_id = $2::text AND delete_time IS NULL"};

void geo_store_read_fence(const store_rows *rows, size_t row, geo_fence_row *fence)
{
    fence->fence_id = store_text(rows, row, 0);
    fence->display_name = store_text(rows, row, 1);
    fence->revision = store_int64(rows, row, 2);
    fence->create_time_us = store_time(rows, row, 3);
    fence->update_time_us = store_time(rows, row, 4);
    fence->wkb = (geo_wkb){0};
    if (!store_is_null(rows, row, 5))
        fence->wkb.bytes = store_bytes(rows, row, 5, &fence->wkb.size);
}

/* Pages of crossings by (time, event_id), forwards or backwards, after a position. One statement
 * for each way to ask, because a plan for all of them would fit none.
 * $1 namespace, $2 from, $3 to, $4 and $5 the position, $6 limit, then the filters */
#define LIST_EVENTS(filter, after, order)                                                         \
    "SELECT event_id, entity_id, fence_id, kind::int, time, lon_deg, lat_deg, first_fix,"         \
    " record_time FROM waymark.fence_event WHERE namespace_id = $1::int"                          \
    " AND time >= $2::timestamptz AND time < $3::timestamptz"                                     \
    " AND (time, event_id) " after " ($4::timestamptz, $5::uuid) " filter " ORDER BY time " order \
    ", event_id " order " LIMIT $6::bigint"
#define LIST_EVENTS_UP(filter) LIST_EVENTS(filter, ">", "ASC")
#define LIST_EVENTS_DOWN(filter) LIST_EVENTS(filter, "<", "DESC")
#define OF_FENCE "AND fence_id = $7::text"
#define OF_ENTITY "AND entity_id = $7::text AND ($8::text IS NULL OR fence_id = $8::text)"

static const store_stmt list_events[2][3] = {
    {{"geo.list_events", LIST_EVENTS_UP("")},
     {"geo.list_events_fence", LIST_EVENTS_UP(OF_FENCE)},
     {"geo.list_events_entity", LIST_EVENTS_UP(OF_ENTITY)}},
    {{"geo.list_events_desc", LIST_EVENTS_DOWN("")},
     {"geo.list_events_fence_desc", LIST_EVENTS_DOWN(OF_FENCE)},
     {"geo.list_events_entity_desc", LIST_EVENTS_DOWN(OF_ENTITY)}}};

const store_stmt *geo_store_list_events(const geo_events_query *query, store_args *args)
{
    int way = query->entity_id != NULL ? 2 : query->fence_id != NULL ? 1 : 0;

    store_arg_int32(args, query->namespace_id);
    store_arg_time(args, query->from_us);
    store_arg_time(args, query->to_us);
    store_arg_time(args, query->after_time_us);
    store_arg_uuid(args, &query->after_event_id);
    store_arg_int64(args, query->limit);
    if (query->entity_id != NULL)
        store_arg_text(args, query->entity_id);
    if (way > 0)
        store_arg_text(args, query->fence_id);
    return &list_events[query->descending][way];
}

void geo_store_read_event(const store_rows *rows, size_t row, geo_event *event)
{
    event->event_id = store_uuid(rows, row, 0);
    event->entity_id = store_text(rows, row, 1);
    event->fence_id = store_text(rows, row, 2);
    event->kind = (geo_crossing_kind)store_int32(rows, row, 3);
    event->time_us = store_time(rows, row, 4);
    event->lon_deg = store_float8(rows, row, 5);
    event->lat_deg = store_float8(rows, row, 6);
    event->first_fix = store_bool(rows, row, 7);
    event->record_time_us = store_time(rows, row, 8);
}

Waymark__Geo__V1__FenceEvent *geo_event_write(wm_arena *arena, const geo_event *event)
{
    Waymark__Geo__V1__FenceEvent *written = WM_NEW(arena, Waymark__Geo__V1__FenceEvent);

    waymark__geo__v1__fence_event__init(written);
    written->event_id = wm_arena_alloc(arena, WM_UUID_TEXT_SIZE);
    wm_uuid_format(&event->event_id, written->event_id);
    written->entity_id = wm_arena_strdup(arena, event->entity_id);
    written->fence_id = wm_arena_strdup(arena, event->fence_id);
    written->kind = (Waymark__Geo__V1__CrossingKind)event->kind;
    written->time = geo_time_write(arena, event->time_us);
    written->lon_deg = event->lon_deg;
    written->lat_deg = event->lat_deg;
    written->first_fix = event->first_fix;
    written->record_time = geo_time_write(arena, event->record_time_us);
    return written;
}
