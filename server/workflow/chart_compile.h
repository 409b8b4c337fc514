/* server/workflow/chart_compile.h - what chart.c and chart_action.c share while they compile. */
#ifndef WAYMARK_SERVER_WORKFLOW_CHART_COMPILE_H
#define WAYMARK_SERVER_WORKFLOW_CHART_COMPILE_H

#include <uthash.h>

#include "server/workflow/chart.h"

typedef Waymark__Workflow__V1__Chart proto_chart;
typedef Waymark__Workflow__V1__State proto_state;
typedef Waymark__Workflow__V1__Transition proto_transition;
typedef Waymark__Workflow__V1__Action proto_action;

typedef struct state_name {
    const char *id;
    uint16_t number;
    UT_hash_handle hh;
} state_name;

typedef struct compiler {
    workflow_chart *chart;
    wm_arena *arena; /* the chart's */
    chart_state *states;
    state_name *names;
    size_t n_numbered, n_transitions, n_actions;
    bool too_big; /* to be walked any further */
    chart_diagnostics *found;
    char path[WM_ERR_FIELD_SIZE];
    size_t path_len;
} compiler;

/* Map entries of three messages have one shape: base, key, value. */
typedef Waymark__Workflow__V1__Raise__DataEntry map_entry;

/* Goes into a member; returns the length to give to chart_path_pop(). */
size_t chart_path_push(compiler *c, const char *fmt, ...) WM_PRINTF(2, 3);
void chart_path_pop(compiler *c, size_t before);
/* Something is wrong with what is being looked at. */
void chart_complain(compiler *c, const char *reason, const char *fmt, ...) WM_PRINTF(3, 4);

/* chart_complain() about a member of what is being looked at. */
#define COMPLAIN_AT(c, reason, member, ...)                    \
    do {                                                       \
        size_t before_ = chart_path_push((c), "%s", (member)); \
        chart_complain((c), (reason), __VA_ARGS__);            \
        chart_path_pop((c), before_);                          \
    } while (0)

bool chart_is_name(const char *name);
/* Each complains where it must and then answers something harmless. `member` is its path. */
const workflow_expr *chart_compile_guard(compiler *c, const char *text);
int64_t chart_compile_duration(compiler *c, const Google__Protobuf__Duration *duration,
                               int64_t min_ms, int64_t max_ms, const char *member);
chart_block chart_compile_block(compiler *c, proto_action *const *actions, size_t n,
                                const char *member, int depth);

#endif
