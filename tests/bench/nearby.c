/* tests/bench/nearby.c - the ten nearest of 100,000 entities. */
#include "tests/bench/positions.h"

enum { ENTITIES = 100000 };

static void done(void *ctx, const waymark_status *status,
                 const Waymark__Geo__V1__SearchNearbyResponse *response)
{
    bench_slot *slot = ctx;

    if (status->code == WAYMARK_OK && response->n_entities != 10) {
        waymark_status wrong = {.code = WAYMARK_DATA_LOSS,
                                .reason = "",
                                .message = "a search did not find ten entities"};

        bench_load_fail(slot->load, "nearby", &wrong);
    }
    bench_slot_done(slot, status);
}

static void start(bench_slot *slot)
{
    Waymark__Geo__V1__SearchNearbyRequest request = WAYMARK__GEO__V1__SEARCH_NEARBY_REQUEST__INIT;
    uint32_t *seed = slot->ctx;

    request.namespace_ = slot->load->namespace_name;
    request.lon_deg = 10.0 * (double)((*seed = *seed * 1664525u + 1013904223u) >> 8) / (1 << 24);
    request.lat_deg =
        50 + 10.0 * (double)((*seed = *seed * 1664525u + 1013904223u) >> 8) / (1 << 24);
    request.limit = 10;
    waymark_geo_v1_track_service_search_nearby(slot->load->bench->client, &request, NULL, done,
                                               slot);
}

void bench_nearby(bench *bench, const char *name, unsigned in_flight)
{
    bench_target target = {.per_s = 6000};
    bench_load *load = bench_load_new(bench, name);
    uint32_t seed = 1;

    if (bench_load_ships(load, ENTITIES))
        bench_run_slots(load, in_flight, start, &seed, &target);
    else
        bench_measure(load, &target);
    bench_load_free(load);
}
