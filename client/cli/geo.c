/* client/cli/geo.c - where things are and were: geo entity|nearby|within|track|watch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <waymark/geo/v1/track_service.client.h>

#include "client/cli/args.h"
#include "client/cli/cli.h"
#include "client/cli/retry.h"
#include "client/cli/table.h"

enum { GEO_PAGE = 10000 };

typedef Waymark__Geo__V1__Position position;

/* ---- printing ---- */

static const char *optional_number(cli *cli, const Google__Protobuf__DoubleValue *value)
{
    return value != NULL ? wm_arena_printf(&cli->arena, "%.1f", value->value) : "";
}

static const char *const position_titles[] = {"ENTITY", "TIME",   "LON>",    "LAT>",
                                              "ALT>",   "SPEED>", "HEADING>"};

static void position_add(cli *cli, table *table, const position *fix)
{
    const char *cells[] = {
        fix->entity_id,
        cli_time(cli, fix->time),
        wm_arena_printf(&cli->arena, "%.6f", fix->lon_deg),
        wm_arena_printf(&cli->arena, "%.6f", fix->lat_deg),
        optional_number(cli, fix->alt_m),
        optional_number(cli, fix->speed_mps),
        optional_number(cli, fix->heading_deg),
    };

    table_add_message(table, cells, &fix->base);
}

/* ---- parameters ---- */

static bool number_read(const char *text, double *number)
{
    char *end;

    *number = strtod(text, &end);
    return end != text && *end == '\0';
}

/* "LON LAT" or "LON,LAT" */
static bool point_read(cli *cli, const char *const words[2], double *lon, double *lat)
{
    const char *comma = strchr(words[0], ',');

    if (words[1] == NULL && comma != NULL) {
        const char *left = wm_arena_strndup(&cli->arena, words[0], (size_t)(comma - words[0]));

        return number_read(left, lon) && number_read(comma + 1, lat);
    }
    return words[1] != NULL && number_read(words[0], lon) && number_read(words[1], lat);
}

static bool box_read(cli *cli, const char *text, Waymark__Geo__V1__Box *box)
{
    double *const to[] = {&box->west_deg, &box->south_deg, &box->east_deg, &box->north_deg};

    for (size_t i = 0; i < WM_ARRAY_LEN(to); i++) {
        size_t len = strcspn(text, ",");

        if (!number_read(wm_arena_strndup(&cli->arena, text, len), to[i]))
            return false;
        text += len;
        if (i + 1 < WM_ARRAY_LEN(to) && *text++ != ',')
            return false;
    }
    return *text == '\0';
}

/* ---- entity ---- */

static void entity_print(cli *cli, const Waymark__Geo__V1__Entity *entity)
{
    const position *fix = entity->position;

    table_pair("entity", entity->entity_id);
    if (fix != NULL) {
        table_pair("time", cli_time(cli, fix->time));
        table_pair("position",
                   wm_arena_printf(&cli->arena, "%.6f %.6f", fix->lon_deg, fix->lat_deg));
    }
    table_pair("fences", cli_join(cli, entity->fence_ids, entity->n_fence_ids, ", "));
    table_pair("first seen", cli_time(cli, entity->create_time));
    table_pair("last seen", cli_time(cli, entity->update_time));
}

static int entity_run(cli *cli, int argc, char **argv)
{
    Waymark__Geo__V1__GetEntityRequest request = WAYMARK__GEO__V1__GET_ENTITY_REQUEST__INIT;
    const Waymark__Geo__V1__GetEntityResponse *response;
    const char *id = NULL;
    waymark_reply *reply = NULL;
    int code = args_connect(cli, argc, argv, NULL, 0, &id, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    request.entity_id = (char *)id;
    code = CLI_OK;
    response = waymark_geo_v1_track_service_get_entity_sync(cli->client, &request, NULL, &reply);
    if (response == NULL)
        code = cli_refused(cli, waymark_reply_status(reply));
    else if (cli->json)
        cli_print_message(cli, &response->entity->base);
    else
        entity_print(cli, response->entity);
    waymark_reply_free(reply);
    return code;
}

/* ---- nearby ---- */

static void nearby_add(cli *cli, table *table, const Waymark__Geo__V1__NearbyEntity *found)
{
    const char *cells[] = {
        found->position->entity_id,
        wm_arena_printf(&cli->arena, "%.1f", found->distance_m),
        cli_time(cli, found->position->time),
        wm_arena_printf(&cli->arena, "%.6f", found->position->lon_deg),
        wm_arena_printf(&cli->arena, "%.6f", found->position->lat_deg),
    };

    table_add_message(table, cells, &found->base);
}

static int nearby_run(cli *cli, int argc, char **argv)
{
    static const char *const titles[] = {"ENTITY", "METRES>", "TIME", "LON>", "LAT>"};
    Waymark__Geo__V1__SearchNearbyRequest request = WAYMARK__GEO__V1__SEARCH_NEARBY_REQUEST__INIT;
    const Waymark__Geo__V1__SearchNearbyResponse *response;
    const char *words[2] = {NULL, NULL};
    int64_t limit = 0;
    const args_option known[] = {
        {"--limit", ARGS_INT, &limit, "N", "how many (else 10, or 1000 with --radius)"},
        {"--radius", ARGS_REAL, &request.radius_m, "METRES", "only those within this distance"},
    };
    waymark_reply *reply = NULL;
    table table;
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), words, 1, 2);

    if (code != ARGS_GO_ON)
        return code;
    if (!point_read(cli, words, &request.lon_deg, &request.lat_deg))
        return cli_usage(cli, "needs a place: LON LAT, in degrees");
    if (cli_client(cli) == NULL)
        return CLI_USAGE;
    request.namespace_ = (char *)cli->namespace_name;
    request.limit = limit > INT32_MAX ? INT32_MAX : (int32_t)limit;
    response = waymark_geo_v1_track_service_search_nearby_sync(cli->client, &request, NULL, &reply);
    if (response == NULL)
        return cli_refused_reply(cli, reply);
    table_begin(&table, cli, titles, WM_ARRAY_LEN(titles));
    for (size_t i = 0; i < response->n_entities; i++)
        nearby_add(cli, &table, response->entities[i]);
    table_end(&table, "nothing there");
    waymark_reply_free(reply);
    return CLI_OK;
}

/* ---- within ---- */

/* The geometry of a GeoJSON file: a Polygon or MultiPolygon, or the Feature around one. */
static Google__Protobuf__Struct *polygon_read(cli *cli, const char *path)
{
    const wm_json *geometry;
    ProtobufCMessage *message;
    wm_json *json;
    wm_err err;
    size_t len;
    char *text = cli_read_file(cli, path, &len);

    if (text == NULL)
        return NULL;
    if (wm_json_parse(&cli->arena, text, len, &json, &err) != WM_OK) {
        cli_failed(cli, path, &err);
        return NULL;
    }
    geometry = wm_json_find(json, "geometry");
    if (wm_json_to_message(&cli->arena, geometry != NULL ? geometry : json,
                           &google__protobuf__struct__descriptor, &message, &err) != WM_OK) {
        cli_failed(cli, path, &err);
        return NULL;
    }
    return (Google__Protobuf__Struct *)(void *)message;
}

static int within_pages(cli *cli, Waymark__Geo__V1__SearchWithinRequest *request)
{
    table table;

    table_begin(&table, cli, position_titles, WM_ARRAY_LEN(position_titles));
    do {
        waymark_reply *reply = NULL;
        const Waymark__Geo__V1__SearchWithinResponse *page =
            waymark_geo_v1_track_service_search_within_sync(cli->client, request, NULL, &reply);

        if (page == NULL)
            return cli_refused_reply(cli, reply);
        for (size_t i = 0; i < page->n_positions; i++)
            position_add(cli, &table, page->positions[i]);
        request->page_token = cli_page_token(cli, page->next_page_token, reply);
    } while (*request->page_token != '\0');
    table_end(&table, "nothing there");
    return CLI_OK;
}

static int within_run(cli *cli, int argc, char **argv)
{
    Waymark__Geo__V1__SearchWithinRequest request = WAYMARK__GEO__V1__SEARCH_WITHIN_REQUEST__INIT;
    Waymark__Geo__V1__Box box = WAYMARK__GEO__V1__BOX__INIT;
    const char *words[4] = {NULL}, *polygon = NULL, *box_text = NULL;
    const args_option known[] = {
        {"--box", ARGS_TEXT, &box_text, "W,S,E,N", "a box, in degrees"},
        {"--polygon", ARGS_TEXT, &polygon, "FILE", "a GeoJSON Polygon, or a Feature with one"},
    };
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), words, 0, 4);

    if (code != ARGS_GO_ON)
        return code;
    if (words[3] != NULL)
        box_text =
            wm_arena_printf(&cli->arena, "%s,%s,%s,%s", words[0], words[1], words[2], words[3]);
    else if (words[0] != NULL && words[1] == NULL && box_text == NULL)
        box_text = words[0];
    if ((box_text == NULL) == (polygon == NULL))
        return cli_usage(cli, "needs WEST SOUTH EAST NORTH, or --polygon FILE");
    request.namespace_ = (char *)cli->namespace_name;
    request.page_size = GEO_PAGE;
    if (polygon != NULL) {
        request.area_case = WAYMARK__GEO__V1__SEARCH_WITHIN_REQUEST__AREA_POLYGON;
        request.polygon = polygon_read(cli, polygon);
        if (request.polygon == NULL)
            return CLI_USAGE;
    } else {
        if (!box_read(cli, box_text, &box))
            return cli_usage(cli, "\"%s\" is not WEST,SOUTH,EAST,NORTH in degrees", box_text);
        request.area_case = WAYMARK__GEO__V1__SEARCH_WITHIN_REQUEST__AREA_BOX;
        request.box = &box;
    }
    if (cli_client(cli) == NULL)
        return CLI_USAGE;
    return within_pages(cli, &request);
}

/* ---- track ---- */

static int track_pages(cli *cli, Waymark__Geo__V1__GetTrackRequest *request)
{
    table table;

    table_begin(&table, cli, position_titles, WM_ARRAY_LEN(position_titles));
    do {
        waymark_reply *reply = NULL;
        const Waymark__Geo__V1__GetTrackResponse *page =
            waymark_geo_v1_track_service_get_track_sync(cli->client, request, NULL, &reply);

        if (page == NULL)
            return cli_refused_reply(cli, reply);
        for (size_t i = 0; i < page->n_positions; i++)
            position_add(cli, &table, page->positions[i]);
        request->page_token = cli_page_token(cli, page->next_page_token, reply);
    } while (*request->page_token != '\0');
    table_end(&table, "no fixes");
    return CLI_OK;
}

static int track_run(cli *cli, int argc, char **argv)
{
    Waymark__Geo__V1__GetTrackRequest request = WAYMARK__GEO__V1__GET_TRACK_REQUEST__INIT;
    const char *id = NULL, *since = NULL, *until = NULL;
    const args_option known[] = {
        {"--since", ARGS_TEXT, &since, "TIME", "only from this time on"},
        {"--until", ARGS_TEXT, &until, "TIME", "only before this time"},
    };
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), &id, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    request.entity_id = (char *)id;
    request.page_size = GEO_PAGE;
    if (since != NULL && !(request.start_time = cli_read_time(cli, "--since", since)))
        return CLI_USAGE;
    if (until != NULL && !(request.end_time = cli_read_time(cli, "--until", until)))
        return CLI_USAGE;
    if (cli_client(cli) == NULL)
        return CLI_USAGE;
    return track_pages(cli, &request);
}

/* ---- watch ---- */

static void watch_print(const cli *cli, const position *fix)
{
    char time[CLI_TIME_SIZE];

    if (cli->json) {
        cli_print_message(cli, &fix->base);
        return;
    }
    cli_time_text(fix->time, time);
    printf("%-27s  %11.6f %10.6f  %s\n", time, fix->lon_deg, fix->lat_deg, fix->entity_id);
}

/* Shows what one stream brings. True: worth another try. */
static bool positions_watch(cli *cli, const Waymark__Geo__V1__WatchPositionsRequest *request,
                            retry *retry, int *code)
{
    waymark_stream *stream =
        waymark_geo_v1_track_service_watch_positions_open(cli->client, request, NULL, NULL, NULL);
    const Waymark__Geo__V1__WatchPositionsResponse *message;
    const waymark_status *status;
    bool again;

    while ((message = waymark_geo_v1_track_service_watch_positions_read_sync(stream)) != NULL) {
        for (size_t i = 0; i < message->n_positions; i++)
            watch_print(cli, message->positions[i]);
        fflush(stdout);
        retry_heard(retry);
    }
    status = waymark_stream_status(stream);
    again = retry_stream(retry, status);
    if (!again)
        *code = cli_refused(cli, status);
    waymark_stream_free(stream);
    return again;
}

static int watch_run(cli *cli, int argc, char **argv)
{
    Waymark__Geo__V1__WatchPositionsRequest request =
        WAYMARK__GEO__V1__WATCH_POSITIONS_REQUEST__INIT;
    Waymark__Geo__V1__Box box = WAYMARK__GEO__V1__BOX__INIT;
    args_list entities = {.n = 0};
    const char *box_text = NULL;
    double retry_for_s = RETRY_FOR_S;
    const args_option known[] = {
        {"--entity", ARGS_LIST, &entities, "ID", "only this one; may be repeated"},
        {"--box", ARGS_TEXT, &box_text, "W,S,E,N", "only what is in this box, in degrees"},
        RETRY_OPTION(&retry_for_s),
    };
    retry retry;
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), NULL, 0, 0);

    if (code != ARGS_GO_ON)
        return code;
    if (box_text != NULL) {
        if (!box_read(cli, box_text, &box))
            return cli_usage(cli, "\"%s\" is not WEST,SOUTH,EAST,NORTH in degrees", box_text);
        request.box = &box;
    }
    if (cli_client(cli) == NULL)
        return CLI_USAGE;
    request.namespace_ = (char *)cli->namespace_name;
    request.entity_ids = (char **)entities.items;
    request.n_entity_ids = entities.n;
    retry_begin(&retry, retry_for_s);
    while (positions_watch(cli, &request, &retry, &code))
        continue;
    return code;
}

const cli_command cli_geo_commands[] = {
    {"geo entity", "ENTITY", "Shows an entity: its newest fix and the fences it is in.", NULL,
     entity_run},
    {"geo nearby", "LON LAT", "Lists the entities nearest to a place.", NULL, nearby_run},
    {"geo within", "WEST SOUTH EAST NORTH", "Lists the entities in a box or a polygon.", NULL,
     within_run},
    {"geo track", "ENTITY", "Lists the fixes of an entity.", NULL, track_run},
    {"geo watch", "", "Shows positions as they are committed.", NULL, watch_run},
    {0},
};
