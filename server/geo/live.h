/* geo/live.h - the live index of every namespace, and how far this process has followed.
 *
 * At start the entity table is loaded; other processes' commits come from the hub; own commits
 * are applied by ingest.c at once. All three may bring the same fix, which then does nothing
 * (index.h), so their order does not matter.
 *
 * A reply carries a revision: the transaction, and the process that did it. A search that names
 * one waits until that transaction's record has come by, or not at all when it was done here.
 *
 * Threads: geo_live_new and _free from the main thread; the rest from any.
 * Memory:  indexes live as long as this. A wait is embedded by the caller until its callback.
 */
#ifndef WAYMARK_SERVER_GEO_LIVE_H
#define WAYMARK_SERVER_GEO_LIVE_H

#include "server/event/hub.h"
#include "server/geo/index.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GEO_REVISION_SIZE = 32,      /* with the NUL */
    GEO_REVISION_WAIT_MS = 2000, /* for a revision, then UNAVAILABLE */
    GEO_LOAD_WAIT_MS = 30000     /* for the load at start */
};

typedef struct geo_live geo_live;

/* `lane` has its store; loading, following and waiting happen there. */
geo_live *geo_live_new(lane *lane, event_hub *hub);
/* No wait may be open. */
void geo_live_free(geo_live *live);

/* Made when first asked for. */
geo_index *geo_live_index(geo_live *live, int32_t namespace_id);
/* The revision of a transaction of this process. */
void geo_live_revision(const geo_live *live, int64_t xid, char text[GEO_REVISION_SIZE]);

typedef struct geo_live_wait geo_live_wait;
struct geo_live_wait {
    geo_live *live; /* from here on private, but for err */
    geo_live_wait *next;
    lane_msg msg;
    lane *lane;
    int32_t namespace_id;
    int64_t xid; /* 0: only for the load */
    int64_t until_us;
    wm_err err;
    wm_code code;
    void (*done)(geo_live_wait *wait, wm_code code);
};

/* Reads a revision of a request ("" for none). WM_INVALID when it is not one of ours. */
WM_MUST_USE wm_code geo_live_wait_init(geo_live_wait *wait, geo_live *live, int32_t namespace_id,
                                       const char *revision, wm_err *err);
/* Need it not wait at all? */
bool geo_live_is_ready(const geo_live_wait *wait);
/* Waits, at most until `deadline_us` (monotonic); `done` runs on `lane`, with WM_OK or
 * WM_UNAVAILABLE and wait->err. */
void geo_live_wait_start(geo_live_wait *wait, lane *lane, int64_t deadline_us,
                         void (*done)(geo_live_wait *wait, wm_code code));

#ifdef __cplusplus
}
#endif
#endif
