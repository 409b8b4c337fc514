/* cel/value.c - making lists, maps and texts, and finding keys. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/cel/internal.h"

enum { INDEX_FROM = 9 }; /* maps of fewer entries are searched one by one */

static const cel_error error_full = {CEL_ERROR_MEMORY, 0, "out of memory"};
static const cel_error error_key = {CEL_ERROR_ARGUMENT, 0, "unsupported key type"};
static const cel_error error_twice = {CEL_ERROR_ARGUMENT, 0, "a key comes twice"};

static cel_value error_value(const cel_error *error)
{
    return (cel_value){.kind = CEL_ERROR, .as = {.error = error}};
}

/* ---- errors ---- */

cel_value cel_fail_cost(cel_call *call)
{
    static const cel_error error = {CEL_ERROR_COST, 0, "the cost limit is reached"};

    call->fatal = &error;
    return error_value(&error);
}

cel_value cel_fail_memory(cel_call *call)
{
    if (call->cost > call->limit)
        return cel_fail_cost(call);
    call->fatal = &error_full;
    return error_value(&error_full);
}

static cel_value fail_text(cel_call *call, cel_error_code code, const char *fmt, va_list args)
{
    char text[256];
    cel_error *error = cel_alloc(call, sizeof *error);
    char *message;

    vsnprintf(text, sizeof text, fmt, args);
    message = cel_alloc(call, strlen(text) + 1);
    if (!error || !message)
        return cel_fail_memory(call);
    memcpy(message, text, strlen(text) + 1);
    *error = (cel_error){code, call->pos, message};
    return error_value(error);
}

cel_value cel_fail(cel_call *call, cel_error_code code, const char *fmt, ...)
{
    va_list args;
    cel_value value;

    va_start(args, fmt);
    value = fail_text(call, code, fmt, args);
    va_end(args);
    return value;
}

cel_value cel_call_fail(cel_call *call, cel_error_code code, const char *fmt, ...)
{
    va_list args;
    cel_value value;

    va_start(args, fmt);
    value = fail_text(call, code, fmt, args);
    va_end(args);
    return value;
}

cel_value cel_fail_overload(cel_call *call, const char *name, const cel_value *args, size_t n)
{
    char text[160];
    size_t len = 0;

    text[0] = 0;
    for (size_t i = 0; i < n && len < sizeof text - 40; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.30s", i > 0 ? ", " : "",
                                cel_type_name(&args[i]));
    return cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: %.60s(%s)", name, text);
}

/* ---- keys ---- */

static bool is_key(const cel_value *key)
{
    return key->kind == CEL_STRING || key->kind == CEL_INT || key->kind == CEL_UINT ||
           key->kind == CEL_BOOL;
}

/* A number as the key that it equals: doubles that are whole become integers. */
static bool key_of(const cel_value *key, cel_value *out)
{
    double real;

    *out = *key;
    if (key->kind != CEL_DOUBLE)
        return is_key(key);
    real = key->as.real;
    if (!(real >= -0x1p63 && real < 0x1p64) || real != floor(real))
        return false;
    *out = real < 0x1p63 ? cel_of_int((int64_t)real) : cel_of_uint((uint64_t)real);
    return true;
}

static bool same_key(const cel_value *a, const cel_value *b)
{
    if (a->kind == b->kind) {
        if (a->kind == CEL_STRING)
            return a->len == b->len && memcmp(a->as.text, b->as.text, a->len) == 0;
        return a->as.natural == b->as.natural;
    }
    if ((a->kind == CEL_INT && b->kind == CEL_UINT) || (a->kind == CEL_UINT && b->kind == CEL_INT))
        return a->as.natural == b->as.natural && a->as.natural <= (uint64_t)INT64_MAX;
    return false;
}

/* Seeded by where the map lies, so that nobody can choose keys that collide. */
static uint32_t key_hash(const cel_map *map, const cel_value *key)
{
    uint64_t hash = (uintptr_t)map * UINT64_C(0x9e3779b97f4a7c15);

    if (key->kind == CEL_STRING) {
        for (uint32_t i = 0; i < key->len; i++) {
            hash = (hash ^ (unsigned char)key->as.text[i]) * UINT64_C(0x100000001b3);
            hash ^= hash >> 29;
        }
    } else {
        hash = (hash ^ key->as.natural) * UINT64_C(0xff51afd7ed558ccd);
    }
    hash ^= hash >> 32;
    return (uint32_t)(hash * UINT64_C(0xc4ceb9fe1a85ec53) >> 32);
}

static const cel_entry *entries_find(const cel_map *map, const cel_value *key)
{
    if (!map->index) {
        for (uint32_t i = 0; i < map->len; i++)
            if (same_key(&map->entries[i].key, key))
                return &map->entries[i];
        return NULL;
    }
    for (uint32_t at = key_hash(map, key) & map->mask; map->index[at]; at = (at + 1) & map->mask)
        if (same_key(&map->entries[map->index[at] - 1].key, key))
            return &map->entries[map->index[at] - 1];
    return NULL;
}

bool cel_map_find(const cel_map *map, wm_arena *arena, const cel_value *key, cel_value *value)
{
    const cel_entry *entry;
    cel_value exact;

    if (!key_of(key, &exact))
        return false;
    if (!map->entries && map->ops)
        return exact.kind == CEL_STRING &&
               map->ops->find(map, arena, exact.as.text, exact.len, value);
    entry = entries_find(map, &exact);
    if (entry)
        *value = entry->value;
    return entry != NULL;
}

/* The common case of all: a field of a small map. */
static bool find_name_small(const cel_map *map, const char *name, size_t len, cel_value *value)
{
    for (uint32_t i = 0; i < map->len; i++) {
        const cel_value *key = &map->entries[i].key;

        if (key->len == len && key->kind == CEL_STRING && memcmp(key->as.text, name, len) == 0) {
            *value = map->entries[i].value;
            return true;
        }
    }
    return false;
}

bool cel_map_find_name(const cel_map *map, wm_arena *arena, const char *name, size_t len,
                       cel_value *value)
{
    cel_value key;

    if (!map->entries && map->ops)
        return map->ops->find(map, arena, name, len, value);
    if (!map->index)
        return find_name_small(map, name, len, value);
    key = cel_of_string(name, len);
    return cel_map_find(map, arena, &key, value);
}

const cel_entry *cel_map_entries(const cel_map *map, wm_arena *arena)
{
    return map->entries || !map->ops ? map->entries : map->ops->entries(map, arena);
}

/* ---- building ---- */

/* Enters all into the index; false when a key comes twice. */
static bool index_fill(const cel_map *map, uint32_t *index)
{
    memset(index, 0, ((size_t)map->mask + 1) * sizeof *index);
    for (uint32_t i = 0; i < map->len; i++) {
        const cel_value *key = &map->entries[i].key;
        uint32_t at = key_hash(map, key) & map->mask;

        while (index[at]) {
            if (same_key(&map->entries[index[at] - 1].key, key))
                return false;
            at = (at + 1) & map->mask;
        }
        index[at] = i + 1;
    }
    return true;
}

cel_value cel_map_value(wm_arena *arena, const cel_entry *entries, size_t n)
{
    cel_map *map = wm_arena_zalloc(arena, sizeof *map);
    uint32_t *index, places = 16;

    if (!map)
        return error_value(&error_full);
    *map = (cel_map){.len = (uint32_t)n, .entries = entries};
    for (size_t i = 0; i < n; i++)
        if (!is_key(&entries[i].key))
            return error_value(&error_key);
    if (n < INDEX_FROM) {
        for (size_t i = 1; i < n; i++)
            for (size_t j = 0; j < i; j++)
                if (same_key(&entries[i].key, &entries[j].key))
                    return error_value(&error_twice);
        return cel_of_map(map);
    }
    while (places < n * 2)
        places *= 2;
    index = wm_arena_array(arena, places, sizeof *index);
    if (!index)
        return error_value(&error_full);
    map->mask = places - 1;
    if (!index_fill(map, index))
        return error_value(&error_twice);
    map->index = index;
    return cel_of_map(map);
}

cel_value cel_map_build(cel_call *call, const cel_entry *entries, size_t n)
{
    cel_value value;

    call->cost += n;
    value = cel_map_value(call->arena, entries, n);
    if (value.kind != CEL_ERROR)
        return value;
    if (value.as.error->code == CEL_ERROR_MEMORY)
        return cel_fail_memory(call);
    return cel_fail(call, value.as.error->code, "%s", value.as.error->message);
}

cel_value cel_list_value(wm_arena *arena, const cel_value *items, size_t n)
{
    cel_list *list = wm_arena_alloc(arena, sizeof *list);

    if (!list)
        return error_value(&error_full);
    *list = (cel_list){(uint32_t)n, items};
    return cel_of_list(list);
}

uint64_t cel_list_cost(const cel_list *list)
{
    uint64_t cost = list->len;

    for (uint32_t i = 0; i < list->len; i++)
        if (list->items[i].kind == CEL_LIST)
            cost += cel_list_cost(list->items[i].as.list);
    return cost;
}

cel_value cel_list_build(cel_call *call, const cel_value *items, size_t n)
{
    cel_value value = cel_list_value(call->arena, items, n);

    return value.kind == CEL_ERROR ? cel_fail_memory(call) : value;
}

static cel_value keep(cel_call *call, wm_arena *arena, const cel_value *value, int depth);

static cel_value keep_list(cel_call *call, wm_arena *arena, const cel_list *list, int depth)
{
    cel_value *items = wm_arena_array(arena, list->len + 1u, sizeof *items);

    if (!items)
        return cel_fail_memory(call);
    for (uint32_t i = 0; !call->fatal && i < list->len; i++)
        items[i] = keep(call, arena, &list->items[i], depth + 1);
    return cel_list_value(arena, items, list->len);
}

static cel_value keep_map(cel_call *call, wm_arena *arena, const cel_map *map, int depth)
{
    cel_entry *entries = wm_arena_array(arena, map->len + 1u, sizeof *entries);
    const cel_entry *from = cel_map_entries(map, call->arena);

    if (!entries || (map->len > 0 && !from))
        return cel_fail_memory(call);
    for (uint32_t i = 0; !call->fatal && i < map->len; i++) {
        entries[i].key = keep(call, arena, &from[i].key, depth + 1);
        entries[i].value = keep(call, arena, &from[i].value, depth + 1);
    }
    return call->fatal ? cel_of_null() : cel_map_value(arena, entries, map->len);
}

static cel_value keep_bytes(wm_arena *arena, cel_value value, const void *bytes, size_t size)
{
    value.as.text = wm_arena_memdup(arena, bytes, size > 0 ? size : 1);
    return value.as.text ? value : error_value(&error_full);
}

static cel_value keep_optional(cel_call *call, wm_arena *arena, const cel_value *inner, int depth)
{
    cel_value *kept = wm_arena_alloc(arena, sizeof *kept);

    if (!kept)
        return cel_fail_memory(call);
    *kept = keep(call, arena, inner, depth + 1);
    return (cel_value){.kind = CEL_OPTIONAL, .as = {.optional = kept}};
}

/* Lists may hold the same list many times; the copy does not share, so each part is paid for. */
static cel_value keep(cel_call *call, wm_arena *arena, const cel_value *value, int depth)
{
    if (depth > CEL_DEPTH_MAX || !cel_spend(call, 1))
        return cel_fail_cost(call);
    switch (value->kind) {
    case CEL_STRING:
    case CEL_BYTES:
        return keep_bytes(arena, *value, value->len > 0 ? value->as.text : "", value->len);
    case CEL_IP:
    case CEL_CIDR:
        return keep_bytes(arena, *value, value->as.net, sizeof *value->as.net);
    case CEL_LIST:
        return keep_list(call, arena, value->as.list, depth);
    case CEL_MAP:
        return keep_map(call, arena, value->as.map, depth);
    case CEL_OPTIONAL:
        return value->as.optional ? keep_optional(call, arena, value->as.optional, depth) : *value;
    default:
        return *value;
    }
}

cel_value cel_value_keep(cel_call *call, wm_arena *arena, const cel_value *value)
{
    cel_value kept = keep(call, arena, value, 0);

    return kept.kind == CEL_ERROR && !call->fatal ? cel_fail_memory(call) : kept;
}

cel_value cel_optional_of(cel_call *call, cel_value value)
{
    cel_value *kept = cel_alloc(call, sizeof *kept);

    if (!kept)
        return cel_fail_memory(call);
    *kept = value;
    return (cel_value){.kind = CEL_OPTIONAL, .as = {.optional = kept}};
}

cel_value cel_string_copy(cel_call *call, const char *text, size_t len)
{
    char *copy = cel_alloc(call, len + 1);

    if (!copy)
        return cel_fail_memory(call);
    memcpy(copy, text, len);
    copy[len] = 0;
    return cel_of_string(copy, len);
}

cel_value cel_string_from(cel_call *call, wm_buf *buf)
{
    cel_value value = buf->failed
                          ? cel_fail_memory(call)
                          : cel_string_copy(call, buf->size > 0 ? buf->data : "", buf->size);

    wm_buf_free(buf);
    return value;
}

/* ---- names and texts ---- */

const char *cel_type_name(const cel_value *value)
{
    static const char *const names[] = {"null_type",
                                        "bool",
                                        "int",
                                        "uint",
                                        "double",
                                        "string",
                                        "bytes",
                                        "list",
                                        "map",
                                        "google.protobuf.Timestamp",
                                        "google.protobuf.Duration",
                                        "type",
                                        "optional_type",
                                        "net.IP",
                                        "net.CIDR",
                                        "error",
                                        "absent"};

    return names[value->kind];
}

bool cel_is_zero(const cel_value *value)
{
    switch (value->kind) {
    case CEL_NULL:
        return true;
    case CEL_BOOL:
    case CEL_INT:
    case CEL_UINT:
    case CEL_DURATION:
        return value->as.natural == 0;
    case CEL_DOUBLE:
        return value->as.real == 0;
    case CEL_STRING:
    case CEL_BYTES:
        return value->len == 0;
    case CEL_LIST:
        return value->as.list->len == 0;
    case CEL_MAP:
        return value->as.map->len == 0;
    case CEL_TIMESTAMP: /* as in cel-go, where time begins with year 1 */
        return value->as.integer == INT64_C(-62135596800) && value->len == 0;
    default:
        return false;
    }
}

/* The fewest digits that give the number back, without a point; its decimal exponent. */
static size_t shortest_digits(double real, char digits[24], int *exponent)
{
    char text[40];
    size_t n = 0;
    int precision = fabs(real) < 0x1p-1022 ? 1 : 15;

    for (; precision < 18; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, real);
        if (strtod(text, NULL) == real)
            break;
    }
    *exponent = atoi(strchr(text, 'e') + 1);
    for (const char *at = text; *at != 'e'; at++)
        if (*at >= '0' && *at <= '9')
            digits[n++] = *at;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = 0;
    return n;
}

static const char *special_text(double real)
{
    if (isnan(real))
        return "NaN";
    return real > 0 ? "+Inf" : "-Inf";
}

static void put_plain(const char *digits, size_t n, int exponent, wm_buf *buf)
{
    if (exponent < 0) {
        wm_buf_text(buf, "0.");
        for (int i = exponent; i < -1; i++)
            wm_buf_char(buf, '0');
        wm_buf_add(buf, digits, n);
        return;
    }
    for (size_t i = 0; i < n || i <= (size_t)exponent; i++) {
        if (i == (size_t)exponent + 1)
            wm_buf_char(buf, '.');
        wm_buf_char(buf, i < n ? digits[i] : '0');
    }
}

void cel_double_plain(double real, wm_buf *buf)
{
    char digits[24];
    int exponent;
    size_t n;

    if (!isfinite(real)) {
        wm_buf_text(buf, isnan(real) ? "NaN" : real > 0 ? "Infinity" : "-Infinity");
        return;
    }
    if (signbit(real))
        wm_buf_char(buf, '-');
    if (real == 0) {
        wm_buf_char(buf, '0');
        return;
    }
    n = shortest_digits(real, digits, &exponent);
    put_plain(digits, n, exponent, buf);
}

size_t cel_double_text(double real, char text[32])
{
    char digits[24];
    int exponent;
    size_t n;

    if (!isfinite(real))
        return (size_t)snprintf(text, 32, "%s", special_text(real));
    if (real == 0)
        return (size_t)snprintf(text, 32, "%s", signbit(real) ? "-0" : "0");
    n = shortest_digits(real, digits, &exponent);
    if (exponent < -4 || exponent >= 6)
        return (size_t)snprintf(text, 32, "%s%c%s%.*se%c%02d", signbit(real) ? "-" : "", digits[0],
                                n > 1 ? "." : "", (int)n - 1, digits + 1, exponent < 0 ? '-' : '+',
                                abs(exponent));
    if (exponent >= (int)n - 1)
        return (size_t)snprintf(text, 32, "%s%s%.*s", signbit(real) ? "-" : "", digits,
                                exponent - (int)n + 1, "00000000");
    if (exponent < 0)
        return (size_t)snprintf(text, 32, "%s0.%.*s%s", signbit(real) ? "-" : "", -exponent - 1,
                                "0000", digits);
    return (size_t)snprintf(text, 32, "%s%.*s.%s", signbit(real) ? "-" : "", exponent + 1, digits,
                            digits + exponent + 1);
}

/* ".5" of 500000000 nanoseconds; nothing of 0. */
static size_t fraction_text(uint32_t nanos, char text[16])
{
    size_t n;

    if (nanos == 0) {
        text[0] = 0;
        return 0;
    }
    n = (size_t)snprintf(text, 16, ".%09u", (unsigned)(nanos % 1000000000));
    while (text[n - 1] == '0')
        text[--n] = 0;
    return n;
}

size_t cel_duration_text(int64_t nanos, char text[48])
{
    uint64_t all = nanos < 0 ? 0 - (uint64_t)nanos : (uint64_t)nanos;
    char fraction[16];

    fraction_text((uint32_t)(all % 1000000000), fraction);
    return (size_t)snprintf(text, 48, "%s%llu%ss", nanos < 0 ? "-" : "",
                            (unsigned long long)(all / 1000000000), fraction);
}

size_t cel_timestamp_text(const cel_value *time, char text[48])
{
    char seconds[WM_TIME_TEXT_SIZE], fraction[16];

    wm_time_format_seconds(time->as.integer, seconds);
    fraction_text(time->len, fraction);
    return (size_t)snprintf(text, 48, "%.20s%sZ", seconds, fraction);
}
