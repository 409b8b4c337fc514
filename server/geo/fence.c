/* geo/fence.c - prepared geometries under an STRtree.
 *
 * The tree answers which fences' boxes hold the point, the prepared geometries which of those
 * hold it themselves. GEOS trees cannot change once asked, so a put or a remove throws the tree
 * away and the next question builds a new one: fences change rarely, points come all the time.
 */
#include "server/geo/fence.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "server/geo/geos.h"

typedef struct fence {
    int64_t key;
    char *id;
    GEOSGeometry *shape;
    const GEOSPreparedGeometry *prepared;
    UT_hash_handle hh;
} fence;

struct geo_fence_set {
    geo_geos geos;
    fence *by_key;
    GEOSSTRtree *tree; /* NULL: to be built */
    /* One question: the point, and the keys found so far. */
    GEOSGeometry *point;
    int64_t *found;
    size_t n_found, found_room;
};

static void *check_memory(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

geo_fence_set *geo_fence_set_new(void)
{
    geo_fence_set *set = check_memory(calloc(1, sizeof(*set)));

    geo_geos_open(&set->geos);
    return set;
}

static void tree_drop(geo_fence_set *set)
{
    if (set->tree != NULL)
        GEOSSTRtree_destroy_r(set->geos.context, set->tree);
    set->tree = NULL;
}

static void fence_free(geo_fence_set *set, fence *old)
{
    HASH_DEL(set->by_key, old);
    GEOSPreparedGeom_destroy_r(set->geos.context, old->prepared);
    GEOSGeom_destroy_r(set->geos.context, old->shape);
    free(old->id);
    free(old);
}

void geo_fence_set_free(geo_fence_set *set)
{
    fence *each, *next;

    tree_drop(set);
    HASH_ITER (hh, set->by_key, each, next)
        fence_free(set, each);
    geo_geos_close(&set->geos);
    free(set->found);
    free(set);
}

static fence *fence_find(const geo_fence_set *set, int64_t key)
{
    fence *found;

    HASH_FIND(hh, set->by_key, &key, sizeof(key), found);
    return found;
}

wm_code geo_fence_set_put(geo_fence_set *set, int64_t key, const char *fence_id, geo_wkb wkb,
                          wm_err *err)
{
    GEOSGeometry *shape = geo_geos_read_wkb(&set->geos, wkb);
    fence *made;

    if (shape == NULL)
        return wm_fail(err, WM_DATA_LOSS, "INTERNAL", "the shape of fence %s cannot be read",
                       fence_id);
    geo_fence_set_remove(set, key);
    tree_drop(set);
    made = check_memory(calloc(1, sizeof(*made)));
    made->key = key;
    made->id = check_memory(strdup(fence_id));
    made->shape = shape;
    made->prepared = check_memory((void *)(uintptr_t)GEOSPrepare_r(set->geos.context, shape));
    HASH_ADD(hh, set->by_key, key, sizeof(made->key), made);
    if (set->found_room < HASH_COUNT(set->by_key)) {
        set->found_room = 2 * (size_t)HASH_COUNT(set->by_key);
        set->found = check_memory(realloc(set->found, set->found_room * sizeof(*set->found)));
    }
    return WM_OK;
}

void geo_fence_set_remove(geo_fence_set *set, int64_t key)
{
    fence *old = fence_find(set, key);

    if (old == NULL)
        return;
    tree_drop(set);
    fence_free(set, old);
}

size_t geo_fence_set_len(const geo_fence_set *set)
{
    return HASH_COUNT(set->by_key);
}

const char *geo_fence_set_id(const geo_fence_set *set, int64_t key)
{
    const fence *found = fence_find(set, key);

    return found == NULL ? NULL : found->id;
}

static void tree_build(geo_fence_set *set)
{
    enum { NODE_CAPACITY = 10 };
    fence *each, *next;

    set->tree = check_memory(GEOSSTRtree_create_r(set->geos.context, NODE_CAPACITY));
    HASH_ITER (hh, set->by_key, each, next)
        GEOSSTRtree_insert_r(set->geos.context, set->tree, each->shape, each);
}

/* The tree's callback: the box of this fence holds the point. */
static void candidate_check(void *item, void *ctx)
{
    const fence *candidate = item;
    geo_fence_set *set = ctx;

    if (GEOSPreparedIntersects_r(set->geos.context, candidate->prepared, set->point) == 1)
        set->found[set->n_found++] = candidate->key;
}

static int key_compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

    return (left > right) - (left < right);
}

size_t geo_fence_set_at(geo_fence_set *set, double lon_deg, double lat_deg, const int64_t **keys)
{
    set->n_found = 0;
    *keys = set->found;
    if (set->by_key == NULL)
        return 0;
    if (set->tree == NULL)
        tree_build(set);
    set->point = GEOSGeom_createPointFromXY_r(set->geos.context, lon_deg, lat_deg);
    GEOSSTRtree_query_r(set->geos.context, set->tree, set->point, candidate_check, set);
    GEOSGeom_destroy_r(set->geos.context, set->point);
    if (set->n_found > 1)
        qsort(set->found, set->n_found, sizeof(*set->found), key_compare);
    return set->n_found;
}
