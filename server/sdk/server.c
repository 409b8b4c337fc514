/* server/sdk/server.c - a server of one's own: start, stop, run.
 *
 * Each waymark_handler gets an rpc_handler whose `typed` is the waymark_handler; the functions
 * below find it there and call it with the call's public name. Members that the user left out stay
 * out, because the runtime looks at which are there.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/sdk/internal.h"
#include "server/signals.h"

enum { THREADS_MAX = 64, GRACE_MS = 10000, SIGNAL_TURN_MS = 60000 };

typedef struct interceptor {
    rpc_interceptor rpc;
    const waymark_server_interceptor *user;
} interceptor;

struct waymark_server {
    rpc_server *rpc;
    lane *lanes[THREADS_MAX];
    size_t n_lanes;
    rpc_service *services;
    size_t n_services;
    interceptor *interceptors;
    rpc_interceptor **chain;
    rpc_listener *listeners;
    uint8_t *files; /* the descriptor sets of all services, one behind the other */
    size_t files_size;
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

/* ---- handlers ---- */

static const waymark_handler *handler_of(rpc_call *call)
{
    return rpc_typed(call);
}

static void on_request(rpc_call *call, const ProtobufCMessage *request)
{
    handler_of(call)->request(sdk_public(call), request);
}

static void on_opened(rpc_call *call)
{
    handler_of(call)->opened(sdk_public(call));
}

static void on_message(rpc_call *call, const ProtobufCMessage *message)
{
    handler_of(call)->message(sdk_public(call), message);
}

static void on_half_closed(rpc_call *call)
{
    handler_of(call)->half_closed(sdk_public(call));
}

static void on_writable(rpc_call *call)
{
    handler_of(call)->writable(sdk_public(call));
}

static void on_cancelled(rpc_call *call)
{
    handler_of(call)->cancelled(sdk_public(call));
}

static void on_ended(rpc_call *call)
{
    handler_of(call)->ended(sdk_public(call));
}

static rpc_handler bind_handler(const waymark_handler *user)
{
    unsigned flags = 0;

    if (user->flags & WAYMARK_INLINE)
        flags |= RPC_INLINE;
    if (user->flags & WAYMARK_MAY_BE_EMPTY)
        flags |= RPC_MAY_BE_EMPTY;
    if (user->flags & WAYMARK_COMPRESS)
        flags |= RPC_COMPRESS;
    return (rpc_handler){
        .method = user->method,
        .flags = flags,
        .request = user->request ? on_request : NULL,
        .opened = user->opened ? on_opened : NULL,
        .message = user->message ? on_message : NULL,
        .half_closed = user->half_closed ? on_half_closed : NULL,
        .writable = user->writable ? on_writable : NULL,
        .cancelled = user->cancelled ? on_cancelled : NULL,
        .ended = user->ended ? on_ended : NULL,
        .typed = user,
    };
}

static void bind_service(rpc_service *made, const waymark_service *user)
{
    size_t n = user->service->n_methods;
    rpc_handler *handlers = must(calloc(n + 1, sizeof(handlers[0])));

    for (size_t i = 0; i < n; i++)
        handlers[i] = bind_handler(&user->handlers[i]);
    *made = (rpc_service){.service = user->service, .handlers = handlers, .ctx = user->ctx};
}

/* Sets put one behind the other are a set; a file that is in two of them does no harm. */
static void add_files(waymark_server *server, const waymark_service *service)
{
    if (service->files_size == 0)
        return;
    server->files = must(realloc(server->files, server->files_size + service->files_size));
    memcpy(server->files + server->files_size, service->files, service->files_size);
    server->files_size += service->files_size;
}

/* ---- interceptors ---- */

static void on_started(rpc_interceptor *self, rpc_call *call)
{
    const waymark_server_interceptor *user = ((const interceptor *)(const void *)self)->user;

    user->started(user->ctx, sdk_public(call));
}

static void on_finished(rpc_interceptor *self, rpc_call *call, wm_code code, int64_t duration_us)
{
    const waymark_server_interceptor *user = ((const interceptor *)(const void *)self)->user;

    user->finished(user->ctx, sdk_public(call), (waymark_code)code, duration_us);
}

static void bind_interceptors(waymark_server *server, const waymark_server_options *options)
{
    size_t n = options->n_interceptors;

    server->interceptors = must(calloc(n + 1, sizeof(server->interceptors[0])));
    server->chain = must(calloc(n + 1, sizeof(server->chain[0])));
    for (size_t i = 0; i < n; i++) {
        const waymark_server_interceptor *user = &options->interceptors[i];

        server->interceptors[i].user = user;
        server->interceptors[i].rpc = (rpc_interceptor){
            .name = "user",
            .started = user->started ? on_started : NULL,
            .finished = user->finished ? on_finished : NULL,
        };
        server->chain[i] = &server->interceptors[i].rpc;
    }
}

/* ---- start and stop ---- */

static void bind_all(waymark_server *server, const waymark_server_options *options)
{
    server->services = must(calloc(options->n_services + 1, sizeof(server->services[0])));
    server->listeners = must(calloc(options->n_listeners + 1, sizeof(server->listeners[0])));
    server->n_services = options->n_services;
    for (size_t i = 0; i < options->n_services; i++) {
        bind_service(&server->services[i], &options->services[i]);
        add_files(server, &options->services[i]);
    }
    for (size_t i = 0; i < options->n_listeners; i++) {
        const waymark_listener *user = &options->listeners[i];

        server->listeners[i] =
            (rpc_listener){user->address, user->cert_file, user->key_file, user->client_ca_file};
    }
    bind_interceptors(server, options);
}

static wm_code start_lanes(waymark_server *server, unsigned threads, wm_err *err)
{
    if (threads > THREADS_MAX)
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "%u threads, at most %d", threads,
                       THREADS_MAX);
    for (unsigned i = 0; i < (threads > 0 ? threads : 1); i++) {
        wm_code code = lane_new(i, &server->lanes[i], err);

        if (code != WM_OK)
            return code;
        server->n_lanes++;
    }
    return WM_OK;
}

static wm_code start_rpc(waymark_server *server, const waymark_server_options *options, wm_err *err)
{
    rpc_config config = {
        .lanes = server->lanes,
        .n_lanes = server->n_lanes,
        .listeners = server->listeners,
        .n_listeners = options->n_listeners,
        .services = server->services,
        .n_services = options->n_services,
        .interceptors = server->chain,
        .n_interceptors = options->n_interceptors,
        .calls_max = options->calls_max,
        .busy_poll_us = options->busy_poll_us,
        .message_size_max = options->message_size_max,
        .memory_max = options->memory_max,
        .error_domain = options->error_domain,
        .descriptor_set = server->files,
        .descriptor_set_size = server->files_size,
    };

    return rpc_server_start(&config, &server->rpc, err);
}

static void server_free(waymark_server *server)
{
    if (server->rpc != NULL)
        rpc_server_free(server->rpc);
    for (size_t i = 0; i < server->n_lanes; i++)
        lane_free(server->lanes[i]);
    for (size_t i = 0; i < server->n_services; i++)
        free((void *)server->services[i].handlers);
    free(server->services);
    free(server->interceptors);
    free(server->chain);
    free(server->listeners);
    free(server->files);
    free(server);
}

waymark_server *waymark_server_start(const waymark_server_options *options,
                                     waymark_problem *problem)
{
    waymark_server *server = must(calloc(1, sizeof(*server)));
    sigset_t all, before;
    wm_err err;
    wm_code code;

    bind_all(server, options);
    /* Threads have the mask of the thread that makes them. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    code = start_lanes(server, options->threads, &err);
    if (code == WM_OK)
        code = start_rpc(server, options, &err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code == WM_OK) {
        rpc_server_set_serving(server->rpc, true);
        return server;
    }
    if (problem != NULL) {
        problem->code = (waymark_code)code;
        snprintf(problem->message, sizeof(problem->message), "%.*s",
                 (int)sizeof(problem->message) - 1, err.message);
    }
    server_free(server);
    return NULL;
}

int waymark_server_port(const waymark_server *server, size_t i)
{
    /* The core says 1 of a unix socket. */
    bool is_unix = strncmp(server->listeners[i].address, "unix:", strlen("unix:")) == 0;

    return is_unix ? 0 : rpc_server_port(server->rpc, i);
}

void waymark_server_set_serving(waymark_server *server, bool serving)
{
    rpc_server_set_serving(server->rpc, serving);
}

void waymark_server_stop(waymark_server *server, uint64_t grace_ms)
{
    if (server == NULL)
        return;
    rpc_server_drain(server->rpc, grace_ms);
    server_free(server);
}

int waymark_server_run(const waymark_server_options *options)
{
    waymark_problem problem;
    waymark_server *server;

    signals_block();
    server = waymark_server_start(options, &problem);
    if (server == NULL) {
        fprintf(stderr, "%s\n", problem.message);
        return 1;
    }
    if (options->started != NULL)
        options->started(server, options->ctx);
    while (!signals_wait(SIGNAL_TURN_MS))
        ;
    signals_release(); /* a second signal ends the process at once */
    waymark_server_stop(server, options->grace_ms > 0 ? options->grace_ms : GRACE_MS);
    return 0;
}
