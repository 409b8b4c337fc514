/* tests/bench/positions.h - ships that move, and loading many of them. */
#ifndef WAYMARK_BENCH_POSITIONS_H
#define WAYMARK_BENCH_POSITIONS_H

#include "tests/bench/bench.h"
#include "waymark/geo/v1/track_service.client.h"

typedef struct fleet fleet;

/* A message with what it points to. */
typedef struct bench_fix {
    Waymark__Geo__V1__Position position;
    Google__Protobuf__Timestamp time;
} bench_fix;

fleet *fleet_new(unsigned n);
void fleet_free(fleet *fleet);
/* The next fix of ship i; its texts are the fleet's. */
void fleet_fix(fleet *fleet, unsigned i, bench_fix *fix);

/* Reports one fix of every ship of a fleet of n, and waits. False: the load has failed. */
bool bench_load_ships(bench_load *load, unsigned n);

#endif
