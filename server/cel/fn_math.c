/* cel/fn_math.c - the math extension. */
#include <math.h>

#include "server/cel/internal.h"

#define FN(name) static cel_value name(cel_call *call, const cel_value *args, size_t n)
#define UNUSED (void)call, (void)n

static bool is_number(const cel_value *value)
{
    return value->kind == CEL_INT || value->kind == CEL_UINT || value->kind == CEL_DOUBLE;
}

/* The first of the greatest (`wanted` 1) or least (-1) of some numbers, or of a list of them. */
static cel_value extreme(cel_call *call, const cel_value *args, size_t n, int wanted)
{
    const char *name = wanted > 0 ? "math.greatest" : "math.least";
    const cel_value *best;
    int order;

    if (n == 1 && args->kind == CEL_LIST) {
        n = args->as.list->len;
        args = args->as.list->items;
        call->cost += n;
    }
    if (n == 0)
        return cel_fail(call, CEL_ERROR_ARGUMENT, "%s() of an empty list", name);
    best = &args[0];
    for (size_t i = 0; i < n; i++) {
        if (!is_number(&args[i]))
            return cel_fail_overload(call, name, &args[i], 1);
        order = cel_compare(&args[i], best);
        if (order == 2 && n > 1)
            return cel_fail(call, CEL_ERROR_ARGUMENT, "%s() of NaN, which has no order", name);
        if (order == wanted)
            best = &args[i];
    }
    return *best;
}

FN(greatest)
{
    return extreme(call, args, n, 1);
}

FN(least)
{
    return extreme(call, args, n, -1);
}

#define REAL(name, expression)    \
    FN(name)                      \
    {                             \
        double x = args->as.real; \
                                  \
        UNUSED;                   \
        return expression;        \
    }

REAL(fn_ceil, cel_of_double(ceil(x)))
REAL(fn_floor, cel_of_double(floor(x)))
REAL(fn_round, cel_of_double(round(x)))
REAL(fn_trunc, cel_of_double(trunc(x)))
REAL(fn_abs_double, cel_of_double(fabs(x)))
REAL(fn_sqrt, cel_of_double(sqrt(x)))
REAL(fn_is_nan, cel_of_bool(isnan(x)))
REAL(fn_is_inf, cel_of_bool(isinf(x)))
REAL(fn_is_finite, cel_of_bool(isfinite(x)))
REAL(fn_sign_double, cel_of_double(isnan(x) ? x : (x > 0) - (x < 0)))

FN(fn_abs_int)
{
    (void)n;
    if (args->as.integer == INT64_MIN)
        return cel_fail(call, CEL_ERROR_OVERFLOW, "integer overflow");
    return cel_of_int(args->as.integer < 0 ? -args->as.integer : args->as.integer);
}

FN(fn_same)
{
    UNUSED;
    return *args;
}

FN(fn_sign_int)
{
    UNUSED;
    return cel_of_int((args->as.integer > 0) - (args->as.integer < 0));
}

FN(fn_sign_uint)
{
    UNUSED;
    return cel_of_uint(args->as.natural > 0);
}

FN(fn_sqrt_int)
{
    UNUSED;
    return cel_of_double(sqrt((double)args->as.integer));
}

FN(fn_sqrt_uint)
{
    UNUSED;
    return cel_of_double(sqrt((double)args->as.natural));
}

/* Bits are the same for int and uint; the result is of the first one's kind. */
static cel_value bits(const cel_value *like, uint64_t natural)
{
    return like->kind == CEL_INT ? cel_of_int((int64_t)natural) : cel_of_uint(natural);
}

FN(bit_or)
{
    UNUSED;
    return bits(args, args[0].as.natural | args[1].as.natural);
}

FN(bit_and)
{
    UNUSED;
    return bits(args, args[0].as.natural & args[1].as.natural);
}

FN(bit_xor)
{
    UNUSED;
    return bits(args, args[0].as.natural ^ args[1].as.natural);
}

FN(bit_not)
{
    UNUSED;
    return bits(args, ~args->as.natural);
}

static cel_value shift(cel_call *call, const cel_value *args, bool left)
{
    int64_t by = args[1].as.integer;

    if (by < 0)
        return cel_fail(call, CEL_ERROR_ARGUMENT, "a shift by a negative offset: %lld",
                        (long long)by);
    if (by > 63)
        return bits(args, 0);
    return bits(args, left ? args->as.natural << by : args->as.natural >> by);
}

FN(shift_left)
{
    (void)n;
    return shift(call, args, true);
}

FN(shift_right)
{
    (void)n;
    return shift(call, args, false);
}

CEL_TABLE(cel_fn_math, {"math.greatest", false, false, "*", "x", greatest},
          {"math.least", false, false, "*", "x", least},
          {"math.ceil", false, false, "d", "d", fn_ceil},
          {"math.floor", false, false, "d", "d", fn_floor},
          {"math.round", false, false, "d", "d", fn_round},
          {"math.trunc", false, false, "d", "d", fn_trunc},
          {"math.abs", false, false, "d", "d", fn_abs_double},
          {"math.abs", false, false, "i", "i", fn_abs_int},
          {"math.abs", false, false, "u", "u", fn_same},
          {"math.sign", false, false, "d", "d", fn_sign_double},
          {"math.sign", false, false, "i", "i", fn_sign_int},
          {"math.sign", false, false, "u", "u", fn_sign_uint},
          {"math.sqrt", false, false, "d", "d", fn_sqrt},
          {"math.sqrt", false, false, "i", "d", fn_sqrt_int},
          {"math.sqrt", false, false, "u", "d", fn_sqrt_uint},
          {"math.isNaN", false, false, "d", "b", fn_is_nan},
          {"math.isInf", false, false, "d", "b", fn_is_inf},
          {"math.isFinite", false, false, "d", "b", fn_is_finite},
          {"math.bitOr", false, false, "ii", "i", bit_or},
          {"math.bitOr", false, false, "uu", "u", bit_or},
          {"math.bitAnd", false, false, "ii", "i", bit_and},
          {"math.bitAnd", false, false, "uu", "u", bit_and},
          {"math.bitXor", false, false, "ii", "i", bit_xor},
          {"math.bitXor", false, false, "uu", "u", bit_xor},
          {"math.bitNot", false, false, "i", "i", bit_not},
          {"math.bitNot", false, false, "u", "u", bit_not},
          {"math.bitShiftLeft", false, false, "ii", "i", shift_left},
          {"math.bitShiftLeft", false, false, "ui", "u", shift_left},
          {"math.bitShiftRight", false, false, "ii", "i", shift_right},
          {"math.bitShiftRight", false, false, "ui", "u", shift_right});
