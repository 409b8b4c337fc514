/* client/cli/demo.c - `waymark demo`: half an hour in a harbour, in a minute.
 *
 * Real polygons become fences, each vessel of a real track file gets an instance of a chart, and
 * the track is replayed at some speed, while a worker of this process does the tasks:
 *
 *   main thread       fences, chart, instances; then fix after fix; then the summary
 *   client's thread   what the fence watch brings, and what became of tasks
 *   worker's threads  the work, which is to wait a little
 *
 * Entities of a run share a prefix of its own, as an entity that had been there before would have
 * no new crossings.
 */
#include "client/cli/demo.h"

#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <waymark/geo/v1/fence_service.client.h>
#include <waymark/geo/v1/track_service.client.h>
#include <waymark/worker.h>
#include <waymark/workflow/v1/chart_service.client.h>
#include <waymark/workflow/v1/workflow_service.client.h>

#include "base/clock.h"
#include "base/random.h"
#include "client/cli/args.h"
#include "client/cli/fence.h"
#include "client/cli/table.h"
#include "demo/demo_files.h"

enum {
    DEMO_BATCH_MAX = 500,
    DEMO_LOOK_AHEAD_US = 20000, /* fixes due this soon go in one message */
    DEMO_WATCH_WAIT_S = 3,
    DEMO_WORK_MS = 20,
    DEMO_QUIET_MS = 1500,
    DEMO_QUIET_MAX_MS = 30000,
    DEMO_GRACE_MS = 2000
};

typedef struct demo {
    cli *cli;
    char prefix[16]; /* "demo-1a2b3c/" */
    double speed;    /* times as fast as it was; 0: as fast as it goes */
    const char *chart_id;
    const wm_json *areas; /* the GeoJSON, for names */
    bool colour;
    /* Counted on the client's thread, read on the main one. */
    _Atomic int64_t enters, exits, tasks_done, tasks_lost;
    sem_t watching;
    atomic_bool watch_began;
    /* Main thread. */
    demo_fixes fixes;
    int64_t n_entities, crossings;
} demo;

/* ---- texts ---- */

/* A file that the program carries, or the one at `path`. */
static const char *demo_text(cli *cli, const char *path, const char *carried, size_t *len)
{
    if (path != NULL)
        return cli_read_file(cli, path, len);
    for (size_t i = 0; i < demo_files_n; i++) {
        if (strcmp(demo_files[i].name, carried) == 0) {
            *len = demo_files[i].size;
            return (const char *)demo_files[i].bytes;
        }
    }
    return NULL;
}

static const char *demo_fence_name(const demo *demo, const char *id)
{
    const wm_json *features = wm_json_find(demo->areas, "features"), *name;

    for (const wm_json *f = features ? features->first : NULL; f != NULL; f = f->next) {
        const wm_json *its_id = wm_json_find(f, "id"), *properties = wm_json_find(f, "properties");

        if (its_id == NULL || its_id->text == NULL || strcmp(its_id->text, id) != 0)
            continue;
        name = properties != NULL ? wm_json_find(properties, "name") : NULL;
        return name != NULL && name->kind == WM_JSON_STRING ? name->text : id;
    }
    return id;
}

static const char *demo_colour(const demo *demo, const char *code)
{
    return demo->colour ? code : "";
}

/* ---- the watch: on the client's thread ---- */

static void watch_event(demo *demo, const Waymark__Geo__V1__FenceEvent *event)
{
    bool enter = event->kind == WAYMARK__GEO__V1__CROSSING_KIND__CROSSING_KIND_ENTER;
    size_t len = strlen(demo->prefix);
    char time[CLI_TIME_SIZE];

    if (strncmp(event->entity_id, demo->prefix, len) != 0)
        return;
    atomic_fetch_add(enter ? &demo->enters : &demo->exits, 1);
    if (demo->cli->json)
        return;
    cli_time_text(event->time, time);
    printf("%s%s  %s  %-12s %s%s\n", demo_colour(demo, enter ? "\033[32m" : "\033[33m"), time,
           enter ? "enters" : "leaves", demo_fence_name(demo, event->fence_id),
           event->entity_id + len, demo_colour(demo, "\033[0m"));
    fflush(stdout);
}

static void watch_message(void *ctx, waymark_stream *stream,
                          const Waymark__Geo__V1__WatchFenceEventsResponse *message)
{
    demo *demo = ctx;

    for (size_t i = 0; i < message->n_events; i++)
        watch_event(demo, message->events[i]);
    if (!atomic_exchange(&demo->watch_began, true))
        sem_post(&demo->watching);
    waymark_stream_read(stream);
}

static void watch_ended(void *ctx, waymark_stream *stream, const waymark_status *status)
{
    const demo *demo = ctx;

    (void)stream;
    if (status->code != WAYMARK_CANCELLED)
        cli_refused(demo->cli, status);
}

static waymark_stream *watch_start(demo *demo)
{
    static const waymark_geo_v1_fence_service_watch_fence_events_callbacks callbacks = {
        .message = watch_message, .ended = watch_ended};
    Waymark__Geo__V1__WatchFenceEventsRequest request =
        WAYMARK__GEO__V1__WATCH_FENCE_EVENTS_REQUEST__INIT;
    waymark_stream *stream;
    struct timespec end;

    request.namespace_ = (char *)demo->cli->namespace_name;
    stream = waymark_geo_v1_fence_service_watch_fence_events_open(demo->cli->client, &request, NULL,
                                                                  &callbacks, demo);
    waymark_stream_read(stream);
    /* The server's first message says that the watch has begun. Without one we go on all the
     * same: what is missed in between would be missing in the picture only. */
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += DEMO_WATCH_WAIT_S;
    sem_timedwait(&demo->watching, &end);
    return stream;
}

/* ---- the worker ---- */

static void work_handle(void *ctx, waymark_task *task)
{
    (void)ctx;
    usleep((useconds_t)DEMO_WORK_MS * 1000);
    waymark_task_complete(task, NULL);
}

static void work_settled(void *ctx, const waymark_task_outcome *outcome)
{
    demo *demo = ctx;
    size_t len = strlen(demo->prefix);
    const char *vessel = outcome->instance_id;

    /* Tasks of earlier runs that were cut off come as well, and are done. */
    if (strncmp(vessel, demo->prefix, len) != 0)
        return;
    atomic_fetch_add(outcome->code == WAYMARK_OK ? &demo->tasks_done : &demo->tasks_lost, 1);
    if (demo->cli->json)
        return;
    printf("%s%22stask %s of %s %s%s\n", demo_colour(demo, "\033[36m"), "", outcome->name,
           vessel + len, outcome->code == WAYMARK_OK ? "done" : outcome->reason,
           demo_colour(demo, "\033[0m"));
    fflush(stdout);
}

static void work_connected(void *ctx, const waymark_status *status)
{
    const demo *demo = ctx;

    if (status != NULL)
        cli_refused(demo->cli, status);
}

static waymark_worker *work_start(demo *demo)
{
    static const char *const queues[] = {"demo"};
    waymark_worker_options options = {.queues = queues,
                                      .n_queues = 1,
                                      .name = "waymark demo",
                                      .concurrency = 8,
                                      .threads = 8,
                                      .handle = work_handle,
                                      .settled = work_settled,
                                      .connected = work_connected,
                                      .ctx = demo};

    if (*demo->cli->namespace_name != '\0')
        options.namespace_id = demo->cli->namespace_name;
    return waymark_worker_start(demo->cli->client, &options);
}

/* ---- setting the scene ---- */

static int demo_put_fences(demo *demo, const char *path)
{
    size_t len, n;
    const char *text = demo_text(demo->cli, path, "counties.geojson", &len);
    wm_json *json;
    wm_err err;
    int code;

    if (text == NULL)
        return CLI_USAGE;
    code = fence_put_text(demo->cli, path != NULL ? path : "counties.geojson", text, len, &n);
    if (code != CLI_OK)
        return code;
    if (wm_json_parse(&demo->cli->arena, text, len, &json, &err) != WM_OK)
        return cli_failed(demo->cli, path, &err);
    demo->areas = json;
    if (!demo->cli->json)
        printf("%zu fences\n", n);
    return CLI_OK;
}

static int demo_put_chart(demo *demo, const char *path)
{
    Waymark__Workflow__V1__PutChartRequest request = WAYMARK__WORKFLOW__V1__PUT_CHART_REQUEST__INIT;
    const Waymark__Workflow__V1__PutChartResponse *response;
    waymark_reply *reply = NULL;
    size_t len;
    const char *text = demo_text(demo->cli, path, "port-call.json", &len);
    int code = CLI_OK;

    if (text == NULL)
        return CLI_USAGE;
    request.namespace_ = (char *)demo->cli->namespace_name;
    request.chart = (Waymark__Workflow__V1__Chart *)(void *)cli_read_message(
        demo->cli, path != NULL ? path : "port-call.json", text, len,
        &waymark__workflow__v1__chart__descriptor);
    if (request.chart == NULL)
        return CLI_USAGE;
    demo->chart_id = request.chart->chart_id;
    response =
        waymark_workflow_v1_chart_service_put_chart_sync(demo->cli->client, &request, NULL, &reply);
    if (response == NULL)
        code = cli_refused(demo->cli, waymark_reply_status(reply));
    else if (!demo->cli->json)
        printf("chart %s version %" PRId64 "\n", response->chart_id, response->version);
    waymark_reply_free(reply);
    return code;
}

/* An instance bound to the entity, under the same id. */
static int demo_start_instance(demo *demo, const char *entity)
{
    Waymark__Workflow__V1__StartInstanceRequest request =
        WAYMARK__WORKFLOW__V1__START_INSTANCE_REQUEST__INIT;
    waymark_reply *reply = NULL;
    int code = CLI_OK;

    request.namespace_ = (char *)demo->cli->namespace_name;
    request.chart_id = (char *)demo->chart_id;
    request.instance_id = request.entity_id = (char *)entity;
    if (waymark_workflow_v1_workflow_service_start_instance_sync(demo->cli->client, &request, NULL,
                                                                 &reply) == NULL)
        code = cli_refused(demo->cli, waymark_reply_status(reply));
    waymark_reply_free(reply);
    return code;
}

static int demo_start_instances(demo *demo)
{
    for (size_t i = 0; i < demo->fixes.n_entities; i++) {
        int code = demo_start_instance(demo, demo->fixes.entities[i]);

        if (code != CLI_OK)
            return code;
    }
    if (!demo->cli->json)
        printf("%zu instances of %s, one for each vessel\n", demo->fixes.n_entities,
               demo->chart_id);
    return CLI_OK;
}

static int demo_read_fixes(demo *demo, const char *path)
{
    size_t len;
    const char *text = demo_text(demo->cli, path, "vessels.csv", &len);
    wm_err err;

    if (text == NULL)
        return CLI_USAGE;
    if (demo_fixes_read(&demo->fixes, &demo->cli->arena, path != NULL ? path : "vessels.csv", text,
                        len, demo->prefix, &err) != WM_OK)
        return cli_failed(demo->cli, NULL, &err);
    return CLI_OK;
}

/* ---- the replay ---- */

static int replay_send(demo *demo, Waymark__Geo__V1__Position **positions, size_t n)
{
    Waymark__Geo__V1__ReportPositionsRequest request =
        WAYMARK__GEO__V1__REPORT_POSITIONS_REQUEST__INIT;
    const Waymark__Geo__V1__ReportPositionsResponse *response;
    waymark_reply *reply = NULL;
    int code = CLI_OK;

    request.namespace_ = (char *)demo->cli->namespace_name;
    request.positions = positions;
    request.n_positions = n;
    response = waymark_geo_v1_track_service_report_positions_sync(demo->cli->client, &request, NULL,
                                                                  &reply);
    if (response == NULL)
        code = cli_refused(demo->cli, waymark_reply_status(reply));
    else
        demo->crossings += (int64_t)response->n_crossings;
    waymark_reply_free(reply);
    return code;
}

/* When the fix is due, in microseconds after the start. */
static int64_t replay_due_us(const demo *demo, size_t i)
{
    const Google__Protobuf__Timestamp *time = demo->fixes.positions[i]->time;
    const Google__Protobuf__Timestamp *first = demo->fixes.positions[0]->time;

    if (demo->speed <= 0)
        return 0;
    return (int64_t)((double)((time->seconds - first->seconds) * 1000000 +
                              (time->nanos - first->nanos) / 1000) /
                     demo->speed);
}

static int demo_replay(demo *demo)
{
    int64_t start_us = wm_monotonic_us();
    int code = CLI_OK;

    for (size_t i = 0, n; code == CLI_OK && i < demo->fixes.n; i += n) {
        int64_t wait_us = start_us + replay_due_us(demo, i) - wm_monotonic_us();

        if (wait_us > 0)
            usleep((useconds_t)wait_us);
        for (n = 1; i + n < demo->fixes.n && n < DEMO_BATCH_MAX &&
                    replay_due_us(demo, i + n) <= replay_due_us(demo, i) + DEMO_LOOK_AHEAD_US;
             n++)
            continue;
        code = replay_send(demo, demo->fixes.positions + i, n);
    }
    return code;
}

/* Until no task has ended for a while. */
static void demo_wait_for_tasks(demo *demo)
{
    int64_t begin_us = wm_monotonic_us(), last_us = begin_us, seen = -1;

    while (wm_monotonic_us() - last_us < (int64_t)DEMO_QUIET_MS * 1000 &&
           wm_monotonic_us() - begin_us < (int64_t)DEMO_QUIET_MAX_MS * 1000) {
        int64_t now = atomic_load(&demo->tasks_done) + atomic_load(&demo->tasks_lost);

        if (now != seen)
            last_us = wm_monotonic_us();
        seen = now;
        usleep(20000);
    }
}

/* ---- the summary ---- */

static void summary_print(demo *demo, double seconds)
{
    wm_arena *arena = &demo->cli->arena;
    int64_t enters = atomic_load(&demo->enters), exits = atomic_load(&demo->exits);

    if (demo->cli->json) {
        printf("{\"run\":\"%.*s\",\"vessels\":%zu,\"fixes\":%zu,\"crossings\":%" PRId64
               ",\"seen_entering\":%" PRId64 ",\"seen_leaving\":%" PRId64 ",\"tasks_done\":%" PRId64
               ",\"seconds\":%.1f}\n",
               (int)strlen(demo->prefix) - 1, demo->prefix, demo->fixes.n_entities, demo->fixes.n,
               demo->crossings, enters, exits, atomic_load(&demo->tasks_done), seconds);
        return;
    }
    puts("");
    table_pair("vessels", wm_arena_printf(arena, "%zu", demo->fixes.n_entities));
    table_pair("fixes", wm_arena_printf(arena, "%zu in %.1f s", demo->fixes.n, seconds));
    table_pair("crossings", wm_arena_printf(arena,
                                            "%" PRId64 " in replies; live: %" PRId64
                                            " entered, %" PRId64 " left",
                                            demo->crossings, enters, exits));
    table_pair("tasks", wm_arena_printf(arena, "%" PRId64 " done", atomic_load(&demo->tasks_done)));
    printf("\nLook closer:\n  waymark history %s\n  waymark geo track %s\n  waymark fence events\n",
           demo->fixes.entities[demo->fixes.busiest], demo->fixes.entities[demo->fixes.busiest]);
}

/* ---- the command ---- */

static int demo_play(demo *demo)
{
    waymark_stream *watch = watch_start(demo);
    waymark_worker *worker = work_start(demo);
    int64_t start_us = wm_monotonic_us();
    int code = demo_replay(demo);
    double seconds = (double)(wm_monotonic_us() - start_us) / 1e6;

    if (code == CLI_OK)
        demo_wait_for_tasks(demo);
    waymark_worker_stop(worker, DEMO_GRACE_MS);
    waymark_stream_free(watch);
    if (code == CLI_OK)
        summary_print(demo, seconds);
    return code;
}

static int demo_run(cli *cli, int argc, char **argv)
{
    static demo demo = {.speed = 30};
    const char *tracks = NULL, *fences = NULL, *chart = NULL;
    const args_option known[] = {
        {"--speed", ARGS_REAL, &demo.speed, "X",
         "times as fast as it was (else 30); 0: as fast as it goes"},
        {"--tracks", ARGS_TEXT, &tracks, "FILE", "another track file, as for geo import"},
        {"--fences", ARGS_TEXT, &fences, "FILE", "other fences, as for fence put"},
        {"--chart", ARGS_TEXT, &chart, "FILE", "another chart, as for chart put"},
    };
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), NULL, 0, 0);

    if (code != ARGS_GO_ON)
        return code;
    if (demo.speed < 0)
        return cli_usage(cli, "--speed is not negative");
    if (cli_client(cli) == NULL)
        return CLI_USAGE;
    demo.cli = cli;
    demo.colour = isatty(STDOUT_FILENO);
    sem_init(&demo.watching, 0, 0);
    snprintf(demo.prefix, sizeof(demo.prefix), "demo-%06x/", (unsigned)wm_random_below(1 << 24));
    code = demo_read_fixes(&demo, tracks);
    if (code == CLI_OK)
        code = demo_put_fences(&demo, fences);
    if (code == CLI_OK)
        code = demo_put_chart(&demo, chart);
    if (code == CLI_OK)
        code = demo_start_instances(&demo);
    if (code == CLI_OK)
        code = demo_play(&demo);
    return code;
}

const cli_command cli_demo_commands[] = {
    {"demo", "", "Plays real vessel traffic and shows what waymark makes of it.",
     "Needs a token that may do everything (role admin, or operator and worker).", demo_run},
    {0},
};
