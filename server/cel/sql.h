/* cel/sql.h - what a condition means for the rows of a table, as a WHERE fragment.
 *
 * A residual (cel_eval_partial) over variables that stand for a row becomes SQL as far as that is
 * exact; what SQL cannot decide comes back as a residual for the rows that are left. A row is
 * admitted when the fragment and that residual, if any, are both true. Then, and only then,
 * cel_eval() over the row gives true: errors, missing attributes, null and NaN do not admit, under
 * a
 * `!` neither.
 *
 * Threads: pure functions.
 * Memory:  texts live in the arena; the residual is the caller's to free.
 * Failure: never; what is too large is left to the residual. WM_EXHAUSTED when the arena is full.
 */
#ifndef WAYMARK_SERVER_CEL_SQL_H
#define WAYMARK_SERVER_CEL_SQL_H

#include "server/cel/cel.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CEL_SQL_SIZE_MAX = 64 * 1024, /* bytes of a fragment */
    CEL_SQL_PARAMS_MAX = 1000,
    CEL_SQL_LIST_MAX = 1000 /* elements of a list that is searched */
};

/* A column's type, and the kind of value that its rows have for cel_eval(). */
typedef enum cel_sql_type {
    CEL_SQL_TEXT,  /* string; of any deterministic collation */
    CEL_SQL_INT,   /* int8: int */
    CEL_SQL_FLOAT, /* float8: double */
    CEL_SQL_BOOL,  /* bool */
    CEL_SQL_TIME,  /* timestamptz, years 1 to 9999: timestamp */
    CEL_SQL_TEXTS, /* text[] of one dimension: list of strings, of null where an element is null */
    CEL_SQL_JSON,  /* jsonb: as cel_json_view() has it */
    CEL_SQL_POINT  /* geometry(Point,4326): as geo.point() makes it */
} cel_sql_type;

/* What the SQL null of a column is for cel_eval(). */
typedef enum cel_sql_null {
    CEL_SQL_NOT_NULL,
    CEL_SQL_NULL_MISSING, /* no such key: has() is false, anything else an error */
    CEL_SQL_NULL_NULL     /* null */
} cel_sql_null;

/* An attribute that is a column. Whatever leads to it ("a" of "a.b") is always there. */
typedef struct cel_sql_column {
    size_t place;     /* of the variable */
    const char *path; /* names from it on, "owner", "a.b"; "" or NULL: the variable itself */
    const char *sql;  /* "t.owner": what stands for it, good inside brackets */
    cel_sql_type type;
    cel_sql_null null;
} cel_sql_column;

typedef struct cel_sql {
    const char *where; /* "TRUE" when nothing is decided here */
    size_t n_params;
    const char *const *params; /* all texts, "$n::text" in the fragment; never NULL */
    cel_program *residual;     /* NULL: the fragment decides alone */
} cel_sql;

/* `first`: the number of the first parameter, "$1" for 1. */
WM_MUST_USE wm_code cel_sql_make(const cel_program *condition, const cel_sql_column *columns,
                                 size_t n_columns, size_t first, wm_arena *arena, cel_sql *sql,
                                 wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
