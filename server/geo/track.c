/* geo/track.c - GetEntity and GetTrack, from the database. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/geo/internal.h"
#include "server/geo/page.h"

enum { PAGE_SIZE_DEFAULT = 1000, PAGE_SIZE_MAX = 10000 };

typedef struct track_call {
    rpc_call *call;
    const char *entity_id;
    store_query query;
    geo_page_query page_query;
    int32_t page_size;
} track_call;

static track_call *track_call_new(rpc_call *call, const char *entity_id)
{
    track_call *op = WM_NEW(rpc_arena(call), track_call);

    op->call = call;
    op->entity_id = entity_id;
    return op;
}

/* ---- GetEntity ---- */

/* "a\nb" to {"a", "b"}. */
static void fence_ids_write(wm_arena *arena, const char *joined, Waymark__Geo__V1__Entity *entity)
{
    char *at = wm_arena_strdup(arena, joined);
    size_t n = 1;

    for (const char *c = joined; *c != '\0'; c++)
        n += *c == '\n';
    entity->fence_ids = WM_NEW_ARRAY(arena, char *, n);
    while (at != NULL)
        entity->fence_ids[entity->n_fence_ids++] = strsep(&at, "\n");
}

static void entity_done(store_query *query, wm_code code)
{
    track_call *op = wm_container_of(query, track_call, query);
    wm_arena *arena = rpc_arena(op->call);
    Waymark__Geo__V1__GetEntityResponse response = WAYMARK__GEO__V1__GET_ENTITY_RESPONSE__INIT;
    Waymark__Geo__V1__Entity entity = WAYMARK__GEO__V1__ENTITY__INIT;
    const store_rows *rows;
    geo_fix fix;
    wm_err err = query->tx.err;

    if (code == WM_OK && store_rows_len(store_query_rows(query)) == 0)
        code = wm_fail(&err, WM_NOT_FOUND, "ENTITY_NOT_FOUND", "no entity %s", op->entity_id);
    if (code != WM_OK) {
        rpc_fail(op->call, &err);
        return;
    }
    rows = store_query_rows(query);
    fix = geo_store_read_fix(rows, 0, 0);
    entity.entity_id = wm_arena_strdup(arena, op->entity_id);
    entity.position = geo_position_write(arena, op->entity_id, &fix);
    if (!store_is_null(rows, 0, GEO_ENTITY_FENCE_IDS))
        fence_ids_write(arena, store_text(rows, 0, GEO_ENTITY_FENCE_IDS), &entity);
    entity.create_time = geo_time_write(arena, store_time(rows, 0, GEO_ENTITY_CREATE_TIME));
    entity.update_time = geo_time_write(arena, store_time(rows, 0, GEO_ENTITY_UPDATE_TIME));
    response.entity = &entity;
    waymark_geo_v1_track_service_get_entity_reply(op->call, &response);
}

void geo_get_entity(rpc_call *call, const Waymark__Geo__V1__GetEntityRequest *request)
{
    track_call *op = track_call_new(call, request->entity_id);
    store_args args;
    wm_err err = {0};

    if (geo_id_check(request->entity_id, "entity_id", &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    store_args_init(&args, rpc_arena(call));
    store_arg_int32(&args, rpc_namespace(call));
    store_arg_text(&args, request->entity_id);
    store_query_start(lane_store(rpc_lane(call)), &op->query, rpc_arena(call),
                      &geo_store_get_entity, &args, false, entity_done);
}

/* ---- GetTrack ---- */

static void track_done(store_query *query, wm_code code)
{
    track_call *op = wm_container_of(query, track_call, query);
    wm_arena *arena = rpc_arena(op->call);
    Waymark__Geo__V1__GetTrackResponse response = WAYMARK__GEO__V1__GET_TRACK_RESPONSE__INIT;
    const store_rows *rows;
    size_t len;

    if (code != WM_OK) {
        rpc_fail(op->call, &query->tx.err);
        return;
    }
    rows = store_query_rows(query);
    len = store_rows_len(rows);
    response.positions = WM_NEW_ARRAY(arena, Waymark__Geo__V1__Position *, len);
    for (size_t i = 0; i < len && i < (size_t)op->page_size; i++) {
        geo_fix fix = geo_store_read_fix(rows, i, 0);

        response.positions[response.n_positions++] = geo_position_write(arena, op->entity_id, &fix);
    }
    if (len > (size_t)op->page_size)
        response.next_page_token = geo_page_token_write(
            arena, &op->page_query,
            wm_arena_printf(arena, "%" PRId64, store_time(rows, (size_t)op->page_size, 0)));
    waymark_geo_v1_track_service_get_track_reply(op->call, &response);
}

static wm_code track_read(track_call *op, const Waymark__Geo__V1__GetTrackRequest *request,
                          int64_t *from_us, int64_t *to_us, wm_err *err)
{
    const char *position;
    wm_code code = geo_id_check(request->entity_id, "entity_id", err);

    if (code == WM_OK)
        code = geo_time_read(request->start_time, "start_time", GEO_TIME_MIN_US, from_us, err);
    if (code == WM_OK)
        code = geo_time_read(request->end_time, "end_time", GEO_TIME_MAX_US, to_us, err);
    if (code == WM_OK)
        code = geo_page_size(request->page_size, "page_size", PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX,
                             &op->page_size, err);
    if (code != WM_OK)
        return code;
    geo_page_query_init(&op->page_query, "GetTrack", rpc_namespace(op->call));
    geo_page_query_text(&op->page_query, request->entity_id);
    geo_page_query_bytes(&op->page_query, from_us, sizeof(*from_us));
    geo_page_query_bytes(&op->page_query, to_us, sizeof(*to_us));
    code = geo_page_token_read(request->page_token, &op->page_query, &position, err);
    if (code == WM_OK && position != NULL)
        *from_us = strtoll(position, NULL, 10);
    return code;
}

void geo_get_track(rpc_call *call, const Waymark__Geo__V1__GetTrackRequest *request)
{
    track_call *op = track_call_new(call, request->entity_id);
    int64_t from_us, to_us;
    store_args args;
    wm_err err = {0};

    if (track_read(op, request, &from_us, &to_us, &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    store_args_init(&args, rpc_arena(call));
    store_arg_int32(&args, rpc_namespace(call));
    store_arg_text(&args, request->entity_id);
    store_arg_time(&args, from_us);
    store_arg_time(&args, to_us);
    store_arg_int64(&args, op->page_size + 1);
    store_query_start(lane_store(rpc_lane(call)), &op->query, rpc_arena(call), &geo_store_get_track,
                      &args, false, track_done);
}
