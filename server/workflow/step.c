/* server/workflow/step.c - the SCXML algorithm over bitsets of numbered states.
 *
 * Since the descendants of a state are a range of numbers, "exit set of a transition" is the
 * active part of one range (its domain's descendants), and two exit sets meet exactly when
 * one range lies within the other. */
#include "server/workflow/step.h"

#include <string.h>

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

static size_t set_words(const workflow_chart *chart)
{
    return (chart->n_states + WORD_BITS - 1) / WORD_BITS;
}

static bool set_has(const uint64_t *set, uint16_t number)
{
    return set[number / WORD_BITS] >> (number % WORD_BITS) & 1;
}

static void set_add(uint64_t *set, uint16_t number)
{
    set[number / WORD_BITS] |= 1ull << (number % WORD_BITS);
}

static void set_remove(uint64_t *set, uint16_t number)
{
    set[number / WORD_BITS] &= ~(1ull << (number % WORD_BITS));
}

/* The first member at `from` or above and below `end`, or `end`. */
static uint16_t set_next(const uint64_t *set, uint16_t from, uint16_t end)
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

uint64_t *workflow_set_new(const workflow_chart *chart, wm_arena *arena)
{
    return (uint64_t *)wm_arena_zalloc(arena, set_words(chart) * sizeof(uint64_t));
}

static uint64_t *set_copy(const workflow_chart *chart, wm_arena *arena, const uint64_t *set)
{
    return (uint64_t *)wm_arena_memdup(arena, set, set_words(chart) * sizeof(uint64_t));
}

static bool is_descendant(const workflow_chart *chart, uint16_t state, uint16_t of)
{
    return state > of && state < chart->states[of].end;
}

static bool is_leaf(const chart_state *state)
{
    return state->kind == CHART_ATOMIC || state->kind == CHART_FINAL;
}

/* ---- effects and the internal queue ---- */

void workflow_effects_init(workflow_effects *effects)
{
    memset(effects, 0, sizeof *effects);
    effects->tail = &effects->first;
}

static workflow_effect *add_effect(step *s, workflow_effect_kind kind)
{
    workflow_effect *effect = WM_NEW(s->arena, workflow_effect);

    effect->kind = kind;
    if (++s->effects->n > STEP_EFFECTS_MAX)
        s->too_much = true;
    *s->effects->tail = effect;
    s->effects->tail = &effect->next;
    return effect;
}

static void add_log(step *s, const char *text)
{
    if (s->effects->n_logs++ < STEP_LOGS_MAX)
        add_effect(s, EFFECT_LOG)->name = text;
}

static void raise_event(step *s, const char *name, const wm_json *data)
{
    queued_event *queued = WM_NEW(s->arena, queued_event);

    queued->event.name = name;
    queued->event.data = data;
    *s->queue_tail = queued;
    s->queue_tail = &queued->next;
}

static void raise_error(step *s, const char *where, const char *what)
{
    const char *text = wm_arena_printf(s->arena, "%s: %s", where, what);

    add_log(s, text);
    if (s->env.event_name && strncmp(s->env.event_name, "error.", 6) == 0)
        return;
    raise_event(s, "error.execution",
                workflow_value_set(s->arena, workflow_value_empty(), "message",
                                   workflow_value_string(s->arena, text, strlen(text))));
}

/* ---- evaluating ---- */

static bool env_in_state(const void *ctx, const char *id)
{
    const step *s = (const step *)ctx;
    int number = workflow_chart_find(s->chart, id);

    return number > 0 && set_has(s->state->active, (uint16_t)number);
}

static const wm_json *evaluate(step *s, const workflow_expr *expr, const char *where)
{
    const char *why;
    const wm_json *value;

    s->env.data = s->state->data;
    value = workflow_expr_eval(expr, s->arena, &s->env, &why);
    if (!value)
        raise_error(s, where, why);
    return value;
}

static bool guard_holds(step *s, const workflow_expr *guard, const char *where)
{
    const wm_json *value;

    if (!guard)
        return true;
    value = evaluate(s, guard, where);
    if (value && value->kind != WM_JSON_BOOL) {
        raise_error(s, where, "a guard is true or false");
        return false;
    }
    return value && value->boolean;
}

/* The object that fields make, or NULL. */
static const wm_json *build_fields(step *s, const chart_action *action)
{
    workflow_builder object;

    if (action->n_fields == 0)
        return workflow_value_empty();
    workflow_build(&object, s->arena, WM_JSON_OBJECT);
    for (size_t i = 0; i < action->n_fields; i++) {
        const wm_json *value = evaluate(s, action->fields[i].value, action->fields[i].name);

        if (!value)
            return NULL;
        workflow_build_add(&object, action->fields[i].name, value);
    }
    return object.value;
}

/* ---- actions ---- */

static bool run_block(step *s, const chart_block *block);

static void run_send(step *s, const chart_action *action, const wm_json *data)
{
    workflow_effect *effect;

    if (action->delay_ms == 0) {
        effect = add_effect(s, EFFECT_SEND);
    } else {
        effect = add_effect(s, EFFECT_TIMER);
        effect->delay_ms = action->delay_ms;
        effect->id = action->id[0]
                         ? wm_arena_printf(s->arena, "send.%s", action->id)
                         : wm_arena_printf(s->arena, "send:%lld", (long long)++s->state->sends);
    }
    effect->name = action->name;
    effect->data = data;
}

static void run_log(step *s, const chart_action *action)
{
    const wm_json *value = action->value ? evaluate(s, action->value, action->name) : NULL;
    const char *text = value ? workflow_value_text(s->arena, value) : NULL;

    if (value && value->kind == WM_JSON_STRING)
        text = value->text;
    if (text)
        add_log(s, wm_arena_printf(s->arena, "%s%s%.2000s", action->name,
                                   action->name[0] ? ": " : "", text));
    else if (!action->value)
        add_log(s, action->name);
}

static bool run_choose(step *s, const chart_action *action)
{
    for (size_t i = 0; i < action->n_branches; i++) {
        if (guard_holds(s, action->branches[i].guard, "choose"))
            return run_block(s, &action->branches[i].block);
    }
    return true;
}

/* Without its limit a value that wraps itself would get deeper than any stack. */
static bool run_assign(step *s, const chart_action *action)
{
    const wm_json *value = evaluate(s, action->value, action->name);

    if (!value)
        return false;
    if (workflow_value_size(value, WORKFLOW_VALUE_SIZE_MAX) > WORKFLOW_VALUE_SIZE_MAX) {
        raise_error(s, action->name, "the value is too long or nested too deep");
        return false;
    }
    s->state->data = workflow_value_set(s->arena, s->state->data, action->name, value);
    return true;
}

/* Task inputs and event data are written out: what shares its parts in memory does not there. */
static void count_data(step *s, const wm_json *data)
{
    s->effects->data_size += workflow_value_size(data, STEP_DATA_SIZE_MAX);
    if (s->effects->data_size > STEP_DATA_SIZE_MAX)
        s->too_much = true;
}

/* False: it failed, the rest of its block does not run. */
static bool run_action(step *s, const chart_action *action)
{
    const wm_json *value = NULL;

    if (wm_arena_used(s->arena) > s->env.memory_max)
        s->too_much = true;
    if (s->too_much)
        return false;
    switch (action->kind) {
    case CHART_ASSIGN:
        return run_assign(s, action);
    case CHART_RAISE:
    case CHART_SEND:
    case CHART_TASK:
        value = build_fields(s, action);
        break;
    case CHART_CANCEL:
        add_effect(s, EFFECT_CANCEL)->id = wm_arena_printf(s->arena, "send.%s", action->name);
        return true;
    case CHART_LOG:
        run_log(s, action);
        return true;
    case CHART_CHOOSE:
        return run_choose(s, action);
    }
    if (!value)
        return false;
    count_data(s, value);
    if (action->kind == CHART_RAISE) {
        raise_event(s, action->name, value);
    } else if (action->kind == CHART_SEND) {
        run_send(s, action, value);
    } else {
        workflow_effect *effect = add_effect(s, EFFECT_TASK);

        effect->task = action;
        effect->data = value;
    }
    return true;
}

static bool run_block(step *s, const chart_block *block)
{
    for (size_t i = 0; i < block->n; i++) {
        if (!run_action(s, &block->actions[i]))
            return false;
    }
    return true;
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
                guard_holds(s, state->transitions[i].guard, state->id))
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
            add_effect(s, EFFECT_CANCEL)->id = state->transitions[i].after_id;
    }
}

static void exit_state(step *s, uint16_t number)
{
    const chart_state *state = &s->chart->states[number];

    run_block(s, &state->on_exit);
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
    raise_event(s, wm_arena_printf(s->arena, "done.state.%s", s->chart->states[number].id),
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
        effect = add_effect(s, EFFECT_TIMER);
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
    run_block(s, &state->on_entry);
    if (set_has(s->default_entry, number))
        run_block(s, &state->initial_block);
    if (s->default_history[number])
        run_block(s, s->default_history[number]);
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
        run_block(s, &s->enabled[i]->block);
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
    for (int n = 0; s->running; n++) {
        if (wm_arena_used(s->arena) > s->env.memory_max)
            s->too_much = true;
        if (n == STEP_MICROSTEPS_MAX || s->too_much)
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
    s->env.instance_id = identity->instance_id;
    s->env.entity_id = identity->entity_id;
    s->env.in_state = env_in_state;
    s->env.memory_max = wm_arena_used(arena) + STEP_MEMORY_MAX;
    s->env.ctx = s;
    s->enabled = WM_NEW_ARRAY(arena, const chart_transition *, chart->n_states);
    s->to_enter = workflow_set_new(chart, arena);
    s->default_entry = workflow_set_new(chart, arena);
    s->default_history =
        (const chart_block **)wm_arena_zalloc(arena, chart->n_states * sizeof(chart_block *));
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

/* ---- states as text ---- */

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
