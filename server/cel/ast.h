/* cel/ast.h - an expression as it was written, with its positions. Private to cel/.
 *
 * The parser makes the tree, the checker writes types and references into it, the compiler
 * makes what is evaluated from it. Macros stay what they are (a node of kind AST_MACRO), so
 * that printing gives back what was written and evaluation has a loop of its own for each.
 */
#ifndef WAYMARK_SERVER_CEL_AST_H
#define WAYMARK_SERVER_CEL_AST_H

#include "server/cel/cel.h"

typedef struct cel_type cel_type;
typedef struct cel_ast cel_ast;

typedef enum cel_ast_kind {
    AST_CONST,
    AST_IDENT,  /* name */
    AST_SELECT, /* args[0].name */
    AST_HAS,    /* has(args[0].name) */
    AST_CALL,   /* name(args), or args[0].name(args[1..]) when `member` */
    AST_OP,     /* an operator; see cel_op */
    AST_LIST,
    AST_MAP, /* args: key, value, key, value ... */
    AST_MACRO
} cel_ast_kind;

typedef enum cel_op {
    OP_AND, /* two or more operands, as OR */
    OP_OR,
    OP_NOT,
    OP_NEG,
    OP_COND,
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
    OP_MOD,
    OP_INDEX
} cel_op;

typedef enum cel_macro {
    MACRO_ALL, /* args: range, body ...; vars: one, or key and value */
    MACRO_EXISTS,
    MACRO_EXISTS_ONE,
    MACRO_MAP, /* args: range, (condition,) result */
    MACRO_FILTER,
    MACRO_TRANSFORM_LIST,
    MACRO_TRANSFORM_MAP,
    MACRO_TRANSFORM_ENTRY,
    MACRO_SORT_BY,
    MACRO_BIND,    /* args: value, body */
    MACRO_OPT_MAP, /* args: optional, body */
    MACRO_OPT_FLAT_MAP
} cel_macro;

/* How a name was resolved. */
typedef enum cel_ref {
    REF_NONE,
    REF_LOCAL, /* place: the slot of a macro's variable */
    REF_VAR,   /* place: in the environment */
    REF_TYPE   /* value: the type */
} cel_ref;

struct cel_ast {
    uint8_t kind;         /* cel_ast_kind */
    uint8_t code;         /* cel_op or cel_macro */
    uint8_t ref;          /* cel_ref, for IDENT and for a SELECT that is a qualified name */
    uint8_t optional : 1; /* .? and [? */
    uint8_t member : 1;
    uint8_t rooted : 1;   /* .name; of a constant, the name of a type */
    uint8_t quoted : 1;   /* `name` */
    uint8_t two : 1;      /* a macro over key and value */
    uint8_t spread : 1;   /* any element of a LIST or MAP is optional: see `marks` */
    uint8_t existing : 1; /* the macro was written exists_one, not existsOne */
    uint8_t
        namespaced : 1; /* a member call that is a function a.b(x): args[0] is part of its name */
    uint16_t depth;
    uint16_t n;   /* of args */
    uint32_t pos; /* byte offset of the operator, the name or the opening bracket */
    uint32_t name_len;
    uint32_t place;
    const char *name; /* terminated */
    cel_ast **args;
    cel_value value;      /* CONST; TYPE reference */
    const char *vars[2];  /* of a MACRO */
    const bool *marks;    /* LIST: per element, MAP: per entry: written with ? */
    const cel_type *type; /* from the checker */
    /* CALL: the overloads that may fit, from the checker. */
    const cel_function *const *overloads;
    uint32_t n_overloads;
    const char *problem; /* what makes it an error when it is evaluated, in an unchecked program */
};

typedef struct cel_source {
    const char *text;
    size_t len;
    wm_arena *arena;
    cel_issues *issues;
} cel_source;

/* Notes a diagnostic; always false, so that a caller can return it. */
bool cel_issue_add(const cel_source *source, uint32_t pos, const char *fmt, ...) WM_PRINTF(3, 4);

/* NULL after an issue. */
cel_ast *cel_parse(const cel_source *source, bool no_macros);

void cel_ast_print(const cel_ast *ast, wm_buf *buf);

/* A literal of CEL that gives the value back. */
void cel_literal_print(wm_buf *buf, const cel_value *value);
void cel_quote(wm_buf *buf, const char *text, size_t len, bool bytes);

#endif
