/* cel/area.c - see area.h. */
#include "server/cel/area.h"

#include <geodesic.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The plain, global GEOS functions are not safe with threads. */
#define GEOS_USE_ONLY_R_API
#include <geos_c.h>

enum { AREA_JSON_MAX = 8 * 1024 * 1024 };

struct cel_area {
    pthread_mutex_t lock;
    GEOSContextHandle_t geos;
    GEOSGeometry *shape; /* NULL for a circle */
    const GEOSPreparedGeometry *prepared;
    cel_point low, high; /* its box */
    cel_point centre;
    double radius_m;
};

/* One reading of GeoJSON. */
typedef struct reading {
    cel_area *area;
    wm_arena *arena;
    size_t points;
    char *why;
} reading;

static bool fail(char why[CEL_WHY_SIZE], const char *text)
{
    snprintf(why, CEL_WHY_SIZE, "%s", text);
    return false;
}

/* ---- points ---- */

static bool number_of(const cel_value *value, double *number)
{
    switch (value->kind) {
    case CEL_INT:
        *number = (double)value->as.integer;
        return true;
    case CEL_UINT:
        *number = (double)value->as.natural;
        return true;
    case CEL_DOUBLE:
        *number = value->as.real;
        return true;
    default:
        return false;
    }
}

static bool check_place(cel_point point, char why[CEL_WHY_SIZE])
{
    if (!(point.lon_deg >= -180 && point.lon_deg <= 180)) {
        snprintf(why, CEL_WHY_SIZE, "the longitude %.9g is not between -180 and 180",
                 isnan(point.lon_deg) ? (double)NAN : point.lon_deg);
        return false;
    }
    if (!(point.lat_deg >= -90 && point.lat_deg <= 90)) {
        snprintf(why, CEL_WHY_SIZE, "the latitude %.9g is not between -90 and 90",
                 isnan(point.lat_deg) ? (double)NAN : point.lat_deg);
        return false;
    }
    return true;
}

bool cel_point_read(wm_arena *arena, const cel_value *value, cel_point *point,
                    char why[CEL_WHY_SIZE])
{
    cel_value lon, lat;

    if (value->kind != CEL_MAP || !cel_map_find_name(value->as.map, arena, "lon_deg", 7, &lon) ||
        !cel_map_find_name(value->as.map, arena, "lat_deg", 7, &lat) ||
        !number_of(&lon, &point->lon_deg) || !number_of(&lat, &point->lat_deg))
        return fail(why, "a point has the numbers lon_deg and lat_deg");
    return check_place(*point, why);
}

double cel_point_distance_m(cel_point a, cel_point b, double *bearing_deg)
{
    struct geod_geodesic earth;
    double distance_m, azimuth_deg;

    geod_init(&earth, 6378137, 1 / 298.257223563);
    geod_inverse(&earth, a.lat_deg, a.lon_deg, b.lat_deg, b.lon_deg, &distance_m, &azimuth_deg,
                 NULL);
    if (azimuth_deg < 0)
        azimuth_deg += 360;
    if (bearing_deg) /* rounding may have made it 360 */
        *bearing_deg = distance_m == 0 || azimuth_deg >= 360 ? 0 : azimuth_deg;
    return distance_m;
}

/* ---- GeoJSON ---- */

static const cel_list *list_of(const cel_value *value)
{
    return value->kind == CEL_LIST ? value->as.list : NULL;
}

static bool read_position(reading *r, const cel_value *value, double place[2])
{
    const cel_list *list = list_of(value);
    cel_point point;

    if (!list || list->len < 2 || list->len > 3 || !number_of(&list->items[0], &point.lon_deg) ||
        !number_of(&list->items[1], &point.lat_deg))
        return fail(r->why, "a position is [longitude, latitude]");
    place[0] = point.lon_deg;
    place[1] = point.lat_deg;
    return check_place(point, r->why);
}

static GEOSGeometry *read_ring(reading *r, const cel_value *value)
{
    const cel_list *list = list_of(value);
    double *places;
    size_t n;

    if (!list || list->len < 4)
        return fail(r->why, "a ring is a list of at least 4 positions"), NULL;
    n = list->len;
    r->points += n;
    if (r->points > CEL_AREA_POINTS_MAX)
        return fail(r->why, "an area has at most 50000 points"), NULL;
    places = wm_arena_array(r->arena, n, 2 * sizeof *places);
    if (!places)
        return fail(r->why, "the area is too large"), NULL;
    for (size_t i = 0; i < n; i++)
        if (!read_position(r, &list->items[i], &places[2 * i]))
            return NULL;
    if (places[0] != places[2 * n - 2] || places[1] != places[2 * n - 1])
        return fail(r->why, "a ring ends where it began"), NULL;
    return GEOSGeom_createLinearRing_r(
        r->area->geos, GEOSCoordSeq_copyFromBuffer_r(r->area->geos, places, (unsigned)n, 0, 0));
}

typedef GEOSGeometry *(*read_fn)(reading *r, const cel_value *value);

/* Reads each item; NULL when one is wrong, and then none is left. */
static GEOSGeometry **read_items(reading *r, const cel_list *list, read_fn read)
{
    GEOSGeometry **parts = wm_arena_array(r->arena, list->len + 1u, sizeof *parts);

    for (uint32_t i = 0; parts && i < list->len; i++) {
        parts[i] = read(r, &list->items[i]);
        if (parts[i])
            continue;
        while (i > 0)
            GEOSGeom_destroy_r(r->area->geos, parts[--i]);
        return NULL;
    }
    return parts;
}

static GEOSGeometry *read_polygon(reading *r, const cel_value *value)
{
    const cel_list *list = list_of(value);
    GEOSGeometry **rings;

    if (!list || list->len == 0)
        return fail(r->why, "a polygon is a list of at least one ring"), NULL;
    rings = read_items(r, list, read_ring);
    return rings ? GEOSGeom_createPolygon_r(r->area->geos, rings[0], rings + 1, list->len - 1)
                 : NULL;
}

static GEOSGeometry *read_multipolygon(reading *r, const cel_value *value)
{
    const cel_list *list = list_of(value);
    GEOSGeometry **polygons;

    if (!list || list->len == 0)
        return fail(r->why, "a multipolygon is a list of at least one polygon"), NULL;
    polygons = read_items(r, list, read_polygon);
    return polygons
               ? GEOSGeom_createCollection_r(r->area->geos, GEOS_MULTIPOLYGON, polygons, list->len)
               : NULL;
}

static bool check_shape(reading *r)
{
    GEOSContextHandle_t geos = r->area->geos;
    char *reason;

    if (GEOSisValid_r(geos, r->area->shape) == 1)
        return true;
    reason = GEOSisValidReason_r(geos, r->area->shape);
    snprintf(r->why, CEL_WHY_SIZE, "%s", reason ? reason : "the polygon is not valid");
    GEOSFree_r(geos, reason);
    return false;
}

static bool read_shape(reading *r, const cel_value *coordinates, read_fn read)
{
    cel_area *area = r->area;

    fail(r->why, "the polygon is not valid");
    area->shape = read(r, coordinates);
    if (!area->shape || !check_shape(r))
        return false;
    GEOSGeom_getXMin_r(area->geos, area->shape, &area->low.lon_deg);
    GEOSGeom_getYMin_r(area->geos, area->shape, &area->low.lat_deg);
    GEOSGeom_getXMax_r(area->geos, area->shape, &area->high.lon_deg);
    GEOSGeom_getYMax_r(area->geos, area->shape, &area->high.lat_deg);
    area->prepared = GEOSPrepare_r(area->geos, area->shape);
    return area->prepared != NULL;
}

static bool read_circle(reading *r, const cel_map *map, const cel_value *coordinates)
{
    cel_value radius;
    double place[2];

    if (!read_position(r, coordinates, place))
        return false;
    r->area->centre = (cel_point){place[0], place[1]};
    if (!cel_map_find_name(map, r->arena, "radius_m", 8, &radius) ||
        !number_of(&radius, &r->area->radius_m) ||
        !(r->area->radius_m >= 0 && r->area->radius_m <= CEL_RADIUS_MAX_M))
        return fail(r->why, "radius_m is not between 0 and half of the equator");
    return true;
}

static bool is_named(const cel_value *value, const char *name)
{
    return value->kind == CEL_STRING && value->len == strlen(name) &&
           memcmp(value->as.text, name, value->len) == 0;
}

static bool read_map(reading *r, const cel_map *map)
{
    cel_value type, coordinates;

    if (!cel_map_find_name(map, r->arena, "type", 4, &type) ||
        !cel_map_find_name(map, r->arena, "coordinates", 11, &coordinates))
        return fail(r->why, "an area has a type and coordinates");
    if (is_named(&type, "Polygon"))
        return read_shape(r, &coordinates, read_polygon);
    if (is_named(&type, "MultiPolygon"))
        return read_shape(r, &coordinates, read_multipolygon);
    if (is_named(&type, "Circle"))
        return read_circle(r, map, &coordinates);
    return fail(r->why, "an area is a Polygon, a MultiPolygon or a Circle");
}

static bool read_text(reading *r, const cel_value *text)
{
    wm_json *json;
    cel_value value;
    wm_err err;

    if (wm_json_parse(r->arena, text->as.text, text->len, &json, &err) != WM_OK) {
        snprintf(r->why, CEL_WHY_SIZE, "%.*s", CEL_WHY_SIZE - 1, err.message);
        return false;
    }
    value = cel_json_view(r->arena, json);
    return value.kind == CEL_MAP ? read_map(r, value.as.map)
                                 : fail(r->why, "an area is an object of GeoJSON");
}

cel_area *cel_area_new(wm_arena *arena, const cel_value *value, size_t *points,
                       char why[CEL_WHY_SIZE])
{
    cel_area *area = calloc(1, sizeof *area);
    reading r = {.area = area, .arena = arena, .why = why};
    bool fine;

    if (!area)
        abort();
    pthread_mutex_init(&area->lock, NULL);
    area->geos = GEOS_init_r();
    if (!area->geos)
        abort();
    if (value->kind == CEL_STRING)
        fine =
            value->len <= AREA_JSON_MAX ? read_text(&r, value) : fail(why, "the area is too large");
    else
        fine = value->kind == CEL_MAP ? read_map(&r, value->as.map)
                                      : fail(why, "an area is GeoJSON or a circle");
    *points = r.points;
    if (fine)
        return area;
    cel_area_free(area);
    return NULL;
}

void cel_area_free(cel_area *area)
{
    if (!area)
        return;
    if (area->prepared)
        GEOSPreparedGeom_destroy_r(area->geos, area->prepared);
    if (area->shape)
        GEOSGeom_destroy_r(area->geos, area->shape);
    GEOS_finish_r(area->geos);
    pthread_mutex_destroy(&area->lock);
    free(area);
}

bool cel_area_contains(cel_area *area, cel_point point)
{
    GEOSGeometry *place;
    bool inside;

    if (!area->shape)
        return cel_point_distance_m(area->centre, point, NULL) <= area->radius_m;
    if (point.lon_deg < area->low.lon_deg || point.lon_deg > area->high.lon_deg ||
        point.lat_deg < area->low.lat_deg || point.lat_deg > area->high.lat_deg)
        return false;
    pthread_mutex_lock(&area->lock);
    place = GEOSGeom_createPointFromXY_r(area->geos, point.lon_deg, point.lat_deg);
    inside = place && GEOSPreparedIntersects_r(area->geos, area->prepared, place) == 1;
    GEOSGeom_destroy_r(area->geos, place);
    pthread_mutex_unlock(&area->lock);
    return inside;
}

bool cel_area_circle(const cel_area *area, cel_point *centre, double *radius_m)
{
    *centre = area->centre;
    *radius_m = area->radius_m;
    return !area->shape;
}

const char *cel_area_hex(cel_area *area, wm_arena *arena, size_t *len)
{
    GEOSWKBWriter *writer;
    unsigned char *hex;
    const char *copy;

    pthread_mutex_lock(&area->lock);
    writer = GEOSWKBWriter_create_r(area->geos);
    GEOSSetSRID_r(area->geos, area->shape, 4326);
    GEOSWKBWriter_setIncludeSRID_r(area->geos, writer, 1);
    hex = GEOSWKBWriter_writeHEX_r(area->geos, writer, area->shape, len);
    copy = hex ? wm_arena_strndup(arena, (const char *)hex, *len) : NULL;
    GEOSFree_r(area->geos, hex);
    GEOSWKBWriter_destroy_r(area->geos, writer);
    pthread_mutex_unlock(&area->lock);
    return copy;
}
