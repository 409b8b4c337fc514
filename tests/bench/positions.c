/* tests/bench/positions.c - durable positions, by one stream and by unary calls.
 *
 * 10,000 ships wander over an area of ten by ten degrees, about a kilometre a fix. Fences, where a
 * row has them, are a hundred circles on a grid, which cover a quarter of the area: one fix in
 * eighty crosses one.
 */
#include "tests/bench/positions.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/geojson.h"
#include "waymark/geo/v1/fence_service.client.h"

enum {
    SHIPS = 10000,
    BATCH = 100,       /* positions in a message of the stream */
    WINDOW = 64,       /* unanswered messages */
    BEGIN_AGO_S = 7200 /* where the ships' clocks begin, so that they stay in the past */
};

static const double west_deg = 0, south_deg = 50, size_deg = 10, step_deg = 0.01;

struct fleet {
    unsigned n;
    uint64_t seed;
    struct ship {
        char id[16];
        int64_t time_s;
        double lon_deg, lat_deg, heading;
    } * ships;
};

/* xorshift64*: the same fleet in every run. */
static double next_random(fleet *fleet)
{
    fleet->seed ^= fleet->seed >> 12;
    fleet->seed ^= fleet->seed << 25;
    fleet->seed ^= fleet->seed >> 27;
    return (double)((fleet->seed * UINT64_C(2685821657736338717)) >> 11) / 9007199254740992.0;
}

fleet *fleet_new(unsigned n)
{
    fleet *fleet = calloc(1, sizeof(*fleet));

    if (fleet == NULL || (fleet->ships = calloc(n, sizeof(fleet->ships[0]))) == NULL)
        abort();
    fleet->n = n;
    fleet->seed = 88172645463325252u;
    for (unsigned i = 0; i < n; i++) {
        struct ship *ship = &fleet->ships[i];

        snprintf(ship->id, sizeof(ship->id), "ship-%u", i);
        ship->time_s = (int64_t)time(NULL) - BEGIN_AGO_S;
        ship->lon_deg = west_deg + size_deg * next_random(fleet);
        ship->lat_deg = south_deg + size_deg * next_random(fleet);
        ship->heading = 2 * M_PI * next_random(fleet);
    }
    return fleet;
}

void fleet_free(fleet *fleet)
{
    free(fleet->ships);
    free(fleet);
}

void fleet_fix(fleet *fleet, unsigned i, bench_fix *fix)
{
    struct ship *ship = &fleet->ships[i % fleet->n];

    waymark__geo__v1__position__init(&fix->position);
    google__protobuf__timestamp__init(&fix->time);
    fix->time.seconds = ship->time_s++;
    fix->position.entity_id = ship->id;
    fix->position.time = &fix->time;
    fix->position.lon_deg = ship->lon_deg;
    fix->position.lat_deg = ship->lat_deg;

    /* On, and back from the edge. */
    ship->heading += 0.2 * (next_random(fleet) - 0.5);
    ship->lon_deg += step_deg * cos(ship->heading);
    ship->lat_deg += step_deg * sin(ship->heading);
    if (ship->lon_deg < west_deg || ship->lon_deg > west_deg + size_deg ||
        ship->lat_deg < south_deg || ship->lat_deg > south_deg + size_deg) {
        ship->lon_deg = fmin(fmax(ship->lon_deg, west_deg), west_deg + size_deg);
        ship->lat_deg = fmin(fmax(ship->lat_deg, south_deg), south_deg + size_deg);
        ship->heading += M_PI;
    }
}

/* ---- one stream ---- */

typedef struct stream_run {
    bench_load *load;
    fleet *fleet;
    unsigned next_ship;
    int64_t sent, answered, limit; /* messages; limit 0: until the row stops */
    int64_t sent_ns[WINDOW];
    unsigned batch;
    bool closed;
    bench_fix *fixes;
    Waymark__Geo__V1__Position **positions;
} stream_run;

static bool wants_more(const stream_run *run)
{
    if (run->limit > 0)
        return run->sent < run->limit && run->load->error[0] == 0;
    return !atomic_load_explicit(&run->load->stopping, memory_order_relaxed);
}

/* Builds a message in the run's room and writes it. */
static void write_message(stream_run *run, waymark_stream *stream)
{
    Waymark__Geo__V1__StreamPositionsRequest message =
        WAYMARK__GEO__V1__STREAM_POSITIONS_REQUEST__INIT;

    for (unsigned i = 0; i < run->batch; i++)
        fleet_fix(run->fleet, run->next_ship++, &run->fixes[i]);
    message.namespace_ = run->load->namespace_name;
    message.sequence = run->sent + 1;
    message.positions = run->positions;
    message.n_positions = run->batch;
    run->sent_ns[run->sent % WINDOW] = bench_now_ns();
    run->sent++;
    if (!waymark_geo_v1_track_service_stream_positions_write(stream, &message))
        abort(); /* write_more() writes only when it may */
}

/* A ship's next fix is made only when it can be written: a refused write would lose it. */
static void write_more(void *ctx, waymark_stream *stream)
{
    stream_run *run = ctx;

    while (!run->closed && waymark_stream_is_writable(stream)) {
        if (!wants_more(run)) {
            run->closed = true;
            waymark_stream_close(stream);
        } else if (run->sent - run->answered < WINDOW) {
            write_message(run, stream);
        } else {
            return; /* the next answer goes on */
        }
    }
}

static void answer_came(void *ctx, waymark_stream *stream,
                        const Waymark__Geo__V1__StreamPositionsResponse *answer)
{
    stream_run *run = ctx;

    run->answered++;
    bench_count(run->load, run->sent_ns[(answer->sequence - 1) % WINDOW], run->batch);
    if (answer->error != NULL) {
        waymark_status status = {.code = (waymark_code)answer->error->code,
                                 .reason = answer->error->reason,
                                 .message = answer->error->message};

        bench_load_fail(run->load, "a message", &status);
    }
    waymark_stream_read(stream);
    write_more(run, stream);
}

static void stream_ended(void *ctx, waymark_stream *stream, const waymark_status *status)
{
    stream_run *run = ctx;

    (void)stream;
    if (status->code != WAYMARK_OK)
        bench_load_fail(run->load, "the stream", status);
    bench_release(run->load);
}

static const waymark_geo_v1_track_service_stream_positions_callbacks callbacks = {
    .message = answer_came,
    .writable = write_more,
    .ended = stream_ended,
};

static void stream_run_init(stream_run *run, bench_load *load, unsigned ships, unsigned batch)
{
    memset(run, 0, sizeof(*run));
    run->load = load;
    run->fleet = fleet_new(ships);
    run->batch = batch;
    run->fixes = calloc(batch, sizeof(run->fixes[0]));
    run->positions = calloc(batch, sizeof(run->positions[0]));
    if (run->fixes == NULL || run->positions == NULL)
        abort();
    for (unsigned i = 0; i < batch; i++)
        run->positions[i] = &run->fixes[i].position;
}

static void stream_run_free(stream_run *run)
{
    fleet_free(run->fleet);
    free(run->fixes);
    free(run->positions);
}

/* Writes the first message; its answer, and all callbacks on the client's thread, go on. */
static waymark_stream *stream_run_open(stream_run *run)
{
    waymark_stream *stream;

    run->load->in_flight = 1;
    stream = waymark_geo_v1_track_service_stream_positions_open(run->load->bench->client, NULL,
                                                                &callbacks, run);
    waymark_stream_read(stream);
    write_message(run, stream);
    return stream;
}

static bool create_fences(bench_load *load, unsigned n)
{
    wm_arena arena;
    bool created = true;

    wm_arena_init(&arena, 0);
    for (unsigned i = 0; i < n && created; i++) {
        Waymark__Geo__V1__CreateFenceRequest request = WAYMARK__GEO__V1__CREATE_FENCE_REQUEST__INIT;
        Waymark__Geo__V1__Fence fence = WAYMARK__GEO__V1__FENCE__INIT;
        waymark_reply *reply;
        char id[32];

        snprintf(id, sizeof(id), "fence-%u", i);
        fence.fence_id = id;
        fence.geometry =
            geojson_circle(&arena, west_deg + 0.5 + i % 10, south_deg + 0.5 + i / 10, 0.28, 16);
        request.namespace_ = load->namespace_name;
        request.fence = &fence;
        created = waymark_geo_v1_fence_service_create_fence_sync(load->bench->client, &request,
                                                                 NULL, &reply) != NULL;
        if (!created)
            bench_load_fail(load, "creating a fence", waymark_reply_status(reply));
        waymark_reply_free(reply);
    }
    wm_arena_free(&arena);
    return created;
}

void bench_positions_stream(bench *bench, const char *name, unsigned fences)
{
    bench_target target = {.per_s = fences > 0 ? 40000 : 50000};
    bench_load *load = bench_load_new(bench, name);
    waymark_stream *stream = NULL;
    stream_run run;

    stream_run_init(&run, load, SHIPS, BATCH);
    if (create_fences(load, fences))
        stream = stream_run_open(&run);
    bench_measure(load, &target);
    waymark_stream_free(stream);
    stream_run_free(&run);
    bench_load_free(load);
}

bool bench_load_ships(bench_load *load, unsigned n)
{
    waymark_stream *stream;
    stream_run run;

    stream_run_init(&run, load, n, 1000);
    run.limit = (n + 999) / 1000;
    stream = stream_run_open(&run);
    pthread_mutex_lock(&load->lock);
    while (load->in_flight > 0)
        pthread_cond_wait(&load->idle, &load->lock);
    pthread_mutex_unlock(&load->lock);
    waymark_stream_free(stream);
    stream_run_free(&run);
    return load->error[0] == 0;
}

/* ---- unary ---- */

typedef struct unary_run {
    fleet *fleet;
    unsigned next_ship;
} unary_run;

static void unary_done(void *ctx, const waymark_status *status,
                       const Waymark__Geo__V1__ReportPositionsResponse *response)
{
    (void)response;
    bench_slot_done(ctx, status);
}

static void unary_start(bench_slot *slot)
{
    unary_run *run = slot->ctx;
    Waymark__Geo__V1__ReportPositionsRequest request =
        WAYMARK__GEO__V1__REPORT_POSITIONS_REQUEST__INIT;
    Waymark__Geo__V1__Position *positions[1];
    bench_fix fix;

    fleet_fix(run->fleet, run->next_ship++, &fix);
    positions[0] = &fix.position;
    request.namespace_ = slot->load->namespace_name;
    request.positions = positions;
    request.n_positions = 1;
    waymark_geo_v1_track_service_report_positions(slot->load->bench->client, &request, NULL,
                                                  unary_done, slot);
}

void bench_positions_unary(bench *bench, const char *name, unsigned in_flight)
{
    bench_target target = {.per_s = in_flight > 1 ? 12000 : 0, .p50_us = in_flight > 1 ? 0 : 1000};
    bench_load *load = bench_load_new(bench, name);
    unary_run run = {.fleet = fleet_new(SHIPS)};

    bench_run_slots(load, in_flight, unary_start, &run, &target);
    fleet_free(run.fleet);
    bench_load_free(load);
}
