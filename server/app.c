/* server/app.c - wires the parts, bottom up, and takes them apart top down.
 *
 *   migrations -> lanes -> stores -> hub (bus) -> auth -> workflow -> geo -> rpc -> gate -> observe
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
#include "server/gate/gate.h"
#include "server/geo/geo.h"
#include "server/obs/access_log.h"
#include "server/observe.h"
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
    gate *gate;
    observe *observe;
    /* Each listener: who serves it, and which one it is there. */
    bool is_gated[CONFIG_LISTENERS_MAX];
    size_t place[CONFIG_LISTENERS_MAX];
    size_t n_gated, n_direct;
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

static bool is_gated(const config *config, size_t i)
{
    config_gate when = config->listeners[i].has_gate ? config->listeners[i].gate : config->gate;
    if (strncmp(config->listen[i], "unix:", 5) == 0 || when == CONFIG_GATE_NEVER)
        return false;
    return when == CONFIG_GATE_ALWAYS || gate_is_public(config->listen[i]);
}

static rpc_listener listener_of(const config *config, size_t i)
{
    const config_listener *own = &config->listeners[i];
    rpc_listener listener = {.address = config->listen[i]};
    if (strncmp(listener.address, "unix:", 5) == 0 || own->is_plaintext)
        return listener;
    listener.cert_file = own->tls_cert != NULL ? own->tls_cert : config->tls_cert;
    listener.key_file = own->tls_key != NULL ? own->tls_key : config->tls_key;
    /* A certificate of its own means rules of its own. */
    listener.client_ca_file = own->tls_client_ca;
    if (own->tls_client_ca == NULL && own->tls_cert == NULL)
        listener.client_ca_file = config->tls_client_ca;
    return listener;
}

/* Which of the two serves each listener, and as which of its own. */
static void split_listeners(app *app, rpc_listener *direct, rpc_listener *gated)
{
    const config *config = app->config;
    for (size_t i = 0; i < config->n_listen; i++) {
        app->is_gated[i] = is_gated(config, i);
        if (app->is_gated[i]) {
            app->place[i] = app->n_gated;
            gated[app->n_gated++] = listener_of(config, i);
        } else {
            app->place[i] = app->n_direct;
            direct[app->n_direct++] = listener_of(config, i);
        }
    }
}

static wm_code start_gate(app *app, const rpc_listener *listeners, wm_err *err)
{
    const config *config = app->config;
    gate_config settings = {
        .server = app->server,
        .listeners = listeners,
        .n_listeners = app->n_gated,
        .lanes = config->gate_threads == 0 ? app->lanes : NULL,
        .n_lanes = config->gate_threads == 0 ? app->n_lanes : config->gate_threads,
        .limits = &config->gate_limits,
        .proxies = config->proxies,
        .n_proxies = config->n_proxies,
    };
    if (app->n_gated == 0)
        return WM_OK;
    return gate_start(&settings, &app->gate, err);
}

static wm_code start_server(app *app, wm_err *err)
{
    const config *config = app->config;
    rpc_listener direct[CONFIG_LISTENERS_MAX], gated[CONFIG_LISTENERS_MAX];
    split_listeners(app, direct, gated);
    const rpc_service services[] = {
        auth_service(app->auth),         geo_track_service(app->geo),
        geo_fence_service(app->geo),     workflow_chart_service(app->workflow),
        workflow_service(app->workflow), workflow_task_service(app->workflow),
    };
    rpc_interceptor *const interceptors[] = {obs_access_log(), observe_interceptor(app->observe),
                                             auth_interceptor(app->auth)};
    rpc_config settings = {
        .lanes = app->lanes,
        .n_lanes = app->n_lanes,
        .listeners = direct,
        .n_listeners = app->n_direct,
        .services = services,
        .n_services = WM_ARRAY_LEN(services),
        .interceptors = interceptors,
        .n_interceptors = WM_ARRAY_LEN(interceptors),
        .calls_max = config->calls_max,
        .open_calls_max = config->open_calls_max,
        .answer_ms = config->answer_ms,
        .busy_poll_us = config->busy_poll_us > 0 ? config->busy_poll_us : -1,
        .message_size_max = config->message_size_max,
        .connection = config->connection,
        .limits = config->method_limits,
        .n_limits = config->n_method_limits,
        .compressed = config->compressed,
        .n_compressed = config->n_compressed,
        .takes_compressed = config->takes_compressed,
        .descriptor_set = api_descriptors[0].bytes,
        .descriptor_set_size = api_descriptors[0].size,
    };
    /* The gate closes a connection with more streams than it allows, so clients are told. */
    if (app->n_gated > 0 && (settings.connection.streams_max == 0 ||
                             settings.connection.streams_max > config->gate_limits.streams))
        settings.connection.streams_max = config->gate_limits.streams;
    wm_code code = rpc_server_start(&settings, &app->server, err);
    return code == WM_OK ? start_gate(app, gated, err) : code;
}

int app_port(const app *app, size_t i)
{
    if (app->is_gated[i])
        return gate_port(app->gate, app->place[i]);
    return rpc_server_port(app->server, app->place[i]);
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
        app->observe = observe_new(app->n_lanes);
        code = start_server(app, err);
    }
    if (code == WM_OK)
        code = observe_start(app->observe, config->metrics_listen, app->server, app->gate,
                             app->lanes, app->n_lanes, err);
    if (code != WM_OK) {
        app_stop(app);
        return code;
    }
    rpc_server_set_serving(app->server, true);
    for (size_t i = 0; i < config->n_listen; i++)
        wm_log(WM_LOG_INFO, "serving", wm_log_s("address", config->listen[i]),
               wm_log_i("port", app_port(app, i)),
               wm_log_s("through", app->is_gated[i] ? "gate" : "core"),
               wm_log_i("lanes", (int64_t)app->n_lanes));
    *made = app;
    return WM_OK;
}

auth *app_auth(app *app)
{
    return app->auth;
}

void app_stop(app *app)
{
    if (app->gate != NULL)
        gate_drain(app->gate, app->config->drain_ms);
    if (app->server != NULL) {
        rpc_server_drain(app->server, app->config->drain_ms);
        observe_stop(app->observe);
        gate_free(app->gate);
        rpc_server_free(app->server);
    }
    observe_free(app->observe);
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
