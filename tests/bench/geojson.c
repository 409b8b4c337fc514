/* tests/bench/geojson.c - GeoJSON polygons as google.protobuf.Struct. */
#include "tests/bench/geojson.h"

#include <math.h>

typedef Google__Protobuf__Value value;

static value *value_new(wm_arena *arena, Google__Protobuf__Value__KindCase kind)
{
    value *made = WM_NEW(arena, value);

    google__protobuf__value__init(made);
    made->kind_case = kind;
    return made;
}

static value *number(wm_arena *arena, double number_value)
{
    value *made = value_new(arena, GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE);

    made->number_value = number_value;
    return made;
}

/* A list with room for n values. */
static value *list(wm_arena *arena, size_t n)
{
    value *made = value_new(arena, GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE);

    made->list_value = WM_NEW(arena, Google__Protobuf__ListValue);
    google__protobuf__list_value__init(made->list_value);
    made->list_value->values = WM_NEW_ARRAY(arena, value *, n);
    return made;
}

static void append(value *to, value *item)
{
    to->list_value->values[to->list_value->n_values++] = item;
}

static Google__Protobuf__Struct__FieldsEntry *field(wm_arena *arena, const char *name, value *of)
{
    Google__Protobuf__Struct__FieldsEntry *entry =
        WM_NEW(arena, Google__Protobuf__Struct__FieldsEntry);

    google__protobuf__struct__fields_entry__init(entry);
    entry->key = (char *)name;
    entry->value = of;
    return entry;
}

Google__Protobuf__Struct *geojson_circle(wm_arena *arena, double lon_deg, double lat_deg,
                                         double radius_deg, unsigned corners)
{
    Google__Protobuf__Struct *geometry = WM_NEW(arena, Google__Protobuf__Struct);
    value *type = value_new(arena, GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE);
    value *rings = list(arena, 1), *ring = list(arena, corners + 1);

    for (unsigned i = 0; i <= corners; i++) {
        double angle = 2 * M_PI * (i % corners) / corners;
        value *corner = list(arena, 2);

        append(corner, number(arena, lon_deg + radius_deg * cos(angle)));
        append(corner, number(arena, lat_deg + radius_deg * sin(angle)));
        append(ring, corner);
    }
    append(rings, ring);
    type->string_value = (char *)"Polygon";

    google__protobuf__struct__init(geometry);
    geometry->fields = WM_NEW_ARRAY(arena, Google__Protobuf__Struct__FieldsEntry *, 2);
    geometry->fields[geometry->n_fields++] = field(arena, "type", type);
    geometry->fields[geometry->n_fields++] = field(arena, "coordinates", rings);
    return geometry;
}
