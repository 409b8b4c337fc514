/* tests/bench/geojson.h - GeoJSON polygons as google.protobuf.Struct. */
#ifndef WAYMARK_BENCH_GEOJSON_H
#define WAYMARK_BENCH_GEOJSON_H

#include "base/arena.h"
#include "google/protobuf/struct.pb-c.h"

/* A circle of `corners` corners as a Polygon, in the arena. */
Google__Protobuf__Struct *geojson_circle(wm_arena *arena, double lon_deg, double lat_deg,
                                         double radius_deg, unsigned corners);

#endif
