/* geo/area.c - areas in memory: GEOS contexts, WKB, prepared geometries.
 *
 * GEOS keeps its state in a context. Contexts are cheap (a few allocations), so every area and
 * every conversion opens its own and threads share nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "server/geo/geos.h"

struct geo_area {
    geo_geos geos;
    GEOSGeometry *shape;
    const GEOSPreparedGeometry *prepared;
    geo_box bounds;
};

static void geos_error(const char *message, void *ctx)
{
    geo_geos *geos = ctx;
    size_t len = strnlen(message, sizeof(geos->error) - 1);

    memcpy(geos->error, message, len);
    geos->error[len] = '\0';
}

void geo_geos_open(geo_geos *geos)
{
    geos->error[0] = '\0';
    geos->context = GEOS_init_r();
    if (geos->context == NULL)
        abort(); /* out of memory, as in base/arena.h */
    GEOSContext_setErrorMessageHandler_r(geos->context, geos_error, geos);
}

void geo_geos_close(geo_geos *geos)
{
    GEOS_finish_r(geos->context);
}

GEOSGeometry *geo_geos_read_wkb(geo_geos *geos, geo_wkb wkb)
{
    GEOSWKBReader *reader = GEOSWKBReader_create_r(geos->context);
    GEOSGeometry *shape = GEOSWKBReader_read_r(geos->context, reader, wkb.bytes, wkb.size);
    int kind;

    GEOSWKBReader_destroy_r(geos->context, reader);
    if (shape == NULL)
        return NULL;
    kind = GEOSGeomTypeId_r(geos->context, shape);
    if ((kind == GEOS_POLYGON || kind == GEOS_MULTIPOLYGON) && !GEOSisEmpty_r(geos->context, shape))
        return shape;
    GEOSGeom_destroy_r(geos->context, shape);
    return NULL;
}

wm_code geo_area_new(geo_wkb wkb, geo_area **made, wm_err *err)
{
    geo_area *area = calloc(1, sizeof(*area));

    if (area == NULL)
        abort();
    geo_geos_open(&area->geos);
    area->shape = geo_geos_read_wkb(&area->geos, wkb);
    if (area->shape == NULL) {
        geo_area_free(area);
        return wm_fail(err, WM_DATA_LOSS, "INTERNAL", "stored bytes are not a polygon");
    }
    area->prepared = GEOSPrepare_r(area->geos.context, area->shape);
    GEOSGeom_getXMin_r(area->geos.context, area->shape, &area->bounds.west_deg);
    GEOSGeom_getXMax_r(area->geos.context, area->shape, &area->bounds.east_deg);
    GEOSGeom_getYMin_r(area->geos.context, area->shape, &area->bounds.south_deg);
    GEOSGeom_getYMax_r(area->geos.context, area->shape, &area->bounds.north_deg);
    *made = area;
    return WM_OK;
}

void geo_area_free(geo_area *area)
{
    if (area->prepared != NULL)
        GEOSPreparedGeom_destroy_r(area->geos.context, area->prepared);
    if (area->shape != NULL)
        GEOSGeom_destroy_r(area->geos.context, area->shape);
    geo_geos_close(&area->geos);
    free(area);
}

geo_box geo_area_bounds(const geo_area *area)
{
    return area->bounds;
}

bool geo_area_contains(geo_area *area, double lon_deg, double lat_deg)
{
    GEOSGeometry *point;
    bool inside;

    if (!geo_box_contains(&area->bounds, lon_deg, lat_deg))
        return false;
    point = GEOSGeom_createPointFromXY_r(area->geos.context, lon_deg, lat_deg);
    inside = GEOSPreparedIntersects_r(area->geos.context, area->prepared, point) == 1;
    GEOSGeom_destroy_r(area->geos.context, point);
    return inside;
}
