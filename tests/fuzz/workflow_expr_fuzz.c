/* tests/fuzz/workflow_expr_fuzz.c - any text may be an expression; one that compiles evaluates
 * to the same value twice, whose text is JSON.
 */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "server/workflow/expr.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool in_state(const void *ctx, const char *id)
{
    (void)ctx;
    return id[0] == 's';
}

static void evaluate(wm_arena *arena, const workflow_expr *expr)
{
    static const char data[] = "{\"n\":2,\"s\":\"ab\",\"l\":[1,\"x\",null,[2]],\"o\":{\"k\":true}}";
    workflow_env env = {.event_name = "e", .instance_id = "i", .entity_id = ""};
    const wm_json *once, *twice;
    const char *why, *text;
    wm_json *tree;
    wm_err err;

    if (wm_json_parse(arena, data, sizeof data - 1, &tree, &err) != WM_OK)
        abort();
    env.data = env.event_data = tree;
    env.in_state = in_state;
    env.memory_max = 16 * 1024 * 1024;
    once = workflow_expr_eval(expr, arena, &env, &why);
    twice = workflow_expr_eval(expr, arena, &env, &why);
    if (!once != !twice || (once && !workflow_value_equal(once, twice)))
        abort();
    text = once ? workflow_value_text(arena, once) : NULL;
    if (text && wm_json_parse(arena, text, strlen(text), &tree, &err) != WM_OK)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    workflow_expr *expr;
    cel_issues issues;
    wm_arena arena;
    char *text;

    wm_arena_init(&arena, 0);
    text = wm_arena_strndup(&arena, (const char *)bytes, size);
    /* The wire guard lets neither other bytes nor NUL through. */
    if (wm_utf8_check(text, size) == WM_UTF8_OK &&
        workflow_expr_compile(text, EXPR_VALUE, &expr, &issues) == WM_OK) {
        evaluate(&arena, expr);
        workflow_expr_free(expr);
    }
    wm_arena_free(&arena);
    return 0;
}
