/* cel/sql.c - conditions as SQL; see sql.h.
 *
 * A condition of CEL is true, false or an error, and so a row is asked two questions: when is it
 * true, when is it false? Each has an answer in SQL of its own, built from those of the operands by
 * AND and OR alone; `!` swaps the two. SQL's own NOT stands only in front of what is
 * known to be there, so a null never turns into an admitted row.
 *
 * Where SQL cannot tell, the answer is "perhaps": TRUE, not exact. It makes what is above it
 * wider, never narrower. Of a && b && c, those that are exact are done; the others stay in the
 * residual.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/cel/sql_internal.h"

const char cel_sql_yes[] = "TRUE", cel_sql_no[] = "FALSE";

/* ---- texts ---- */

const char *cel_sql_text(cel_sql_writer *w, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    w->written += n > 0 ? (size_t)n : 0;
    if (n >= 0 && n <= CEL_SQL_SIZE_MAX && w->written <= CEL_SQL_WRITTEN_MAX && !w->full)
        text = wm_arena_alloc(w->arena, (size_t)n + 1);
    if (!text) {
        w->full = true;
        return cel_sql_yes;
    }
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}

/* A mark that finish() replaces: what is dropped on the way up takes no number. */
const char *cel_sql_param(cel_sql_writer *w, const char *text, size_t len)
{
    if (memchr(text, 0, len))
        return NULL;
    if (w->n_params == CEL_SQL_PARAMS_MAX) {
        w->full = true;
        return cel_sql_yes;
    }
    w->params[w->n_params] = wm_arena_strndup(w->arena, text, len);
    if (!w->params[w->n_params])
        w->full = true;
    return cel_sql_text(w, "\x01%zu\x02::text", w->n_params++);
}

static bool is_yes(cel_sql_cond cond)
{
    return cond.sql == cel_sql_yes;
}

static bool is_no(cel_sql_cond cond)
{
    return cond.sql == cel_sql_no;
}

cel_sql_cond cel_sql_both(cel_sql_writer *w, cel_sql_cond a, cel_sql_cond b)
{
    bool exact = a.exact && b.exact;

    if (is_no(a) || is_no(b))
        return cel_sql_exact(cel_sql_no);
    if (is_yes(a) || is_yes(b))
        return (cel_sql_cond){is_yes(a) ? b.sql : a.sql, exact};
    return (cel_sql_cond){cel_sql_text(w, "(%s AND %s)", a.sql, b.sql), exact};
}

cel_sql_cond cel_sql_either(cel_sql_writer *w, cel_sql_cond a, cel_sql_cond b)
{
    if (is_yes(a) || is_yes(b))
        return (cel_sql_cond){cel_sql_yes, (is_yes(a) && a.exact) || (is_yes(b) && b.exact)};
    if (is_no(a) || is_no(b))
        return is_no(a) ? b : a;
    return (cel_sql_cond){cel_sql_text(w, "(%s OR %s)", a.sql, b.sql), a.exact && b.exact};
}

/* ---- conditions ---- */

static cel_sql_cond cond_of(cel_sql_writer *w, const cel_code *code, bool wanted);

/* "(a AND b AND c)" of those that say something. */
static cel_sql_cond join(cel_sql_writer *w, const cel_sql_cond *all, uint32_t n, bool both)
{
    const char *neutral = both ? cel_sql_yes : cel_sql_no, *text;
    bool exact = true;
    size_t parts = 0;
    const char *last = neutral;
    wm_buf buf;

    wm_buf_init(&buf, CEL_SQL_SIZE_MAX);
    for (uint32_t i = 0; i < n; i++) {
        exact = exact && all[i].exact;
        if (all[i].sql == neutral)
            continue;
        wm_buf_text(&buf, parts++ == 0 ? "(" : both ? " AND " : " OR ");
        wm_buf_text(&buf, all[i].sql);
        last = all[i].sql;
    }
    text = parts <= 1 ? last : cel_sql_text(w, "%s)", buf.failed ? "" : buf.data);
    w->full |= buf.failed;
    wm_buf_free(&buf);
    return (cel_sql_cond){text, exact};
}

/* `op`, or its opposite, over all operands: a && b is false when a is or b is. */
static cel_sql_cond cond_logic(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    bool both = (code->run == cel_run_ops[OP_AND]) == wanted;
    const char *decides = both ? cel_sql_no : cel_sql_yes;
    cel_sql_cond *all = WM_NEW_ARRAY(w->arena, cel_sql_cond, code->n);
    bool decided = false, exact = false;

    if (!all) {
        w->full = true;
        return cel_sql_unsure();
    }
    for (uint32_t i = 0; i < code->n; i++) {
        all[i] = cond_of(w, code->args[i], wanted);
        decided |= all[i].sql == decides;
        exact |= all[i].sql == decides && all[i].exact;
    }
    if (decided || w->full)
        return w->full ? cel_sql_unsure() : (cel_sql_cond){decides, exact};
    return join(w, all, code->n, both);
}

static cel_sql_cond cond_choice(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    cel_sql_cond yes =
        cel_sql_both(w, cond_of(w, code->args[0], true), cond_of(w, code->args[1], wanted));
    cel_sql_cond no =
        cel_sql_both(w, cond_of(w, code->args[0], false), cond_of(w, code->args[2], wanted));

    return cel_sql_either(w, yes, no);
}

/* A value that is used as a condition; one that is no bool is an error. */
static cel_sql_cond cond_value(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    cel_sql_scalar scalar = cel_sql_scalar_of(w, code);

    switch (scalar.kind) {
    case SQL_NONE:
        return cel_sql_unsure();
    case SQL_CONST:
        return cel_sql_exact(scalar.value->kind == CEL_BOOL && scalar.value->as.boolean == wanted
                                 ? cel_sql_yes
                                 : cel_sql_no);
    case SQL_BOOL:
        return cel_sql_exact(cel_sql_text(w, wanted ? "%s" : "NOT %s", scalar.sql));
    case SQL_JSON:
        return cel_sql_exact(
            cel_sql_text(w, "%s = '%s'::jsonb", scalar.sql, wanted ? "true" : "false"));
    default:
        return cel_sql_exact(cel_sql_no);
    }
}

/* ---- functions ---- */

static cel_sql_cond cond_text(cel_sql_writer *w, const cel_code *code, const char *format,
                              bool wanted)
{
    cel_sql_scalar a = cel_sql_scalar_of(w, code->args[0]), b = cel_sql_scalar_of(w, code->args[1]);
    const char *text, *part;

    if (a.kind == SQL_NONE || b.kind == SQL_NONE)
        return cel_sql_unsure();
    text = cel_sql_as(w, &a, SQL_TEXT);
    part = cel_sql_as(w, &b, SQL_TEXT);
    if (!text || !part)
        return cel_sql_unsure();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    return cel_sql_exact(
        cel_sql_text(w, wanted ? "%s" : "NOT %s", cel_sql_text(w, format, text, part, part)));
#pragma GCC diagnostic pop
}

static cel_sql_cond cond_call(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    const char *name = code->n_overloads > 0 ? code->overloads[0]->name : "";

    if (strcmp(name, "time.in_weekly") == 0)
        return cel_sql_weekly(w, code, wanted);
    if (code->n != 2)
        return cel_sql_unsure();
    if (strcmp(name, "geo.within") == 0)
        return cel_sql_within(w, code, wanted);
    if (strcmp(name, "startsWith") == 0)
        return cond_text(w, code, "starts_with(%s COLLATE \"C\", %s)", wanted);
    if (strcmp(name, "endsWith") == 0)
        return cond_text(w, code, "(right(%s, char_length(%s)) = %s COLLATE \"C\")", wanted);
    if (strcmp(name, "contains") == 0)
        return cond_text(w, code, "(strpos(%s COLLATE \"C\", %s) > 0)", wanted);
    return cel_sql_unsure();
}

static cel_sql_cond cond_op(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    cel_sql_cond cond;

    switch (code->ast->code) {
    case OP_AND:
    case OP_OR:
        return cond_logic(w, code, wanted);
    case OP_NOT:
        return cond_of(w, code->args[0], !wanted);
    case OP_COND:
        return cond_choice(w, code, wanted);
    case OP_EQ:
    case OP_NE:
        return cel_sql_equal(w, code, wanted);
    case OP_LT:
    case OP_LE:
    case OP_GT:
    case OP_GE:
        return cel_sql_distance(w, code, wanted, &cond) ? cond : cel_sql_order(w, code, wanted);
    case OP_IN:
        return cel_sql_in(w, code, wanted);
    default:
        return cond_value(w, code, wanted);
    }
}

/* When the condition is `wanted`, true or false. */
static cel_sql_cond cond_of(cel_sql_writer *w, const cel_code *code, bool wanted)
{
    if (w->full)
        return cel_sql_unsure();
    if (code->run == cel_run_const)
        return cond_value(w, code, wanted);
    if (code->run == cel_run_has)
        return cel_sql_has(w, code, wanted);
    if (code->run == cel_run_call) {
        cel_sql_scalar scalar = cel_sql_scalar_of(w, code);

        return scalar.kind == SQL_NONE ? cond_call(w, code, wanted) : cond_value(w, code, wanted);
    }
    return code->ast->kind == AST_OP ? cond_op(w, code, wanted) : cond_value(w, code, wanted);
}

/* ---- the whole ---- */

/* Numbers the parameters in the order of the text. */
static void finish(cel_sql_writer *w, const char *text, size_t first, cel_sql *sql)
{
    size_t *numbers = WM_NEW_ARRAY(w->arena, size_t, w->n_params + 1);
    const char **params = WM_NEW_ARRAY(w->arena, const char *, w->n_params + 1);
    wm_buf buf;

    if (!numbers || !params) {
        w->full = true;
        return;
    }
    memset(numbers, 0, (w->n_params + 1) * sizeof *numbers);
    wm_buf_init(&buf, 2 * CEL_SQL_SIZE_MAX);
    sql->n_params = 0;
    for (; *text; text++) {
        size_t i = 0;

        if (*text != '\x01') {
            wm_buf_char(&buf, *text);
            continue;
        }
        for (text++; *text != '\x02'; text++)
            i = i * 10 + (size_t)(*text - '0');
        if (numbers[i] == 0) {
            params[sql->n_params] = w->params[i];
            numbers[i] = ++sql->n_params;
        }
        wm_buf_printf(&buf, "$%zu", numbers[i] + first - 1);
    }
    sql->where = buf.failed ? NULL : wm_arena_strndup(w->arena, buf.data, buf.size);
    sql->params = params;
    w->full = !sql->where;
    wm_buf_free(&buf);
}

/* Of the operands of the && at the top (or of the one condition) each for itself: what one needs
 * too much room for does not spoil the others. */
static cel_sql_cond operand_of(cel_sql_writer *w, const cel_code *code)
{
    size_t n_params = w->n_params;
    cel_sql_cond cond;

    w->written = 0;
    cond = cond_of(w, code, true);
    if (!w->full)
        return cond;
    w->full = false;
    w->n_params = n_params;
    return cel_sql_unsure();
}

static wm_code make_residual(const cel_program *condition, const bool *kept, size_t n_kept,
                             wm_arena *arena, cel_sql *sql, wm_err *err)
{
    cel_call call = {.arena = arena, .limit = CEL_COST_MAX};

    if (n_kept == 0)
        return WM_OK;
    sql->residual = cel_program_some(condition, kept, &call);
    if (!sql->residual)
        return wm_fail(err, WM_EXHAUSTED, "CEL_SIZE", "the condition is too large");
    return WM_OK;
}

wm_code cel_sql_make(const cel_program *condition, const cel_sql_column *columns, size_t n_columns,
                     size_t first, wm_arena *arena, cel_sql *sql, wm_err *err)
{
    cel_sql_writer w = {.columns = columns, .n_columns = n_columns, .arena = arena};
    const cel_code *code = condition->code;
    bool several = code->run == cel_run_ops[OP_AND];
    uint32_t n = several ? code->n : 1;
    bool *kept = WM_NEW_ARRAY(arena, bool, n);
    cel_sql_cond all = cel_sql_exact(cel_sql_yes);
    size_t n_kept = 0;

    *sql = (cel_sql){.where = cel_sql_yes};
    w.params = WM_NEW_ARRAY(arena, const char *, CEL_SQL_PARAMS_MAX);
    if (!kept || !w.params)
        return wm_fail(err, WM_EXHAUSTED, "CEL_SIZE", "the condition is too large");
    for (uint32_t i = 0; i < n; i++) {
        cel_sql_cond cond = operand_of(&w, several ? code->args[i] : code);
        cel_sql_cond joined = cel_sql_both(&w, all, cond);

        kept[i] = !cond.exact || w.full;
        n_kept += kept[i];
        if (!w.full)
            all = joined;
        w.full = false;
    }
    finish(&w, all.sql, first, sql);
    if (w.full) { /* the residual decides alone */
        memset(kept, true, n * sizeof *kept);
        n_kept = n;
        *sql = (cel_sql){.where = cel_sql_yes};
    }
    return make_residual(condition, kept, n_kept, arena, sql, err);
}
