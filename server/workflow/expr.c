/* server/workflow/expr.c - what a chart's expressions can read, and their compilation; see
 * expr.h. The language is server/cel; expr_value.c makes JSON of what comes out. */
#include "server/workflow/expr.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/workflow/expr_value.h"

struct workflow_expr {
    cel_program *program;
};

/* The variables, by their places in the environment. */
enum { PLACE_DATA, PLACE_EVENT_NAME, PLACE_EVENT_DATA, PLACE_INSTANCE_ID, PLACE_ENTITY_ID, PLACES };

static const struct {
    const char *name, *type;
} variables[PLACES] = {
    [PLACE_DATA] = {"data", "map(string,dyn)"},
    [PLACE_EVENT_NAME] = {"event.name", "string"},
    [PLACE_EVENT_DATA] = {"event.data", "map(string,dyn)"},
    [PLACE_INSTANCE_ID] = {"instance.id", "string"},
    [PLACE_ENTITY_ID] = {"instance.entity_id", "string"},
};

/* ---- the environment, the same for all charts ---- */

/* In("id"), https://www.w3.org/TR/scxml/#InPredicate */
static cel_value call_in(cel_call *call, const cel_value *args, size_t n)
{
    const workflow_env *env = (const workflow_env *)cel_call_data(call);
    const char *id = wm_arena_strndup(cel_call_arena(call), args->as.text, args->len);

    (void)n;
    if (!id)
        return cel_call_fail(call, CEL_ERROR_MEMORY, "the memory limit is reached");
    return cel_of_bool(env->in_state(env->ctx, id));
}

static const cel_function functions[] = {{"In", false, true, "s", "b", call_in}};

static cel_env *the_env;

static void make_env(void)
{
    wm_err err;

    the_env = cel_env_new(NULL);
    cel_env_json_numbers(the_env);
    cel_env_functions(the_env, functions, WM_ARRAY_LEN(functions));
    for (size_t i = 0; i < PLACES; i++) {
        if (cel_env_add(the_env, variables[i].name, variables[i].type, &err) != WM_OK)
            abort();
    }
}

static const cel_env *get_env(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_env);
    return the_env;
}

/* ---- compiling ---- */

static wm_code refuse(cel_issues *issues, const char *message)
{
    issues->n = 1;
    issues->dropped = 0;
    issues->issues[0] = (cel_issue){.pos = 0, .line = 1, .column = 1};
    strncpy(issues->issues[0].message, message, sizeof(issues->issues[0].message) - 1);
    return WM_INVALID;
}

wm_code workflow_expr_compile(const char *text, workflow_expr_use use, workflow_expr **made,
                              cel_issues *issues)
{
    cel_options options = {.result = use == EXPR_GUARD ? "bool" : NULL};
    cel_program *program;

    *made = NULL;
    if (strlen(text) > EXPR_SIZE_MAX)
        return refuse(issues, "the expression is longer than 4096 bytes");
    if (cel_compile(get_env(), text, strlen(text), &options, &program, issues) != WM_OK)
        return WM_INVALID;
    *made = (workflow_expr *)malloc(sizeof **made);
    if (!*made)
        abort();
    (*made)->program = program;
    return WM_OK;
}

void workflow_expr_free(workflow_expr *expr)
{
    if (!expr)
        return;
    cel_program_free(expr->program);
    free(expr);
}

typedef struct state_finder {
    void (*found)(void *ctx, const char *id);
    void *ctx;
} state_finder;

static void found_in(void *ctx, const cel_value *argument, uint32_t pos)
{
    const state_finder *finder = (const state_finder *)ctx;
    char id[EXPR_SIZE_MAX + 1];

    (void)pos;
    if (!argument || argument->kind != CEL_STRING)
        return;
    memcpy(id, argument->as.text, argument->len);
    id[argument->len] = '\0';
    finder->found(finder->ctx, id);
}

void workflow_expr_each_state(const workflow_expr *expr, void (*found)(void *ctx, const char *id),
                              void *ctx)
{
    state_finder finder = {found, ctx};

    cel_program_calls(expr->program, "In", found_in, &finder);
}

/* ---- evaluating ---- */

/* Variables are made when they are read. */
static bool resolve(const cel_vars *vars, size_t place, wm_arena *arena, cel_value *value)
{
    const workflow_env *env = (const workflow_env *)vars->data;
    const char *text = NULL;

    switch (place) {
    case PLACE_DATA:
        *value = cel_json_view(arena, env->data);
        return true;
    case PLACE_EVENT_DATA:
        if (!env->event_name)
            return false;
        *value = cel_json_view(arena, env->event_data);
        return true;
    case PLACE_EVENT_NAME:
        text = env->event_name;
        break;
    case PLACE_INSTANCE_ID:
        text = env->instance_id;
        break;
    default:
        text = env->entity_id;
        break;
    }
    if (text)
        *value = cel_of_string(text, strlen(text));
    return text != NULL;
}

/* What is made on the way dies with the evaluation; only the value is kept. */
const wm_json *workflow_expr_eval(const workflow_expr *expr, wm_arena *arena,
                                  const workflow_env *env, const char **why)
{
    cel_vars vars = {.resolve = resolve, .data = (void *)(uintptr_t)env};
    uint64_t cost = EXPR_COST_MAX;
    const wm_json *json;
    cel_value value;
    wm_arena scratch;

    *why = "";
    if (env->memory_max > 0 && wm_arena_used(arena) > env->memory_max) {
        *why = "too much memory is used";
        return NULL;
    }
    wm_arena_init(&scratch, EXPR_MEMORY_MAX);
    value = cel_eval(expr->program, &vars, &cost, &scratch);
    if (value.kind == CEL_ERROR) {
        *why = wm_arena_strdup(arena, value.as.error->message);
        json = NULL;
    } else {
        json = workflow_value_from_cel(arena, &scratch, &value, why);
    }
    wm_arena_free(&scratch);
    return json;
}
