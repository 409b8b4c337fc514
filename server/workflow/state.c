/* server/workflow/state.c - the state of an instance as bits and as text; see step.h. */
#include <string.h>

#include "server/workflow/step_internal.h"

uint64_t *workflow_set_new(const workflow_chart *chart, wm_arena *arena)
{
    return (uint64_t *)wm_arena_zalloc(arena, set_words(chart) * sizeof(uint64_t));
}

void workflow_state_init(workflow_state *state, const workflow_chart *chart, wm_arena *arena)
{
    memset(state, 0, sizeof *state);
    state->active = workflow_set_new(chart, arena);
    set_add(state->active, 0);
    state->histories =
        (uint64_t **)wm_arena_zalloc(arena, (chart->n_histories + 1) * sizeof(uint64_t *));
    state->data = workflow_value_empty();
}

bool workflow_set_has(const uint64_t *set, uint16_t number)
{
    return set_has(set, number);
}

void workflow_set_add(uint64_t *set, uint16_t number)
{
    set_add(set, number);
}

const char *workflow_state_text(const workflow_chart *chart, const workflow_state *state,
                                wm_arena *arena)
{
    uint16_t n = (uint16_t)chart->n_states;
    size_t size = 1;
    char *text = NULL, *at = NULL;

    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1)
            text = at = (char *)wm_arena_alloc(arena, size);
        for (uint16_t i = set_next(state->active, 1, n); i < n;
             i = set_next(state->active, (uint16_t)(i + 1), n)) {
            size_t len = strlen(chart->states[i].id);

            if (!is_leaf(&chart->states[i]))
                continue;
            if (pass == 0) {
                size += len + 1;
            } else {
                memcpy(at, chart->states[i].id, len);
                at += len;
                *at++ = ' ';
            }
        }
    }
    if (at > text)
        at--;
    *at = '\0';
    return text;
}

bool workflow_state_read(const workflow_chart *chart, const char *text, uint64_t *active)
{
    set_add(active, 0);
    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");
        uint16_t found = 0;

        for (uint16_t i = 1; i < chart->n_states && !found; i++) {
            if (strncmp(chart->states[i].id, text, len) == 0 && chart->states[i].id[len] == '\0')
                found = i;
        }
        if (!found)
            return false;
        for (; found > 0; found = chart->states[found].parent)
            set_add(active, found);
        text += len;
    }
    return true;
}
