/* geo/filter.h - a set of ids that a watch is about.
 *
 * Threads: one at a time. Memory: the set and the ids live in the arena given.
 */
#ifndef WAYMARK_SERVER_GEO_FILTER_H
#define WAYMARK_SERVER_GEO_FILTER_H

#include "base/arena.h"
#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GEO_FILTER_LEN_MAX = 1000 };

typedef struct geo_filter {
    const char **ids; /* sorted */
    size_t n;         /* 0: everything */
} geo_filter;

/* Checks and copies the ids of a request; `field` is "entity_ids". */
WM_MUST_USE wm_code geo_filter_init(geo_filter *filter, wm_arena *arena, char *const *ids, size_t n,
                                    const char *field, wm_err *err);
bool geo_filter_has(const geo_filter *filter, const char *id);

#ifdef __cplusplus
}
#endif
#endif
