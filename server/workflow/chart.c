/* server/workflow/chart.c - compiles a chart in three walks.
 *
 * 1. count_states() counts and checks depth, so that arrays have their size at once.
 * 2. number_states() gives each state its number, parent and id.
 * 3. compile_state() checks and compiles what refers to other states: initial, targets,
 *    guards, actions.
 *
 * A walk goes on after an error, so that a chart's author sees all of them; the path of the
 * field being looked at is kept in a small buffer that grows and shrinks with the walk.
 * References by pointer, numbers in 16 bits: a compiled chart of ten states is a few KB. */
#include <stdlib.h>
#include <string.h>

#include "server/workflow/chart_compile.h"

/* ---- walk 1 and 2: counting and numbering ---- */

static bool is_history(const proto_state *state)
{
    return state->kind == WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_HISTORY_SHALLOW ||
           state->kind == WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_HISTORY_DEEP;
}

static size_t count_states(compiler *c, proto_state *const *states, size_t n, int depth)
{
    size_t total = n;

    if (n > 0 && depth > CHART_DEPTH_MAX) {
        COMPLAIN_AT(c, "CHART_INVALID", "chart.states", "states are nested deeper than %d",
                    CHART_DEPTH_MAX);
        c->too_big = true;
        return total;
    }
    for (size_t i = 0; i < n; i++)
        total += count_states(c, states[i]->states, states[i]->n_states, depth + 1);
    return total;
}

static chart_state_kind kind_of(compiler *c, const proto_state *state)
{
    bool inner = state->n_states > 0;

    switch (state->kind) {
    case WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_UNSPECIFIED:
        return inner ? CHART_COMPOUND : CHART_ATOMIC;
    case WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_ATOMIC:
        if (inner)
            COMPLAIN_AT(c, "CHART_INVALID", ".states", "an atomic state has no states inside");
        return CHART_ATOMIC;
    case WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_COMPOUND:
        if (!inner)
            COMPLAIN_AT(c, "CHART_INVALID", ".states", "a compound state needs states inside");
        return CHART_COMPOUND;
    case WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_PARALLEL:
        if (!inner)
            COMPLAIN_AT(c, "CHART_INVALID", ".states", "a parallel state needs states inside");
        return CHART_PARALLEL;
    case WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_FINAL:
        if (inner || state->n_transitions > 0)
            chart_complain(c, "CHART_INVALID", "a final state has neither states nor transitions");
        return CHART_FINAL;
    case WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_HISTORY_SHALLOW:
    case WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_HISTORY_DEEP:
        if (inner)
            COMPLAIN_AT(c, "CHART_INVALID", ".states", "a history state has no states inside");
        return state->kind == WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_HISTORY_DEEP
                   ? CHART_HISTORY_DEEP
                   : CHART_HISTORY_SHALLOW;
    default:
        COMPLAIN_AT(c, "FIELD_INVALID", ".kind", "%d is no kind of state", (int)state->kind);
        return CHART_ATOMIC;
    }
}

static void number_id(compiler *c, const proto_state *state, uint16_t number)
{
    state_name *name, *same;

    c->states[number].id = wm_arena_strdup(c->arena, state->id);
    if (!chart_is_name(state->id)) {
        COMPLAIN_AT(c, state->id[0] ? "ID_MALFORMED" : "FIELD_REQUIRED", ".id",
                    "a state's id is [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}");
        return;
    }
    HASH_FIND_STR(c->names, state->id, same);
    if (same) {
        COMPLAIN_AT(c, "CHART_INVALID", ".id", "another state has the id %s", state->id);
        return;
    }
    name = WM_NEW(c->arena, state_name);
    name->id = c->states[number].id;
    name->number = number;
    HASH_ADD_KEYPTR(hh, c->names, name->id, strlen(name->id), name);
}

static void number_states(compiler *c, proto_state *const *states, size_t n, uint16_t parent)
{
    chart_state *up = &c->states[parent];
    uint16_t *children = WM_NEW_ARRAY(c->arena, uint16_t, n);

    up->children = children;
    for (size_t i = 0; i < n; i++) {
        uint16_t number = (uint16_t)c->n_numbered++;
        chart_state *state = &c->states[number];
        size_t before = chart_path_push(c, "states[%zu]", i);

        state->parent = parent;
        state->depth = (uint16_t)(up->depth + 1);
        state->kind = kind_of(c, states[i]);
        state->history = -1;
        number_id(c, states[i], number);
        if (is_history(states[i])) {
            state->history = (int)c->chart->n_histories++;
            up->has_history = true;
        } else {
            children[up->n_children++] = number;
        }
        chart_path_push(c, ".");
        number_states(c, states[i]->states, states[i]->n_states, number);
        state->end = (uint16_t)c->n_numbered;
        chart_path_pop(c, before);
    }
}

/* ---- walk 3: transitions and initial states ---- */

static uint16_t common_ancestor(const chart_state *states, uint16_t a, uint16_t b)
{
    while (a != b) {
        if (states[a].depth >= states[b].depth)
            a = states[a].parent;
        else
            b = states[b].parent;
    }
    return a;
}

/* Two states can be active together only if their nearest common ancestor is parallel and
 * neither is inside the other. */
static void check_together(compiler *c, const uint16_t *targets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            uint16_t up = common_ancestor(c->states, targets[i], targets[j]);

            if (up == targets[i] || up == targets[j] || c->states[up].kind != CHART_PARALLEL) {
                chart_complain(c, "CHART_INVALID", "%s and %s cannot be active together",
                               c->states[targets[i]].id, c->states[targets[j]].id);
                return;
            }
        }
    }
}

enum { TARGETS_MAX = 64 };

/* The numbers of ids; only those inside `inside` where that is not the root's subtree. */
static const uint16_t *compile_targets(compiler *c, char *const *ids, size_t n, uint16_t inside,
                                       size_t *n_out, const char *member)
{
    uint16_t *targets = WM_NEW_ARRAY(c->arena, uint16_t, n);
    size_t before = chart_path_push(c, "%s", member);

    *n_out = 0;
    if (n > TARGETS_MAX)
        chart_complain(c, "FIELD_TOO_LONG", "more than %d states", TARGETS_MAX);
    for (size_t i = 0; i < n && n <= TARGETS_MAX; i++) {
        size_t at = chart_path_push(c, "[%zu]", i);
        state_name *name;

        HASH_FIND_STR(c->names, ids[i], name);
        if (!name)
            chart_complain(c, "CHART_INVALID", "there is no state %.64s", ids[i]);
        else if (name->number <= inside || name->number >= c->states[inside].end)
            chart_complain(c, "CHART_INVALID", "%s is not inside this state", name->id);
        else
            targets[(*n_out)++] = name->number;
        chart_path_pop(c, at);
    }
    check_together(c, targets, *n_out);
    chart_path_pop(c, before);
    return targets;
}

static void add_descriptor(compiler *c, const char *text, size_t len, const char **out, size_t *n)
{
    char *descriptor = wm_arena_strndup(c->arena, text, len);

    if (len >= 2 && strcmp(descriptor + len - 2, ".*") == 0)
        descriptor[len - 2] = '\0';
    else if (strcmp(descriptor, "*") == 0)
        descriptor[0] = '\0';
    else if (descriptor[len - 1] == '.')
        descriptor[len - 1] = '\0';
    if (descriptor[0] ? !workflow_event_name_is_valid(descriptor) : text[0] != '*')
        COMPLAIN_AT(c, "FIELD_INVALID", ".event", "%.64s is no event descriptor", descriptor);
    out[(*n)++] = descriptor;
}

static void compile_descriptors(compiler *c, const char *text, chart_transition *out)
{
    const char **descriptors = WM_NEW_ARRAY(c->arena, const char *, strlen(text) / 2 + 1);

    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        size_t len = strcspn(text, " ");

        add_descriptor(c, text, len, descriptors, &out->n_descriptors);
        text += len;
    }
    out->descriptors = descriptors;
}

static void compile_after(compiler *c, const proto_transition *in, uint16_t source, size_t i,
                          chart_transition *out)
{
    const char **descriptor = WM_NEW(c->arena, const char *);

    if (in->event[0])
        COMPLAIN_AT(c, "CHART_INVALID", ".after", "a transition has an event or `after`, not both");
    out->after_ms = chart_compile_duration(c, in->after, 1, CHART_DELAY_MS_MAX, ".after");
    out->after_id = wm_arena_printf(c->arena, "after.%s.%zu", c->states[source].id, i);
    *descriptor = out->after_id;
    out->descriptors = descriptor;
    out->n_descriptors = 1;
    c->states[source].has_after = true;
}

static void compile_transition(compiler *c, const proto_transition *in, uint16_t source, size_t i,
                               chart_transition *out)
{
    out->source = source;
    out->internal = in->internal;
    if (in->after)
        compile_after(c, in, source, i, out);
    else
        compile_descriptors(c, in->event, out);
    out->guard = chart_compile_guard(c, in->guard);
    out->targets = compile_targets(c, in->targets, in->n_targets, 0, &out->n_targets, ".targets");
    out->block = chart_compile_block(c, in->actions, in->n_actions, ".actions", 0);
    if (in->n_targets == 0 && in->n_actions == 0 && out->n_descriptors == 0)
        chart_complain(c, "CHART_INVALID", "a transition without event, targets and actions loops");
}

static void check_history(compiler *c, const chart_state *state, const proto_state *in)
{
    const chart_transition *way = state->transitions;
    const chart_state *parent = &c->states[state->parent];

    if (in->n_transitions != 1 || way->n_descriptors > 0 || in->transitions[0]->guard[0] ||
        in->transitions[0]->n_targets == 0) {
        COMPLAIN_AT(c, "CHART_INVALID", ".transitions",
                    "a history state has one transition, without event and guard");
        return;
    }
    for (size_t i = 0; i < way->n_targets; i++) {
        if (way->targets[i] <= state->parent || way->targets[i] >= parent->end)
            COMPLAIN_AT(c, "CHART_INVALID", ".transitions[0].targets",
                        "%s is not inside the history state's parent",
                        c->states[way->targets[i]].id);
        else if (c->states[way->targets[i]].history >= 0 &&
                 c->states[way->targets[i]].parent == state->parent)
            COMPLAIN_AT(c, "CHART_INVALID", ".transitions[0].targets",
                        "%s may stand for this state in turn", c->states[way->targets[i]].id);
    }
    if (in->n_on_entry + in->n_on_exit > 0)
        chart_complain(c, "CHART_INVALID", "a history state is never entered: it has no actions");
}

static void compile_initial(compiler *c, char *const *ids, size_t n, uint16_t number,
                            const char *member)
{
    chart_state *state = &c->states[number];

    if (state->kind != CHART_COMPOUND) {
        if (n > 0)
            COMPLAIN_AT(c, "CHART_INVALID", member, "only a compound state has an initial one");
        return;
    }
    if (n > 0) {
        state->initial = compile_targets(c, ids, n, number, &state->n_initial, member);
    } else if (state->n_children > 0) {
        state->initial = state->children;
        state->n_initial = 1;
    } else {
        chart_complain(c, "CHART_INVALID", "a compound state needs a state that can be entered");
    }
}

static void compile_transitions(compiler *c, const proto_state *in, uint16_t number)
{
    chart_state *state = &c->states[number];
    chart_transition *out;

    c->n_transitions += in->n_transitions;
    if (c->n_transitions > CHART_TRANSITIONS_MAX)
        return; /* said once, by compile() */
    out = (chart_transition *)wm_arena_zalloc(c->arena, in->n_transitions * sizeof *out);
    for (size_t i = 0; i < in->n_transitions; i++) {
        size_t before = chart_path_push(c, ".transitions[%zu]", i);

        compile_transition(c, in->transitions[i], number, i, &out[i]);
        chart_path_pop(c, before);
    }
    state->transitions = out;
    state->n_transitions = in->n_transitions;
    if (state->history >= 0)
        check_history(c, state, in);
}

static uint16_t compile_states(compiler *c, proto_state *const *states, size_t n, uint16_t number)
{
    for (size_t i = 0; i < n; i++) {
        const proto_state *in = states[i];
        chart_state *state = &c->states[number];
        size_t before = chart_path_push(c, "states[%zu]", i);

        compile_initial(c, in->initial, in->n_initial, number, ".initial");
        state->on_entry = chart_compile_block(c, in->on_entry, in->n_on_entry, ".on_entry", 0);
        state->on_exit = chart_compile_block(c, in->on_exit, in->n_on_exit, ".on_exit", 0);
        state->initial_block = chart_compile_block(c, in->initial_actions, in->n_initial_actions,
                                                   ".initial_actions", 0);
        compile_transitions(c, in, number);
        chart_path_push(c, ".");
        number = compile_states(c, in->states, in->n_states, (uint16_t)(number + 1));
        chart_path_pop(c, before);
    }
    return number;
}

/* ---- the whole ---- */

static void compile_head(compiler *c, const proto_chart *in)
{
    size_t before = chart_path_push(c, "chart.");
    wm_err err;

    c->chart->chart_id = wm_arena_strdup(c->arena, in->chart_id);
    if (!workflow_id_is_valid(in->chart_id))
        COMPLAIN_AT(c, in->chart_id[0] ? "ID_MALFORMED" : "FIELD_REQUIRED", "chart_id",
                    "a chart's id is [A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}");
    if (strlen(in->description) > 4096)
        COMPLAIN_AT(c, "FIELD_TOO_LONG", "description", "longer than 4096 bytes");
    if (in->n_states == 0)
        COMPLAIN_AT(c, "FIELD_REQUIRED", "states", "at least one state is needed");
    if (workflow_value_from_struct(c->arena, in->data, "data", &c->chart->data, &err) != WM_OK)
        COMPLAIN_AT(c, err.reason, "data", "%s", err.message);
    else if (!workflow_value_text(c->arena, c->chart->data))
        COMPLAIN_AT(c, "FIELD_TOO_LONG", "data", "longer than %d bytes", WORKFLOW_VALUE_SIZE_MAX);
    chart_path_pop(c, before);
}

static void compile(compiler *c, const proto_chart *in)
{
    size_t n = count_states(c, in->states, in->n_states, 1);

    compile_head(c, in);
    chart_path_push(c, "chart.");
    if (n > CHART_STATES_MAX)
        COMPLAIN_AT(c, "FIELD_TOO_LONG", "states", "%zu states, at most %d", n, CHART_STATES_MAX);
    if (c->too_big || n > CHART_STATES_MAX)
        return;
    c->states = (chart_state *)wm_arena_zalloc(c->arena, (n + 1) * sizeof *c->states);
    c->chart->states = c->states;
    c->chart->n_states = n + 1;
    c->states[0].id = "";
    c->states[0].kind = CHART_COMPOUND;
    c->states[0].history = -1;
    c->states[0].end = (uint16_t)(n + 1);
    c->n_numbered = 1;
    number_states(c, in->states, in->n_states, 0);
    if (in->n_states > 0)
        compile_initial(c, in->initial, in->n_initial, 0, "initial");
    compile_states(c, in->states, in->n_states, 1);
    if (c->n_actions > CHART_ACTIONS_MAX)
        chart_complain(c, "FIELD_TOO_LONG", "%zu actions, at most %d", c->n_actions,
                       CHART_ACTIONS_MAX);
    if (c->n_transitions > CHART_TRANSITIONS_MAX)
        chart_complain(c, "FIELD_TOO_LONG", "%zu transitions, at most %d", c->n_transitions,
                       CHART_TRANSITIONS_MAX);
}

wm_code workflow_chart_compile(const proto_chart *definition, workflow_chart **made,
                               chart_diagnostics *found)
{
    workflow_chart *chart = (workflow_chart *)calloc(1, sizeof *chart);
    compiler c = {.chart = chart, .found = found};

    if (!chart)
        abort();
    /* A character of an expression may need a hundred bytes. */
    wm_arena_init(&chart->arena, (size_t)1024 * CHART_SIZE_MAX);
    chart->references = 1;
    c.arena = &chart->arena;
    found->n = found->n_kept = 0;
    compile(&c, definition);
    HASH_CLEAR(hh, c.names);
    if (found->n > 0) {
        workflow_chart_unref(chart);
        *made = NULL;
        return WM_INVALID;
    }
    *made = chart;
    return WM_OK;
}

workflow_chart *workflow_chart_ref(workflow_chart *chart)
{
    __atomic_add_fetch(&chart->references, 1, __ATOMIC_RELAXED);
    return chart;
}

void workflow_chart_unref(workflow_chart *chart)
{
    if (!chart || __atomic_sub_fetch(&chart->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (chart_expr *kept = chart->exprs; kept; kept = kept->next)
        workflow_expr_free(kept->expr);
    wm_arena_free(&chart->arena);
    free(chart);
}

int workflow_chart_find(const workflow_chart *chart, const char *id)
{
    for (size_t i = 1; i < chart->n_states; i++) {
        if (strcmp(chart->states[i].id, id) == 0)
            return (int)i;
    }
    return -1;
}

/* ---- normal form ---- */

static int compare_entries(const void *a, const void *b)
{
    const map_entry *const *x = (const map_entry *const *)a, *const *y =
                                                                 (const map_entry *const *)b;

    return strcmp((*x)->key, (*y)->key);
}

/* Maps are repeated messages named *Entry; sorts them all, by reflection. */
static void normalize(ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;

    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        char *at = (char *)message + field->offset;
        const ProtobufCMessageDescriptor *inner;

        if (field->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        inner = (const ProtobufCMessageDescriptor *)field->descriptor;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size_t n = *(size_t *)(void *)((char *)message + field->quantifier_offset);
            ProtobufCMessage **all = *(ProtobufCMessage ***)(void *)at;
            size_t len = strlen(inner->short_name);

            for (size_t j = 0; j < n; j++)
                normalize(all[j]);
            if (n > 1 && len > 5 && strcmp(inner->short_name + len - 5, "Entry") == 0)
                qsort(all, n, sizeof *all, compare_entries);
        } else {
            ProtobufCMessage *one = *(ProtobufCMessage **)(void *)at;

            if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
                *(uint32_t *)(void *)((char *)message + field->quantifier_offset) != field->id)
                continue;
            if (one)
                normalize(one);
        }
    }
}

void workflow_chart_normalize(proto_chart *definition)
{
    normalize(&definition->base);
}
