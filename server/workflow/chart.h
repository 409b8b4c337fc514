/* server/workflow/chart.h - a chart, checked and compiled for stepping.
 *
 * States are numbered in document order (preorder), so that the descendants of state s
 * are s+1 .. end-1, and a set of states is a bitset that iterates in document order.
 * State 0 is the root, which has no id.
 *
 * Threads: immutable once made; shared by all lanes.
 * Memory:  owns an arena with everything; reference counted.
 */
#ifndef WAYMARK_SERVER_WORKFLOW_CHART_H
#define WAYMARK_SERVER_WORKFLOW_CHART_H

#include "server/workflow/expr.h"
#include "waymark/workflow/v1/chart.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CHART_STATES_MAX = 2000,
    CHART_TRANSITIONS_MAX = 10000,
    CHART_ACTIONS_MAX = 20000,
    CHART_DEPTH_MAX = 20,        /* nested states; the wire allows 64 messages */
    CHART_DIAGNOSTICS_MAX = 100, /* more are counted, not kept */
    CHART_NAME_MAX = 128,        /* bytes of state ids, event and task names */
    CHART_SIZE_MAX = 256 * 1024  /* bytes of the definition */
};

#define CHART_DELAY_MS_MAX (3653LL * 24 * 3600 * 1000) /* ten years */

typedef enum chart_state_kind {
    CHART_ATOMIC,
    CHART_COMPOUND,
    CHART_PARALLEL,
    CHART_FINAL,
    CHART_HISTORY_SHALLOW,
    CHART_HISTORY_DEEP
} chart_state_kind;

typedef enum chart_action_kind {
    CHART_ASSIGN,
    CHART_RAISE,
    CHART_SEND,
    CHART_CANCEL,
    CHART_TASK,
    CHART_LOG,
    CHART_CHOOSE
} chart_action_kind;

/* A member of event data or of a task's input. */
typedef struct chart_field {
    const char *name;
    const workflow_expr *value;
} chart_field;

typedef struct chart_retry {
    int64_t initial_ms, max_ms;
    double multiplier;
    int32_t attempts_max; /* -1: no limit */
} chart_retry;

typedef struct chart_action chart_action;
typedef struct chart_block chart_block; /* actions in order */
struct chart_block {
    const chart_action *actions;
    size_t n;
};

typedef struct chart_branch {
    const workflow_expr *guard; /* NULL: always */
    chart_block block;
} chart_branch;

struct chart_action {
    chart_action_kind kind;
    const char *name;           /* variable, event, send id to cancel, task, label */
    const char *id;             /* SEND: its id or ""; TASK: its queue */
    const workflow_expr *value; /* ASSIGN, LOG (may be NULL) */
    const chart_field *fields;  /* RAISE, SEND, TASK */
    size_t n_fields;
    int64_t delay_ms;             /* SEND */
    int64_t lease_ms, timeout_ms; /* TASK; no timeout: 0 */
    chart_retry retry;
    const chart_branch *branches;
    size_t n_branches;
};

typedef struct chart_transition {
    uint16_t source;
    bool internal;
    const char *const *descriptors; /* without the trailing ".*"; "" matches all */
    size_t n_descriptors;           /* 0: eventless */
    const workflow_expr *guard;
    const uint16_t *targets;
    size_t n_targets;
    chart_block block;
    int64_t after_ms;     /* > 0: a timer, set while the source is active */
    const char *after_id; /* its timer id and event name: "after.<state>.<n>" */
} chart_transition;

typedef struct chart_state {
    const char *id;
    chart_state_kind kind;
    uint16_t parent; /* of the root: 0 */
    uint16_t end;    /* one past the last descendant */
    uint16_t depth;
    const uint16_t *children; /* without history states */
    size_t n_children;
    const uint16_t *initial;
    size_t n_initial;
    chart_block on_entry, on_exit, initial_block;
    const chart_transition *transitions;
    size_t n_transitions;
    int history;                 /* HISTORY_*: its slot in workflow_state.histories; else -1 */
    bool has_after, has_history; /* has a timer; has a history state as a child */
} chart_state;

/* What the chart frees with itself. */
typedef struct chart_expr {
    struct chart_expr *next;
    workflow_expr *expr;
} chart_expr;

typedef struct workflow_chart {
    const char *chart_id;
    int64_t version; /* 0: not stored yet */
    const chart_state *states;
    size_t n_states;
    size_t n_histories;
    const wm_json *data;
    /* private */
    wm_arena arena;
    chart_expr *exprs;
    int references;
    struct workflow_chart *next;
} workflow_chart;

/* What is wrong with a chart, all of it. */
typedef struct chart_diagnostics {
    size_t n, n_kept;
    wm_err errs[CHART_DIAGNOSTICS_MAX];
} chart_diagnostics;

/* WM_INVALID with everything that is wrong in `found` (which is big: keep it off the stack).
 * Field paths start with "chart". */
WM_MUST_USE wm_code workflow_chart_compile(const Waymark__Workflow__V1__Chart *definition,
                                           workflow_chart **made, chart_diagnostics *found);
workflow_chart *workflow_chart_ref(workflow_chart *chart);
void workflow_chart_unref(workflow_chart *chart);

/* The state's number, or -1. */
int workflow_chart_find(const workflow_chart *chart, const char *id);
/* Whether an event descriptor (compiled: without ".*") matches a name. */
bool workflow_chart_matches(const char *descriptor, const char *event);

/* Sorts the maps of a definition by key, so that equal charts have equal bytes. */
void workflow_chart_normalize(Waymark__Workflow__V1__Chart *definition);

/* [A-Za-z0-9][A-Za-z0-9._:@/-]{0,127} */
bool workflow_id_is_valid(const char *id);
/* [A-Za-z0-9_][A-Za-z0-9_.:-]{0,127} */
bool workflow_event_name_is_valid(const char *name);
/* False when the Duration is negative, malformed or above max_ms. NULL is 0. Fractions of a
 * millisecond round up. */
bool workflow_duration_ms(const Google__Protobuf__Duration *duration, int64_t max_ms, int64_t *ms);

#ifdef __cplusplus
}
#endif
#endif
