/* server/workflow/expr.c - see expr.h for the grammar. A recursive descent parser makes a
 * tree of nodes; evaluating walks it. Depth and the sizes of what + makes are bounded, so
 * that neither the stack nor the arena grows with what a chart says. */
#include "server/workflow/expr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum node_kind {
    NODE_LITERAL,
    NODE_LIST,
    NODE_DATA,
    NODE_EVENT,    /* only with a member: event.name, event.data */
    NODE_INSTANCE, /* instance.id, instance.entity_id */
    NODE_MEMBER,   /* a.name */
    NODE_INDEX,    /* a[b] */
    NODE_HAS,
    NODE_SIZE,
    NODE_IN_STATE,
    NODE_NOT,
    NODE_NEGATE,
    NODE_BINARY,
    NODE_CHOICE /* a ? b : c */
} node_kind;

typedef enum binary_op {
    OP_NONE,
    OP_OR,
    OP_AND,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_MOD
} binary_op;

struct workflow_expr {
    node_kind kind;
    binary_op op;
    const char *name;     /* MEMBER, IN_STATE */
    const wm_json *value; /* LITERAL */
    const workflow_expr *a, *b, *c;
    const workflow_expr *next; /* among the elements of a LIST, whose first is `a` */
};

/* ---- parsing ---- */

typedef struct parser {
    wm_arena *arena;
    const char *text, *at;
    int depth;
    bool failed;
    wm_err *err;
} parser;

static workflow_expr *parse_choice(parser *p);

static workflow_expr *parse_fail(parser *p, const char *what)
{
    if (!p->failed)
        wm_fail(p->err, WM_INVALID, "EXPRESSION_INVALID", "at character %zu: %s",
                (size_t)(p->at - p->text) + 1, what);
    p->failed = true;
    return NULL;
}

static workflow_expr *node_new(parser *p, node_kind kind)
{
    workflow_expr *node = WM_NEW(p->arena, workflow_expr);

    node->kind = kind;
    return node;
}

static workflow_expr *literal(parser *p, const wm_json *value)
{
    workflow_expr *node = node_new(p, NODE_LITERAL);

    node->value = value;
    return node;
}

static void skip_space(parser *p)
{
    p->at += strspn(p->at, " \t\r\n");
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static size_t name_len(const char *text)
{
    size_t len = 0;

    if (!is_name_start(*text))
        return 0;
    while (is_name_start(text[len]) || (text[len] >= '0' && text[len] <= '9'))
        len++;
    return len;
}

/* Takes `symbol` if it is next; "<" does not take the start of "<=". */
static bool take(parser *p, const char *symbol)
{
    size_t len = strlen(symbol);

    skip_space(p);
    if (strncmp(p->at, symbol, len) != 0)
        return false;
    if (is_name_start(*symbol) && name_len(p->at) != len)
        return false;
    p->at += len;
    return true;
}

static bool expect(parser *p, const char *symbol, const char *what)
{
    if (take(p, symbol))
        return true;
    parse_fail(p, what);
    return false;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* \uXXXX as UTF-8 into out; the number of bytes, 0 when it is not one. */
static size_t parse_unicode(const char *at, char *out)
{
    unsigned code = 0;

    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0)
            return 0;
        code = code * 16 + (unsigned)digit;
    }
    if (code == 0 || (code >= 0xD800 && code <= 0xDFFF))
        return 0;
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    out[0] = (char)(0xE0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 0x3F));
    out[2] = (char)(0x80 | (code & 0x3F));
    return 3;
}

/* One escape after its backslash; moves on past it. */
static bool parse_escape(parser *p, char *out, size_t *len)
{
    static const char from[] = "\\'\"`?nrtabfv", to[] = "\\'\"`?\n\r\t\a\b\f\v";
    const char *found = *p->at ? strchr(from, *p->at) : NULL;

    if (found) {
        out[(*len)++] = to[found - from];
        p->at++;
        return true;
    }
    if (*p->at == 'u') {
        size_t n = parse_unicode(p->at + 1, out + *len);

        if (n > 0) {
            *len += n;
            p->at += 5;
            return true;
        }
    }
    parse_fail(p, "an escape that is not known");
    return false;
}

/* Bytes up to the closing quote, which no escape makes longer; a newline or the end stops it too.
 */
static size_t string_room(const char *at, char quote)
{
    size_t len = 0;

    while (at[len] && at[len] != quote && at[len] != '\n')
        len += at[len] == '\\' && at[len + 1] ? 2 : 1;
    return len;
}

static const wm_json *parse_string(parser *p)
{
    char quote = *p->at++;
    char *text = (char *)wm_arena_alloc(p->arena, string_room(p->at, quote) + 1);
    size_t len = 0;

    while (*p->at != quote) {
        if (*p->at == '\0' || *p->at == '\n') {
            parse_fail(p, "a string without its end");
            return NULL;
        }
        if (*p->at == '\\') {
            p->at++;
            if (!parse_escape(p, text, &len))
                return NULL;
        } else {
            text[len++] = *p->at++;
        }
    }
    p->at++;
    return workflow_value_string(p->arena, text, len);
}

/* JSON's numbers, without strtod's names, hexadecimal and locale. */
static workflow_expr *parse_number(parser *p)
{
    const char *at = p->at;
    size_t len = strspn(at, "0123456789");
    wm_json *json;
    wm_err ignored;

    if (at[len] == '.')
        len += 1 + strspn(at + len + 1, "0123456789");
    if (at[len] == 'e' || at[len] == 'E') {
        len++;
        if (at[len] == '+' || at[len] == '-')
            len++;
        len += strspn(at + len, "0123456789");
    }
    if (is_name_start(at[len]) || wm_json_parse(p->arena, at, len, &json, &ignored) != WM_OK)
        return parse_fail(p, "a number that cannot be read");
    p->at += len;
    return literal(p, workflow_value_number(p->arena, json->number));
}

static workflow_expr *parse_list(parser *p)
{
    workflow_expr *list = node_new(p, NODE_LIST);
    const workflow_expr **tail = &list->a;

    if (take(p, "]"))
        return list;
    do {
        workflow_expr *element = parse_choice(p);

        if (!element)
            return NULL;
        *tail = element;
        tail = &element->next;
    } while (take(p, ","));
    return expect(p, "]", "expected , or ] in a list") ? list : NULL;
}

static workflow_expr *parse_call(parser *p, node_kind kind)
{
    workflow_expr *node = node_new(p, kind);

    if (!expect(p, "(", "expected ( after a function"))
        return NULL;
    node->a = parse_choice(p);
    if (!node->a || !expect(p, ")", "expected )"))
        return NULL;
    if (kind == NODE_HAS && node->a->kind != NODE_MEMBER)
        return parse_fail(p, "has() takes a path such as data.a");
    if (kind == NODE_IN_STATE) {
        if (node->a->kind != NODE_LITERAL || node->a->value->kind != WM_JSON_STRING)
            return parse_fail(p, "in_state() takes a string");
        node->name = node->a->value->text;
    }
    return node;
}

static workflow_expr *parse_name(parser *p)
{
    static const struct {
        const char *name;
        node_kind kind;
        bool call;
    } names[] = {
        {"data", NODE_DATA, false},         {"event", NODE_EVENT, false},
        {"instance", NODE_INSTANCE, false}, {"has", NODE_HAS, true},
        {"size", NODE_SIZE, true},          {"in_state", NODE_IN_STATE, true},
    };

    if (take(p, "true"))
        return literal(p, workflow_value_bool(true));
    if (take(p, "false"))
        return literal(p, workflow_value_bool(false));
    if (take(p, "null"))
        return literal(p, workflow_value_null());
    for (size_t i = 0; i < WM_ARRAY_LEN(names); i++) {
        if (take(p, names[i].name))
            return names[i].call ? parse_call(p, names[i].kind) : node_new(p, names[i].kind);
    }
    return parse_fail(p, "a name that is not known (data, event, instance, has, size, in_state)");
}

static workflow_expr *parse_primary(parser *p)
{
    skip_space(p);
    if (take(p, "(")) {
        workflow_expr *inner = parse_choice(p);

        return inner && expect(p, ")", "expected )") ? inner : NULL;
    }
    if (take(p, "["))
        return parse_list(p);
    if (*p->at == '\'' || *p->at == '"') {
        const wm_json *text = parse_string(p);

        return text ? literal(p, text) : NULL;
    }
    if (*p->at >= '0' && *p->at <= '9')
        return parse_number(p);
    if (is_name_start(*p->at))
        return parse_name(p);
    return parse_fail(p, *p->at ? "expected a value" : "the expression ends too early");
}

static workflow_expr *parse_member(parser *p)
{
    workflow_expr *node = parse_primary(p);

    while (node) {
        workflow_expr *outer;

        if (take(p, "[")) {
            outer = node_new(p, NODE_INDEX);
            outer->b = parse_choice(p);
            if (!outer->b || !expect(p, "]", "expected ]"))
                return NULL;
        } else if (take(p, ".")) {
            size_t len;

            skip_space(p);
            len = name_len(p->at);
            if (len == 0)
                return parse_fail(p, "expected a name after .");
            outer = node_new(p, NODE_MEMBER);
            outer->name = wm_arena_strndup(p->arena, p->at, len);
            p->at += len;
        } else {
            break;
        }
        outer->a = node;
        node = outer;
    }
    return node;
}

static workflow_expr *parse_unary(parser *p)
{
    workflow_expr *node;

    skip_space(p);
    if (*p->at == '-' || (*p->at == '!' && p->at[1] != '=')) {
        node = node_new(p, *p->at == '-' ? NODE_NEGATE : NODE_NOT);
        p->at++;
        if (++p->depth > EXPR_DEPTH_MAX)
            return parse_fail(p, "nested too deep");
        node->a = parse_unary(p);
        p->depth--;
        return node->a ? node : NULL;
    }
    return parse_member(p);
}

/* The binary operators, weakest first; longer symbols before their prefixes. */
static const struct {
    const char *symbol;
    binary_op op;
    int level;
} operators[] = {
    {"||", OP_OR, 0}, {"&&", OP_AND, 1}, {"==", OP_EQ, 2}, {"!=", OP_NE, 2}, {"<=", OP_LE, 2},
    {">=", OP_GE, 2}, {"<", OP_LT, 2},   {">", OP_GT, 2},  {"in", OP_IN, 2}, {"+", OP_ADD, 3},
    {"-", OP_SUB, 3}, {"*", OP_MUL, 4},  {"/", OP_DIV, 4}, {"%", OP_MOD, 4},
};

static binary_op take_operator(parser *p, int level)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(operators); i++) {
        if (operators[i].level == level && take(p, operators[i].symbol))
            return operators[i].op;
    }
    return OP_NONE;
}

static workflow_expr *parse_binary(parser *p, int level)
{
    workflow_expr *node = level > 4 ? parse_unary(p) : parse_binary(p, level + 1);
    binary_op op;
    int links = 0;

    while (node && level <= 4 && (op = take_operator(p, level)) != OP_NONE) {
        workflow_expr *outer = node_new(p, NODE_BINARY);

        /* A chain leans to the left, so its length is evaluation depth. */
        if (++links > 500)
            return parse_fail(p, "too many operators in a row");
        outer->op = op;
        outer->a = node;
        outer->b = parse_binary(p, level + 1);
        node = outer->b ? outer : NULL;
    }
    return node;
}

static workflow_expr *parse_choice(parser *p)
{
    workflow_expr *node;

    if (++p->depth > EXPR_DEPTH_MAX)
        return parse_fail(p, "nested too deep");
    node = parse_binary(p, 0);
    if (node && take(p, "?")) {
        workflow_expr *choice = node_new(p, NODE_CHOICE);

        choice->a = node;
        choice->b = parse_binary(p, 0);
        if (choice->b && expect(p, ":", "expected : after ?"))
            choice->c = parse_choice(p);
        node = choice->c ? choice : NULL;
    }
    p->depth--;
    return node;
}

static bool is_known_member(const workflow_expr *node)
{
    static const char *const event[] = {"name", "data"}, *const instance[] = {"id", "entity_id"};
    const char *const *names = node->a->kind == NODE_EVENT ? event : instance;

    return strcmp(node->name, names[0]) == 0 || strcmp(node->name, names[1]) == 0;
}

/* `event` and `instance` are no values by themselves, and have only the members they have. */
static bool check_roots(parser *p, const workflow_expr *node)
{
    if (!node)
        return true;
    if (node->kind == NODE_EVENT || node->kind == NODE_INSTANCE)
        return parse_fail(p, "event and instance are read by their members") != NULL;
    if (node->kind == NODE_MEMBER &&
        (node->a->kind == NODE_EVENT || node->a->kind == NODE_INSTANCE)) {
        if (!is_known_member(node))
            return parse_fail(p, "known are event.name, event.data, instance.id and "
                                 "instance.entity_id") != NULL;
        return true;
    }
    for (const workflow_expr *e = node->kind == NODE_LIST ? node->a : NULL; e; e = e->next) {
        if (!check_roots(p, e))
            return false;
    }
    return (node->kind == NODE_LIST || check_roots(p, node->a)) && check_roots(p, node->b) &&
           check_roots(p, node->c);
}

wm_code workflow_expr_compile(wm_arena *arena, const char *text, const workflow_expr **made,
                              wm_err *err)
{
    parser p = {.arena = arena, .text = text, .at = text, .err = err};
    workflow_expr *node;

    if (strlen(text) > EXPR_SIZE_MAX)
        return wm_fail(err, WM_INVALID, "EXPRESSION_INVALID", "longer than %d bytes",
                       EXPR_SIZE_MAX);
    node = parse_choice(&p);
    if (node) {
        skip_space(&p);
        if (*p.at)
            parse_fail(&p, "expected an operator or the end");
        else
            check_roots(&p, node);
    }
    *made = node;
    return p.failed ? WM_INVALID : WM_OK;
}

void workflow_expr_each_state(const workflow_expr *expr, void (*found)(void *ctx, const char *id),
                              void *ctx)
{
    if (!expr)
        return;
    if (expr->kind == NODE_IN_STATE) {
        found(ctx, expr->name);
        return;
    }
    if (expr->kind == NODE_LIST) {
        for (const workflow_expr *e = expr->a; e; e = e->next)
            workflow_expr_each_state(e, found, ctx);
        return;
    }
    workflow_expr_each_state(expr->a, found, ctx);
    workflow_expr_each_state(expr->b, found, ctx);
    workflow_expr_each_state(expr->c, found, ctx);
}

bool workflow_expr_is_not_bool(const workflow_expr *expr)
{
    return expr->kind == NODE_LIST || expr->kind == NODE_NEGATE || expr->kind == NODE_SIZE ||
           (expr->kind == NODE_LITERAL && expr->value->kind != WM_JSON_BOOL) ||
           (expr->kind == NODE_BINARY && expr->op >= OP_ADD);
}

/* ---- evaluating ---- */

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
