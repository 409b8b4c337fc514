/* server/rpc/health.c - grpc.health.v1, as every server has it.
 *
 * All services of a server are healthy together: the status is one flag, set from any
 * thread. Check reads it on the queue thread. Watchers belong to their lane's loop; a
 * change is posted to every lane and each watcher sends the newest status once its
 * stream is writable, so that a slow watcher may miss a status but never the last one.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "grpc/health/v1/health.pb-c.h"
#include "server/rpc/internal.h"

typedef Grpc__Health__V1__HealthCheckRequest health_request;
typedef Grpc__Health__V1__HealthCheckResponse health_response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus health_status;

#define HEALTH_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define HEALTH_NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define HEALTH_SERVICE_UNKNOWN \
    GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN
#define HEALTH_NONE_SENT GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__UNKNOWN

typedef struct health_watcher health_watcher;
struct health_watcher {
    health_watcher *next, *prev;
    rpc_call *call;
    health_status sent;
    bool is_known;
};

/* A lane's share. */
typedef struct health_lane {
    rpc_health *health;
    lane_msg changed;
    atomic_bool is_changed_posted;
    health_watcher *watchers; /* the loop's */
} health_lane;

struct rpc_health {
    rpc_server *server;
    atomic_bool serving;
    health_lane *lanes; /* by queue */
};

static bool health_is_known(const rpc_health *health, const char *name)
{
    const rpc_server *server = health->server;

    if (name[0] == '\0')
        return true;
    for (size_t i = 0; i < server->n_services; i++)
        if (strcmp(server->services[i].service->name, name) == 0)
            return true;
    return false;
}

bool rpc_health_get(const rpc_health *health)
{
    return atomic_load_explicit(&health->serving, memory_order_acquire);
}

static health_status health_now(const rpc_health *health)
{
    return rpc_health_get(health) ? HEALTH_SERVING : HEALTH_NOT_SERVING;
}

static void check_request(rpc_call *call, const ProtobufCMessage *message)
{
    const health_request *request = (const health_request *)message;
    rpc_health *health = rpc_ctx(call);
    health_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    wm_err err = {0};

    if (!health_is_known(health, request->service)) {
        wm_fail_field(&err, "service", "SERVICE_UNKNOWN", "this server has no such service");
        err.code = WM_NOT_FOUND;
        rpc_fail(call, &err);
        return;
    }
    response.status = health_now(health);
    rpc_reply(call, &response.base);
}

static void watcher_update(health_watcher *watcher)
{
    health_response response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

    response.status =
        watcher->is_known ? health_now(rpc_ctx(watcher->call)) : HEALTH_SERVICE_UNKNOWN;
    if (response.status != watcher->sent && rpc_send(watcher->call, &response.base))
        watcher->sent = response.status;
}

static health_lane *watch_lane(rpc_call *call)
{
    rpc_health *health = rpc_ctx(call);
    return &health->lanes[call->queue - health->server->queues];
}

static void watch_request(rpc_call *call, const ProtobufCMessage *message)
{
    const health_request *request = (const health_request *)message;
    health_watcher *watcher = WM_NEW(rpc_arena(call), health_watcher);

    watcher->call = call;
    watcher->sent = HEALTH_NONE_SENT;
    watcher->is_known = health_is_known(rpc_ctx(call), request->service);
    rpc_set_data(call, watcher);
    DL_APPEND(watch_lane(call)->watchers, watcher);
    watcher_update(watcher);
}

static void watch_writable(rpc_call *call)
{
    watcher_update(rpc_data(call));
}

static void watch_cancelled(rpc_call *call)
{
    health_watcher *watcher = rpc_data(call);

    DL_DELETE(watch_lane(call)->watchers, watcher);
    rpc_finish(call);
}

static void health_changed(lane_msg *msg)
{
    health_lane *lane = wm_container_of(msg, health_lane, changed);
    health_watcher *watcher;

    /* First let go of the message: a change from now on needs another one. */
    atomic_store_explicit(&lane->is_changed_posted, false, memory_order_release);
    DL_FOREACH (lane->watchers, watcher)
        watcher_update(watcher);
}

void rpc_health_set(rpc_health *health, bool serving)
{
    atomic_store_explicit(&health->serving, serving, memory_order_seq_cst);
    for (size_t i = 0; i < health->server->n_queues; i++) {
        health_lane *lane = &health->lanes[i];
        if (!atomic_exchange_explicit(&lane->is_changed_posted, true, memory_order_acq_rel))
            lane_post(health->server->queues[i].lane, &lane->changed);
    }
}

static const wm_method health_methods[] = {
    {.path = "/grpc.health.v1.Health/Check",
     .name = "Check",
     .request = &grpc__health__v1__health_check_request__descriptor,
     .response = &grpc__health__v1__health_check_response__descriptor},
    {.path = "/grpc.health.v1.Health/Watch",
     .name = "Watch",
     .server_streaming = true,
     .request = &grpc__health__v1__health_check_request__descriptor,
     .response = &grpc__health__v1__health_check_response__descriptor},
};

static const wm_service health_service = {
    .name = "grpc.health.v1.Health",
    .methods = health_methods,
    .n_methods = WM_ARRAY_LEN(health_methods),
};

static const rpc_handler health_handlers[] = {
    {.method = &health_methods[0], .flags = RPC_INLINE, .request = check_request},
    {.method = &health_methods[1],
     .request = watch_request,
     .writable = watch_writable,
     .cancelled = watch_cancelled},
};

rpc_health *rpc_health_new(rpc_server *server)
{
    rpc_health *health = calloc(1, sizeof(*health));

    if (health == NULL)
        abort();
    health->server = server;
    health->lanes = calloc(server->n_queues, sizeof(*health->lanes));
    if (health->lanes == NULL)
        abort();
    for (size_t i = 0; i < server->n_queues; i++) {
        health->lanes[i].health = health;
        health->lanes[i].changed.run = health_changed;
    }
    return health;
}

void rpc_health_free(rpc_health *health)
{
    if (health == NULL)
        return;
    free(health->lanes);
    free(health);
}

rpc_service rpc_health_service(rpc_health *health)
{
    return (rpc_service){.service = &health_service, .handlers = health_handlers, .ctx = health};
}
