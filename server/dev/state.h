/* server/dev/state.h - the directory in which dev mode keeps everything.
 *
 *   STATE/lock            held while a dev mode runs here
 *   STATE/waymarkd.pid    and postgres.pid, redis.pid
 *   STATE/dev.env         KEY=VALUE lines: how to reach all of it (./dev env reads it)
 *   STATE/issuer.pem      the development issuer's key
 *   STATE/postgres.log   and redis.log, waymarkd.log
 *   DATA/postgres DATA/redis DATA/run (sockets)
 *
 * DATA is STATE/data, or, when PostgreSQL's unprivileged user could not reach that (a
 * checkout under /root) or the path is too long for a socket, a directory under /var/tmp
 * whose name is made from STATE's path.
 */
#ifndef WAYMARK_SERVER_DEV_STATE_H
#define WAYMARK_SERVER_DEV_STATE_H

#include "server/dev/child.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { STATE_PATH_SIZE = 1024 };

typedef struct dev_state {
    char dir[STATE_PATH_SIZE];
    char data[STATE_PATH_SIZE];
    char run[STATE_PATH_SIZE];
    child_user user; /* whom PostgreSQL and Redis run as */
    int lock_fd;
} dev_state;

/* Makes the directories and takes the lock; WM_EXISTS when a dev mode runs here. */
WM_MUST_USE wm_code dev_state_open(dev_state *state, const char *dir, bool fresh, wm_err *err);
void dev_state_close(dev_state *state);

/* "STATE/name" and "DATA/name", into `path`. */
void dev_state_path(const dev_state *state, const char *name, char path[STATE_PATH_SIZE]);
void dev_state_data_path(const dev_state *state, const char *name, char path[STATE_PATH_SIZE]);

void dev_state_write_pid(const dev_state *state, const char *name, pid_t pid);
/* Writes the whole file under a temporary name first, mode 0600. */
WM_MUST_USE wm_code dev_state_write_file(const dev_state *state, const char *name, const char *text,
                                         wm_err *err);
/* Makes DATA/name for the unprivileged user, mode 0700. */
WM_MUST_USE wm_code dev_state_make_data_dir(const dev_state *state, const char *name, wm_err *err);

/* One value of DIR/dev.env into `value`; false when it is not there. */
WM_MUST_USE bool dev_state_read_env(const char *dir, const char *key, char *value, size_t size);

#ifdef __cplusplus
}
#endif
#endif
