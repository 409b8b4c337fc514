/* cel/sql_compare.c - comparisons and membership in SQL, where CEL and SQL do not agree:
 *
 * - Equality of different types is false in CEL, not an error; equality is an error only when a
 *   side is. So "not equal" is: both are there, and "equal" is not true.
 * - Order of different types is an error, so neither true nor false.
 * - NaN is equal to nothing and has no order; in PostgreSQL it is equal to itself and the greatest.
 * - An int that meets a double is compared as one. Texts have the order of their bytes.
 * - CEL counts nanoseconds, PostgreSQL microseconds.
 */
#include <math.h>
#include <string.h>

#include "server/cel/sql_internal.h"

static bool is_number(const cel_sql_scalar *s)
{
    uint32_t kind = s->kind == SQL_CONST ? s->value->kind : CEL_NULL;

    return s->kind == SQL_INT || s->kind == SQL_FLOAT || kind == CEL_INT || kind == CEL_UINT ||
           kind == CEL_DOUBLE;
}

static bool is_integer(const cel_sql_scalar *s)
{
    uint32_t kind = s->kind == SQL_CONST ? s->value->kind : CEL_NULL;

    return s->kind == SQL_INT || kind == CEL_INT || kind == CEL_UINT;
}

static bool is_const(const cel_sql_scalar *s, uint32_t kind)
{
    return s->kind == SQL_CONST && s->value->kind == kind;
}

/* As which type two values that are no numbers are compared; SQL_NONE: they have none in common. */
static cel_sql_kind kind_of(const cel_sql_scalar *s)
{
    if (s->kind != SQL_CONST)
        return s->kind;
    switch (s->value->kind) {
    case CEL_STRING:
        return SQL_TEXT;
    case CEL_BOOL:
        return SQL_BOOL;
    case CEL_TIMESTAMP:
        return SQL_TIME;
    default:
        return SQL_NONE;
    }
}

static cel_sql_kind common_kind(const cel_sql_scalar *a, const cel_sql_scalar *b)
{
    if (is_number(a) || is_number(b))
        return is_integer(a) && is_integer(b) ? SQL_INT : SQL_FLOAT;
    return kind_of(a) == SQL_JSON ? kind_of(b) : kind_of(a);
}

/* Whether SQL has no say: unknown values, two documents, what only cel_eval() can compare. */
static bool is_beyond(const cel_sql_scalar *a, const cel_sql_scalar *b)
{
    if (a->kind == SQL_NONE || a->kind == SQL_POINT || a->kind == SQL_TEXTS)
        return true;
    if (a->kind == SQL_CONST && (b->kind == SQL_CONST || a->value->kind == CEL_LIST ||
                                 a->value->kind == CEL_MAP || a->value->kind == CEL_OPTIONAL))
        return true;
    if (is_const(a, CEL_DOUBLE) && isnan(a->value->as.real))
        return true;
    if (is_const(a, CEL_STRING) && memchr(a->value->as.text, 0, a->value->len))
        return true;
    return a->kind == SQL_JSON && (b->kind == SQL_JSON || b->null_is_null);
}

/* Whether PostgreSQL's values may hold a NaN. */
static bool may_be_nan(const cel_sql_scalar *s)
{
    return s->kind == SQL_FLOAT;
}

static const char *not_nan(cel_sql_writer *w, const cel_sql_scalar *s)
{
    return may_be_nan(s) ? cel_sql_text(w, " AND %s <> 'NaN'", s->sql) : "";
}

static const char *or_nan(cel_sql_writer *w, const cel_sql_scalar *s)
{
    return may_be_nan(s) ? cel_sql_text(w, " OR %s = 'NaN'", s->sql) : "";
}

/* Columns may be of different collations, which do not compare; beside a constant a column keeps
 * its own, and its index. */
static const char *collated(cel_sql_writer *w, const cel_sql_scalar *a, const cel_sql_scalar *b,
                            const char *text)
{
    if (a->kind == SQL_CONST || b->kind == SQL_CONST)
        return text;
    return cel_sql_text(w, "%s COLLATE \"C\"", text);
}

/* ---- equality ---- */

static bool is_finer(const cel_sql_scalar *s)
{
    return is_const(s, CEL_TIMESTAMP) && s->value->len % 1000 != 0;
}

static cel_sql_cond equals_null(cel_sql_writer *w, const cel_sql_scalar *s)
{
    if (s->kind == SQL_JSON)
        return cel_sql_exact(cel_sql_text(w, "%s = 'null'::jsonb", s->sql));
    if (s->null_is_null)
        return cel_sql_exact(cel_sql_text(w, "%s IS NULL", s->sql));
    return cel_sql_exact(cel_sql_no);
}

/* When two values are equal. */
static cel_sql_cond equals(cel_sql_writer *w, const cel_sql_scalar *a, const cel_sql_scalar *b)
{
    cel_sql_kind kind = common_kind(a, b);
    const char *left, *right;
    cel_sql_cond same;

    if (is_const(b, CEL_NULL))
        return equals_null(w, a);
    if (is_const(a, CEL_NULL))
        return equals_null(w, b);
    left = kind == SQL_NONE ? NULL : cel_sql_as(w, a, kind);
    right = kind == SQL_NONE ? NULL : cel_sql_as(w, b, kind);
    if (!left || !right || is_finer(a) || is_finer(b))
        same = cel_sql_exact(cel_sql_no);
    else if (kind == SQL_TEXT)
        same = cel_sql_exact(cel_sql_text(w, "(%s = %s)", left, collated(w, a, b, right)));
    else
        same = cel_sql_exact(cel_sql_text(w, "(%s = %s%s%s)", left, right, not_nan(w, a),
                                          may_be_nan(a) ? "" : not_nan(w, b)));
    if (a->null_is_null && b->null_is_null)
        same = cel_sql_either(
            w, same, cel_sql_exact(cel_sql_text(w, "(%s IS NULL AND %s IS NULL)", a->sql, b->sql)));
    return same;
}

static cel_sql_cond differs(cel_sql_writer *w, const cel_sql_scalar *a, const cel_sql_scalar *b,
                            cel_sql_cond same)
{
    cel_sql_cond there = cel_sql_both(w, cel_sql_present(w, a), cel_sql_present(w, b));

    if (same.sql == cel_sql_no)
        return there;
    return cel_sql_both(w, there, cel_sql_exact(cel_sql_text(w, "(%s) IS NOT TRUE", same.sql)));
}

cel_sql_cond cel_sql_equal(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    cel_sql_scalar a = cel_sql_scalar_of(w, code->args[0]), b = cel_sql_scalar_of(w, code->args[1]);
    bool equal = (code->run == cel_run_ops[OP_EQ]) == wanted;
    cel_sql_cond same;

    if (is_beyond(&a, &b) || is_beyond(&b, &a))
        return cel_sql_unsure();
    same = equals(w, &a, &b);
    if (!equal)
        return differs(w, &a, &b, same);
    /* What has nothing in common with the other may still be an error: then it is not equal. */
    return same;
}

/* ---- order ---- */

/* The operator in the text, turned round when the result is to be false. */
static cel_op order_of(const cel_code *code, bool wanted)
{
    static const cel_op opposite[] = {
        [OP_LT] = OP_GE, [OP_LE] = OP_GT, [OP_GT] = OP_LE, [OP_GE] = OP_LT};
    cel_op op = (cel_op)code->ast->code;

    return wanted ? op : opposite[op];
}

/* With a constant between two microseconds, which was cut: nothing is equal to it. */
static cel_op order_finer(cel_op op, bool const_right)
{
    bool less = op == OP_LT || op == OP_LE;

    if (const_right)
        return less ? OP_LE : OP_GT;
    return less ? OP_LT : OP_GE;
}

cel_sql_cond cel_sql_order(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    static const char *const symbols[] = {
        [OP_LT] = "<", [OP_LE] = "<=", [OP_GT] = ">", [OP_GE] = ">="};
    cel_sql_scalar a = cel_sql_scalar_of(w, code->args[0]), b = cel_sql_scalar_of(w, code->args[1]);
    cel_op op = order_of(code, wanted);
    const char *left, *right;
    cel_sql_kind kind;

    if (is_beyond(&a, &b) || is_beyond(&b, &a))
        return cel_sql_unsure();
    kind = common_kind(&a, &b);
    left = kind == SQL_NONE ? NULL : cel_sql_as(w, &a, kind);
    right = kind == SQL_NONE ? NULL : cel_sql_as(w, &b, kind);
    if (!left || !right)
        return cel_sql_exact(cel_sql_no);
    if (is_finer(&a) || is_finer(&b))
        op = order_finer(op, is_finer(&b));
    if (kind == SQL_TEXT)
        left = cel_sql_text(w, "%s COLLATE \"C\"", left);
    if (wanted)
        return cel_sql_exact(cel_sql_text(w, "(%s %s %s%s%s)", left, symbols[op], right,
                                          not_nan(w, &a), not_nan(w, &b)));
    if (!may_be_nan(&a) && !may_be_nan(&b))
        return cel_sql_exact(cel_sql_text(w, "(%s %s %s)", left, symbols[op], right));
    /* NaN gives false, but not beside a null. */
    return cel_sql_exact(cel_sql_text(w, "(%s IS NOT NULL AND %s IS NOT NULL AND (%s %s %s%s%s))",
                                      left, right, left, symbols[op], right, or_nan(w, &a),
                                      or_nan(w, &b)));
}

/* ---- in ---- */

/* An array literal of PostgreSQL, of those elements that are of the kind. */
typedef struct array {
    wm_buf buf;
    size_t n;
} array;

static void array_add_text(array *array, const cel_value *value)
{
    wm_buf_text(&array->buf, array->n++ > 0 ? ",\"" : "\"");
    for (uint32_t i = 0; i < value->len; i++) {
        if (value->as.text[i] == '"' || value->as.text[i] == '\\')
            wm_buf_char(&array->buf, '\\');
        wm_buf_char(&array->buf, value->as.text[i]);
    }
    wm_buf_char(&array->buf, '"');
}

static void array_add_number(array *array, const cel_value *value)
{
    double real = value->kind == CEL_INT    ? (double)value->as.integer
                  : value->kind == CEL_UINT ? (double)value->as.natural
                                            : value->as.real;

    if (isnan(real))
        return; /* equal to nothing */
    wm_buf_text(&array->buf, array->n++ > 0 ? "," : "");
    if (value->kind == CEL_INT)
        wm_buf_printf(&array->buf, "%lld", (long long)value->as.integer);
    else if (isinf(real))
        wm_buf_text(&array->buf, real < 0 ? "-Infinity" : "Infinity");
    else
        wm_buf_printf(&array->buf, "%.17g", real);
}

/* s = ANY(array); never when the array is empty. Frees it. */
static cel_sql_cond array_any(cel_sql_writer *w, array *array, const char *s, const char *type)
{
    cel_sql_cond any = cel_sql_exact(cel_sql_no);

    wm_buf_char(&array->buf, '}');
    if (array->buf.failed)
        any = cel_sql_unsure();
    else if (array->n > 0 && s)
        any = cel_sql_exact(cel_sql_text(w, "%s = ANY(%s::%s[])", s,
                                         cel_sql_param(w, array->buf.data, array->buf.size), type));
    wm_buf_free(&array->buf);
    return any;
}

static void array_init(array *array)
{
    array->n = 0;
    wm_buf_init(&array->buf, CEL_SQL_SIZE_MAX);
    wm_buf_char(&array->buf, '{');
}

/* Whether a double can be this key of a map: it finds the number that it is, to the last digit. In
 * a list it finds what is equal, and that is told in doubles. */
static bool is_double(const cel_value *key)
{
    if (key->kind == CEL_INT)
        return (__int128)(double)key->as.integer == key->as.integer;
    if (key->kind == CEL_UINT)
        return (unsigned __int128)(double)key->as.natural == key->as.natural;
    return true;
}

/* Texts as one array; numbers as another, if one type does for them; the rest one by one. The items
 * are the keys of a map when something lies between them. */
static cel_sql_cond in_items(cel_sql_writer *w, const cel_sql_scalar *s, const cel_value *items,
                             size_t n, size_t stride)
{
    cel_sql_kind kind = s->kind == SQL_INT ? SQL_INT : SQL_FLOAT;
    cel_sql_cond any = cel_sql_exact(cel_sql_no);
    array texts, numbers;

    array_init(&texts);
    array_init(&numbers);
    for (size_t i = 0; i < n; i++) {
        const cel_value *item = &items[i * stride];
        cel_sql_scalar other = {.kind = SQL_CONST, .value = item};

        if (stride != 1 && s->kind != SQL_INT && !is_double(item))
            continue;
        if (item->kind == CEL_STRING) {
            /* No text of PostgreSQL holds a NUL. */
            if (!memchr(item->as.text, 0, item->len))
                array_add_text(&texts, item);
        } else if (s->kind == SQL_INT ? item->kind == CEL_INT : is_number(&other)) {
            array_add_number(&numbers, item);
        } else if (item->kind == CEL_DOUBLE && isnan(item->as.real)) {
            continue;
        } else if (is_beyond(&other, s)) {
            any = cel_sql_unsure();
        } else {
            any = cel_sql_either(w, any, equals(w, s, &other));
        }
    }
    any = cel_sql_either(w, any, array_any(w, &texts, cel_sql_as(w, s, SQL_TEXT), "text"));
    any = cel_sql_either(
        w, any,
        array_any(w, &numbers, cel_sql_as(w, s, kind), s->kind == SQL_INT ? "int8" : "float8"));
    return any;
}

static cel_sql_cond in_const(cel_sql_writer *w, const cel_sql_scalar *s, const cel_value *of,
                             bool wanted)
{
    const cel_entry *entries = of->kind == CEL_MAP ? cel_map_entries(of->as.map, w->arena) : NULL;
    size_t n = of->kind == CEL_MAP ? of->as.map->len : of->as.list->len;
    cel_sql_cond any;

    if (n > CEL_SQL_LIST_MAX || is_beyond(s, s) != (s->kind == SQL_JSON))
        return cel_sql_unsure();
    /* NaN is equal to nothing, but in PostgreSQL to itself: there is none in the arrays. */
    any = entries ? in_items(w, s, &entries->key, n, sizeof *entries / sizeof entries->key)
                  : in_items(w, s, of->kind == CEL_MAP ? NULL : of->as.list->items, n, 1);
    if (wanted || !any.exact)
        return any.exact ? any : cel_sql_unsure();
    return any.sql == cel_sql_no
               ? cel_sql_present(w, s)
               : cel_sql_both(w, cel_sql_present(w, s),
                              cel_sql_exact(cel_sql_text(w, "(%s) IS NOT TRUE", any.sql)));
}

/* In a column that holds a list or a map. */
static cel_sql_cond in_column(cel_sql_writer *w, const cel_sql_scalar *s, const cel_sql_scalar *of,
                              bool wanted)
{
    bool text = s->kind == SQL_TEXT || is_const(s, CEL_STRING);
    const char *key = text && !s->null_is_null ? cel_sql_as(w, s, SQL_TEXT) : NULL;
    const char *found;

    if (!key)
        return cel_sql_unsure();
    if (of->kind == SQL_JSON) {
        return cel_sql_exact(
            cel_sql_text(w, "(jsonb_typeof(%s) IN ('array', 'object') AND %s(%s ? %s))", of->sql,
                         wanted ? "" : "NOT ", of->sql, key));
    }
    if (of->kind != SQL_TEXTS)
        return cel_sql_unsure();
    found = cel_sql_text(w, "%s @> ARRAY[%s]", of->sql, collated(w, s, of, key));
    if (wanted)
        return cel_sql_exact(cel_sql_text(w, "(%s)", found));
    return cel_sql_exact(cel_sql_text(w, "(%s IS NOT NULL AND NOT (%s))", key, found));
}

cel_sql_cond cel_sql_in(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    cel_sql_scalar s = cel_sql_scalar_of(w, code->args[0]), of;

    if (s.kind == SQL_NONE)
        return cel_sql_unsure();
    of = cel_sql_scalar_of(w, code->args[1]);
    if (of.kind != SQL_CONST)
        return in_column(w, &s, &of, wanted);
    if (s.kind == SQL_CONST || (of.value->kind != CEL_LIST && of.value->kind != CEL_MAP))
        return cel_sql_unsure();
    return in_const(w, &s, of.value, wanted);
}
