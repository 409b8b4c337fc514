/* geo/sets.c - a hash of namespaces; changes come in as rows. */
#include "server/geo/sets.h"

#include <stdlib.h>
#include <uthash.h>

#include "server/geo/store.h"

typedef struct namespace_fences {
    int32_t namespace_id;
    geo_known_fences known;
    UT_hash_handle hh;
} namespace_fences;

struct geo_fence_sets {
    namespace_fences *by_namespace;
};

geo_fence_sets *geo_fence_sets_new(void)
{
    geo_fence_sets *sets = calloc(1, sizeof(*sets));

    if (sets == NULL)
        abort();
    return sets;
}

void geo_fence_sets_free(geo_fence_sets *sets)
{
    namespace_fences *each, *next;

    HASH_ITER (hh, sets->by_namespace, each, next) {
        HASH_DEL(sets->by_namespace, each);
        geo_fence_set_free(each->known.set);
        free(each);
    }
    free(sets);
}

geo_known_fences *geo_fence_sets_get(geo_fence_sets *sets, int32_t namespace_id)
{
    namespace_fences *found;

    HASH_FIND(hh, sets->by_namespace, &namespace_id, sizeof(namespace_id), found);
    if (found == NULL) {
        found = calloc(1, sizeof(*found));
        if (found == NULL)
            abort();
        found->namespace_id = namespace_id;
        found->known.set = geo_fence_set_new();
        HASH_ADD(hh, sets->by_namespace, namespace_id, sizeof(found->namespace_id), found);
    }
    return &found->known;
}

wm_code geo_known_fences_apply(geo_known_fences *fences, const store_rows *rows, int64_t revision,
                               wm_err *err)
{
    for (size_t i = 0; i < store_rows_len(rows); i++) {
        geo_fence_change change;
        wm_code code = WM_OK;

        geo_store_read_fence_change(rows, i, &change);
        if (change.deleted)
            geo_fence_set_remove(fences->set, change.key);
        else
            code = geo_fence_set_put(fences->set, change.key, change.fence_id, change.wkb, err);
        if (code != WM_OK)
            return code;
        /* By revision, so a half-read list leaves a true state. A fence that changed again
         * between the two questions comes with its newer revision. */
        if (change.revision > fences->revision)
            fences->revision = change.revision;
    }
    if (revision > fences->revision)
        fences->revision = revision;
    return WM_OK;
}
