/* server/workflow/expr.h - guards and values: a subset of CEL, read once, evaluated often.
 *
 *   expr    = or [ "?" or ":" expr ]
 *   or      = and { "||" and }             and = rel { "&&" rel }
 *   rel     = sum { ("=="|"!="|"<"|"<="|">"|">="|"in") sum }
 *   sum     = term { ("+"|"-") term }      term = unary { ("*"|"/"|"%") unary }
 *   unary   = { "!" | "-" } member
 *   member  = primary { "." name | "[" expr "]" }
 *   primary = "(" expr ")" | "[" [ expr { "," expr } ] "]" | number | string
 *           | "true" | "false" | "null" | "data" | "event" | "instance"
 *           | "has" "(" member ")" | "size" "(" expr ")" | "in_state" "(" string ")"
 *
 * As in CEL: values of different kinds are not equal, && and || swallow an error on one
 * side when the other decides, a member that is not there is an error. Numbers are doubles.
 *
 * Threads: compiled expressions are immutable; evaluating is pure.
 * Memory:  both live in the arena given.
 * Failure: compiling: WM_INVALID, EXPRESSION_INVALID with line-less column. Evaluating
 *          answers NULL and a text.
 */
#ifndef WAYMARK_SERVER_WORKFLOW_EXPR_H
#define WAYMARK_SERVER_WORKFLOW_EXPR_H

#include "server/workflow/value.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    EXPR_SIZE_MAX = 4096,    /* bytes of text */
    EXPR_DEPTH_MAX = 40,     /* nested parentheses, lists, unary operators */
    EXPR_STRING_MAX = 65536, /* bytes that + may make */
    EXPR_LIST_MAX = 10000    /* elements that + may make */
};

typedef struct workflow_expr workflow_expr;

/* What names mean. */
typedef struct workflow_env {
    const wm_json *data;
    const char *event_name; /* NULL: no event; reading one is an error */
    const wm_json *event_data;
    const char *instance_id, *entity_id; /* "" when unbound */
    bool (*in_state)(const void *ctx, const char *id);
    const void *ctx;
    size_t memory_max; /* the arena's size at which evaluating fails; 0: no limit */
} workflow_env;

WM_MUST_USE wm_code workflow_expr_compile(wm_arena *arena, const char *text,
                                          const workflow_expr **made, wm_err *err);
/* The value, or NULL with a reason in *why (static or in the arena). */
const wm_json *workflow_expr_eval(const workflow_expr *expr, wm_arena *arena,
                                  const workflow_env *env, const char **why);
/* Calls `found` for each id that in_state() names. */
void workflow_expr_each_state(const workflow_expr *expr, void (*found)(void *ctx, const char *id),
                              void *ctx);
/* The expression is a literal that is not a boolean: never a guard. */
bool workflow_expr_is_not_bool(const workflow_expr *expr);

#ifdef __cplusplus
}
#endif
#endif
