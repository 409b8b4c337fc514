/* geo/search.c - SearchNearby and SearchWithin, from the live index.
 *
 * They run on the queue thread, as the index is for any thread and quick. A search that must
 * wait, for the load at start or for a revision, goes on later on the lane's loop.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "server/geo/internal.h"
#include "server/geo/page.h"

enum {
    NEARBY_LIMIT_DEFAULT = 10,
    RADIUS_LIMIT_DEFAULT = 1000,
    LIMIT_MAX = 10000,
    PAGE_SIZE_DEFAULT = 1000
};

typedef struct search_call {
    rpc_call *call;
    const ProtobufCMessage *request;
    void (*run)(struct search_call *op);
    geo_live_wait wait;
} search_call;

static void search_waited(geo_live_wait *wait, wm_code code)
{
    search_call *op = wm_container_of(wait, search_call, wait);

    if (code == WM_OK)
        op->run(op);
    else
        rpc_fail(op->call, &wait->err);
}

static void search_start(rpc_call *call, const ProtobufCMessage *request, const char *revision,
                         void (*run)(search_call *op))
{
    search_call *op = WM_NEW(rpc_arena(call), search_call);
    wm_err err = {0};

    op->call = call;
    op->request = request;
    op->run = run;
    if (geo_live_wait_init(&op->wait, geo_of(call)->live, rpc_namespace(call), revision, &err) !=
        WM_OK)
        rpc_fail(call, &err);
    else if (geo_live_is_ready(&op->wait))
        run(op);
    else
        geo_live_wait_start(&op->wait, rpc_lane(call), rpc_deadline_us(call), search_waited);
}

static geo_index *search_index(const search_call *op)
{
    return geo_live_index(geo_of(op->call)->live, rpc_namespace(op->call));
}

/* ---- SearchNearby ---- */

static void nearby_reply(rpc_call *call, const geo_hit *hits, size_t n)
{
    wm_arena *arena = rpc_arena(call);
    Waymark__Geo__V1__SearchNearbyResponse response =
        WAYMARK__GEO__V1__SEARCH_NEARBY_RESPONSE__INIT;

    response.n_entities = n;
    response.entities = WM_NEW_ARRAY(arena, Waymark__Geo__V1__NearbyEntity *, n);
    for (size_t i = 0; i < n; i++) {
        Waymark__Geo__V1__NearbyEntity *entity = WM_NEW(arena, Waymark__Geo__V1__NearbyEntity);

        waymark__geo__v1__nearby_entity__init(entity);
        entity->position = geo_position_write(arena, hits[i].entity_id, &hits[i].fix);
        entity->distance_m = hits[i].distance_m;
        response.entities[i] = entity;
    }
    waymark_geo_v1_track_service_search_nearby_reply(call, &response);
}

static wm_code nearby_check(const Waymark__Geo__V1__SearchNearbyRequest *request, int32_t *limit,
                            wm_err *err)
{
    wm_code code = geo_lon_lat_check(request->lon_deg, request->lat_deg, "", err);

    if (code != WM_OK)
        return code;
    if (!(request->radius_m >= 0))
        return wm_fail_field(err, "radius_m", "FIELD_INVALID", "radius_m must not be negative");
    return geo_page_size(request->limit, "limit",
                         request->radius_m > 0 ? RADIUS_LIMIT_DEFAULT : NEARBY_LIMIT_DEFAULT,
                         LIMIT_MAX, limit, err);
}

static void nearby_run(search_call *op)
{
    const Waymark__Geo__V1__SearchNearbyRequest *request =
        (const Waymark__Geo__V1__SearchNearbyRequest *)op->request;
    int32_t limit;
    geo_hit *hits;
    size_t n;
    wm_err err = {0};

    if (nearby_check(request, &limit, &err) != WM_OK) {
        rpc_fail(op->call, &err);
        return;
    }
    n = geo_index_nearby(search_index(op), rpc_arena(op->call), request->lon_deg, request->lat_deg,
                         (size_t)limit, request->radius_m > 0 ? request->radius_m : INFINITY,
                         &hits);
    nearby_reply(op->call, hits, n);
}

void geo_search_nearby(rpc_call *call, const Waymark__Geo__V1__SearchNearbyRequest *request)
{
    search_start(call, &request->base, request->revision, nearby_run);
}

/* ---- SearchWithin ---- */

static void within_reply(search_call *op, const geo_page_query *query, const geo_hit *hits,
                         size_t n, bool more)
{
    wm_arena *arena = rpc_arena(op->call);
    Waymark__Geo__V1__SearchWithinResponse response =
        WAYMARK__GEO__V1__SEARCH_WITHIN_RESPONSE__INIT;

    response.n_positions = n;
    response.positions = WM_NEW_ARRAY(arena, Waymark__Geo__V1__Position *, n);
    for (size_t i = 0; i < n; i++)
        response.positions[i] = geo_position_write(arena, hits[i].entity_id, &hits[i].fix);
    if (more)
        response.next_page_token = geo_page_token_write(arena, query, hits[n - 1].entity_id);
    waymark_geo_v1_track_service_search_within_reply(op->call, &response);
}

/* Where to look: a box, and for a polygon also the area, which the caller frees. */
static wm_code within_area(const search_call *op, geo_page_query *query, geo_box *box,
                           geo_area **area, wm_err *err)
{
    const Waymark__Geo__V1__SearchWithinRequest *request =
        (const Waymark__Geo__V1__SearchWithinRequest *)op->request;
    geo_wkb wkb;
    wm_code code;

    *area = NULL;
    if (request->area_case == WAYMARK__GEO__V1__SEARCH_WITHIN_REQUEST__AREA_BOX) {
        code = geo_box_read(request->box, box, err);
        if (code == WM_OK)
            geo_page_query_bytes(query, box, sizeof(*box));
        return code;
    }
    if (request->area_case != WAYMARK__GEO__V1__SEARCH_WITHIN_REQUEST__AREA_POLYGON)
        return wm_fail_field(err, "area", "FIELD_REQUIRED", "box or polygon is required");
    code = geo_geojson_read(rpc_arena(op->call), request->polygon, "polygon", &wkb, err);
    if (code != WM_OK)
        return code;
    geo_page_query_bytes(query, wkb.bytes, wkb.size);
    code = geo_area_new(wkb, area, err);
    if (code == WM_OK)
        *box = geo_area_bounds(*area);
    return code;
}

static wm_code within_find(search_call *op, wm_err *err)
{
    const Waymark__Geo__V1__SearchWithinRequest *request =
        (const Waymark__Geo__V1__SearchWithinRequest *)op->request;
    geo_page_query query;
    geo_area *area = NULL;
    geo_box box;
    const char *after;
    int32_t page_size;
    geo_hit *hits;
    size_t n;
    wm_code code;

    geo_page_query_init(&query, "SearchWithin", rpc_namespace(op->call));
    code = within_area(op, &query, &box, &area, err);
    if (code == WM_OK)
        code = geo_page_size(request->page_size, "page_size", PAGE_SIZE_DEFAULT, LIMIT_MAX,
                             &page_size, err);
    if (code == WM_OK)
        code = geo_page_token_read(request->page_token, &query, &after, err);
    if (code == WM_OK) {
        /* One more than asked for tells whether there is another page. */
        n = geo_index_within(search_index(op), rpc_arena(op->call), &box, area,
                             after == NULL ? "" : after, (size_t)page_size + 1, &hits);
        if (n > (size_t)page_size)
            within_reply(op, &query, hits, (size_t)page_size, true);
        else
            within_reply(op, &query, hits, n, false);
    }
    if (area != NULL)
        geo_area_free(area);
    return code;
}

static void within_run(search_call *op)
{
    wm_err err = {0};

    if (within_find(op, &err) != WM_OK)
        rpc_fail(op->call, &err);
}

void geo_search_within(rpc_call *call, const Waymark__Geo__V1__SearchWithinRequest *request)
{
    search_start(call, &request->base, request->revision, within_run);
}
