/* cel/sql_scalar.c - values in SQL: columns, paths into jsonb, sizes, constants.
 *
 * Nothing here may raise an error on any row: PostgreSQL evaluates conditions in the order that it
 * likes. So values of jsonb are looked at behind a CASE on their type.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "server/cel/sql_internal.h"

/* ---- columns ---- */

/* How many steps the column's path has when it leads into (or is) the path; SIZE_MAX if not. */
static size_t steps_of(const cel_sql_column *column, const cel_path *path)
{
    const char *at = column->path ? column->path : "";
    size_t n = 0;

    if (column->place != path->variable->place)
        return SIZE_MAX;
    for (; *at; n++) {
        size_t len = strcspn(at, ".");

        if (n == path->n || path->steps[n].len != len || memcmp(path->steps[n].name, at, len) != 0)
            return SIZE_MAX;
        at += len + (at[len] == '.');
    }
    return n;
}

/* The column that leads furthest along the path. */
static const cel_sql_column *column_of(const cel_sql_writer *w, const cel_path *path, size_t *steps)
{
    const cel_sql_column *best = NULL;

    for (size_t i = 0; i < w->n_columns; i++) {
        size_t n = steps_of(&w->columns[i], path);

        if (n != SIZE_MAX && (!best || n > *steps)) {
            best = &w->columns[i];
            *steps = n;
        }
    }
    return best;
}

static cel_sql_scalar column_scalar(cel_sql_writer *w, const cel_sql_column *column)
{
    static const cel_sql_kind kinds[] = {
        [CEL_SQL_TEXT] = SQL_TEXT, [CEL_SQL_INT] = SQL_INT,     [CEL_SQL_FLOAT] = SQL_FLOAT,
        [CEL_SQL_BOOL] = SQL_BOOL, [CEL_SQL_TIME] = SQL_TIME,   [CEL_SQL_TEXTS] = SQL_TEXTS,
        [CEL_SQL_JSON] = SQL_JSON, [CEL_SQL_POINT] = SQL_POINT,
    };
    cel_sql_scalar scalar = {.kind = kinds[column->type],
                             .nullable = column->null == CEL_SQL_NULL_MISSING,
                             .null_is_null = column->null == CEL_SQL_NULL_NULL};

    scalar.sql = cel_sql_text(w, "(%s)", column->sql);
    if (scalar.kind == SQL_JSON && scalar.null_is_null) {
        scalar.sql = cel_sql_text(w, "coalesce((%s), 'null'::jsonb)", column->sql);
        scalar.null_is_null = false;
    }
    return scalar;
}

/* lon_deg or lat_deg of a point. */
static cel_sql_scalar part_scalar(cel_sql_writer *w, const cel_sql_scalar *place, const char *name,
                                  size_t len)
{
    bool lon = len == 7 && memcmp(name, "lon_deg", 7) == 0;
    bool lat = len == 7 && memcmp(name, "lat_deg", 7) == 0;

    if (place->kind != SQL_POINT || (!lon && !lat))
        return (cel_sql_scalar){.kind = SQL_NONE};
    return (cel_sql_scalar){.kind = SQL_FLOAT,
                            .sql = cel_sql_text(w, "%s(%s)", lon ? "ST_X" : "ST_Y", place->sql),
                            .nullable = true};
}

static cel_sql_scalar path_scalar(cel_sql_writer *w, const cel_path *path)
{
    cel_sql_scalar scalar = {.kind = SQL_NONE};
    size_t steps = 0;
    const cel_sql_column *column = path->optional ? NULL : column_of(w, path, &steps);

    if (!column)
        return scalar;
    scalar = column_scalar(w, column);
    if (steps + 1 == path->n && column->type != CEL_SQL_JSON)
        return part_scalar(w, &scalar, path->steps[steps].name, path->steps[steps].len);
    if (steps < path->n && column->type != CEL_SQL_JSON)
        return (cel_sql_scalar){.kind = SQL_NONE};
    for (; steps < path->n; steps++) {
        const char *key = cel_sql_param(w, path->steps[steps].name, path->steps[steps].len);

        if (!key)
            return (cel_sql_scalar){.kind = SQL_NONE};
        scalar.sql = cel_sql_text(w, "(%s -> %s)", scalar.sql, key);
        scalar.nullable = true;
    }
    return scalar;
}

/* ---- size() ---- */

static cel_sql_scalar size_scalar(cel_sql_writer *w, const cel_code *arg)
{
    cel_sql_scalar of = cel_sql_scalar_of(w, arg), size = {.kind = SQL_INT, .nullable = true};
    const char *j = of.sql;

    switch (of.kind) {
    case SQL_TEXT:
        size.sql = cel_sql_text(w, "char_length(%s)::int8", of.sql);
        return size;
    case SQL_TEXTS:
        size.sql = cel_sql_text(w, "cardinality(%s)::int8", of.sql);
        return size;
    case SQL_JSON:
        size.sql = cel_sql_text(w,
                                "(CASE jsonb_typeof(%s) WHEN 'string' THEN char_length(%s #>> '{}')"
                                " WHEN 'array' THEN jsonb_array_length(%s) WHEN 'object' THEN"
                                " (SELECT count(*) FROM jsonb_object_keys(%s)) END)::int8",
                                j, j, j, j);
        return size;
    default:
        return (cel_sql_scalar){.kind = SQL_NONE};
    }
}

static bool is_call(const cel_code *code, const char *name)
{
    return code->run == cel_run_call && code->n_overloads > 0 &&
           strcmp(code->overloads[0]->name, name) == 0;
}

cel_sql_scalar cel_sql_scalar_of(cel_sql_writer *w, const cel_code *code)
{
    cel_path path;

    if (code->run == cel_run_const)
        return (cel_sql_scalar){.kind = SQL_CONST, .value = &code->value};
    if (cel_path_of(code, &path))
        return path_scalar(w, &path);
    if (is_call(code, "size") && code->n == 1)
        return size_scalar(w, code->args[0]);
    if (is_call(code, "dyn") && code->n == 1)
        return cel_sql_scalar_of(w, code->args[0]);
    return (cel_sql_scalar){.kind = SQL_NONE};
}

/* ---- values of a kind ---- */

/* A number of jsonb as the double that it is for cel_json_view(), which rounds as strtod() does.
 * The cast refuses what becomes infinity, from half a step above the greatest double on, or zero,
 * from half the least one down; both bounds are exact in numeric, and what is too large to be
 * multiplied is gone by then. */
static const char *json_number(cel_sql_writer *w, const char *j)
{
    return cel_sql_text(w,
                        "(CASE WHEN jsonb_typeof(%s) = 'number' THEN (CASE"
                        " WHEN abs((%s)::numeric) >= 2::numeric ^ 1024 - 2::numeric ^ 970"
                        " THEN sign((%s)::numeric)::float8 * 'Infinity'::float8"
                        " WHEN abs((%s)::numeric) * 2::numeric ^ 1075 <= 1 THEN 0::float8"
                        " ELSE (%s)::float8 END) END)",
                        j, j, j, j, j);
}

static const char *json_as(cel_sql_writer *w, const char *j, cel_sql_kind kind)
{
    switch (kind) {
    case SQL_TEXT:
        return cel_sql_text(w, "(CASE WHEN jsonb_typeof(%s) = 'string' THEN %s #>> '{}' END)", j,
                            j);
    case SQL_FLOAT:
        return json_number(w, j);
    case SQL_BOOL:
        return cel_sql_text(w, "(CASE WHEN jsonb_typeof(%s) = 'boolean' THEN (%s)::bool END)", j,
                            j);
    default:
        return NULL;
    }
}

static const char *number_param(cel_sql_writer *w, const char *text, const char *type)
{
    return cel_sql_text(w, "%s::%s", cel_sql_param(w, text, strlen(text)), type);
}

static const char *const_double(cel_sql_writer *w, double real)
{
    char text[40];

    if (isinf(real))
        snprintf(text, sizeof text, "%sInfinity", real < 0 ? "-" : "");
    else
        snprintf(text, sizeof text, "%.17g", real);
    return number_param(w, text, "float8");
}

/* Microseconds: what is finer was cut, see cel_sql_order(). */
static const char *const_time(cel_sql_writer *w, const cel_value *value)
{
    cel_value cut = cel_of_timestamp(value->as.integer, value->len / 1000 * 1000);
    char text[48];

    cel_timestamp_text(&cut, text);
    return number_param(w, text, "timestamptz");
}

static const char *const_number(cel_sql_writer *w, const cel_value *value, cel_sql_kind kind)
{
    char text[40];

    if (kind == SQL_FLOAT)
        return const_double(w, value->kind == CEL_INT    ? (double)value->as.integer
                               : value->kind == CEL_UINT ? (double)value->as.natural
                                                         : value->as.real);
    if (value->kind == CEL_UINT) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)value->as.natural);
        return number_param(w, text, value->as.natural > INT64_MAX ? "numeric" : "int8");
    }
    snprintf(text, sizeof text, "%lld", (long long)value->as.integer);
    return number_param(w, text, "int8");
}

static const char *const_as(cel_sql_writer *w, const cel_value *value, cel_sql_kind kind)
{
    switch (kind) {
    case SQL_TEXT:
        return value->kind == CEL_STRING ? cel_sql_param(w, value->as.text, value->len) : NULL;
    case SQL_INT:
        return value->kind == CEL_INT || value->kind == CEL_UINT ? const_number(w, value, kind)
                                                                 : NULL;
    case SQL_FLOAT:
        return value->kind == CEL_INT || value->kind == CEL_UINT || value->kind == CEL_DOUBLE
                   ? const_number(w, value, kind)
                   : NULL;
    case SQL_BOOL:
        if (value->kind != CEL_BOOL)
            return NULL;
        return value->as.boolean ? "TRUE" : "FALSE";
    case SQL_TIME:
        return value->kind == CEL_TIMESTAMP ? const_time(w, value) : NULL;
    default:
        return NULL;
    }
}

const char *cel_sql_as(cel_sql_writer *w, const cel_sql_scalar *scalar, cel_sql_kind kind)
{
    if (scalar->kind == SQL_CONST)
        return const_as(w, scalar->value, kind);
    if (scalar->kind == SQL_JSON)
        return json_as(w, scalar->sql, kind);
    if (scalar->kind == SQL_INT && kind == SQL_FLOAT)
        return cel_sql_text(w, "%s::float8", scalar->sql);
    return scalar->kind == kind ? scalar->sql : NULL;
}

cel_sql_cond cel_sql_present(cel_sql_writer *w, const cel_sql_scalar *scalar)
{
    if (scalar->kind == SQL_CONST || !scalar->nullable)
        return cel_sql_exact(cel_sql_yes);
    return cel_sql_exact(cel_sql_text(w, "%s IS NOT NULL", scalar->sql));
}

/* ---- has() ---- */

static cel_sql_cond has_column(cel_sql_writer *w, const cel_sql_column *column, bool wanted)
{
    if (column->null != CEL_SQL_NULL_MISSING)
        return cel_sql_exact(wanted ? cel_sql_yes : cel_sql_no);
    return cel_sql_exact(cel_sql_text(w, "(%s) IS %s", column->sql, wanted ? "NOT NULL" : "NULL"));
}

cel_sql_cond cel_sql_has(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    const cel_sql_column *column;
    cel_sql_scalar parent;
    const char *key;
    cel_path path;
    size_t steps = 0;

    if (!cel_path_of(code->args[0], &path) || path.optional ||
        !cel_path_add(&path, code->name, code->name_len))
        return cel_sql_unsure();
    column = column_of(w, &path, &steps);
    if (!column || (steps < path.n && column->type != CEL_SQL_JSON))
        return cel_sql_unsure();
    if (steps == path.n)
        return has_column(w, column, wanted);
    parent = cel_sql_scalar_of(w, code->args[0]);
    key = cel_sql_param(w, code->name, code->name_len);
    if (!key || parent.kind != SQL_JSON)
        return cel_sql_unsure();
    if (wanted)
        return cel_sql_exact(cel_sql_text(w, "(%s -> %s) IS NOT NULL", parent.sql, key));
    return cel_sql_exact(cel_sql_text(w, "(jsonb_typeof(%s) = 'object' AND (%s -> %s) IS NULL)",
                                      parent.sql, parent.sql, key));
}
