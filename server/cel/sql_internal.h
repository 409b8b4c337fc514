/* cel/sql_internal.h - what sql.c and its parts share. Private to cel/. */
#ifndef WAYMARK_SERVER_CEL_SQL_INTERNAL_H
#define WAYMARK_SERVER_CEL_SQL_INTERNAL_H

#include "server/cel/internal.h"
#include "server/cel/sql.h"

enum { CEL_SQL_WRITTEN_MAX = 16 * CEL_SQL_SIZE_MAX };

/* One translation. */
typedef struct cel_sql_writer {
    const cel_sql_column *columns;
    size_t n_columns;
    wm_arena *arena;
    const char **params; /* as they were asked for; numbered at the end, by those that are used */
    size_t n_params;
    size_t written; /* bytes, also of what was written over and over on the way up */
    bool full;
} cel_sql_writer;

/* A condition. When it is `exact` it is true for the very rows that are meant (else it is false or
 * null); when not, for more. Conditions are joined by AND and OR alone, so null is as good as
 * false. */
typedef struct cel_sql_cond {
    const char *sql;
    bool exact;
} cel_sql_cond;

extern const char cel_sql_yes[], cel_sql_no[]; /* told apart by address */

static inline cel_sql_cond cel_sql_exact(const char *sql)
{
    return (cel_sql_cond){sql, true};
}
/* Says nothing: SQL cannot tell. */
static inline cel_sql_cond cel_sql_unsure(void)
{
    return (cel_sql_cond){cel_sql_yes, false};
}

cel_sql_cond cel_sql_both(cel_sql_writer *w, cel_sql_cond a, cel_sql_cond b);
cel_sql_cond cel_sql_either(cel_sql_writer *w, cel_sql_cond a, cel_sql_cond b);

/* Text in the arena; cel_sql_yes, and `full`, when it is too large. */
const char *cel_sql_text(cel_sql_writer *w, const char *fmt, ...) WM_PRINTF(2, 3);
/* A parameter of a text, "$1::text"; NULL when the text cannot be one. */
const char *cel_sql_param(cel_sql_writer *w, const char *text, size_t len);

/* ---- sql_scalar.c ---- */

typedef enum cel_sql_kind {
    SQL_NONE, /* cannot be told in SQL */
    SQL_CONST,
    SQL_TEXT,
    SQL_INT,
    SQL_FLOAT,
    SQL_BOOL,
    SQL_TIME,
    SQL_TEXTS,
    SQL_JSON,
    SQL_POINT
} cel_sql_kind;

/* A value of a row, or a constant. SQL null stands for an error, or for null. */
typedef struct cel_sql_scalar {
    cel_sql_kind kind;
    const char *sql;
    bool nullable;          /* may be SQL null, which is an error */
    bool null_is_null;      /* may be SQL null, which is null */
    const cel_value *value; /* of a CONST */
} cel_sql_scalar;

cel_sql_scalar cel_sql_scalar_of(cel_sql_writer *w, const cel_code *code);
/* Its value as the type of another: NULL when it never has one of it. */
const char *cel_sql_as(cel_sql_writer *w, const cel_sql_scalar *scalar, cel_sql_kind kind);
/* That it is no error. */
cel_sql_cond cel_sql_present(cel_sql_writer *w, const cel_sql_scalar *scalar);
/* has(a.b.name). */
cel_sql_cond cel_sql_has(cel_sql_writer *w, const cel_code *code, bool wanted);

/* ---- sql_compare.c ---- */

/* == and !=, the orders, in: when the result is `wanted`. */
cel_sql_cond cel_sql_equal(cel_sql_writer *w, const cel_code *code, bool wanted);
cel_sql_cond cel_sql_order(cel_sql_writer *w, const cel_code *code, bool wanted);
cel_sql_cond cel_sql_in(cel_sql_writer *w, const cel_code *code, bool wanted);

/* ---- sql_geo.c ---- */

cel_sql_cond cel_sql_within(cel_sql_writer *w, const cel_code *code, bool wanted);
cel_sql_cond cel_sql_weekly(cel_sql_writer *w, const cel_code *code, bool wanted);
/* An order between geo.distance_m() and a number; false when it is something else. */
bool cel_sql_distance(cel_sql_writer *w, const cel_code *code, bool wanted, cel_sql_cond *cond);

#endif
