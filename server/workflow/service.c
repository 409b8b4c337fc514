/* server/workflow/service.c - WorkflowService: starts, events and reads.
 *
 * StartInstance:
 *
 *   CHART -> START -> reply            the id was free
 *              |----> LOOK -> reply    it was not: a repeat, or somebody else's
 *              '----> CHART            the chart has a newer version by now
 *
 * With wait_timeout the call listens before it starts, so that the end cannot be missed, and
 * its reply comes through the watch (watch.c). */
#include <assert.h>
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/workflow/handlers.h"

enum {
    START_TRIES_MAX = 5,
    START_WEIGHT_SIZE = 128 * 1024,
    START_MEMORY_MAX = 16 * 1024 * 1024, /* of the call's arena, for another try */
    PAGE_MAX = 1000,
    PAGE_DEFAULT = 100
};

enum { HISTORY_INSTANCE_REVISION = 13 }; /* a column of workflow_stmt_history */

/* ---- checks at the door ---- */

wm_code workflow_check_id(const char *id, const char *field, wm_err *err)
{
    if (!id[0])
        return wm_fail_field(err, field, "FIELD_REQUIRED", "%s is needed", field);
    if (!workflow_id_is_valid(id))
        return wm_fail_field(err, field, "ID_MALFORMED",
                             "an id is [A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}");
    return WM_OK;
}

static wm_code check_request_id(const char *id, wm_err *err)
{
    if (strlen(id) > WORKFLOW_REQUEST_ID_MAX)
        return wm_fail_field(err, "request_id", "FIELD_TOO_LONG", "longer than %d bytes",
                             WORKFLOW_REQUEST_ID_MAX);
    return WM_OK;
}

wm_code workflow_check_wait(const Google__Protobuf__Duration *wait, int64_t missing_ms,
                            int64_t *wait_ms, wm_err *err)
{
    if (!workflow_duration_ms(wait, WORKFLOW_WAIT_MS_MAX, wait_ms))
        return wm_fail_field(err, "wait_timeout", "FIELD_INVALID", "0 s to %d s are allowed",
                             WORKFLOW_WAIT_MS_MAX / 1000);
    if (!wait)
        *wait_ms = missing_ms;
    return WM_OK;
}

wm_code workflow_check_data(wm_arena *arena, const Google__Protobuf__Struct *in, const char *field,
                            const wm_json **data, const char **text, wm_err *err)
{
    *text = NULL;
    /* Before it is made a tree of, which may be thirty times as big. */
    if (in && google__protobuf__struct__get_packed_size(in) > WORKFLOW_VALUE_SIZE_MAX)
        return wm_fail_field(err, field, "FIELD_TOO_LONG", "longer than %d bytes",
                             WORKFLOW_VALUE_SIZE_MAX);
    if (workflow_value_from_struct(arena, in, field, data, err) != WM_OK)
        return err->code;
    if (!(*data)->first)
        return WM_OK;
    *text = workflow_value_text(arena, *data);
    if (!*text)
        return wm_fail_field(err, field, "FIELD_TOO_LONG", "longer than %d bytes",
                             WORKFLOW_VALUE_SIZE_MAX);
    return WM_OK;
}

wm_code workflow_check_page(int32_t *page_size, wm_err *err)
{
    if (*page_size < 0)
        return wm_fail_field(err, "page_size", "FIELD_INVALID", "is negative");
    if (*page_size == 0)
        *page_size = PAGE_DEFAULT;
    if (*page_size > PAGE_MAX) /* AIP-158: more than the maximum is the maximum */
        *page_size = PAGE_MAX;
    return WM_OK;
}

int64_t workflow_wait_ms(const rpc_call *call, int64_t wait_ms)
{
    int64_t deadline_us = rpc_deadline_us(call), left_ms;

    if (deadline_us == INT64_MAX)
        return wait_ms;
    /* Answer before the client gives up. */
    left_ms = (deadline_us - wm_monotonic_us()) / 1000 - 100;
    if (left_ms < 0)
        left_ms = 0;
    return left_ms < wait_ms ? left_ms : wait_ms;
}

/* ---- StartInstance ---- */

typedef struct start_call {
    rpc_call *call;
    workflow_lane *wl;
    const Waymark__Workflow__V1__StartInstanceRequest *request;
    workflow_chart *chart; /* referenced */
    workflow_start_op op;
    store_query query;
    workflow_watch watch;
    const wm_json *input;
    const char *input_text;
    int64_t wait_ms;
    bool listens, created;
    int tries;
} start_call;

static void start_begin(start_call *c);

static void start_drop_chart(start_call *c)
{
    workflow_chart_unref(c->chart);
    c->chart = NULL;
}

static void start_fail(start_call *c, const wm_err *err)
{
    start_drop_chart(c);
    c->watch.held = false;
    if (c->listens)
        workflow_watch_fail(&c->watch, err);
    else
        rpc_fail(c->call, err);
}

static void start_reply_message(start_call *c, Waymark__Workflow__V1__Instance *instance)
{
    Waymark__Workflow__V1__StartInstanceResponse response =
        WAYMARK__WORKFLOW__V1__START_INSTANCE_RESPONSE__INIT;

    response.instance = instance;
    response.created = c->created;
    waymark_workflow_v1_workflow_service_start_instance_reply(c->call, &response);
}

/* The instance is known: answer, or wait for its end. */
static void start_known(start_call *c, const workflow_row *row)
{
    Waymark__Workflow__V1__Instance *message = workflow_instance_message(rpc_arena(c->call), row);
    wm_err err;

    start_drop_chart(c);
    if (!message) {
        (void)wm_fail(&err, WM_DATA_LOSS, "INTERNAL", "the stored instance cannot be read");
        start_fail(c, &err);
    } else if (c->listens) {
        workflow_watch_look(&c->watch, message);
    } else {
        start_reply_message(c, message);
    }
}

static void start_watched(workflow_watch *watch, wm_code code)
{
    start_call *c = wm_container_of(watch, start_call, watch);

    if (code == WM_OK)
        start_reply_message(c, watch->found);
    else
        rpc_fail(c->call, &watch->err);
}

static void start_looked(store_query *query, wm_code code)
{
    start_call *c = wm_container_of(query, start_call, query);
    workflow_row *rows;
    wm_err err;
    size_t n;

    if (code != WM_OK) {
        start_fail(c, &query->tx.err);
        return;
    }
    rows = workflow_store_read_instances(store_query_rows(query), rpc_arena(c->call), &n);
    if (n > 0 && memcmp(rows[0].start_key, c->op.start.start_key, 16) == 0) {
        start_known(c, &rows[0]);
    } else if (n > 0) {
        (void)wm_fail(&err, WM_EXISTS, "INSTANCE_EXISTS",
                      "instance %s was started by another request", c->op.move.instance_id);
        start_fail(c, &err);
    } else if (++c->tries < START_TRIES_MAX &&
               wm_arena_used(rpc_arena(c->call)) < START_MEMORY_MAX) {
        /* The newest version of the chart was not the one in the cache. */
        workflow_cache_forget_newest(c->wl->wf->cache, c->op.move.namespace_id,
                                     c->request->chart_id);
        start_drop_chart(c);
        start_begin(c);
    } else {
        (void)wm_fail(&err, WM_UNAVAILABLE, "STORE_BUSY", "the chart changes all the time");
        err.retry_after_ms = 100;
        start_fail(c, &err);
    }
}

static void start_look(start_call *c)
{
    store_args args;

    store_args_init(&args, rpc_arena(c->call));
    store_arg_int32(&args, c->op.move.namespace_id);
    store_arg_text(&args, c->op.move.instance_id);
    store_query_start(c->wl->store, &c->query, rpc_arena(c->call), &workflow_stmt_get, &args, false,
                      start_looked);
}

static void start_done(store_op *op)
{
    start_call *c = wm_container_of(wm_container_of(op, workflow_start_op, op), start_call, op);
    workflow_row row;

    if (op->code != WM_OK) {
        start_fail(c, &op->err);
    } else if (c->op.made) {
        c->created = true;
        workflow_row_of_move(&row, &c->op.move, c->op.time_us);
        start_known(c, &row);
    } else {
        start_look(c);
    }
}

/* The chart is at hand: make the step, and queue it. */
static void start_go(start_call *c)
{
    move_take take = {.kind = WAYMARK__WORKFLOW__V1__HISTORY_KIND__HISTORY_KIND_STARTED,
                      .event = "",
                      .data = c->input,
                      .data_text = c->input_text,
                      .event_time_us = STORE_NULL_INT};
    wm_err err = {0};

    workflow_move_init(&c->op.move);
    c->op.move.chart = c->chart;
    c->op.start.latest = c->request->chart_version == 0;
    if (workflow_move_start(&c->op.move, rpc_arena(c->call), &take, &err) != WM_OK) {
        start_fail(c, &err);
        return;
    }
    /* What the step made is copied into the batch, whose memory has a limit. */
    c->op.op.weight = 1 + wm_arena_used(rpc_arena(c->call)) / START_WEIGHT_SIZE;
    c->op.op.deadline_us = rpc_deadline_us(c->call);
    c->op.op.done = start_done;
    if (!store_batcher_add(c->wl->starts, &c->op.op, &err))
        start_fail(c, &err);
}

static void start_chart_loaded(store_query *query, wm_code code)
{
    start_call *c = wm_container_of(query, start_call, query);
    const store_rows *rows;
    const void *definition;
    size_t size;
    wm_err err = {0};

    if (code != WM_OK) {
        start_fail(c, &query->tx.err);
        return;
    }
    rows = store_query_rows(query);
    if (store_rows_len(rows) == 0) {
        (void)wm_fail(&err, WM_NOT_FOUND, "CHART_NOT_FOUND", "there is no chart %s%s",
                      c->request->chart_id, c->request->chart_version ? " of this version" : "");
        start_fail(c, &err);
        return;
    }
    definition = store_bytes(rows, 0, 1, &size);
    if (workflow_cache_add(c->wl->wf->cache, c->op.move.namespace_id, store_int64(rows, 0, 0),
                           c->request->chart_version == 0, definition, size, &c->chart,
                           &err) == WM_OK)
        start_go(c);
    else
        start_fail(c, &err);
}

static void start_begin(start_call *c)
{
    store_args args;

    c->chart = workflow_cache_find(c->wl->wf->cache, c->op.move.namespace_id, c->request->chart_id,
                                   c->request->chart_version);
    if (c->chart) {
        start_go(c);
        return;
    }
    store_args_init(&args, rpc_arena(c->call));
    store_arg_int32(&args, c->op.move.namespace_id);
    store_arg_text(&args, c->request->chart_id);
    store_arg_int64(&args, c->request->chart_version);
    store_query_start(c->wl->store, &c->query, rpc_arena(c->call), &workflow_stmt_get_chart, &args,
                      false, start_chart_loaded);
}

static wm_code start_check(start_call *c, wm_err *err)
{
    const Waymark__Workflow__V1__StartInstanceRequest *r = c->request;

    if (workflow_check_id(r->chart_id, "chart_id", err) != WM_OK ||
        (r->instance_id[0] && workflow_check_id(r->instance_id, "instance_id", err) != WM_OK) ||
        (r->entity_id[0] && workflow_check_id(r->entity_id, "entity_id", err) != WM_OK) ||
        check_request_id(r->request_id, err) != WM_OK ||
        workflow_check_wait(r->wait_timeout, 0, &c->wait_ms, err) != WM_OK)
        return err->code;
    if (r->chart_version < 0)
        return wm_fail_field(err, "chart_version", "FIELD_INVALID", "0 or more is needed");
    return workflow_check_data(rpc_arena(c->call), r->input, "input", &c->input, &c->input_text,
                               err);
}

/* What makes two starts of one id the same request. */
static void start_identify(start_call *c)
{
    const Waymark__Workflow__V1__StartInstanceRequest *r = c->request;
    wm_arena *arena = rpc_arena(c->call);
    char id[WM_UUID_TEXT_SIZE];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    const char *content;

    if (r->request_id[0])
        content = wm_arena_printf(arena, "request %s", r->request_id);
    else
        content =
            wm_arena_printf(arena, "content %s\n%" PRId64 "\n%s\n%s", r->chart_id, r->chart_version,
                            r->entity_id, c->input_text ? c->input_text : "");
    SHA256((const unsigned char *)content, strlen(content), digest);
    memcpy(c->op.start.start_key, digest, sizeof c->op.start.start_key);
    c->op.start.request_id = r->request_id[0] ? r->request_id : NULL;
    if (r->instance_id[0]) {
        c->op.move.instance_id = r->instance_id;
        return;
    }
    if (r->request_id[0]) {
        wm_uuid uuid;

        /* UUIDv8: the bits of a digest. A repeat finds the same instance. */
        memcpy(uuid.bytes, digest, sizeof uuid.bytes);
        uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0F) | 0x80);
        uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3F) | 0x80);
        wm_uuid_format(&uuid, id);
    } else {
        wm_uuid uuid = wm_uuid_new();

        wm_uuid_format(&uuid, id);
    }
    c->op.move.instance_id = wm_arena_strdup(arena, id);
}

void workflow_start_instance(rpc_call *call,
                             const Waymark__Workflow__V1__StartInstanceRequest *request)
{
    start_call *c = WM_NEW(rpc_arena(call), start_call);
    wm_err err = {0};

    c->call = call;
    c->request = request;
    c->wl = workflow_lane_of((workflow *)rpc_ctx(call), rpc_lane(call));
    if (start_check(c, &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    c->op.move.namespace_id = rpc_namespace(call);
    c->op.move.entity_id = request->entity_id;
    start_identify(c);
    c->wait_ms = workflow_wait_ms(call, c->wait_ms);
    if (c->wait_ms > 0) {
        c->listens = true;
        rpc_set_data(call, &c->watch);
        workflow_watch_init(&c->watch, call, c->op.move.instance_id, INT64_MAX, start_watched);
        c->watch.held = true;
        workflow_watch_listen(&c->watch, c->wait_ms);
    }
    start_begin(c);
}

/* ---- SendEvent ---- */

typedef struct send_call {
    rpc_call *call;
    workflow_apply_op op;
} send_call;

static void send_done(store_op *op)
{
    send_call *c = wm_container_of(wm_container_of(op, workflow_apply_op, op), send_call, op);
    Waymark__Workflow__V1__SendEventResponse response =
        WAYMARK__WORKFLOW__V1__SEND_EVENT_RESPONSE__INIT;
    const workflow_ask *ask = &c->op.ask;

    if (op->code != WM_OK) {
        rpc_fail(c->call, &op->err);
        return;
    }
    response.configuration =
        workflow_words(rpc_arena(c->call), ask->configuration, &response.n_configuration);
    response.revision = ask->revision;
    response.status = ask->ended ? WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_ENDED
                                 : WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_RUNNING;
    response.handled = ask->handled;
    response.repeated = ask->repeated;
    waymark_workflow_v1_workflow_service_send_event_reply(c->call, &response);
}

static wm_code send_check(send_call *c, const Waymark__Workflow__V1__SendEventRequest *request,
                          wm_err *err)
{
    workflow_ask *ask = &c->op.ask;

    if (workflow_check_id(request->instance_id, "instance_id", err) != WM_OK ||
        check_request_id(request->request_id, err) != WM_OK)
        return err->code;
    if (!workflow_event_name_is_valid(request->event))
        return wm_fail_field(err, "event", request->event[0] ? "FIELD_INVALID" : "FIELD_REQUIRED",
                             "an event's name is [A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}");
    return workflow_check_data(rpc_arena(c->call), request->data, "data", &ask->data,
                               &ask->data_text, err);
}

void workflow_send_event(rpc_call *call, const Waymark__Workflow__V1__SendEventRequest *request)
{
    send_call *c = WM_NEW(rpc_arena(call), send_call);
    workflow_lane *wl = workflow_lane_of((workflow *)rpc_ctx(call), rpc_lane(call));
    wm_err err = {0};

    c->call = call;
    if (send_check(c, request, &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    c->op.ask.kind = APPLY_EVENT;
    c->op.ask.namespace_id = rpc_namespace(call);
    c->op.ask.instance_id = request->instance_id;
    c->op.ask.event = request->event;
    c->op.ask.request_id = request->request_id[0] ? request->request_id : NULL;
    c->op.op.weight = 1;
    c->op.op.deadline_us = rpc_deadline_us(call);
    c->op.op.done = send_done;
    if (!store_batcher_add(wl->applies, &c->op.op, &err))
        rpc_fail(call, &err);
}

/* ---- GetInstance ---- */

typedef struct read_call {
    rpc_call *call;
    store_query query;
    const char *instance_id;
    int32_t page_size;
} read_call;

static void fail_not_found(rpc_call *call, const char *instance_id)
{
    wm_err err = {0};

    (void)wm_fail(&err, WM_NOT_FOUND, "INSTANCE_NOT_FOUND", "there is no instance %s", instance_id);
    rpc_fail(call, &err);
}

static void get_done(store_query *query, wm_code code)
{
    read_call *c = wm_container_of(query, read_call, query);
    Waymark__Workflow__V1__GetInstanceResponse response =
        WAYMARK__WORKFLOW__V1__GET_INSTANCE_RESPONSE__INIT;
    workflow_row *rows;
    wm_err err = {0};
    size_t n;

    if (code != WM_OK) {
        rpc_fail(c->call, &query->tx.err);
        return;
    }
    rows = workflow_store_read_instances(store_query_rows(query), rpc_arena(c->call), &n);
    if (n == 0) {
        fail_not_found(c->call, c->instance_id);
        return;
    }
    response.instance = workflow_instance_message(rpc_arena(c->call), &rows[0]);
    if (response.instance) {
        waymark_workflow_v1_workflow_service_get_instance_reply(c->call, &response);
    } else {
        (void)wm_fail(&err, WM_DATA_LOSS, "INTERNAL", "the stored instance cannot be read");
        rpc_fail(c->call, &err);
    }
}

void workflow_get_instance(rpc_call *call, const Waymark__Workflow__V1__GetInstanceRequest *request)
{
    read_call *c = WM_NEW(rpc_arena(call), read_call);
    workflow_lane *wl = workflow_lane_of((workflow *)rpc_ctx(call), rpc_lane(call));
    store_args args;
    wm_err err = {0};

    c->call = call;
    c->instance_id = request->instance_id;
    if (workflow_check_id(request->instance_id, "instance_id", &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    store_args_init(&args, rpc_arena(call));
    store_arg_int32(&args, rpc_namespace(call));
    store_arg_text(&args, request->instance_id);
    store_query_start(wl->store, &c->query, rpc_arena(call), &workflow_stmt_get, &args, false,
                      get_done);
}

/* ---- ListHistory ---- */

static const char *text_at(const store_rows *rows, size_t row, int column, wm_arena *arena)
{
    return store_is_null(rows, row, column) ? ""
                                            : wm_arena_strdup(arena, store_text(rows, row, column));
}

static void read_logs(const store_rows *rows, size_t row, int column, wm_arena *arena,
                      Waymark__Workflow__V1__HistoryEntry *out)
{
    const char *text = text_at(rows, row, column, arena);
    wm_json *list;
    wm_err err;

    if (!text[0] || wm_json_parse(arena, text, strlen(text), &list, &err) != WM_OK)
        return;
    out->logs = WM_NEW_ARRAY(arena, char *, list->len + 1);
    for (const wm_json *line = list->first; line; line = line->next)
        out->logs[out->n_logs++] = (char *)line->text;
}

static Waymark__Workflow__V1__HistoryEntry *read_entry(const store_rows *rows, size_t i,
                                                       wm_arena *arena)
{
    Waymark__Workflow__V1__HistoryEntry *out = WM_NEW(arena, Waymark__Workflow__V1__HistoryEntry);

    waymark__workflow__v1__history_entry__init(out);
    out->revision = store_int64(rows, i, 0);
    out->kind = (Waymark__Workflow__V1__HistoryKind)store_int32(rows, i, 1);
    out->handled = store_bool(rows, i, 2);
    out->time = workflow_timestamp(arena, store_time(rows, i, 3));
    if (!store_is_null(rows, i, 4))
        out->event_time = workflow_timestamp(arena, store_time(rows, i, 4));
    out->event = (char *)text_at(rows, i, 5, arena);
    out->data =
        workflow_struct_of_text(arena, store_is_null(rows, i, 6) ? NULL : store_text(rows, i, 6));
    out->from_configuration =
        workflow_words(arena, text_at(rows, i, 7, arena), &out->n_from_configuration);
    out->to_configuration =
        workflow_words(arena, text_at(rows, i, 8, arena), &out->n_to_configuration);
    out->started_tasks = workflow_words(arena, text_at(rows, i, 9, arena), &out->n_started_tasks);
    read_logs(rows, i, 10, arena, out);
    out->request_id = (char *)text_at(rows, i, 11, arena);
    out->failure = (char *)text_at(rows, i, 12, arena);
    return out;
}

static void history_done(store_query *query, wm_code code)
{
    read_call *c = wm_container_of(query, read_call, query);
    wm_arena *arena = rpc_arena(c->call);
    Waymark__Workflow__V1__ListHistoryResponse response =
        WAYMARK__WORKFLOW__V1__LIST_HISTORY_RESPONSE__INIT;
    const store_rows *rows;
    size_t n;

    if (code != WM_OK) {
        rpc_fail(c->call, &query->tx.err);
        return;
    }
    rows = store_query_rows(query);
    n = store_rows_len(rows);
    if (n == 0) {
        fail_not_found(c->call, c->instance_id);
        return;
    }
    response.entries = WM_NEW_ARRAY(arena, Waymark__Workflow__V1__HistoryEntry *, n);
    for (size_t i = 0; i < n && !store_is_null(rows, i, 0); i++)
        response.entries[response.n_entries++] = read_entry(rows, i, arena);
    if (response.n_entries > 0 && response.entries[response.n_entries - 1]->revision <
                                      store_int64(rows, 0, HISTORY_INSTANCE_REVISION))
        response.next_page_token =
            wm_arena_printf(arena, "%" PRId64, response.entries[response.n_entries - 1]->revision);
    waymark_workflow_v1_workflow_service_list_history_reply(c->call, &response);
}

void workflow_list_history(rpc_call *call, const Waymark__Workflow__V1__ListHistoryRequest *request)
{
    read_call *c = WM_NEW(rpc_arena(call), read_call);
    workflow_lane *wl = workflow_lane_of((workflow *)rpc_ctx(call), rpc_lane(call));
    const char *token = request->page_token;
    store_args args;
    wm_err err = {0};

    c->call = call;
    c->instance_id = request->instance_id;
    c->page_size = request->page_size;
    if (workflow_check_id(request->instance_id, "instance_id", &err) != WM_OK ||
        workflow_check_page(&c->page_size, &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    if (strspn(token, "0123456789") != strlen(token) || strlen(token) > 18) {
        (void)wm_fail_field(&err, "page_token", "PAGE_TOKEN_INVALID",
                            "this is no token of this list");
        rpc_fail(call, &err);
        return;
    }
    store_args_init(&args, rpc_arena(call));
    store_arg_int32(&args, rpc_namespace(call));
    store_arg_text(&args, request->instance_id);
    store_arg_int64(&args, token[0] ? strtoll(token, NULL, 10) : 0);
    store_arg_int32(&args, c->page_size);
    store_query_start(wl->store, &c->query, rpc_arena(call), &workflow_stmt_history, &args, false,
                      history_done);
}
