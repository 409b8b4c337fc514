/* geo/geo.c - puts the parts together: one live index, an ingest for each lane, two services. */
#include <stdlib.h>

#include "server/geo/internal.h"

static const waymark_geo_v1_track_service_handlers track_handlers = {
    .report_positions = {.request = geo_report_positions},
    .stream_positions = {.opened = geo_stream_opened,
                         .message = geo_stream_message,
                         .half_closed = geo_stream_half_closed,
                         .writable = geo_stream_writable,
                         .cancelled = geo_stream_cancelled,
                         .ended = geo_stream_ended},
    .get_entity = {.request = geo_get_entity},
    .search_nearby = {.flags = RPC_INLINE, .request = geo_search_nearby},
    .search_within = {.flags = RPC_INLINE, .request = geo_search_within},
    .get_track = {.request = geo_get_track},
    .watch_positions = {.request = geo_watch_positions,
                        .writable = geo_watch_positions_writable,
                        .cancelled = geo_watch_positions_cancelled,
                        .ended = geo_watch_positions_ended},
};

static const waymark_geo_v1_fence_service_handlers fence_handlers = {
    .create_fence = {.request = geo_create_fence},
    .get_fence = {.request = geo_get_fence},
    .list_fences = {.request = geo_list_fences},
    .update_fence = {.request = geo_update_fence},
    .delete_fence = {.request = geo_delete_fence},
    .list_fence_events = {.request = geo_list_fence_events},
    .watch_fence_events = {.request = geo_watch_events,
                           .writable = geo_watch_events_writable,
                           .cancelled = geo_watch_events_cancelled,
                           .ended = geo_watch_events_ended},
};

typedef struct lane_setup {
    geo *geo;
    geo_lane *at;
} lane_setup;

static void lane_start(void *ctx)
{
    lane_setup *setup = ctx;

    setup->at->ingest =
        geo_ingest_new(setup->at->lane, setup->geo->live, setup->geo->hub, setup->geo->wf);
    wm_arena_init(&setup->at->decoded_arena, 0);
}

geo *geo_new(lane **lanes, size_t n_lanes, event_hub *hub, workflow *wf)
{
    geo *made = calloc(1, sizeof(*made));

    if (made == NULL)
        abort();
    made->hub = hub;
    made->wf = wf;
    made->live = geo_live_new(lanes[0], hub);
    made->n_lanes = n_lanes;
    made->lanes = calloc(n_lanes, sizeof(*made->lanes));
    if (made->lanes == NULL)
        abort();
    for (size_t i = 0; i < n_lanes; i++) {
        lane_setup setup = {made, &made->lanes[i]};

        made->lanes[i].lane = lanes[i];
        lane_call(lanes[i], lane_start, &setup);
    }
    return made;
}

static void lane_stop(void *ctx)
{
    geo_lane *at = ctx;

    geo_ingest_free(at->ingest);
    wm_arena_free(&at->decoded_arena);
}

void geo_free(geo *geo)
{
    for (size_t i = 0; i < geo->n_lanes; i++)
        lane_call(geo->lanes[i].lane, lane_stop, &geo->lanes[i]);
    geo_live_free(geo->live);
    free(geo->lanes);
    free(geo);
}

rpc_service geo_track_service(geo *geo)
{
    return waymark_geo_v1_track_service_bind(&track_handlers, geo->track_handlers, geo);
}

rpc_service geo_fence_service(geo *geo)
{
    return waymark_geo_v1_fence_service_bind(&fence_handlers, geo->fence_handlers, geo);
}
