/* tests/conformance/cel.c - judges the expression language by cases that others wrote.
 *
 *   cel FILE.jsonl
 *
 * Each line is an expression with its variables and the value that it must have, or an error
 * that it must be. Every case is also printed by the unparser and judged again from that text.
 * Prints failures by name and ends with "N passed, N failed".
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cel/cel.h"

static const char *text_of(const wm_json *object, const char *name)
{
    const wm_json *member = wm_json_find(object, name);

    return member && member->kind == WM_JSON_STRING ? member->text : "";
}

static bool flag_of(const wm_json *object, const char *name)
{
    const wm_json *member = wm_json_find(object, name);

    return member && member->kind == WM_JSON_BOOL && member->boolean;
}

/* ---- NUL in texts ----
 *
 * base/json refuses NUL, and some cases are about it. A private character stands for it in the
 * line; it is put back in every text that is used. */

#define NUL_IN_JSON "\\uf8ff"
#define NUL_AS_UTF8 "\xef\xa3\xbf"

static void hide_nul(char *line)
{
    for (char *at = line; *at; at++) {
        if (*at != '\\')
            continue;
        if (strncmp(at, "\\u0000", 6) == 0)
            memcpy(at, NUL_IN_JSON, 6);
        at++;
    }
}

static cel_value show_nul(wm_arena *arena, const wm_json *json)
{
    char *copy = wm_arena_alloc(arena, json->text_len + 1);
    size_t n = 0;

    for (size_t i = 0; i < json->text_len;) {
        if (json->text_len - i >= 3 && memcmp(json->text + i, NUL_AS_UTF8, 3) == 0) {
            copy[n++] = 0;
            i += 3;
        } else {
            copy[n++] = json->text[i++];
        }
    }
    return cel_of_string(copy, n);
}

/* ---- values ---- */

static cel_value evaluate(const char *expr, wm_arena *arena)
{
    cel_env *env = cel_env_new(NULL);
    cel_program *program;
    cel_issues issues;
    cel_value value = {.kind = CEL_ABSENT};

    if (cel_compile(env, expr, strlen(expr), NULL, &program, &issues) == WM_OK) {
        value = cel_eval(program, NULL, NULL, arena);
        /* Constants live in the program: it stays until the process ends. */
    }
    cel_env_free(env);
    return value;
}

static cel_value value_of(wm_arena *arena, const wm_json *json);

static cel_value list_of(wm_arena *arena, const wm_json *json)
{
    cel_value *items = WM_NEW_ARRAY(arena, cel_value, json->len + 1);
    size_t n = 0;

    for (const wm_json *item = json->first; item; item = item->next)
        items[n++] = value_of(arena, item);
    return cel_list_value(arena, items, n);
}

static cel_value map_of(wm_arena *arena, const wm_json *json)
{
    cel_entry *entries = WM_NEW_ARRAY(arena, cel_entry, json->len + 1);
    size_t n = 0;

    for (const wm_json *pair = json->first; pair; pair = pair->next)
        entries[n++] =
            (cel_entry){value_of(arena, pair->first), value_of(arena, pair->first->next)};
    return cel_map_value(arena, entries, n);
}

static double double_of(const char *text)
{
    return strtod(text, NULL);
}

/* Through the language itself where it has a constructor. */
static cel_value made_by(wm_arena *arena, const char *function, const char *text)
{
    return evaluate(wm_arena_printf(arena, "%s('%s')", function, text), arena);
}

static cel_value value_of(wm_arena *arena, const wm_json *json)
{
    const wm_json *member = json->first;
    const char *kind = member ? member->name : "",
               *text = member && member->text ? member->text : "";

    if (strcmp(kind, "null") == 0)
        return cel_of_null();
    if (strcmp(kind, "bool") == 0)
        return cel_of_bool(member->boolean);
    if (strcmp(kind, "int") == 0)
        return cel_of_int(strtoll(text, NULL, 10));
    if (strcmp(kind, "uint") == 0)
        return cel_of_uint(strtoull(text, NULL, 10));
    if (strcmp(kind, "double") == 0)
        return cel_of_double(double_of(text));
    if (strcmp(kind, "string") == 0)
        return show_nul(arena, member);
    if (strcmp(kind, "bytes") == 0)
        return made_by(arena, "base64.decode", text);
    if (strcmp(kind, "list") == 0)
        return list_of(arena, member);
    if (strcmp(kind, "map") == 0)
        return map_of(arena, member);
    if (strcmp(kind, "type") == 0)
        return cel_of_type(text);
    if (strcmp(kind, "timestamp") == 0 || strcmp(kind, "duration") == 0)
        return made_by(arena, kind, text);
    return (cel_value){.kind = CEL_ABSENT};
}

/* The same, and of the same kind down to the last number. */
static bool is_same(wm_arena *arena, const cel_value *a, const cel_value *b)
{
    if (a->kind != b->kind)
        return false;
    if (a->kind == CEL_DOUBLE)
        return isnan(a->as.real)
                   ? isnan(b->as.real)
                   : a->as.real == b->as.real && signbit(a->as.real) == signbit(b->as.real);
    if (a->kind == CEL_LIST) {
        if (a->as.list->len != b->as.list->len)
            return false;
        for (uint32_t i = 0; i < a->as.list->len; i++)
            if (!is_same(arena, &a->as.list->items[i], &b->as.list->items[i]))
                return false;
        return true;
    }
    return cel_equal(arena, a, b);
}

/* ---- judging ---- */

typedef struct bound {
    cel_env *env;
    cel_value values[64];
    size_t n;
} bound;

static bool declare(bound *bound, const char *name, const char *type)
{
    wm_err err;

    return cel_env_add(bound->env, name, type, &err) == WM_OK;
}

/* Variables of the case: the types first, then the values of those and of others. */
static void bind_variables(bound *bound, const wm_json *line, wm_arena *arena)
{
    const wm_json *types = wm_json_find(line, "types"), *values = wm_json_find(line, "bindings");

    for (const wm_json *type = types ? types->first : NULL; type; type = type->next) {
        const wm_json *value = values ? wm_json_find(values, type->name) : NULL;

        if (bound->n < WM_ARRAY_LEN(bound->values) && declare(bound, type->name, type->text))
            bound->values[bound->n++] =
                value ? value_of(arena, value) : (cel_value){.kind = CEL_ABSENT};
    }
    for (const wm_json *value = values ? values->first : NULL; value; value = value->next)
        if ((!types || !wm_json_find(types, value->name)) &&
            bound->n < WM_ARRAY_LEN(bound->values) && declare(bound, value->name, "dyn"))
            bound->values[bound->n++] = value_of(arena, value);
}

static void complain(const char *name, const char *stage, const cel_value *got,
                     const cel_issues *issues)
{
    wm_buf buf;

    wm_buf_init(&buf, 2000);
    if (issues && issues->n > 0)
        wm_buf_text(&buf, issues->issues[0].message);
    else if (got)
        cel_value_print(&buf, got);
    printf("FAIL %s (%s): %s\n", name, stage, buf.data ? buf.data : "");
    wm_buf_free(&buf);
}

static bool judge_result(const wm_json *line, const cel_value *got, wm_arena *arena)
{
    const wm_json *expect = wm_json_find(line, "expect");
    cel_value wanted;

    if (!expect || wm_json_find(expect, "error"))
        return got->kind == CEL_ERROR;
    wanted = value_of(arena, expect);
    return wanted.kind != CEL_ABSENT && is_same(arena, &wanted, got);
}

/* From a text: compiled, checked and evaluated. `printed` (may be NULL) gets it back in the
 * canonical form. */
static bool judge_text(const wm_json *line, const bound *bound, const cel_value *expr,
                       const char *stage, wm_arena *arena, wm_buf *printed)
{
    cel_options options = {.unchecked = flag_of(line, "disable_check"),
                           .no_macros = flag_of(line, "disable_macros")};
    const wm_json *expect = wm_json_find(line, "expect");
    cel_vars vars = {.values = bound->values, .n = bound->n};
    const char *name = text_of(line, "name"), *type = text_of(line, "deduced_type");
    bool good;
    cel_program *program;
    cel_issues issues;
    cel_value value;

    if (cel_compile(bound->env, expr->as.text, expr->len, &options, &program, &issues) != WM_OK) {
        good = expect && wm_json_find(expect, "error");
        if (!good)
            complain(name, stage, NULL, &issues);
        return good;
    }
    value = cel_eval(program, &vars, NULL, arena);
    good = flag_of(line, "check_only") || judge_result(line, &value, arena);
    if (!good)
        complain(name, stage, &value, NULL);
    if (good && type[0] && strcmp(type, cel_program_type(program)) != 0) {
        printf("FAIL %s (%s): the type is %s, not %s\n", name, stage, cel_program_type(program),
               type);
        good = false;
    }
    if (printed)
        cel_program_print(program, printed);
    cel_program_free(program);
    return good;
}

static bool judge(const wm_json *line, wm_arena *arena)
{
    const wm_json *expr = wm_json_find(line, "expr");
    const char *container = text_of(line, "container");
    bound bound = {.env = cel_env_new(container)};
    cel_value text;
    wm_buf printed;
    bool good;

    if (!expr || expr->kind != WM_JSON_STRING) {
        printf("FAIL %s: no expression\n", text_of(line, "name"));
        cel_env_free(bound.env);
        return false;
    }
    text = show_nul(arena, expr);
    bind_variables(&bound, line, arena);
    wm_buf_init(&printed, CEL_TEXT_MAX);
    good = judge_text(line, &bound, &text, "as written", arena, &printed);
    if (good && printed.size > 0) {
        text = cel_of_string(printed.data, printed.size);
        good = judge_text(line, &bound, &text, printed.data, arena, NULL);
    }
    wm_buf_free(&printed);
    cel_env_free(bound.env);
    return good;
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0;
    char *text = NULL;
    size_t room = 0;
    ssize_t len;
    wm_arena arena;
    FILE *file;

    if (argc != 2 || !(file = fopen(argv[1], "r"))) {
        fprintf(stderr, "usage: cel FILE.jsonl\n");
        return 2;
    }
    wm_arena_init(&arena, 0);
    while ((len = getline(&text, &room, file)) > 1) {
        wm_json *line;
        wm_err err;

        wm_arena_reset(&arena);
        hide_nul(text);
        if (wm_json_parse(&arena, text, (size_t)len, &line, &err) != WM_OK) {
            printf("FAIL a line that is no JSON: %s\n", err.message);
            failed++;
        } else if (judge(line, &arena)) {
            passed++;
        } else {
            failed++;
        }
    }
    wm_arena_free(&arena);
    free(text);
    fclose(file);
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
