/* server/dev/dev.c - starts the parts of dev mode in order, watches them, stops them in reverse.
 *
 *   state -> PostgreSQL -> Redis -> issuer -> server
 *
 * Stopping half-way and starting again must always work; so each part finds what an
 * earlier run left.
 */
#include "server/dev/dev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "server/app.h"
#include "server/auth/dev_grant.h"
#include "server/dev/issuer.h"
#include "server/dev/postgres.h"
#include "server/dev/redis.h"
#include "server/dev/state.h"
#include "server/signals.h"

enum { WATCH_MS = 500, ISSUER_PORT_OFFSET = 1000, ENV_SIZE = 4 * STATE_PATH_SIZE };

static const char audience[] = "waymark";
/* The subject that is admin everywhere: what `./dev env` has a token of. */
static const char admin_subject[] = "dev-admin";

typedef struct dev {
    config *config;
    dev_state state;
    dev_postgres postgres;
    dev_redis redis;
    dev_issuer *issuer;
    app *app;
    char issuer_listen[64];
    char admin[256];
} dev;

/* A fixed place relative to the server's own, so that tokens stay good over a restart. */
static const char *issuer_listen(dev *dev)
{
    if (dev->config->issuer_listen != NULL)
        return dev->config->issuer_listen;
    const char *port = strrchr(dev->config->listen[0], ':') + 1;
    int number = atoi(port);
    snprintf(dev->issuer_listen, sizeof(dev->issuer_listen), "127.0.0.1:%d",
             number > 0 ? number + ISSUER_PORT_OFFSET : 0);
    return dev->issuer_listen;
}

static wm_code start_issuer(dev *dev, wm_err *err)
{
    char key_file[STATE_PATH_SIZE];
    dev_state_path(&dev->state, "issuer.pem", key_file);
    dev_issuer_config issuer = {issuer_listen(dev), key_file, audience};
    return dev_issuer_new(&issuer, &dev->issuer, err);
}

/* What an operator would have said with flags. */
static void point_config(config *config, const char *postgres, const char *redis,
                         const char *issuer, char *admin, size_t admin_size)
{
    config->postgres = postgres;
    config->redis = redis;
    config->issuers[0] = (auth_issuer){.issuer = issuer, .audience = audience, .development = true};
    config->n_issuers = 1;
    snprintf(admin, admin_size, "%s#%s", issuer, admin_subject);
    config->admins[0] = admin;
    config->n_admins = 1;
}

static wm_code write_env(const dev *dev, wm_err *err)
{
    const char *listen = dev->config->listen[0];
    char address[STATE_PATH_SIZE], text[ENV_SIZE];
    int host_len = (int)(strrchr(listen, ':') - listen);
    if (strncmp(listen, "unix:", 5) == 0)
        snprintf(address, sizeof(address), "%s", listen);
    else
        snprintf(address, sizeof(address), "%.*s:%d", host_len, listen, app_port(dev->app, 0));
    snprintf(text, sizeof(text),
             "WAYMARK_ADDRESS=%s\nWAYMARK_ISSUER=%s\nPGHOST=%s\nPGPORT=5432\nPGUSER=waymark\n"
             "PGDATABASE=waymark\nREDIS_SOCKET=%s\n",
             address, dev_issuer_url(dev->issuer), dev->state.run, dev->redis.socket);
    return dev_state_write_file(&dev->state, "dev.env", text, err);
}

static wm_code start_all(dev *dev, wm_err *err)
{
    wm_code code = dev_state_open(&dev->state, dev->config->state_dir, dev->config->fresh, err);
    if (code == WM_OK)
        dev_state_write_pid(&dev->state, "waymarkd.pid", getpid());
    if (code == WM_OK)
        code = dev_postgres_start(&dev->postgres, &dev->state, err);
    if (code == WM_OK)
        code = dev_redis_start(&dev->redis, &dev->state, err);
    if (code == WM_OK)
        code = start_issuer(dev, err);
    if (code != WM_OK)
        return code;
    point_config(dev->config, dev->postgres.conninfo, dev->redis.address,
                 dev_issuer_url(dev->issuer), dev->admin, sizeof(dev->admin));
    code = app_start(dev->config, &dev->app, err);
    if (code != WM_OK)
        return code;
    dev_issuer_set_grant(dev->issuer, auth_dev_grant, app_auth(dev->app));
    return write_env(dev, err);
}

static void watch(dev *dev)
{
    while (!signals_wait(WATCH_MS)) {
        dev_postgres_watch(&dev->postgres);
        dev_redis_watch(&dev->redis);
    }
}

static void stop_all(dev *dev)
{
    if (dev->issuer != NULL)
        dev_issuer_set_grant(dev->issuer, NULL, NULL);
    if (dev->app != NULL)
        app_stop(dev->app);
    if (dev->issuer != NULL)
        dev_issuer_free(dev->issuer);
    dev_redis_stop(&dev->redis);
    dev_postgres_stop(&dev->postgres);
    dev_state_close(&dev->state);
}

/* A second server beside the one whose dev.env says where everything is. */
static wm_code run_joined(config *config, wm_err *err)
{
    char host[STATE_PATH_SIZE], socket[STATE_PATH_SIZE], issuer[256], admin[512];
    char conninfo[STATE_PATH_SIZE + 64], redis[STATE_PATH_SIZE + 8];
    if (!dev_state_read_env(config->join_dir, "PGHOST", host, sizeof(host)) ||
        !dev_state_read_env(config->join_dir, "REDIS_SOCKET", socket, sizeof(socket)) ||
        !dev_state_read_env(config->join_dir, "WAYMARK_ISSUER", issuer, sizeof(issuer)))
        return wm_fail(err, WM_PRECONDITION, "DEV_JOIN",
                       "no dev mode has run in %s (no dev.env there)", config->join_dir);
    snprintf(conninfo, sizeof(conninfo), "host=%s user=waymark dbname=waymark", host);
    snprintf(redis, sizeof(redis), "unix:%s", socket);
    point_config(config, conninfo, redis, issuer, admin, sizeof(admin));
    app *app = NULL;
    wm_code code = app_start(config, &app, err);
    if (code != WM_OK)
        return code;
    while (!signals_wait(60000))
        continue;
    signals_release();
    wm_log(WM_LOG_INFO, "stopping");
    app_stop(app);
    return WM_OK;
}

wm_code dev_run(config *config, wm_err *err)
{
    if (config->join_dir != NULL)
        return run_joined(config, err);
    dev dev = {.config = config, .state = {.lock_fd = -1}};
    wm_code code = start_all(&dev, err);
    if (code == WM_OK)
        watch(&dev);
    signals_release();
    wm_log(WM_LOG_INFO, "stopping");
    stop_all(&dev);
    return code;
}
