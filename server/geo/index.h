/* geo/index.h - where every entity of a namespace is now, in memory, for searches.
 *
 * Threads: any; readers run side by side, a writer alone and only for microseconds at a time.
 * Memory:  about 110 bytes an entity. Hits are copies in the caller's arena.
 */
#ifndef WAYMARK_SERVER_GEO_INDEX_H
#define WAYMARK_SERVER_GEO_INDEX_H

#include "server/geo/area.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct geo_index geo_index;

typedef struct geo_index_update {
    const char *entity_id; /* copied */
    geo_fix fix;
} geo_index_update;

typedef struct geo_hit {
    const char *entity_id;
    geo_fix fix;
    double distance_m; /* of searches for what is near */
} geo_hit;

geo_index *geo_index_new(void);
void geo_index_free(geo_index *index);

/* Moves entities; a fix that is not newer than the known one changes nothing, so updates may
 * come twice and in any order. */
void geo_index_apply(geo_index *index, const geo_index_update *updates, size_t n);
size_t geo_index_len(geo_index *index);
bool geo_index_has(geo_index *index, const char *entity_id);

/* At most `limit` (>= 1) entities within `radius_m` (INFINITY: anywhere), nearest first by
 * geodesic distance, among equals by id. */
size_t geo_index_nearby(geo_index *index, wm_arena *arena, double lon_deg, double lat_deg,
                        size_t limit, double radius_m, geo_hit **hits);

/* The first `limit` entities, by id, after `after_id` ("" for the first page), in the box and,
 * where `area` is not NULL, in the area. */
size_t geo_index_within(geo_index *index, wm_arena *arena, const geo_box *box, geo_area *area,
                        const char *after_id, size_t limit, geo_hit **hits);

#ifdef __cplusplus
}
#endif
#endif
