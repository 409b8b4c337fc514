/* server/store/migrate.h - brings the database to this program's schema.
 *
 * Numbered SQL files (migrations/NNNN_subject.sql) are embedded and run in order, each in
 * a transaction with its row in waymark.schema_migration, under an advisory lock, so that
 * any number of processes may start at once. Forward only: a database that knows a
 * migration which this program does not is refused, as a newer release has it.
 *
 * A file whose first line is "-- waymark: no transaction" runs outside of one, for
 * CREATE INDEX CONCURRENTLY; it must be safe to run again.
 *
 * Threads: blocking; at start, or from the `migrate` command.
 * Failure: WM_UNAVAILABLE (STORE_UNAVAILABLE), WM_PRECONDITION (SCHEMA_NEWER, SERVER_TOO_OLD), or
 *          WM_INTERNAL with the file's name and PostgreSQL's message.
 */
#ifndef WAYMARK_SERVER_STORE_MIGRATE_H
#define WAYMARK_SERVER_STORE_MIGRATE_H

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

WM_MUST_USE wm_code store_migrate(const char *conninfo, wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
