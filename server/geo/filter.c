/* geo/filter.c - a sorted list, searched by halves. */
#include "server/geo/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/geo/point.h"

static int id_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

wm_code geo_filter_init(geo_filter *filter, wm_arena *arena, char *const *ids, size_t n,
                        const char *field, wm_err *err)
{
    filter->n = 0;
    if (n > GEO_FILTER_LEN_MAX)
        return wm_fail_field(err, field, "FIELD_TOO_LONG", "%s has %zu ids, at most %d are allowed",
                             field, n, GEO_FILTER_LEN_MAX);
    if (n == 0)
        return WM_OK;
    filter->ids = WM_NEW_ARRAY(arena, const char *, n);
    for (size_t i = 0; i < n; i++) {
        char path[WM_ERR_FIELD_SIZE];
        wm_code code;

        snprintf(path, sizeof(path), "%s[%zu]", field, i);
        code = geo_id_check(ids[i], path, err);
        if (code != WM_OK)
            return code;
        filter->ids[i] = wm_arena_strdup(arena, ids[i]);
    }
    filter->n = n;
    qsort(filter->ids, n, sizeof(*filter->ids), id_compare);
    return WM_OK;
}

bool geo_filter_has(const geo_filter *filter, const char *id)
{
    return filter->n == 0 ||
           bsearch(&id, filter->ids, filter->n, sizeof(*filter->ids), id_compare) != NULL;
}
