/* server/dev/redis.h - a private Redis for dev mode, on a unix socket, keeping nothing on disk.
 *
 * Main thread only; started again when it ends while waymarkd runs.
 */
#ifndef WAYMARK_SERVER_DEV_REDIS_H
#define WAYMARK_SERVER_DEV_REDIS_H

#include "server/dev/state.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dev_redis {
    const dev_state *state;
    char socket[STATE_PATH_SIZE];
    char address[STATE_PATH_SIZE + 8]; /* "unix:PATH", as bus/ takes it */
    pid_t pid;
    int64_t started_us;
} dev_redis;

WM_MUST_USE wm_code dev_redis_start(dev_redis *redis, const dev_state *state, wm_err *err);
void dev_redis_watch(dev_redis *redis);
void dev_redis_stop(dev_redis *redis);

#ifdef __cplusplus
}
#endif
#endif
