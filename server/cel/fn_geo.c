/* cel/fn_geo.c - places: geo.point, geo.distance_m, geo.bearing_deg, geo.circle, geo.within.
 *
 * A point is a map with lon_deg and lat_deg, so that a message or a document that has these fields
 * is one. Distances and bearings are geodesic on WGS 84. A constant area is made once, with the
 * program; any other is made for the call, and paid for.
 */
#include "server/cel/area.h"

#define FN(name) static cel_value name(cel_call *call, const cel_value *args, size_t n)

/* POINT: of an area that is not constant. */
enum { DISTANCE_COST = 150, AREA_COST = 200, POINT_COST = 40 };

static cel_value wrong(cel_call *call, const char *why)
{
    return cel_fail(call, CEL_ERROR_ARGUMENT, "%s", why);
}

static double number_of(const cel_value *value)
{
    return value->kind == CEL_INT ? (double)value->as.integer : value->as.real;
}

static cel_value entries_map(cel_call *call, const cel_entry *entries, size_t n)
{
    cel_entry *kept = cel_alloc(call, n * sizeof *kept);

    if (!kept)
        return cel_fail_memory(call);
    for (size_t i = 0; i < n; i++)
        kept[i] = entries[i];
    return cel_map_build(call, kept, n);
}

FN(point)
{
    cel_entry entries[2] = {{cel_of_string("lon_deg", 7), cel_of_double(number_of(&args[0]))},
                            {cel_of_string("lat_deg", 7), cel_of_double(number_of(&args[1]))}};
    cel_value made = entries_map(call, entries, n);
    char why[CEL_WHY_SIZE];
    cel_point point;

    if (made.kind == CEL_ERROR || cel_point_read(call->arena, &made, &point, why))
        return made;
    return wrong(call, why);
}

/* Two points; false with the error. */
static bool read_two(cel_call *call, const cel_value *args, cel_point points[2], cel_value *error)
{
    char why[CEL_WHY_SIZE];

    call->cost += DISTANCE_COST;
    if (cel_point_read(call->arena, &args[0], &points[0], why) &&
        cel_point_read(call->arena, &args[1], &points[1], why))
        return true;
    *error = wrong(call, why);
    return false;
}

FN(distance)
{
    cel_point points[2];
    cel_value error;

    (void)n;
    return read_two(call, args, points, &error)
               ? cel_of_double(cel_point_distance_m(points[0], points[1], NULL))
               : error;
}

FN(bearing)
{
    cel_point points[2];
    cel_value error;
    double bearing_deg;

    (void)n;
    if (!read_two(call, args, points, &error))
        return error;
    cel_point_distance_m(points[0], points[1], &bearing_deg);
    return cel_of_double(bearing_deg);
}

FN(circle)
{
    double radius_m = number_of(&args[1]);
    cel_value *place = cel_alloc(call, 2 * sizeof *place);
    char why[CEL_WHY_SIZE];
    cel_point point;
    cel_value list;

    (void)n;
    if (!cel_point_read(call->arena, &args[0], &point, why))
        return wrong(call, why);
    if (!(radius_m >= 0 && radius_m <= CEL_RADIUS_MAX_M))
        return cel_fail(call, CEL_ERROR_ARGUMENT, "the radius %.9g is not between 0 and %.9g",
                        radius_m, CEL_RADIUS_MAX_M);
    if (!place)
        return cel_fail_memory(call);
    place[0] = cel_of_double(point.lon_deg);
    place[1] = cel_of_double(point.lat_deg);
    list = cel_list_build(call, place, 2);
    if (list.kind == CEL_ERROR)
        return list;
    return entries_map(call,
                       (cel_entry[]){{cel_of_string("type", 4), cel_of_string("Circle", 6)},
                                     {cel_of_string("coordinates", 11), list},
                                     {cel_of_string("radius_m", 8), cel_of_double(radius_m)}},
                       3);
}

FN(within)
{
    cel_area *made = NULL, *area = call->at ? call->at->prepared : NULL;
    char why[CEL_WHY_SIZE];
    cel_value value;
    cel_point point;
    size_t points;

    (void)n;
    call->cost += DISTANCE_COST;
    if (!cel_point_read(call->arena, &args[0], &point, why))
        return wrong(call, why);
    if (!area) {
        call->cost += AREA_COST + (args[1].kind == CEL_STRING ? args[1].len : 0);
        if (call->cost > call->limit)
            return cel_fail_cost(call);
        area = made = cel_area_new(call->arena, &args[1], &points, why);
        call->cost += points * POINT_COST;
    }
    value = area ? cel_of_bool(cel_area_contains(area, point)) : wrong(call, why);
    cel_area_free(made);
    return value;
}

#define NUMBERS(name, first, result, function)          \
    {name, false, false, first "d", result, function},  \
    {                                                   \
        name, false, false, first "i", result, function \
    }

CEL_TABLE(cel_fn_geo, NUMBERS("geo.point", "d", "Msd", point),
          NUMBERS("geo.point", "i", "Msd", point), NUMBERS("geo.circle", "Msx", "Msx", circle),
          {"geo.distance_m", false, false, "MsxMsx", "d", distance},
          {"geo.bearing_deg", false, false, "MsxMsx", "d", bearing},
          {"geo.within", false, false, "MsxMsx", "b", within},
          {"geo.within", false, false, "Msxs", "b", within});
