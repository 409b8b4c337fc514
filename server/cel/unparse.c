/* cel/unparse.c - a tree as canonical text: one space around binary operators, brackets only
 * where precedence asks for them, double quotes. Parsing the text gives the same tree. */
#include <string.h>

#include "server/cel/lexer.h"
#include "server/cel/macro.h"

/* How tightly a node binds; 9 is a primary. */
static int level_of(const cel_ast *ast)
{
    static const uint8_t levels[] = {
        [OP_AND] = 2, [OP_OR] = 1,  [OP_NOT] = 7, [OP_NEG] = 7, [OP_COND] = 0, [OP_EQ] = 3,
        [OP_NE] = 3,  [OP_LT] = 3,  [OP_LE] = 3,  [OP_GT] = 3,  [OP_GE] = 3,   [OP_IN] = 3,
        [OP_ADD] = 4, [OP_SUB] = 4, [OP_MUL] = 5, [OP_DIV] = 5, [OP_MOD] = 5,  [OP_INDEX] = 9};

    return ast->kind == AST_OP ? levels[ast->code] : 9;
}

static const char *symbol_of(const cel_ast *ast)
{
    static const char *const symbols[] = {
        [OP_AND] = " && ", [OP_OR] = " || ", [OP_EQ] = " == ", [OP_NE] = " != ", [OP_LT] = " < ",
        [OP_LE] = " <= ",  [OP_GT] = " > ",  [OP_GE] = " >= ", [OP_IN] = " in ", [OP_ADD] = " + ",
        [OP_SUB] = " - ",  [OP_MUL] = " * ", [OP_DIV] = " / ", [OP_MOD] = " % "};

    return symbols[ast->code];
}

static void print_at(const cel_ast *ast, int level, wm_buf *buf)
{
    bool brackets = level_of(ast) < level;

    if (brackets)
        wm_buf_char(buf, '(');
    cel_ast_print(ast, buf);
    if (brackets)
        wm_buf_char(buf, ')');
}

/* A negative number reads as an operator in front of a member. */
static void print_operand(const cel_ast *ast, wm_buf *buf)
{
    const cel_value *value = &ast->value;
    bool negative = ast->kind == AST_CONST &&
                    ((value->kind == CEL_INT && value->as.integer < 0) ||
                     (value->kind == CEL_DOUBLE && __builtin_signbit(value->as.real)));

    if (negative)
        wm_buf_char(buf, '(');
    print_at(ast, 9, buf);
    if (negative)
        wm_buf_char(buf, ')');
}

/* Whether the text begins with a number, which a minus in front would become a part of. */
static bool begins_with_number(const cel_ast *ast)
{
    while (ast->kind == AST_SELECT || (ast->kind == AST_CALL && ast->member) ||
           (ast->kind == AST_OP && ast->code == OP_INDEX) ||
           (ast->kind == AST_MACRO && ast->code != MACRO_BIND))
        ast = ast->args[0];
    return ast->kind == AST_CONST && (ast->value.kind == CEL_INT || ast->value.kind == CEL_UINT ||
                                      ast->value.kind == CEL_DOUBLE);
}

static void print_negated(const cel_ast *ast, wm_buf *buf)
{
    bool brackets = begins_with_number(ast);

    wm_buf_text(buf, brackets ? "-(" : "-");
    if (brackets)
        cel_ast_print(ast, buf);
    else
        print_operand(ast, buf);
    wm_buf_text(buf, brackets ? ")" : "");
}

static void print_list(cel_ast *const *args, size_t n, const bool *marks, wm_buf *buf)
{
    for (size_t i = 0; i < n; i++) {
        wm_buf_text(buf, i > 0 ? ", " : "");
        wm_buf_text(buf, marks && marks[i] ? "?" : "");
        cel_ast_print(args[i], buf);
    }
}

static void print_map(const cel_ast *ast, wm_buf *buf)
{
    wm_buf_char(buf, '{');
    for (size_t i = 0; i + 1 < ast->n; i += 2) {
        wm_buf_text(buf, i > 0 ? ", " : "");
        wm_buf_text(buf, ast->marks && ast->marks[i] ? "?" : "");
        cel_ast_print(ast->args[i], buf);
        wm_buf_text(buf, ": ");
        cel_ast_print(ast->args[i + 1], buf);
    }
    wm_buf_char(buf, '}');
}

static void print_field(const cel_ast *ast, wm_buf *buf)
{
    print_operand(ast->args[0], buf);
    wm_buf_text(buf, ast->optional ? ".?" : ".");
    wm_buf_text(buf, ast->quoted ? "`" : "");
    wm_buf_add(buf, ast->name, ast->name_len);
    wm_buf_text(buf, ast->quoted ? "`" : "");
}

static void print_call(const cel_ast *ast, wm_buf *buf)
{
    if (ast->member) {
        print_operand(ast->args[0], buf);
        wm_buf_char(buf, '.');
    } else if (ast->rooted) {
        wm_buf_char(buf, '.');
    }
    wm_buf_text(buf, ast->name);
    wm_buf_char(buf, '(');
    print_list(ast->args + ast->member, (size_t)ast->n - ast->member, NULL, buf);
    wm_buf_char(buf, ')');
}

static void print_macro(const cel_ast *ast, wm_buf *buf)
{
    if (ast->code == MACRO_BIND) {
        wm_buf_printf(buf, "cel.bind(%s, ", ast->vars[0]);
        print_list(ast->args, 2, NULL, buf);
        wm_buf_char(buf, ')');
        return;
    }
    print_operand(ast->args[0], buf);
    wm_buf_printf(buf, ".%s(%s, ", cel_macro_name(ast), ast->vars[0]);
    if (ast->two)
        wm_buf_printf(buf, "%s, ", ast->vars[1]);
    print_list(ast->args + 1, ast->n - 1u, NULL, buf);
    wm_buf_char(buf, ')');
}

static void print_op(const cel_ast *ast, wm_buf *buf)
{
    int level = level_of(ast);

    switch (ast->code) {
    case OP_NOT:
        wm_buf_char(buf, '!');
        print_operand(ast->args[0], buf);
        return;
    case OP_NEG:
        print_negated(ast->args[0], buf);
        return;
    case OP_COND:
        print_at(ast->args[0], 1, buf);
        wm_buf_text(buf, " ? ");
        print_at(ast->args[1], 1, buf);
        wm_buf_text(buf, " : ");
        print_at(ast->args[2], 0, buf);
        return;
    case OP_INDEX:
        print_operand(ast->args[0], buf);
        wm_buf_text(buf, ast->optional ? "[?" : "[");
        cel_ast_print(ast->args[1], buf);
        wm_buf_char(buf, ']');
        return;
    default:
        /* The left operand may bind as loosely, the others not; && and || are flat. */
        for (size_t i = 0; i < ast->n; i++) {
            if (i > 0)
                wm_buf_text(buf, symbol_of(ast));
            print_at(ast->args[i], level + (i > 0 || level <= 2), buf);
        }
    }
}

void cel_ast_print(const cel_ast *ast, wm_buf *buf)
{
    switch (ast->kind) {
    case AST_CONST:
        wm_buf_text(buf, ast->rooted ? "." : "");
        cel_literal_print(buf, &ast->value);
        return;
    case AST_IDENT:
        wm_buf_text(buf, ast->rooted ? "." : "");
        wm_buf_text(buf, ast->name);
        return;
    case AST_SELECT:
        print_field(ast, buf);
        return;
    case AST_HAS:
        wm_buf_text(buf, "has(");
        print_field(ast, buf);
        wm_buf_char(buf, ')');
        return;
    case AST_CALL:
        print_call(ast, buf);
        return;
    case AST_LIST:
        wm_buf_char(buf, '[');
        print_list(ast->args, ast->n, ast->marks, buf);
        wm_buf_char(buf, ']');
        return;
    case AST_MAP:
        print_map(ast, buf);
        return;
    case AST_MACRO:
        print_macro(ast, buf);
        return;
    default:
        print_op(ast, buf);
    }
}
