/* cel/fn_format.c - string.format(): %s %d %f %e %b %o %x %X and %%, with a precision for f and e.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cel/internal.h"
#include "server/cel/lexer.h"
#include "server/cel/net.h"

enum { FORMAT_SIZE_MAX = 16 * 1024 * 1024, PRECISION_MAX = 100 };

/* Writes one argument; false when the clause does not take it. */
typedef bool (*clause_fn)(cel_call *call, wm_buf *buf, const cel_value *value, int precision);

/* ---- %s ---- */

static bool put_text(cel_call *call, wm_buf *buf, const cel_value *value, int depth);

static bool put_list(cel_call *call, wm_buf *buf, const cel_list *list, int depth)
{
    wm_buf_char(buf, '[');
    for (uint32_t i = 0; i < list->len; i++) {
        wm_buf_text(buf, i > 0 ? ", " : "");
        if (!put_text(call, buf, &list->items[i], depth + 1))
            return false;
    }
    wm_buf_char(buf, ']');
    return true;
}

typedef struct text_entry {
    const char *text; /* of the key */
    size_t len;
    const cel_value *value;
} text_entry;

static int compare_entries(const void *a, const void *b)
{
    const text_entry *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->len < y->len ? x->len : y->len);

    return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* Entries are in the order of their keys' texts. */
static bool put_map(cel_call *call, wm_buf *buf, const cel_map *map, int depth)
{
    const cel_entry *entries = cel_map_entries(map, call->arena);
    text_entry *sorted = cel_alloc(call, map->len * sizeof *sorted);

    if (!sorted || (!entries && map->len > 0))
        return false;
    for (uint32_t i = 0; i < map->len; i++) {
        wm_buf key;
        cel_value text;

        wm_buf_init(&key, FORMAT_SIZE_MAX);
        put_text(call, &key, &entries[i].key, depth + 1);
        text = cel_string_from(call, &key);
        if (text.kind == CEL_ERROR)
            return false;
        sorted[i] = (text_entry){text.as.text, text.len, &entries[i].value};
    }
    qsort(sorted, map->len, sizeof *sorted, compare_entries);
    wm_buf_char(buf, '{');
    for (uint32_t i = 0; i < map->len; i++) {
        wm_buf_text(buf, i > 0 ? ", " : "");
        wm_buf_add(buf, sorted[i].text, sorted[i].len);
        wm_buf_text(buf, ": ");
        if (!put_text(call, buf, sorted[i].value, depth + 1))
            return false;
    }
    wm_buf_char(buf, '}');
    return true;
}

/* A text must stay UTF-8: each byte that is none becomes the replacement character. */
static void put_bytes(wm_buf *buf, const cel_value *value)
{
    for (uint32_t i = 0, len; i < value->len; i += len) {
        unsigned char lead = (unsigned char)value->as.text[i];

        len = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        if (len <= value->len - i && cel_utf8_valid(value->as.text + i, len)) {
            wm_buf_add(buf, value->as.text + i, len);
        } else {
            wm_buf_text(buf, "\xef\xbf\xbd");
            len = 1;
        }
    }
}

static bool put_scalar(wm_buf *buf, const cel_value *value)
{
    char text[64];

    switch (value->kind) {
    case CEL_STRING:
        wm_buf_add(buf, value->as.text, value->len);
        return true;
    case CEL_BYTES:
        put_bytes(buf, value);
        return true;
    case CEL_NULL:
        wm_buf_text(buf, "null");
        return true;
    case CEL_BOOL:
        wm_buf_text(buf, value->as.boolean ? "true" : "false");
        return true;
    case CEL_INT:
        wm_buf_printf(buf, "%lld", (long long)value->as.integer);
        return true;
    case CEL_UINT:
        wm_buf_printf(buf, "%llu", (unsigned long long)value->as.natural);
        return true;
    case CEL_DOUBLE:
        cel_double_plain(value->as.real, buf);
        return true;
    case CEL_TYPE:
        wm_buf_text(buf, value->as.text);
        return true;
    case CEL_TIMESTAMP:
        cel_timestamp_text(value, text);
        break;
    case CEL_DURATION:
        cel_duration_text(value->as.integer, text);
        break;
    case CEL_IP:
    case CEL_CIDR:
        cel_net_text(value, text);
        break;
    default:
        return false;
    }
    wm_buf_text(buf, text);
    return true;
}

static bool put_text(cel_call *call, wm_buf *buf, const cel_value *value, int depth)
{
    bool has_length = value->kind == CEL_STRING || value->kind == CEL_BYTES;

    if (depth > CEL_DEPTH_MAX || buf->failed ||
        !cel_spend(call, value->kind == CEL_DOUBLE ? CEL_DOUBLE_COST
                                                   : 6 + (has_length ? value->len / 4 : 0)))
        return false;
    if (value->kind == CEL_LIST)
        return put_list(call, buf, value->as.list, depth);
    if (value->kind == CEL_MAP)
        return put_map(call, buf, value->as.map, depth);
    return put_scalar(buf, value);
}

static bool clause_text(cel_call *call, wm_buf *buf, const cel_value *value, int precision)
{
    (void)precision;
    return put_text(call, buf, value, 0);
}

/* ---- numbers ---- */

static bool clause_decimal(cel_call *call, wm_buf *buf, const cel_value *value, int precision)
{
    (void)call, (void)precision;
    if (value->kind != CEL_INT && value->kind != CEL_UINT && value->kind != CEL_DOUBLE)
        return false;
    return put_scalar(buf, value);
}

static bool real_of(const cel_value *value, double *real)
{
    if (value->kind == CEL_DOUBLE)
        *real = value->as.real;
    else if (value->kind == CEL_INT)
        *real = (double)value->as.integer;
    else if (value->kind == CEL_UINT)
        *real = (double)value->as.natural;
    else
        return false;
    return true;
}

static bool put_real(cel_call *call, wm_buf *buf, const cel_value *value, int precision, bool fixed)
{
    char text[512];
    uint64_t digits;
    double real;

    if (!real_of(value, &real))
        return false;
    if (!isfinite(real)) {
        cel_double_plain(real, buf);
        return true;
    }
    if (precision < 0)
        precision = 6;
    digits = (uint64_t)precision + (uint64_t)abs(ilogb(real == 0 ? 1 : real)) / 3;
    call->cost += 10 + digits * digits / 64; /* that is how snprintf() takes it */
    if (fixed)
        snprintf(text, sizeof text, "%.*f", precision, real);
    else
        snprintf(text, sizeof text, "%.*e", precision, real);
    wm_buf_text(buf, text);
    return true;
}

static bool clause_fixed(cel_call *call, wm_buf *buf, const cel_value *value, int precision)
{
    return put_real(call, buf, value, precision, true);
}

static bool clause_scientific(cel_call *call, wm_buf *buf, const cel_value *value, int precision)
{
    return put_real(call, buf, value, precision, false);
}

/* An integer in a base that is a power of two. */
static void put_based(wm_buf *buf, const cel_value *value, unsigned bits, bool upper)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    bool negative = value->kind == CEL_INT && value->as.integer < 0;
    uint64_t rest = negative ? 0 - value->as.natural : value->as.natural;
    char text[72], *at = text + sizeof text;

    *--at = 0;
    do {
        *--at = digits[rest & ((1u << bits) - 1)];
        rest >>= bits;
    } while (rest > 0);
    if (negative)
        *--at = '-';
    wm_buf_text(buf, at);
}

static bool clause_binary(cel_call *call, wm_buf *buf, const cel_value *value, int precision)
{
    (void)call, (void)precision;
    if (value->kind != CEL_INT && value->kind != CEL_UINT && value->kind != CEL_BOOL)
        return false;
    put_based(buf, value, 1, false);
    return true;
}

static bool clause_octal(cel_call *call, wm_buf *buf, const cel_value *value, int precision)
{
    (void)call, (void)precision;
    if (value->kind != CEL_INT && value->kind != CEL_UINT)
        return false;
    put_based(buf, value, 3, false);
    return true;
}

static bool put_hex(wm_buf *buf, const cel_value *value, bool upper)
{
    if (value->kind == CEL_INT || value->kind == CEL_UINT) {
        put_based(buf, value, 4, upper);
        return true;
    }
    if (value->kind != CEL_STRING && value->kind != CEL_BYTES)
        return false;
    for (uint32_t i = 0; i < value->len; i++)
        wm_buf_printf(buf, upper ? "%02X" : "%02x", (unsigned char)value->as.text[i]);
    return true;
}

static bool clause_hex(cel_call *call, wm_buf *buf, const cel_value *value, int precision)
{
    (void)precision;
    call->cost +=
        value->kind == CEL_STRING || value->kind == CEL_BYTES ? value->len * UINT64_C(8) : 0;
    return put_hex(buf, value, false);
}

static bool clause_hex_upper(cel_call *call, wm_buf *buf, const cel_value *value, int precision)
{
    (void)precision;
    call->cost +=
        value->kind == CEL_STRING || value->kind == CEL_BYTES ? value->len * UINT64_C(8) : 0;
    return put_hex(buf, value, true);
}

/* ---- the format ---- */

static clause_fn clause_of(char letter)
{
    static const struct {
        char letter;
        clause_fn fn;
    } clauses[] = {{'s', clause_text},       {'d', clause_decimal},  {'f', clause_fixed},
                   {'e', clause_scientific}, {'b', clause_binary},   {'o', clause_octal},
                   {'x', clause_hex},        {'X', clause_hex_upper}};

    for (size_t i = 0; i < WM_ARRAY_LEN(clauses); i++)
        if (clauses[i].letter == letter)
            return clauses[i].fn;
    return NULL;
}

/* The clause behind a '%' at `*at`; NULL when it is none. */
static clause_fn read_clause(const cel_value *format, uint32_t *at, int *precision)
{
    const char *text = format->as.text;

    *precision = -1;
    if (*at < format->len && text[*at] == '.') {
        if (*at + 1 == format->len || text[*at + 1] < '0' || text[*at + 1] > '9')
            return NULL;
        *precision = 0;
        for (++*at; *at < format->len && text[*at] >= '0' && text[*at] <= '9'; ++*at) {
            *precision = *precision * 10 + (text[*at] - '0');
            if (*precision > PRECISION_MAX)
                return NULL;
        }
    }
    return *at < format->len ? clause_of(text[(*at)++]) : NULL;
}

static bool put_format(cel_call *call, wm_buf *buf, const cel_value *format, const cel_list *list,
                       cel_value *error)
{
    const char *text = format->as.text;
    uint32_t next = 0;

    for (uint32_t i = 0; i < format->len;) {
        int precision;
        clause_fn clause;

        if (text[i] != '%') {
            wm_buf_char(buf, text[i++]);
            continue;
        }
        if (++i < format->len && text[i] == '%') {
            wm_buf_char(buf, text[i++]);
            continue;
        }
        clause = read_clause(format, &i, &precision);
        if (!clause) {
            *error = cel_fail(call, CEL_ERROR_ARGUMENT, "unrecognized formatting clause");
            return false;
        }
        if (next >= list->len) {
            *error = cel_fail(call, CEL_ERROR_ARGUMENT, "index %u out of range", (unsigned)next);
            return false;
        }
        if (!clause(call, buf, &list->items[next], precision)) {
            *error = cel_fail(call, CEL_ERROR_ARGUMENT, "clause %%%c cannot format a %s",
                              text[i - 1], cel_type_name(&list->items[next]));
            return false;
        }
        next++;
    }
    return true;
}

static cel_value format(cel_call *call, const cel_value *args, size_t n)
{
    cel_value error;
    wm_buf buf;

    (void)n;
    wm_buf_init(&buf, FORMAT_SIZE_MAX);
    if (put_format(call, &buf, &args[0], args[1].as.list, &error))
        return cel_string_from(call, &buf);
    wm_buf_free(&buf);
    return error;
}

CEL_TABLE(cel_fn_format, {"format", true, false, "sLx", "s", format});
