/* geo/crossing.h - from an entity's state and its next fix to its next state and what it crossed.
 *
 * The rules (issue of this slice): inside now and not inside at the entity's previous fix is an
 * enter, the reverse an exit, stamped with the current fix; a first fix inside is an enter;
 * (entity, time) names a fix, so a repeat changes nothing; a fix older than the newest one does
 * not move the entity. Fences deleted since leave the membership without an exit.
 *
 * Threads: pure; the set is the calling loop's.
 * Memory:  states and crossings live in the arena given.
 */
#ifndef WAYMARK_SERVER_GEO_CROSSING_H
#define WAYMARK_SERVER_GEO_CROSSING_H

#include "server/geo/fence.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The values are those of waymark.geo.v1.PositionOutcome. */
typedef enum geo_outcome { GEO_STORED = 1, GEO_DUPLICATE = 2, GEO_LATE = 3 } geo_outcome;

/* The values are those of waymark.geo.v1.CrossingKind. */
typedef enum geo_crossing_kind { GEO_ENTER = 1, GEO_EXIT = 2 } geo_crossing_kind;

/* What is kept of an entity between its fixes. */
typedef struct geo_motion {
    bool seen;           /* it has a newest fix */
    int64_t time_us;     /* of that fix */
    const int64_t *keys; /* of the fences it was in then, in rising order */
    size_t n_keys;
    bool keys_changed; /* by geo_motion_take() */
} geo_motion;

typedef struct geo_crossing geo_crossing;
struct geo_crossing {
    geo_crossing *next;
    int64_t fence_key;
    const char *fence_id;
    geo_crossing_kind kind;
    bool first_fix;
};

/* Moves the entity to the fix. *crossings is the list of what it crossed: exits, then enters,
 * each by key; NULL when nothing. */
geo_outcome geo_motion_take(geo_motion *motion, const geo_fix *fix, geo_fence_set *set,
                            wm_arena *arena, geo_crossing **crossings);

#ifdef __cplusplus
}
#endif
#endif
