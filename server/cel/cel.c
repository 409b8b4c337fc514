/* cel/cel.c - the public functions: environments, compiling, evaluating. */
#include "server/cel/cel.h"

#include <stdlib.h>
#include <string.h>

#include "server/cel/internal.h"
#include "server/cel/regex.h"

enum { ENV_SIZE_MAX = 4 * 1024 * 1024, PROGRAM_SIZE_MAX = 32 * 1024 * 1024, SLOTS_INLINE = 16 };

/* ---- environments ---- */

static void *must_alloc(size_t size)
{
    void *memory = calloc(1, size);

    if (!memory)
        abort();
    return memory;
}

cel_env *cel_env_new(const char *container)
{
    cel_env *env = must_alloc(sizeof *env);

    wm_arena_init(&env->arena, ENV_SIZE_MAX);
    env->container = wm_arena_strdup(&env->arena, container ? container : "");
    return env;
}

void cel_env_free(cel_env *env)
{
    if (!env)
        return;
    free(env->variables);
    wm_arena_free(&env->arena);
    free(env);
}

static bool is_name(const char *name)
{
    size_t n = 0;

    for (const char *at = name; *at; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || *at == '_';
        bool digit = *at >= '0' && *at <= '9';

        if (*at == '.' ? n == 0 : !letter && !(digit && n > 0))
            return false;
        n = *at == '.' ? 0 : n + 1;
    }
    return n > 0;
}

wm_code cel_env_add(cel_env *env, const char *name, const char *type, wm_err *err)
{
    const cel_type *parsed = cel_type_parse(&env->arena, type);

    if (!is_name(name) || strlen(name) > 200)
        return wm_fail(err, WM_INVALID, "CEL_VARIABLE", "'%.60s' is no name", name);
    if (!parsed)
        return wm_fail(err, WM_INVALID, "CEL_TYPE", "'%.60s' is no type", type);
    if (env->n == CEL_VARIABLES_MAX)
        return wm_fail(err, WM_EXHAUSTED, "CEL_VARIABLES", "more than %d variables",
                       CEL_VARIABLES_MAX);
    for (size_t i = 0; i < env->n; i++)
        if (strcmp(env->variables[i].name, name) == 0)
            return wm_fail(err, WM_EXISTS, "CEL_VARIABLE", "'%s' is declared already", name);
    if (env->n == env->room) {
        cel_variable *larger;

        env->room = env->room ? env->room * 2 : 16;
        larger = realloc(env->variables, env->room * sizeof *larger);
        if (!larger)
            abort();
        env->variables = larger;
    }
    env->variables[env->n++] = (cel_variable){wm_arena_strdup(&env->arena, name), parsed};
    return WM_OK;
}

void cel_env_functions(cel_env *env, const cel_function *functions, size_t n)
{
    if (env->n_tables == WM_ARRAY_LEN(env->functions))
        abort();
    env->functions[env->n_tables] = functions;
    env->n_functions[env->n_tables++] = n;
}

void cel_env_json_numbers(cel_env *env)
{
    env->json_numbers = true;
}

/* ---- programs ---- */

static bool check_result(cel_program *program, const cel_source *source, const char *wanted)
{
    const cel_type *type = wanted ? cel_type_parse(&program->arena, wanted) : NULL;

    if (!type || cel_type_unify(program->ast->type, type))
        return true;
    return cel_issue_add(source, program->ast->pos, "the expression is a %s, wanted is a %s",
                         program->type, wanted);
}

static const char *type_of(cel_program *program)
{
    const char *text;
    wm_buf buf;

    wm_buf_init(&buf, 4096);
    cel_type_print(program->ast->type, &buf);
    text = wm_arena_strndup(&program->arena, buf.size > 0 ? buf.data : "", buf.size);
    wm_buf_free(&buf);
    return text ? text : "dyn";
}

static bool build(cel_program *program, const cel_env *env, const cel_options *options,
                  const cel_source *source)
{
    program->json_numbers = env->json_numbers;
    program->ast = cel_parse(source, options->no_macros);
    if (!program->ast || !cel_check(env, source, program->ast, options->unchecked, &program->slots))
        return false;
    program->type = type_of(program);
    if (!options->unchecked && !check_result(program, source, options->result))
        return false;
    program->code = cel_code_make(program, source, program->ast, options->unchecked);
    return program->code != NULL;
}

wm_code cel_compile(const cel_env *env, const char *text, size_t len, const cel_options *options,
                    cel_program **program, cel_issues *issues)
{
    static const cel_options none = {.unchecked = false};
    cel_program *made = must_alloc(sizeof *made);
    cel_source source = {.arena = &made->arena, .issues = issues};

    *program = NULL;
    issues->n = issues->dropped = 0;
    wm_arena_init(&made->arena, PROGRAM_SIZE_MAX);
    /* The tree points into the text, so it is copied; what is too long is refused before. */
    source.len = len;
    source.text = len <= CEL_TEXT_MAX ? wm_arena_strndup(&made->arena, text, len) : text;
    if (build(made, env, options ? options : &none, &source)) {
        *program = made;
        return WM_OK;
    }
    if (issues->n == 0)
        cel_issue_add(&source, 0, "the expression is too large");
    cel_program_free(made);
    return WM_INVALID;
}

void cel_program_free(cel_program *program)
{
    if (!program)
        return;
    for (cel_pattern *pattern = program->patterns; pattern; pattern = pattern->next)
        cel_regex_free(pattern->regex);
    for (cel_made *made = program->made; made; made = made->next)
        made->free(made->thing);
    wm_arena_free(&program->arena);
    free(program);
}

const char *cel_program_type(const cel_program *program)
{
    return program->type;
}

void cel_program_print(const cel_program *program, wm_buf *buf)
{
    cel_ast_print(program->ast, buf);
}

static void find_calls(const cel_ast *ast, const char *name, cel_found_call_fn found, void *ctx)
{
    if (ast->kind == AST_CALL && strcmp(ast->name, name) == 0)
        found(ctx, ast->n > 0 && ast->args[0]->kind == AST_CONST ? &ast->args[0]->value : NULL,
              ast->pos);
    for (uint16_t i = 0; i < ast->n; i++)
        find_calls(ast->args[i], name, found, ctx);
}

void cel_program_calls(const cel_program *program, const char *name, cel_found_call_fn found,
                       void *ctx)
{
    find_calls(program->ast, name, found, ctx);
}

/* ---- evaluation ---- */

cel_value cel_eval(const cel_program *program, const cel_vars *vars, uint64_t *cost,
                   wm_arena *arena)
{
    cel_value slots[SLOTS_INLINE], value;
    cel_call call = {.arena = arena,
                     .vars = vars,
                     .slots = slots,
                     .limit = cost && *cost > 0 ? *cost : CEL_COST_MAX};

    if (program->slots > SLOTS_INLINE)
        call.slots = wm_arena_array(arena, program->slots, sizeof *call.slots);
    value = call.slots ? cel_run(&call, program->code) : cel_fail_memory(&call);
    if (cost)
        *cost = call.cost;
    return value;
}

wm_arena *cel_call_arena(cel_call *call)
{
    return call->arena;
}

void *cel_call_data(cel_call *call)
{
    return call->vars ? call->vars->data : NULL;
}
