/* server/workflow/expr_node.h - the tree between expr.c, which makes it, and expr_eval.c. */
#ifndef WAYMARK_SERVER_WORKFLOW_EXPR_NODE_H
#define WAYMARK_SERVER_WORKFLOW_EXPR_NODE_H

#include "server/workflow/expr.h"

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

#endif
