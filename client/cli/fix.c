/* client/cli/fix.c - a fix of a track file as a message; see fix.h. */
#include "client/cli/fix.h"

static Google__Protobuf__DoubleValue *fix_number(wm_arena *arena, double number, bool has)
{
    Google__Protobuf__DoubleValue *value;

    if (!has)
        return NULL;
    value = WM_NEW(arena, Google__Protobuf__DoubleValue);
    google__protobuf__double_value__init(value);
    value->value = number;
    return value;
}

Waymark__Geo__V1__Position *fix_position(wm_arena *arena, const track_fix *fix)
{
    Waymark__Geo__V1__Position *position = WM_NEW(arena, Waymark__Geo__V1__Position);

    waymark__geo__v1__position__init(position);
    position->entity_id = wm_arena_strdup(arena, fix->entity);
    position->time = WM_NEW(arena, Google__Protobuf__Timestamp);
    google__protobuf__timestamp__init(position->time);
    position->time->seconds = fix->seconds;
    position->time->nanos = fix->nanos;
    position->lon_deg = fix->lon_deg;
    position->lat_deg = fix->lat_deg;
    position->alt_m = fix_number(arena, fix->alt_m, fix->has_alt);
    position->speed_mps = fix_number(arena, fix->speed_mps, fix->has_speed);
    position->heading_deg = fix_number(arena, fix->heading_deg, fix->has_heading);
    return position;
}
