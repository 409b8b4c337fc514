/* geo/watch_positions.c - WatchPositions: the newest fix of each entity, as fast as the reader.
 *
 * What is not sent yet is kept once per entity: a newer fix takes the place of the one that
 * waits, so a slow reader sees fewer fixes and never old ones. Entities, not fixes, bound the
 * memory; a reader with too many of them waiting is let go with SLOW_CONSUMER.
 */
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/codec.h"
#include "base/log.h"
#include "server/geo/filter.h"
#include "server/geo/watch.h"
#include "waymark/geo/v1/record.pb-c.h"

enum { PENDING_MAX = 50000, SEND_LEN_MAX = 1000 };

typedef struct pending {
    geo_fix fix;
    UT_hash_handle hh; /* in the order in which they came */
    char entity_id[];
} pending;

typedef struct watch {
    rpc_call *call;
    event_subscriber subscriber;
    geo_filter entities;
    bool has_box;
    geo_box box;
    pending *pending;
    bool greeted; /* the empty first response is out */
    bool subscribed, over;
} watch;

/* ---- records ---- */

const ProtobufCMessage *geo_record_decode(geo_lane *at, const event_record *record)
{
    const ProtobufCMessageDescriptor *descriptor =
        record->topic == EVENT_POSITIONS ? &waymark__geo__v1__position_record__descriptor
                                         : &waymark__geo__v1__fence_event_record__descriptor;
    wm_err err;

    if (event_cursor_compare(at->decoded_cursor, record->cursor) == 0 &&
        at->decoded_topic == record->topic)
        return at->decoded;
    wm_arena_reset(&at->decoded_arena);
    at->decoded_cursor = record->cursor;
    at->decoded_topic = record->topic;
    if (wm_codec_unpack(&at->decoded_arena, descriptor, record->payload, record->payload_size,
                        &at->decoded, &err) != WM_OK) {
        wm_log(WM_LOG_ERROR, "a record cannot be read", wm_log_s("why", err.message));
        at->decoded = NULL;
    }
    return at->decoded;
}

/* ---- ending ---- */

static void watch_unsubscribe(watch *w)
{
    if (w->subscribed)
        event_hub_unsubscribe(&w->subscriber);
    w->subscribed = false;
}

static void watch_fail(watch *w, const wm_err *err)
{
    watch_unsubscribe(w);
    w->over = true;
    rpc_fail(w->call, err);
}

/* ---- sending ---- */

/* Takes up to a message's worth of what waits; sent or not, it is gone from the list only when
 * sent. */
static bool send_some(watch *w)
{
    Waymark__Geo__V1__WatchPositionsResponse response =
        WAYMARK__GEO__V1__WATCH_POSITIONS_RESPONSE__INIT;
    pending *each, *next;
    wm_arena arena;
    bool sent;

    wm_arena_init(&arena, 0);
    response.positions = WM_NEW_ARRAY(&arena, Waymark__Geo__V1__Position *, SEND_LEN_MAX);
    HASH_ITER (hh, w->pending, each, next) {
        if (response.n_positions == SEND_LEN_MAX)
            break;
        response.positions[response.n_positions++] =
            geo_position_write(&arena, each->entity_id, &each->fix);
    }
    sent = waymark_geo_v1_track_service_watch_positions_send(w->call, &response);
    for (size_t i = 0; sent && i < response.n_positions; i++) {
        each = w->pending;
        HASH_DEL(w->pending, each);
        free(each);
    }
    wm_arena_free(&arena);
    return sent;
}

static void watch_flush(watch *w)
{
    if (w->over)
        return;
    if (!w->greeted) {
        const Waymark__Geo__V1__WatchPositionsResponse greeting =
            WAYMARK__GEO__V1__WATCH_POSITIONS_RESPONSE__INIT;

        if (!waymark_geo_v1_track_service_watch_positions_send(w->call, &greeting))
            return;
        w->greeted = true;
    }
    while (w->pending != NULL && rpc_is_writable(w->call)) {
        if (!send_some(w))
            return;
    }
}

static void pending_put(watch *w, const char *entity_id, const geo_fix *fix)
{
    size_t len = strlen(entity_id);
    pending *found;

    HASH_FIND(hh, w->pending, entity_id, len, found);
    if (found == NULL) {
        found = calloc(1, sizeof(*found) + len + 1);
        if (found == NULL)
            abort();
        memcpy(found->entity_id, entity_id, len);
        HASH_ADD(hh, w->pending, entity_id, len, found);
    } else if (found->fix.time_us >= fix->time_us) {
        return;
    }
    found->fix = *fix;
}

static void watch_record(event_subscriber *self, const event_record *record)
{
    watch *w = wm_container_of(self, watch, subscriber);
    const Waymark__Geo__V1__PositionRecord *positions =
        (const Waymark__Geo__V1__PositionRecord *)geo_record_decode(geo_lane_of(w->call), record);
    wm_err err;

    for (size_t i = 0; positions != NULL && i < positions->n_positions; i++) {
        const Waymark__Geo__V1__Position *position = positions->positions[i];
        geo_fix fix;

        if (!geo_filter_has(&w->entities, position->entity_id) ||
            geo_fix_read(position, i, INT64_MAX - GEO_TIME_AHEAD_MAX_US, &fix, NULL) != WM_OK ||
            (w->has_box && !geo_box_contains(&w->box, fix.lon_deg, fix.lat_deg)))
            continue;
        pending_put(w, position->entity_id, &fix);
    }
    if (HASH_COUNT(w->pending) > PENDING_MAX) {
        wm_fail(&err, WM_EXHAUSTED, "SLOW_CONSUMER", "positions of %d entities wait to be read",
                PENDING_MAX);
        watch_fail(w, &err);
        return;
    }
    watch_flush(w);
}

/* ---- the call ---- */

static wm_code watch_read(watch *w, const Waymark__Geo__V1__WatchPositionsRequest *request,
                          wm_err *err)
{
    wm_code code = geo_filter_init(&w->entities, rpc_arena(w->call), request->entity_ids,
                                   request->n_entity_ids, "entity_ids", err);

    if (code != WM_OK || request->box == NULL)
        return code;
    w->has_box = true;
    return geo_box_read(request->box, &w->box, err);
}

void geo_watch_positions(rpc_call *call, const Waymark__Geo__V1__WatchPositionsRequest *request)
{
    watch *w = WM_NEW(rpc_arena(call), watch);
    wm_err err = {0};

    w->call = call;
    rpc_set_data(call, w);
    if (watch_read(w, request, &err) != WM_OK) {
        watch_fail(w, &err);
        return;
    }
    w->subscriber.topics = 1u << EVENT_POSITIONS;
    w->subscriber.namespace_id = rpc_namespace(call);
    w->subscriber.record = watch_record;
    event_hub_subscribe(geo_of(call)->hub, rpc_lane(call), &w->subscriber, NULL);
    w->subscribed = true;
    watch_flush(w);
}

void geo_watch_positions_writable(rpc_call *call)
{
    watch_flush(rpc_data(call));
}

void geo_watch_positions_cancelled(rpc_call *call)
{
    watch *w = rpc_data(call);

    watch_unsubscribe(w);
    w->over = true;
    rpc_finish(call);
}

void geo_watch_positions_ended(rpc_call *call)
{
    watch *w = rpc_data(call);
    pending *each, *next;

    HASH_ITER (hh, w->pending, each, next) {
        HASH_DEL(w->pending, each);
        free(each);
    }
}
