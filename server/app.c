/* server/app.c - wires the parts, bottom up, and takes them apart top down.
 *
 *   migrations -> lanes -> stores -> hub (bus) -> auth -> workflow -> geo -> rpc
 *
 * Must not decide anything: what a part does is in that part.
 */
#include "server/app.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/api_descriptors.h"
#include "server/geo/geo.h"
#include "server/obs/access_log.h"
#include "server/store/migrate.h"
#include "server/workflow/workflow.h"

enum { POSTGRES_WAIT_MS = 60000, POSTGRES_RETRY_MS = 500 };

struct app {
    const config *config;
    lane *lanes[CONFIG_LANES_MAX];
    size_t n_lanes;
    event_hub *hub;
    auth *auth;
    workflow *workflow;
    geo *geo;
    rpc_server *server;
};

/* A database that is still starting is waited for; one that refuses is not. */
static wm_code migrate(const config *config, wm_err *err)
{
    int64_t end_us = wm_monotonic_us() + (int64_t)POSTGRES_WAIT_MS * 1000;
    for (;;) {
        wm_code code = store_migrate(config->postgres, err);
        if (code != WM_UNAVAILABLE || wm_monotonic_us() > end_us)
            return code;
        wm_log(WM_LOG_WARN, "waiting for PostgreSQL", wm_log_s("why", err->message));
        usleep(POSTGRES_RETRY_MS * 1000);
    }
}

typedef struct store_setup {
    lane *lane;
    store_config config;
} store_setup;

static void make_store(void *ctx)
{
    store_setup *setup = ctx;
    lane_set_store(setup->lane, store_new(setup->lane, &setup->config));
}

static void drop_store(void *ctx)
{
    lane *lane = ctx;
    store_free(lane_store(lane));
}

static wm_code start_lanes(app *app, wm_err *err)
{
    for (unsigned i = 0; i < app->config->lanes; i++) {
        wm_code code = lane_new(i, &app->lanes[i], err);
        if (code != WM_OK)
            return code;
        app->n_lanes++;
        store_setup setup = {app->lanes[i], {app->config->postgres, app->config->connections}};
        lane_call(app->lanes[i], make_store, &setup);
    }
    return WM_OK;
}

static wm_code start_auth(app *app, wm_err *err)
{
    const config *config = app->config;
    auth_config settings = {
        .issuers = config->issuers,
        .n_issuers = config->n_issuers,
        .admins = config->admins,
        .n_admins = config->n_admins,
        .dev_mode = config->command == CONFIG_DEV,
    };
    return auth_new(&settings, app->lanes, app->n_lanes, app->hub, &app->auth, err);
}

static rpc_listener listener_of(const config *config, size_t i)
{
    rpc_listener listener = {.address = config->listen[i]};
    if (strncmp(listener.address, "unix:", 5) == 0)
        return listener;
    listener.cert_file = config->tls_cert;
    listener.key_file = config->tls_key;
    listener.client_ca_file = config->tls_client_ca;
    return listener;
}

static wm_code start_server(app *app, wm_err *err)
{
    const config *config = app->config;
    rpc_listener listeners[CONFIG_LISTENERS_MAX];
    for (size_t i = 0; i < config->n_listen; i++)
        listeners[i] = listener_of(config, i);
    const rpc_service services[] = {
        auth_service(app->auth),         geo_track_service(app->geo),
        geo_fence_service(app->geo),     workflow_chart_service(app->workflow),
        workflow_service(app->workflow), workflow_task_service(app->workflow),
    };
    rpc_interceptor *const interceptors[] = {obs_access_log(), auth_interceptor(app->auth)};
    rpc_config settings = {
        .lanes = app->lanes,
        .n_lanes = app->n_lanes,
        .listeners = listeners,
        .n_listeners = config->n_listen,
        .services = services,
        .n_services = WM_ARRAY_LEN(services),
        .interceptors = interceptors,
        .n_interceptors = WM_ARRAY_LEN(interceptors),
        .calls_max = config->calls_max,
        .message_size_max = config->message_size_max,
        .descriptor_set = api_descriptors[0].bytes,
        .descriptor_set_size = api_descriptors[0].size,
    };
    return rpc_server_start(&settings, &app->server, err);
}

wm_code app_start(const config *config, app **made, wm_err *err)
{
    wm_code code = migrate(config, err);
    if (code != WM_OK)
        return code;
    app *app = calloc(1, sizeof(*app));
    if (app == NULL)
        return wm_fail(err, WM_EXHAUSTED, "NO_MEMORY", "out of memory");
    app->config = config;
    code = start_lanes(app, err);
    if (code == WM_OK)
        code = event_hub_new(app->lanes, app->n_lanes, config->redis, config->redis_password,
                             &app->hub, err);
    if (code == WM_OK)
        code = start_auth(app, err);
    if (code == WM_OK) {
        app->workflow = workflow_new(app->lanes, app->n_lanes, app->hub);
        app->geo = geo_new(app->lanes, app->n_lanes, app->hub, app->workflow);
        code = start_server(app, err);
    }
    if (code != WM_OK) {
        app_stop(app);
        return code;
    }
    rpc_server_set_serving(app->server, true);
    for (size_t i = 0; i < config->n_listen; i++)
        wm_log(WM_LOG_INFO, "serving", wm_log_s("address", config->listen[i]),
               wm_log_i("port", rpc_server_port(app->server, i)),
               wm_log_i("lanes", (int64_t)app->n_lanes));
    *made = app;
    return WM_OK;
}

int app_port(const app *app, size_t i)
{
    return rpc_server_port(app->server, i);
}

auth *app_auth(app *app)
{
    return app->auth;
}

void app_stop(app *app)
{
    if (app->server != NULL) {
        rpc_server_drain(app->server, app->config->drain_ms);
        rpc_server_free(app->server);
    }
    if (app->geo != NULL)
        geo_free(app->geo);
    if (app->workflow != NULL)
        workflow_free(app->workflow);
    if (app->auth != NULL)
        auth_free(app->auth);
    if (app->hub != NULL)
        event_hub_free(app->hub);
    for (size_t i = 0; i < app->n_lanes; i++)
        lane_call(app->lanes[i], drop_store, app->lanes[i]);
    for (size_t i = 0; i < app->n_lanes; i++)
        lane_free(app->lanes[i]);
    free(app);
}
