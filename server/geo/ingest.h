/* geo/ingest.h - fixes into the database: membership, crossings, workflow events, one commit.
 *
 * Threads: an ingest belongs to one lane's loop; all calls and callbacks there. The indexes and
 *          the months are shared by the lanes of the process.
 * Memory:  a report is embedded by the caller and stays put until `done`; its inputs too.
 */
#ifndef WAYMARK_SERVER_GEO_INGEST_H
#define WAYMARK_SERVER_GEO_INGEST_H

#include "server/geo/live.h"
#include "server/geo/store.h"
#include "server/workflow/events_in.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GEO_REPORT_LEN_MAX = 10000,
    GEO_PENDING_MAX = 300000 /* fixes waiting on a lane; then nothing more should be added */
};

typedef struct geo_ingest geo_ingest;

typedef struct geo_report_crossing geo_report_crossing;
struct geo_report_crossing {
    geo_report_crossing *next;
    const char *entity_id, *fence_id;
    geo_crossing_kind kind;
    int64_t time_us;
};

/* One request's fixes. Reports of one loop take effect in the order of geo_ingest_add(); within
 * a report, an entity's fixes go by time. */
typedef struct geo_report {
    store_op op;        /* code and err: the result */
    geo_ingest *ingest; /* private */
    int32_t namespace_id;
    size_t n; /* 1 to GEO_REPORT_LEN_MAX */
    const char *const *entity_ids;
    const geo_fix *fixes;
    int64_t deadline_us;
    /* NULL, or true once a report was lost that had to take effect before this one; then this
     * one takes none and fails with STORE_UNAVAILABLE. Looked at when the report's turn comes. */
    const bool *lost;
    wm_arena *arena; /* the results go here */
    void (*done)(struct geo_report *report);

    /* Results, when op.code is WM_OK. */
    geo_outcome *outcomes;
    geo_report_crossing *crossings, **crossings_tail;
    size_t n_crossings;
    char revision[GEO_REVISION_SIZE];
} geo_report;

/* On the loop. `wf` may be NULL. */
geo_ingest *geo_ingest_new(lane *lane, geo_live *live, event_hub *hub, workflow *wf);
void geo_ingest_free(geo_ingest *ingest); /* nothing may be queued */

/* Says that a report was not taken since one before it was lost. */
wm_code geo_fail_overtaking(wm_err *err);

/* Whoever waits until fewer than GEO_PENDING_MAX fixes wait. Embedded by the caller. */
typedef struct geo_room_wait {
    struct geo_room_wait *next, *prev;
    bool waiting;
    void (*room)(struct geo_room_wait *wait); /* once, on the loop, not from inside wait() */
} geo_room_wait;

bool geo_ingest_is_full(const geo_ingest *ingest);
/* No-op while it waits already. */
void geo_ingest_room_wait(geo_ingest *ingest, geo_room_wait *wait);
/* No-op when it does not wait. */
void geo_ingest_room_cancel(geo_ingest *ingest, geo_room_wait *wait);

/* Also when full: asking first is the caller's part. False: the store's queue is; the report is
 * the caller's, err says why. */
WM_MUST_USE bool geo_ingest_add(geo_ingest *ingest, geo_report *report, wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
