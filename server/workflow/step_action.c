/* server/workflow/step_action.c - the executable content of a chart: actions, guards, and the
 * effects and internal events that they make. */
#include <string.h>

#include "server/workflow/step_internal.h"

/* ---- effects and the internal queue ---- */

void workflow_effects_init(workflow_effects *effects)
{
    memset(effects, 0, sizeof *effects);
    effects->tail = &effects->first;
}

workflow_effect *step_add_effect(step *s, workflow_effect_kind kind)
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
        step_add_effect(s, EFFECT_LOG)->name = text;
}

void step_raise(step *s, const char *name, const wm_json *data)
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
    step_raise(s, "error.execution",
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

bool step_guard_holds(step *s, const workflow_expr *guard, const char *where)
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

static void run_send(step *s, const chart_action *action, const wm_json *data)
{
    workflow_effect *effect;

    if (action->delay_ms == 0) {
        effect = step_add_effect(s, EFFECT_SEND);
    } else {
        effect = step_add_effect(s, EFFECT_TIMER);
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
        if (step_guard_holds(s, action->branches[i].guard, "choose"))
            return step_run_block(s, &action->branches[i].block);
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
        step_add_effect(s, EFFECT_CANCEL)->id = wm_arena_printf(s->arena, "send.%s", action->name);
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
        step_raise(s, action->name, value);
    } else if (action->kind == CHART_SEND) {
        run_send(s, action, value);
    } else {
        workflow_effect *effect = step_add_effect(s, EFFECT_TASK);

        effect->task = action;
        effect->data = value;
    }
    return true;
}

bool step_run_block(step *s, const chart_block *block)
{
    for (size_t i = 0; i < block->n; i++) {
        if (!run_action(s, &block->actions[i]))
            return false;
    }
    return true;
}

void step_init_env(step *s, const workflow_identity *identity)
{
    s->env.instance_id = identity->instance_id;
    s->env.entity_id = identity->entity_id;
    s->env.in_state = env_in_state;
    /* Once for an event and all that it makes the instance send itself: a hundred steps, each
     * with room of its own, would not fit into any arena. */
    if (s->effects->memory_max == 0)
        s->effects->memory_max = wm_arena_used(s->arena) + STEP_MEMORY_MAX;
    s->env.memory_max = s->effects->memory_max;
    s->env.ctx = s;
}
