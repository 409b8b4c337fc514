/* server/store/args.c - statement parameters in PostgreSQL's binary format.
 *
 * Everything is big-endian. An array is: dimensions, has-nulls flag, element type, then
 * for its one dimension length and lower bound, then each element as length and bytes;
 * length -1 is null. An empty array has zero dimensions.
 */
#include <assert.h>
#include <endian.h>
#include <math.h>
#include <string.h>

#include "server/store/store.h"

enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_FLOAT8 = 701,
    OID_TIMESTAMPTZ = 1184,
    OID_UUID = 2950
};

/* Microseconds from 1970 to 2000, where PostgreSQL's times start. */
static const int64_t pg_epoch_us = INT64_C(946684800000000);

void store_args_init(store_args *args, wm_arena *arena)
{
    args->arena = arena;
    args->n = 0;
}

static void args_put(store_args *args, const void *value, size_t size)
{
    assert(args->n < STORE_ARGS_MAX);
    assert(size <= INT32_MAX);
    args->values[args->n] = value;
    args->sizes[args->n] = (int)size;
    args->n++;
}

void store_arg_null(store_args *args)
{
    args_put(args, NULL, 0);
}

void store_arg_bool(store_args *args, bool value)
{
    char *byte = wm_arena_alloc(args->arena, 1);

    *byte = value ? 1 : 0;
    args_put(args, byte, 1);
}

static char *put_32(char *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
}

static char *put_64(char *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
}

static uint64_t float8_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

void store_arg_int32(store_args *args, int32_t value)
{
    char *bytes = wm_arena_alloc(args->arena, sizeof(value));

    put_32(bytes, (uint32_t)value);
    args_put(args, bytes, sizeof(value));
}

void store_arg_int64(store_args *args, int64_t value)
{
    char *bytes = wm_arena_alloc(args->arena, sizeof(value));

    put_64(bytes, (uint64_t)value);
    args_put(args, bytes, sizeof(value));
}

void store_arg_float8(store_args *args, double value)
{
    store_arg_int64(args, (int64_t)float8_bits(value));
}

void store_arg_text(store_args *args, const char *value)
{
    if (value == NULL) {
        store_arg_null(args);
        return;
    }
    size_t size = strlen(value);
    args_put(args, wm_arena_strndup(args->arena, value, size), size);
}

void store_arg_bytes(store_args *args, const void *bytes, size_t size)
{
    /* A NULL value pointer would be SQL null, so an empty value still gets one. */
    char *copy = wm_arena_alloc(args->arena, size + 1);

    if (size > 0)
        memcpy(copy, bytes, size);
    args_put(args, copy, size);
}

void store_arg_json(store_args *args, const char *json)
{
    if (json == NULL) {
        store_arg_null(args);
        return;
    }
    size_t size = strlen(json);
    char *bytes = wm_arena_alloc(args->arena, size + 1);

    bytes[0] = 1; /* the version of jsonb's binary format: text follows */
    memcpy(bytes + 1, json, size);
    args_put(args, bytes, size + 1);
}

void store_arg_time(store_args *args, int64_t time_us)
{
    store_arg_int64(args, time_us - pg_epoch_us);
}

void store_arg_uuid(store_args *args, const wm_uuid *uuid)
{
    if (uuid == NULL) {
        store_arg_null(args);
        return;
    }
    args_put(args, wm_arena_memdup(args->arena, uuid->bytes, sizeof(uuid->bytes)),
             sizeof(uuid->bytes));
}

/* ---- arrays ---- */

enum { ARRAY_HEADER_SIZE = 20, ARRAY_EMPTY_SIZE = 12 };

static char *array_begin(store_args *args, uint32_t oid, size_t n, bool has_nulls,
                         size_t elements_size)
{
    char *array = wm_arena_alloc(args->arena, ARRAY_HEADER_SIZE + elements_size);
    char *at = array;

    assert(array != NULL && n <= INT32_MAX);
    at = put_32(at, n > 0 ? 1 : 0);
    at = put_32(at, has_nulls ? 1 : 0);
    at = put_32(at, oid);
    if (n > 0) {
        at = put_32(at, (uint32_t)n);
        put_32(at, 1);
    }
    args_put(args, array, n > 0 ? ARRAY_HEADER_SIZE + elements_size : ARRAY_EMPTY_SIZE);
    return array + ARRAY_HEADER_SIZE;
}

/* The flag has to be right only in one direction: it may say "nulls" where there are none. */
static void array_sized(store_args *args, char *at)
{
    args->sizes[args->n - 1] = (int)(at - args->values[args->n - 1]);
}

static char *element_64(char *at, uint64_t value)
{
    return put_64(put_32(at, 8), value);
}

static char *element_null(char *at)
{
    return put_32(at, UINT32_MAX);
}

void store_arg_bools(store_args *args, const bool *values, size_t n)
{
    char *at = array_begin(args, OID_BOOL, n, false, n * 5);

    for (size_t i = 0; i < n; i++) {
        at = put_32(at, 1);
        *at++ = values[i] ? 1 : 0;
    }
}

void store_arg_int32s(store_args *args, const int32_t *values, size_t n)
{
    char *at = array_begin(args, OID_INT4, n, false, n * 8);

    for (size_t i = 0; i < n; i++)
        at = put_32(put_32(at, 4), (uint32_t)values[i]);
}

void store_arg_int64s(store_args *args, const int64_t *values, size_t n)
{
    char *at = array_begin(args, OID_INT8, n, true, n * 12);

    for (size_t i = 0; i < n; i++)
        at = values[i] == STORE_NULL_INT ? element_null(at) : element_64(at, (uint64_t)values[i]);
    if (n > 0)
        array_sized(args, at);
}

void store_arg_float8s(store_args *args, const double *values, size_t n, bool nan_is_null)
{
    char *at = array_begin(args, OID_FLOAT8, n, true, n * 12);

    for (size_t i = 0; i < n; i++)
        at = nan_is_null && isnan(values[i]) ? element_null(at)
                                             : element_64(at, float8_bits(values[i]));
    if (n > 0)
        array_sized(args, at);
}

/* texts: `sizes` is NULL. */
static void array_of_bytes(store_args *args, uint32_t oid, const void *const *values,
                           const size_t *sizes, size_t n)
{
    size_t total = 0;

    for (size_t i = 0; i < n; i++)
        if (values[i] != NULL)
            total += sizes != NULL ? sizes[i] : strlen(values[i]);
    char *at = array_begin(args, oid, n, true, n * 4 + total);
    for (size_t i = 0; i < n; i++) {
        if (values[i] == NULL) {
            at = element_null(at);
            continue;
        }
        size_t size = sizes != NULL ? sizes[i] : strlen(values[i]);
        at = put_32(at, (uint32_t)size);
        memcpy(at, values[i], size);
        at += size;
    }
}

void store_arg_texts(store_args *args, const char *const *values, size_t n)
{
    array_of_bytes(args, OID_TEXT, (const void *const *)values, NULL, n);
}

void store_arg_bytess(store_args *args, const void *const *bytes, const size_t *sizes, size_t n)
{
    array_of_bytes(args, OID_BYTEA, bytes, sizes, n);
}

void store_arg_times(store_args *args, const int64_t *times_us, size_t n)
{
    char *at = array_begin(args, OID_TIMESTAMPTZ, n, true, n * 12);

    for (size_t i = 0; i < n; i++)
        at = times_us[i] == STORE_NULL_INT ? element_null(at)
                                           : element_64(at, (uint64_t)(times_us[i] - pg_epoch_us));
    if (n > 0)
        array_sized(args, at);
}

void store_arg_uuids(store_args *args, const wm_uuid *uuids, size_t n)
{
    char *at = array_begin(args, OID_UUID, n, false, n * 20);

    for (size_t i = 0; i < n; i++) {
        at = put_32(at, sizeof(uuids[i].bytes));
        memcpy(at, uuids[i].bytes, sizeof(uuids[i].bytes));
        at += sizeof(uuids[i].bytes);
    }
}
