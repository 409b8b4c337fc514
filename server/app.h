/* server/app.h - the whole server as one thing to start and stop.
 *
 * The only place that knows every part; it wires them and does nothing else.
 * Threads: main thread only.
 */
#ifndef WAYMARK_SERVER_APP_H
#define WAYMARK_SERVER_APP_H

#include "server/config.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct app app;

/* Migrates the database, starts all parts, serves. Waits up to a minute for PostgreSQL.
 * `config` stays the caller's and must outlive the app. */
WM_MUST_USE wm_code app_start(const config *config, app **made, wm_err *err);
/* The port of listener i, for addresses with port 0. */
int app_port(const app *app, size_t i);
auth *app_auth(app *app);
/* Drains (config->drain_ms), stops all parts in reverse order, frees. */
void app_stop(app *app);

#ifdef __cplusplus
}
#endif
#endif
