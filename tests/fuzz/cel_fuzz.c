/* tests/fuzz/cel_fuzz.c - any text as an expression: parsed, checked, printed, evaluated, evaluated
 * in part, and put into SQL.
 *
 * Whatever compiles must print to a text that compiles and prints the same, and must evaluate
 * within its limits to the same value, checked or not. With some of the variables unknown, what
 * is left of it must give that value too, also when it is printed and compiled again. A trace
 * ends in that value. Where the value is true, what SQL leaves to be decided is true as well.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/cel/cel.h"
#include "server/cel/sql.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COST = 20000, ARENA = 8 * 1024 * 1024, VARIABLES = 5 };

static const char payload[] =
    "{\"name\":\"caf\\u00e9\",\"n\":3,\"list\":[1,\"two\",null,{\"a\":[]}],\"on\":true,\"deep\":{\"x\":{\"y\":0.5}}}";

static cel_env *env;

static void set_up(void)
{
    wm_err err;

    if (env)
        return;
    env = cel_env_new("a.b");
    if (cel_env_add(env, "data", "dyn", &err) != WM_OK ||
        cel_env_add(env, "i", "int", &err) != WM_OK ||
        cel_env_add(env, "s", "string", &err) != WM_OK ||
        cel_env_add(env, "a.b.list", "list(int)", &err) != WM_OK ||
        cel_env_add(env, "absent", "map(string,dyn)", &err) != WM_OK)
        abort();
}

static void put_value(const cel_value *value, wm_buf *result)
{
    if (value->kind == CEL_ABSENT)
        abort();
    if (value->kind != CEL_ERROR)
        cel_value_print(result, value);
    wm_buf_clear(result);
    if (value->kind == CEL_ERROR)
        wm_buf_printf(result, "error %d", (int)value->as.error->code);
    else
        cel_value_json(result, value);
}

static void set_values(wm_arena *arena, cel_value values[VARIABLES])
{
    static const cel_value items[3] = {{CEL_INT, 0, {.integer = 1}},
                                       {CEL_INT, 0, {.integer = -7}},
                                       {CEL_INT, 0, {.integer = INT64_MAX}}};
    wm_json *json;
    wm_err err;

    if (wm_json_parse(arena, payload, sizeof payload - 1, &json, &err) != WM_OK)
        abort();
    values[0] = cel_json_view(arena, json);
    values[1] = cel_of_int(42);
    values[2] = cel_of_string("h\xc3\xa9llo", 6);
    values[3] = cel_list_value(arena, items, 3);
    values[4] = (cel_value){.kind = CEL_ABSENT};
}

static cel_value evaluate(const cel_program *program, const cel_value *values, wm_arena *arena)
{
    cel_vars vars = {.values = values, .n = VARIABLES};
    uint64_t cost = COST;

    return cel_eval(program, &vars, &cost, arena);
}

static bool is_limit(const cel_value *value)
{
    return value->kind == CEL_ERROR && value->as.error->code >= CEL_ERROR_COST;
}

/* Two results must be the same: equal as they print, or both errors. Which error it is depends on
 * what was evaluated first; and a limit may be reached on one way alone. */
static void must_agree(const cel_value *a, const cel_value *b)
{
    wm_buf left, right;

    if (is_limit(a) || is_limit(b))
        return;
    wm_buf_init(&left, 1 << 20);
    wm_buf_init(&right, 1 << 20);
    put_value(a, &left);
    put_value(b, &right);
    if (a->kind == CEL_ERROR || b->kind == CEL_ERROR ? a->kind != b->kind
                                                     : strcmp(left.data, right.data) != 0)
        abort();
    wm_buf_free(&left);
    wm_buf_free(&right);
}

static void check_printed(const cel_program *residual, const cel_value *rest, const cel_value *want,
                          wm_arena *arena)
{
    cel_options options = {.unchecked = true};
    cel_program *again;
    cel_issues issues;
    cel_value got;
    wm_buf text;

    wm_buf_init(&text, CEL_TEXT_MAX);
    cel_program_print(residual, &text);
    /* Constants that were known may make it too long or too large. */
    if (!text.failed &&
        cel_compile(env, text.data, text.size, &options, &again, &issues) == WM_OK) {
        got = evaluate(again, rest, arena);
        must_agree(&got, want);
        cel_program_free(again);
    }
    wm_buf_free(&text);
}

static void check_sql(const cel_program *residual, const cel_value *rest, const cel_value *want,
                      wm_arena *arena)
{
    static const cel_sql_column columns[] = {
        {0, "name", "t.name", CEL_SQL_TEXT, CEL_SQL_NULL_MISSING},
        {0, "n", "t.n", CEL_SQL_FLOAT, CEL_SQL_NULL_NULL},
        {0, "list", "t.list", CEL_SQL_JSON, CEL_SQL_NOT_NULL},
        {0, "on", "t.on", CEL_SQL_BOOL, CEL_SQL_NOT_NULL},
        {0, "deep", "t.deep", CEL_SQL_JSON, CEL_SQL_NULL_MISSING},
        {2, "", "t.s", CEL_SQL_TEXT, CEL_SQL_NOT_NULL},
    };
    cel_value got;
    cel_sql sql;
    wm_err err;

    if (cel_sql_make(residual, columns, WM_ARRAY_LEN(columns), 1, arena, &sql, &err) != WM_OK)
        return;
    if (strpbrk(sql.where, "\x01\x02") || strlen(sql.where) > 2 * CEL_SQL_SIZE_MAX)
        abort();
    if (sql.residual && want->kind == CEL_BOOL && want->as.boolean) {
        got = evaluate(sql.residual, rest, arena);
        must_agree(&got, want);
    }
    cel_program_free(sql.residual);
}

/* With some of the variables unknown: which ones the text's length says. */
static void check_partial(const cel_program *program, const cel_value *values,
                          const cel_value *want, size_t choice, wm_arena *arena)
{
    static const cel_unknown paths[] = {{0, ""}, {2, ""}, {0, "deep"}, {0, "*"}, {3, NULL}};
    cel_unknowns unknowns = {.paths = paths + choice % 4, .n_paths = 2};
    cel_vars vars = {.values = values, .n = VARIABLES};
    cel_value rest[VARIABLES], got;
    uint64_t cost = COST;
    cel_partial partial = cel_eval_partial(program, &vars, &unknowns, &cost, arena);

    if (!partial.residual) {
        must_agree(&partial.value, want);
        return;
    }
    for (size_t i = 0; i < VARIABLES; i++) {
        bool open = unknowns.paths[0].place == i || unknowns.paths[1].place == i;

        rest[i] = open ? values[i] : (cel_value){.kind = CEL_ABSENT};
    }
    got = evaluate(partial.residual, rest, arena);
    must_agree(&got, want);
    check_printed(partial.residual, rest, want, arena);
    check_sql(partial.residual, rest, want, arena);
    cel_program_free(partial.residual);
}

static void print_result(const cel_program *program, size_t choice, wm_arena *arena, wm_buf *result)
{
    cel_value values[VARIABLES], got;
    cel_vars vars = {.values = values, .n = VARIABLES};
    uint64_t cost = COST;
    cel_trace trace;

    set_values(arena, values);
    got = evaluate(program, values, arena);
    put_value(&got, result);
    check_partial(program, values, &got, choice, arena);
    trace = cel_eval_trace(program, &vars, &cost, arena);
    must_agree(&trace.value, &got);
}

/* The result of a text, and its canonical form. */
static bool run(const char *text, size_t len, bool unchecked, wm_buf *printed, wm_buf *result)
{
    cel_options options = {.unchecked = unchecked};
    cel_program *program;
    cel_issues issues;
    wm_arena arena;

    if (cel_compile(env, text, len, &options, &program, &issues) != WM_OK) {
        if (issues.n == 0)
            abort();
        cel_issues_print(&issues, text, len, result);
        return false;
    }
    wm_arena_init(&arena, ARENA);
    cel_program_print(program, printed);
    print_result(program, len, &arena, result);
    wm_arena_free(&arena);
    cel_program_free(program);
    return true;
}

static bool same(const wm_buf *a, const wm_buf *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wm_buf printed[3], result[3];
    bool checked;

    set_up();
    for (int i = 0; i < 3; i++) {
        wm_buf_init(&printed[i], 1 << 20);
        wm_buf_init(&result[i], 1 << 20);
    }
    if (run((const char *)data, size, true, &printed[0], &result[0])) {
        if (printed[0].size <= CEL_TEXT_MAX &&
            (!run(printed[0].data, printed[0].size, true, &printed[1], &result[1]) ||
             !same(&printed[0], &printed[1]) || !same(&result[0], &result[1])))
            abort();
        checked = run((const char *)data, size, false, &printed[2], &result[2]);
        /* Checking changes no result; it only refuses. */
        if (checked && !same(&result[0], &result[2]))
            abort();
    }
    for (int i = 0; i < 3; i++) {
        wm_buf_free(&printed[i]);
        wm_buf_free(&result[i]);
    }
    return 0;
}
