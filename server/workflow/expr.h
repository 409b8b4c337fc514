/* server/workflow/expr.h - guards and values of charts, in CEL (docs/cel.md).
 *
 * What an expression can read:
 *
 *   data                              the instance's variables, an object
 *   event.name, event.data            the event that is being taken; an error where there is none
 *   instance.id, instance.entity_id   "" when unbound
 *   In("id")                          whether a state is active, as in SCXML
 *
 * Numbers in `data` and `event.data` are doubles, as JSON has them; `data.n + 1` is allowed
 * nevertheless (cel_env_json_numbers). A value becomes JSON again: bytes, timestamps and durations
 * become strings as JSON has them in protobuf; what JSON cannot hold is an error.
 *
 * Threads: compiled expressions are immutable; evaluating is pure.
 * Memory:  a compiled expression is on the heap until workflow_expr_free(); values live in the
 *          arena given, or are parts of what was read.
 * Failure: compiling: WM_INVALID with all that is wrong. Evaluating answers NULL and a text.
 */
#ifndef WAYMARK_SERVER_WORKFLOW_EXPR_H
#define WAYMARK_SERVER_WORKFLOW_EXPR_H

#include "server/cel/cel.h"
#include "server/workflow/value.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    EXPR_SIZE_MAX = 4096,              /* bytes of text */
    EXPR_COST_MAX = 100000,            /* work units of one evaluation */
    EXPR_MEMORY_MAX = 8 * 1024 * 1024, /* bytes while one is evaluated */
    EXPR_NODES_MAX = 100000            /* parts of one value */
};

typedef struct workflow_expr workflow_expr;

typedef enum workflow_expr_use { EXPR_VALUE, EXPR_GUARD } workflow_expr_use;

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

/* A guard must be a bool, as far as its type is known. */
WM_MUST_USE wm_code workflow_expr_compile(const char *text, workflow_expr_use use,
                                          workflow_expr **made, cel_issues *issues);
void workflow_expr_free(workflow_expr *expr);
/* The value, or NULL with a reason in *why (static or in the arena). */
const wm_json *workflow_expr_eval(const workflow_expr *expr, wm_arena *arena,
                                  const workflow_env *env, const char **why);
/* Calls `found` for each id that In() names by a literal. */
void workflow_expr_each_state(const workflow_expr *expr, void (*found)(void *ctx, const char *id),
                              void *ctx);

#ifdef __cplusplus
}
#endif
#endif
