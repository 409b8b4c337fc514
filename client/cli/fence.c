/* client/cli/fence.c - fences and what crosses them: fence put|list|get|delete|events|watch. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <waymark/geo/v1/fence_service.client.h>

#include "client/cli/args.h"
#include "client/cli/cli.h"
#include "client/cli/fence.h"
#include "client/cli/retry.h"
#include "client/cli/table.h"

enum { FENCE_EVENTS_SHOWN = 50, FENCE_EVENTS_PAGE = 10000 };

/* ---- put ---- */

/* A GeoJSON id is a text or a number. */
static const char *fence_text_of(cli *cli, const wm_json *value)
{
    if (value == NULL)
        return NULL;
    if (value->kind == WM_JSON_STRING && value->text_len > 0)
        return value->text;
    if (value->kind == WM_JSON_NUMBER)
        return wm_arena_strdup(&cli->arena, value->text);
    return NULL;
}

static const char *fence_name_of(cli *cli, const wm_json *properties)
{
    static const char *const names[] = {"name", "NAME", "Name", "title"};

    for (size_t i = 0; properties != NULL && i < WM_ARRAY_LEN(names); i++) {
        const char *name = fence_text_of(cli, wm_json_find(properties, names[i]));

        if (name != NULL)
            return name;
    }
    return NULL;
}

/* A fence from a feature; false after saying what is wrong with it. */
static bool fence_of_feature(cli *cli, const char *path, size_t index, const wm_json *feature,
                             Waymark__Geo__V1__Fence *fence)
{
    const wm_json *properties = wm_json_find(feature, "properties");
    const wm_json *geometry = wm_json_find(feature, "geometry");
    const char *id = fence_text_of(cli, wm_json_find(feature, "id")), *name;
    ProtobufCMessage *message;
    wm_err err;

    if (id == NULL && properties != NULL)
        id = fence_text_of(cli, wm_json_find(properties, "id"));
    if (id == NULL || geometry == NULL || geometry->kind != WM_JSON_OBJECT) {
        cli_usage(cli, "%s: feature %zu has no %s", path, index,
                  id == NULL ? "id, neither its own nor in its properties" : "geometry");
        return false;
    }
    if (wm_json_to_message(&cli->arena, geometry, &google__protobuf__struct__descriptor, &message,
                           &err) != WM_OK) {
        cli_failed(cli, id, &err);
        return false;
    }
    name = fence_name_of(cli, properties);
    waymark__geo__v1__fence__init(fence);
    fence->fence_id = (char *)id;
    fence->display_name = (char *)(name != NULL ? name : "");
    fence->geometry = (Google__Protobuf__Struct *)(void *)message;
    return true;
}

/* The features of a FeatureCollection, or of a single Feature, as fences. */
static bool fence_read(cli *cli, const char *path, const char *text, size_t len,
                       Waymark__Geo__V1__Fence **fences, size_t *n)
{
    const wm_json *features, *type;
    wm_json *json;
    wm_err err;

    if (wm_json_parse(&cli->arena, text, len, &json, &err) != WM_OK) {
        cli_failed(cli, path, &err);
        return false;
    }
    type = wm_json_find(json, "type");
    features = wm_json_find(json, "features");
    if (features != NULL
            ? features->kind != WM_JSON_ARRAY
            : type == NULL || type->text == NULL || strcmp(type->text, "Feature") != 0) {
        cli_usage(cli, "%s is neither a GeoJSON FeatureCollection nor a Feature", path);
        return false;
    }
    *n = features != NULL ? features->len : 1;
    *fences = WM_NEW_ARRAY(&cli->arena, Waymark__Geo__V1__Fence, *n);
    json = features != NULL ? features->first : json;
    for (size_t i = 0; i < *n; i++, json = json->next) {
        if (!fence_of_feature(cli, path, i, json, &(*fences)[i]))
            return false;
    }
    return true;
}

/* Creates the fence or makes it what it is here. */
static int fence_put_one(cli *cli, Waymark__Geo__V1__Fence *fence, bool *fatal)
{
    static char *paths[] = {"display_name", "geometry"};
    Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
    Waymark__Geo__V1__UpdateFenceRequest request = WAYMARK__GEO__V1__UPDATE_FENCE_REQUEST__INIT;
    waymark_reply *reply = NULL;
    int code = CLI_OK;

    mask.paths = paths;
    mask.n_paths = WM_ARRAY_LEN(paths);
    request.namespace_ = (char *)cli->namespace_name;
    request.fence = fence;
    request.update_mask = &mask;
    request.allow_missing = true;
    if (waymark_geo_v1_fence_service_update_fence_sync(cli->client, &request, NULL, &reply) ==
        NULL) {
        const waymark_status *status = waymark_reply_status(reply);

        if (!cli->json)
            fprintf(stderr, "fence %s: ", fence->fence_id);
        code = cli_refused(cli, status);
        /* The other fences would fare no better. */
        *fatal = status->code == WAYMARK_UNAUTHENTICATED ||
                 status->code == WAYMARK_PERMISSION_DENIED || status->code == WAYMARK_UNAVAILABLE ||
                 status->code == WAYMARK_DEADLINE_EXCEEDED;
    }
    waymark_reply_free(reply);
    return code;
}

int fence_put_text(cli *cli, const char *name, const char *text, size_t len, size_t *n_put)
{
    Waymark__Geo__V1__Fence *fences;
    bool fatal = false;
    int code = CLI_OK;
    size_t n;

    *n_put = 0;
    if (!fence_read(cli, name, text, len, &fences, &n) || cli_client(cli) == NULL)
        return CLI_USAGE;
    for (size_t i = 0; i < n && !fatal; i++) {
        int one = fence_put_one(cli, &fences[i], &fatal);

        if (one == CLI_OK)
            (*n_put)++;
        else
            code = one;
    }
    return code;
}

static int fence_put_run(cli *cli, int argc, char **argv)
{
    const char *path = NULL;
    char *text;
    size_t len, n;
    int code = args_parse(cli, argc, argv, NULL, 0, &path, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    text = cli_read_file(cli, path, &len);
    if (text == NULL)
        return CLI_USAGE;
    code = fence_put_text(cli, path, text, len, &n);
    if (code == CLI_USAGE)
        return code;
    if (cli->json)
        printf("{\"fences\":%zu}\n", n);
    else
        printf("%zu fence%s put\n", n, n == 1 ? "" : "s");
    return code;
}

/* ---- list, get, delete ---- */

static void fence_add(cli *cli, table *table, const Waymark__Geo__V1__Fence *fence)
{
    const char *cells[] = {fence->fence_id, fence->display_name, cli_time(cli, fence->update_time)};

    table_add_message(table, cells, &fence->base);
}

static int fence_list_run(cli *cli, int argc, char **argv)
{
    static const char *const titles[] = {"FENCE", "NAME", "UPDATED"};
    Waymark__Geo__V1__ListFencesRequest request = WAYMARK__GEO__V1__LIST_FENCES_REQUEST__INIT;
    table table;
    int code = args_connect(cli, argc, argv, NULL, 0, NULL, 0, 0);

    if (code != ARGS_GO_ON)
        return code;
    table_begin(&table, cli, titles, WM_ARRAY_LEN(titles));
    request.namespace_ = (char *)cli->namespace_name;
    request.page_size = 1000;
    do {
        waymark_reply *reply = NULL;
        const Waymark__Geo__V1__ListFencesResponse *page =
            waymark_geo_v1_fence_service_list_fences_sync(cli->client, &request, NULL, &reply);

        if (page == NULL)
            return cli_refused_reply(cli, reply);
        for (size_t i = 0; i < page->n_fences; i++)
            fence_add(cli, &table, page->fences[i]);
        request.page_token = cli_page_token(cli, page->next_page_token, reply);
    } while (*request.page_token != '\0');
    table_end(&table, "no fences");
    return CLI_OK;
}

static int fence_get_run(cli *cli, int argc, char **argv)
{
    Waymark__Geo__V1__GetFenceRequest request = WAYMARK__GEO__V1__GET_FENCE_REQUEST__INIT;
    const Waymark__Geo__V1__GetFenceResponse *response;
    const char *id = NULL;
    waymark_reply *reply = NULL;
    int code = args_connect(cli, argc, argv, NULL, 0, &id, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    request.fence_id = (char *)id;
    code = CLI_OK;
    response = waymark_geo_v1_fence_service_get_fence_sync(cli->client, &request, NULL, &reply);
    if (response == NULL)
        code = cli_refused(cli, waymark_reply_status(reply));
    else if (cli->json)
        cli_print_message(cli, &response->fence->base);
    else
        cli_print_pretty(cli, &response->fence->base);
    waymark_reply_free(reply);
    return code;
}

static int fence_delete_run(cli *cli, int argc, char **argv)
{
    Waymark__Geo__V1__DeleteFenceRequest request = WAYMARK__GEO__V1__DELETE_FENCE_REQUEST__INIT;
    const char *id = NULL;
    waymark_reply *reply = NULL;
    int code = args_connect(cli, argc, argv, NULL, 0, &id, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    request.fence_id = (char *)id;
    code = CLI_OK;
    if (waymark_geo_v1_fence_service_delete_fence_sync(cli->client, &request, NULL, &reply) == NULL)
        code = cli_refused(cli, waymark_reply_status(reply));
    else if (!cli->json)
        printf("deleted %s\n", id);
    waymark_reply_free(reply);
    return code;
}

/* ---- events ---- */

const char *fence_event_kind(const Waymark__Geo__V1__FenceEvent *event)
{
    return event->kind == WAYMARK__GEO__V1__CROSSING_KIND__CROSSING_KIND_ENTER ? "enter" : "exit";
}

static void event_print_json(const Waymark__Geo__V1__FenceEvent *event)
{
    char time[CLI_TIME_SIZE];
    wm_buf buf;

    cli_time_text(event->time, time);
    wm_buf_init(&buf, 64 * 1024);
    wm_buf_text(&buf, "{\"entity\":");
    wm_json_write_string(&buf, event->entity_id, strlen(event->entity_id));
    wm_buf_text(&buf, ",\"fence\":");
    wm_json_write_string(&buf, event->fence_id, strlen(event->fence_id));
    wm_buf_printf(&buf, ",\"kind\":\"%s\",\"time\":\"%s\"}\n", fence_event_kind(event), time);
    fwrite(buf.data, 1, buf.size, stdout);
    wm_buf_free(&buf);
}

static const char *const event_titles[] = {"TIME", "ENTITY", "KIND", "FENCE", "LON>", "LAT>"};

static void event_add(cli *cli, table *table, const Waymark__Geo__V1__FenceEvent *event)
{
    const char *cells[] = {
        cli_time(cli, event->time),
        event->entity_id,
        fence_event_kind(event),
        event->fence_id,
        wm_arena_printf(&cli->arena, "%.6f", event->lon_deg),
        wm_arena_printf(&cli->arena, "%.6f", event->lat_deg),
    };

    if (cli->json)
        event_print_json(event);
    else
        table_add(table, cells);
}

/* Prints pages until `limit` events are out; 0: until there are no more. */
static int events_list(cli *cli, Waymark__Geo__V1__ListFenceEventsRequest *request, size_t limit)
{
    table table;
    size_t n = 0;

    table_begin(&table, cli, event_titles, WM_ARRAY_LEN(event_titles));
    do {
        waymark_reply *reply = NULL;
        const Waymark__Geo__V1__ListFenceEventsResponse *page =
            waymark_geo_v1_fence_service_list_fence_events_sync(cli->client, request, NULL, &reply);

        if (page == NULL)
            return cli_refused_reply(cli, reply);
        for (size_t i = 0; i < page->n_events && (limit == 0 || n < limit); i++, n++)
            event_add(cli, &table, page->events[i]);
        request->page_token = cli_page_token(cli, page->next_page_token, reply);
    } while (*request->page_token != '\0' && (limit == 0 || n < limit));
    table_end(&table, "no events");
    return CLI_OK;
}

static int fence_events_run(cli *cli, int argc, char **argv)
{
    Waymark__Geo__V1__ListFenceEventsRequest request =
        WAYMARK__GEO__V1__LIST_FENCE_EVENTS_REQUEST__INIT;
    const char *entity = "", *fence = "", *since = NULL, *until = NULL;
    int64_t limit = FENCE_EVENTS_SHOWN;
    bool all = false;
    const args_option known[] = {
        {"--all", ARGS_FLAG, &all, NULL, "every event, oldest first (else the newest ones)"},
        {"--limit", ARGS_INT, &limit, "N", "how many of the newest (else 50)"},
        {"--entity", ARGS_TEXT, &entity, "ID", "only of this entity"},
        {"--fence", ARGS_TEXT, &fence, "ID", "only of this fence"},
        {"--since", ARGS_TEXT, &since, "TIME", "only from this time on"},
        {"--until", ARGS_TEXT, &until, "TIME", "only before this time"},
    };
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), NULL, 0, 0);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    request.entity_id = (char *)entity;
    request.fence_id = (char *)fence;
    if (since != NULL && !(request.start_time = cli_read_time(cli, "--since", since)))
        return CLI_USAGE;
    if (until != NULL && !(request.end_time = cli_read_time(cli, "--until", until)))
        return CLI_USAGE;
    request.order_by = all ? "time" : "time desc";
    request.page_size = all || limit > FENCE_EVENTS_PAGE ? FENCE_EVENTS_PAGE : (int32_t)limit;
    if (cli_client(cli) == NULL)
        return CLI_USAGE;
    return events_list(cli, &request, all ? 0 : (size_t)limit);
}

/* ---- watch ---- */

static void event_print_live(const cli *cli, const Waymark__Geo__V1__FenceEvent *event)
{
    char time[CLI_TIME_SIZE];

    if (cli->json) {
        event_print_json(event);
        return;
    }
    cli_time_text(event->time, time);
    printf("%-27s  %-5s  %s  %s\n", time, fence_event_kind(event), event->entity_id,
           event->fence_id);
}

/* Shows what one stream brings; `*token` is then from where to go on. True: worth another try. */
static bool events_watch(cli *cli, Waymark__Geo__V1__WatchFenceEventsRequest *request,
                         wm_buf *token, retry *retry, int *code)
{
    const Waymark__Geo__V1__WatchFenceEventsResponse *message;
    const waymark_status *status;
    waymark_stream *stream;
    bool again;

    request->resume_token = token->data;
    stream = waymark_geo_v1_fence_service_watch_fence_events_open(cli->client, request, NULL, NULL,
                                                                  NULL);
    while ((message = waymark_geo_v1_fence_service_watch_fence_events_read_sync(stream)) != NULL) {
        for (size_t i = 0; i < message->n_events; i++)
            event_print_live(cli, message->events[i]);
        fflush(stdout);
        wm_buf_clear(token);
        wm_buf_text(token, message->resume_token);
        retry_heard(retry);
    }
    status = waymark_stream_status(stream);
    again = retry_stream(retry, status);
    if (!again)
        *code = cli_refused(cli, status);
    waymark_stream_free(stream);
    return again;
}

static int fence_watch_run(cli *cli, int argc, char **argv)
{
    Waymark__Geo__V1__WatchFenceEventsRequest request =
        WAYMARK__GEO__V1__WATCH_FENCE_EVENTS_REQUEST__INIT;
    args_list entities = {.n = 0}, fences = {.n = 0};
    double retry_for_s = RETRY_FOR_S;
    const args_option known[] = {
        {"--entity", ARGS_LIST, &entities, "ID", "only of this entity; may be repeated"},
        {"--fence", ARGS_LIST, &fences, "ID", "only of this fence; may be repeated"},
        RETRY_OPTION(&retry_for_s),
    };
    wm_buf token;
    retry retry;
    int code = args_connect(cli, argc, argv, known, WM_ARRAY_LEN(known), NULL, 0, 0);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    request.entity_ids = (char **)entities.items;
    request.n_entity_ids = entities.n;
    request.fence_ids = (char **)fences.items;
    request.n_fence_ids = fences.n;
    wm_buf_init(&token, 4096);
    retry_begin(&retry, retry_for_s);
    while (events_watch(cli, &request, &token, &retry, &code))
        continue;
    wm_buf_free(&token);
    return code;
}

const cli_command cli_fence_commands[] = {
    {"fence put", "FILE.geojson", "Makes a fence of each GeoJSON feature, or updates it.",
     "The feature's id, or \"id\" of its properties, is the fence's id; Polygon and MultiPolygon.",
     fence_put_run},
    {"fence list", "", "Lists fences.", NULL, fence_list_run},
    {"fence get", "FENCE", "Shows a fence with its geometry.", NULL, fence_get_run},
    {"fence delete", "FENCE", "Deletes a fence; its events stay.", NULL, fence_delete_run},
    {"fence events", "[--all]", "Lists what entered and left.",
     "With --json: {\"entity\", \"fence\", \"kind\": \"enter\" or \"exit\", \"time\"}.",
     fence_events_run},
    {"fence watch", "", "Shows what enters and leaves, as it happens.",
     "When the server goes away and comes back, nothing in between is left out.", fence_watch_run},
    {0},
};
