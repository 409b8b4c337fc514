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
#include "server/workflow/chart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

typedef Waymark__Workflow__V1__Chart proto_chart;
typedef Waymark__Workflow__V1__State proto_state;
typedef Waymark__Workflow__V1__Transition proto_transition;
typedef Waymark__Workflow__V1__Action proto_action;

typedef struct state_name {
    const char *id;
    uint16_t number;
    UT_hash_handle hh;
} state_name;

typedef struct compiler {
    workflow_chart *chart;
    wm_arena *arena; /* the chart's */
    chart_state *states;
    state_name *names;
    size_t n_numbered, n_transitions, n_actions;
    bool too_big; /* to be walked any further */
    chart_diagnostics *found;
    char path[WM_ERR_FIELD_SIZE];
    size_t path_len;
} compiler;

/* ---- diagnostics and their paths ---- */

static size_t path_push(compiler *c, const char *fmt, ...) WM_PRINTF(2, 3);

/* Returns the length to give to path_pop(). */
static size_t path_push(compiler *c, const char *fmt, ...)
{
    size_t before = c->path_len, room = sizeof c->path - before;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(c->path + before, room, fmt, args);
    va_end(args);
    c->path_len = (size_t)n < room ? before + (size_t)n : sizeof c->path - 1;
    return before;
}

static void path_pop(compiler *c, size_t before)
{
    c->path_len = before;
    c->path[before] = '\0';
}

static void complain(compiler *c, const char *reason, const char *fmt, ...) WM_PRINTF(3, 4);

static void complain(compiler *c, const char *reason, const char *fmt, ...)
{
    char message[WM_ERR_MESSAGE_SIZE];
    va_list args;

    c->found->n++;
    if (c->found->n_kept == CHART_DIAGNOSTICS_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    (void)wm_fail_field(&c->found->errs[c->found->n_kept++], c->path, reason, "%s", message);
}

/* complain() about a member of what is being looked at. */
#define COMPLAIN_AT(c, reason, member, ...)              \
    do {                                                 \
        size_t before_ = path_push((c), "%s", (member)); \
        complain((c), (reason), __VA_ARGS__);            \
        path_pop((c), before_);                          \
    } while (0)

/* ---- small checks ---- */

static bool is_letter_or_digit(char x)
{
    return (x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || (x >= '0' && x <= '9');
}

static bool is_text_of(const char *text, const char *first_extra, const char *extra)
{
    size_t len = strlen(text);

    if (len == 0 || len > CHART_NAME_MAX)
        return false;
    if (!is_letter_or_digit(text[0]) && !strchr(first_extra, text[0]))
        return false;
    for (size_t i = 1; i < len; i++) {
        if (!is_letter_or_digit(text[i]) && !strchr(extra, text[i]))
            return false;
    }
    return true;
}

bool workflow_id_is_valid(const char *id)
{
    return is_text_of(id, "", "._:@/-");
}

bool workflow_event_name_is_valid(const char *name)
{
    return is_text_of(name, "_", "_.:-");
}

static bool is_name(const char *name)
{
    return is_text_of(name, "_", "_.-");
}

bool workflow_duration_ms(const Google__Protobuf__Duration *duration, int64_t max_ms, int64_t *ms)
{
    *ms = 0;
    if (!duration)
        return true;
    if (duration->seconds < 0 || duration->nanos < 0 || duration->nanos > 999999999 ||
        duration->seconds > max_ms / 1000)
        return false;
    *ms = duration->seconds * 1000 + (duration->nanos + 999999) / 1000000;
    return *ms <= max_ms;
}

bool workflow_chart_matches(const char *descriptor, const char *event)
{
    size_t len = strlen(descriptor);

    if (len == 0)
        return true;
    return strncmp(descriptor, event, len) == 0 && (event[len] == '\0' || event[len] == '.');
}

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
            complain(c, "CHART_INVALID", "a final state has neither states nor transitions");
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
    if (!is_name(state->id)) {
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
        size_t before = path_push(c, "states[%zu]", i);

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
        path_push(c, ".");
        number_states(c, states[i]->states, states[i]->n_states, number);
        state->end = (uint16_t)c->n_numbered;
        path_pop(c, before);
    }
}

/* ---- walk 3: actions ---- */

static chart_block compile_block(compiler *c, proto_action *const *actions, size_t n,
                                 const char *member, int depth);

static void check_in_state(void *ctx, const char *id)
{
    compiler *c = (compiler *)ctx;
    state_name *name;

    HASH_FIND_STR(c->names, id, name);
    if (!name)
        complain(c, "CHART_INVALID", "in_state names no state: %.64s", id);
}

/* NULL with a complaint, or for an empty text. */
static const workflow_expr *compile_expr(compiler *c, const char *text, const char *member)
{
    size_t before = path_push(c, "%s", member);
    const workflow_expr *expr = NULL;
    wm_err err;

    if (text[0] && workflow_expr_compile(c->arena, text, &expr, &err) != WM_OK) {
        complain(c, err.reason, "%s", err.message);
        expr = NULL;
    }
    if (expr)
        workflow_expr_each_state(expr, check_in_state, c);
    path_pop(c, before);
    return expr;
}

static const workflow_expr *compile_value(compiler *c, const char *text, const char *member)
{
    if (!text[0])
        COMPLAIN_AT(c, "FIELD_REQUIRED", member, "an expression is needed");
    return compile_expr(c, text, member);
}

static const workflow_expr *compile_guard(compiler *c, const char *text)
{
    const workflow_expr *guard = compile_expr(c, text, ".guard");

    if (guard && workflow_expr_is_not_bool(guard))
        COMPLAIN_AT(c, "EXPRESSION_INVALID", ".guard", "a guard is true or false");
    return guard;
}

/* Map entries of three messages have one shape: base, key, value. */
typedef Waymark__Workflow__V1__Raise__DataEntry map_entry;

static void compile_fields(compiler *c, chart_action *action, void *const *entries, size_t n,
                           const char *member)
{
    chart_field *fields = WM_NEW_ARRAY(c->arena, chart_field, n);

    for (size_t i = 0; i < n; i++) {
        const map_entry *entry = (const map_entry *)entries[i];
        size_t before = path_push(c, "%s[\"%.40s\"]", member, entry->key);

        if (!entry->key[0] || strlen(entry->key) > CHART_NAME_MAX)
            complain(c, "FIELD_INVALID", "a name of 1 to %d bytes is needed", CHART_NAME_MAX);
        fields[i].name = wm_arena_strdup(c->arena, entry->key);
        fields[i].value = compile_value(c, entry->value, "");
        path_pop(c, before);
    }
    action->fields = fields;
    action->n_fields = n;
}

static void check_event_name(compiler *c, const char *name, const char *member)
{
    if (!workflow_event_name_is_valid(name))
        COMPLAIN_AT(c, name[0] ? "FIELD_INVALID" : "FIELD_REQUIRED", member,
                    "an event's name is [A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}");
}

static int64_t compile_duration(compiler *c, const Google__Protobuf__Duration *duration,
                                int64_t min_ms, int64_t max_ms, const char *member)
{
    int64_t ms;

    if (!workflow_duration_ms(duration, max_ms, &ms) || (duration && ms < min_ms)) {
        COMPLAIN_AT(c, "FIELD_INVALID", member, "a duration from %lld ms to %lld s is needed",
                    (long long)min_ms, (long long)(max_ms / 1000));
        return 0;
    }
    return ms;
}

static void compile_retry(compiler *c, const Waymark__Workflow__V1__RetryPolicy *in,
                          chart_retry *out)
{
    static const Waymark__Workflow__V1__RetryPolicy defaults =
        WAYMARK__WORKFLOW__V1__RETRY_POLICY__INIT;
    size_t before = path_push(c, ".retry");

    if (!in)
        in = &defaults;
    out->initial_ms =
        compile_duration(c, in->initial_interval, 1, CHART_DELAY_MS_MAX, ".initial_interval");
    out->max_ms = compile_duration(c, in->max_interval, 1, CHART_DELAY_MS_MAX, ".max_interval");
    out->multiplier = in->multiplier == 0 ? 2 : in->multiplier;
    out->attempts_max = in->max_attempts == 0 ? 10 : in->max_attempts;
    if (out->initial_ms == 0)
        out->initial_ms = 1000;
    if (out->max_ms == 0)
        out->max_ms = out->initial_ms > 60000 ? out->initial_ms : 60000;
    if (!(out->multiplier >= 1 && out->multiplier <= 1000))
        COMPLAIN_AT(c, "FIELD_INVALID", ".multiplier", "a number from 1 to 1000 is needed");
    if (out->attempts_max < -1)
        COMPLAIN_AT(c, "FIELD_INVALID", ".max_attempts", "-1, 0 or more is needed");
    path_pop(c, before);
}

static void compile_task(compiler *c, const Waymark__Workflow__V1__StartTask *in, chart_action *out)
{
    out->kind = CHART_TASK;
    out->name = wm_arena_strdup(c->arena, in->name);
    if (!is_name(in->name))
        COMPLAIN_AT(c, in->name[0] ? "FIELD_INVALID" : "FIELD_REQUIRED", ".name",
                    "a task's name is [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}");
    out->id = in->queue[0] ? wm_arena_strdup(c->arena, in->queue) : "default";
    if (!workflow_id_is_valid(out->id))
        COMPLAIN_AT(c, "ID_MALFORMED", ".queue",
                    "a queue's name is [A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}");
    compile_fields(c, out, (void *const *)in->input, in->n_input, ".input");
    compile_retry(c, in->retry, &out->retry);
    out->lease_ms = compile_duration(c, in->lease, 1000, 24 * 3600 * 1000, ".lease");
    if (out->lease_ms == 0)
        out->lease_ms = 30000;
    out->timeout_ms = compile_duration(c, in->timeout, 1, CHART_DELAY_MS_MAX, ".timeout");
}

static void compile_assign(compiler *c, const Waymark__Workflow__V1__Assign *in, chart_action *out)
{
    const char *name = in->variable;

    out->kind = CHART_ASSIGN;
    out->name = wm_arena_strdup(c->arena, name);
    if (!is_name(name) || name[0] == '.' || name[strlen(name) - 1] == '.' || strstr(name, ".."))
        COMPLAIN_AT(c, name[0] ? "FIELD_INVALID" : "FIELD_REQUIRED", ".variable",
                    "a path such as a.b is needed");
    out->value = compile_value(c, in->expression, ".expression");
}

static void compile_send(compiler *c, const Waymark__Workflow__V1__Send *in, chart_action *out)
{
    out->kind = CHART_SEND;
    out->name = wm_arena_strdup(c->arena, in->event);
    check_event_name(c, in->event, ".event");
    compile_fields(c, out, (void *const *)in->data, in->n_data, ".data");
    out->delay_ms = compile_duration(c, in->delay, 0, CHART_DELAY_MS_MAX, ".delay");
    out->id = wm_arena_strdup(c->arena, in->id);
    if (in->id[0] && !is_name(in->id))
        COMPLAIN_AT(c, "ID_MALFORMED", ".id", "an id is [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}");
}

static void compile_choose(compiler *c, const Waymark__Workflow__V1__Choose *in, chart_action *out,
                           int depth)
{
    chart_branch *branches = WM_NEW_ARRAY(c->arena, chart_branch, in->n_branches);

    out->kind = CHART_CHOOSE;
    if (in->n_branches == 0)
        COMPLAIN_AT(c, "FIELD_REQUIRED", ".branches", "at least one branch is needed");
    if (depth > CHART_DEPTH_MAX) {
        complain(c, "CHART_INVALID", "branches are nested deeper than %d", CHART_DEPTH_MAX);
        return;
    }
    for (size_t i = 0; i < in->n_branches; i++) {
        size_t before = path_push(c, ".branches[%zu]", i);

        branches[i].guard = compile_guard(c, in->branches[i]->guard);
        branches[i].block = compile_block(c, in->branches[i]->actions, in->branches[i]->n_actions,
                                          ".actions", depth + 1);
        path_pop(c, before);
    }
    out->branches = branches;
    out->n_branches = in->n_branches;
}

static const char *const action_members[] = {
    "", ".assign", ".raise", ".send", ".cancel", ".start_task", ".log", ".choose",
};

static void compile_action(compiler *c, const proto_action *in, chart_action *out, int depth)
{
    size_t before = path_push(c, "%s",
                              (unsigned)in->kind_case < WM_ARRAY_LEN(action_members)
                                  ? action_members[in->kind_case]
                                  : "");

    switch (in->kind_case) {
    case WAYMARK__WORKFLOW__V1__ACTION__KIND_ASSIGN:
        compile_assign(c, in->assign, out);
        break;
    case WAYMARK__WORKFLOW__V1__ACTION__KIND_RAISE:
        out->kind = CHART_RAISE;
        out->name = wm_arena_strdup(c->arena, in->raise->event);
        check_event_name(c, in->raise->event, ".event");
        compile_fields(c, out, (void *const *)in->raise->data, in->raise->n_data, ".data");
        break;
    case WAYMARK__WORKFLOW__V1__ACTION__KIND_SEND:
        compile_send(c, in->send, out);
        break;
    case WAYMARK__WORKFLOW__V1__ACTION__KIND_CANCEL:
        out->kind = CHART_CANCEL;
        out->name = wm_arena_strdup(c->arena, in->cancel->id);
        if (!is_name(in->cancel->id))
            COMPLAIN_AT(c, "FIELD_REQUIRED", ".id", "the id of a send is needed");
        break;
    case WAYMARK__WORKFLOW__V1__ACTION__KIND_START_TASK:
        compile_task(c, in->start_task, out);
        break;
    case WAYMARK__WORKFLOW__V1__ACTION__KIND_LOG:
        out->kind = CHART_LOG;
        out->name = wm_arena_strdup(c->arena, in->log->label);
        out->value = compile_expr(c, in->log->expression, ".expression");
        break;
    case WAYMARK__WORKFLOW__V1__ACTION__KIND_CHOOSE:
        compile_choose(c, in->choose, out, depth);
        break;
    default:
        out->kind = CHART_LOG;
        out->name = "";
        complain(c, "FIELD_REQUIRED", "an action needs its kind");
        break;
    }
    path_pop(c, before);
}

static chart_block compile_block(compiler *c, proto_action *const *actions, size_t n,
                                 const char *member, int depth)
{
    chart_block block = {NULL, 0};
    chart_action *out;

    c->n_actions += n;
    if (c->n_actions > CHART_ACTIONS_MAX) {
        /* Said once, by compile(). */
        return block;
    }
    out = (chart_action *)wm_arena_zalloc(c->arena, n * sizeof *out);
    for (size_t i = 0; i < n; i++) {
        size_t before = path_push(c, "%s[%zu]", member, i);

        compile_action(c, actions[i], &out[i], depth);
        path_pop(c, before);
    }
    block.actions = out;
    block.n = n;
    return block;
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
                complain(c, "CHART_INVALID", "%s and %s cannot be active together",
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
    size_t before = path_push(c, "%s", member);

    *n_out = 0;
    if (n > TARGETS_MAX)
        complain(c, "FIELD_TOO_LONG", "more than %d states", TARGETS_MAX);
    for (size_t i = 0; i < n && n <= TARGETS_MAX; i++) {
        size_t at = path_push(c, "[%zu]", i);
        state_name *name;

        HASH_FIND_STR(c->names, ids[i], name);
        if (!name)
            complain(c, "CHART_INVALID", "there is no state %.64s", ids[i]);
        else if (name->number <= inside || name->number >= c->states[inside].end)
            complain(c, "CHART_INVALID", "%s is not inside this state", name->id);
        else
            targets[(*n_out)++] = name->number;
        path_pop(c, at);
    }
    check_together(c, targets, *n_out);
    path_pop(c, before);
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
    out->after_ms = compile_duration(c, in->after, 1, CHART_DELAY_MS_MAX, ".after");
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
    out->guard = compile_guard(c, in->guard);
    out->targets = compile_targets(c, in->targets, in->n_targets, 0, &out->n_targets, ".targets");
    out->block = compile_block(c, in->actions, in->n_actions, ".actions", 0);
    if (in->n_targets == 0 && in->n_actions == 0 && out->n_descriptors == 0)
        complain(c, "CHART_INVALID", "a transition without event, targets and actions loops");
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
        complain(c, "CHART_INVALID", "a history state is never entered: it has no actions");
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
        complain(c, "CHART_INVALID", "a compound state needs a state that can be entered");
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
        size_t before = path_push(c, ".transitions[%zu]", i);

        compile_transition(c, in->transitions[i], number, i, &out[i]);
        path_pop(c, before);
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
        size_t before = path_push(c, "states[%zu]", i);

        compile_initial(c, in->initial, in->n_initial, number, ".initial");
        state->on_entry = compile_block(c, in->on_entry, in->n_on_entry, ".on_entry", 0);
        state->on_exit = compile_block(c, in->on_exit, in->n_on_exit, ".on_exit", 0);
        state->initial_block =
            compile_block(c, in->initial_actions, in->n_initial_actions, ".initial_actions", 0);
        compile_transitions(c, in, number);
        path_push(c, ".");
        number = compile_states(c, in->states, in->n_states, (uint16_t)(number + 1));
        path_pop(c, before);
    }
    return number;
}

/* ---- the whole ---- */

static void compile_head(compiler *c, const proto_chart *in)
{
    size_t before = path_push(c, "chart.");
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
    path_pop(c, before);
}

static void compile(compiler *c, const proto_chart *in)
{
    size_t n = count_states(c, in->states, in->n_states, 1);

    compile_head(c, in);
    path_push(c, "chart.");
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
        complain(c, "FIELD_TOO_LONG", "%zu actions, at most %d", c->n_actions, CHART_ACTIONS_MAX);
    if (c->n_transitions > CHART_TRANSITIONS_MAX)
        complain(c, "FIELD_TOO_LONG", "%zu transitions, at most %d", c->n_transitions,
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
