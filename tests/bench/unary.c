/* tests/bench/unary.c - the cheapest authenticated call: WhoAmI, which asks no database. */
#include "tests/bench/bench.h"
#include "waymark/auth/v1/auth_service.client.h"

static void done(void *ctx, const waymark_status *status,
                 const Waymark__Auth__V1__WhoAmIResponse *response)
{
    (void)response;
    bench_slot_done(ctx, status);
}

static void start(bench_slot *slot)
{
    Waymark__Auth__V1__WhoAmIRequest request = WAYMARK__AUTH__V1__WHO_AM_IREQUEST__INIT;

    waymark_auth_v1_auth_service_who_am_i(slot->load->bench->client, &request, NULL, done, slot);
}

void bench_unary(bench *bench, const char *name, unsigned in_flight)
{
    bench_target target = {.per_s = in_flight > 1 ? 40000 : 0};
    bench_load *load = bench_load_new(bench, name);

    bench_run_slots(load, in_flight, start, NULL, &target);
    bench_load_free(load);
}
