/* geo/events.c - ListFenceEvents: crossings by time, page by page. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/geo/internal.h"
#include "server/geo/page.h"

enum { PAGE_SIZE_DEFAULT = 1000, PAGE_SIZE_MAX = 10000 };

typedef struct events_call {
    rpc_call *call;
    store_query query;
    geo_page_query page_query;
    int32_t page_size;
    geo_events_query asked;
} events_call;

/* "1533103200000000.01890c5e-..." */
static char *position_write(wm_arena *arena, const geo_event *event)
{
    char id[WM_UUID_TEXT_SIZE];

    wm_uuid_format(&event->event_id, id);
    return wm_arena_printf(arena, "%" PRId64 ".%s", event->time_us, id);
}

static wm_code position_read(const char *position, geo_events_query *asked, wm_err *err)
{
    int end = 0;

    if (sscanf(position, "%" SCNd64 ".%n", &asked->after_time_us, &end) == 1 && end > 0 &&
        wm_uuid_parse(position + end, &asked->after_event_id) &&
        asked->after_time_us >= GEO_TIME_MIN_US && asked->after_time_us <= GEO_TIME_MAX_US)
        return WM_OK;
    return wm_fail_field(err, "page_token", "PAGE_TOKEN_INVALID",
                         "page_token is not one of this query");
}

static void events_done(store_query *query, wm_code code)
{
    events_call *op = wm_container_of(query, events_call, query);
    wm_arena *arena = rpc_arena(op->call);
    Waymark__Geo__V1__ListFenceEventsResponse response =
        WAYMARK__GEO__V1__LIST_FENCE_EVENTS_RESPONSE__INIT;
    const store_rows *rows;
    geo_event event;
    size_t len;

    if (code != WM_OK) {
        rpc_fail(op->call, &query->tx.err);
        return;
    }
    rows = store_query_rows(query);
    len = store_rows_len(rows);
    response.events = WM_NEW_ARRAY(arena, Waymark__Geo__V1__FenceEvent *, len);
    for (size_t i = 0; i < len && i < (size_t)op->page_size; i++) {
        geo_store_read_event(rows, i, &event);
        response.events[response.n_events++] = geo_event_write(arena, &event);
    }
    if (len > (size_t)op->page_size)
        response.next_page_token =
            geo_page_token_write(arena, &op->page_query, position_write(arena, &event));
    waymark_geo_v1_fence_service_list_fence_events_reply(op->call, &response);
}

/* An id to filter by; NULL for none. */
static wm_code filter_read(const char *id, const char *field, const char **filter, wm_err *err)
{
    *filter = NULL;
    if (id[0] == '\0')
        return WM_OK;
    *filter = id;
    return geo_id_check(id, field, err);
}

static wm_code order_read(const char *order_by, bool *descending, wm_err *err)
{
    *descending = strcmp(order_by, "time desc") == 0;
    if (*descending || order_by[0] == '\0' || strcmp(order_by, "time") == 0)
        return WM_OK;
    return wm_fail_field(err, "order_by", "FIELD_INVALID",
                         "order_by must be \"time\" or \"time desc\"");
}

/* Before the first page: just outside the range, on the side where it begins. */
static void position_start(geo_events_query *asked)
{
    asked->after_time_us = asked->descending ? asked->to_us : asked->from_us;
    memset(&asked->after_event_id, 0, sizeof(asked->after_event_id));
}

static wm_code asked_read(events_call *op, const Waymark__Geo__V1__ListFenceEventsRequest *request,
                          wm_err *err)
{
    geo_events_query *asked = &op->asked;
    wm_code code = filter_read(request->entity_id, "entity_id", &asked->entity_id, err);

    if (code == WM_OK)
        code = filter_read(request->fence_id, "fence_id", &asked->fence_id, err);
    if (code == WM_OK)
        code =
            geo_time_read(request->start_time, "start_time", GEO_TIME_MIN_US, &asked->from_us, err);
    if (code == WM_OK)
        code = geo_time_read(request->end_time, "end_time", GEO_TIME_MAX_US, &asked->to_us, err);
    if (code == WM_OK)
        code = order_read(request->order_by, &asked->descending, err);
    if (code == WM_OK)
        code = geo_page_size(request->page_size, "page_size", PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX,
                             &op->page_size, err);
    return code;
}

static wm_code page_read(events_call *op, const Waymark__Geo__V1__ListFenceEventsRequest *request,
                         wm_err *err)
{
    geo_page_query *query = &op->page_query;
    const char *position;
    wm_code code;

    geo_page_query_init(query, "ListFenceEvents", rpc_namespace(op->call));
    geo_page_query_text(query, request->entity_id);
    geo_page_query_text(query, request->fence_id);
    geo_page_query_bytes(query, &op->asked.from_us, sizeof(op->asked.from_us));
    geo_page_query_bytes(query, &op->asked.to_us, sizeof(op->asked.to_us));
    geo_page_query_bytes(query, &op->asked.descending, sizeof(op->asked.descending));
    code = geo_page_token_read(request->page_token, query, &position, err);
    if (code != WM_OK)
        return code;
    if (position != NULL)
        return position_read(position, &op->asked, err);
    position_start(&op->asked);
    return WM_OK;
}

void geo_list_fence_events(rpc_call *call, const Waymark__Geo__V1__ListFenceEventsRequest *request)
{
    events_call *op = WM_NEW(rpc_arena(call), events_call);
    const store_stmt *stmt;
    store_args args;
    wm_err err = {0};

    op->call = call;
    if (asked_read(op, request, &err) != WM_OK || page_read(op, request, &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    op->asked.namespace_id = rpc_namespace(call);
    op->asked.limit = op->page_size + 1; /* one more tells whether there is another page */
    store_args_init(&args, rpc_arena(call));
    stmt = geo_store_list_events(&op->asked, &args);
    store_query_start(lane_store(rpc_lane(call)), &op->query, rpc_arena(call), stmt, &args, false,
                      events_done);
}
