/* tests/fuzz/workflow_chart_fuzz.c - any JSON may be a chart; one that compiles can be started
 * and stepped by the events that it names, comes to rest or is stopped, and its configuration
 * reads back as what it was.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "server/workflow/step.h"

enum { STEPS_MAX = 40 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const workflow_identity identity = {"i", "e"};

static void check_state(const workflow_chart *chart, wm_arena *arena, const workflow_state *state)
{
    const char *text = workflow_state_text(chart, state, arena);
    workflow_state back;

    workflow_state_init(&back, chart, arena);
    if (!text[0] || !workflow_state_read(chart, text, back.active) ||
        strcmp(text, workflow_state_text(chart, &back, arena)) != 0)
        abort();
    for (uint16_t i = 0; i < chart->n_states; i++) {
        if (workflow_set_has(state->active, i) != workflow_set_has(back.active, i))
            abort();
    }
}

/* The event that the n-th transition of the chart waits for, or NULL. */
static const char *event_of(const workflow_chart *chart, size_t n)
{
    for (size_t i = 1; i < chart->n_states; i++) {
        const chart_state *state = &chart->states[i];

        if (n >= state->n_transitions) {
            n -= state->n_transitions;
            continue;
        }
        if (state->transitions[n].n_descriptors == 0)
            return NULL;
        return state->transitions[n].descriptors[0];
    }
    return NULL;
}

static void run(const workflow_chart *chart, wm_arena *arena)
{
    workflow_state state, after;
    workflow_effects effects;
    wm_err err;

    workflow_effects_init(&effects);
    if (workflow_step_start(chart, arena, &identity, chart->data, &state, &effects, &err) != WM_OK)
        return;
    check_state(chart, arena, &state);
    for (size_t i = 0; i < STEPS_MAX; i++) {
        const char *name = event_of(chart, i);
        workflow_event event = {name && name[0] ? name : "x", chart->data};

        /* A step may take 32 MiB, and the arena holds 64. */
        if (wm_arena_used(arena) > 16 * 1024 * 1024)
            return;
        workflow_effects_init(&effects);
        if (workflow_step(chart, arena, &identity, &state, &event, &after, &effects, &err) ==
            WM_OK) {
            state = after;
            check_state(chart, arena, &state);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static chart_diagnostics found;
    ProtobufCMessage *message;
    workflow_chart *chart;
    wm_arena arena;
    wm_json *json;
    wm_err err;

    wm_arena_init(&arena, 0);
    if (size <= 65536 && wm_json_parse(&arena, (const char *)bytes, size, &json, &err) == WM_OK &&
        wm_json_to_message(&arena, json, &waymark__workflow__v1__chart__descriptor, &message,
                           &err) == WM_OK &&
        workflow_chart_compile((const Waymark__Workflow__V1__Chart *)message, &chart, &found) ==
            WM_OK) {
        run(chart, &arena);
        workflow_chart_unref(chart);
    }
    wm_arena_free(&arena);
    return 0;
}
