/* server/workflow/chart_action.c - compiles actions and what is in them, and keeps the list of
 * what is wrong. A walk goes on after an error, so that a chart's author sees all of them; the
 * path of the field being looked at is in a small buffer that grows and shrinks with the walk. */
#include <stdio.h>
#include <string.h>

#include "server/workflow/chart_compile.h"

/* ---- diagnostics and their paths ---- */

/* Returns the length to give to chart_path_pop(). */
size_t chart_path_push(compiler *c, const char *fmt, ...)
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

void chart_path_pop(compiler *c, size_t before)
{
    c->path_len = before;
    c->path[before] = '\0';
}

void chart_complain(compiler *c, const char *reason, const char *fmt, ...)
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

bool chart_is_name(const char *name)
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

/* ---- walk 3: actions ---- */

static void check_in_state(void *ctx, const char *id)
{
    compiler *c = (compiler *)ctx;
    state_name *name;

    HASH_FIND_STR(c->names, id, name);
    if (!name)
        chart_complain(c, "CHART_INVALID", "In() names no state: %.64s", id);
}

/* The chart frees it. */
static void keep_expr(compiler *c, workflow_expr *expr)
{
    chart_expr *kept = WM_NEW(c->arena, chart_expr);

    kept->expr = expr;
    kept->next = c->chart->exprs;
    c->chart->exprs = kept;
}

static void complain_of_issues(compiler *c, const cel_issues *issues)
{
    for (size_t i = 0; i < issues->n; i++)
        chart_complain(c, "EXPRESSION_INVALID", "line %u, column %u: %s", issues->issues[i].line,
                       issues->issues[i].column, issues->issues[i].message);
}

/* NULL with complaints, or for an empty text. */
static const workflow_expr *compile_expr(compiler *c, const char *text, const char *member,
                                         workflow_expr_use use)
{
    size_t before = chart_path_push(c, "%s", member);
    workflow_expr *expr = NULL;
    cel_issues issues;

    if (text[0] && workflow_expr_compile(text, use, &expr, &issues) != WM_OK)
        complain_of_issues(c, &issues);
    if (expr) {
        keep_expr(c, expr);
        workflow_expr_each_state(expr, check_in_state, c);
    }
    chart_path_pop(c, before);
    return expr;
}

static const workflow_expr *compile_value(compiler *c, const char *text, const char *member)
{
    if (!text[0])
        COMPLAIN_AT(c, "FIELD_REQUIRED", member, "an expression is needed");
    return compile_expr(c, text, member, EXPR_VALUE);
}

const workflow_expr *chart_compile_guard(compiler *c, const char *text)
{
    return compile_expr(c, text, ".guard", EXPR_GUARD);
}

static void compile_fields(compiler *c, chart_action *action, void *const *entries, size_t n,
                           const char *member)
{
    chart_field *fields = WM_NEW_ARRAY(c->arena, chart_field, n);

    for (size_t i = 0; i < n; i++) {
        const map_entry *entry = (const map_entry *)entries[i];
        size_t before = chart_path_push(c, "%s[\"%.40s\"]", member, entry->key);

        if (!entry->key[0] || strlen(entry->key) > CHART_NAME_MAX)
            chart_complain(c, "FIELD_INVALID", "a name of 1 to %d bytes is needed", CHART_NAME_MAX);
        fields[i].name = wm_arena_strdup(c->arena, entry->key);
        fields[i].value = compile_value(c, entry->value, "");
        chart_path_pop(c, before);
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

int64_t chart_compile_duration(compiler *c, const Google__Protobuf__Duration *duration,
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
    size_t before = chart_path_push(c, ".retry");

    if (!in)
        in = &defaults;
    out->initial_ms =
        chart_compile_duration(c, in->initial_interval, 1, CHART_DELAY_MS_MAX, ".initial_interval");
    out->max_ms =
        chart_compile_duration(c, in->max_interval, 1, CHART_DELAY_MS_MAX, ".max_interval");
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
    chart_path_pop(c, before);
}

static void compile_task(compiler *c, const Waymark__Workflow__V1__StartTask *in, chart_action *out)
{
    out->kind = CHART_TASK;
    out->name = wm_arena_strdup(c->arena, in->name);
    if (!chart_is_name(in->name))
        COMPLAIN_AT(c, in->name[0] ? "FIELD_INVALID" : "FIELD_REQUIRED", ".name",
                    "a task's name is [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}");
    out->id = in->queue[0] ? wm_arena_strdup(c->arena, in->queue) : "default";
    if (!workflow_id_is_valid(out->id))
        COMPLAIN_AT(c, "ID_MALFORMED", ".queue",
                    "a queue's name is [A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}");
    compile_fields(c, out, (void *const *)in->input, in->n_input, ".input");
    compile_retry(c, in->retry, &out->retry);
    out->lease_ms = chart_compile_duration(c, in->lease, 1000, 24 * 3600 * 1000, ".lease");
    if (out->lease_ms == 0)
        out->lease_ms = 30000;
    out->timeout_ms = chart_compile_duration(c, in->timeout, 1, CHART_DELAY_MS_MAX, ".timeout");
}

static void compile_assign(compiler *c, const Waymark__Workflow__V1__Assign *in, chart_action *out)
{
    const char *name = in->variable;

    out->kind = CHART_ASSIGN;
    out->name = wm_arena_strdup(c->arena, name);
    if (!chart_is_name(name) || name[0] == '.' || name[strlen(name) - 1] == '.' ||
        strstr(name, ".."))
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
    out->delay_ms = chart_compile_duration(c, in->delay, 0, CHART_DELAY_MS_MAX, ".delay");
    out->id = wm_arena_strdup(c->arena, in->id);
    if (in->id[0] && !chart_is_name(in->id))
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
        chart_complain(c, "CHART_INVALID", "branches are nested deeper than %d", CHART_DEPTH_MAX);
        return;
    }
    for (size_t i = 0; i < in->n_branches; i++) {
        size_t before = chart_path_push(c, ".branches[%zu]", i);

        branches[i].guard = chart_compile_guard(c, in->branches[i]->guard);
        branches[i].block = chart_compile_block(c, in->branches[i]->actions,
                                                in->branches[i]->n_actions, ".actions", depth + 1);
        chart_path_pop(c, before);
    }
    out->branches = branches;
    out->n_branches = in->n_branches;
}

static const char *const action_members[] = {
    "", ".assign", ".raise", ".send", ".cancel", ".start_task", ".log", ".choose",
};

static void compile_action(compiler *c, const proto_action *in, chart_action *out, int depth)
{
    size_t before = chart_path_push(c, "%s",
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
        if (!chart_is_name(in->cancel->id))
            COMPLAIN_AT(c, "FIELD_REQUIRED", ".id", "the id of a send is needed");
        break;
    case WAYMARK__WORKFLOW__V1__ACTION__KIND_START_TASK:
        compile_task(c, in->start_task, out);
        break;
    case WAYMARK__WORKFLOW__V1__ACTION__KIND_LOG:
        out->kind = CHART_LOG;
        out->name = wm_arena_strdup(c->arena, in->log->label);
        out->value = compile_expr(c, in->log->expression, ".expression", EXPR_VALUE);
        break;
    case WAYMARK__WORKFLOW__V1__ACTION__KIND_CHOOSE:
        compile_choose(c, in->choose, out, depth);
        break;
    default:
        out->kind = CHART_LOG;
        out->name = "";
        chart_complain(c, "FIELD_REQUIRED", "an action needs its kind");
        break;
    }
    chart_path_pop(c, before);
}

chart_block chart_compile_block(compiler *c, proto_action *const *actions, size_t n,
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
        size_t before = chart_path_push(c, "%s[%zu]", member, i);

        compile_action(c, actions[i], &out[i], depth);
        chart_path_pop(c, before);
    }
    block.actions = out;
    block.n = n;
    return block;
}
