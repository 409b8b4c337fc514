/* geo/fence_service.c - fences by id: create, get, list, update, delete.
 *
 * A change is one transaction:
 *
 *   begin ──> next revision, the fence as it is ──> insert, update or delete; outbox ──> commit
 *                          └─ not as wanted: roll back, fail
 *
 * Taking the next revision locks the namespace's fences for writers, so what the second statement
 * sees stays true, and revisions commit in order. Positions never wait for it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/geo/internal.h"
#include "server/geo/page.h"

enum {
    DISPLAY_NAME_SIZE_MAX = 200,
    PAGE_SIZE_DEFAULT = 100,
    PAGE_SIZE_MAX = 1000,
    PAGE_GEOMETRY_SIZE_MAX = 512 * 1024 /* WKB; as a Struct it is twice as big */
};

/* ---- messages ---- */

static wm_code fence_write(wm_arena *arena, const geo_fence_row *row,
                           Waymark__Geo__V1__Fence **fence, wm_err *err)
{
    Waymark__Geo__V1__Fence *made = WM_NEW(arena, Waymark__Geo__V1__Fence);

    waymark__geo__v1__fence__init(made);
    made->fence_id = wm_arena_strdup(arena, row->fence_id);
    made->display_name = wm_arena_strdup(arena, row->display_name);
    made->create_time = geo_time_write(arena, row->create_time_us);
    made->update_time = geo_time_write(arena, row->update_time_us);
    made->etag = wm_arena_printf(arena, "%" PRIx64, (uint64_t)row->revision);
    *fence = made;
    if (row->wkb.size == 0)
        return WM_OK;
    return geo_geojson_write(arena, row->wkb, &made->geometry, err);
}

static wm_code not_found(const char *fence_id, wm_err *err)
{
    return wm_fail(err, WM_NOT_FOUND, "FENCE_NOT_FOUND", "no fence %s", fence_id);
}

/* ---- changes ---- */

typedef enum change_kind { CHANGE_CREATE, CHANGE_UPDATE, CHANGE_DELETE } change_kind;

typedef struct change {
    rpc_call *call;
    store_tx tx;
    change_kind kind;
    const char *fence_id;
    const char *etag;         /* "": any */
    const char *display_name; /* NULL: as it is */
    geo_wkb wkb;              /* size 0: as it is */
    bool allow_missing;
    size_t revision_result, fence_result;
    wm_err err;
} change;

static change *change_new(rpc_call *call, change_kind kind, const char *fence_id)
{
    change *op = WM_NEW(rpc_arena(call), change);

    op->call = call;
    op->kind = kind;
    op->fence_id = fence_id;
    op->etag = "";
    return op;
}

static void change_reply_fence(change *op, const store_rows *rows)
{
    Waymark__Geo__V1__CreateFenceResponse created = WAYMARK__GEO__V1__CREATE_FENCE_RESPONSE__INIT;
    Waymark__Geo__V1__UpdateFenceResponse updated = WAYMARK__GEO__V1__UPDATE_FENCE_RESPONSE__INIT;
    Waymark__Geo__V1__Fence *fence;
    geo_fence_row row;

    geo_store_read_fence(rows, 0, &row);
    if (fence_write(rpc_arena(op->call), &row, &fence, &op->err) != WM_OK) {
        rpc_fail(op->call, &op->err);
    } else if (op->kind == CHANGE_CREATE) {
        created.fence = fence;
        waymark_geo_v1_fence_service_create_fence_reply(op->call, &created);
    } else {
        updated.fence = fence;
        waymark_geo_v1_fence_service_update_fence_reply(op->call, &updated);
    }
}

static void change_committed(store_tx *tx, wm_code code)
{
    change *op = wm_container_of(tx, change, tx);
    Waymark__Geo__V1__DeleteFenceResponse deleted = WAYMARK__GEO__V1__DELETE_FENCE_RESPONSE__INIT;

    if (code != WM_OK) {
        rpc_fail(op->call, &tx->err);
        return;
    }
    event_hub_wake(geo_of(op->call)->hub);
    if (op->kind == CHANGE_DELETE)
        waymark_geo_v1_fence_service_delete_fence_reply(op->call, &deleted);
    else
        change_reply_fence(op, store_tx_rows(tx, op->fence_result));
}

static void change_rolled_back(store_tx *tx, wm_code code)
{
    change *op = wm_container_of(tx, change, tx);

    (void)code; /* nothing is kept either way */
    rpc_fail(op->call, &op->err);
}

/* Is the fence as the change wants it? */
static wm_code change_check(change *op, const store_rows *rows)
{
    bool exists = store_rows_len(rows) > 0;
    char etag[32];
    geo_fence_row row;

    if (op->kind == CHANGE_CREATE) {
        if (exists)
            return wm_fail(&op->err, WM_EXISTS, "FENCE_EXISTS", "fence %s exists", op->fence_id);
        return WM_OK;
    }
    if (!exists) {
        if (op->kind == CHANGE_DELETE || !op->allow_missing)
            return not_found(op->fence_id, &op->err);
        if (op->wkb.size == 0)
            return wm_fail_field(&op->err, "fence.geometry", "FIELD_REQUIRED",
                                 "fence.geometry is required to create a fence");
        return WM_OK;
    }
    if (op->etag[0] == '\0')
        return WM_OK;
    geo_store_read_fence(rows, 0, &row);
    snprintf(etag, sizeof(etag), "%" PRIx64, (uint64_t)row.revision);
    if (strcmp(etag, op->etag) != 0)
        return wm_fail(&op->err, WM_ABORTED, "ETAG_MISMATCH",
                       "fence %s has changed since this etag", op->fence_id);
    return WM_OK;
}

static void change_write(change *op, int64_t revision, bool exists)
{
    int32_t namespace_id = rpc_namespace(op->call);
    store_args args;

    store_args_init(&args, rpc_arena(op->call));
    store_arg_int32(&args, namespace_id);
    store_arg_text(&args, op->fence_id);
    if (op->kind == CHANGE_DELETE) {
        store_arg_int64(&args, revision);
        store_tx_add(&op->tx, &geo_store_delete_fence, &args);
    } else {
        if (!exists && op->display_name == NULL)
            op->display_name = "";
        store_arg_text(&args, op->display_name);
        store_arg_int64(&args, revision);
        if (op->wkb.size == 0)
            store_arg_null(&args);
        else
            store_arg_bytes(&args, op->wkb.bytes, op->wkb.size);
        op->fence_result = store_tx_add(
            &op->tx, exists ? &geo_store_update_fence : &geo_store_insert_fence, &args);
    }
    event_outbox_add(&op->tx, EVENT_FENCES, namespace_id, "", 0);
    store_tx_commit(&op->tx, change_committed);
}

static void change_locked(store_tx *tx, wm_code code)
{
    change *op = wm_container_of(tx, change, tx);
    const store_rows *fence;

    if (code != WM_OK) {
        rpc_fail(op->call, &tx->err);
        return;
    }
    fence = store_tx_rows(tx, op->fence_result);
    if (change_check(op, fence) != WM_OK)
        store_tx_rollback(tx, change_rolled_back);
    else
        change_write(op, store_int64(store_tx_rows(tx, op->revision_result), 0, 0),
                     store_rows_len(fence) > 0);
}

static void change_ready(store_tx *tx, wm_code code)
{
    change *op = wm_container_of(tx, change, tx);
    store_args args;

    if (code != WM_OK) {
        rpc_fail(op->call, &tx->err);
        return;
    }
    store_args_init(&args, rpc_arena(op->call));
    store_arg_int32(&args, rpc_namespace(op->call));
    op->revision_result = store_tx_add(tx, &geo_store_next_fence_revision, &args);
    store_arg_text(&args, op->fence_id);
    op->fence_result = store_tx_add(tx, &geo_store_get_fence, &args);
    store_tx_step(tx, change_locked);
}

static void change_start(change *op)
{
    store_tx_begin(lane_store(rpc_lane(op->call)), &op->tx, rpc_arena(op->call), true, change_ready,
                   op);
}

/* ---- what a change asks for ---- */

static wm_code display_name_read(change *op, const Waymark__Geo__V1__Fence *fence)
{
    if (strlen(fence->display_name) > DISPLAY_NAME_SIZE_MAX)
        return wm_fail_field(&op->err, "fence.display_name", "FIELD_TOO_LONG",
                             "fence.display_name is longer than %d bytes", DISPLAY_NAME_SIZE_MAX);
    op->display_name = fence->display_name;
    return WM_OK;
}

static wm_code geometry_read(change *op, const Waymark__Geo__V1__Fence *fence)
{
    if (fence->geometry == NULL)
        return wm_fail_field(&op->err, "fence.geometry", "FIELD_REQUIRED",
                             "fence.geometry is required");
    return geo_geojson_read(rpc_arena(op->call), fence->geometry, "fence.geometry", &op->wkb,
                            &op->err);
}

void geo_create_fence(rpc_call *call, const Waymark__Geo__V1__CreateFenceRequest *request)
{
    static const Waymark__Geo__V1__Fence nothing = WAYMARK__GEO__V1__FENCE__INIT;
    const Waymark__Geo__V1__Fence *fence = request->fence != NULL ? request->fence : &nothing;
    change *op = change_new(call, CHANGE_CREATE, fence->fence_id);

    if (geo_id_check(op->fence_id, "fence.fence_id", &op->err) != WM_OK ||
        display_name_read(op, fence) != WM_OK || geometry_read(op, fence) != WM_OK)
        rpc_fail(call, &op->err);
    else
        change_start(op);
}

static wm_code mask_read(change *op, const Waymark__Geo__V1__UpdateFenceRequest *request,
                         const Waymark__Geo__V1__Fence *fence)
{
    const Google__Protobuf__FieldMask *mask = request->update_mask;
    wm_code code = WM_OK;

    if (mask == NULL || mask->n_paths == 0)
        return wm_fail_field(&op->err, "update_mask", "FIELD_REQUIRED", "update_mask is required");
    for (size_t i = 0; code == WM_OK && i < mask->n_paths; i++) {
        if (strcmp(mask->paths[i], "display_name") == 0)
            code = display_name_read(op, fence);
        else if (strcmp(mask->paths[i], "geometry") == 0)
            code = geometry_read(op, fence);
        else
            code = wm_fail_field(&op->err, "update_mask", "FIELD_INVALID",
                                 "update_mask may name display_name and geometry");
    }
    return code;
}

void geo_update_fence(rpc_call *call, const Waymark__Geo__V1__UpdateFenceRequest *request)
{
    static const Waymark__Geo__V1__Fence nothing = WAYMARK__GEO__V1__FENCE__INIT;
    const Waymark__Geo__V1__Fence *fence = request->fence != NULL ? request->fence : &nothing;
    change *op = change_new(call, CHANGE_UPDATE, fence->fence_id);

    op->etag = fence->etag;
    op->allow_missing = request->allow_missing;
    if (geo_id_check(op->fence_id, "fence.fence_id", &op->err) != WM_OK ||
        mask_read(op, request, fence) != WM_OK)
        rpc_fail(call, &op->err);
    else
        change_start(op);
}

void geo_delete_fence(rpc_call *call, const Waymark__Geo__V1__DeleteFenceRequest *request)
{
    change *op = change_new(call, CHANGE_DELETE, request->fence_id);

    op->etag = request->etag;
    if (geo_id_check(op->fence_id, "fence_id", &op->err) != WM_OK)
        rpc_fail(call, &op->err);
    else
        change_start(op);
}

/* ---- get and list ---- */

typedef struct read_call {
    rpc_call *call;
    const char *fence_id;
    store_query query;
    geo_page_query page_query;
    int32_t page_size;
} read_call;

static void get_done(store_query *query, wm_code code)
{
    read_call *op = wm_container_of(query, read_call, query);
    Waymark__Geo__V1__GetFenceResponse response = WAYMARK__GEO__V1__GET_FENCE_RESPONSE__INIT;
    wm_err err = query->tx.err;
    geo_fence_row row;

    if (code == WM_OK && store_rows_len(store_query_rows(query)) == 0)
        code = not_found(op->fence_id, &err);
    if (code == WM_OK) {
        geo_store_read_fence(store_query_rows(query), 0, &row);
        code = fence_write(rpc_arena(op->call), &row, &response.fence, &err);
    }
    if (code != WM_OK)
        rpc_fail(op->call, &err);
    else
        waymark_geo_v1_fence_service_get_fence_reply(op->call, &response);
}

void geo_get_fence(rpc_call *call, const Waymark__Geo__V1__GetFenceRequest *request)
{
    read_call *op = WM_NEW(rpc_arena(call), read_call);
    store_args args;
    wm_err err = {0};

    op->call = call;
    op->fence_id = request->fence_id;
    if (geo_id_check(request->fence_id, "fence_id", &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    store_args_init(&args, rpc_arena(call));
    store_arg_int32(&args, rpc_namespace(call));
    store_arg_text(&args, request->fence_id);
    store_query_start(lane_store(rpc_lane(call)), &op->query, rpc_arena(call), &geo_store_get_fence,
                      &args, false, get_done);
}

/* Fills the response up to the page's size, in fences and in bytes. */
static wm_code list_write(read_call *op, const store_rows *rows,
                          Waymark__Geo__V1__ListFencesResponse *response, wm_err *err)
{
    wm_arena *arena = rpc_arena(op->call);
    size_t len = store_rows_len(rows), size = 0;

    response->fences = WM_NEW_ARRAY(arena, Waymark__Geo__V1__Fence *, len);
    while (response->n_fences < len) {
        size_t n = response->n_fences;
        geo_fence_row row;
        wm_code code;

        geo_store_read_fence(rows, n, &row);
        if (n == (size_t)op->page_size || (n > 0 && size + row.wkb.size > PAGE_GEOMETRY_SIZE_MAX)) {
            response->next_page_token =
                geo_page_token_write(arena, &op->page_query, response->fences[n - 1]->fence_id);
            return WM_OK;
        }
        size += row.wkb.size;
        code = fence_write(arena, &row, &response->fences[n], err);
        if (code != WM_OK)
            return code;
        response->n_fences++;
    }
    return WM_OK;
}

static void list_done(store_query *query, wm_code code)
{
    read_call *op = wm_container_of(query, read_call, query);
    Waymark__Geo__V1__ListFencesResponse response = WAYMARK__GEO__V1__LIST_FENCES_RESPONSE__INIT;
    wm_err err = query->tx.err;

    if (code == WM_OK)
        code = list_write(op, store_query_rows(query), &response, &err);
    if (code != WM_OK)
        rpc_fail(op->call, &err);
    else
        waymark_geo_v1_fence_service_list_fences_reply(op->call, &response);
}

void geo_list_fences(rpc_call *call, const Waymark__Geo__V1__ListFencesRequest *request)
{
    read_call *op = WM_NEW(rpc_arena(call), read_call);
    const char *after;
    store_args args;
    wm_err err = {0};

    op->call = call;
    geo_page_query_init(&op->page_query, "ListFences", rpc_namespace(call));
    if (geo_page_size(request->page_size, "page_size", PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX,
                      &op->page_size, &err) != WM_OK ||
        geo_page_token_read(request->page_token, &op->page_query, &after, &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    store_args_init(&args, rpc_arena(call));
    store_arg_int32(&args, rpc_namespace(call));
    store_arg_text(&args, after == NULL ? "" : after);
    store_arg_int64(&args, op->page_size + 1);
    store_arg_bool(&args, request->view == WAYMARK__GEO__V1__FENCE_VIEW__FENCE_VIEW_FULL);
    store_query_start(lane_store(rpc_lane(call)), &op->query, rpc_arena(call),
                      &geo_store_list_fences, &args, false, list_done);
}
