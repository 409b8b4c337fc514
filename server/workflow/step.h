/* server/workflow/step.h - one event taken by one instance: (state, event) -> (state, effects).
 *
 * Pure: no clock, no I/O, no globals. The semantics are those of the W3C SCXML algorithm
 * (https://www.w3.org/TR/scxml/#AlgorithmforSCXMLInterpretation); the function names in
 * step.c are its names. Differences, on purpose:
 * - `send` without delay is an effect: the caller gives it back as the next event.
 * - `after` timers are set on entry, before on_entry, and cancelled on exit, after on_exit.
 * - An error while an `error.*` event is handled is logged and not raised again, so that a
 *   guard that reads what error events lack does not loop.
 * - When a final state at the top is reached the exit actions run, and the configuration stays.
 *
 * Memory:  states and effects live in the arena and point into the chart and the state before.
 * Failure: WM_PRECONDITION CHART_LOOPS after STEP_MICROSTEPS_MAX microsteps; then nothing of
 *          the new state may be used.
 */
#ifndef WAYMARK_SERVER_WORKFLOW_STEP_H
#define WAYMARK_SERVER_WORKFLOW_STEP_H

#include "server/workflow/chart.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* Of all steps that add to the same effects: an event and what it makes the instance send
     * itself. */
    STEP_MICROSTEPS_MAX = 1000,
    STEP_EFFECTS_MAX = 5000,
    STEP_LOGS_MAX = 100,               /* kept */
    STEP_DATA_SIZE_MAX = 1024 * 1024,  /* about: task inputs and event data */
    STEP_MEMORY_MAX = 32 * 1024 * 1024 /* about: what they may take of the arena */
};

/* An instance between events. */
typedef struct workflow_state {
    uint64_t *active;     /* bitset over the chart's states, all active ones and the root */
    uint64_t **histories; /* by chart_state.history; NULL: nothing remembered */
    const wm_json *data;
    int64_t sends; /* numbers delayed sends without an id */
    bool ended;
} workflow_state;

typedef struct workflow_event {
    const char *name;
    const wm_json *data;
} workflow_event;

typedef enum workflow_effect_kind {
    EFFECT_TASK,
    EFFECT_TIMER, /* set, or set again, timer `id` */
    EFFECT_CANCEL,
    EFFECT_SEND, /* an event for right after this step */
    EFFECT_LOG
} workflow_effect_kind;

typedef struct workflow_effect workflow_effect;
struct workflow_effect {
    workflow_effect *next;
    workflow_effect_kind kind;
    const char *id;           /* TIMER, CANCEL */
    const char *name;         /* TIMER, SEND: event; LOG: text */
    const wm_json *data;      /* TIMER, SEND: event data; TASK: input */
    int64_t delay_ms;         /* TIMER */
    const chart_action *task; /* TASK */
};

typedef struct workflow_effects {
    workflow_effect *first, **tail;
    size_t n, n_logs;
    int n_microsteps;
    size_t data_size;  /* of tasks, timers and sends, about */
    size_t memory_max; /* the arena's size that no step may pass; 0: before the first step */
    bool handled;      /* a transition was taken */
} workflow_effects;

/* What the chart may read of the instance. */
typedef struct workflow_identity {
    const char *instance_id, *entity_id;
} workflow_identity;

void workflow_effects_init(workflow_effects *effects);
/* A state with nothing active and no variables, to be filled when an instance is read. */
void workflow_state_init(workflow_state *state, const workflow_chart *chart, wm_arena *arena);

/* Enters the initial states; `data` is the chart's with the input merged over it. */
WM_MUST_USE wm_code workflow_step_start(const workflow_chart *chart, wm_arena *arena,
                                        const workflow_identity *identity, const wm_json *data,
                                        workflow_state *after, workflow_effects *effects,
                                        wm_err *err);
/* Takes one event. Effects are added at the end. An ended instance stays as it is. */
WM_MUST_USE wm_code workflow_step(const workflow_chart *chart, wm_arena *arena,
                                  const workflow_identity *identity, const workflow_state *before,
                                  const workflow_event *event, workflow_state *after,
                                  workflow_effects *effects, wm_err *err);

/* The innermost active states in document order, separated by spaces. */
const char *workflow_state_text(const workflow_chart *chart, const workflow_state *state,
                                wm_arena *arena);
/* The reverse: marks the states and their ancestors. False when a state is unknown. */
WM_MUST_USE bool workflow_state_read(const workflow_chart *chart, const char *text,
                                     uint64_t *active);
/* Sets of states, as bits. */
bool workflow_set_has(const uint64_t *set, uint16_t number);
void workflow_set_add(uint64_t *set, uint16_t number);
uint64_t *workflow_set_new(const workflow_chart *chart, wm_arena *arena);

#ifdef __cplusplus
}
#endif
#endif
