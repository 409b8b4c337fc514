/* geo/geojson.c - GeoJSON geometries (RFC 7946) in and out of protobuf Structs.
 *
 * Reading walks the Struct once, building GEOS rings, and names the place of the first error.
 * What the walk cannot see (rings that cross, holes outside) GEOS tells afterwards.
 */
#include <stdio.h>
#include <string.h>

#include "server/geo/geos.h"

typedef Google__Protobuf__Value json_value;
typedef Google__Protobuf__ListValue json_list;

/* One reading: where we are in the geometry, where errors go, how many points there were. */
typedef struct reading {
    geo_geos geos;
    wm_arena *arena;
    const char *field;
    const char *member; /* ".coordinates" */
    size_t at[3];       /* [polygon][ring][position] below it, the first `depth` of them */
    int depth;
    size_t points;
    wm_err *err;
} reading;

/* ---- errors, members, lists ---- */

static wm_code geometry_fail(reading *r, const char *reason, const char *what)
{
    char field[WM_ERR_FIELD_SIZE];
    size_t len = 0;

    len += (size_t)snprintf(field, sizeof(field), "%s%s", r->field, r->member);
    for (int i = 0; i < r->depth && len < sizeof(field); i++)
        len += (size_t)snprintf(field + len, sizeof(field) - len, "[%zu]", r->at[i]);
    return wm_fail_field(r->err, field, reason, "%s: %s", field, what);
}

static wm_code geometry_invalid(reading *r, const char *what)
{
    return geometry_fail(r, "GEOMETRY_INVALID", what);
}

static const json_value *member_find(const Google__Protobuf__Struct *object, const char *name)
{
    for (size_t i = 0; i < object->n_fields; i++) {
        if (strcmp(object->fields[i]->key, name) == 0)
            return object->fields[i]->value;
    }
    return NULL;
}

static const json_list *value_list(const json_value *value)
{
    if (value == NULL || value->kind_case != GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE)
        return NULL;
    return value->list_value;
}

static bool is_number(const json_value *value)
{
    return value->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
}

/* ---- reading ---- */

static wm_code point_read(reading *r, const json_value *value, double place[2])
{
    const json_list *list = value_list(value);

    if (list == NULL || list->n_values < 2 || list->n_values > 3 || !is_number(list->values[0]) ||
        !is_number(list->values[1]) || !is_number(list->values[list->n_values - 1]))
        return geometry_invalid(r, "a position is [longitude, latitude]");
    place[0] = list->values[0]->number_value;
    place[1] = list->values[1]->number_value;
    if (geo_lon_lat_check(place[0], place[1], "", NULL) != WM_OK)
        return geometry_fail(r, "COORDINATE_OUT_OF_RANGE",
                             "longitude must be from -180 to 180, latitude from -90 to 90");
    return WM_OK;
}

static wm_code ring_read_places(reading *r, const json_list *list, double *places)
{
    wm_code code = WM_OK;

    r->depth++;
    for (size_t i = 0; code == WM_OK && i < list->n_values; i++) {
        r->at[r->depth - 1] = i;
        code = point_read(r, list->values[i], &places[2 * i]);
    }
    if (code == WM_OK)
        r->depth--;
    return code;
}

static wm_code ring_read(reading *r, const json_value *value, GEOSGeometry **ring)
{
    const json_list *list = value_list(value);
    double *places;
    wm_code code;

    if (list == NULL)
        return geometry_invalid(r, "a ring is a list of positions");
    if (list->n_values < 4)
        return geometry_invalid(r, "a ring has at least 4 positions");
    r->points += list->n_values;
    if (r->points > GEO_AREA_POINTS_MAX)
        return geometry_invalid(r, "more than 50000 points");

    places = WM_NEW_ARRAY(r->arena, double, 2 * list->n_values);
    code = ring_read_places(r, list, places);
    if (code != WM_OK)
        return code;
    if (places[0] != places[2 * list->n_values - 2] || places[1] != places[2 * list->n_values - 1])
        return geometry_invalid(r, "a ring ends where it began");
    *ring = GEOSGeom_createLinearRing_r(
        r->geos.context,
        GEOSCoordSeq_copyFromBuffer_r(r->geos.context, places, (unsigned)list->n_values, 0, 0));
    return *ring != NULL ? WM_OK : geometry_invalid(r, r->geos.error);
}

/* Reads each element of a list with `read`; an error destroys what was read. */
static wm_code list_read(reading *r, const json_list *list,
                         wm_code (*read)(reading *r, const json_value *value, GEOSGeometry **part),
                         GEOSGeometry ***parts)
{
    wm_code code = WM_OK;
    size_t i;

    *parts = WM_NEW_ARRAY(r->arena, GEOSGeometry *, list->n_values);
    r->depth++;
    for (i = 0; code == WM_OK && i < list->n_values; i++) {
        r->at[r->depth - 1] = i;
        code = read(r, list->values[i], &(*parts)[i]);
    }
    if (code == WM_OK) {
        r->depth--;
        return WM_OK;
    }
    for (size_t j = 0; j + 1 < i; j++)
        GEOSGeom_destroy_r(r->geos.context, (*parts)[j]);
    return code;
}

static wm_code polygon_read(reading *r, const json_value *value, GEOSGeometry **polygon)
{
    const json_list *list = value_list(value);
    GEOSGeometry **rings;
    wm_code code;

    if (list == NULL || list->n_values == 0)
        return geometry_invalid(r, "a polygon is a list of at least one ring");
    code = list_read(r, list, ring_read, &rings);
    if (code != WM_OK)
        return code;
    *polygon = GEOSGeom_createPolygon_r(r->geos.context, rings[0], rings + 1,
                                        (unsigned)(list->n_values - 1));
    return *polygon != NULL ? WM_OK : geometry_invalid(r, r->geos.error);
}

static wm_code multipolygon_read(reading *r, const json_value *value, GEOSGeometry **shape)
{
    const json_list *list = value_list(value);
    GEOSGeometry **polygons;
    wm_code code;

    if (list == NULL || list->n_values == 0)
        return geometry_invalid(r, "a multipolygon is a list of at least one polygon");
    code = list_read(r, list, polygon_read, &polygons);
    if (code != WM_OK)
        return code;
    *shape = GEOSGeom_createCollection_r(r->geos.context, GEOS_MULTIPOLYGON, polygons,
                                         (unsigned)list->n_values);
    return *shape != NULL ? WM_OK : geometry_invalid(r, r->geos.error);
}

static wm_code shape_read(reading *r, const Google__Protobuf__Struct *geometry,
                          GEOSGeometry **shape)
{
    const json_value *type = member_find(geometry, "type");
    const json_value *coordinates = member_find(geometry, "coordinates");
    const char *name = "";

    if (type != NULL && type->kind_case == GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE)
        name = type->string_value;
    r->member = ".coordinates";
    if (strcmp(name, "Polygon") == 0)
        return polygon_read(r, coordinates, shape);
    if (strcmp(name, "MultiPolygon") == 0)
        return multipolygon_read(r, coordinates, shape);
    r->member = ".type";
    return geometry_invalid(r, "must be \"Polygon\" or \"MultiPolygon\"");
}

static wm_code shape_check(reading *r, const GEOSGeometry *shape)
{
    char *reason;
    wm_code code;

    if (GEOSisValid_r(r->geos.context, shape) == 1)
        return WM_OK;
    r->member = "";
    reason = GEOSisValidReason_r(r->geos.context, shape);
    code = geometry_invalid(r, reason == NULL ? "not a valid polygon" : reason);
    GEOSFree_r(r->geos.context, reason);
    return code;
}

static void shape_write_wkb(reading *r, const GEOSGeometry *shape, geo_wkb *wkb)
{
    GEOSWKBWriter *writer = GEOSWKBWriter_create_r(r->geos.context);
    unsigned char *bytes;

    GEOSWKBWriter_setByteOrder_r(r->geos.context, writer, GEOS_WKB_NDR);
    bytes = GEOSWKBWriter_write_r(r->geos.context, writer, shape, &wkb->size);
    wkb->bytes = wm_arena_memdup(r->arena, bytes, wkb->size);
    GEOSFree_r(r->geos.context, bytes);
    GEOSWKBWriter_destroy_r(r->geos.context, writer);
}

wm_code geo_geojson_read(wm_arena *arena, const Google__Protobuf__Struct *geometry,
                         const char *field, geo_wkb *wkb, wm_err *err)
{
    reading r = {.arena = arena, .field = field, .member = "", .err = err};
    GEOSGeometry *shape = NULL;
    wm_code code;

    geo_geos_open(&r.geos);
    code = shape_read(&r, geometry, &shape);
    if (code == WM_OK)
        code = shape_check(&r, shape);
    if (code == WM_OK)
        shape_write_wkb(&r, shape, wkb);
    if (shape != NULL)
        GEOSGeom_destroy_r(r.geos.context, shape);
    geo_geos_close(&r.geos);
    return code;
}

/* ---- writing ---- */

static json_value *value_new(wm_arena *arena, Google__Protobuf__Value__KindCase kind)
{
    json_value *value = WM_NEW(arena, json_value);

    google__protobuf__value__init(value);
    value->kind_case = kind;
    return value;
}

/* A list of n values yet to be set. */
static json_value *list_new(wm_arena *arena, size_t n)
{
    json_value *value = value_new(arena, GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE);

    value->list_value = WM_NEW(arena, json_list);
    google__protobuf__list_value__init(value->list_value);
    value->list_value->n_values = n;
    value->list_value->values = WM_NEW_ARRAY(arena, json_value *, n);
    return value;
}

static json_value *number_new(wm_arena *arena, double number)
{
    json_value *value = value_new(arena, GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE);

    value->number_value = number;
    return value;
}

static json_value *ring_write(wm_arena *arena, geo_geos *geos, const GEOSGeometry *ring)
{
    const GEOSCoordSequence *sequence = GEOSGeom_getCoordSeq_r(geos->context, ring);
    unsigned n = 0;
    json_value *list;

    GEOSCoordSeq_getSize_r(geos->context, sequence, &n);
    list = list_new(arena, n);
    for (unsigned i = 0; i < n; i++) {
        json_value *point = list_new(arena, 2);
        double lon_deg, lat_deg;

        GEOSCoordSeq_getXY_r(geos->context, sequence, i, &lon_deg, &lat_deg);
        point->list_value->values[0] = number_new(arena, lon_deg);
        point->list_value->values[1] = number_new(arena, lat_deg);
        list->list_value->values[i] = point;
    }
    return list;
}

static json_value *polygon_write(wm_arena *arena, geo_geos *geos, const GEOSGeometry *polygon)
{
    int holes = GEOSGetNumInteriorRings_r(geos->context, polygon);
    json_value *list = list_new(arena, (size_t)holes + 1);

    list->list_value->values[0] =
        ring_write(arena, geos, GEOSGetExteriorRing_r(geos->context, polygon));
    for (int i = 0; i < holes; i++)
        list->list_value->values[i + 1] =
            ring_write(arena, geos, GEOSGetInteriorRingN_r(geos->context, polygon, i));
    return list;
}

static json_value *multipolygon_write(wm_arena *arena, geo_geos *geos, const GEOSGeometry *shape)
{
    int n = GEOSGetNumGeometries_r(geos->context, shape);
    json_value *list = list_new(arena, (size_t)n);

    for (int i = 0; i < n; i++)
        list->list_value->values[i] =
            polygon_write(arena, geos, GEOSGetGeometryN_r(geos->context, shape, i));
    return list;
}

static Google__Protobuf__Struct__FieldsEntry *member_new(wm_arena *arena, char *name,
                                                         json_value *value)
{
    Google__Protobuf__Struct__FieldsEntry *entry =
        WM_NEW(arena, Google__Protobuf__Struct__FieldsEntry);

    google__protobuf__struct__fields_entry__init(entry);
    entry->key = name;
    entry->value = value;
    return entry;
}

static Google__Protobuf__Struct *geometry_new(wm_arena *arena, const char *type,
                                              json_value *coordinates)
{
    Google__Protobuf__Struct *geometry = WM_NEW(arena, Google__Protobuf__Struct);
    json_value *name = value_new(arena, GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE);

    google__protobuf__struct__init(geometry);
    name->string_value = wm_arena_strdup(arena, type);
    geometry->n_fields = 2;
    geometry->fields = WM_NEW_ARRAY(arena, Google__Protobuf__Struct__FieldsEntry *, 2);
    geometry->fields[0] = member_new(arena, wm_arena_strdup(arena, "type"), name);
    geometry->fields[1] = member_new(arena, wm_arena_strdup(arena, "coordinates"), coordinates);
    return geometry;
}

wm_code geo_geojson_write(wm_arena *arena, geo_wkb wkb, Google__Protobuf__Struct **geometry,
                          wm_err *err)
{
    geo_geos geos;
    GEOSGeometry *shape;
    wm_code code = WM_OK;

    geo_geos_open(&geos);
    shape = geo_geos_read_wkb(&geos, wkb);
    if (shape == NULL)
        code = wm_fail(err, WM_DATA_LOSS, "INTERNAL", "stored bytes are not a polygon");
    else if (GEOSGeomTypeId_r(geos.context, shape) == GEOS_POLYGON)
        *geometry = geometry_new(arena, "Polygon", polygon_write(arena, &geos, shape));
    else
        *geometry = geometry_new(arena, "MultiPolygon", multipolygon_write(arena, &geos, shape));
    if (shape != NULL)
        GEOSGeom_destroy_r(geos.context, shape);
    geo_geos_close(&geos);
    return code;
}
