/* geo/sets.h - the fence sets of one lane, each as of a revision of its namespace.
 *
 * Threads: one lane's loop.
 * Memory:  owns the sets. A set does not change while a batch decides with it: only
 *          geo_fence_sets_apply() changes it.
 */
#ifndef WAYMARK_SERVER_GEO_SETS_H
#define WAYMARK_SERVER_GEO_SETS_H

#include "server/geo/fence.h"
#include "server/store/store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct geo_fence_sets geo_fence_sets;

typedef struct geo_known_fences {
    geo_fence_set *set;
    int64_t revision; /* 0: no fence has ever been */
} geo_known_fences;

geo_fence_sets *geo_fence_sets_new(void);
void geo_fence_sets_free(geo_fence_sets *sets);

/* Made empty, at revision 0, when first asked for. */
geo_known_fences *geo_fence_sets_get(geo_fence_sets *sets, int32_t namespace_id);
/* Rows of geo_store_add_fence_changes(). Afterwards the set is at least at `revision`. WM_DATA_LOSS
 * when a shape cannot be read; the set is then where it was, or on its way. */
WM_MUST_USE wm_code geo_known_fences_apply(geo_known_fences *fences, const store_rows *rows,
                                           int64_t revision, wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
