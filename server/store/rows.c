/* server/store/rows.c - results in binary, and errors out of results.
 *
 * A store_rows is a PGresult under another name. A column read as the wrong type is our
 * own bug: the accessors assert the type that the server named.
 */
#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/store/internal.h"

enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_FLOAT8 = 701,
    OID_INT8_ARRAY = 1016,
    OID_VARCHAR = 1043,
    OID_TIMESTAMPTZ = 1184,
    OID_UUID = 2950,
    OID_XID8 = 5069
};

static const int64_t pg_epoch_us = INT64_C(946684800000000);

static const PGresult *rows_result(const store_rows *rows)
{
    return (const PGresult *)(const void *)rows;
}

static const char *rows_value(const store_rows *rows, size_t row, int column)
{
    const PGresult *result = rows_result(rows);

    assert(row < (size_t)PQntuples(result) && column < PQnfields(result));
    return PQgetvalue(result, (int)row, column);
}

static Oid rows_type(const store_rows *rows, int column)
{
    return PQftype(rows_result(rows), column);
}

static uint32_t get_32(const char *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return be32toh(value);
}

static uint64_t get_64(const char *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return be64toh(value);
}

size_t store_rows_len(const store_rows *rows)
{
    return (size_t)PQntuples(rows_result(rows));
}

int64_t store_rows_affected(const store_rows *rows)
{
    /* libpq takes the result as non-const but only reads it. */
    const char *text = PQcmdTuples((PGresult *)(uintptr_t)rows);

    return *text == '\0' ? 0 : strtoll(text, NULL, 10);
}

bool store_is_null(const store_rows *rows, size_t row, int column)
{
    assert(row < store_rows_len(rows));
    return PQgetisnull(rows_result(rows), (int)row, column) != 0;
}

bool store_bool(const store_rows *rows, size_t row, int column)
{
    assert(rows_type(rows, column) == OID_BOOL);
    return *rows_value(rows, row, column) != 0;
}

int64_t store_int64(const store_rows *rows, size_t row, int column)
{
    const char *value = rows_value(rows, row, column);

    if (store_is_null(rows, row, column))
        return 0;
    switch (rows_type(rows, column)) {
    case OID_INT8:
    case OID_XID8:
        return (int64_t)get_64(value);
    case OID_INT4:
        return (int32_t)get_32(value);
    case OID_INT2:
        return (int16_t)((uint8_t)value[0] << 8 | (uint8_t)value[1]);
    default:
        assert(!"not an integer column");
        return 0;
    }
}

int32_t store_int32(const store_rows *rows, size_t row, int column)
{
    assert(rows_type(rows, column) == OID_INT4 || rows_type(rows, column) == OID_INT2);
    return (int32_t)store_int64(rows, row, column);
}

double store_float8(const store_rows *rows, size_t row, int column)
{
    double value;
    uint64_t bits;

    assert(rows_type(rows, column) == OID_FLOAT8);
    if (store_is_null(rows, row, column))
        return 0;
    bits = get_64(rows_value(rows, row, column));
    memcpy(&value, &bits, sizeof(value));
    return value;
}

const char *store_text(const store_rows *rows, size_t row, int column)
{
    assert(rows_type(rows, column) == OID_TEXT || rows_type(rows, column) == OID_VARCHAR);
    return rows_value(rows, row, column);
}

const void *store_bytes(const store_rows *rows, size_t row, int column, size_t *size)
{
    const char *value = rows_value(rows, row, column);

    assert(rows_type(rows, column) == OID_BYTEA || rows_type(rows, column) == OID_TEXT);
    *size = (size_t)PQgetlength(rows_result(rows), (int)row, column);
    return value;
}

int64_t store_time(const store_rows *rows, size_t row, int column)
{
    assert(rows_type(rows, column) == OID_TIMESTAMPTZ);
    if (store_is_null(rows, row, column))
        return 0;
    return (int64_t)get_64(rows_value(rows, row, column)) + pg_epoch_us;
}

wm_uuid store_uuid(const store_rows *rows, size_t row, int column)
{
    wm_uuid uuid = {{0}};

    assert(rows_type(rows, column) == OID_UUID);
    if (!store_is_null(rows, row, column))
        memcpy(uuid.bytes, rows_value(rows, row, column), sizeof(uuid.bytes));
    return uuid;
}

const int64_t *store_int64s(const store_rows *rows, size_t row, int column, wm_arena *arena,
                            size_t *n)
{
    const char *at = rows_value(rows, row, column);

    assert(rows_type(rows, column) == OID_INT8_ARRAY);
    *n = 0;
    if (store_is_null(rows, row, column) || get_32(at) == 0)
        return NULL;
    assert(get_32(at) == 1);
    *n = get_32(at + 12);
    at += 20;
    int64_t *values = WM_NEW_ARRAY(arena, int64_t, *n);
    for (size_t i = 0; i < *n; i++) {
        bool null = get_32(at) == UINT32_MAX;
        at += 4;
        values[i] = null ? STORE_NULL_INT : (int64_t)get_64(at);
        at += null ? 0 : 8;
    }
    return values;
}

/* ---- result lists ---- */

void store_results_add(store_results *results, PGresult *rows)
{
    if (results->n == results->room) {
        size_t room = results->room == 0 ? 8 : results->room * 2;
        PGresult **bigger = realloc(results->rows, room * sizeof(*bigger));

        if (bigger == NULL)
            abort();
        results->rows = bigger;
        results->room = room;
    }
    results->rows[results->n++] = rows;
}

void store_results_clear(store_results *results)
{
    if (!results->moved)
        for (size_t i = 0; i < results->n; i++)
            PQclear(results->rows[i]);
    results->n = 0;
    results->moved = false;
}

void store_results_free(store_results *results)
{
    store_results_clear(results);
    free(results->rows);
    results->rows = NULL;
    results->room = 0;
}

/* ---- errors ---- */

/* What a SQLSTATE means to a caller of the API. */
static wm_code sqlstate_code(const char *sqlstate)
{
    static const struct {
        const char *prefix;
        wm_code code;
    } codes[] = {
        {"23505", WM_EXISTS},   {"23503", WM_PRECONDITION}, {"23", WM_INVALID},
        {"22", WM_INVALID},     {"40", WM_ABORTED},         {"55P03", WM_ABORTED},
        {"53", WM_UNAVAILABLE}, {"57", WM_UNAVAILABLE},     {"58", WM_UNAVAILABLE},
        {"08", WM_UNAVAILABLE}, {"25006", WM_UNAVAILABLE},  {"P0001", WM_PRECONDITION},
        {"54000", WM_INVALID},
    };

    for (size_t i = 0; i < WM_ARRAY_LEN(codes); i++)
        if (strncmp(sqlstate, codes[i].prefix, strlen(codes[i].prefix)) == 0)
            return codes[i].code;
    return WM_INTERNAL;
}

void store_fail_result(wm_err *err, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    char reason[WM_ERR_REASON_SIZE];
    wm_code code;

    if (sqlstate == NULL)
        sqlstate = "XX000";
    code = sqlstate_code(sqlstate);
    snprintf(reason, sizeof(reason), "SQLSTATE_%s", sqlstate);
    wm_fail(err, code, reason, "the database refused the change (%s%s%s)", sqlstate,
            constraint != NULL ? ", constraint " : "", constraint != NULL ? constraint : "");
    if (code == WM_UNAVAILABLE)
        err->retry_after_ms = 1000;
    if (code == WM_INTERNAL) {
        /* These name columns and functions, never data, and are for whoever fixes the bug. */
        const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        wm_log(WM_LOG_ERROR, "statement failed", wm_log_s("sqlstate", sqlstate),
               wm_log_s("text", text != NULL ? text : PQresultErrorMessage(result)));
    }
}

wm_code store_fail_unavailable(wm_err *err, const char *why)
{
    wm_code code = wm_fail(err, WM_UNAVAILABLE, "STORE_UNAVAILABLE", "PostgreSQL: %s", why);

    if (err != NULL)
        err->retry_after_ms = 500;
    return code;
}
