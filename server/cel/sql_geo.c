/* cel/sql_geo.c - areas, distances and weekly calendars in SQL.
 *
 * A polygon is decided by ST_Disjoint(), which asks GEOS, as geo.within() does; PostGIS's own
 * point-in-polygon, behind ST_Covers() and ST_Intersects(), rounds differently near a border. The
 * comparison of boxes in front of it is what an index answers.
 *
 * PostGIS rounds distances to nanometres, so a circle is asked for with a margin: SQL finds the
 * candidates, and the residual decides.
 *
 * A calendar is decided where the zone is fixed. Another database's idea of "Europe/Paris" may be
 * older than ours.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "server/cel/area.h"
#include "server/cel/sql_internal.h"
#include "server/cel/time.h"
#include "server/cel/weekly.h"

#define MARGIN_M 0.01
#define MARGIN_RATIO 1e-9

static const char *double_text(cel_sql_writer *w, double real)
{
    char text[40];

    snprintf(text, sizeof text, "%.17g", real);
    return cel_sql_text(w, "%s::float8", cel_sql_param(w, text, strlen(text)));
}

static const char *geography(cel_sql_writer *w, cel_point point)
{
    return cel_sql_text(w, "ST_SetSRID(ST_MakePoint(%s, %s), 4326)::geography",
                        double_text(w, point.lon_deg), double_text(w, point.lat_deg));
}

/* Whether a column is nearer to a point than `radius_m`, or not: with a margin for either. */
static cel_sql_cond near(cel_sql_writer *w, const char *column, cel_point point, double radius_m,
                         bool wanted)
{
    double margin_m = MARGIN_M + radius_m * MARGIN_RATIO;
    const char *place = geography(w, point);
    const char *sql;

    /* Not even farther than nothing: everything may be. */
    if (!wanted && radius_m <= margin_m)
        return (cel_sql_cond){cel_sql_text(w, "%s IS NOT NULL", column), false};
    if (wanted && radius_m < 0)
        return cel_sql_exact(cel_sql_no);
    sql = cel_sql_text(w, "%sST_DWithin(%s::geography, %s, %s)", wanted ? "" : "NOT ", column,
                       place, double_text(w, wanted ? radius_m + margin_m : radius_m - margin_m));
    return (cel_sql_cond){sql, false};
}

static cel_sql_cond in_polygon(cel_sql_writer *w, const char *column, cel_area *area, bool wanted)
{
    size_t len = 0;
    const char *hex = cel_area_hex(area, w->arena, &len), *shape;

    if (!hex || len > CEL_SQL_SIZE_MAX)
        return cel_sql_unsure();
    shape = cel_sql_text(w, "%s::geometry", cel_sql_param(w, hex, len));
    if (wanted)
        return cel_sql_exact(cel_sql_text(w, "(%s && %s AND NOT ST_Disjoint(%s, %s))", column,
                                          shape, shape, column));
    return cel_sql_exact(cel_sql_text(w, "ST_Disjoint(%s, %s)", shape, column));
}

cel_sql_cond cel_sql_within(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    cel_sql_scalar place = cel_sql_scalar_of(w, code->args[0]);
    cel_area *area = code->prepared;
    cel_point centre;
    double radius_m;

    if (place.kind != SQL_POINT || !area)
        return cel_sql_unsure();
    if (cel_area_circle(area, &centre, &radius_m))
        return near(w, place.sql, centre, radius_m, wanted);
    return in_polygon(w, place.sql, area, wanted);
}

/* A call of geo.distance_m() with a column and a constant. */
static bool distance_of(cel_sql_writer *w, const cel_code *code, const char **column,
                        cel_point *point)
{
    char why[CEL_WHY_SIZE];

    if (code->run != cel_run_call || code->n_overloads == 0 ||
        strcmp(code->overloads[0]->name, "geo.distance_m") != 0)
        return false;
    for (int i = 0; i < 2; i++) {
        cel_sql_scalar place = cel_sql_scalar_of(w, code->args[i]);
        const cel_code *other = code->args[1 - i];

        *column = place.sql;
        if (place.kind == SQL_POINT && other->run == cel_run_const)
            return cel_point_read(w->arena, &other->value, point, why);
    }
    return false;
}

static bool number_of(const cel_code *code, double *number)
{
    if (code->run != cel_run_const)
        return false;
    if (code->value.kind == CEL_DOUBLE)
        *number = code->value.as.real;
    else if (code->value.kind == CEL_INT)
        *number = (double)code->value.as.integer;
    else
        return false;
    return isfinite(*number);
}

bool cel_sql_distance(cel_sql_writer *w, const cel_code *code, bool wanted, cel_sql_cond *cond)
{
    bool less = code->ast->code == OP_LT || code->ast->code == OP_LE;
    const char *column;
    cel_point point;
    double radius_m;

    if (distance_of(w, code->args[0], &column, &point) && number_of(code->args[1], &radius_m))
        *cond = near(w, column, point, radius_m, less == wanted);
    else if (distance_of(w, code->args[1], &column, &point) && number_of(code->args[0], &radius_m))
        *cond = near(w, column, point, radius_m, less != wanted);
    else
        return false;
    return true;
}

/* ---- calendars ---- */

/* An offset that no database knows better: "UTC", "+05:30". */
static bool fixed_offset(const cel_value *zone, int32_t *offset)
{
    bool utc = zone->len == 3 && memcmp(zone->as.text, "UTC", 3) == 0;
    bool digits = zone->len > 0 && !memchr(zone->as.text, '/', zone->len);

    *offset = 0;
    for (uint32_t i = 0; i < zone->len; i++)
        digits = digits && strchr("+-:0123456789", zone->as.text[i]);
    return utc || zone->len == 0 ||
           (digits && cel_zone_offset(zone->as.text, zone->len, 0, offset));
}

/* "m >= 480 AND m < 1080 OR ..." */
static void put_spans(wm_buf *buf, const cel_weekly *weekly)
{
    int from = 0;

    wm_buf_text(buf, "FALSE");
    while (from < CEL_WEEK_MINUTES) {
        int to = from;

        while (to < CEL_WEEK_MINUTES && cel_weekly_has(weekly, to))
            to++;
        if (to > from)
            wm_buf_printf(buf, " OR m >= %d AND m < %d", from, to);
        from = to + 1;
    }
}

cel_sql_cond cel_sql_weekly(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    cel_sql_scalar time = cel_sql_scalar_of(w, code->args[0]);
    const cel_code *zone = code->args[2];
    const char *local, *sql;
    int32_t offset;
    wm_buf buf;

    if (time.kind != SQL_TIME || !code->prepared || zone->run != cel_run_const ||
        zone->value.kind != CEL_STRING || !fixed_offset(&zone->value, &offset))
        return cel_sql_unsure();
    wm_buf_init(&buf, CEL_SQL_SIZE_MAX);
    put_spans(&buf, code->prepared);
    local =
        cel_sql_text(w, "(%s AT TIME ZONE 'UTC' + interval '%d seconds')", time.sql, (int)offset);
    sql = cel_sql_text(w,
                       "(SELECT %s(%s) FROM (SELECT ((extract(isodow FROM %s) - 1) * 1440 +"
                       " extract(hour FROM %s) * 60 + extract(minute FROM %s))::int AS m) AS week"
                       " WHERE m IS NOT NULL)",
                       wanted ? "" : "NOT ", buf.data, local, local, local);
    wm_buf_free(&buf);
    return cel_sql_exact(sql);
}
