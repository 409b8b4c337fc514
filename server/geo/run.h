/* geo/run.h - one try to run a batch of reports, shared by the files that do its parts.
 *
 * ingest.c takes the batch apart, locks and loads; decide.c decides and tells the workflow;
 * write.c writes, commits and hands out results. Not for others.
 *
 * Threads: the lane's loop.
 * Memory:  all in the batch's arena; ids are those of the reports.
 */
#ifndef WAYMARK_SERVER_GEO_RUN_H
#define WAYMARK_SERVER_GEO_RUN_H

#include "server/geo/ingest.h"
#include "server/geo/sets.h"

enum { GEO_MONTHS_MAX = 12 * 230 /* 1970 to 2199 */ };

typedef struct geo_run run;

struct geo_ingest {
    lane *lane;
    geo_live *live;
    event_hub *hub;
    workflow *wf;
    store_batcher *batcher;
    geo_fence_sets *sets;
    size_t n_pending;                   /* fixes of reports that are not done */
    geo_room_wait *room_waits;          /* first come, first served */
    uint8_t months[GEO_MONTHS_MAX / 8]; /* whose partition is known to exist */
};

/* One fix of the batch. */
typedef struct item {
    geo_report *report;
    size_t report_order;
    size_t index; /* in the report */
    const char *entity_id;
    const geo_fix *fix;
    geo_outcome outcome;
} item;

typedef struct crossed crossed;
struct crossed {
    crossed *next;
    const item *by;
    const geo_crossing *what;
    wm_uuid event_id;
};

/* One entity of the batch: a run of items. */
typedef struct mover {
    int32_t namespace_id;
    const char *entity_id;
    item *items;
    size_t n;
    geo_motion before; /* as the database has it */
    geo_motion motion;
    const geo_fix *last; /* its newest fix, when this batch moved it */
    crossed *crossings, **crossings_tail;
} mover;

/* A namespace of the batch: a run of movers. */
typedef struct place {
    int32_t namespace_id;
    mover *movers;
    size_t n;
    geo_known_fences *fences;
    int64_t revision;
    size_t changes; /* result index, while loading */
} place;

/* One try to run a batch. */
struct geo_run {
    geo_ingest *ingest;
    store_batch *batch;
    store_tx *tx;
    wm_arena *arena;
    item *items;
    size_t n_items;
    mover *movers;
    size_t n_movers;
    place *places;
    size_t n_places;
    size_t *crossings_sizes; /* of each report's reply */
    bool *refused;           /* reports with too many crossings */
    size_t n_admitted;       /* the reports after these are refused too */
    store_query months_query;
    int64_t *months; /* a time in each month to be made */
    size_t n_months;
    bool locked_again;
    size_t lock_result, revisions_result, bindings_result, late_result;
    int64_t now_us; /* the transaction's */
    wm_err err;     /* why we gave up */
    size_t n_stored, n_late, n_moved, n_crossings;
};

static inline run *run_of(store_tx *tx)
{
    return wm_container_of(tx, store_batch, tx)->state;
}

/* The step or commit that failed has ended the transaction. */
static inline void run_fail(run *r, wm_code code)
{
    store_batch_done(r->batch, code);
}

void geo_run_keys_init(run *r, geo_entity_keys *keys, size_t room);
void geo_run_keys_add(geo_entity_keys *keys, const mover *m);

/* decide.c: with every entity locked and read, and the fences as they are. */
void geo_run_decide(run *r);
/* write.c: with everything decided. */
void geo_run_write(run *r);

#endif
