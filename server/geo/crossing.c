/* geo/crossing.c - compares two sorted lists of fence keys: inside before, inside now. */
#include "server/geo/crossing.h"

#include <string.h>

static bool keys_equal(const int64_t *a, size_t n_a, const int64_t *b, size_t n_b)
{
    return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * sizeof(*a)) == 0);
}

/* Appends a crossing for each key of `keys` that is not among `others`. A key without a fence
 * is that of a deleted one and crosses nothing. */
static geo_crossing **append_missing(geo_crossing **tail, wm_arena *arena, const geo_fence_set *set,
                                     const geo_motion *motion, geo_crossing_kind kind,
                                     const int64_t *keys, size_t n, const int64_t *others,
                                     size_t n_others)
{
    size_t j = 0;

    for (size_t i = 0; i < n; i++) {
        const char *fence_id;
        geo_crossing *crossing;

        while (j < n_others && others[j] < keys[i])
            j++;
        if (j < n_others && others[j] == keys[i])
            continue;
        fence_id = geo_fence_set_id(set, keys[i]);
        if (fence_id == NULL)
            continue;
        crossing = WM_NEW(arena, geo_crossing);
        crossing->fence_key = keys[i];
        crossing->fence_id = wm_arena_strdup(arena, fence_id);
        crossing->kind = kind;
        crossing->first_fix = !motion->seen;
        *tail = crossing;
        tail = &crossing->next;
    }
    return tail;
}

geo_outcome geo_motion_take(geo_motion *motion, const geo_fix *fix, geo_fence_set *set,
                            wm_arena *arena, geo_crossing **crossings)
{
    const int64_t *now;
    size_t n_now;
    geo_crossing **tail = crossings;

    *crossings = NULL;
    if (motion->seen && fix->time_us == motion->time_us)
        return GEO_DUPLICATE;
    if (motion->seen && fix->time_us < motion->time_us)
        return GEO_LATE;

    n_now = geo_fence_set_at(set, fix->lon_deg, fix->lat_deg, &now);
    if (!keys_equal(motion->keys, motion->n_keys, now, n_now)) {
        tail = append_missing(tail, arena, set, motion, GEO_EXIT, motion->keys, motion->n_keys, now,
                              n_now);
        append_missing(tail, arena, set, motion, GEO_ENTER, now, n_now, motion->keys,
                       motion->n_keys);
        motion->keys = wm_arena_memdup(arena, now, n_now * sizeof(*now));
        motion->n_keys = n_now;
        motion->keys_changed = true;
    }
    motion->seen = true;
    motion->time_us = fix->time_us;
    return GEO_STORED;
}
