/* server/workflow/expr_eval.c - evaluates expressions by walking their trees. What + makes is
 * bounded, so that the arena does not grow with what a chart says. */
#include <math.h>
#include <string.h>

#include "server/workflow/expr_node.h"

typedef struct evaluation {
    wm_arena *arena;
    const workflow_env *env;
    const char **why;
} evaluation;

static const wm_json *eval(evaluation *e, const workflow_expr *node);

static const wm_json *eval_fail(evaluation *e, const char *why)
{
    *e->why = why;
    return NULL;
}

static const wm_json *eval_root_member(evaluation *e, const workflow_expr *node)
{
    const workflow_env *env = e->env;

    if (node->a->kind == NODE_INSTANCE) {
        const char *text = strcmp(node->name, "id") == 0 ? env->instance_id : env->entity_id;

        return workflow_value_string(e->arena, text, strlen(text));
    }
    if (!env->event_name)
        return eval_fail(e, "there is no event here");
    if (strcmp(node->name, "name") == 0)
        return workflow_value_string(e->arena, env->event_name, strlen(env->event_name));
    return env->event_data;
}

static const wm_json *eval_member(evaluation *e, const workflow_expr *node)
{
    const wm_json *object, *member;

    if (node->a->kind == NODE_EVENT || node->a->kind == NODE_INSTANCE)
        return eval_root_member(e, node);
    object = eval(e, node->a);
    if (!object)
        return NULL;
    if (object->kind != WM_JSON_OBJECT)
        return eval_fail(
            e, wm_arena_printf(e->arena, "no member %.64s in what is no object", node->name));
    member = wm_json_find(object, node->name);
    if (!member)
        return eval_fail(e, wm_arena_printf(e->arena, "no member %.64s", node->name));
    return member;
}

static const wm_json *eval_index(evaluation *e, const workflow_expr *node)
{
    const wm_json *from = eval(e, node->a), *index = from ? eval(e, node->b) : NULL;
    const wm_json *found = NULL;

    if (!index)
        return NULL;
    if (from->kind == WM_JSON_OBJECT && index->kind == WM_JSON_STRING) {
        found = wm_json_find(from, index->text);
    } else if (from->kind == WM_JSON_ARRAY && index->kind == WM_JSON_NUMBER) {
        double at = index->number;

        if (at >= 0 && at < (double)from->len && at == floor(at)) {
            found = from->first;
            for (size_t i = 0; i < (size_t)at; i++)
                found = found->next;
        }
    } else {
        return eval_fail(e, "[] takes a list and a number, or an object and a string");
    }
    return found ? found : eval_fail(e, "no such element");
}

/* UTF-8 sequences, as CEL counts. */
static double text_size(const wm_json *text)
{
    size_t n = 0;

    for (size_t i = 0; i < text->text_len; i++)
        n += ((unsigned char)text->text[i] & 0xC0) != 0x80;
    return (double)n;
}

static const wm_json *eval_size(evaluation *e, const workflow_expr *node)
{
    const wm_json *value = eval(e, node->a);

    if (!value)
        return NULL;
    if (value->kind == WM_JSON_STRING)
        return workflow_value_number(e->arena, text_size(value));
    if (value->kind == WM_JSON_ARRAY || value->kind == WM_JSON_OBJECT)
        return workflow_value_number(e->arena, (double)value->len);
    return eval_fail(e, "size() takes a string, a list or an object");
}

static const wm_json *eval_list(evaluation *e, const workflow_expr *node)
{
    workflow_builder list;

    workflow_build(&list, e->arena, WM_JSON_ARRAY);
    for (const workflow_expr *element = node->a; element; element = element->next) {
        const wm_json *value = eval(e, element);

        if (!value)
            return NULL;
        workflow_build_add(&list, NULL, value);
    }
    return list.value;
}

/* CEL's rule: the side that decides wins over an error on the other one. */
static const wm_json *eval_logic(evaluation *e, const workflow_expr *node)
{
    bool decides = node->op == OP_OR;
    const wm_json *sides[2];

    for (int i = 0; i < 2; i++) {
        sides[i] = eval(e, i == 0 ? node->a : node->b);
        if (sides[i] && sides[i]->kind != WM_JSON_BOOL)
            sides[i] = eval_fail(e, "&& and || take booleans");
        if (sides[i] && sides[i]->boolean == decides)
            return workflow_value_bool(decides);
    }
    return sides[0] && sides[1] ? workflow_value_bool(!decides) : NULL;
}

static const wm_json *eval_order(evaluation *e, binary_op op, const wm_json *a, const wm_json *b)
{
    bool less, equal;

    if (a->kind == WM_JSON_NUMBER && b->kind == WM_JSON_NUMBER) {
        less = a->number < b->number;
        equal = a->number == b->number;
        if (!less && !equal && !(a->number > b->number))
            return workflow_value_bool(false);
    } else if (a->kind == WM_JSON_STRING && b->kind == WM_JSON_STRING) {
        int order = strcmp(a->text, b->text);

        less = order < 0;
        equal = order == 0;
    } else if (a->kind == WM_JSON_BOOL && b->kind == WM_JSON_BOOL) {
        less = !a->boolean && b->boolean;
        equal = a->boolean == b->boolean;
    } else {
        return eval_fail(e, "< <= > >= take two numbers or two strings");
    }
    switch (op) {
    case OP_LT:
        return workflow_value_bool(less);
    case OP_LE:
        return workflow_value_bool(less || equal);
    case OP_GT:
        return workflow_value_bool(!less && !equal);
    default:
        return workflow_value_bool(!less);
    }
}

static const wm_json *eval_in(evaluation *e, const wm_json *a, const wm_json *b)
{
    if (b->kind == WM_JSON_OBJECT && a->kind == WM_JSON_STRING)
        return workflow_value_bool(wm_json_find(b, a->text) != NULL);
    if (b->kind != WM_JSON_ARRAY)
        return eval_fail(e, "in takes a list or an object on its right");
    for (const wm_json *element = b->first; element; element = element->next) {
        if (workflow_value_equal(a, element))
            return workflow_value_bool(true);
    }
    return workflow_value_bool(false);
}

/* One value may be long, and a thousand of them too much. */
static bool is_out_of_memory(const evaluation *e)
{
    return e->env->memory_max > 0 && wm_arena_used(e->arena) > e->env->memory_max;
}

static const wm_json *eval_join(evaluation *e, const wm_json *a, const wm_json *b)
{
    if (is_out_of_memory(e))
        return eval_fail(e, "too much memory is used");
    if (a->kind == WM_JSON_STRING && b->kind == WM_JSON_STRING) {
        size_t len = a->text_len + b->text_len;
        char *text;

        if (len > EXPR_STRING_MAX)
            return eval_fail(e, "a string would be too long");
        text = (char *)wm_arena_alloc(e->arena, len + 1);
        memcpy(text, a->text, a->text_len);
        memcpy(text + a->text_len, b->text, b->text_len);
        return workflow_value_string(e->arena, text, len);
    }
    if (a->kind == WM_JSON_ARRAY && b->kind == WM_JSON_ARRAY) {
        workflow_builder list;

        if (a->len + b->len > EXPR_LIST_MAX)
            return eval_fail(e, "a list would be too long");
        workflow_build(&list, e->arena, WM_JSON_ARRAY);
        for (const wm_json *element = a->first; element; element = element->next)
            workflow_build_add(&list, NULL, element);
        for (const wm_json *element = b->first; element; element = element->next)
            workflow_build_add(&list, NULL, element);
        return list.value;
    }
    return eval_fail(e, "+ takes two numbers, two strings or two lists");
}

static const wm_json *eval_arithmetic(evaluation *e, binary_op op, const wm_json *a,
                                      const wm_json *b)
{
    double x = a->number, y = b->number, z;

    if (a->kind != WM_JSON_NUMBER || b->kind != WM_JSON_NUMBER)
        return op == OP_ADD ? eval_join(e, a, b) : eval_fail(e, "- * / % take two numbers");
    if ((op == OP_DIV || op == OP_MOD) && y == 0)
        return eval_fail(e, "division by zero");
    switch (op) {
    case OP_ADD:
        z = x + y;
        break;
    case OP_SUB:
        z = x - y;
        break;
    case OP_MUL:
        z = x * y;
        break;
    case OP_DIV:
        z = x / y;
        break;
    default:
        z = fmod(x, y);
        break;
    }
    /* Infinity would not survive JSON. */
    return isfinite(z) ? workflow_value_number(e->arena, z) : eval_fail(e, "a number overflows");
}

static const wm_json *eval_binary(evaluation *e, const workflow_expr *node)
{
    const wm_json *a, *b;

    if (node->op == OP_OR || node->op == OP_AND)
        return eval_logic(e, node);
    a = eval(e, node->a);
    b = a ? eval(e, node->b) : NULL;
    if (!b)
        return NULL;
    switch (node->op) {
    case OP_EQ:
        return workflow_value_bool(workflow_value_equal(a, b));
    case OP_NE:
        return workflow_value_bool(!workflow_value_equal(a, b));
    case OP_IN:
        return eval_in(e, a, b);
    case OP_LT:
    case OP_LE:
    case OP_GT:
    case OP_GE:
        return eval_order(e, node->op, a, b);
    default:
        return eval_arithmetic(e, node->op, a, b);
    }
}

/* has(a.b): a must be there; b may be missing. */
static const wm_json *eval_has(evaluation *e, const workflow_expr *node)
{
    const workflow_expr *path = node->a;
    const wm_json *object;

    if (path->a->kind == NODE_EVENT || path->a->kind == NODE_INSTANCE)
        return workflow_value_bool(path->a->kind == NODE_INSTANCE || e->env->event_name != NULL);
    object = eval(e, path->a);
    if (!object)
        return NULL;
    return workflow_value_bool(object->kind == WM_JSON_OBJECT &&
                               wm_json_find(object, path->name) != NULL);
}

static const wm_json *eval_unary(evaluation *e, const workflow_expr *node)
{
    const wm_json *value = eval(e, node->a);

    if (!value)
        return NULL;
    if (node->kind == NODE_NOT)
        return value->kind == WM_JSON_BOOL ? workflow_value_bool(!value->boolean)
                                           : eval_fail(e, "! takes a boolean");
    return value->kind == WM_JSON_NUMBER ? workflow_value_number(e->arena, -value->number)
                                         : eval_fail(e, "- takes a number");
}

static const wm_json *eval_choice(evaluation *e, const workflow_expr *node)
{
    const wm_json *which = eval(e, node->a);

    if (!which)
        return NULL;
    if (which->kind != WM_JSON_BOOL)
        return eval_fail(e, "? takes a boolean");
    return eval(e, which->boolean ? node->b : node->c);
}

static const wm_json *eval(evaluation *e, const workflow_expr *node)
{
    switch (node->kind) {
    case NODE_LITERAL:
        return node->value;
    case NODE_LIST:
        return eval_list(e, node);
    case NODE_DATA:
        return e->env->data;
    case NODE_MEMBER:
        return eval_member(e, node);
    case NODE_INDEX:
        return eval_index(e, node);
    case NODE_HAS:
        return eval_has(e, node);
    case NODE_SIZE:
        return eval_size(e, node);
    case NODE_IN_STATE:
        return workflow_value_bool(e->env->in_state(e->env->ctx, node->name));
    case NODE_NOT:
    case NODE_NEGATE:
        return eval_unary(e, node);
    case NODE_BINARY:
        return eval_binary(e, node);
    case NODE_CHOICE:
        return eval_choice(e, node);
    case NODE_EVENT:
    case NODE_INSTANCE:
        break; /* check_roots() lets no bare one through */
    }
    return eval_fail(e, "not a value");
}

const wm_json *workflow_expr_eval(const workflow_expr *expr, wm_arena *arena,
                                  const workflow_env *env, const char **why)
{
    evaluation e = {arena, env, why};

    *why = "";
    return eval(&e, expr);
}
