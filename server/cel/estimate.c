/* cel/estimate.c - what an evaluation will cost, by the expression and the sizes of its variables.
 *
 * One walk from the leaves up. Each part has a least and a most cost, and a most size: of elements
 * or, for texts, bytes. What is not told is taken to be of the usual size. The rules are those by
 * which eval.c, comprehension.c and the functions pay, rounded up.
 *
 * The bounds hold where nothing is an error: one ends an evaluation early, and its message costs.
 */
#include <string.h>

#include "server/cel/internal.h"
#include "server/cel/regex.h"

typedef struct part {
    uint64_t min, max; /* cost */
    uint64_t size;     /* elements or bytes, at most */
    uint64_t item;     /* the same of an element */
} part;

typedef struct estimator {
    const cel_size_hint *hints;
    size_t n_hints;
    uint64_t usual;
    part *slots;
} estimator;

static part estimate(estimator *e, const cel_code *code);

/* ---- numbers that stop at the end ---- */

static uint64_t plus(uint64_t a, uint64_t b)
{
    return __builtin_add_overflow(a, b, &a) ? UINT64_MAX : a;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    return __builtin_mul_overflow(a, b, &a) ? UINT64_MAX : a;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- leaves ---- */

static bool is_flat(uint32_t kind)
{
    return kind != CEL_STRING && kind != CEL_BYTES && kind != CEL_LIST && kind != CEL_MAP &&
           kind != CEL_OPTIONAL && kind < CEL_ERROR;
}

static uint64_t size_of(const cel_value *value)
{
    switch (value->kind) {
    case CEL_STRING:
    case CEL_BYTES:
        return value->len;
    case CEL_LIST:
        return value->as.list->len;
    case CEL_MAP:
        return value->as.map->len;
    default:
        return 0;
    }
}

static part of_const(const estimator *e, const cel_value *value)
{
    part known = {.size = size_of(value)};

    if (value->kind == CEL_LIST)
        for (uint32_t i = 0; i < value->as.list->len; i++)
            known.item = most(known.item, size_of(&value->as.list->items[i]));
    else if (value->kind == CEL_MAP || value->kind == CEL_OPTIONAL)
        known.item = e->usual;
    return known;
}

static uint64_t hint_of(const estimator *e, const cel_path *path)
{
    for (size_t i = 0; i < e->n_hints; i++) {
        const char *at = e->hints[i].path ? e->hints[i].path : "";
        size_t n = 0;
        bool same = e->hints[i].place == path->variable->place;

        for (; same && *at && n < path->n; n++) {
            size_t len = strcspn(at, ".");

            same = len == path->steps[n].len && memcmp(at, path->steps[n].name, len) == 0;
            at += len + (at[len] == '.');
        }
        if (same && !*at && n == path->n)
            return e->hints[i].size;
    }
    return e->usual;
}

static part of_path(const estimator *e, const cel_code *code, part part)
{
    cel_path path;

    part.item = e->usual;
    part.size = cel_path_of(code, &path) ? hint_of(e, &path) : e->usual;
    if (is_flat(code->type))
        part.size = part.item = 0;
    return part;
}

/* ---- operators ---- */

/* All arguments together; `first` and `largest` (may be NULL) are of one of them. Each is walked
 * once: what nests would double the work at every level. */
static part sum_args(estimator *e, const cel_code *code, part *first, uint64_t *largest)
{
    part all = {0};

    for (uint32_t i = 0; i < code->n; i++) {
        part arg = estimate(e, code->args[i]);

        all.min = plus(all.min, arg.min);
        all.max = plus(all.max, arg.max);
        all.size = plus(all.size, arg.size);
        all.item = most(all.item, arg.item);
        if (first && i == 0)
            *first = arg;
        if (largest)
            *largest = most(*largest, arg.size);
    }
    return all;
}

static part sum_of(estimator *e, const cel_code *code)
{
    return sum_args(e, code, NULL, NULL);
}

static part add_cost(part part, uint64_t min, uint64_t max)
{
    part.min = plus(part.min, min);
    part.max = plus(part.max, max);
    return part;
}

/* Only the first operand is sure to be evaluated. */
static part of_logic(estimator *e, const cel_code *code)
{
    part first = {0}, all = sum_args(e, code, &first, NULL);

    all.min = first.min;
    all.size = all.item = 0;
    return add_cost(all, 1, 1);
}

static part either(part a, part b)
{
    return (part){least(a.min, b.min), most(a.max, b.max), most(a.size, b.size),
                  most(a.item, b.item)};
}

static part of_choice(estimator *e, const cel_code *code)
{
    part which = estimate(e, code->args[0]);
    part one = either(estimate(e, code->args[1]), estimate(e, code->args[2]));

    return add_cost(one, plus(which.min, 1), plus(which.max, 1));
}

/* Comparing two values to the end. */
static uint64_t compare_cost(part a, part b)
{
    uint64_t left = plus(2, times(plus(a.size, 1), plus(a.item, 2)));
    uint64_t right = plus(2, times(plus(b.size, 1), plus(b.item, 2)));

    return least(left, right);
}

static part of_binary(estimator *e, const cel_code *code)
{
    part a = estimate(e, code->args[0]), b = estimate(e, code->args[1]);
    part all = {plus(a.min, b.min), plus(a.max, b.max), 0, 0};

    switch (code->ast->code) {
    case OP_EQ:
    case OP_NE:
        return add_cost(all, 1, plus(1, compare_cost(a, b)));
    case OP_IN:
        return add_cost(all, 1, plus(1, times(b.size, compare_cost(a, (part){.size = b.item}))));
    case OP_INDEX:
        all.size = b.size = a.item;
        all.item = e->usual;
        return add_cost(of_path(e, code, all), 1, plus(2, a.size / 4));
    case OP_ADD:
        all.size = plus(a.size, b.size);
        all.item = most(a.item, b.item);
        return add_cost(all, 1, plus(3, all.size));
    default:
        return add_cost(all, 1, plus(1, a.size / 512));
    }
}

static part of_op(estimator *e, const cel_code *code)
{
    if (code->ast->code == OP_AND || code->ast->code == OP_OR)
        return of_logic(e, code);
    if (code->ast->code == OP_COND)
        return of_choice(e, code);
    if (code->n == 1)
        return add_cost(sum_of(e, code), 1, 1);
    return of_binary(e, code);
}

/* ---- macros ---- */

/* How often the bodies run: not at all over something empty, and all() ends when it can. */
static part of_loop(estimator *e, const cel_code *code, part range)
{
    part all = {range.min, range.max, range.size, range.item}, bodies = {0};
    uint64_t n = range.size;

    for (uint32_t i = 1; i < code->n; i++) {
        part body = estimate(e, code->args[i]);

        bodies.max = plus(bodies.max, plus(body.max, 2));
        bodies.item = most(bodies.item, most(body.size, body.item));
        bodies.size = body.size;
    }
    /* The results, which are kept, and sorted by sortBy(). */
    all = add_cost(all, 0, plus(8, times(n, plus(bodies.max, 20))));
    if (code->ast->code != MACRO_FILTER && code->ast->code != MACRO_SORT_BY)
        all.item = most(all.item, bodies.item);
    if (code->ast->code == MACRO_TRANSFORM_ENTRY)
        all.size = times(n, plus(bodies.size, 1));
    return all;
}

static part of_macro(estimator *e, const cel_code *code)
{
    part range = estimate(e, code->args[0]), body;
    bool once = code->ast->code == MACRO_BIND || code->ast->code == MACRO_OPT_MAP ||
                code->ast->code == MACRO_OPT_FLAT_MAP;
    part kept[2] = {e->slots[code->place], e->slots[code->place + code->two]};

    e->slots[code->place] =
        code->ast->code == MACRO_BIND ? range : (part){.size = range.item, .item = e->usual};
    if (code->two)
        e->slots[code->place + 1] = e->slots[code->place];
    if (once) {
        body = estimate(e, code->args[1]);
        range = (part){plus(range.min, code->ast->code == MACRO_BIND ? body.min : 0),
                       plus(range.max, body.max), body.size, most(body.item, body.size)};
        range = add_cost(range, 1, 3);
    } else {
        range = of_loop(e, code, range);
    }
    e->slots[code->place] = kept[0];
    e->slots[code->place + code->two] = kept[1];
    return range;
}

/* ---- calls ---- */

/* What a function pays: `flat`, and `per_size` for each element or byte of its arguments. */
typedef struct rule {
    const char *name;
    uint32_t flat, per_size;
} rule;

static const rule *rule_of(const char *name)
{
    static const rule rules[] = {
        {"size", 1, 1},
        {"startsWith", 0, 1},
        {"endsWith", 0, 1},
        {"contains", 1, 1},
        {"indexOf", 1, 1},
        {"dyn", 0, 0},
        {"type", 0, 0},
        {"int", 1, 2},
        {"uint", 1, 2},
        {"double", 1, 2},
        {"bool", 1, 1},
        {"bytes", 0, 0},
        {"timestamp", 0, 0},
        {"duration", 0, 0},
        {"charAt", 1, 1},
        {"substring", 1, 1},
        {"lowerAscii", 1, 1},
        {"upperAscii", 1, 1},
        {"trim", 1, 1},
        {"hasValue", 0, 0},
        {"value", 0, 0},
        {"orValue", 0, 0},
        {"or", 0, 0},
        {"optional.of", 2, 0},
        {"optional.none", 0, 0},
        {"getFullYear", 0, 0},
        {"getMonth", 0, 0},
        {"getDate", 0, 0},
        {"getDayOfMonth", 0, 0},
        {"getDayOfWeek", 0, 0},
        {"getDayOfYear", 0, 0},
        {"getHours", 0, 0},
        {"getMinutes", 0, 0},
        {"getSeconds", 0, 0},
        {"getMilliseconds", 0, 0},
        {"geo.point", 16, 0},
        {"geo.circle", 180, 0},
        {"geo.distance_m", 150, 0},
        {"geo.bearing_deg", 150, 0},
    };

    for (size_t i = 0; i < WM_ARRAY_LEN(rules); i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}

/* Of a pattern that is compiled for the call; a constant one was compiled with the program. */
enum { PATTERN_COST_MAX = 75000, PATTERN_BYTE_COST_MAX = 11000 };

/* Searches with the pattern: one over the text, or, for extractAll() and replace(), one from each
 * byte on. */
static uint64_t search_cost(const cel_code *code, uint64_t size, bool once)
{
    const cel_regex *regex = code->regex;
    uint64_t per_byte = regex ? cel_regex_cost(regex, 1, true) : PATTERN_BYTE_COST_MAX;
    uint64_t one = plus(20, times(size, per_byte));

    return plus(regex ? 200 : PATTERN_COST_MAX, once ? one : times(plus(size, 2), one));
}

static bool is_regex(const char *name)
{
    return strncmp(name, "regex.", 6) == 0;
}

/* Without a rule: each element meets each other one. */
static uint64_t unruled_cost(part args)
{
    uint64_t all = times(plus(args.size, 1), plus(args.item, 8));

    return plus(5000, times(all, plus(args.size, 8)));
}

static part of_call(estimator *e, const cel_code *code)
{
    const char *name = code->n_overloads > 0 ? code->overloads[0]->name : "";
    const rule *rule = rule_of(name);
    part all = sum_of(e, code);
    uint64_t cost;

    if (code->prepared) {
        cost = plus(200, all.size);
    } else if (strcmp(name, "matches") == 0) {
        cost = search_cost(code, all.size, true);
    } else if (rule) {
        cost = plus(rule->flat, times(all.size, rule->per_size));
    } else {
        cost = strcmp(name, "string") == 0 ? plus(70, all.size) : unruled_cost(all);
        if (is_regex(name))
            cost = plus(cost, search_cost(code, all.size, strcmp(name, "regex.extract") == 0));
        all.size = strcmp(name, "string") == 0 ? most(all.size, 64)
                   : strcmp(name, "lists.range") == 0
                       ? CEL_COST_MAX /* it ends there */
                       : times(plus(all.size, 64), plus(all.size, 2));
    }
    if (is_flat(code->type))
        all.size = all.item = 0;
    return add_cost(all, 1, plus(1, cost));
}

/* a.or(b) and a.orValue(b): b only without a. */
static part of_or(estimator *e, const cel_code *code)
{
    part a = estimate(e, code->args[0]), b = estimate(e, code->args[1]);

    return (part){plus(a.min, 1), plus(plus(a.max, b.max), 1), most(most(a.size, a.item), b.size),
                  most(most(a.item, b.item), e->usual)};
}

static part of_literal(estimator *e, const cel_code *code)
{
    uint64_t largest = 0;
    part all = sum_args(e, code, NULL, &largest);

    all.item = most(largest, code->run == cel_run_list ? 0 : e->usual);
    all.size = code->n;
    return add_cost(all, 1, plus(2, times(code->n, 3)));
}

/* ---- the walk ---- */

static part estimate(estimator *e, const cel_code *code)
{
    part part;

    if (code->run == cel_run_const)
        return of_const(e, &code->value);
    if (code->run == cel_run_local)
        return (struct part){.size = e->slots[code->place].size,
                             .item = e->slots[code->place].item};
    if (code->run == cel_run_problem)
        return (struct part){0};
    if (code->run == cel_run_var)
        return of_path(e, code, (struct part){.min = 1, .max = 1});
    if (code->ast->kind == AST_MACRO)
        return of_macro(e, code);
    if (code->run == cel_run_or)
        return of_or(e, code);
    switch (code->ast->kind) {
    case AST_SELECT:
    case AST_HAS:
        part = estimate(e, code->args[0]);
        part = add_cost(part, 1, plus(2, part.size / 4));
        return of_path(e, code, part);
    case AST_CALL:
        return of_call(e, code);
    case AST_LIST:
    case AST_MAP:
        return of_literal(e, code);
    default:
        return of_op(e, code);
    }
}

cel_cost cel_program_cost(const cel_program *program, const cel_size_hint *hints, size_t n,
                          uint64_t usual)
{
    estimator e = {.hints = hints, .n_hints = n, .usual = usual > 0 ? usual : CEL_SIZE_USUAL};
    wm_arena arena;
    part whole;

    wm_arena_init(&arena, 0);
    e.slots = wm_arena_zalloc(&arena, (program->slots + 2u) * sizeof *e.slots);
    whole = e.slots ? estimate(&e, program->code) : (part){.max = UINT64_MAX};
    wm_arena_free(&arena);
    return (cel_cost){whole.min, whole.max};
}
