/* geo/fence.h - the fences of one namespace, and which of them a point is in.
 *
 * Threads: a set belongs to the loop that made it (GEOS prepares geometries on use, so even
 *          asking changes it). Nothing here locks; each lane has sets of its own.
 * Memory:  the set copies what it is given. Keys that geo_fence_set_at() gives are good until
 *          the next call; ids until the next put or remove of their fence.
 */
#ifndef WAYMARK_SERVER_GEO_FENCE_H
#define WAYMARK_SERVER_GEO_FENCE_H

#include "server/geo/area.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct geo_fence_set geo_fence_set;

geo_fence_set *geo_fence_set_new(void);
void geo_fence_set_free(geo_fence_set *set);

/* Adds a fence, or replaces that of the same key. WM_DATA_LOSS when the bytes are no area. */
WM_MUST_USE wm_code geo_fence_set_put(geo_fence_set *set, int64_t key, const char *fence_id,
                                      geo_wkb wkb, wm_err *err);
void geo_fence_set_remove(geo_fence_set *set, int64_t key);
size_t geo_fence_set_len(const geo_fence_set *set);
/* NULL when no such fence. */
const char *geo_fence_set_id(const geo_fence_set *set, int64_t key);

/* The keys of the fences that the point is in, in rising order; how many. */
size_t geo_fence_set_at(geo_fence_set *set, double lon_deg, double lat_deg, const int64_t **keys);

#ifdef __cplusplus
}
#endif
#endif
