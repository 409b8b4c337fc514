/* geo/area.h - one polygonal area: from GeoJSON, to GeoJSON, as WKB, and what is in it.
 *
 * Predicates are planar in longitude and latitude (RFC 7946); the border belongs to the area.
 *
 * Threads: a geo_area belongs to one thread at a time (GEOS builds its indexes on use).
 *          The other functions are pure.
 * Memory:  WKB and messages live in the arena given. A geo_area owns itself.
 * Failure: WM_INVALID with the path into the geometry, "fence.geometry.coordinates[0][3]".
 */
#ifndef WAYMARK_SERVER_GEO_AREA_H
#define WAYMARK_SERVER_GEO_AREA_H

#include "google/protobuf/struct.pb-c.h"
#include "server/geo/point.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GEO_AREA_POINTS_MAX = 50000 };

typedef struct geo_wkb {
    const void *bytes;
    size_t size;
} geo_wkb;

typedef struct geo_area geo_area;

/* Checks a GeoJSON Polygon or MultiPolygon, to OGC validity. `field` is its path in the request. */
WM_MUST_USE wm_code geo_geojson_read(wm_arena *arena, const Google__Protobuf__Struct *geometry,
                                     const char *field, geo_wkb *wkb, wm_err *err);
/* WM_DATA_LOSS when the bytes are not such an area. */
WM_MUST_USE wm_code geo_geojson_write(wm_arena *arena, geo_wkb wkb,
                                      Google__Protobuf__Struct **geometry, wm_err *err);

/* WM_DATA_LOSS when the bytes are not WKB. */
WM_MUST_USE wm_code geo_area_new(geo_wkb wkb, geo_area **made, wm_err *err);
void geo_area_free(geo_area *area);
geo_box geo_area_bounds(const geo_area *area);
bool geo_area_contains(geo_area *area, double lon_deg, double lat_deg);

#ifdef __cplusplus
}
#endif
#endif
