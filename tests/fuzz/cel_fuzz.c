/* tests/fuzz/cel_fuzz.c - any text as an expression: parsed, checked, printed and evaluated.
 *
 * Whatever compiles must print to a text that compiles and prints the same, and must evaluate
 * within its limits to the same value, checked or not. What a checked program returns is of the
 * type that was told.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/cel/cel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COST = 20000, ARENA = 8 * 1024 * 1024 };

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

static void print_result(const cel_program *program, wm_arena *arena, wm_buf *result)
{
    cel_value values[5], items[3] = {cel_of_int(1), cel_of_int(-7), cel_of_int(INT64_MAX)}, got;
    uint64_t cost = COST;
    wm_json *json;
    cel_vars vars = {.values = values, .n = 5};
    wm_err err;

    if (wm_json_parse(arena, payload, sizeof payload - 1, &json, &err) != WM_OK)
        abort();
    values[0] = cel_json_view(arena, json);
    values[1] = cel_of_int(42);
    values[2] = cel_of_string("h\xc3\xa9llo", 6);
    values[3] = cel_list_value(arena, items, 3);
    values[4] = (cel_value){.kind = CEL_ABSENT};
    got = cel_eval(program, &vars, &cost, arena);
    if (got.kind == CEL_ABSENT)
        abort();
    if (got.kind != CEL_ERROR)
        cel_value_print(result, &got);
    wm_buf_clear(result);
    if (got.kind == CEL_ERROR)
        wm_buf_printf(result, "error %d", (int)got.as.error->code);
    else
        cel_value_json(result, &got);
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
    print_result(program, &arena, result);
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
