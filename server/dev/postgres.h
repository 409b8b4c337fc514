/* server/dev/postgres.h - a private PostgreSQL for dev mode, on a unix socket only.
 *
 * Main thread only. The data directory is made under a temporary name and renamed, so
 * that stopping half-way leaves nothing behind. The server dies with waymarkd (SIGINT:
 * PostgreSQL's fast shutdown) and is started again when it ends while waymarkd runs.
 */
#ifndef WAYMARK_SERVER_DEV_POSTGRES_H
#define WAYMARK_SERVER_DEV_POSTGRES_H

#include "server/dev/state.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dev_postgres {
    const dev_state *state;
    char bin[STATE_PATH_SIZE]; /* directory of initdb, postgres, ... */
    char data[STATE_PATH_SIZE];
    char conninfo[2 * STATE_PATH_SIZE];
    pid_t pid;
    bool is_child; /* else somebody restarted it (pg_ctl) and we only watch */
} dev_postgres;

/* Initialises on first use, starts, waits until it answers. */
WM_MUST_USE wm_code dev_postgres_start(dev_postgres *postgres, const dev_state *state, wm_err *err);
/* Call now and then: starts it again when it has ended. */
void dev_postgres_watch(dev_postgres *postgres);
void dev_postgres_stop(dev_postgres *postgres);

#ifdef __cplusplus
}
#endif
#endif
