/* cel/macro.c - which calls are macros, and what they may look like. */
#include "server/cel/macro.h"

#include <string.h>

typedef struct macro_form {
    const char *name;
    uint8_t macro;
    uint8_t vars;
    uint8_t min, max; /* arguments behind the variables */
} macro_form;

static const macro_form forms[] = {
    {"all", MACRO_ALL, 1, 1, 1},
    {"all", MACRO_ALL, 2, 1, 1},
    {"exists", MACRO_EXISTS, 1, 1, 1},
    {"exists", MACRO_EXISTS, 2, 1, 1},
    {"exists_one", MACRO_EXISTS_ONE, 1, 1, 1},
    {"existsOne", MACRO_EXISTS_ONE, 1, 1, 1},
    {"existsOne", MACRO_EXISTS_ONE, 2, 1, 1},
    {"exists_one", MACRO_EXISTS_ONE, 2, 1, 1},
    {"map", MACRO_MAP, 1, 1, 2},
    {"filter", MACRO_FILTER, 1, 1, 1},
    {"transformList", MACRO_TRANSFORM_LIST, 2, 1, 2},
    {"transformMap", MACRO_TRANSFORM_MAP, 2, 1, 2},
    {"transformMapEntry", MACRO_TRANSFORM_ENTRY, 2, 1, 2},
    {"sortBy", MACRO_SORT_BY, 1, 1, 1},
    {"optMap", MACRO_OPT_MAP, 1, 1, 1},
    {"optFlatMap", MACRO_OPT_FLAT_MAP, 1, 1, 1},
};

const char *cel_macro_name(const cel_ast *ast)
{
    if (ast->code == MACRO_EXISTS_ONE)
        return ast->existing ? "exists_one" : "existsOne";
    for (size_t i = 0; i < WM_ARRAY_LEN(forms); i++)
        if (forms[i].macro == ast->code)
            return forms[i].name;
    return "cel.bind";
}

/* The name that a macro's argument declares, or NULL after an issue. */
static const char *variable_of(const cel_source *source, const cel_ast *arg)
{
    if (arg->kind == AST_IDENT && !arg->rooted)
        return arg->name;
    cel_issue_add(source, arg->pos, "the variable of a macro must be a simple name");
    return NULL;
}

/* Turns `call` into a macro over args[0] whose variables are the next ones. */
static bool make_macro(const cel_source *source, cel_ast *call, cel_macro macro, uint8_t vars)
{
    for (uint8_t i = 0; i < vars; i++) {
        call->vars[i] = variable_of(source, call->args[1 + i]);
        if (!call->vars[i])
            return false;
    }
    if (vars == 2 && strcmp(call->vars[0], call->vars[1]) == 0)
        return cel_issue_add(source, call->args[2]->pos, "the two variables have the same name");
    call->two = vars == 2;
    call->existing = strcmp(call->name, "exists_one") == 0;
    call->kind = AST_MACRO;
    call->code = (uint8_t)macro;
    call->n = (uint16_t)(call->n - vars);
    memmove(call->args + 1, call->args + 1 + vars, (call->n - 1u) * sizeof *call->args);
    return true;
}

static bool expand_has(const cel_source *source, cel_ast *call)
{
    cel_ast *select = call->args[0];

    if (select->kind != AST_SELECT || select->optional)
        return cel_issue_add(source, select->pos, "has() takes a field selection, has(a.b)");
    call->kind = AST_HAS;
    call->name = select->name;
    call->name_len = select->name_len;
    call->quoted = select->quoted;
    call->args = select->args;
    return true;
}

static bool expand_bind(const cel_source *source, cel_ast *call)
{
    /* cel.bind(x, value, body): the target `cel` goes, the variable as well. */
    call->vars[0] = variable_of(source, call->args[1]);
    if (!call->vars[0])
        return false;
    call->kind = AST_MACRO;
    call->code = MACRO_BIND;
    call->n = 2;
    call->args += 2;
    return true;
}

bool cel_macro_expand(const cel_source *source, cel_ast *call)
{
    if (!call->member)
        return strcmp(call->name, "has") != 0 || call->n != 1 || expand_has(source, call);
    if (strcmp(call->name, "bind") == 0 && call->n == 4 && call->args[0]->kind == AST_IDENT &&
        strcmp(call->args[0]->name, "cel") == 0)
        return expand_bind(source, call);
    for (size_t i = 0; i < WM_ARRAY_LEN(forms); i++) {
        const macro_form *form = &forms[i];
        unsigned rest = call->n - 1u - form->vars;

        if (strcmp(call->name, form->name) != 0 || call->n < 1u + form->vars + form->min ||
            rest > form->max)
            continue;
        /* map(x, condition, result) looks like nothing else; all(i, v, p) needs two names. */
        return make_macro(source, call, (cel_macro)form->macro, form->vars);
    }
    return true;
}
