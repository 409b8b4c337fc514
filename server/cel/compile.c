/* cel/compile.c - from the checked tree to what is evaluated.
 *
 * Whatever depends on constants alone is computed now, unless it is an error (that must come
 * when, and only if, it is evaluated) or costs too much. Constant patterns are compiled.
 */
#include <string.h>

#include "server/cel/internal.h"
#include "server/cel/regex.h"

typedef struct compiler {
    cel_program *program;
    const cel_source *source;
    bool unchecked, failed;
    uint64_t fold_left; /* work units, for the whole expression */
    int patterns;
} compiler;

enum { FOLD_COST_MAX = 2000, FOLD_COST_ALL = 20000, PATTERNS_MAX = 64 };

static bool all_const(const cel_code *code)
{
    for (uint32_t i = 0; i < code->n; i++)
        if (code->args[i]->run != cel_run_const)
            return false;
    return true;
}

static bool is_pure(const cel_code *code)
{
    for (uint32_t i = 0; i < code->n_overloads; i++)
        if (code->overloads[i]->impure)
            return false;
    return true;
}

/* Of the function that is called: in a container its name may be shorter in the text. */
static const char *function_name(const cel_code *code)
{
    return code->n_overloads > 0 ? code->overloads[0]->name : "";
}

/* timestamp('...') and its like: a text that does not parse never will. */
static bool reads_literal(const cel_ast *ast, const cel_code *code)
{
    static const char *const names[] = {"timestamp", "duration", "ip", "cidr"};

    if (ast->kind != AST_CALL || ast->member || ast->n != 1 || ast->args[0]->kind != AST_CONST ||
        ast->args[0]->value.kind != CEL_STRING)
        return false;
    for (size_t i = 0; i < WM_ARRAY_LEN(names); i++)
        if (strcmp(function_name(code), names[i]) == 0)
            return true;
    return false;
}

static void fold(compiler *c, const cel_ast *ast, cel_code *code)
{
    cel_call call = {.arena = &c->program->arena, .limit = FOLD_COST_MAX};
    cel_value value;

    if (!all_const(code) || !is_pure(code) || c->fold_left == 0)
        return;
    value = cel_run(&call, code);
    c->fold_left -= call.cost < c->fold_left ? call.cost : c->fold_left;
    if (value.kind == CEL_ERROR) {
        if (!c->unchecked && reads_literal(ast, code)) {
            cel_issue_add(c->source, ast->pos, "%s", value.as.error->message);
            c->failed = true;
        }
        return;
    }
    code->run = cel_run_const;
    code->value = value;
}

static bool takes_pattern(const cel_code *code)
{
    const char *name = function_name(code);

    return strcmp(name, "matches") == 0 || strncmp(name, "regex.", strlen("regex.")) == 0;
}

/* Compiles the pattern, the argument at `i`, when it is constant. */
static void compile_pattern(compiler *c, cel_code *code, uint32_t i)
{
    const cel_value *pattern;
    cel_pattern *kept;
    cel_regex *regex;
    char why[120];

    if (code->n <= i || code->args[i]->run != cel_run_const)
        return;
    pattern = &code->args[i]->value;
    if (pattern->kind != CEL_STRING)
        return;
    if (++c->patterns > PATTERNS_MAX && c->program->residual)
        return; /* of one pattern over many known elements: compiled when it is evaluated */
    if (c->patterns > PATTERNS_MAX) {
        cel_issue_add(c->source, code->args[i]->pos, "the expression has more than %d patterns",
                      PATTERNS_MAX);
        c->failed = true;
        return;
    }
    regex = cel_regex_new(pattern->as.text, pattern->len, why, sizeof why);
    if (!regex) {
        if (!c->unchecked) {
            cel_issue_add(c->source, code->args[i]->pos, "the pattern is wrong: %s", why);
            c->failed = true;
        }
        return;
    }
    kept = wm_arena_alloc(&c->program->arena, sizeof *kept);
    if (!kept) {
        cel_regex_free(regex);
        return;
    }
    *kept = (cel_pattern){c->program->patterns, regex};
    c->program->patterns = kept;
    code->regex = regex;
}

/* optional.or() and orValue(), which look at their argument only when they need it. */
static bool is_or(const cel_ast *ast)
{
    return ast->member && !ast->namespaced && ast->n == 2 && ast->n_overloads > 0 &&
           (strcmp(ast->name, "or") == 0 || strcmp(ast->name, "orValue") == 0);
}

static cel_run_fn run_of(const cel_program *program, const cel_ast *ast)
{
    switch (ast->kind) {
    case AST_CONST:
        return cel_run_const;
    case AST_SELECT:
        return cel_run_select;
    case AST_HAS:
        return cel_run_has;
    case AST_CALL:
        return is_or(ast) ? cel_run_or : cel_run_call;
    case AST_LIST:
        return cel_run_list;
    case AST_MAP:
        return cel_run_map;
    case AST_MACRO:
        return cel_run_macros[ast->code];
    default:
        return program->json_numbers && ast->code >= OP_ADD && ast->code <= OP_MOD
                   ? cel_run_json_arithmetic
                   : cel_run_ops[ast->code];
    }
}

/* "a.b.c" of selections that are one name. */
static const char *whole_name(compiler *c, const cel_ast *ast)
{
    if (ast->kind != AST_SELECT)
        return ast->name;
    return wm_arena_printf(&c->program->arena, "%s.%s", whole_name(c, ast->args[0]), ast->name);
}

/* A name, or a selection that is one. */
static bool make_reference(compiler *c, const cel_ast *ast, cel_code *code)
{
    switch (ast->ref) {
    case REF_LOCAL:
        code->run = cel_run_local;
        return true;
    case REF_VAR:
        code->run = cel_run_var;
        code->name = whole_name(c, ast);
        return true;
    case REF_TYPE:
        code->run = cel_run_const;
        return true;
    default:
        return false;
    }
}

static void make_problem(cel_code *code, const char *problem)
{
    code->run = cel_run_problem;
    code->value = cel_of_string(problem, strlen(problem));
    code->n = 0;
}

static const cel_code *make(compiler *c, const cel_ast *ast)
{
    cel_code *code = wm_arena_zalloc(&c->program->arena, sizeof *code);
    size_t skip = ast->namespaced;

    if (!code) {
        c->failed = true;
        return NULL;
    }
    code->id = c->program->codes++;
    code->ast = ast;
    code->type = (uint8_t)cel_type_resolve(ast->type)->kind;
    code->pos = ast->pos;
    code->name = ast->name;
    code->name_len = ast->name_len;
    code->place = ast->place;
    code->optional = ast->optional;
    code->two = ast->two;
    code->marks = ast->marks;
    code->value = ast->value;
    if (ast->problem) {
        make_problem(code, ast->problem);
        return code;
    }
    if (make_reference(c, ast, code))
        return code;
    code->run = run_of(c->program, ast);
    if (code->run == cel_run_json_arithmetic)
        code->place = ast->code;
    code->overloads = ast->overloads;
    code->n_overloads = ast->n_overloads;
    code->n = (uint32_t)(ast->n - skip);
    code->args = wm_arena_array(&c->program->arena, code->n + 1u, sizeof *code->args);
    if (!code->args) {
        c->failed = true;
        return NULL;
    }
    for (uint32_t i = 0; i < code->n; i++) {
        code->args[i] = make(c, ast->args[i + skip]);
        if (!code->args[i])
            return NULL;
    }
    if (ast->kind == AST_CALL && takes_pattern(code))
        compile_pattern(c, code, 1);
    if (ast->kind == AST_CALL && code->n > 1 &&
        !cel_prepare(c->program, c->source, code, c->unchecked))
        c->failed = true;
    if (ast->kind != AST_CONST && ast->kind != AST_MACRO)
        fold(c, ast, code);
    return code;
}

const cel_code *cel_code_make(cel_program *program, const cel_source *source, const cel_ast *ast,
                              bool unchecked)
{
    compiler c = {
        .program = program, .source = source, .unchecked = unchecked, .fold_left = FOLD_COST_ALL};
    const cel_code *code = make(&c, ast);

    if (!code)
        cel_issue_add(source, 0, "the expression is too large");
    return c.failed ? NULL : code;
}
