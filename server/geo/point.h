/* geo/point.h - fixes, boxes and ids as the rest of geo/ sees them, and the checks at the door.
 *
 * Threads: pure functions of their input.
 * Memory:  plain values; ids point into what was given.
 * Failure: WM_INVALID with the path of the field, "positions[17].lon_deg".
 */
#ifndef WAYMARK_SERVER_GEO_POINT_H
#define WAYMARK_SERVER_GEO_POINT_H

#include "base/arena.h"
#include "base/code.h"
#include "waymark/geo/v1/geo.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GEO_ID_SIZE_MAX = 128,                   /* bytes, without the NUL */
    GEO_TIME_AHEAD_MAX_US = 60 * 1000 * 1000 /* how far a fix may be ahead of our clock */
};

/* Where something was at one time. Unknown values are NaN. */
typedef struct geo_fix {
    int64_t time_us;
    double lon_deg, lat_deg;
    double alt_m, speed_mps, heading_deg;
} geo_fix;

/* Borders belong to it. west > east: it crosses the antimeridian. */
typedef struct geo_box {
    double west_deg, south_deg, east_deg, north_deg;
} geo_box;

/* [A-Za-z0-9][A-Za-z0-9._:@/-]{0,127} */
WM_MUST_USE wm_code geo_id_check(const char *id, const char *field, wm_err *err);
WM_MUST_USE wm_code geo_lon_lat_check(double lon_deg, double lat_deg, const char *prefix,
                                      wm_err *err);
/* positions[index] of a request; the entity id stays where it is. */
WM_MUST_USE wm_code geo_fix_read(const Waymark__Geo__V1__Position *position, size_t index,
                                 int64_t now_us, geo_fix *fix, wm_err *err);
/* A time of a request, microseconds; NULL gives `fallback_us`. */
WM_MUST_USE wm_code geo_time_read(const Google__Protobuf__Timestamp *time, const char *field,
                                  int64_t fallback_us, int64_t *time_us, wm_err *err);
WM_MUST_USE wm_code geo_box_read(const Waymark__Geo__V1__Box *box, geo_box *read, wm_err *err);
bool geo_box_contains(const geo_box *box, double lon_deg, double lat_deg);

/* Messages in the arena. */
Waymark__Geo__V1__Position *geo_position_write(wm_arena *arena, const char *entity_id,
                                               const geo_fix *fix);
Google__Protobuf__Timestamp *geo_time_write(wm_arena *arena, int64_t time_us);

#ifdef __cplusplus
}
#endif
#endif
