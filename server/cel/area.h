/* cel/area.h - areas for geo.within(): polygons of GeoJSON and circles. Private to cel/.
 *
 * Polygons are planar in longitude and latitude, as GeoJSON (RFC 7946) and the fences have it, and
 * their border belongs to them; what crosses the antimeridian is cut there into a MultiPolygon.
 * Circles are geodesic on WGS 84.
 *
 * Threads: an area may be asked by any number of threads at once; it locks, because GEOS builds its
 *          indexes on use.
 * Memory:  an area owns itself.
 * Failure: NULL with the reason in `why`.
 */
#ifndef WAYMARK_SERVER_CEL_AREA_H
#define WAYMARK_SERVER_CEL_AREA_H

#include "server/cel/internal.h"

enum { CEL_AREA_POINTS_MAX = 50000 };
#define CEL_RADIUS_MAX_M 20037509.0 /* half of the equator */

typedef struct cel_area cel_area;

typedef struct cel_point {
    double lon_deg, lat_deg;
} cel_point;

/* {"lon_deg": ..., "lat_deg": ...}, whatever else it holds. */
bool cel_point_read(wm_arena *arena, const cel_value *value, cel_point *point,
                    char why[CEL_WHY_SIZE]);
double cel_point_distance_m(cel_point a, cel_point b, double *bearing_deg);

/* GeoJSON as a text or as a map, or what geo.circle() makes. `points`: how many it has. */
cel_area *cel_area_new(wm_arena *arena, const cel_value *value, size_t *points,
                       char why[CEL_WHY_SIZE]);
void cel_area_free(cel_area *area);
bool cel_area_contains(cel_area *area, cel_point point);

/* For SQL. A circle's centre and radius; false when the area is a polygon. */
bool cel_area_circle(const cel_area *area, cel_point *centre, double *radius_m);
/* A polygon as hexadecimal EWKB of SRID 4326, in the arena. */
const char *cel_area_hex(cel_area *area, wm_arena *arena, size_t *len);

#endif
