/* server/workflow/move.c - see move.h. */
#include "server/workflow/move.h"

#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "server/store/store.h"
#include "waymark/workflow/v1/record.pb-c.h"

#define TASK_TIMER_PREFIX "task."

void workflow_move_init(workflow_move *move)
{
    move->entries = NULL;
    move->entries_tail = &move->entries;
    move->tasks = NULL;
    move->tasks_tail = &move->tasks;
    move->timers = NULL;
    move->memory = NULL;
    move->memory_size = 0;
    move->end_time_us = STORE_NULL_INT;
}

/* ---- memory: what history states remember ---- */

static void pack_history(const workflow_move *move, wm_arena *arena, uint16_t number,
                         Waymark__Workflow__V1__InstanceMemory__History *out)
{
    const workflow_chart *chart = move->chart;
    const chart_state *state = &chart->states[number];
    const uint64_t *set = move->state.histories[state->history];
    uint16_t end = chart->states[state->parent].end;

    waymark__workflow__v1__instance_memory__history__init(out);
    out->state = (char *)state->id;
    out->active = WM_NEW_ARRAY(arena, char *, (size_t)(end - state->parent));
    for (uint16_t i = (uint16_t)(state->parent + 1); i < end; i++) {
        if (workflow_set_has(set, i))
            out->active[out->n_active++] = (char *)chart->states[i].id;
    }
}

static void pack_memory(workflow_move *move, wm_arena *arena)
{
    typedef Waymark__Workflow__V1__InstanceMemory__History proto_history;
    Waymark__Workflow__V1__InstanceMemory memory = WAYMARK__WORKFLOW__V1__INSTANCE_MEMORY__INIT;
    const workflow_chart *chart = move->chart;
    uint8_t *bytes;

    memory.sends = move->state.sends;
    memory.histories = WM_NEW_ARRAY(arena, proto_history *, chart->n_histories + 1);
    for (uint16_t i = 1; chart->n_histories > 0 && i < chart->n_states; i++) {
        const chart_state *state = &chart->states[i];

        if (state->history < 0 || !move->state.histories[state->history])
            continue;
        memory.histories[memory.n_histories] = WM_NEW(arena, proto_history);
        pack_history(move, arena, i, memory.histories[memory.n_histories++]);
    }
    move->memory = NULL;
    move->memory_size = 0;
    if (memory.sends == 0 && memory.n_histories == 0)
        return;
    bytes = (uint8_t *)wm_arena_alloc(
        arena, waymark__workflow__v1__instance_memory__get_packed_size(&memory));
    move->memory_size = waymark__workflow__v1__instance_memory__pack(&memory, bytes);
    move->memory = bytes;
}

static bool unpack_memory(workflow_move *move, wm_arena *arena)
{
    const Waymark__Workflow__V1__InstanceMemory *memory;
    ProtobufCMessage *message;
    wm_err err;

    if (move->memory_size == 0)
        return true;
    if (wm_codec_unpack(arena, &waymark__workflow__v1__instance_memory__descriptor, move->memory,
                        move->memory_size, &message, &err) != WM_OK)
        return false;
    memory = (const Waymark__Workflow__V1__InstanceMemory *)message;
    move->state.sends = memory->sends;
    for (size_t i = 0; i < memory->n_histories; i++) {
        int number = workflow_chart_find(move->chart, memory->histories[i]->state);
        uint64_t *set = workflow_set_new(move->chart, arena);

        if (number < 0 || move->chart->states[number].history < 0)
            return false;
        for (size_t j = 0; j < memory->histories[i]->n_active; j++) {
            int active = workflow_chart_find(move->chart, memory->histories[i]->active[j]);

            if (active < 0)
                return false;
            workflow_set_add(set, (uint16_t)active);
        }
        move->state.histories[move->chart->states[number].history] = set;
    }
    return true;
}

wm_code workflow_move_load(workflow_move *move, wm_arena *arena, const char *data,
                           const void *memory, size_t memory_size, bool ended, wm_err *err)
{
    wm_json *json;

    workflow_state_init(&move->state, move->chart, arena);
    move->data = data;
    move->memory = memory;
    move->memory_size = memory_size;
    move->state.ended = ended;
    if (!workflow_state_read(move->chart, move->configuration, move->state.active) ||
        !unpack_memory(move, arena) ||
        wm_json_parse(arena, data, strlen(data), &json, err) != WM_OK)
        return wm_fail(err, WM_DATA_LOSS, "INTERNAL", "instance %s does not fit its chart",
                       move->instance_id);
    move->state.data = json;
    return WM_OK;
}

/* ---- effects become rows ---- */

const char *workflow_task_timer_id(wm_arena *arena, const wm_uuid *task_id)
{
    char text[WM_UUID_TEXT_SIZE];

    wm_uuid_format(task_id, text);
    return wm_arena_printf(arena, TASK_TIMER_PREFIX "%s", text);
}

bool workflow_task_of_timer(const char *timer_id, wm_uuid *task_id)
{
    size_t len = strlen(TASK_TIMER_PREFIX);

    return strncmp(timer_id, TASK_TIMER_PREFIX, len) == 0 && wm_uuid_parse(timer_id + len, task_id);
}

static move_timer *timer_of(workflow_move *move, wm_arena *arena, const char *id)
{
    move_timer *timer;

    for (timer = move->timers; timer; timer = timer->next) {
        if (strcmp(timer->id, id) == 0)
            return timer;
    }
    timer = WM_NEW(arena, move_timer);
    timer->id = id;
    timer->next = move->timers;
    move->timers = timer;
    return timer;
}

const move_timer *workflow_move_find_timer(const workflow_move *move, const char *id)
{
    for (const move_timer *timer = move->timers; timer; timer = timer->next) {
        if (strcmp(timer->id, id) == 0)
            return timer;
    }
    return NULL;
}

void workflow_move_cancel_timer(workflow_move *move, wm_arena *arena, const char *id)
{
    timer_of(move, arena, id)->set = false;
}

void workflow_move_set_timer(workflow_move *move, wm_arena *arena, const char *id,
                             const char *event, const char *data, int64_t delay_ms)
{
    move_timer *timer = timer_of(move, arena, id);

    timer->set = true;
    timer->event = event;
    timer->data = data;
    timer->delay_ms = delay_ms;
}

static Google__Protobuf__Duration *pack_ms(wm_arena *arena, int64_t ms)
{
    Google__Protobuf__Duration *duration = WM_NEW(arena, Google__Protobuf__Duration);

    google__protobuf__duration__init(duration);
    duration->seconds = ms / 1000;
    duration->nanos = (int32_t)(ms % 1000 * 1000000);
    return duration;
}

static void pack_task(const workflow_move *move, wm_arena *arena, const workflow_effect *effect,
                      move_task *task)
{
    Waymark__Workflow__V1__TaskRecord record = WAYMARK__WORKFLOW__V1__TASK_RECORD__INIT;
    Waymark__Workflow__V1__RetryPolicy retry = WAYMARK__WORKFLOW__V1__RETRY_POLICY__INIT;
    const chart_retry *policy = &effect->task->retry;
    uint8_t *bytes;

    retry.initial_interval = pack_ms(arena, policy->initial_ms);
    retry.multiplier = policy->multiplier;
    retry.max_interval = pack_ms(arena, policy->max_ms);
    retry.max_attempts = policy->attempts_max;
    record.retry = &retry;
    record.input = workflow_value_to_struct(arena, effect->data);
    record.has_timeout = effect->task->timeout_ms > 0;
    record.entity_id = (char *)move->entity_id;
    bytes = (uint8_t *)wm_arena_alloc(arena,
                                      waymark__workflow__v1__task_record__get_packed_size(&record));
    task->record_size = waymark__workflow__v1__task_record__pack(&record, bytes);
    task->record = bytes;
}

static void add_task(workflow_move *move, wm_arena *arena, const workflow_effect *effect)
{
    move_task *task = WM_NEW(arena, move_task);

    task->id = wm_uuid_new();
    task->action = effect->task;
    task->queue = wm_arena_strdup(arena, effect->task->id);
    pack_task(move, arena, effect, task);
    *move->tasks_tail = task;
    move->tasks_tail = &task->next;
    if (effect->task->timeout_ms > 0)
        workflow_move_set_timer(move, arena, workflow_task_timer_id(arena, &task->id), "", NULL,
                                effect->task->timeout_ms);
}

static const char *text_or_null(wm_arena *arena, const wm_json *data)
{
    return data->first ? workflow_value_text(arena, data) : NULL;
}

static void apply_effects(workflow_move *move, wm_arena *arena, const workflow_effects *effects,
                          move_entry *entry)
{
    workflow_builder logs;

    if (effects->n == 0)
        return;
    workflow_build(&logs, arena, WM_JSON_ARRAY);
    for (const workflow_effect *e = effects->first; e; e = e->next) {
        switch (e->kind) {
        case EFFECT_TASK:
            add_task(move, arena, e);
            entry->started = entry->started
                                 ? wm_arena_printf(arena, "%s %s", entry->started, e->task->name)
                                 : e->task->name;
            break;
        case EFFECT_TIMER:
            workflow_move_set_timer(move, arena, e->id, e->name, text_or_null(arena, e->data),
                                    e->delay_ms);
            break;
        case EFFECT_CANCEL:
            workflow_move_cancel_timer(move, arena, e->id);
            break;
        case EFFECT_LOG:
        case EFFECT_SEND:
            workflow_build_add(&logs, NULL, workflow_value_string(arena, e->name, strlen(e->name)));
            break;
        }
    }
    if (logs.value->first)
        entry->logs = workflow_value_text(arena, logs.value);
}

/* ---- taking ---- */

static move_entry *entry_new(const workflow_move *move, wm_arena *arena, const move_take *take)
{
    move_entry *entry = WM_NEW(arena, move_entry);

    entry->kind = take->kind;
    entry->revision = move->revision + 1;
    entry->event_time_us = take->event_time_us;
    entry->event = take->event;
    entry->data = take->data_text;
    if (!entry->data && take->data)
        entry->data = text_or_null(arena, take->data);
    entry->request_id = take->request_id;
    entry->from = entry->to = move->configuration;
    return entry;
}

static void add_entry(workflow_move *move, move_entry *entry)
{
    *move->entries_tail = entry;
    move->entries_tail = &entry->next;
    move->revision = entry->revision;
}

/* Steps on while the instance sends itself events. A sent event is in the log as its name. */
static wm_code take_sent(workflow_move *move, wm_arena *arena, workflow_state *state,
                         workflow_effects *effects, wm_err *err)
{
    workflow_identity identity = {move->instance_id, move->entity_id};
    int sent = 0;

    for (workflow_effect *e = effects->first; e; e = e->next) {
        workflow_event event = {e->name, e->data};
        workflow_state after;
        wm_code code;

        if (e->kind != EFFECT_SEND)
            continue;
        if (++sent > MOVE_SENT_MAX)
            return wm_fail(err, WM_PRECONDITION, "CHART_LOOPS",
                           "instance %s sends itself more than %d events in a row",
                           move->instance_id, MOVE_SENT_MAX);
        e->name = wm_arena_printf(arena, "sent %s", e->name);
        code = workflow_step(move->chart, arena, &identity, state, &event, &after, effects, err);
        if (code != WM_OK)
            return code;
        *state = after;
    }
    return WM_OK;
}

/* The state after the step is the instance's if its variables fit. */
static wm_code settle(workflow_move *move, wm_arena *arena, const workflow_state *state,
                      const workflow_effects *effects, move_entry *entry, wm_err *err)
{
    const char *data = move->data;

    if (state->data != move->state.data || !data)
        data = workflow_value_text(arena, state->data);
    if (!data)
        return wm_fail(err, WM_PRECONDITION, "FIELD_TOO_LONG",
                       "the variables of instance %s are longer than %d bytes or nested deeper "
                       "than %d",
                       move->instance_id, WORKFLOW_VALUE_SIZE_MAX, WORKFLOW_VALUE_DEPTH_MAX);
    move->state = *state;
    move->data = data;
    move->configuration = workflow_state_text(move->chart, state, arena);
    pack_memory(move, arena);
    entry->to = move->configuration;
    entry->handled = effects->handled;
    apply_effects(move, arena, effects, entry);
    add_entry(move, entry);
    return WM_OK;
}

wm_code workflow_move_start(workflow_move *move, wm_arena *arena, const move_take *take,
                            wm_err *err)
{
    workflow_identity identity = {move->instance_id, move->entity_id};
    workflow_effects effects;
    workflow_state state;
    move_entry *entry;
    wm_code code;

    workflow_effects_init(&effects);
    memset(&move->state, 0, sizeof move->state);
    move->configuration = "";
    move->data = NULL;
    move->revision = 0;
    entry = entry_new(move, arena, take);
    code = workflow_step_start(move->chart, arena, &identity,
                               workflow_value_merge(arena, move->chart->data, take->data), &state,
                               &effects, err);
    if (code == WM_OK)
        code = take_sent(move, arena, &state, &effects, err);
    return code == WM_OK ? settle(move, arena, &state, &effects, entry, err) : code;
}

wm_code workflow_move_take(workflow_move *move, wm_arena *arena, const move_take *take, wm_err *err)
{
    workflow_identity identity = {move->instance_id, move->entity_id};
    workflow_event event = {take->event, take->data};
    workflow_effects effects;
    workflow_state state;
    wm_code code;

    workflow_effects_init(&effects);
    code =
        workflow_step(move->chart, arena, &identity, &move->state, &event, &state, &effects, err);
    if (code == WM_OK)
        code = take_sent(move, arena, &state, &effects, err);
    if (code == WM_OK)
        code = settle(move, arena, &state, &effects, entry_new(move, arena, take), err);
    return code;
}

void workflow_move_fail(workflow_move *move, wm_arena *arena, const move_take *take,
                        const wm_err *err)
{
    move_entry *entry = entry_new(move, arena, take);

    entry->failure = wm_arena_printf(arena, "%s: %s", err->reason, err->message);
    add_entry(move, entry);
}

const move_entry *workflow_move_find_request(const workflow_move *move, const char *request_id)
{
    for (const move_entry *entry = move->entries; entry; entry = entry->next) {
        if (entry->request_id && strcmp(entry->request_id, request_id) == 0)
            return entry;
    }
    return NULL;
}
