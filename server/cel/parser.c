/* cel/parser.c - from text to tree, by recursive descent along the grammar of the CEL
 * specification.
 *
 *     expr     = or [ "?" or ":" expr ]
 *     or       = and { "||" and }            a && b && c is one node with three operands
 *     and      = relation { "&&" relation }
 *     relation = sum { ("<" | "<=" | ... | "in") sum }
 *     sum      = product { ("+" | "-") product }
 *     product  = unary { ("*" | "/" | "%") unary }
 *     unary    = { "!" } member | { "-" } member
 *     member   = primary { "." name [ "(" list ")" ] | "[" expr "]" }
 *
 * Parsing stops at its first error: what follows one is mostly noise. The depth of the tree is
 * bounded, wherever it comes from (brackets, or a long a + b + c), so that everything behind
 * the parser may recurse.
 */
#include <stdio.h>
#include <string.h>

#include "server/cel/lexer.h"
#include "server/cel/macro.h"

typedef struct parser {
    const cel_source *source;
    cel_lexer lexer;
    cel_token token;
    uint32_t depth, nodes;
    bool no_macros;
} parser;

static cel_ast *parse_expr(parser *p);

static void advance(parser *p)
{
    p->token = cel_lexer_next(&p->lexer);
}

static cel_ast *fail_at(parser *p, uint32_t pos, const char *what)
{
    cel_issue_add(p->source, pos, "%s", what);
    return NULL;
}

/* "unexpected X, expected Y"; nothing when the lexer has complained already. */
static cel_ast *fail_expected(parser *p, const char *expected)
{
    const cel_token *token = &p->token;
    size_t len = token->end - token->pos;

    if (token->kind == TOKEN_BAD)
        return NULL;
    if (token->kind == TOKEN_END)
        cel_issue_add(p->source, token->pos, "the expression ends here, expected %s", expected);
    else
        cel_issue_add(p->source, token->pos, "unexpected %.*s, expected %s",
                      (int)(len > 40 ? 40 : len), p->source->text + token->pos, expected);
    return NULL;
}

static bool expect(parser *p, int kind, const char *name)
{
    if (p->token.kind != kind) {
        fail_expected(p, name);
        return false;
    }
    advance(p);
    return true;
}

static cel_ast *node_new(parser *p, cel_ast_kind kind, uint32_t pos, cel_ast **args, size_t n)
{
    cel_ast *node;
    uint16_t depth = 0;

    if (++p->nodes > CEL_NODES_MAX)
        return fail_at(p, pos, "the expression has too many parts");
    node = wm_arena_zalloc(p->source->arena, sizeof *node);
    if (!node)
        return fail_at(p, pos, "the expression is too large");
    for (size_t i = 0; i < n; i++)
        if (args[i]->depth > depth)
            depth = args[i]->depth;
    if (depth >= CEL_DEPTH_MAX)
        return fail_at(p, pos, "the expression is nested too deeply");
    node->kind = (uint8_t)kind;
    node->pos = pos;
    node->depth = (uint16_t)(depth + 1);
    node->n = (uint16_t)n;
    node->args = wm_arena_memdup(p->source->arena, args, n * sizeof *args);
    return node;
}

static cel_ast *node_op(parser *p, cel_op op, uint32_t pos, cel_ast **args, size_t n)
{
    cel_ast *node = node_new(p, AST_OP, pos, args, n);

    if (node)
        node->code = (uint8_t)op;
    return node;
}

static cel_ast *node_named(parser *p, cel_ast_kind kind, const cel_token *name, cel_ast **args,
                           size_t n)
{
    cel_ast *node = node_new(p, kind, name->pos, args, n);

    if (node) {
        node->name = name->name;
        node->name_len = (uint32_t)name->name_len;
        node->quoted = name->kind == TOKEN_QUOTED;
    }
    return node;
}

/* ---- lists of expressions ---- */

typedef struct items {
    cel_ast **list;
    bool *marks;
    size_t n, room;
    bool marked;
} items;

static bool items_add(parser *p, items *items, cel_ast *item, bool mark)
{
    if (items->n == items->room) {
        size_t room = items->room ? items->room * 2 : 8;
        cel_ast **list = wm_arena_array(p->source->arena, room, sizeof *list);
        bool *marks = wm_arena_array(p->source->arena, room, sizeof *marks);

        if (!list || !marks)
            return cel_issue_add(p->source, item->pos, "the expression is too large");
        if (items->n > 0) {
            memcpy(list, items->list, items->n * sizeof *list);
            memcpy(marks, items->marks, items->n * sizeof *marks);
        }
        items->list = list;
        items->marks = marks;
        items->room = room;
    }
    items->list[items->n] = item;
    items->marks[items->n++] = mark;
    items->marked |= mark;
    return true;
}

/* Expressions up to `end`, which is taken as well. */
static bool parse_items(parser *p, int end, const char *end_name, bool literal, items *items)
{
    while (p->token.kind != end) {
        bool mark = literal && p->token.kind == '?';
        cel_ast *item;

        if (mark)
            advance(p);
        item = parse_expr(p);
        if (!item || !items_add(p, items, item, mark))
            return false;
        if (p->token.kind != ',')
            break;
        advance(p);
        if (p->token.kind == end && !literal)
            return fail_expected(p, "an argument") != NULL;
    }
    return expect(p, end, end_name);
}

/* "[,]" and "{,}", which are empty: the comma behind the last element may be there without one. */
static bool parse_lone_comma(parser *p, int end, const char *end_name)
{
    advance(p);
    return expect(p, end, end_name);
}

static cel_ast *parse_list(parser *p)
{
    uint32_t pos = p->token.pos;
    items items = {0};
    cel_ast *node;

    advance(p);
    if (p->token.kind == ',' ? !parse_lone_comma(p, ']', "']'")
                             : !parse_items(p, ']', "',' or ']'", true, &items))
        return NULL;
    node = node_new(p, AST_LIST, pos, items.list, items.n);
    if (node && items.marked) {
        node->marks = items.marks;
        node->spread = true;
    }
    return node;
}

static bool parse_entry(parser *p, items *items)
{
    bool mark = p->token.kind == '?';
    cel_ast *key, *value;

    if (mark)
        advance(p);
    key = parse_expr(p);
    if (!key || !expect(p, ':', "':'"))
        return false;
    value = parse_expr(p);
    return value && items_add(p, items, key, mark) && items_add(p, items, value, mark);
}

static bool parse_entries(parser *p, items *items)
{
    while (p->token.kind != '}') {
        if (!parse_entry(p, items))
            return false;
        if (p->token.kind != ',')
            break;
        advance(p);
    }
    return expect(p, '}', "',' or '}'");
}

static cel_ast *parse_map(parser *p)
{
    uint32_t pos = p->token.pos;
    items items = {0};
    cel_ast *node;

    advance(p);
    if (p->token.kind == ',' ? !parse_lone_comma(p, '}', "'}'") : !parse_entries(p, &items))
        return NULL;
    node = node_new(p, AST_MAP, pos, items.list, items.n);
    if (node && items.marked) {
        node->marks = items.marks;
        node->spread = true;
    }
    return node;
}

/* ---- primaries and members ---- */

static bool is_reserved(const char *name)
{
    static const char *const words[] = {
        "as",  "break", "const",   "continue",  "else",   "for", "function", "if",   "import",
        "let", "loop",  "package", "namespace", "return", "var", "void",     "while"};

    for (size_t i = 0; i < WM_ARRAY_LEN(words); i++)
        if (strcmp(name, words[i]) == 0)
            return true;
    return false;
}

/* A call whose '(' is the next token: `target` (or NULL), then the arguments. */
static cel_ast *parse_call(parser *p, const cel_token *name, cel_ast *target, bool rooted)
{
    items items = {0};
    cel_ast *node;

    if (target && !items_add(p, &items, target, false))
        return NULL;
    advance(p);
    if (!parse_items(p, ')', "',' or ')'", false, &items))
        return NULL;
    if (items.n > CEL_ARGS_MAX)
        return fail_at(p, name->pos, "too many arguments");
    node = node_named(p, AST_CALL, name, items.list, items.n);
    if (!node)
        return NULL;
    node->member = target != NULL;
    node->rooted = rooted;
    if (!p->no_macros && !rooted && !cel_macro_expand(p->source, node))
        return NULL;
    return node;
}

static cel_ast *parse_name(parser *p, bool rooted)
{
    cel_token name = p->token;
    cel_ast *node;

    advance(p);
    if (p->token.kind == '(')
        return parse_call(p, &name, NULL, rooted);
    if (is_reserved(name.name)) {
        cel_issue_add(p->source, name.pos, "'%s' is a reserved word", name.name);
        return NULL;
    }
    node = node_named(p, AST_IDENT, &name, NULL, 0);
    if (node)
        node->rooted = rooted;
    return node;
}

static cel_ast *parse_literal(parser *p)
{
    cel_ast *node;

    if (p->token.value.kind == CEL_INT && p->token.value.as.natural > (uint64_t)INT64_MAX)
        return fail_at(p, p->token.pos, "the number does not fit into an int");
    node = node_new(p, AST_CONST, p->token.pos, NULL, 0);
    if (node)
        node->value = p->token.value;
    advance(p);
    return node;
}

static cel_ast *parse_primary(parser *p)
{
    cel_ast *node;

    switch (p->token.kind) {
    case TOKEN_LITERAL:
        return parse_literal(p);
    case TOKEN_IDENT:
        return parse_name(p, false);
    case '.':
        advance(p);
        return p->token.kind == TOKEN_IDENT ? parse_name(p, true) : fail_expected(p, "a name");
    case '(':
        advance(p);
        node = parse_expr(p);
        return node && expect(p, ')', "')'") ? node : NULL;
    case '[':
        return parse_list(p);
    case '{':
        return parse_map(p);
    default:
        return fail_expected(p, "an expression");
    }
}

static cel_ast *parse_select(parser *p, cel_ast *operand)
{
    bool optional = false;
    cel_token name;
    cel_ast *node;

    advance(p);
    if (p->token.kind == '?') {
        optional = true;
        advance(p);
    }
    name = p->token;
    /* `in` is no name, true, false and null are none either. */
    if (name.kind != TOKEN_IDENT && name.kind != TOKEN_QUOTED)
        return fail_expected(p, "a field name");
    advance(p);
    if (p->token.kind == '(' && !optional && name.kind == TOKEN_IDENT)
        return parse_call(p, &name, operand, false);
    node = node_named(p, AST_SELECT, &name, &operand, 1);
    if (node)
        node->optional = optional;
    return node;
}

static cel_ast *parse_index(parser *p, cel_ast *operand)
{
    uint32_t pos = p->token.pos;
    bool optional = false;
    cel_ast *args[2] = {operand, NULL}, *node;

    advance(p);
    if (p->token.kind == '?') {
        optional = true;
        advance(p);
    }
    args[1] = parse_expr(p);
    if (!args[1] || !expect(p, ']', "']'"))
        return NULL;
    node = node_op(p, OP_INDEX, pos, args, 2);
    if (node)
        node->optional = optional;
    return node;
}

static cel_ast *parse_member(parser *p)
{
    cel_ast *node = parse_primary(p);

    while (node) {
        if (p->token.kind == '.')
            node = parse_select(p, node);
        else if (p->token.kind == '[')
            node = parse_index(p, node);
        else if (p->token.kind == '{')
            return fail_at(p, p->token.pos, "messages cannot be made; use a map");
        else
            return node;
    }
    return NULL;
}

/* ---- operators ---- */

static cel_ast *parse_unary(parser *p)
{
    uint32_t first = p->token.pos;
    int mark = p->token.kind;
    size_t n = 0;
    cel_ast *node;

    if (mark != '!' && mark != '-')
        return parse_member(p);
    while (p->token.kind == mark) {
        if (++n > CEL_DEPTH_MAX)
            return fail_at(p, p->token.pos, "the expression is nested too deeply");
        advance(p);
    }
    /* The last minus belongs to a number behind it. */
    if (mark == '-' && p->token.kind == TOKEN_LITERAL && p->token.number) {
        if (!cel_lexer_negate(&p->lexer, &p->token))
            return NULL;
        if (p->token.value.kind == CEL_INT && p->token.value.as.integer > 0)
            return fail_at(p, p->token.pos, "the number does not fit into an int");
        node = node_new(p, AST_CONST, p->token.pos, NULL, 0);
        if (!node)
            return NULL;
        node->value = p->token.value;
        advance(p);
        while (node && (p->token.kind == '.' || p->token.kind == '['))
            node = p->token.kind == '.' ? parse_select(p, node) : parse_index(p, node);
        n--;
    } else {
        node = parse_member(p);
    }
    for (; node && n > 0; n--)
        node = node_op(p, mark == '!' ? OP_NOT : OP_NEG, first, &node, 1);
    return node;
}

/* The binary operator of a token at a level (3 product, 2 sum, 1 relation), or -1. */
static int binary_op(int kind, int level)
{
    static const struct {
        int kind, level;
        cel_op op;
    } table[] = {{'*', 3, OP_MUL},     {'/', 3, OP_DIV},     {'%', 3, OP_MOD},
                 {'+', 2, OP_ADD},     {'-', 2, OP_SUB},     {'<', 1, OP_LT},
                 {TOKEN_LE, 1, OP_LE}, {'>', 1, OP_GT},      {TOKEN_GE, 1, OP_GE},
                 {TOKEN_EQ, 1, OP_EQ}, {TOKEN_NE, 1, OP_NE}, {TOKEN_IN, 1, OP_IN}};

    for (size_t i = 0; i < WM_ARRAY_LEN(table); i++)
        if (table[i].kind == kind && table[i].level == level)
            return (int)table[i].op;
    return -1;
}

static cel_ast *parse_binary(parser *p, int level)
{
    cel_ast *args[2] = {level > 3 ? parse_unary(p) : parse_binary(p, level + 1), NULL};
    int op;

    if (level > 3)
        return args[0];
    while (args[0] && (op = binary_op(p->token.kind, level)) >= 0) {
        uint32_t pos = p->token.pos;

        advance(p);
        args[1] = parse_binary(p, level + 1);
        args[0] = args[1] ? node_op(p, (cel_op)op, pos, args, 2) : NULL;
    }
    return args[0];
}

/* Chains of && and || are flat, so that long conditions are not deep. */
static cel_ast *parse_logic(parser *p, cel_op op)
{
    int mark = op == OP_OR ? TOKEN_OR : TOKEN_AND;
    cel_ast *node = op == OP_OR ? parse_logic(p, OP_AND) : parse_binary(p, 1);
    uint32_t pos = p->token.pos;
    items items = {0};

    if (!node || p->token.kind != mark)
        return node;
    if (!items_add(p, &items, node, false))
        return NULL;
    while (p->token.kind == mark) {
        advance(p);
        node = op == OP_OR ? parse_logic(p, OP_AND) : parse_binary(p, 1);
        if (!node || !items_add(p, &items, node, false))
            return NULL;
    }
    return node_op(p, op, pos, items.list, items.n);
}

static cel_ast *parse_expr_inside(parser *p)
{
    cel_ast *args[3] = {parse_logic(p, OP_OR), NULL, NULL};
    uint32_t pos = p->token.pos;

    if (!args[0] || p->token.kind != '?')
        return args[0];
    advance(p);
    args[1] = parse_logic(p, OP_OR);
    if (!args[1] || !expect(p, ':', "':'"))
        return NULL;
    args[2] = parse_expr(p);
    return args[2] ? node_op(p, OP_COND, pos, args, 3) : NULL;
}

static cel_ast *parse_expr(parser *p)
{
    cel_ast *node;

    if (++p->depth > CEL_DEPTH_MAX)
        return fail_at(p, p->token.pos, "the expression is nested too deeply");
    node = parse_expr_inside(p);
    p->depth--;
    return node;
}

cel_ast *cel_parse(const cel_source *source, bool no_macros)
{
    parser p = {.source = source, .lexer = {.source = source}, .no_macros = no_macros};
    cel_ast *node;

    if (source->len > CEL_TEXT_MAX)
        return fail_at(&p, 0, "the expression is too long");
    if (!cel_utf8_valid(source->text, source->len))
        return fail_at(&p, 0, "the expression is not valid UTF-8");
    advance(&p);
    node = parse_expr(&p);
    if (node && p.token.kind != TOKEN_END)
        return fail_expected(&p, "an operator or the end");
    return node;
}
