/* server/store/migrate.c - the blocking part of the store, before anything serves. */
#include "server/store/migrate.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/store/migrations.h"

enum { SERVER_VERSION_MIN = 150000 };

static const char no_transaction[] = "-- waymark: no transaction";

static wm_code fail_unavailable(PGconn *pg, wm_err *err)
{
    return wm_fail(err, WM_UNAVAILABLE, "STORE_UNAVAILABLE", "cannot connect to PostgreSQL: %s",
                   PQerrorMessage(pg));
}

static wm_code run(PGconn *pg, const char *name, const char *sql, wm_err *err)
{
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        PQclear(result);
        return WM_OK;
    }
    wm_code code = PQstatus(pg) == CONNECTION_BAD ? WM_UNAVAILABLE : WM_INTERNAL;
    wm_fail(err, code, code == WM_UNAVAILABLE ? "STORE_UNAVAILABLE" : "INTERNAL", "%s: %s", name,
            PQresultErrorMessage(result));
    PQclear(result);
    return code;
}

/* The number that a file's name starts with. */
static long file_version(const wm_embedded *file)
{
    return strtol(file->name, NULL, 10);
}

static wm_code known_version(PGconn *pg, long *version, wm_err *err)
{
    PGresult *result = PQexec(pg, "SELECT coalesce(max(version), 0) FROM waymark.schema_migration");

    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        wm_fail(err, WM_INTERNAL, "INTERNAL", "schema_migration: %s", PQresultErrorMessage(result));
        PQclear(result);
        return WM_INTERNAL;
    }
    *version = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return WM_OK;
}

static wm_code note_version(PGconn *pg, const wm_embedded *file, wm_err *err)
{
    char sql[256];

    /* File names are ours: digits, letters, underscores. */
    snprintf(sql, sizeof(sql),
             "INSERT INTO waymark.schema_migration (version, name) VALUES (%ld, '%s')",
             file_version(file), file->name);
    return run(pg, file->name, sql, err);
}

static wm_code apply(PGconn *pg, const wm_embedded *file, wm_err *err)
{
    const char *sql = (const char *)file->bytes;
    bool transaction = strncmp(sql, no_transaction, sizeof(no_transaction) - 1) != 0;
    wm_code code = WM_OK;

    if (transaction)
        code = run(pg, file->name, "BEGIN", err);
    if (code == WM_OK)
        code = run(pg, file->name, sql, err);
    if (code == WM_OK)
        code = note_version(pg, file, err);
    if (code == WM_OK && transaction)
        code = run(pg, file->name, "COMMIT", err);
    if (code == WM_OK)
        wm_log(WM_LOG_INFO, "migrated", wm_log_s("file", file->name));
    return code;
}

static wm_code apply_all(PGconn *pg, wm_err *err)
{
    long known = 0;
    long newest = file_version(&migrations[migrations_n - 1]);
    wm_code code = known_version(pg, &known, err);

    if (code == WM_OK && known > newest)
        return wm_fail(err, WM_PRECONDITION, "SCHEMA_NEWER",
                       "the database is at migration %ld, this program only knows %ld", known,
                       newest);
    for (size_t i = 0; i < migrations_n && code == WM_OK; i++) {
        if (file_version(&migrations[i]) <= known)
            continue;
        code = apply(pg, &migrations[i], err);
    }
    return code;
}

static wm_code migrate(PGconn *pg, wm_err *err)
{
    static const char *const setup[] = {
        "SET client_min_messages = warning",
        "SET timezone = 'UTC'",
        /* Held by the session: freed when it ends, however it ends. */
        "SELECT pg_advisory_lock(8029461, 0)",
        "CREATE SCHEMA IF NOT EXISTS waymark",
        "SET search_path = waymark, public",
        "CREATE TABLE IF NOT EXISTS waymark.schema_migration ("
        "version int PRIMARY KEY, name text NOT NULL, apply_time timestamptz NOT NULL"
        " DEFAULT now())",
    };
    wm_code code = WM_OK;

    for (size_t i = 0; i < WM_ARRAY_LEN(setup) && code == WM_OK; i++)
        code = run(pg, "schema", setup[i], err);
    return code == WM_OK ? apply_all(pg, err) : code;
}

static void ignore_notice(void *ctx, const PGresult *result)
{
    (void)ctx;
    (void)result;
}

wm_code store_migrate(const char *conninfo, wm_err *err)
{
    PGconn *pg = PQconnectdb(conninfo);
    wm_code code;

    if (PQstatus(pg) != CONNECTION_OK) {
        code = fail_unavailable(pg, err);
    } else if (PQserverVersion(pg) < SERVER_VERSION_MIN) {
        code = wm_fail(err, WM_PRECONDITION, "SERVER_TOO_OLD",
                       "PostgreSQL is %d, needs 15 or newer", PQserverVersion(pg) / 10000);
    } else {
        PQsetNoticeReceiver(pg, ignore_notice, NULL);
        code = migrate(pg, err);
    }
    PQfinish(pg);
    return code;
}
