/* cel/check.c - names and types.
 *
 * One pass from the leaves up. Names are resolved in any case; types are always computed, but
 * what is wrong about them is an issue only in a checked program. In an unchecked one it waits
 * until it is evaluated, as a `problem` of the node or as "no such overload".
 */
#include <stdio.h>
#include <string.h>

#include "server/cel/functions.h"
#include "server/cel/internal.h"

typedef struct scope {
    const struct scope *outer;
    const char *name;
    const cel_type *type;
    uint32_t slot;
} scope;

typedef struct checker {
    const cel_env *env;
    const cel_source *source;
    wm_arena *arena;
    bool unchecked;
    const scope *scope;
    uint32_t slots, slots_max;
} checker;

static const cel_type *check(checker *c, cel_ast *ast);

#define SIMPLE(kind) cel_type_simple(kind)

static const char *type_text(checker *c, const cel_type *type)
{
    wm_buf buf;
    char *text;

    wm_buf_init(&buf, 200);
    cel_type_print(type, &buf);
    text = wm_arena_strndup(c->arena, buf.size > 0 ? buf.data : "", buf.size);
    wm_buf_free(&buf);
    return text ? text : "";
}

/* Adds an issue, in a checked program; the type of what is wrong is dyn, so that it is told once.
 */
static const cel_type *mismatch(checker *c, uint32_t pos, const char *what, const cel_type *type)
{
    if (!c->unchecked)
        cel_issue_add(c->source, pos, "%s %s", what, type_text(c, type));
    return &cel_type_dyn;
}

/* ---- names ---- */

/* "a.b.c" of a chain of plain selections; false when it is none. */
static bool chain_name(const cel_ast *ast, char *name, size_t room, const cel_ast **root)
{
    size_t len;

    if (ast->kind == AST_IDENT) {
        *root = ast;
        return (size_t)snprintf(name, room, "%s", ast->name) < room;
    }
    if (ast->kind != AST_SELECT || ast->optional || ast->quoted ||
        !chain_name(ast->args[0], name, room, root))
        return false;
    len = strlen(name);
    return (size_t)snprintf(name + len, room - len, ".%s", ast->name) < room - len;
}

static const scope *scope_find(const checker *c, const char *name)
{
    for (const scope *s = c->scope; s; s = s->outer)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

static bool refer(const checker *c, cel_ast *ast, const char *name)
{
    static const struct {
        const char *name, *type;
    } types[] = {{"bool", "bool"},
                 {"int", "int"},
                 {"uint", "uint"},
                 {"double", "double"},
                 {"string", "string"},
                 {"bytes", "bytes"},
                 {"list", "list"},
                 {"map", "map"},
                 {"null_type", "null_type"},
                 {"type", "type"},
                 {"google.protobuf.Timestamp", "google.protobuf.Timestamp"},
                 {"google.protobuf.Duration", "google.protobuf.Duration"},
                 {"optional_type", "optional_type"},
                 {"net.IP", "net.IP"},
                 {"net.CIDR", "net.CIDR"}};

    for (size_t i = 0; i < c->env->n; i++)
        if (strcmp(c->env->variables[i].name, name) == 0) {
            ast->ref = REF_VAR;
            ast->place = (uint32_t)i;
            ast->type = c->env->variables[i].type;
            return true;
        }
    for (size_t i = 0; i < WM_ARRAY_LEN(types); i++)
        if (strcmp(types[i].name, name) == 0) {
            ast->ref = REF_TYPE;
            ast->value = cel_of_type(types[i].type);
            ast->type = SIMPLE(CEL_TYPE);
            return true;
        }
    return false;
}

/* Where a name is looked up: in the container "a.b", then in "a", then outside. */
typedef struct candidate {
    const char *container;
    size_t len; /* of the container, as far as it counts */
    char name[512];
} candidate;

/* The first one; false when the name is too long for anything that there is. */
static bool candidate_make(candidate *at, const char *name)
{
    int n = at->len > 0
                ? snprintf(at->name, sizeof at->name, "%.*s.%s", (int)at->len, at->container, name)
                : snprintf(at->name, sizeof at->name, "%s", name);

    return n > 0 && (size_t)n < sizeof at->name;
}

/* Goes one container outwards; false when there is none. */
static bool candidate_next(candidate *at)
{
    if (at->len == 0)
        return false;
    do
        at->len--;
    while (at->len > 0 && at->container[at->len] != '.');
    return true;
}

static candidate candidate_first(const checker *c, bool rooted)
{
    return (candidate){c->env->container, rooted ? 0 : strlen(c->env->container), ""};
}

static bool resolve(const checker *c, cel_ast *ast, const char *name, bool rooted)
{
    candidate at = candidate_first(c, rooted);

    do
        if (candidate_make(&at, name) && refer(c, ast, at.name))
            return true;
    while (candidate_next(&at));
    return false;
}

/* The whole name of a function that is not called on a value; NULL when there is none. */
static const char *resolve_function(const checker *c, const char *name, bool rooted)
{
    const cel_function *found[CEL_OVERLOADS_MAX];
    candidate at = candidate_first(c, rooted);

    do
        if (candidate_make(&at, name) && cel_functions_find(c->env, at.name, false, found) > 0)
            return wm_arena_strdup(c->arena, at.name);
    while (candidate_next(&at));
    return NULL;
}

static const cel_type *check_ident(checker *c, cel_ast *ast)
{
    const scope *local = ast->rooted ? NULL : scope_find(c, ast->name);

    if (local) {
        ast->ref = REF_LOCAL;
        ast->place = local->slot;
        return local->type;
    }
    if (resolve(c, ast, ast->name, ast->rooted))
        return ast->type;
    ast->problem = "undeclared variable";
    if (!c->unchecked)
        cel_issue_add(c->source, ast->pos, "undeclared variable '%s'", ast->name);
    return &cel_type_dyn;
}

/* ---- selections ---- */

static const cel_type *field_type(checker *c, const cel_ast *ast, const cel_type *operand)
{
    operand = cel_type_resolve(operand);
    switch (operand->kind) {
    case TYPE_DYN:
    case TYPE_VAR:
        return &cel_type_dyn;
    case CEL_MAP:
        return operand->params[1];
    default:
        return mismatch(c, ast->pos, "a field cannot be selected from a", operand);
    }
}

static const cel_type *optional_type(checker *c, const cel_type *inner)
{
    inner = cel_type_resolve(inner);
    return inner->kind == CEL_OPTIONAL ? inner : cel_type_make(c->arena, CEL_OPTIONAL, inner, NULL);
}

static const cel_type *check_select(checker *c, cel_ast *ast)
{
    const cel_type *operand;
    const cel_ast *root;
    char name[512];

    if (ast->kind == AST_SELECT && chain_name(ast, name, sizeof name, &root) &&
        (root->rooted || !scope_find(c, root->name)) && resolve(c, ast, name, root->rooted))
        return ast->type;
    operand = cel_type_resolve(check(c, ast->args[0]));
    if (ast->kind == AST_HAS) {
        field_type(c, ast, operand->kind == CEL_OPTIONAL ? operand->params[0] : operand);
        return SIMPLE(CEL_BOOL);
    }
    if (operand->kind == CEL_OPTIONAL)
        return optional_type(c, field_type(c, ast, operand->params[0]));
    operand = field_type(c, ast, operand);
    return ast->optional ? cel_type_make(c->arena, CEL_OPTIONAL, operand, NULL) : operand;
}

/* ---- calls ---- */

static bool fits(checker *c, const cel_function *fn, const cel_type *const *args, size_t n,
                 const cel_type **result, cel_trail *trail)
{
    const cel_type *vars[2] = {NULL, NULL};
    const char *at = fn->args;

    for (size_t i = 0; i < n; i++) {
        const cel_type *param = cel_type_decode(c->arena, &at, vars);

        if (!cel_type_unify_trail(args[i], param, trail))
            return false;
        cel_type_widen(args[i], param, trail);
    }
    at = fn->result;
    *result = cel_type_decode(c->arena, &at, vars);
    return true;
}

static bool is_number(int kind)
{
    return kind == CEL_INT || kind == CEL_UINT || kind == CEL_DOUBLE;
}

/* math.greatest() and its like take numbers, or one list of them: what all have in common.
 * NULL when there is something else among them. Three and more are as a list of them: dyn when
 * they are of several types. */
static const cel_type *variadic_type(const cel_type *const *args, size_t n)
{
    const cel_type *first = cel_type_resolve(args[0]);

    if (n == 1 && first->kind == CEL_LIST)
        return variadic_type(first->params, 1);
    if (n > 2) {
        for (size_t i = 1; i < n; i++)
            first = cel_type_join(first, args[i]);
        return variadic_type(&first, 1);
    }
    for (size_t i = 0; i < n; i++) {
        const cel_type *type = cel_type_resolve(args[i]);

        if (!is_number(type->kind) && type->kind != TYPE_DYN && type->kind != TYPE_VAR)
            return NULL;
        first = cel_type_join(first, type);
    }
    return first;
}

static void tell_overloads(checker *c, const cel_ast *ast, const char *name,
                           const cel_function *const *all, size_t n_all,
                           const cel_type *const *args, size_t n)
{
    wm_buf buf;

    wm_buf_init(&buf, 180);
    wm_buf_printf(&buf, "no overload of '%s' takes (", name);
    for (size_t i = 0; i < n; i++) {
        wm_buf_text(&buf, i > 0 ? ", " : "");
        cel_type_print(args[i], &buf);
    }
    wm_buf_text(&buf, ")");
    for (size_t i = 0; i < n_all && i < 4; i++) {
        const cel_type *vars[2] = {NULL, NULL};
        const char *at = all[i]->args;

        wm_buf_text(&buf, i == 0 ? "; there is (" : ", (");
        for (size_t arg = 0; *at && *at != '*'; arg++) {
            wm_buf_text(&buf, arg > 0 ? ", " : "");
            cel_type_print(cel_type_decode(c->arena, &at, vars), &buf);
        }
        wm_buf_text(&buf, ")");
    }
    cel_issue_add(c->source, ast->pos, "%s", buf.data);
    wm_buf_free(&buf);
}

/* Of the overloads of a name those that fit, and the type of their result. */
static const cel_type *choose(checker *c, cel_ast *ast, const char *name, const cel_function **all,
                              size_t n_all, const cel_type *const *args, size_t n)
{
    const cel_type *type = NULL, *result;
    const cel_function **kept = wm_arena_array(c->arena, n_all, sizeof *kept);

    if (!kept) {
        cel_issue_add(c->source, ast->pos, "the expression is too large");
        return &cel_type_dyn;
    }
    for (size_t i = 0; i < n_all; i++) {
        cel_trail trail = {.n = 0};
        bool variadic = all[i]->args[0] == '*';

        if (!variadic && cel_signature_len(all[i]->args) != n)
            continue;
        if (variadic)
            result = n > 0 ? variadic_type(args, n) : NULL;
        if (variadic ? result != NULL : fits(c, all[i], args, n, &result, &trail)) {
            result = cel_type_settle(c->arena, result, false);
            type = type ? cel_type_join(type, result) : result;
            kept[ast->n_overloads++] = all[i];
            /* The bindings of the only candidate tell about free variables outside. */
            if (ast->n_overloads > 1)
                cel_trail_undo(&trail);
        } else {
            cel_trail_undo(&trail);
            if (c->unchecked)
                kept[ast->n_overloads++] = all[i];
        }
    }
    ast->overloads = kept;
    if (type)
        return type;
    if (!c->unchecked)
        tell_overloads(c, ast, name, all, n_all, args, n);
    if (ast->n_overloads == 0)
        ast->problem = "no such overload";
    return &cel_type_dyn;
}

static const cel_type *check_function(checker *c, cel_ast *ast, const char *name, bool member,
                                      size_t skip)
{
    const cel_type *args[CEL_ARGS_MAX];
    const cel_function *all[CEL_OVERLOADS_MAX];
    size_t n = ast->n - skip, n_all = cel_functions_find(c->env, name, member, all);

    for (size_t i = 0; i < n; i++)
        args[i] = check(c, ast->args[i + skip]);
    if (n_all > 0)
        return choose(c, ast, name, all, n_all, args, n);
    ast->problem = "undeclared function";
    if (!c->unchecked)
        cel_issue_add(c->source, ast->pos, "undeclared function '%s'%s", name,
                      cel_functions_find(c->env, name, !member, all) == 0 ? ""
                      : member ? "; it is not called on a value"
                               : "; it is called on a value, value.function(...)");
    return &cel_type_dyn;
}

static const cel_type *check_call(checker *c, cel_ast *ast)
{
    const char *whole;
    const cel_ast *root;
    char name[512];
    size_t len;

    if (!ast->member) {
        whole = resolve_function(c, ast->name, ast->rooted);
        return check_function(c, ast, whole ? whole : ast->name, false, 0);
    }
    if (chain_name(ast->args[0], name, sizeof name, &root)) {
        len = strlen(name);
        snprintf(name + len, sizeof name - len, ".%s", ast->name);
        whole = resolve_function(c, name, root->rooted);
        if (whole) {
            ast->namespaced = true;
            return check_function(c, ast, whole, false, 1);
        }
    }
    return check_function(c, ast, ast->name, true, 0);
}

/* ---- operators ---- */

static const cel_type *check_bools(checker *c, cel_ast *ast, const char *what)
{
    for (size_t i = 0; i < ast->n; i++) {
        const cel_type *type = check(c, ast->args[i]);

        if (!cel_type_unify(type, SIMPLE(CEL_BOOL)))
            mismatch(c, ast->args[i]->pos, what, type);
    }
    return SIMPLE(CEL_BOOL);
}

static const cel_type *check_cond(checker *c, cel_ast *ast)
{
    const cel_type *cond = check(c, ast->args[0]);
    const cel_type *yes = check(c, ast->args[1]), *no = check(c, ast->args[2]);
    cel_trail trail = {.n = 0};

    if (!cel_type_unify(cond, SIMPLE(CEL_BOOL)))
        mismatch(c, ast->args[0]->pos, "a condition must be a bool, not a", cond);
    if (!cel_type_unify_trail(yes, no, &trail)) {
        cel_trail_undo(&trail);
        if (!c->unchecked)
            cel_issue_add(c->source, ast->pos, "the branches have different types, %s and %s",
                          type_text(c, yes), type_text(c, no));
        return &cel_type_dyn;
    }
    return cel_type_join(yes, no);
}

static const cel_type *check_index(checker *c, cel_ast *ast)
{
    const cel_type *operand = cel_type_resolve(check(c, ast->args[0]));
    const cel_type *key = check(c, ast->args[1]), *result = &cel_type_dyn;
    bool inside = operand->kind == CEL_OPTIONAL;

    if (inside)
        operand = cel_type_resolve(operand->params[0]);
    if (operand->kind == CEL_LIST) {
        if (!cel_type_unify(key, SIMPLE(CEL_INT)))
            return mismatch(c, ast->args[1]->pos, "the index of a list must be an int, not a", key);
        result = operand->params[0];
    } else if (operand->kind == CEL_MAP) {
        if (!cel_type_unify(key, operand->params[0]))
            return mismatch(c, ast->args[1]->pos, "the map has no keys of type", key);
        result = operand->params[1];
    } else if (operand->kind != TYPE_DYN && operand->kind != TYPE_VAR) {
        return mismatch(c, ast->pos, "only a list or a map has an index, not a", operand);
    }
    if (inside)
        return optional_type(c, result);
    return ast->optional ? cel_type_make(c->arena, CEL_OPTIONAL, result, NULL) : result;
}

static const char *op_signatures(cel_op op)
{
    switch (op) {
    case OP_ADD:
        return "ii:i uu:u dd:d ss:s yy:y LALA:LA tD:t Dt:t DD:D";
    case OP_SUB:
        return "ii:i uu:u dd:d tt:D tD:t DD:D";
    case OP_MUL:
    case OP_DIV:
        return "ii:i uu:u dd:d";
    case OP_MOD:
        return "ii:i uu:u";
    case OP_NEG:
        return "i:i d:d";
    case OP_EQ:
    case OP_NE:
        return "AA:b";
    case OP_IN:
        return "ALA:b AMAB:b";
    default:
        return "bb:b ii:b uu:b dd:b ss:b yy:b tt:b DD:b iu:b id:b ui:b ud:b di:b du:b";
    }
}

static const char *op_symbol(cel_op op)
{
    static const char *const symbols[] = {
        [OP_NEG] = "-", [OP_EQ] = "==", [OP_NE] = "!=", [OP_LT] = "<",  [OP_LE] = "<=",
        [OP_GT] = ">",  [OP_GE] = ">=", [OP_IN] = "in", [OP_ADD] = "+", [OP_SUB] = "-",
        [OP_MUL] = "*", [OP_DIV] = "/", [OP_MOD] = "%"};

    return symbols[op];
}

static void tell_operator(checker *c, const cel_ast *ast, const cel_type *const *args)
{
    cel_op op = (cel_op)ast->code;

    if (ast->n == 1) {
        cel_issue_add(c->source, ast->pos, "'%s' does not take a %s", op_symbol(op),
                      type_text(c, args[0]));
        return;
    }
    cel_issue_add(c->source, ast->pos, "'%s' does not take %s and %s%s", op_symbol(op),
                  type_text(c, args[0]), type_text(c, args[1]),
                  is_number(args[0]->kind) && is_number(args[1]->kind)
                      ? "; convert one with int(), uint() or double()"
                      : "");
}

/* Arithmetic whose operands are, or may be, numbers of any kinds. */
static bool is_json_arithmetic(const cel_ast *ast, const cel_type *const *args)
{
    for (size_t i = 0; i < ast->n; i++)
        if (!is_number(args[i]->kind) && args[i]->kind != TYPE_DYN)
            return false;
    return ast->n == 2 && ast->code >= OP_ADD && ast->code <= OP_MOD;
}

static const cel_type *check_operator(checker *c, cel_ast *ast)
{
    const char *at = op_signatures((cel_op)ast->code);
    const cel_type *args[2] = {NULL, NULL}, *type = NULL;

    for (size_t i = 0; i < ast->n; i++)
        args[i] = cel_type_resolve(check(c, ast->args[i]));
    while (*at) {
        const cel_type *vars[2] = {NULL, NULL}, *result;
        cel_trail trail = {.n = 0};
        bool fit = true;

        for (size_t i = 0; i < ast->n; i++) {
            const cel_type *param = cel_type_decode(c->arena, &at, vars);

            fit = cel_type_unify_trail(args[i], param, &trail) && fit;
            cel_type_widen(args[i], param, &trail);
        }
        at++; /* the colon */
        result = cel_type_decode(c->arena, &at, vars);
        if (fit) {
            result = cel_type_settle(c->arena, result, false);
            type = type ? cel_type_join(type, result) : result;
        }
        if (!fit || *at)
            cel_trail_undo(&trail);
        at += *at == ' ';
    }
    if (c->env->json_numbers && is_json_arithmetic(ast, args))
        type = args[0]->kind == TYPE_DYN || args[1]->kind == TYPE_DYN ? &cel_type_dyn
               : args[0]->kind == args[1]->kind && type               ? type
                                                                      : SIMPLE(CEL_DOUBLE);
    if (type)
        return type;
    if (!c->unchecked)
        tell_operator(c, ast, args);
    return &cel_type_dyn;
}

static const cel_type *check_op(checker *c, cel_ast *ast)
{
    switch (ast->code) {
    case OP_AND:
        return check_bools(c, ast, "'&&' takes bools, not a");
    case OP_OR:
        return check_bools(c, ast, "'||' takes bools, not a");
    case OP_NOT:
        return check_bools(c, ast, "'!' takes a bool, not a");
    case OP_COND:
        return check_cond(c, ast);
    case OP_INDEX:
        return check_index(c, ast);
    default:
        return check_operator(c, ast);
    }
}

/* ---- literals ---- */

/* The type of an element; one written with ? must be an optional, and is what that holds. */
static const cel_type *element_type(checker *c, cel_ast *ast, size_t i, bool marked)
{
    const cel_type *type = cel_type_resolve(check(c, ast->args[i]));

    if (!marked || type->kind == TYPE_DYN || type->kind == TYPE_VAR)
        return type;
    if (type->kind == CEL_OPTIONAL)
        return type->params[0];
    return mismatch(c, ast->args[i]->pos, "an element with ? must be an optional, not a", type);
}

static const cel_type *check_list(checker *c, cel_ast *ast)
{
    const cel_type *element = NULL;

    for (size_t i = 0; i < ast->n; i++) {
        const cel_type *type = element_type(c, ast, i, ast->marks && ast->marks[i]);

        element = element ? cel_type_join(element, type) : type;
    }
    if (!element)
        element = cel_type_make(c->arena, TYPE_VAR, NULL, NULL);
    return cel_type_make(c->arena, CEL_LIST, element, NULL);
}

static const cel_type *check_map(checker *c, cel_ast *ast)
{
    const cel_type *key = NULL, *value = NULL;

    for (size_t i = 0; i + 1 < ast->n; i += 2) {
        const cel_type *k = check(c, ast->args[i]);
        const cel_type *v = element_type(c, ast, i + 1, ast->marks && ast->marks[i]);

        key = key ? cel_type_join(key, k) : k;
        value = value ? cel_type_join(value, v) : v;
    }
    if (!key) {
        key = cel_type_make(c->arena, TYPE_VAR, NULL, NULL);
        value = cel_type_make(c->arena, TYPE_VAR, NULL, NULL);
    }
    return cel_type_make(c->arena, CEL_MAP, key, value);
}

static const cel_type *check_const(const cel_ast *ast)
{
    return SIMPLE((int)ast->value.kind);
}

/* ---- macros ---- */

/* What the variables of a macro over `range` are. */
static void range_types(checker *c, const cel_ast *ast, const cel_type *range,
                        const cel_type *types[2])
{
    types[0] = types[1] = &cel_type_dyn;
    range = cel_type_settle(c->arena, range, true);
    if (range->kind == CEL_LIST) {
        types[0] = ast->two ? SIMPLE(CEL_INT) : range->params[0];
        types[1] = range->params[0];
    } else if (range->kind == CEL_MAP && ast->code != MACRO_SORT_BY) {
        types[0] = range->params[0];
        types[1] = range->params[1];
    } else if (range->kind != TYPE_DYN) {
        mismatch(c, ast->pos, "a macro goes over a list or a map, not a", range);
    }
}

static const cel_type *macro_result(checker *c, const cel_ast *ast, const cel_type *range,
                                    const cel_type *const vars[2], const cel_type *body)
{
    range = cel_type_resolve(range);
    switch (ast->code) {
    case MACRO_ALL:
    case MACRO_EXISTS:
    case MACRO_EXISTS_ONE:
        return SIMPLE(CEL_BOOL);
    case MACRO_MAP:
    case MACRO_TRANSFORM_LIST:
        return cel_type_make(c->arena, CEL_LIST, body, NULL);
    case MACRO_FILTER:
    case MACRO_SORT_BY:
        return cel_type_make(c->arena, CEL_LIST, vars[0], NULL);
    case MACRO_TRANSFORM_MAP:
        return cel_type_make(c->arena, CEL_MAP, vars[0], body);
    case MACRO_OPT_MAP:
        return cel_type_make(c->arena, CEL_OPTIONAL, body, NULL);
    default:
        return body;
    }
}

static const cel_type any_optional = {CEL_OPTIONAL, 2, {&cel_type_dyn, NULL}, NULL};

/* Conditions of a macro are bools: the only body of some, the first of two bodies of others. */
static void check_condition(checker *c, const cel_ast *ast, size_t i, const cel_type *type)
{
    bool condition = ast->code == MACRO_ALL || ast->code == MACRO_EXISTS ||
                     ast->code == MACRO_EXISTS_ONE || ast->code == MACRO_FILTER ||
                     (i == 1 && ast->n == 3);

    if (condition && !cel_type_unify(type, SIMPLE(CEL_BOOL)))
        mismatch(c, ast->args[i]->pos, "a condition must be a bool, not a", type);
    if (ast->code == MACRO_OPT_FLAT_MAP && !cel_type_unify(type, &any_optional))
        mismatch(c, ast->args[i]->pos, "optFlatMap makes an optional, not a", type);
}

static const cel_type *check_macro(checker *c, cel_ast *ast)
{
    const cel_type *types[2] = {&cel_type_dyn, &cel_type_dyn}, *body = &cel_type_dyn;
    const cel_type *range = check(c, ast->args[0]);
    scope first, second;

    if (ast->code == MACRO_BIND) {
        types[0] = cel_type_settle(c->arena, range, true);
    } else if (ast->code == MACRO_OPT_MAP || ast->code == MACRO_OPT_FLAT_MAP) {
        const cel_type *settled = cel_type_settle(c->arena, range, true);

        types[0] = settled->kind == CEL_OPTIONAL ? settled->params[0] : &cel_type_dyn;
        if (settled->kind != CEL_OPTIONAL && settled->kind != TYPE_DYN)
            mismatch(c, ast->pos, "optMap and optFlatMap go over an optional, not a", settled);
    } else {
        range_types(c, ast, range, types);
    }
    ast->place = c->slots;
    first = (scope){c->scope, ast->vars[0], types[0], c->slots};
    c->scope = &first;
    c->slots++;
    if (ast->two) {
        second = (scope){&first, ast->vars[1], types[1], c->slots};
        c->scope = &second;
        c->slots++;
    }
    if (c->slots > c->slots_max)
        c->slots_max = c->slots;
    for (size_t i = 1; i < ast->n; i++) {
        body = check(c, ast->args[i]);
        check_condition(c, ast, i, body);
    }
    c->slots -= 1u + ast->two;
    c->scope = first.outer;
    return macro_result(c, ast, range, types, body);
}

static const cel_type *check_kind(checker *c, cel_ast *ast)
{
    switch (ast->kind) {
    case AST_CONST:
        return check_const(ast);
    case AST_IDENT:
        return check_ident(c, ast);
    case AST_SELECT:
    case AST_HAS:
        return check_select(c, ast);
    case AST_CALL:
        return check_call(c, ast);
    case AST_LIST:
        return check_list(c, ast);
    case AST_MAP:
        return check_map(c, ast);
    case AST_MACRO:
        return check_macro(c, ast);
    default:
        return check_op(c, ast);
    }
}

static const cel_type *check(checker *c, cel_ast *ast)
{
    ast->type = check_kind(c, ast);
    return ast->type;
}

bool cel_check(const cel_env *env, const cel_source *source, cel_ast *ast, bool unchecked,
               uint32_t *slots)
{
    checker c = {.env = env, .source = source, .arena = source->arena, .unchecked = unchecked};

    check(&c, ast);
    *slots = c.slots_max;
    return source->issues->n == 0;
}
