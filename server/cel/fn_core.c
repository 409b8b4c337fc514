/* cel/fn_core.c - conversions, size, type, and the texts of the standard library. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cel/internal.h"
#include "server/cel/lexer.h"
#include "server/cel/net.h"
#include "server/cel/time.h"

#define FN(name) static cel_value name(cel_call *call, const cel_value *args, size_t n)
#define UNUSED_N (void)n, (void)call

FN(same)
{
    UNUSED_N;
    return args[0];
}

FN(type_of)
{
    UNUSED_N;
    return cel_of_type(cel_type_name(args));
}

/* ---- int, uint, double ---- */

static cel_value range_error(cel_call *call, const char *to)
{
    return cel_fail(call, CEL_ERROR_OVERFLOW, "the value is out of the range of %s", to);
}

static cel_value parse_error(cel_call *call, const char *to, const cel_value *text)
{
    return cel_fail(call, CEL_ERROR_ARGUMENT, "'%.*s' is no %s",
                    text->len > 60 ? 60 : (int)text->len, text->as.text, to);
}

/* A number's text as a C string; false when it cannot be one. */
static bool number_text(const cel_value *value, char text[400])
{
    if (value->len == 0 || value->len >= 400 || memchr(value->as.text, 0, value->len))
        return false;
    memcpy(text, value->as.text, value->len);
    text[value->len] = 0;
    return strpbrk(text, " \t\n\v\f\r") == NULL;
}

FN(int_uint)
{
    (void)n;
    return args->as.natural > (uint64_t)INT64_MAX ? range_error(call, "int")
                                                  : cel_of_int(args->as.integer);
}

FN(int_double)
{
    (void)n;
    /* -2^63 itself is refused as well, as cel-go does it. */
    if (!(args->as.real > -0x1p63 && args->as.real < 0x1p63))
        return range_error(call, "int");
    return cel_of_int((int64_t)args->as.real);
}

FN(int_string)
{
    char text[400], *end;
    long long value;

    (void)n;
    if (!number_text(args, text))
        return parse_error(call, "int", args);
    errno = 0;
    value = strtoll(text, &end, 10);
    if (*end || end == text)
        return parse_error(call, "int", args);
    return errno ? range_error(call, "int") : cel_of_int(value);
}

FN(int_timestamp)
{
    UNUSED_N;
    return cel_of_int(args->as.integer);
}

/* Nanoseconds. */
FN(int_duration)
{
    UNUSED_N;
    return cel_of_int(args->as.integer);
}

FN(uint_int)
{
    (void)n;
    return args->as.integer < 0 ? range_error(call, "uint") : cel_of_uint(args->as.natural);
}

FN(uint_double)
{
    (void)n;
    if (!(args->as.real >= 0 && args->as.real < 0x1p64))
        return range_error(call, "uint");
    return cel_of_uint((uint64_t)args->as.real);
}

FN(uint_string)
{
    char text[400], *end;
    unsigned long long value;

    (void)n;
    if (!number_text(args, text) || text[0] == '-' || text[0] == '+')
        return parse_error(call, "uint", args);
    errno = 0;
    value = strtoull(text, &end, 10);
    if (*end || end == text)
        return parse_error(call, "uint", args);
    return errno ? range_error(call, "uint") : cel_of_uint(value);
}

FN(double_int)
{
    UNUSED_N;
    return cel_of_double((double)args->as.integer);
}

FN(double_uint)
{
    UNUSED_N;
    return cel_of_double((double)args->as.natural);
}

/* What strtod() takes, but is no number to others of this language: nan(...), a hexadecimal number
 * without its exponent. */
static bool is_beyond_cel(const char *text)
{
    return strpbrk(text, "()") || (strpbrk(text, "xX") && !strpbrk(text, "pP"));
}

FN(double_string)
{
    char text[400], *end;
    double value;

    (void)n;
    if (!number_text(args, text) || is_beyond_cel(text))
        return parse_error(call, "double", args);
    call->cost += args->len > 30 ? args->len * UINT64_C(2) : 0;
    value = strtod(text, &end);
    if (*end || end == text || (isnan(value) && (text[0] == '+' || text[0] == '-')))
        return parse_error(call, "double", args);
    if (isinf(value) && !strpbrk(text, "iI")) /* not written as infinity */
        return range_error(call, "double");
    return cel_of_double(value);
}

/* ---- bool, string, bytes ---- */

FN(bool_string)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    char text[400];

    (void)n;
    if (number_text(args, text))
        for (size_t i = 0; i < WM_ARRAY_LEN(yes); i++) {
            if (strcmp(text, yes[i]) == 0)
                return cel_of_bool(true);
            if (strcmp(text, no[i]) == 0)
                return cel_of_bool(false);
        }
    return parse_error(call, "bool", args);
}

FN(string_scalar)
{
    char text[64];
    size_t len;

    (void)n;
    switch (args->kind) {
    case CEL_BOOL:
        return args->as.boolean ? cel_of_string("true", 4) : cel_of_string("false", 5);
    case CEL_INT:
        len = (size_t)snprintf(text, sizeof text, "%lld", (long long)args->as.integer);
        break;
    case CEL_UINT:
        len = (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)args->as.natural);
        break;
    case CEL_DOUBLE:
        call->cost += CEL_DOUBLE_COST;
        len = cel_double_text(args->as.real, text);
        break;
    case CEL_TIMESTAMP:
        len = cel_timestamp_text(args, text);
        break;
    case CEL_DURATION:
        len = cel_duration_text(args->as.integer, text);
        break;
    default:
        len = cel_net_text(args, text);
    }
    return cel_string_copy(call, text, len);
}

FN(string_bytes)
{
    (void)n;
    call->cost += args->len / 16;
    if (!cel_utf8_valid(args->as.text, args->len))
        return cel_fail(call, CEL_ERROR_ARGUMENT, "invalid UTF-8 in bytes");
    return cel_of_string(args->as.text, args->len);
}

FN(bytes_string)
{
    UNUSED_N;
    return cel_of_bytes(args->as.text, args->len);
}

/* ---- timestamp, duration ---- */

FN(timestamp_string)
{
    cel_value value;

    (void)n;
    return cel_time_parse(args->as.text, args->len, &value) ? value
                                                            : parse_error(call, "timestamp", args);
}

FN(timestamp_int)
{
    (void)n;
    if (args->as.integer < INT64_C(-62135596800) || args->as.integer > INT64_C(253402300799))
        return range_error(call, "timestamp");
    return cel_of_timestamp(args->as.integer, 0);
}

FN(duration_string)
{
    int64_t nanos;

    (void)n;
    return cel_duration_parse(args->as.text, args->len, &nanos)
               ? cel_of_duration(nanos)
               : parse_error(call, "duration", args);
}

/* ---- size and texts ---- */

FN(size)
{
    (void)n;
    switch (args->kind) {
    case CEL_STRING:
        call->cost += args->len / 16;
        return cel_of_int((int64_t)cel_utf8_count(args->as.text, args->len));
    case CEL_BYTES:
        return cel_of_int(args->len);
    case CEL_LIST:
        return cel_of_int(args->as.list->len);
    default:
        return cel_of_int(args->as.map->len);
    }
}

FN(starts_with)
{
    UNUSED_N;
    call->cost += args[1].len / 512;
    return cel_of_bool(args[0].len >= args[1].len &&
                       memcmp(args[0].as.text, args[1].as.text, args[1].len) == 0);
}

FN(ends_with)
{
    UNUSED_N;
    call->cost += args[1].len / 512;
    return cel_of_bool(
        args[0].len >= args[1].len &&
        memcmp(args[0].as.text + args[0].len - args[1].len, args[1].as.text, args[1].len) == 0);
}

FN(contains)
{
    (void)n;
    call->cost += args[0].len / 3;
    return cel_of_bool(args[1].len == 0 ||
                       memmem(args[0].as.text, args[0].len, args[1].as.text, args[1].len) != NULL);
}

CEL_TABLE(
    cel_fn_core, {"dyn", false, false, "x", "x", same}, {"type", false, false, "x", "T", type_of},
    {"int", false, false, "i", "i", same}, {"int", false, false, "u", "i", int_uint},
    {"int", false, false, "d", "i", int_double}, {"int", false, false, "s", "i", int_string},
    {"int", false, false, "t", "i", int_timestamp}, {"int", false, false, "D", "i", int_duration},
    {"uint", false, false, "u", "u", same}, {"uint", false, false, "i", "u", uint_int},
    {"uint", false, false, "d", "u", uint_double}, {"uint", false, false, "s", "u", uint_string},
    {"double", false, false, "d", "d", same}, {"double", false, false, "i", "d", double_int},
    {"double", false, false, "u", "d", double_uint},
    {"double", false, false, "s", "d", double_string}, {"bool", false, false, "b", "b", same},
    {"bool", false, false, "s", "b", bool_string}, {"string", false, false, "s", "s", same},
    {"string", false, false, "b", "s", string_scalar},
    {"string", false, false, "i", "s", string_scalar},
    {"string", false, false, "u", "s", string_scalar},
    {"string", false, false, "d", "s", string_scalar},
    {"string", false, false, "y", "s", string_bytes},
    {"string", false, false, "t", "s", string_scalar},
    {"string", false, false, "D", "s", string_scalar},
    {"string", false, false, "I", "s", string_scalar},
    {"string", false, false, "C", "s", string_scalar}, {"bytes", false, false, "y", "y", same},
    {"bytes", false, false, "s", "y", bytes_string}, {"timestamp", false, false, "t", "t", same},
    {"timestamp", false, false, "s", "t", timestamp_string},
    {"timestamp", false, false, "i", "t", timestamp_int},
    {"duration", false, false, "D", "D", same},
    {"duration", false, false, "s", "D", duration_string}, {"size", false, false, "s", "i", size},
    {"size", false, false, "y", "i", size}, {"size", false, false, "LA", "i", size},
    {"size", false, false, "MAB", "i", size}, {"size", true, false, "s", "i", size},
    {"size", true, false, "y", "i", size}, {"size", true, false, "LA", "i", size},
    {"size", true, false, "MAB", "i", size}, {"startsWith", true, false, "ss", "b", starts_with},
    {"endsWith", true, false, "ss", "b", ends_with},
    {"contains", true, false, "ss", "b", contains});
