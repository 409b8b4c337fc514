/* server/workflow/chart_service.c - ChartService: charts are checked, numbered and kept. */
#include <openssl/sha.h>
#include <string.h>

#include "base/codec.h"
#include "server/workflow/handlers.h"

enum { PUT_TRIES_MAX = 5 };

typedef struct chart_call {
    rpc_call *call;
    workflow_lane *wl;
    store_query query;
    const char *chart_id;
    const void *definition;
    size_t size;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    int64_t version;
    int32_t page_size;
    int tries;
} chart_call;

static chart_call *chart_call_new(rpc_call *call)
{
    chart_call *c = WM_NEW(rpc_arena(call), chart_call);

    c->call = call;
    c->wl = workflow_lane_of((workflow *)rpc_ctx(call), rpc_lane(call));
    return c;
}

/* ---- checking ---- */

/* Room for a hundred errors is too much for a stack. */
static chart_diagnostics *check_chart(rpc_call *call, const Waymark__Workflow__V1__Chart *chart,
                                      workflow_chart **made)
{
    chart_diagnostics *found = WM_NEW(rpc_arena(call), chart_diagnostics);

    *made = NULL;
    if (!chart) {
        (void)wm_fail_field(&found->errs[0], "chart", "FIELD_REQUIRED", "a chart is needed");
        found->n = found->n_kept = 1;
    } else if (waymark__workflow__v1__chart__get_packed_size(chart) > CHART_SIZE_MAX) {
        (void)wm_fail_field(&found->errs[0], "chart", "FIELD_TOO_LONG", "longer than %d bytes",
                            CHART_SIZE_MAX);
        found->n = found->n_kept = 1;
    } else if (workflow_chart_compile(chart, made, found) != WM_OK) {
        *made = NULL;
    }
    return found;
}

/* The status names the first error and tells how many there are; ValidateChart lists them. */
static void fail_invalid(rpc_call *call, const chart_diagnostics *found)
{
    wm_err err = found->errs[0];

    if (found->n > 1) {
        (void)wm_fail_field(&err, found->errs[0].field, "CHART_INVALID",
                            "%zu errors, the first: %.200s", found->n, found->errs[0].message);
    }
    rpc_fail(call, &err);
}

void workflow_validate_chart(rpc_call *call,
                             const Waymark__Workflow__V1__ValidateChartRequest *request)
{
    typedef Waymark__Workflow__V1__ChartDiagnostic proto_diagnostic;
    Waymark__Workflow__V1__ValidateChartResponse response =
        WAYMARK__WORKFLOW__V1__VALIDATE_CHART_RESPONSE__INIT;
    workflow_chart *chart;
    chart_diagnostics *found = check_chart(call, request->chart, &chart);

    workflow_chart_unref(chart);
    response.diagnostics = WM_NEW_ARRAY(rpc_arena(call), proto_diagnostic *, found->n_kept + 1);
    for (size_t i = 0; i < found->n_kept; i++) {
        proto_diagnostic *out = WM_NEW(rpc_arena(call), proto_diagnostic);

        waymark__workflow__v1__chart_diagnostic__init(out);
        out->field = found->errs[i].field;
        out->reason = found->errs[i].reason;
        out->message = found->errs[i].message;
        response.diagnostics[response.n_diagnostics++] = out;
    }
    waymark_workflow_v1_chart_service_validate_chart_reply(call, &response);
}

/* ---- PutChart ---- */

static void put_send(chart_call *c);

static void put_done(store_query *query, wm_code code)
{
    chart_call *c = wm_container_of(query, chart_call, query);
    Waymark__Workflow__V1__PutChartResponse response =
        WAYMARK__WORKFLOW__V1__PUT_CHART_RESPONSE__INIT;
    workflow_chart *chart;
    wm_err err;

    if (code != WM_OK) {
        /* Two puts at once took the same number: the other one is there now. */
        if (strcmp(query->tx.err.reason, "SQLSTATE_23505") == 0 && ++c->tries < PUT_TRIES_MAX)
            put_send(c);
        else
            rpc_fail(c->call, &query->tx.err);
        return;
    }
    response.chart_id = (char *)c->chart_id;
    response.version = store_int64(store_query_rows(query), 0, 0);
    response.created = store_bool(store_query_rows(query), 0, 1);
    if (workflow_cache_add(c->wl->wf->cache, rpc_namespace(c->call), response.version, true,
                           c->definition, c->size, &chart, &err) == WM_OK)
        workflow_chart_unref(chart);
    waymark_workflow_v1_chart_service_put_chart_reply(c->call, &response);
}

static void put_send(chart_call *c)
{
    store_args args;

    store_args_init(&args, rpc_arena(c->call));
    store_arg_int32(&args, rpc_namespace(c->call));
    store_arg_text(&args, c->chart_id);
    store_arg_bytes(&args, c->digest, sizeof c->digest);
    store_arg_bytes(&args, c->definition, c->size);
    store_query_start(c->wl->store, &c->query, rpc_arena(c->call), &workflow_stmt_put_chart, &args,
                      true, put_done);
}

void workflow_put_chart(rpc_call *call, const Waymark__Workflow__V1__PutChartRequest *request)
{
    workflow_chart *chart;
    chart_diagnostics *found = check_chart(call, request->chart, &chart);
    chart_call *c = chart_call_new(call);
    uint8_t *bytes;

    workflow_chart_unref(chart);
    if (found->n > 0) {
        fail_invalid(call, found);
        return;
    }
    /* The request is ours: sorting its maps in place harms nobody. */
    workflow_chart_normalize((Waymark__Workflow__V1__Chart *)request->chart);
    c->size = waymark__workflow__v1__chart__get_packed_size(request->chart);
    bytes = (uint8_t *)wm_arena_alloc(rpc_arena(call), c->size + 1);
    waymark__workflow__v1__chart__pack(request->chart, bytes);
    c->definition = bytes;
    SHA256(bytes, c->size, c->digest);
    c->chart_id = request->chart->chart_id;
    put_send(c);
}

/* ---- GetChart ---- */

static void get_done(store_query *query, wm_code code)
{
    chart_call *c = wm_container_of(query, chart_call, query);
    Waymark__Workflow__V1__GetChartResponse response =
        WAYMARK__WORKFLOW__V1__GET_CHART_RESPONSE__INIT;
    const store_rows *rows;
    ProtobufCMessage *message;
    const void *bytes;
    size_t size;
    wm_err err = {0};

    if (code != WM_OK) {
        rpc_fail(c->call, &query->tx.err);
        return;
    }
    rows = store_query_rows(query);
    if (store_rows_len(rows) == 0) {
        (void)wm_fail(&err, WM_NOT_FOUND, "CHART_NOT_FOUND", "there is no chart %s%s", c->chart_id,
                      c->version ? " of this version" : "");
        rpc_fail(c->call, &err);
        return;
    }
    bytes = store_bytes(rows, 0, 1, &size);
    if (wm_codec_unpack(rpc_arena(c->call), &waymark__workflow__v1__chart__descriptor, bytes, size,
                        &message, &err) != WM_OK) {
        (void)wm_fail(&err, WM_DATA_LOSS, "INTERNAL", "the stored chart cannot be read");
        rpc_fail(c->call, &err);
        return;
    }
    response.chart = (Waymark__Workflow__V1__Chart *)message;
    response.version = store_int64(rows, 0, 0);
    response.create_time = workflow_timestamp(rpc_arena(c->call), store_time(rows, 0, 2));
    waymark_workflow_v1_chart_service_get_chart_reply(c->call, &response);
}

void workflow_get_chart(rpc_call *call, const Waymark__Workflow__V1__GetChartRequest *request)
{
    chart_call *c = chart_call_new(call);
    store_args args;
    wm_err err = {0};

    c->chart_id = request->chart_id;
    c->version = request->version;
    if (request->version < 0)
        (void)wm_fail_field(&err, "version", "FIELD_INVALID", "0 or more is needed");
    else if (workflow_check_id(request->chart_id, "chart_id", &err) == WM_OK)
        err.code = WM_OK;
    if (err.code != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    store_args_init(&args, rpc_arena(call));
    store_arg_int32(&args, rpc_namespace(call));
    store_arg_text(&args, request->chart_id);
    store_arg_int64(&args, request->version);
    store_query_start(c->wl->store, &c->query, rpc_arena(call), &workflow_stmt_get_chart, &args,
                      false, get_done);
}

/* ---- ListCharts ---- */

static void list_done(store_query *query, wm_code code)
{
    chart_call *c = wm_container_of(query, chart_call, query);
    wm_arena *arena = rpc_arena(c->call);
    Waymark__Workflow__V1__ListChartsResponse response =
        WAYMARK__WORKFLOW__V1__LIST_CHARTS_RESPONSE__INIT;
    const store_rows *rows;
    size_t n;

    if (code != WM_OK) {
        rpc_fail(c->call, &query->tx.err);
        return;
    }
    rows = store_query_rows(query);
    n = store_rows_len(rows);
    response.charts = WM_NEW_ARRAY(arena, Waymark__Workflow__V1__ChartSummary *, n + 1);
    for (size_t i = 0; i < n && i < (size_t)c->page_size; i++) {
        Waymark__Workflow__V1__ChartSummary *out =
            WM_NEW(arena, Waymark__Workflow__V1__ChartSummary);

        waymark__workflow__v1__chart_summary__init(out);
        out->chart_id = wm_arena_strdup(arena, store_text(rows, i, 0));
        out->version = store_int64(rows, i, 1);
        out->create_time = workflow_timestamp(arena, store_time(rows, i, 2));
        response.charts[response.n_charts++] = out;
    }
    if (n > (size_t)c->page_size)
        response.next_page_token = response.charts[c->page_size - 1]->chart_id;
    waymark_workflow_v1_chart_service_list_charts_reply(c->call, &response);
}

/* The page token is the last id of the page before. */
void workflow_list_charts(rpc_call *call, const Waymark__Workflow__V1__ListChartsRequest *request)
{
    chart_call *c = chart_call_new(call);
    store_args args;
    wm_err err = {0};

    c->page_size = request->page_size;
    if (request->page_token[0] && !workflow_id_is_valid(request->page_token))
        (void)wm_fail_field(&err, "page_token", "PAGE_TOKEN_INVALID",
                            "this is no token of this list");
    else if (workflow_check_page(&c->page_size, &err) == WM_OK)
        err.code = WM_OK;
    if (err.code != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    store_args_init(&args, rpc_arena(call));
    store_arg_int32(&args, rpc_namespace(call));
    store_arg_text(&args, request->page_token);
    store_arg_int32(&args, c->page_size + 1);
    store_query_start(c->wl->store, &c->query, rpc_arena(call), &workflow_stmt_list_charts, &args,
                      false, list_done);
}
