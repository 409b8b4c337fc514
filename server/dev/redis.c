/* server/dev/redis.c - start, watch and stop of dev mode's Redis.
 *
 * Never waits for it: waymarkd works without Redis, and takes it up when it is there.
 */
#include "server/dev/redis.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { STOP_MS = 5000, RESTART_PAUSE_MS = 1000 };

static const char program[] = "/usr/bin/redis-server";

static wm_code launch(dev_redis *redis, wm_err *err)
{
    char log[STATE_PATH_SIZE], dir[STATE_PATH_SIZE];
    dev_state_path(redis->state, "redis.log", log);
    dev_state_data_path(redis->state, "redis", dir);
    const char *argv[] = {program,
                          "--port",
                          "0",
                          "--unixsocket",
                          redis->socket,
                          "--unixsocketperm",
                          "700",
                          "--save",
                          "",
                          "--appendonly",
                          "no",
                          "--maxmemory",
                          "256mb",
                          "--daemonize",
                          "no",
                          NULL};
    child_spec spec = {argv, &redis->state->user, log, dir, SIGTERM};
    redis->started_us = wm_monotonic_us();
    redis->pid = child_start(&spec, err);
    if (redis->pid < 0)
        return WM_UNAVAILABLE;
    dev_state_write_pid(redis->state, "redis.pid", redis->pid);
    return WM_OK;
}

wm_code dev_redis_start(dev_redis *redis, const dev_state *state, wm_err *err)
{
    memset(redis, 0, sizeof(*redis));
    redis->state = state;
    dev_state_data_path(state, "run/redis.sock", redis->socket);
    snprintf(redis->address, sizeof(redis->address), "unix:%s", redis->socket);
    if (access(program, X_OK) != 0)
        return wm_fail(err, WM_PRECONDITION, "DEV_REDIS",
                       "Redis is not installed: apt-get install redis-server");
    wm_code code = dev_state_make_data_dir(state, "redis", err);
    if (code == WM_OK)
        code = launch(redis, err);
    return code;
}

void dev_redis_watch(dev_redis *redis)
{
    if (redis->pid > 0 && !child_has_ended(redis->pid))
        return;
    if (redis->pid > 0)
        wm_log(WM_LOG_WARN, "Redis ended", wm_log_i("pid", redis->pid));
    redis->pid = 0;
    if (wm_monotonic_us() - redis->started_us < (int64_t)RESTART_PAUSE_MS * 1000)
        return;
    wm_err err;
    if (launch(redis, &err) != WM_OK)
        wm_log(WM_LOG_ERROR, "Redis does not start", wm_log_s("why", err.message));
}

void dev_redis_stop(dev_redis *redis)
{
    if (redis->pid > 0)
        child_stop(redis->pid, SIGTERM, STOP_MS);
    redis->pid = 0;
}
