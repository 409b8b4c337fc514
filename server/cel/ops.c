/* cel/ops.c - what the operators do: arithmetic with every overflow an error, equality and
 * order across kinds, membership, index and selection. */
#include <math.h>
#include <string.h>

#include "server/cel/internal.h"

#define SECONDS_MIN INT64_C(-62135596800)
#define SECONDS_MAX INT64_C(253402300799)
#define NANOS INT64_C(1000000000)

/* ---- order and equality ---- */

static int order_int(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int order_natural(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int order_double(double a, double b)
{
    return isnan(a) || isnan(b) ? 2 : (a > b) - (a < b);
}

static int order_bytes(const cel_value *a, const cel_value *b)
{
    size_t common = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->as.text, b->as.text, common);

    return order ? (order > 0) - (order < 0) : order_natural(a->len, b->len);
}

static int reversed(int order)
{
    return order == 1 || order == -1 ? -order : order;
}

/* Numbers of two kinds. Beyond 2^53 an integer is rounded when it meets a double, as cel-go does
 * it; outside of the integers' range no rounding can change the order. */
static int order_mixed(const cel_value *a, const cel_value *b)
{
    if (a->kind > b->kind)
        return reversed(order_mixed(b, a));
    if (a->kind == CEL_INT && b->kind == CEL_UINT)
        return a->as.integer < 0 ? -1 : order_natural(a->as.natural, b->as.natural);
    if (a->kind == CEL_INT && b->kind == CEL_DOUBLE)
        return order_double((double)a->as.integer, b->as.real);
    if (a->kind == CEL_UINT && b->kind == CEL_DOUBLE)
        return order_double((double)a->as.natural, b->as.real);
    return 3;
}

int cel_compare(const cel_value *a, const cel_value *b)
{
    if (a->kind != b->kind)
        return order_mixed(a, b);
    switch (a->kind) {
    case CEL_BOOL:
    case CEL_UINT:
        return order_natural(a->as.natural, b->as.natural);
    case CEL_INT:
    case CEL_DURATION:
        return order_int(a->as.integer, b->as.integer);
    case CEL_DOUBLE:
        return order_double(a->as.real, b->as.real);
    case CEL_STRING:
    case CEL_BYTES:
        return order_bytes(a, b);
    case CEL_TIMESTAMP:
        return a->as.integer != b->as.integer ? order_int(a->as.integer, b->as.integer)
                                              : order_natural(a->len, b->len);
    default:
        return 3;
    }
}

static bool equal_lists(const cel_list *a, const cel_list *b, cel_call *call, int depth)
{
    if (a->len != b->len)
        return false;
    for (uint32_t i = 0; i < a->len; i++)
        if (!cel_equal_deep(&a->items[i], &b->items[i], call, depth + 1))
            return false;
    return true;
}

static bool equal_maps(const cel_map *a, const cel_map *b, cel_call *call, int depth)
{
    const cel_entry *entries;
    cel_value other;

    if (a->len != b->len)
        return false;
    call->cost += a->len * (1 + cel_find_cost(b));
    if (call->cost > call->limit)
        return false;
    entries = cel_map_entries(a, call->arena);
    for (uint32_t i = 0; entries && i < a->len; i++)
        if (!cel_map_find(b, call->arena, &entries[i].key, &other) ||
            !cel_equal_deep(&entries[i].value, &other, call, depth + 1))
            return false;
    return entries || a->len == 0;
}

static bool equal_nets(const cel_net *a, const cel_net *b)
{
    return a->family == b->family && a->prefix == b->prefix &&
           memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* Every pair of values costs: lists that hold the same list many times are small to make and
 * endless to compare. */
bool cel_equal_deep(const cel_value *a, const cel_value *b, cel_call *call, int depth)
{
    if (depth > CEL_DEPTH_MAX || !cel_spend(call, 1))
        return false;
    if (a->kind != b->kind)
        return cel_compare(a, b) == 0;
    switch (a->kind) {
    case CEL_NULL:
        return true;
    case CEL_LIST:
        return equal_lists(a->as.list, b->as.list, call, depth);
    case CEL_MAP:
        return equal_maps(a->as.map, b->as.map, call, depth);
    case CEL_TYPE:
        return strcmp(a->as.text, b->as.text) == 0;
    case CEL_OPTIONAL:
        if (!a->as.optional || !b->as.optional)
            return a->as.optional == b->as.optional;
        return cel_equal_deep(a->as.optional, b->as.optional, call, depth + 1);
    case CEL_IP:
    case CEL_CIDR:
        return equal_nets(a->as.net, b->as.net);
    case CEL_STRING:
    case CEL_BYTES:
        cel_spend_text(call, a);
        return a->len == b->len && memcmp(a->as.text, b->as.text, a->len) == 0;
    default:
        return cel_compare(a, b) == 0;
    }
}

bool cel_equal(wm_arena *arena, const cel_value *a, const cel_value *b)
{
    cel_call call = {.arena = arena, .limit = CEL_COST_MAX};

    return cel_equal_deep(a, b, &call, 0);
}

/* ---- arithmetic ---- */

static cel_value overflow(cel_call *call, const char *what)
{
    return cel_fail(call, CEL_ERROR_OVERFLOW, "%s overflow", what);
}

static cel_value time_add(cel_call *call, const cel_value *time, int64_t nanos)
{
    int64_t seconds = nanos / NANOS, rest = (int64_t)time->len + nanos % NANOS;

    if (rest < 0) {
        rest += NANOS;
        seconds--;
    } else if (rest >= NANOS) {
        rest -= NANOS;
        seconds++;
    }
    /* Neither part is near the ends of int64. */
    seconds += time->as.integer;
    if (seconds < SECONDS_MIN || seconds > SECONDS_MAX)
        return cel_fail(call, CEL_ERROR_OVERFLOW, "the timestamp is out of range");
    return cel_of_timestamp(seconds, (uint32_t)rest);
}

static cel_value time_between(cel_call *call, const cel_value *a, const cel_value *b)
{
    int64_t nanos;

    if (__builtin_mul_overflow(a->as.integer - b->as.integer, NANOS, &nanos) ||
        __builtin_add_overflow(nanos, (int64_t)a->len - (int64_t)b->len, &nanos))
        return cel_fail(call, CEL_ERROR_OVERFLOW, "the duration is out of range");
    return cel_of_duration(nanos);
}

static cel_value add_bytes(cel_call *call, const cel_value *a, const cel_value *b)
{
    size_t len = (size_t)a->len + b->len;
    char *text;

    if (a->len == 0)
        return *b;
    if (b->len == 0)
        return *a;
    if (len > UINT32_MAX)
        return cel_fail_memory(call);
    text = cel_alloc(call, len);
    if (!text)
        return cel_fail_memory(call);
    memcpy(text, a->as.text, a->len);
    memcpy(text + a->len, b->as.text, b->len);
    return a->kind == CEL_STRING ? cel_of_string(text, len) : cel_of_bytes(text, len);
}

static cel_value add_lists(cel_call *call, const cel_list *a, const cel_list *b)
{
    size_t len = (size_t)a->len + b->len;
    cel_value *items;

    if (a->len == 0 || b->len == 0)
        return cel_of_list(a->len == 0 ? b : a);
    items = len > UINT32_MAX ? NULL : cel_alloc(call, len * sizeof *items);
    if (!items)
        return cel_fail_memory(call);
    memcpy(items, a->items, a->len * sizeof *items);
    memcpy(items + a->len, b->items, b->len * sizeof *items);
    return cel_list_build(call, items, len);
}

static cel_value add_same(cel_call *call, const cel_value *a, const cel_value *b)
{
    int64_t integer;
    uint64_t natural;

    switch (a->kind) {
    case CEL_INT:
    case CEL_DURATION:
        if (__builtin_add_overflow(a->as.integer, b->as.integer, &integer))
            return overflow(call, a->kind == CEL_INT ? "integer" : "duration");
        return a->kind == CEL_INT ? cel_of_int(integer) : cel_of_duration(integer);
    case CEL_UINT:
        if (__builtin_add_overflow(a->as.natural, b->as.natural, &natural))
            return overflow(call, "unsigned integer");
        return cel_of_uint(natural);
    case CEL_DOUBLE:
        return cel_of_double(a->as.real + b->as.real);
    case CEL_STRING:
    case CEL_BYTES:
        return add_bytes(call, a, b);
    case CEL_LIST:
        return add_lists(call, a->as.list, b->as.list);
    default:
        return cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: %s + %s", cel_type_name(a),
                        cel_type_name(b));
    }
}

static cel_value fail_operator(cel_call *call, const char *symbol, const cel_value *args)
{
    return cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: %s %s %s", cel_type_name(&args[0]),
                    symbol, cel_type_name(&args[1]));
}

cel_value cel_op_add(cel_call *call, const cel_value *args)
{
    const cel_value *a = &args[0], *b = &args[1];

    if (a->kind == b->kind)
        return add_same(call, a, b);
    if (a->kind == CEL_TIMESTAMP && b->kind == CEL_DURATION)
        return time_add(call, a, b->as.integer);
    if (a->kind == CEL_DURATION && b->kind == CEL_TIMESTAMP)
        return time_add(call, b, a->as.integer);
    return fail_operator(call, "+", args);
}

static cel_value sub_duration(cel_call *call, const cel_value *time, int64_t nanos)
{
    if (nanos == INT64_MIN)
        return overflow(call, "duration");
    return time_add(call, time, -nanos);
}

cel_value cel_op_sub(cel_call *call, const cel_value *args)
{
    const cel_value *a = &args[0], *b = &args[1];
    int64_t integer;
    uint64_t natural;

    if (a->kind == CEL_TIMESTAMP && b->kind == CEL_DURATION)
        return sub_duration(call, a, b->as.integer);
    if (a->kind != b->kind)
        return fail_operator(call, "-", args);
    switch (a->kind) {
    case CEL_INT:
    case CEL_DURATION:
        if (__builtin_sub_overflow(a->as.integer, b->as.integer, &integer))
            return overflow(call, a->kind == CEL_INT ? "integer" : "duration");
        return a->kind == CEL_INT ? cel_of_int(integer) : cel_of_duration(integer);
    case CEL_UINT:
        if (__builtin_sub_overflow(a->as.natural, b->as.natural, &natural))
            return overflow(call, "unsigned integer");
        return cel_of_uint(natural);
    case CEL_DOUBLE:
        return cel_of_double(a->as.real - b->as.real);
    case CEL_TIMESTAMP:
        return time_between(call, a, b);
    default:
        return fail_operator(call, "-", args);
    }
}

cel_value cel_op_mul(cel_call *call, const cel_value *args)
{
    const cel_value *a = &args[0], *b = &args[1];
    int64_t integer;
    uint64_t natural;

    if (a->kind != b->kind)
        return fail_operator(call, "*", args);
    switch (a->kind) {
    case CEL_INT:
        if (__builtin_mul_overflow(a->as.integer, b->as.integer, &integer))
            return overflow(call, "integer");
        return cel_of_int(integer);
    case CEL_UINT:
        if (__builtin_mul_overflow(a->as.natural, b->as.natural, &natural))
            return overflow(call, "unsigned integer");
        return cel_of_uint(natural);
    case CEL_DOUBLE:
        return cel_of_double(a->as.real * b->as.real);
    default:
        return fail_operator(call, "*", args);
    }
}

cel_value cel_op_div(cel_call *call, const cel_value *args)
{
    const cel_value *a = &args[0], *b = &args[1];

    if (a->kind != b->kind)
        return fail_operator(call, "/", args);
    if (a->kind == CEL_DOUBLE)
        return cel_of_double(a->as.real / b->as.real);
    if (a->kind != CEL_INT && a->kind != CEL_UINT)
        return fail_operator(call, "/", args);
    if (b->as.natural == 0)
        return cel_fail(call, CEL_ERROR_ZERO, "division by zero");
    if (a->kind == CEL_UINT)
        return cel_of_uint(a->as.natural / b->as.natural);
    if (a->as.integer == INT64_MIN && b->as.integer == -1)
        return overflow(call, "integer");
    return cel_of_int(a->as.integer / b->as.integer);
}

cel_value cel_op_mod(cel_call *call, const cel_value *args)
{
    const cel_value *a = &args[0], *b = &args[1];

    if (a->kind != b->kind || (a->kind != CEL_INT && a->kind != CEL_UINT))
        return fail_operator(call, "%", args);
    if (b->as.natural == 0)
        return cel_fail(call, CEL_ERROR_ZERO, "modulus by zero");
    if (a->kind == CEL_UINT)
        return cel_of_uint(a->as.natural % b->as.natural);
    if (a->as.integer == INT64_MIN && b->as.integer == -1)
        return overflow(call, "integer");
    return cel_of_int(a->as.integer % b->as.integer);
}

cel_value cel_op_neg(cel_call *call, const cel_value *args)
{
    if (args->kind == CEL_DOUBLE)
        return cel_of_double(-args->as.real);
    if (args->kind != CEL_INT && args->kind != CEL_DURATION)
        return cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: -%s", cel_type_name(args));
    if (args->as.integer == INT64_MIN)
        return overflow(call, args->kind == CEL_INT ? "integer" : "duration");
    return args->kind == CEL_INT ? cel_of_int(-args->as.integer)
                                 : cel_of_duration(-args->as.integer);
}

/* ---- containers ---- */

cel_value cel_op_in(cel_call *call, const cel_value *args)
{
    const cel_value *in = &args[1];
    cel_value value;

    if (in->kind == CEL_MAP)
        cel_spend_find(call, in->as.map);
    if (in->kind == CEL_MAP)
        return cel_of_bool(cel_map_find(in->as.map, call->arena, &args[0], &value));
    if (in->kind != CEL_LIST)
        return fail_operator(call, "in", args);
    for (uint32_t i = 0; i < in->as.list->len; i++) {
        if (cel_equal_deep(&args[0], &in->as.list->items[i], call, 0))
            return cel_of_bool(true);
        if (call->cost > call->limit)
            return cel_fail_cost(call);
    }
    return cel_of_bool(false);
}

/* The place that a key names in a list; false when it is no index at all. */
static bool index_of(const cel_value *key, uint64_t *index)
{
    if (key->kind == CEL_UINT && key->as.natural > INT64_MAX)
        return false; /* no int, so no index, however long the list */
    if (key->kind == CEL_INT || key->kind == CEL_UINT) {
        *index = key->as.natural; /* a negative one is far out of range */
        return true;
    }
    if (key->kind != CEL_DOUBLE || !(fabs(key->as.real) < 0x1p62) ||
        key->as.real != floor(key->as.real))
        return false;
    *index = (uint64_t)(int64_t)key->as.real;
    return true;
}

static cel_value fail_key(cel_call *call, const cel_value *key)
{
    if (key->kind == CEL_STRING)
        return cel_fail(call, CEL_ERROR_KEY, "no such key: %.*s",
                        key->len > 100 ? 100 : (int)key->len, key->as.text);
    if (key->kind == CEL_INT)
        return cel_fail(call, CEL_ERROR_KEY, "no such key: %lld", (long long)key->as.integer);
    return cel_fail(call, CEL_ERROR_KEY, "no such key");
}

static bool is_key_kind(uint32_t kind)
{
    return kind == CEL_BOOL || kind == CEL_INT || kind == CEL_UINT || kind == CEL_DOUBLE ||
           kind == CEL_STRING;
}

cel_value cel_op_index(cel_call *call, const cel_value *operand, const cel_value *key,
                       bool optional)
{
    cel_value value;
    uint64_t index;

    if (operand->kind == CEL_MAP) {
        cel_spend_find(call, operand->as.map);
        if (cel_map_find(operand->as.map, call->arena, key, &value)) {
            cel_spend_found(call, operand->as.map, &value);
            return optional ? cel_optional_of(call, value) : value;
        }
        /* Also an optional index is an error with what no map can have as a key. */
        if (optional && is_key_kind(key->kind))
            return cel_optional_none();
        return fail_key(call, key);
    }
    if (operand->kind == CEL_LIST) {
        if (!index_of(key, &index))
            return cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: list[%s]",
                            cel_type_name(key));
        if (index < operand->as.list->len)
            return optional ? cel_optional_of(call, operand->as.list->items[index])
                            : operand->as.list->items[index];
        return optional
                   ? cel_optional_none()
                   : cel_fail(call, CEL_ERROR_KEY, "index out of bounds: %lld", (long long)index);
    }
    if (operand->kind == CEL_OPTIONAL)
        return operand->as.optional ? cel_op_index(call, operand->as.optional, key, true)
                                    : *operand;
    return cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: %s[%s]", cel_type_name(operand),
                    cel_type_name(key));
}

cel_value cel_op_select(cel_call *call, const cel_value *operand, const char *name, size_t len,
                        bool optional)
{
    cel_value value;

    if (operand->kind == CEL_MAP) {
        if (cel_map_find_name(operand->as.map, call->arena, name, len, &value))
            return optional ? cel_optional_of(call, value) : value;
        return optional ? cel_optional_none()
                        : cel_fail(call, CEL_ERROR_KEY, "no such key: %.*s",
                                   len > 100 ? 100 : (int)len, name);
    }
    if (operand->kind == CEL_OPTIONAL)
        return operand->as.optional ? cel_op_select(call, operand->as.optional, name, len, true)
                                    : *operand;
    return cel_fail(call, CEL_ERROR_OVERLOAD, "no such field: %.*s of a %s",
                    len > 100 ? 100 : (int)len, name, cel_type_name(operand));
}
