/* server/workflow/expr_value.h - JSON of what an expression gives. Private to expr.c. */
#ifndef WAYMARK_SERVER_WORKFLOW_EXPR_VALUE_H
#define WAYMARK_SERVER_WORKFLOW_EXPR_VALUE_H

#include "server/cel/cel.h"

/* The value in `arena`: a copy, or the tree that it is a view over. NULL with a reason in *why when
 * JSON cannot hold it, or when it is larger or nested deeper than a variable may be. */
const wm_json *workflow_value_from_cel(wm_arena *arena, wm_arena *scratch, const cel_value *value,
                                       const char **why);

#endif
