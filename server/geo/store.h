/* geo/store.h - the SQL of geo/: statements, and rows as structs.
 *
 * Threads: on the lane's loop, like the store.
 * Memory:  what is read lives in the arena given or, where said, in the rows.
 */
#ifndef WAYMARK_SERVER_GEO_STORE_H
#define WAYMARK_SERVER_GEO_STORE_H

#include "server/geo/crossing.h"
#include "server/store/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the batch of positions; see ingest.c ---- */

/* Arrays of equal length; ids sorted by (namespace, entity) where locks are taken. */
typedef struct geo_entity_keys {
    int32_t *namespace_ids;
    const char **entity_ids;
    size_t n;
} geo_entity_keys;

/* Fixes as columns. */
typedef struct geo_fix_columns {
    geo_entity_keys keys;
    int64_t *times_us;
    double *lon_deg, *lat_deg, *alt_m, *speed_mps, *heading_deg;
    const char **fence_keys; /* of entities: "{1,2}", or NULL for no change */
} geo_fix_columns;

typedef struct geo_event_columns {
    geo_entity_keys keys;
    int64_t *times_us;
    int64_t *fence_keys;
    int32_t *kinds;
    wm_uuid *event_ids;
    const char **fence_ids;
    double *lon_deg, *lat_deg;
    bool *first_fixes;
} geo_event_columns;

void geo_store_months_ensure(store *store, store_query *query, wm_arena *arena,
                             const int64_t *times_us, size_t n,
                             void (*done)(store_query *query, wm_code code));

/* Each adds one statement to the step; where it has rows, the index of its result comes back. */
void geo_store_add_insert_entities(store_tx *tx, wm_arena *arena, const geo_entity_keys *keys);
/* Locks in the order of the keys. Rows: geo_store_read_motion(); fewer when some do not exist. */
size_t geo_store_add_lock_entities(store_tx *tx, wm_arena *arena, const geo_entity_keys *keys);
/* The row's entity, as an index into the keys of the lock; *now_us: the transaction's time. */
size_t geo_store_read_motion(const store_rows *rows, size_t row, wm_arena *arena,
                             geo_motion *motion, int64_t *now_us);
/* One row per namespace that ever had a fence: its id and its revision. */
size_t geo_store_add_fence_revisions(store_tx *tx, wm_arena *arena, const int32_t *namespace_ids,
                                     size_t n);
/* What changed after `revision`: geo_store_read_fence_change(). */
size_t geo_store_add_fence_changes(store_tx *tx, wm_arena *arena, int32_t namespace_id,
                                   int64_t revision);
/* Which of the entities are bound to instances: their indexes, int8. */
size_t geo_store_add_bindings(store_tx *tx, wm_arena *arena, const geo_entity_keys *keys);
/* Of these entities, those that have no fix go again. */
void geo_store_add_delete_blank_entities(store_tx *tx, wm_arena *arena,
                                         const geo_entity_keys *keys);
void geo_store_add_update_entities(store_tx *tx, wm_arena *arena, const geo_fix_columns *fixes);
void geo_store_add_insert_positions(store_tx *tx, wm_arena *arena, const geo_fix_columns *fixes);
/* The same for fixes that may be there already. Rows: those that were not, in the order of the
 * columns: namespace (int4), entity (text), time. */
size_t geo_store_add_insert_late_positions(store_tx *tx, wm_arena *arena,
                                           const geo_fix_columns *fixes);
void geo_store_add_insert_events(store_tx *tx, wm_arena *arena, const geo_event_columns *events);

typedef struct geo_fence_change {
    int64_t key, revision;
    const char *fence_id;
    bool deleted;
    geo_wkb wkb; /* in the rows */
} geo_fence_change;

void geo_store_read_fence_change(const store_rows *rows, size_t row, geo_fence_change *change);

/* ---- entities and tracks ---- */

extern const store_stmt geo_store_get_entity; /* $1 namespace, $2 entity */
/* $1 namespace, $2 entity, $3 from, $4 to, $5 limit */
extern const store_stmt geo_store_get_track;
/* All entities, page by page: $1 namespace and $2 entity to go on after, $3 limit */
extern const store_stmt geo_store_scan_entities;

/* Columns from `column` on: time, lon, lat, alt, speed, heading. */
geo_fix geo_store_read_fix(const store_rows *rows, size_t row, int column);
/* In geo_store_get_entity's row, after the fix. */
enum {
    GEO_ENTITY_FENCE_IDS = 6, /* text: ids joined by newlines */
    GEO_ENTITY_CREATE_TIME,
    GEO_ENTITY_UPDATE_TIME
};

/* ---- fences ---- */

typedef struct geo_fence_row {
    const char *fence_id, *display_name; /* in the rows */
    int64_t revision;
    geo_wkb wkb; /* in the rows; empty when not asked for */
    int64_t create_time_us, update_time_us;
} geo_fence_row;

/* Takes the lock under which the namespace's fences change, and the next revision (int8). */
extern const store_stmt geo_store_next_fence_revision; /* $1 namespace */
/* The live fence: one geo_fence_row, or none. $1 namespace, $2 fence */
extern const store_stmt geo_store_get_fence;
/* $1 namespace, $2 fence to go on after, $3 limit, $4 with geometry */
extern const store_stmt geo_store_list_fences;
/* $1 namespace, $2 fence, $3 name, $4 revision, $5 wkb; a geo_fence_row */
extern const store_stmt geo_store_insert_fence;
/* The same; NULL leaves $3 or $5 as it is. */
extern const store_stmt geo_store_update_fence;
extern const store_stmt geo_store_delete_fence; /* $1 namespace, $2 fence, $3 revision */

void geo_store_read_fence(const store_rows *rows, size_t row, geo_fence_row *fence);

/* ---- crossings ---- */

typedef struct geo_event {
    wm_uuid event_id;
    const char *entity_id, *fence_id; /* in the rows */
    geo_crossing_kind kind;
    int64_t time_us;
    double lon_deg, lat_deg;
    bool first_fix;
    int64_t record_time_us;
} geo_event;

typedef struct geo_events_query {
    int32_t namespace_id;
    const char *entity_id, *fence_id; /* NULL: all */
    int64_t from_us, to_us;
    bool descending;
    int64_t after_time_us; /* the last one of the page before */
    wm_uuid after_event_id;
    int64_t limit;
} geo_events_query;

Waymark__Geo__V1__FenceEvent *geo_event_write(wm_arena *arena, const geo_event *event);
/* Fills args; rows are geo_event. */
const store_stmt *geo_store_list_events(const geo_events_query *query, store_args *args);
void geo_store_read_event(const store_rows *rows, size_t row, geo_event *event);

#ifdef __cplusplus
}
#endif
#endif
