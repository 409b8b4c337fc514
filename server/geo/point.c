/* geo/point.c - the checks of what comes in, and fixes as messages.
 *
 * Reports come at tens of thousands of fixes a second, so a check formats its field's path
 * only when it fails.
 */
#include "server/geo/point.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The first second of year 10000, where a Timestamp ends. */
#define TIMESTAMP_SECONDS_END INT64_C(253402300800)
/* The first second of year 1. */
#define TIMESTAMP_SECONDS_MIN (-INT64_C(62135596800))

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_id(const char *id)
{
    size_t i;

    if (!is_alphanumeric(id[0]))
        return false;
    for (i = 1; id[i] != '\0'; i++) {
        if (!is_alphanumeric(id[i]) && strchr("._:@/-", id[i]) == NULL)
            return false;
    }
    return i <= GEO_ID_SIZE_MAX;
}

wm_code geo_id_check(const char *id, const char *field, wm_err *err)
{
    if (id[0] == '\0')
        return wm_fail_field(err, field, "FIELD_REQUIRED", "%s is required", field);
    if (!is_id(id))
        return wm_fail_field(err, field, "ID_MALFORMED",
                             "%s must match [A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}", field);
    return WM_OK;
}

/* Written so that NaN fails. */
static bool in_range(double value, double min, double max)
{
    return value >= min && value <= max;
}

static wm_code out_of_range(const char *prefix, const char *name, double limit, wm_err *err)
{
    char field[WM_ERR_FIELD_SIZE];

    snprintf(field, sizeof(field), "%s%s", prefix, name);
    return wm_fail_field(err, field, "COORDINATE_OUT_OF_RANGE", "%s must be from -%.0f to %.0f",
                         field, limit, limit);
}

wm_code geo_lon_lat_check(double lon_deg, double lat_deg, const char *prefix, wm_err *err)
{
    if (!in_range(lon_deg, -180, 180))
        return out_of_range(prefix, "lon_deg", 180, err);
    if (!in_range(lat_deg, -90, 90))
        return out_of_range(prefix, "lat_deg", 90, err);
    return WM_OK;
}

wm_code geo_time_read(const Google__Protobuf__Timestamp *time, const char *field,
                      int64_t fallback_us, int64_t *time_us, wm_err *err)
{
    if (time == NULL) {
        *time_us = fallback_us;
        return WM_OK;
    }
    if (time->seconds < TIMESTAMP_SECONDS_MIN || time->seconds >= TIMESTAMP_SECONDS_END ||
        time->nanos < 0 || time->nanos > 999999999)
        return wm_fail_field(err, field, "TIME_INVALID", "%s is not a time of years 1 to 9999",
                             field);
    *time_us = time->seconds * 1000000 + time->nanos / 1000;
    return WM_OK;
}

static wm_code fix_time_read(const Google__Protobuf__Timestamp *time, size_t index, int64_t now_us,
                             int64_t *time_us, wm_err *err)
{
    char field[WM_ERR_FIELD_SIZE];
    bool valid = time != NULL && geo_time_read(time, "", 0, time_us, NULL) == WM_OK;

    if (valid && *time_us >= 0 && *time_us <= now_us + GEO_TIME_AHEAD_MAX_US)
        return WM_OK;
    snprintf(field, sizeof(field), "positions[%zu].time", index);
    if (time == NULL)
        return wm_fail_field(err, field, "TIME_INVALID", "%s is required", field);
    if (!valid)
        return geo_time_read(time, field, 0, time_us, err);
    if (*time_us < 0)
        return wm_fail_field(err, field, "TIME_INVALID", "%s is before 1970", field);
    return wm_fail_field(err, field, "TIME_IN_FUTURE",
                         "%s is more than %d s ahead of the server's clock", field,
                         GEO_TIME_AHEAD_MAX_US / 1000000);
}

/* An optional value of a fix into *value; NaN when it is not there. */
static wm_code optional_read(const Google__Protobuf__DoubleValue *wrapper, size_t index,
                             const char *name, double min, double max, double *value, wm_err *err)
{
    char field[WM_ERR_FIELD_SIZE];

    *value = NAN;
    if (wrapper == NULL)
        return WM_OK;
    *value = wrapper->value;
    if (in_range(*value, min, max))
        return WM_OK;
    snprintf(field, sizeof(field), "positions[%zu].%s", index, name);
    return wm_fail_field(err, field, "FIELD_INVALID", "%s must be from %g to %g", field, min, max);
}

static wm_code fix_place_read(const Waymark__Geo__V1__Position *position, size_t index, wm_err *err)
{
    char prefix[WM_ERR_FIELD_SIZE];

    if (geo_lon_lat_check(position->lon_deg, position->lat_deg, "", NULL) == WM_OK)
        return WM_OK;
    snprintf(prefix, sizeof(prefix), "positions[%zu].", index);
    return geo_lon_lat_check(position->lon_deg, position->lat_deg, prefix, err);
}

static wm_code fix_id_check(const char *id, size_t index, wm_err *err)
{
    char field[WM_ERR_FIELD_SIZE];

    if (is_id(id))
        return WM_OK;
    snprintf(field, sizeof(field), "positions[%zu].entity_id", index);
    return geo_id_check(id, field, err);
}

wm_code geo_fix_read(const Waymark__Geo__V1__Position *position, size_t index, int64_t now_us,
                     geo_fix *fix, wm_err *err)
{
    /* Far above anything that flies, and low enough to be a float everywhere. */
    const double metres_max = 1e9;
    wm_code code = fix_id_check(position->entity_id, index, err);

    if (code == WM_OK)
        code = fix_time_read(position->time, index, now_us, &fix->time_us, err);
    if (code == WM_OK)
        code = fix_place_read(position, index, err);
    if (code == WM_OK)
        code = optional_read(position->alt_m, index, "alt_m", -metres_max, metres_max, &fix->alt_m,
                             err);
    if (code == WM_OK)
        code = optional_read(position->speed_mps, index, "speed_mps", 0, metres_max,
                             &fix->speed_mps, err);
    if (code == WM_OK)
        code = optional_read(position->heading_deg, index, "heading_deg", 0, 360, &fix->heading_deg,
                             err);
    fix->lon_deg = position->lon_deg;
    fix->lat_deg = position->lat_deg;
    return code;
}

wm_code geo_box_read(const Waymark__Geo__V1__Box *box, geo_box *read, wm_err *err)
{
    static const struct {
        const char *field;
        double limit;
    } sides[] = {
        {"box.west_deg", 180}, {"box.east_deg", 180}, {"box.south_deg", 90}, {"box.north_deg", 90}};
    const double values[] = {box->west_deg, box->east_deg, box->south_deg, box->north_deg};

    for (size_t i = 0; i < WM_ARRAY_LEN(sides); i++) {
        if (!in_range(values[i], -sides[i].limit, sides[i].limit))
            return out_of_range("", sides[i].field, sides[i].limit, err);
    }
    if (box->south_deg > box->north_deg)
        return wm_fail_field(err, "box.north_deg", "FIELD_INVALID",
                             "box.north_deg is south of box.south_deg");
    *read = (geo_box){box->west_deg, box->south_deg, box->east_deg, box->north_deg};
    return WM_OK;
}

bool geo_box_contains(const geo_box *box, double lon_deg, double lat_deg)
{
    if (lat_deg < box->south_deg || lat_deg > box->north_deg)
        return false;
    if (box->west_deg <= box->east_deg)
        return lon_deg >= box->west_deg && lon_deg <= box->east_deg;
    return lon_deg >= box->west_deg || lon_deg <= box->east_deg;
}

Google__Protobuf__Timestamp *geo_time_write(wm_arena *arena, int64_t time_us)
{
    Google__Protobuf__Timestamp *time = WM_NEW(arena, Google__Protobuf__Timestamp);
    int64_t fraction_us = time_us % 1000000;

    google__protobuf__timestamp__init(time);
    if (fraction_us < 0)
        fraction_us += 1000000;
    time->seconds = (time_us - fraction_us) / 1000000;
    time->nanos = (int32_t)fraction_us * 1000;
    return time;
}

static Google__Protobuf__DoubleValue *optional_write(wm_arena *arena, double value)
{
    Google__Protobuf__DoubleValue *wrapper;

    if (isnan(value))
        return NULL;
    wrapper = WM_NEW(arena, Google__Protobuf__DoubleValue);
    google__protobuf__double_value__init(wrapper);
    wrapper->value = value;
    return wrapper;
}

Waymark__Geo__V1__Position *geo_position_write(wm_arena *arena, const char *entity_id,
                                               const geo_fix *fix)
{
    Waymark__Geo__V1__Position *position = WM_NEW(arena, Waymark__Geo__V1__Position);

    waymark__geo__v1__position__init(position);
    position->entity_id = wm_arena_strdup(arena, entity_id);
    position->time = geo_time_write(arena, fix->time_us);
    position->lon_deg = fix->lon_deg;
    position->lat_deg = fix->lat_deg;
    position->alt_m = optional_write(arena, fix->alt_m);
    position->speed_mps = optional_write(arena, fix->speed_mps);
    position->heading_deg = optional_write(arena, fix->heading_deg);
    return position;
}
