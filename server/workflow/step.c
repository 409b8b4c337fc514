/* server/workflow/step.c - the SCXML algorithm over bitsets of numbered states.
 *
 * Since the descendants of a state are a range of numbers, "exit set of a transition" is the
 * active part of one range (its domain's descendants), and two exit sets meet exactly when
 * one range lies within the other. */
#include <string.h>

#include "server/workflow/step_internal.h"

static uint64_t *set_copy(const workflow_chart *chart, wm_arena *arena, const uint64_t *set)
{
    return (uint64_t *)wm_arena_memdup(arena, set, set_words(chart) * sizeof(uint64_t));
}

static bool is_descendant(const workflow_chart *chart, uint16_t state, uint16_t of)
{
    return state > of && state < chart->states[of].end;
}

/* ---- selectTransitions ---- */

static bool matches(const chart_transition *transition, const workflow_event *event)
{
    if (!event)
        return transition->n_descriptors == 0;
    for (size_t i = 0; i < transition->n_descriptors; i++) {
        if (workflow_chart_matches(transition->descriptors[i], event->name))
            return true;
    }
    return false;
}

/* The first enabled transition of the state or, else, of its ancestors. */
static const chart_transition *find_enabled(step *s, uint16_t number, const workflow_event *event)
{
    for (; number > 0; number = s->chart->states[number].parent) {
        const chart_state *state = &s->chart->states[number];

        for (size_t i = 0; i < state->n_transitions; i++) {
            if (matches(&state->transitions[i], event) &&
                step_guard_holds(s, state->transitions[i].guard, state->id))
                return &state->transitions[i];
        }
    }
    return NULL;
}

static bool is_enabled_already(const step *s, const chart_transition *transition)
{
    for (size_t i = 0; i < s->n_enabled; i++) {
        if (s->enabled[i] == transition)
            return true;
    }
    return false;
}

/* Whether what the targets stand for (a history state: what it remembers, or its default)
 * lies inside `of`. */
static bool targets_all_inside(const step *s, const uint16_t *targets, size_t n, uint16_t of)
{
    for (size_t i = 0; i < n; i++) {
        const chart_state *target = &s->chart->states[targets[i]];
        const uint64_t *memory = target->history >= 0 ? s->state->histories[target->history] : NULL;

        if (target->history < 0) {
            if (!is_descendant(s->chart, targets[i], of))
                return false;
        } else if (memory) {
            /* What is remembered lies inside the history state's parent. */
            uint16_t first = set_next(memory, 0, (uint16_t)s->chart->n_states);
            uint16_t end = s->chart->states[of].end;

            for (; first < s->chart->n_states;
                 first = set_next(memory, (uint16_t)(first + 1), (uint16_t)s->chart->n_states)) {
                if (first <= of || first >= end)
                    return false;
            }
        } else if (!targets_all_inside(s, target->transitions[0].targets,
                                       target->transitions[0].n_targets, of)) {
            return false;
        }
    }
    return true;
}

/* getTransitionDomain: the state whose active descendants are left. Only with targets. */
static uint16_t domain_of(const step *s, const chart_transition *transition)
{
    const chart_state *states = s->chart->states;
    uint16_t at = transition->source;

    if (transition->internal && states[at].kind == CHART_COMPOUND &&
        targets_all_inside(s, transition->targets, transition->n_targets, at))
        return at;
    do
        at = states[at].parent;
    while (at > 0 && (states[at].kind != CHART_COMPOUND ||
                      !targets_all_inside(s, transition->targets, transition->n_targets, at)));
    return at;
}

static bool exit_sets_meet(const step *s, const chart_transition *a, const chart_transition *b)
{
    uint16_t x, y;

    if (a->n_targets == 0 || b->n_targets == 0)
        return false;
    x = domain_of(s, a);
    y = domain_of(s, b);
    return x == y || is_descendant(s->chart, x, y) || is_descendant(s->chart, y, x);
}

/* removeConflictingTransitions: inner ones win over outer ones, else the earlier wins. */
static void remove_conflicts(step *s)
{
    size_t n_kept = 0;

    for (size_t i = 0; i < s->n_enabled; i++) {
        const chart_transition *candidate = s->enabled[i];
        bool preempted = false;
        size_t n = 0;

        for (size_t j = 0; j < n_kept && !preempted; j++) {
            if (exit_sets_meet(s, candidate, s->enabled[j]) &&
                !is_descendant(s->chart, candidate->source, s->enabled[j]->source))
                preempted = true;
        }
        if (preempted)
            continue;
        for (size_t j = 0; j < n_kept; j++) {
            if (!exit_sets_meet(s, candidate, s->enabled[j]))
                s->enabled[n++] = s->enabled[j];
        }
        s->enabled[n++] = candidate;
        n_kept = n;
    }
    s->n_enabled = n_kept;
}

static void select_transitions(step *s, const workflow_event *event)
{
    uint16_t end = (uint16_t)s->chart->n_states;

    s->n_enabled = 0;
    for (uint16_t i = set_next(s->state->active, 1, end); i < end;
         i = set_next(s->state->active, (uint16_t)(i + 1), end)) {
        const chart_transition *found;

        if (!is_leaf(&s->chart->states[i]))
            continue;
        found = find_enabled(s, i, event);
        if (found && !is_enabled_already(s, found))
            s->enabled[s->n_enabled++] = found;
    }
    if (s->n_enabled > 1)
        remove_conflicts(s);
}

/* ---- exitStates ---- */

static void remember(step *s, uint16_t number)
{
    const workflow_chart *chart = s->chart;
    const chart_state *state = &chart->states[number];

    for (uint16_t h = (uint16_t)(number + 1); h < state->end; h = chart->states[h].end) {
        const chart_state *history = &chart->states[h];
        uint64_t *memory;

        if (history->history < 0)
            continue;
        memory = workflow_set_new(chart, s->arena);
        for (uint16_t i = set_next(s->state->active, (uint16_t)(number + 1), state->end);
             i < state->end; i = set_next(s->state->active, (uint16_t)(i + 1), state->end)) {
            if (history->kind == CHART_HISTORY_DEEP ? is_leaf(&chart->states[i])
                                                    : chart->states[i].parent == number)
                set_add(memory, i);
        }
        s->state->histories[history->history] = memory;
    }
}

static void cancel_after_timers(step *s, const chart_state *state)
{
    for (size_t i = 0; state->has_after && i < state->n_transitions; i++) {
        if (state->transitions[i].after_ms > 0)
            step_add_effect(s, EFFECT_CANCEL)->id = state->transitions[i].after_id;
    }
}

static void exit_state(step *s, uint16_t number)
{
    const chart_state *state = &s->chart->states[number];

    step_run_block(s, &state->on_exit);
    cancel_after_timers(s, state);
}

static void exit_states(step *s)
{
    uint64_t *leaving = workflow_set_new(s->chart, s->arena);
    uint16_t n = (uint16_t)s->chart->n_states;

    for (size_t i = 0; i < s->n_enabled; i++) {
        uint16_t domain, end;

        if (s->enabled[i]->n_targets == 0)
            continue;
        domain = domain_of(s, s->enabled[i]);
        end = s->chart->states[domain].end;
        for (uint16_t j = set_next(s->state->active, (uint16_t)(domain + 1), end); j < end;
             j = set_next(s->state->active, (uint16_t)(j + 1), end))
            set_add(leaving, j);
    }
    for (uint16_t i = set_next(leaving, 1, n); i < n; i = set_next(leaving, (uint16_t)(i + 1), n)) {
        if (s->chart->states[i].has_history)
            remember(s, i);
    }
    for (uint16_t i = n; i-- > 1;) {
        if (set_has(leaving, i)) {
            exit_state(s, i);
            set_remove(s->state->active, i);
        }
    }
}

/* ---- enterStates ---- */

static void add_ancestors(step *s, uint16_t number, uint16_t ancestor);

static bool has_entered_descendant(const step *s, uint16_t number)
{
    uint16_t end = s->chart->states[number].end;

    return set_next(s->to_enter, (uint16_t)(number + 1), end) < end;
}

static void add_descendants(step *s, uint16_t number);

static void add_regions(step *s, const chart_state *parallel)
{
    for (size_t i = 0; i < parallel->n_children; i++) {
        if (!has_entered_descendant(s, parallel->children[i]))
            add_descendants(s, parallel->children[i]);
    }
}

static void add_targets(step *s, const uint16_t *targets, size_t n, uint16_t ancestor)
{
    for (size_t i = 0; i < n; i++)
        add_descendants(s, targets[i]);
    for (size_t i = 0; i < n; i++)
        add_ancestors(s, targets[i], ancestor);
}

static void add_history(step *s, const chart_state *history)
{
    const uint64_t *memory = s->state->histories[history->history];
    uint16_t end = s->chart->states[history->parent].end;

    if (!memory) {
        const chart_transition *way = &history->transitions[0];

        s->default_history[history->parent] = &way->block;
        add_targets(s, way->targets, way->n_targets, history->parent);
        return;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (uint16_t i = set_next(memory, history->parent, end); i < end;
             i = set_next(memory, (uint16_t)(i + 1), end)) {
            if (pass == 0)
                add_descendants(s, i);
            else
                add_ancestors(s, i, history->parent);
        }
    }
}

/* addDescendantStatesToEnter */
static void add_descendants(step *s, uint16_t number)
{
    const chart_state *state = &s->chart->states[number];

    if (state->history >= 0) {
        add_history(s, state);
        return;
    }
    set_add(s->to_enter, number);
    if (state->kind == CHART_COMPOUND) {
        set_add(s->default_entry, number);
        add_targets(s, state->initial, state->n_initial, number);
    } else if (state->kind == CHART_PARALLEL) {
        add_regions(s, state);
    }
}

/* addAncestorStatesToEnter: those between the state and `ancestor`, both left out. */
static void add_ancestors(step *s, uint16_t number, uint16_t ancestor)
{
    for (number = s->chart->states[number].parent; number != ancestor && number > 0;
         number = s->chart->states[number].parent) {
        set_add(s->to_enter, number);
        if (s->chart->states[number].kind == CHART_PARALLEL)
            add_regions(s, &s->chart->states[number]);
    }
}

static bool is_in_final_state(const step *s, uint16_t number)
{
    const chart_state *state = &s->chart->states[number];

    for (size_t i = 0; i < state->n_children; i++) {
        uint16_t child = state->children[i];

        if (state->kind == CHART_PARALLEL) {
            if (!is_in_final_state(s, child))
                return false;
        } else if (s->chart->states[child].kind == CHART_FINAL &&
                   set_has(s->state->active, child)) {
            return true;
        }
    }
    return state->kind == CHART_PARALLEL;
}

static void raise_done(step *s, uint16_t number)
{
    step_raise(s, wm_arena_printf(s->arena, "done.state.%s", s->chart->states[number].id),
               workflow_value_empty());
}

static void enter_final(step *s, const chart_state *state)
{
    uint16_t grandparent;

    if (state->parent == 0) {
        s->running = false;
        return;
    }
    raise_done(s, state->parent);
    grandparent = s->chart->states[state->parent].parent;
    if (s->chart->states[grandparent].kind == CHART_PARALLEL && is_in_final_state(s, grandparent))
        raise_done(s, grandparent);
}

static void set_after_timers(step *s, const chart_state *state)
{
    for (size_t i = 0; state->has_after && i < state->n_transitions; i++) {
        const chart_transition *transition = &state->transitions[i];
        workflow_effect *effect;

        if (transition->after_ms == 0)
            continue;
        effect = step_add_effect(s, EFFECT_TIMER);
        effect->id = effect->name = transition->after_id;
        effect->data = workflow_value_empty();
        effect->delay_ms = transition->after_ms;
    }
}

static void enter_state(step *s, uint16_t number)
{
    const chart_state *state = &s->chart->states[number];

    set_add(s->state->active, number);
    set_after_timers(s, state);
    step_run_block(s, &state->on_entry);
    if (set_has(s->default_entry, number))
        step_run_block(s, &state->initial_block);
    if (s->default_history[number])
        step_run_block(s, s->default_history[number]);
    if (state->kind == CHART_FINAL)
        enter_final(s, state);
}

static void clear_entry_sets(step *s)
{
    size_t size = set_words(s->chart) * sizeof(uint64_t);

    memset(s->to_enter, 0, size);
    memset(s->default_entry, 0, size);
    if (s->chart->n_histories > 0)
        memset(s->default_history, 0, s->chart->n_states * sizeof(chart_block *));
}

static void enter_states(step *s)
{
    uint16_t n = (uint16_t)s->chart->n_states;

    for (uint16_t i = set_next(s->to_enter, 1, n); i < n;
         i = set_next(s->to_enter, (uint16_t)(i + 1), n)) {
        if (!set_has(s->state->active, i))
            enter_state(s, i);
    }
}

/* ---- microstep and macrostep ---- */

static void microstep(step *s)
{
    uint16_t domains[s->n_enabled];

    s->effects->handled = true;
    clear_entry_sets(s);
    /* Leaving changes what history states stand for, and with it domains: what is entered
     * must fit what was left. */
    for (size_t i = 0; i < s->n_enabled; i++)
        domains[i] = s->enabled[i]->n_targets > 0 ? domain_of(s, s->enabled[i]) : 0;
    exit_states(s);
    for (size_t i = 0; i < s->n_enabled; i++)
        step_run_block(s, &s->enabled[i]->block);
    for (size_t i = 0; i < s->n_enabled; i++)
        add_targets(s, s->enabled[i]->targets, s->enabled[i]->n_targets, domains[i]);
    enter_states(s);
}

static const workflow_event *next_internal(step *s)
{
    queued_event *queued = s->queue;

    if (!queued)
        return NULL;
    s->queue = queued->next;
    if (!s->queue)
        s->queue_tail = &s->queue;
    s->env.event_name = queued->event.name;
    s->env.event_data = queued->event.data;
    return &queued->event;
}

/* exitInterpreter: the exit actions, innermost first; what is active stays on record. */
static void end_instance(step *s)
{
    for (uint16_t i = (uint16_t)s->chart->n_states; i-- > 1;) {
        if (set_has(s->state->active, i))
            exit_state(s, i);
    }
    s->state->ended = true;
}

static wm_code fail_loops(const step *s, wm_err *err)
{
    return wm_fail(err, WM_PRECONDITION, "CHART_LOOPS",
                   "chart %s does not come to rest within %d microsteps, %d effects and %d bytes",
                   s->chart->chart_id, STEP_MICROSTEPS_MAX, STEP_EFFECTS_MAX, STEP_DATA_SIZE_MAX);
}

static wm_code macrostep(step *s, wm_err *err)
{
    for (; s->running; s->effects->n_microsteps++) {
        if (wm_arena_used(s->arena) > s->env.memory_max)
            s->too_much = true;
        if (s->effects->n_microsteps == STEP_MICROSTEPS_MAX || s->too_much)
            return fail_loops(s, err);
        select_transitions(s, NULL);
        if (s->n_enabled == 0) {
            const workflow_event *event = next_internal(s);

            if (!event)
                break;
            select_transitions(s, event);
        }
        if (s->n_enabled > 0)
            microstep(s);
    }
    if (!s->running)
        end_instance(s);
    /* The last microstep may have been the one too many. */
    return s->too_much ? fail_loops(s, err) : WM_OK;
}

static void step_init(step *s, const workflow_chart *chart, wm_arena *arena,
                      const workflow_identity *identity, workflow_state *state,
                      workflow_effects *effects)
{
    memset(s, 0, sizeof *s);
    s->chart = chart;
    s->arena = arena;
    s->state = state;
    s->effects = effects;
    s->running = true;
    s->queue_tail = &s->queue;
    step_init_env(s, identity);
    s->enabled = WM_NEW_ARRAY(arena, const chart_transition *, chart->n_states);
    s->to_enter = workflow_set_new(chart, arena);
    s->default_entry = workflow_set_new(chart, arena);
    s->default_history =
        (const chart_block **)wm_arena_zalloc(arena, chart->n_states * sizeof(chart_block *));
}

wm_code workflow_step_start(const workflow_chart *chart, wm_arena *arena,
                            const workflow_identity *identity, const wm_json *data,
                            workflow_state *after, workflow_effects *effects, wm_err *err)
{
    step s;

    workflow_state_init(after, chart, arena);
    after->data = data;
    step_init(&s, chart, arena, identity, after, effects);
    effects->handled = true;
    add_targets(&s, chart->states[0].initial, chart->states[0].n_initial, 0);
    enter_states(&s);
    return macrostep(&s, err);
}

wm_code workflow_step(const workflow_chart *chart, wm_arena *arena,
                      const workflow_identity *identity, const workflow_state *before,
                      const workflow_event *event, workflow_state *after, workflow_effects *effects,
                      wm_err *err)
{
    step s;

    *after = *before;
    if (before->ended)
        return WM_OK;
    after->active = set_copy(chart, arena, before->active);
    after->histories = (uint64_t **)wm_arena_memdup(arena, before->histories,
                                                    (chart->n_histories + 1) * sizeof(uint64_t *));
    step_init(&s, chart, arena, identity, after, effects);
    s.env.event_name = event->name;
    s.env.event_data = event->data;
    select_transitions(&s, event);
    if (s.n_enabled > 0)
        microstep(&s);
    return macrostep(&s, err);
}
