/* server/workflow/step_internal.h - what step.c, step_action.c and state.c share. */
#ifndef WAYMARK_SERVER_WORKFLOW_STEP_INTERNAL_H
#define WAYMARK_SERVER_WORKFLOW_STEP_INTERNAL_H

#include "server/workflow/step.h"

enum { WORD_BITS = 64 };

/* An event in the internal queue. */
typedef struct queued_event queued_event;
struct queued_event {
    queued_event *next;
    workflow_event event;
};

/* One macrostep being made. */
typedef struct step {
    const workflow_chart *chart;
    wm_arena *arena;
    workflow_state *state;
    workflow_effects *effects;
    workflow_env env; /* its event is the one being handled */
    queued_event *queue, **queue_tail;
    bool running;
    bool too_much; /* effects or memory beyond their limit */
    /* Of the microstep. */
    const chart_transition **enabled;
    size_t n_enabled;
    uint64_t *to_enter, *default_entry;
    const chart_block **default_history; /* by parent state */
} step;

/* ---- sets of states ---- */

static inline size_t set_words(const workflow_chart *chart)
{
    return (chart->n_states + WORD_BITS - 1) / WORD_BITS;
}

static inline bool set_has(const uint64_t *set, uint16_t number)
{
    return set[number / WORD_BITS] >> (number % WORD_BITS) & 1;
}

static inline void set_add(uint64_t *set, uint16_t number)
{
    set[number / WORD_BITS] |= 1ull << (number % WORD_BITS);
}

static inline void set_remove(uint64_t *set, uint16_t number)
{
    set[number / WORD_BITS] &= ~(1ull << (number % WORD_BITS));
}

/* The first member at `from` or above and below `end`, or `end`. */
static inline uint16_t set_next(const uint64_t *set, uint16_t from, uint16_t end)
{
    while (from < end) {
        uint64_t rest = set[from / WORD_BITS] >> (from % WORD_BITS);

        if (rest) {
            from = (uint16_t)(from + __builtin_ctzll(rest));
            return from < end ? from : end;
        }
        from = (uint16_t)((from / WORD_BITS + 1) * WORD_BITS);
    }
    return end;
}

static inline bool is_leaf(const chart_state *state)
{
    return state->kind == CHART_ATOMIC || state->kind == CHART_FINAL;
}

/* ---- step_action.c ---- */

workflow_effect *step_add_effect(step *s, workflow_effect_kind kind);
void step_raise(step *s, const char *name, const wm_json *data);
bool step_guard_holds(step *s, const workflow_expr *guard, const char *where);
/* False: an action failed, and those after it did not run. */
bool step_run_block(step *s, const chart_block *block);
/* What expressions see; its event is set when one is handled. */
void step_init_env(step *s, const workflow_identity *identity);

#endif
