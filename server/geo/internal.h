/* geo/internal.h - what the handlers share: the subject itself and its part of each lane.
 *
 * Not for other folders.
 */
#ifndef WAYMARK_SERVER_GEO_INTERNAL_H
#define WAYMARK_SERVER_GEO_INTERNAL_H

#include "server/geo/geo.h"
#include "server/geo/ingest.h"
#include "server/geo/live.h"
#include "server/geo/store.h"
#include "waymark/geo/v1/fence_service.server.h"
#include "waymark/geo/v1/track_service.server.h"

typedef struct geo_lane {
    lane *lane;
    geo_ingest *ingest;
    /* The record that watchers are being told of, decoded once for all of them; see watch.c. */
    event_cursor decoded_cursor;
    event_topic decoded_topic;
    ProtobufCMessage *decoded;
    wm_arena decoded_arena;
} geo_lane;

struct geo {
    event_hub *hub;
    workflow *wf;
    geo_live *live;
    geo_lane *lanes;
    size_t n_lanes;
    rpc_handler track_handlers[WAYMARK_GEO_V1_TRACK_SERVICE_HANDLERS_N];
    rpc_handler fence_handlers[WAYMARK_GEO_V1_FENCE_SERVICE_HANDLERS_N];
};

static inline geo *geo_of(const rpc_call *call)
{
    return (geo *)rpc_ctx(call);
}

static inline geo_lane *geo_lane_of(const rpc_call *call)
{
    return &geo_of(call)->lanes[lane_index(rpc_lane(call))];
}

/* Times of year 1 and of year 10000: what an open range of times means. */
#define GEO_TIME_MIN_US (-INT64_C(62135596800000000))
#define GEO_TIME_MAX_US INT64_C(253402300800000000)

/* report.c */
void geo_report_positions(rpc_call *call, const Waymark__Geo__V1__ReportPositionsRequest *request);
void geo_stream_opened(rpc_call *call);
void geo_stream_message(rpc_call *call, const Waymark__Geo__V1__StreamPositionsRequest *message);
void geo_stream_half_closed(rpc_call *call);
void geo_stream_writable(rpc_call *call);
void geo_stream_cancelled(rpc_call *call);
void geo_stream_ended(rpc_call *call);

/* search.c */
void geo_search_nearby(rpc_call *call, const Waymark__Geo__V1__SearchNearbyRequest *request);
void geo_search_within(rpc_call *call, const Waymark__Geo__V1__SearchWithinRequest *request);

/* track.c */
void geo_get_entity(rpc_call *call, const Waymark__Geo__V1__GetEntityRequest *request);
void geo_get_track(rpc_call *call, const Waymark__Geo__V1__GetTrackRequest *request);

/* fence_service.c */
void geo_create_fence(rpc_call *call, const Waymark__Geo__V1__CreateFenceRequest *request);
void geo_get_fence(rpc_call *call, const Waymark__Geo__V1__GetFenceRequest *request);
void geo_list_fences(rpc_call *call, const Waymark__Geo__V1__ListFencesRequest *request);
void geo_update_fence(rpc_call *call, const Waymark__Geo__V1__UpdateFenceRequest *request);
void geo_delete_fence(rpc_call *call, const Waymark__Geo__V1__DeleteFenceRequest *request);

/* events.c */
void geo_list_fence_events(rpc_call *call, const Waymark__Geo__V1__ListFenceEventsRequest *request);

/* watch.c */
void geo_watch_positions(rpc_call *call, const Waymark__Geo__V1__WatchPositionsRequest *request);
void geo_watch_positions_writable(rpc_call *call);
void geo_watch_positions_cancelled(rpc_call *call);
void geo_watch_positions_ended(rpc_call *call);
void geo_watch_events(rpc_call *call, const Waymark__Geo__V1__WatchFenceEventsRequest *request);
void geo_watch_events_writable(rpc_call *call);
void geo_watch_events_cancelled(rpc_call *call);
void geo_watch_events_ended(rpc_call *call);

#endif
