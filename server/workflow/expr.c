/* server/workflow/expr.c - reads expressions; see expr.h for the grammar. A recursive descent
 * parser makes a tree of nodes, whose depth is bounded, so that the stack does not grow with
 * what a chart says. */
#include <string.h>

#include "server/workflow/expr_node.h"

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
