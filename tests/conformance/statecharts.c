/* tests/conformance/statecharts.c - judges the stepper by cases that others wrote.
 *
 *   statecharts FILE.jsonl
 *
 * Each line is a machine and what must be active after each event; it is converted to a
 * waymark Chart and run by workflow_step() with a clock of its own. ECMAScript conditions
 * are rewritten as far as they mean the same: identifiers become members of `data`, ===
 * becomes ==. What cannot be said is skipped by name.
 * Prints failures by name and ends with "N passed, N failed".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/workflow/step.h"

typedef Waymark__Workflow__V1__State proto_state;
typedef Waymark__Workflow__V1__Transition proto_transition;
typedef Waymark__Workflow__V1__Action proto_action;

typedef struct pending pending;
struct pending {
    pending *next;
    const char *id; /* NULL: sent without delay */
    workflow_event event;
    int64_t due_ms;
};

typedef struct run {
    wm_arena *arena;
    const wm_json *line;
    const char *unsupported; /* why this case cannot be said */
    const workflow_chart *chart;
    workflow_state state;
    pending *pending;
    int64_t now_ms;
} run;

static const char *text_of(const wm_json *object, const char *name)
{
    const wm_json *member = wm_json_find(object, name);

    return member && member->kind == WM_JSON_STRING ? member->text : "";
}

/* ---- conversion ---- */

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_word(const char *at, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(at, word, len) == 0;
}

static void convert_word(wm_buf *out, const char *at, size_t len)
{
    if (is_word(at, len, "In"))
        wm_buf_text(out, "In");
    else if (is_word(at, len, "true") || is_word(at, len, "false") || is_word(at, len, "null") ||
             (at[0] >= '0' && at[0] <= '9'))
        wm_buf_add(out, at, len);
    else {
        wm_buf_text(out, "data.");
        wm_buf_add(out, at, len);
    }
}

/* The waymark form of an ECMAScript expression. */
static char *convert_expr(run *r, const char *text)
{
    wm_buf out;
    char *made;
    char quote = 0;

    wm_buf_init(&out, 65536);
    for (size_t i = 0; text[i];) {
        size_t len = 0;

        while (is_name_char(text[i + len]))
            len++;
        if (quote || text[i] == '\'' || text[i] == '"') {
            if (quote == text[i])
                quote = 0;
            else if (!quote)
                quote = text[i];
            wm_buf_char(&out, text[i++]);
        } else if (len > 0) {
            convert_word(&out, text + i, len);
            i += len;
        } else {
            wm_buf_char(&out, text[i++]);
            /* === and !== */
            if (text[i] == '=' && text[i + 1] == '=' && (text[i - 1] == '=' || text[i - 1] == '!'))
                i++;
        }
    }
    made = wm_arena_strndup(r->arena, out.data, out.size);
    wm_buf_free(&out);
    return made;
}

/* A bare string is true in ECMAScript when it is not empty. */
static char *convert_cond(run *r, const char *text)
{
    size_t len = strlen(text);

    if (len >= 2 && text[0] == '\'' && strchr(text + 1, '\'') == text + len - 1)
        return wm_arena_printf(r->arena, "%s != ''", text);
    return convert_expr(r, text);
}

static char **convert_ids(run *r, const wm_json *list, size_t *n)
{
    char **ids;
    size_t i = 0;

    *n = list ? list->len : 0;
    ids = WM_NEW_ARRAY(r->arena, char *, *n + 1);
    for (const wm_json *id = list ? list->first : NULL; id; id = id->next)
        ids[i++] = (char *)id->text;
    return ids;
}

static proto_action **convert_actions(run *r, const wm_json *list, size_t *n);

static void convert_send(run *r, const wm_json *in, proto_action *out)
{
    const wm_json *delay = wm_json_find(in, "delay_ms");

    if (strcmp(text_of(in, "target"), "#_internal") == 0) {
        out->kind_case = WAYMARK__WORKFLOW__V1__ACTION__KIND_RAISE;
        out->raise = WM_NEW(r->arena, Waymark__Workflow__V1__Raise);
        waymark__workflow__v1__raise__init(out->raise);
        out->raise->event = (char *)text_of(in, "send");
        return;
    }
    if (text_of(in, "target")[0])
        r->unsupported = "send to another target";
    out->kind_case = WAYMARK__WORKFLOW__V1__ACTION__KIND_SEND;
    out->send = WM_NEW(r->arena, Waymark__Workflow__V1__Send);
    waymark__workflow__v1__send__init(out->send);
    out->send->event = (char *)text_of(in, "send");
    out->send->id = (char *)text_of(in, "id");
    if (delay) {
        out->send->delay = WM_NEW(r->arena, Google__Protobuf__Duration);
        google__protobuf__duration__init(out->send->delay);
        out->send->delay->seconds = (int64_t)delay->number / 1000;
        out->send->delay->nanos = (int32_t)((int64_t)delay->number % 1000 * 1000000);
    }
}

static void convert_if(run *r, const wm_json *branches, proto_action *out)
{
    size_t i = 0;

    out->kind_case = WAYMARK__WORKFLOW__V1__ACTION__KIND_CHOOSE;
    out->choose = WM_NEW(r->arena, Waymark__Workflow__V1__Choose);
    waymark__workflow__v1__choose__init(out->choose);
    out->choose->n_branches = branches->len;
    out->choose->branches = WM_NEW_ARRAY(r->arena, Waymark__Workflow__V1__Branch *, branches->len);
    for (const wm_json *in = branches->first; in; in = in->next) {
        Waymark__Workflow__V1__Branch *branch = WM_NEW(r->arena, Waymark__Workflow__V1__Branch);

        waymark__workflow__v1__branch__init(branch);
        branch->guard = convert_cond(r, text_of(in, "cond"));
        branch->actions = convert_actions(r, wm_json_find(in, "actions"), &branch->n_actions);
        out->choose->branches[i++] = branch;
    }
}

static proto_action *convert_action(run *r, const wm_json *in)
{
    proto_action *out = WM_NEW(r->arena, proto_action);

    waymark__workflow__v1__action__init(out);
    if (wm_json_find(in, "assign")) {
        out->kind_case = WAYMARK__WORKFLOW__V1__ACTION__KIND_ASSIGN;
        out->assign = WM_NEW(r->arena, Waymark__Workflow__V1__Assign);
        waymark__workflow__v1__assign__init(out->assign);
        out->assign->variable = (char *)text_of(in, "assign");
        out->assign->expression = convert_expr(r, text_of(in, "expr"));
    } else if (wm_json_find(in, "raise")) {
        out->kind_case = WAYMARK__WORKFLOW__V1__ACTION__KIND_RAISE;
        out->raise = WM_NEW(r->arena, Waymark__Workflow__V1__Raise);
        waymark__workflow__v1__raise__init(out->raise);
        out->raise->event = (char *)text_of(in, "raise");
    } else if (wm_json_find(in, "send")) {
        convert_send(r, in, out);
    } else if (wm_json_find(in, "cancel")) {
        out->kind_case = WAYMARK__WORKFLOW__V1__ACTION__KIND_CANCEL;
        out->cancel = WM_NEW(r->arena, Waymark__Workflow__V1__Cancel);
        waymark__workflow__v1__cancel__init(out->cancel);
        out->cancel->id = (char *)text_of(in, "cancel");
    } else if (wm_json_find(in, "log")) {
        out->kind_case = WAYMARK__WORKFLOW__V1__ACTION__KIND_LOG;
        out->log = WM_NEW(r->arena, Waymark__Workflow__V1__Log);
        waymark__workflow__v1__log__init(out->log);
        out->log->label = (char *)text_of(in, "log");
    } else if (wm_json_find(in, "if")) {
        convert_if(r, wm_json_find(in, "if"), out);
    } else {
        r->unsupported = "an action of another kind";
    }
    return out;
}

static proto_action **convert_actions(run *r, const wm_json *list, size_t *n)
{
    proto_action **actions;
    size_t i = 0;

    *n = list ? list->len : 0;
    actions = WM_NEW_ARRAY(r->arena, proto_action *, *n + 1);
    for (const wm_json *in = list ? list->first : NULL; in; in = in->next)
        actions[i++] = convert_action(r, in);
    return actions;
}

static proto_transition *convert_transition(run *r, const wm_json *in)
{
    proto_transition *out = WM_NEW(r->arena, proto_transition);

    waymark__workflow__v1__transition__init(out);
    out->event = (char *)text_of(in, "event");
    out->guard = convert_cond(r, text_of(in, "cond"));
    out->targets = convert_ids(r, wm_json_find(in, "target"), &out->n_targets);
    out->internal = strcmp(text_of(in, "type"), "internal") == 0;
    out->actions = convert_actions(r, wm_json_find(in, "actions"), &out->n_actions);
    return out;
}

static Waymark__Workflow__V1__StateKind convert_kind(run *r, const wm_json *in)
{
    const char *type = text_of(in, "type");

    if (strcmp(type, "atomic") == 0)
        return WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_ATOMIC;
    if (strcmp(type, "compound") == 0)
        return WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_COMPOUND;
    if (strcmp(type, "parallel") == 0)
        return WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_PARALLEL;
    if (strcmp(type, "final") == 0)
        return WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_FINAL;
    if (strcmp(type, "history") == 0)
        return strcmp(text_of(in, "history"), "deep") == 0
                   ? WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_HISTORY_DEEP
                   : WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_HISTORY_SHALLOW;
    r->unsupported = "a state of another type";
    return WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_UNSPECIFIED;
}

static proto_state **convert_states(run *r, const wm_json *list, size_t *n);

static proto_state *convert_state(run *r, const wm_json *in)
{
    proto_state *out = WM_NEW(r->arena, proto_state);
    const wm_json *transitions = wm_json_find(in, "transitions");

    waymark__workflow__v1__state__init(out);
    out->id = (char *)text_of(in, "id");
    out->kind = convert_kind(r, in);
    out->initial = convert_ids(r, wm_json_find(in, "initial"), &out->n_initial);
    out->states = convert_states(r, wm_json_find(in, "states"), &out->n_states);
    out->on_entry = convert_actions(r, wm_json_find(in, "onentry"), &out->n_on_entry);
    out->on_exit = convert_actions(r, wm_json_find(in, "onexit"), &out->n_on_exit);
    out->initial_actions =
        convert_actions(r, wm_json_find(in, "initial_actions"), &out->n_initial_actions);
    out->transitions =
        WM_NEW_ARRAY(r->arena, proto_transition *, (transitions ? transitions->len : 0) + 1);
    for (const wm_json *t = transitions ? transitions->first : NULL; t; t = t->next)
        out->transitions[out->n_transitions++] = convert_transition(r, t);
    return out;
}

static proto_state **convert_states(run *r, const wm_json *list, size_t *n)
{
    proto_state **states;
    size_t i = 0;

    *n = list ? list->len : 0;
    states = WM_NEW_ARRAY(r->arena, proto_state *, *n + 1);
    for (const wm_json *in = list ? list->first : NULL; in; in = in->next)
        states[i++] = convert_state(r, in);
    return states;
}

/* NULL when it is none. */
static const wm_json *convert_constant(run *r, const char *text)
{
    workflow_env env = {.data = workflow_value_empty()};
    const wm_json *value;
    workflow_expr *expr;
    cel_issues issues;
    const char *why;

    if (workflow_expr_compile(text, EXPR_VALUE, &expr, &issues) != WM_OK)
        return NULL;
    value = workflow_expr_eval(expr, r->arena, &env, &why);
    workflow_expr_free(expr);
    return value;
}

/* The variables at the start: constants. */
static const wm_json *convert_data(run *r)
{
    const wm_json *list = wm_json_find(r->line, "data"), *data = workflow_value_empty();

    for (const wm_json *in = list ? list->first : NULL; in; in = in->next) {
        const wm_json *value = workflow_value_null();

        if (text_of(in, "expr")[0])
            value = convert_constant(r, convert_expr(r, text_of(in, "expr")));
        if (!value) {
            r->unsupported = "data that is no constant";
            return data;
        }
        data = workflow_value_set(r->arena, data, text_of(in, "id"), value);
    }
    return data;
}

/* ---- running ---- */

static void apply_effects(run *r, const workflow_effects *effects)
{
    for (const workflow_effect *e = effects->first; e; e = e->next) {
        pending **at = &r->pending, *add;

        if (e->kind == EFFECT_CANCEL || e->kind == EFFECT_TIMER) {
            while (*at) {
                if ((*at)->id && strcmp((*at)->id, e->id) == 0)
                    *at = (*at)->next;
                else
                    at = &(*at)->next;
            }
        }
        if (e->kind != EFFECT_TIMER && e->kind != EFFECT_SEND)
            continue;
        add = WM_NEW(r->arena, pending);
        add->id = e->kind == EFFECT_TIMER ? e->id : NULL;
        add->event.name = e->name;
        add->event.data = e->data;
        add->due_ms = r->now_ms + e->delay_ms;
        for (at = &r->pending; *at && (*at)->due_ms <= add->due_ms;)
            at = &(*at)->next;
        add->next = *at;
        *at = add;
    }
}

static const workflow_identity nobody = {"case", ""};

static bool take_event(run *r, const workflow_event *event)
{
    workflow_effects effects;
    workflow_state after;
    wm_err err;

    workflow_effects_init(&effects);
    if (workflow_step(r->chart, r->arena, &nobody, &r->state, event, &after, &effects, &err) !=
        WM_OK) {
        printf("  %s\n", err.message);
        return false;
    }
    r->state = after;
    apply_effects(r, &effects);
    return true;
}

/* Delivers what is due up to and including `until_ms`. */
static bool advance(run *r, int64_t until_ms)
{
    while (r->pending && r->pending->due_ms <= until_ms) {
        pending *due = r->pending;

        r->pending = due->next;
        if (due->due_ms > r->now_ms)
            r->now_ms = due->due_ms;
        if (!take_event(r, &due->event))
            return false;
    }
    r->now_ms = until_ms;
    return true;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_expected(run *r, const wm_json *expected, const char *when)
{
    const char *is = workflow_state_text(r->chart, &r->state, r->arena);
    char *copy = wm_arena_strdup(r->arena, is), *save = NULL;
    const char **want = WM_NEW_ARRAY(r->arena, const char *, expected->len + 1);
    const char **have = WM_NEW_ARRAY(r->arena, const char *, strlen(is) + 1);
    size_t n_want = 0, n_have = 0;
    bool same;

    for (const wm_json *id = expected->first; id; id = id->next)
        want[n_want++] = id->text;
    for (char *id = strtok_r(copy, " ", &save); id; id = strtok_r(NULL, " ", &save))
        have[n_have++] = id;
    qsort(want, n_want, sizeof *want, compare_texts);
    qsort(have, n_have, sizeof *have, compare_texts);
    same = n_want == n_have;
    for (size_t i = 0; same && i < n_want; i++)
        same = strcmp(want[i], have[i]) == 0;
    if (!same) {
        printf("  %s: active are [%s], expected [", when, is);
        for (size_t i = 0; i < n_want; i++)
            printf("%s%s", i ? " " : "", want[i]);
        printf("]\n");
    }
    return same;
}

static bool run_events(run *r)
{
    const wm_json *events = wm_json_find(r->line, "events");
    int i = 0;

    for (const wm_json *in = events ? events->first : NULL; in; in = in->next, i++) {
        const wm_json *after_ms = wm_json_find(in, "after_ms"), *data = wm_json_find(in, "data");
        workflow_event event = {text_of(in, "event"), data ? data : workflow_value_empty()};
        char when[64];

        snprintf(when, sizeof when, "event %d (%.30s)", i, event.name);
        if (!advance(r, r->now_ms + (after_ms ? (int64_t)after_ms->number : 0)) ||
            !take_event(r, &event) || !is_expected(r, wm_json_find(in, "next"), when))
            return false;
    }
    return true;
}

static bool run_chart(run *r, const wm_json *data)
{
    workflow_effects effects;
    wm_err err;

    workflow_effects_init(&effects);
    if (workflow_step_start(r->chart, r->arena, &nobody, data, &r->state, &effects, &err) !=
        WM_OK) {
        printf("  %s\n", err.message);
        return false;
    }
    apply_effects(r, &effects);
    return is_expected(r, wm_json_find(r->line, "initial_configuration"), "at the start") &&
           run_events(r);
}

typedef enum verdict { PASSED, FAILED, SKIPPED } verdict;

static verdict judge(wm_arena *arena, const wm_json *line, const char *name)
{
    run r = {.arena = arena, .line = line};
    const wm_json *machine = wm_json_find(line, "machine");
    Waymark__Workflow__V1__Chart definition = WAYMARK__WORKFLOW__V1__CHART__INIT;
    static chart_diagnostics found;
    workflow_chart *chart;
    const wm_json *data;
    verdict verdict;

    definition.chart_id = "case";
    definition.initial = convert_ids(&r, wm_json_find(machine, "initial"), &definition.n_initial);
    definition.states = convert_states(&r, wm_json_find(machine, "states"), &definition.n_states);
    data = convert_data(&r);
    if (r.unsupported) {
        printf("SKIP %s: %s\n", name, r.unsupported);
        return SKIPPED;
    }
    if (workflow_chart_compile(&definition, &chart, &found) != WM_OK) {
        bool expression = strcmp(found.errs[0].reason, "EXPRESSION_INVALID") == 0;

        printf("%s %s: %s: %s\n", expression ? "SKIP" : "FAIL", name, found.errs[0].field,
               found.errs[0].message);
        return expression ? SKIPPED : FAILED;
    }
    r.chart = chart;
    verdict = run_chart(&r, data) ? PASSED : FAILED;
    if (verdict == FAILED)
        printf("FAIL %s\n", name);
    workflow_chart_unref(chart);
    return verdict;
}

int main(int argc, char **argv)
{
    int counts[3] = {0, 0, 0};
    char *text = NULL;
    size_t room = 0;
    ssize_t len;
    wm_arena arena;
    FILE *file;

    if (argc != 2 || !(file = fopen(argv[1], "r"))) {
        fprintf(stderr, "usage: statecharts FILE.jsonl\n");
        return 2;
    }
    wm_arena_init(&arena, 0);
    while ((len = getline(&text, &room, file)) > 1) {
        wm_json *line;
        wm_err err;

        wm_arena_reset(&arena);
        if (wm_json_parse(&arena, text, (size_t)len, &line, &err) != WM_OK) {
            printf("FAIL a line that is no JSON: %s\n", err.message);
            counts[FAILED]++;
            continue;
        }
        counts[judge(&arena, line, text_of(line, "name"))]++;
    }
    wm_arena_free(&arena);
    free(text);
    fclose(file);
    if (counts[SKIPPED] > 0)
        printf("%d skipped\n", counts[SKIPPED]);
    printf("%d passed, %d failed\n", counts[PASSED], counts[FAILED]);
    return counts[FAILED] > 0;
}
