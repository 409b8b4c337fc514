/* cel/eval.c - evaluation: one function for each kind of node, called through the node.
 *
 * Errors are values and go up as they are. Only && and ||, and the macros made of them, may
 * absorb one: when another operand decides alone. An error of the limits (`fatal`) is never
 * absorbed, so that an evaluation that went too far ends at once.
 */
#include <math.h>
#include <string.h>

#include "server/cel/functions.h"
#include "server/cel/internal.h"

/* Every function that does not only hand on a value pays one unit. */
#define PAY(call)                           \
    do {                                    \
        if (++(call)->cost > (call)->limit) \
            return cel_fail_cost(call);     \
    } while (0)

cel_value cel_run_const(cel_call *call, const cel_code *code)
{
    (void)call;
    return code->value;
}

cel_value cel_run_local(cel_call *call, const cel_code *code)
{
    return call->slots[code->place];
}

cel_value cel_run_problem(cel_call *call, const cel_code *code)
{
    call->pos = code->pos;
    return cel_fail(call, CEL_ERROR_UNKNOWN, "%s '%s'", code->value.as.text,
                    code->name ? code->name : "");
}

cel_value cel_run_var(cel_call *call, const cel_code *code)
{
    const cel_vars *vars = call->vars;
    cel_value value;

    PAY(call);
    if (vars && vars->values && code->place < vars->n &&
        vars->values[code->place].kind != CEL_ABSENT)
        return vars->values[code->place];
    if (vars && vars->resolve && vars->resolve(vars, code->place, call->arena, &value))
        return value;
    call->pos = code->pos;
    return cel_fail(call, CEL_ERROR_UNKNOWN, "no value for '%s'", code->name);
}

cel_value cel_run_select(cel_call *call, const cel_code *code)
{
    cel_value operand = cel_run(call, code->args[0]), value;

    PAY(call);
    if (operand.kind == CEL_ERROR)
        return operand;
    if (operand.kind == CEL_MAP)
        cel_spend_find(call, operand.as.map);
    if (operand.kind == CEL_MAP && !code->optional &&
        cel_map_find_name(operand.as.map, call->arena, code->name, code->name_len, &value)) {
        cel_spend_found(call, operand.as.map, &value);
        return value;
    }
    call->pos = code->pos;
    return cel_op_select(call, &operand, code->name, code->name_len, code->optional);
}

cel_value cel_run_has(cel_call *call, const cel_code *code)
{
    cel_value operand = cel_run(call, code->args[0]), value;

    PAY(call);
    call->pos = code->pos;
    while (operand.kind == CEL_OPTIONAL && operand.as.optional)
        operand = *operand.as.optional;
    if (operand.kind == CEL_OPTIONAL)
        return cel_of_bool(false);
    if (operand.kind == CEL_MAP)
        cel_spend_find(call, operand.as.map);
    if (operand.kind == CEL_MAP)
        return cel_of_bool(
            cel_map_find_name(operand.as.map, call->arena, code->name, code->name_len, &value));
    if (operand.kind == CEL_ERROR)
        return operand;
    return cel_fail(call, CEL_ERROR_OVERLOAD, "no such field: %.100s of a %s", code->name,
                    cel_type_name(&operand));
}

/* ---- calls ---- */

static cel_value call_with(cel_call *call, const cel_code *code, cel_value *args)
{
    for (uint32_t i = 0; i < code->n; i++) {
        args[i] = cel_run(call, code->args[i]);
        if (args[i].kind == CEL_ERROR)
            return args[i];
    }
    PAY(call);
    call->pos = code->pos;
    call->at = code;
    for (uint32_t i = 0; i < code->n_overloads; i++)
        if (cel_signature_takes(code->overloads[i]->args, args, code->n)) {
            cel_value value = code->overloads[i]->call(call, args, code->n);

            /* Functions pay for their memory as they go. */
            return call->cost > call->limit ? cel_fail_cost(call) : value;
        }
    return cel_fail_overload(call, code->name, args, code->n);
}

static cel_value call_many(cel_call *call, const cel_code *code)
{
    cel_value args[CEL_ARGS_MAX];

    return call_with(call, code, args);
}

/* a.or(b) and a.orValue(b): b is evaluated only when a has no value. */
cel_value cel_run_or(cel_call *call, const cel_code *code)
{
    cel_value args[2] = {cel_run(call, code->args[0])};
    bool unwraps = strcmp(code->name, "orValue") == 0;

    PAY(call);
    if (args[0].kind == CEL_ERROR)
        return args[0];
    if (args[0].kind == CEL_OPTIONAL && args[0].as.optional)
        return unwraps ? *args[0].as.optional : args[0];
    args[1] = cel_run(call, code->args[1]);
    if (args[1].kind == CEL_ERROR)
        return args[1];
    call->pos = code->pos;
    if (args[0].kind == CEL_OPTIONAL && (unwraps || args[1].kind == CEL_OPTIONAL))
        return args[1];
    return cel_fail_overload(call, code->name, args, 2);
}

/* Frames are kept small: expressions nest. */
cel_value cel_run_call(cel_call *call, const cel_code *code)
{
    cel_value args[4];

    return code->n > WM_ARRAY_LEN(args) ? call_many(call, code) : call_with(call, code, args);
}

/* ---- literals ---- */

cel_value cel_run_list(cel_call *call, const cel_code *code)
{
    cel_value *items = cel_alloc(call, code->n * sizeof *items);
    size_t n = 0;

    PAY(call);
    if (!items)
        return cel_fail_memory(call);
    for (uint32_t i = 0; i < code->n; i++) {
        cel_value item = cel_run(call, code->args[i]);

        if (item.kind == CEL_ERROR)
            return item;
        if (code->marks && code->marks[i]) {
            call->pos = code->args[i]->pos;
            if (item.kind != CEL_OPTIONAL)
                return cel_fail(call, CEL_ERROR_OVERLOAD, "an element with ? is no optional");
            if (!item.as.optional)
                continue;
            item = *item.as.optional;
        }
        items[n++] = item;
    }
    return cel_list_build(call, items, n);
}

cel_value cel_run_map(cel_call *call, const cel_code *code)
{
    cel_entry *entries = cel_alloc(call, code->n / 2 * sizeof *entries);
    size_t n = 0;

    PAY(call);
    if (!entries)
        return cel_fail_memory(call);
    for (uint32_t i = 0; i + 1 < code->n; i += 2) {
        cel_value key = cel_run(call, code->args[i]), value;

        if (key.kind == CEL_ERROR)
            return key;
        value = cel_run(call, code->args[i + 1]);
        if (value.kind == CEL_ERROR)
            return value;
        if (code->marks && code->marks[i]) {
            call->pos = code->args[i]->pos;
            if (value.kind != CEL_OPTIONAL)
                return cel_fail(call, CEL_ERROR_OVERLOAD, "an entry with ? is no optional");
            if (!value.as.optional)
                continue;
            value = *value.as.optional;
        }
        entries[n++] = (cel_entry){key, value};
    }
    call->pos = code->pos;
    return cel_map_build(call, entries, n);
}

/* ---- logic ---- */

/* && and ||: `decides` is the value of one operand that settles it. */
static cel_value run_logic(cel_call *call, const cel_code *code, bool decides)
{
    cel_value wrong = {.kind = CEL_NULL};

    PAY(call);
    for (uint32_t i = 0; i < code->n; i++) {
        cel_value value = cel_run(call, code->args[i]);

        if (value.kind == CEL_BOOL) {
            if (value.as.boolean == decides)
                return value;
        } else if (call->fatal) {
            return value;
        } else if (wrong.kind != CEL_ERROR) {
            call->pos = code->args[i]->pos;
            wrong = value.kind == CEL_ERROR
                        ? value
                        : cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: %s %s",
                                   cel_type_name(&value), decides ? "||" : "&&");
        }
    }
    return wrong.kind == CEL_ERROR ? wrong : cel_of_bool(!decides);
}

static cel_value run_and(cel_call *call, const cel_code *code)
{
    return run_logic(call, code, false);
}

static cel_value run_or(cel_call *call, const cel_code *code)
{
    return run_logic(call, code, true);
}

static cel_value run_not(cel_call *call, const cel_code *code)
{
    cel_value value = cel_run(call, code->args[0]);

    PAY(call);
    if (value.kind == CEL_BOOL)
        return cel_of_bool(!value.as.boolean);
    call->pos = code->pos;
    return value.kind == CEL_ERROR
               ? value
               : cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: !%s", cel_type_name(&value));
}

static cel_value run_cond(cel_call *call, const cel_code *code)
{
    cel_value value = cel_run(call, code->args[0]);

    PAY(call);
    if (value.kind == CEL_BOOL)
        return cel_run(call, code->args[value.as.boolean ? 1 : 2]);
    call->pos = code->pos;
    return value.kind == CEL_ERROR ? value
                                   : cel_fail(call, CEL_ERROR_OVERLOAD,
                                              "no such overload: %s ? :", cel_type_name(&value));
}

/* ---- operators ---- */

/* Both operands, or the first error. */
#define OPERANDS(call, code, args)            \
    cel_value args[2];                        \
    args[0] = cel_run(call, (code)->args[0]); \
    if (args[0].kind == CEL_ERROR)            \
        return args[0];                       \
    args[1] = cel_run(call, (code)->args[1]); \
    if (args[1].kind == CEL_ERROR)            \
        return args[1];                       \
    PAY(call);                                \
    (call)->pos = (code)->pos

static cel_value run_equality(cel_call *call, const cel_code *code, bool wanted)
{
    OPERANDS(call, code, args);
    bool equal = args[0].kind == CEL_INT && args[1].kind == CEL_INT
                     ? args[0].as.integer == args[1].as.integer
                     : cel_equal_deep(&args[0], &args[1], call, 0);

    return call->cost > call->limit ? cel_fail_cost(call) : cel_of_bool(equal == wanted);
}

static cel_value run_eq(cel_call *call, const cel_code *code)
{
    return run_equality(call, code, true);
}

static cel_value run_ne(cel_call *call, const cel_code *code)
{
    return run_equality(call, code, false);
}

static cel_value fail_order(cel_call *call, const cel_value *args)
{
    return cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: %s and %s have no order",
                    cel_type_name(&args[0]), cel_type_name(&args[1]));
}

static inline int run_order(cel_call *call, const cel_value *args)
{
    cel_spend_text(call, &args[0]);
    return cel_compare(&args[0], &args[1]);
}

static cel_value run_lt(cel_call *call, const cel_code *code)
{
    OPERANDS(call, code, args);
    int order = run_order(call, args);

    return order == 3 ? fail_order(call, args) : cel_of_bool(order == -1);
}

static cel_value run_le(cel_call *call, const cel_code *code)
{
    OPERANDS(call, code, args);
    int order = run_order(call, args);

    return order == 3 ? fail_order(call, args) : cel_of_bool(order == -1 || order == 0);
}

static cel_value run_gt(cel_call *call, const cel_code *code)
{
    OPERANDS(call, code, args);
    int order = run_order(call, args);

    return order == 3 ? fail_order(call, args) : cel_of_bool(order == 1);
}

static cel_value run_ge(cel_call *call, const cel_code *code)
{
    OPERANDS(call, code, args);
    int order = run_order(call, args);

    return order == 3 ? fail_order(call, args) : cel_of_bool(order == 1 || order == 0);
}

static cel_value run_in(cel_call *call, const cel_code *code)
{
    OPERANDS(call, code, args);
    return cel_op_in(call, args);
}

static cel_value run_add(cel_call *call, const cel_code *code)
{
    OPERANDS(call, code, args);
    return cel_op_add(call, args);
}

static cel_value run_sub(cel_call *call, const cel_code *code)
{
    OPERANDS(call, code, args);
    return cel_op_sub(call, args);
}

static cel_value run_mul(cel_call *call, const cel_code *code)
{
    OPERANDS(call, code, args);
    return cel_op_mul(call, args);
}

static cel_value run_div(cel_call *call, const cel_code *code)
{
    OPERANDS(call, code, args);
    return cel_op_div(call, args);
}

static cel_value run_mod(cel_call *call, const cel_code *code)
{
    OPERANDS(call, code, args);
    return cel_op_mod(call, args);
}

static bool is_number(const cel_value *value)
{
    return value->kind == CEL_INT || value->kind == CEL_UINT || value->kind == CEL_DOUBLE;
}

static void make_double(cel_value *number)
{
    if (number->kind != CEL_DOUBLE)
        *number = cel_of_double(number->kind == CEL_INT ? (double)number->as.integer
                                                        : (double)number->as.natural);
}

/* + - * / % where numbers of different kinds meet as doubles: see cel_env_json_numbers(). */
cel_value cel_run_json_arithmetic(cel_call *call, const cel_code *code)
{
    OPERANDS(call, code, args);
    bool numbers = is_number(&args[0]) && is_number(&args[1]);

    if (numbers && args[0].kind != args[1].kind) {
        make_double(&args[0]);
        make_double(&args[1]);
    }
    switch (code->place) {
    case OP_ADD:
        return cel_op_add(call, args);
    case OP_SUB:
        return cel_op_sub(call, args);
    case OP_MUL:
        return cel_op_mul(call, args);
    case OP_DIV:
        return cel_op_div(call, args);
    default:
        if (!numbers || args[0].kind != CEL_DOUBLE)
            return cel_op_mod(call, args);
        return args[1].as.real == 0 ? cel_fail(call, CEL_ERROR_ZERO, "modulus by zero")
                                    : cel_of_double(fmod(args[0].as.real, args[1].as.real));
    }
}

static cel_value run_index(cel_call *call, const cel_code *code)
{
    cel_value args[2] = {cel_run(call, code->args[0])};

    PAY(call);
    /* Behind an optional without a value nothing is looked up, nor is the key evaluated. */
    if (args[0].kind == CEL_ERROR || (args[0].kind == CEL_OPTIONAL && !args[0].as.optional))
        return args[0];
    args[1] = cel_run(call, code->args[1]);
    if (args[1].kind == CEL_ERROR)
        return args[1];
    call->pos = code->pos;
    return cel_op_index(call, &args[0], &args[1], code->optional);
}

static cel_value run_neg(cel_call *call, const cel_code *code)
{
    cel_value value = cel_run(call, code->args[0]);

    PAY(call);
    call->pos = code->pos;
    return value.kind == CEL_ERROR ? value : cel_op_neg(call, &value);
}

const cel_run_fn cel_run_ops[] = {
    [OP_AND] = run_and,   [OP_OR] = run_or,      [OP_NOT] = run_not, [OP_NEG] = run_neg,
    [OP_COND] = run_cond, [OP_EQ] = run_eq,      [OP_NE] = run_ne,   [OP_LT] = run_lt,
    [OP_LE] = run_le,     [OP_GT] = run_gt,      [OP_GE] = run_ge,   [OP_IN] = run_in,
    [OP_ADD] = run_add,   [OP_SUB] = run_sub,    [OP_MUL] = run_mul, [OP_DIV] = run_div,
    [OP_MOD] = run_mod,   [OP_INDEX] = run_index};
