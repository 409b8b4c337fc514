/* server/rpc/server.c - starting, draining and freeing the server.
 *
 * Start order: the core server, its methods, one completion queue and one thread per
 * lane, ports, core start, slots. Stop order: health, streams, core shutdown (GOAWAY,
 * no new calls), grace, cancel, all calls home, queues, core. A start that fails half
 * way goes through the same stop.
 */
#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <grpc/support/log.h>

#include "base/clock.h"
#include "base/codec.h"
#include "base/grpc_security.h"
#include "base/log.h"
#include "base/random.h"
#include "server/rpc/cork.h"
#include "server/rpc/internal.h"

/* ---- the core's own log lines, as ours ---- */

#if GRPC_CORE_HAS_LOG_FUNCTION
static void core_log(gpr_log_func_args *args)
{
    if (args->severity == GPR_LOG_SEVERITY_ERROR)
        wm_log(WM_LOG_WARN, "gRPC core", wm_log_s("text", args->message));
}
#endif

static void core_log_take(void)
{
#if GRPC_CORE_HAS_LOG_FUNCTION
    gpr_set_log_function(core_log);
#endif
}

/* ---- services and methods ---- */

static size_t count_methods(const rpc_server *server)
{
    size_t n = 0;

    for (size_t i = 0; i < server->n_services; i++)
        n += server->services[i].service->n_methods;
    return n;
}

static wm_code services_init(rpc_server *server, const rpc_config *config, wm_err *err)
{
    wm_code rc;

    server->health = rpc_health_new(server);
    rc = rpc_reflection_new(server, config, &server->reflection, err);
    if (rc != WM_OK)
        return rc;
    server->services =
        calloc(config->n_services + 1 + RPC_REFLECTION_SERVICES, sizeof(rpc_service));
    if (server->services == NULL)
        abort();
    for (size_t i = 0; i < config->n_services; i++)
        server->services[server->n_services++] = config->services[i];
    server->services[server->n_services++] = rpc_health_service(server->health);
    for (size_t i = 0; i < RPC_REFLECTION_SERVICES; i++)
        server->services[server->n_services++] = rpc_reflection_service(server->reflection, i);
    return WM_OK;
}

/* A handler table that does not fit its service is a bug of ours. */
static bool handler_fits(const rpc_handler *handler)
{
    const wm_method *method = handler->method;
    bool is_unary = !method->client_streaming && !method->server_streaming;

    if ((handler->flags & RPC_INLINE) && !is_unary)
        return false;
    if ((handler->flags & RPC_MAY_BE_EMPTY) && !method->client_streaming)
        return false;
    /* A method that is not implemented has an opened() that refuses, and no message(). */
    if (method->client_streaming)
        return handler->opened != NULL;
    return handler->request != NULL;
}

static bool compresses(const rpc_config *config, const rpc_handler *handler)
{
    if (handler->flags & RPC_COMPRESS)
        return true;
    for (size_t i = 0; i < config->n_compressed; i++)
        if (rpc_pattern_match(config->compressed[i], handler->method) > 0)
            return true;
    return false;
}

static wm_code bindings_init(rpc_server *server, const rpc_config *config, wm_err *err)
{
    size_t n = count_methods(server);

    server->bindings = calloc(n, sizeof(*server->bindings));
    if (server->bindings == NULL)
        abort();
    for (size_t i = 0; i < server->n_services; i++) {
        const rpc_service *service = &server->services[i];
        for (size_t j = 0; j < service->service->n_methods; j++) {
            rpc_binding *binding = &server->bindings[server->n_bindings++];
            binding->method = &service->service->methods[j];
            binding->handler = &service->handlers[j];
            binding->ctx = service->ctx;
            binding->is_open = service->ctx == server->health || service->ctx == server->reflection;
            binding->uncounted = binding->is_open && (binding->handler->flags & RPC_INLINE);
            binding->compresses = compresses(config, binding->handler);
            if (!handler_fits(binding->handler))
                abort();
            binding->registered = grpc_server_register_method(
                server->core, binding->method->path, NULL,
                binding->method->client_streaming ? GRPC_SRM_PAYLOAD_NONE
                                                  : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
                0);
            if (binding->registered == NULL)
                return wm_fail(err, WM_INTERNAL, "INTERNAL", "method %s is served twice",
                               binding->method->path);
        }
    }
    return WM_OK;
}

/* ---- listeners ---- */

static wm_code port_add(rpc_server *server, const rpc_listener *listener, wm_err *err)
{
    grpc_server_credentials *credentials;
    int port;

    if (listener->cert_file == NULL) {
        credentials = grpc_insecure_server_credentials_create();
    } else {
        wm_code rc = rpc_tls_new(server, listener, &credentials, err);
        if (rc != WM_OK)
            return rc;
    }
    port = grpc_server_add_http2_port(server->core, listener->address, credentials);
    grpc_server_credentials_release(credentials);
    if (port == 0)
        return wm_fail(err, WM_UNAVAILABLE, "INTERNAL",
                       "cannot listen on %s: the address is in use or not ours, or the certificate "
                       "does not fit its key",
                       listener->address);
    server->ports[server->n_ports++] = port;
    return WM_OK;
}

/* ---- lanes ---- */

static void trim_run(lane_job *job)
{
    (void)job;
    malloc_trim(0);
}

static void trim_done(lane_job *job)
{
    rpc_queue *queue = wm_container_of(job, rpc_queue, trim_job);

    queue->is_trimming = false;
    if (queue->is_timer_closed)
        uv_sem_post(&queue->timer_closed);
}

static void trim_start(rpc_queue *queue)
{
    if (queue->is_trimming)
        return;
    queue->is_trimming = true;
    queue->trim_job.run = trim_run;
    queue->trim_job.done = trim_done;
    lane_work(queue->lane, &queue->trim_job);
}

/* The core takes over 10 KB for each call. When thousands of streams have gone, the allocator
 * keeps all of it, in pieces; it is told to give it back. */
static void queue_trim(rpc_queue *queue)
{
    size_t calls = atomic_load_explicit(&queue->calls, memory_order_relaxed);
    size_t peak = atomic_load_explicit(&queue->calls_peak, memory_order_relaxed);

    if (peak >= RPC_TRIM_CALLS && calls < peak / 4) {
        atomic_store_explicit(&queue->calls_peak, calls, memory_order_relaxed);
        queue->trim_ticks = 1;
    }
    if (queue->trim_ticks == 0)
        return;
    queue->trim_ticks++;
    if (queue->trim_ticks == RPC_TRIM_FIRST_MS / RPC_CHECK_MS)
        trim_start(queue);
    if (queue->trim_ticks >= RPC_TRIM_LAST_MS / RPC_CHECK_MS) {
        trim_start(queue);
        queue->trim_ticks = 0;
    }
}

static void queue_check(uv_timer_t *timer)
{
    rpc_queue *queue = timer->data;

    rpc_streams_check(queue);
    rpc_places_check(queue);
    queue_trim(queue);
}

static void queue_start_timer(void *ctx)
{
    rpc_queue *queue = ctx;

    uv_timer_init(lane_loop(queue->lane), &queue->check_timer);
    queue->check_timer.data = queue;
    uv_timer_start(&queue->check_timer, queue_check, RPC_CHECK_MS, RPC_CHECK_MS);
    rpc_cork_promise(RPC_CORK_LOOP_MIN, RPC_CORK_LOOP_MAX);
    lane_at_turn_end(queue->lane, rpc_cork_release);
}

static wm_code queue_start(rpc_queue *queue, wm_err *err)
{
    queue->core = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(queue->server->core, queue->core, NULL);
    if (uv_thread_create(&queue->thread, rpc_queue_main, queue) != 0)
        return wm_fail(err, WM_EXHAUSTED, "INTERNAL", "cannot start a queue thread");
    lane_call(queue->lane, queue_start_timer, queue);
    queue->started = true;
    return WM_OK;
}

static void queue_timer_closed(uv_handle_t *handle)
{
    rpc_queue *queue = handle->data;

    queue->is_timer_closed = true;
    if (!queue->is_trimming)
        uv_sem_post(&queue->timer_closed);
}

static void queue_stop_timer(void *ctx)
{
    rpc_queue *queue = ctx;
    uv_close((uv_handle_t *)&queue->check_timer, queue_timer_closed);
}

static void queue_stop(rpc_queue *queue)
{
    if (queue->started) {
        if (uv_sem_init(&queue->timer_closed, 0) != 0)
            abort();
        lane_call(queue->lane, queue_stop_timer, queue);
        uv_sem_wait(&queue->timer_closed);
        uv_sem_destroy(&queue->timer_closed);
        grpc_completion_queue_shutdown(queue->core);
        uv_thread_join(&queue->thread);
    } else if (queue->core != NULL) {
        grpc_completion_queue_shutdown(queue->core);
    }
    rpc_call_free_all(queue);
    rpc_slots_free(queue);
    uv_mutex_destroy(&queue->all_mutex);
    rpc_places_free(queue);
}

/* ---- start ---- */

static void limits_init(rpc_server *server, const rpc_config *config)
{
    server->slots_per_method =
        config->slots_per_method ? config->slots_per_method : RPC_SLOTS_DEFAULT;
    server->calls_max = config->calls_max ? config->calls_max : RPC_CALLS_MAX_DEFAULT;
    server->message_size_max =
        config->message_size_max ? config->message_size_max : WM_WIRE_SIZE_MAX;
    snprintf(server->error_domain, sizeof(server->error_domain), "%s",
             config->error_domain ? config->error_domain : "waymark");
    if (server->message_size_max > INT32_MAX / 2)
        server->message_size_max = INT32_MAX / 2;
    /* 24 random bits tell the calls of two processes apart in one log; then the lane and a counter.
     */
    server->id_prefix = wm_random_below(1u << 24) << 40;
    server->trace_seed = 1 + wm_random_below(INT64_MAX);
    server->stop_wait_ms = config->stop_wait_ms ? config->stop_wait_ms : RPC_STOP_WAIT_MS;
}

static int64_t busy_poll_us(const rpc_config *config)
{
    if (config->busy_poll_us < 0)
        return 0;
    if (config->busy_poll_us == 0)
        return RPC_BUSY_POLL_US_DEFAULT;
    return config->busy_poll_us < RPC_BUSY_POLL_US_MAX ? config->busy_poll_us
                                                       : RPC_BUSY_POLL_US_MAX;
}

static rpc_server *server_alloc(const rpc_config *config)
{
    rpc_server *server = calloc(1, sizeof(*server));

    if (server == NULL)
        abort();
    server->n_queues = config->n_lanes;
    server->queues = calloc(config->n_lanes, sizeof(*server->queues));
    server->interceptors = calloc(config->n_interceptors + 1, sizeof(*server->interceptors));
    server->ports = calloc(config->n_listeners + 1, sizeof(*server->ports));
    if (server->queues == NULL || server->interceptors == NULL || server->ports == NULL)
        abort();
    if (uv_mutex_init(&server->mutex) != 0 || uv_cond_init(&server->changed) != 0)
        abort();
    for (size_t i = 0; i < config->n_interceptors; i++)
        server->interceptors[server->n_interceptors++] = config->interceptors[i];
    limits_init(server, config);
    for (size_t i = 0; i < config->n_lanes; i++) {
        server->queues[i].server = server;
        server->queues[i].lane = config->lanes[i];
        server->queues[i].next_id = (uint64_t)lane_index(config->lanes[i]) << 32;
        if (uv_mutex_init(&server->queues[i].all_mutex) != 0)
            abort();
        rpc_places_init(&server->queues[i], config);
        rpc_busy_poll_init(&server->queues[i].busy_poll, busy_poll_us(config));
    }
    return server;
}

static wm_code server_start(rpc_server *server, const rpc_config *config, wm_err *err)
{
    wm_code rc = services_init(server, config, err);

    if (rc == WM_OK)
        rc = bindings_init(server, config, err);
    for (size_t i = 0; i < server->n_queues && rc == WM_OK; i++)
        rc = queue_start(&server->queues[i], err);
    if (rc == WM_OK)
        rc = rpc_limits_new(server, config, err);
    for (size_t i = 0; i < config->n_listeners && rc == WM_OK; i++)
        rc = port_add(server, &config->listeners[i], err);
    if (rc != WM_OK)
        return rc;
    grpc_server_start(server->core);
    for (size_t i = 0; i < server->n_queues && rc == WM_OK; i++)
        rc = rpc_slots_start(&server->queues[i], err);
    return rc;
}

wm_code rpc_server_start(const rpc_config *config, rpc_server **made, wm_err *err)
{
    rpc_server *server;
    wm_code rc;

    assert(config->n_lanes > 0);
    core_log_take();
    rpc_deadlock_check_off();
    grpc_init();
    server = server_alloc(config);
    rpc_core_create(server, config);
    rpc_adoption_init(server);
    rc = server_start(server, config, err);
    if (rc != WM_OK) {
        rpc_server_free(server);
        return rc;
    }
    *made = server;
    return WM_OK;
}

int rpc_server_port(const rpc_server *server, size_t i)
{
    assert(i < server->n_ports);
    return server->ports[i];
}

void rpc_server_set_serving(rpc_server *server, bool serving)
{
    rpc_health_set(server->health, serving);
}

bool rpc_server_is_serving(const rpc_server *server)
{
    return rpc_health_get(server->health);
}

/* ---- stop ---- */

void rpc_server_changed(rpc_server *server)
{
    uv_mutex_lock(&server->mutex);
    uv_cond_broadcast(&server->changed);
    uv_mutex_unlock(&server->mutex);
}

static void core_stopped(rpc_event *event, bool ok)
{
    rpc_server *server = wm_container_of(event, rpc_server, core_stopped);

    (void)ok;
    uv_mutex_lock(&server->mutex);
    server->is_core_stopped = true;
    uv_cond_broadcast(&server->changed);
    uv_mutex_unlock(&server->mutex);
}

static size_t server_calls(const rpc_server *server)
{
    size_t n = 0;

    for (size_t i = 0; i < server->n_queues; i++)
        n += atomic_load_explicit(&server->queues[i].calls, memory_order_acquire);
    return n;
}

/* Have all slots come back from a core that has stopped? Until then a call that it handed out
 * before may be on its way in a queue, known to nobody. */
static bool slots_rest(const rpc_server *server)
{
    for (size_t i = 0; i < server->n_queues; i++)
        if (atomic_load_explicit(&server->queues[i].slots_armed, memory_order_acquire) > 0)
            return false;
    return true;
}

/* True when all calls are home, and, where that is wanted, the core has stopped. */
static bool server_wait(rpc_server *server, uint64_t wait_ms, bool for_core)
{
    int64_t until_us = wm_monotonic_us() + (int64_t)wait_ms * 1000;
    bool is_done;

    uv_mutex_lock(&server->mutex);
    for (;;) {
        int64_t left_us = until_us - wm_monotonic_us();
        /* In this order: a slot that rests has handed over its last call. */
        is_done = (!for_core || (server->is_core_stopped && slots_rest(server))) &&
                  server_calls(server) == 0;
        if (is_done || left_us <= 0)
            break;
        uv_cond_timedwait(&server->changed, &server->mutex, (uint64_t)left_us * 1000);
    }
    uv_mutex_unlock(&server->mutex);
    return is_done;
}

static void queue_stop_streams(void *queue)
{
    rpc_streams_stop(queue);
}

void rpc_server_drain(rpc_server *server, uint64_t grace_ms)
{
    if (atomic_exchange_explicit(&server->draining, true, memory_order_acq_rel))
        return;
    if (server->health != NULL)
        rpc_health_set(server->health, false);
    /* Streams never end by themselves: they are told at once, and what is in flight for them
     * may still be answered within the grace. */
    for (size_t i = 0; i < server->n_queues; i++)
        if (server->queues[i].started)
            lane_call(server->queues[i].lane, queue_stop_streams, &server->queues[i]);
    /* From here on new calls are refused by us.  A core that is shutting down would answer them
     * CANCELLED, which tells a client nothing; so it is shut down last, and at once. */
    if (server_wait(server, grace_ms, false) && grace_ms > 0)
        usleep(RPC_LINGER_MS * 1000); /* the last replies are read before their sockets close */
    /* Connections close before the core knows that it stops: what is in flight on them then ends
     * as UNAVAILABLE at the client. */
    grpc_server_cancel_all_calls(server->core);
    if (grace_ms > 0)
        usleep(RPC_CLOSE_MS * 1000);
    server->core_stopped.run = core_stopped;
    atomic_store_explicit(&server->core_stopped.handed, 1, memory_order_release);
    grpc_server_shutdown_and_notify(server->core, server->queues[0].core, &server->core_stopped);
    grpc_server_cancel_all_calls(server->core);
    if (server_wait(server, server->stop_wait_ms, true))
        return;
    for (size_t i = 0; i < server->n_queues; i++)
        rpc_calls_log(&server->queues[i]);
    wm_log(WM_LOG_ERROR, "calls were never ended by their handlers",
           wm_log_i("calls", (int64_t)server_calls(server)));
    abort();
}

void rpc_server_free(rpc_server *server)
{
    if (server == NULL)
        return;
    if (server->queues[0].started)
        rpc_server_drain(server, 0);
    rpc_limits_free(server);
    for (size_t i = 0; i < server->n_queues; i++)
        queue_stop(&server->queues[i]);
    grpc_server_destroy(server->core);
    for (size_t i = 0; i < server->n_queues; i++)
        if (server->queues[i].core != NULL)
            grpc_completion_queue_destroy(server->queues[i].core);
    rpc_tls_free_all(server);
    rpc_adoption_free(server);
    grpc_resource_quota_unref(server->quota);
    rpc_health_free(server->health);
    rpc_reflection_free(server->reflection);
    uv_mutex_destroy(&server->mutex);
    uv_cond_destroy(&server->changed);
    free(server->bindings);
    free(server->services);
    free(server->interceptors);
    free(server->ports);
    free(server->queues);
    free(server);
    rpc_wake_core();
    grpc_shutdown();
}
