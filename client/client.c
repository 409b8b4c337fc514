/* client/client.c - a client: the threads that run callbacks, and the end of them. */
#include "include/waymark/client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/clock.h"
#include "client/internal.h"

struct client_method {
    const wm_method *method;
    void *registered;
    UT_hash_handle hh;
};

/* ---- the queue threads ---- */

void client_post(waymark_client *client, unsigned thread, client_event *event)
{
    client_batch(client->threads[thread].poster, NULL, 0, event);
}

static void bell_rang(client_event *event, bool ok)
{
    (void)ok;
    client_state_look(wm_container_of(event, waymark_client, bell));
}

static gpr_timespec until(int64_t due_us)
{
    if (due_us == INT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_micros(due_us - wm_monotonic_us(), GPR_TIMESPAN));
}

static void *queue_thread(void *arg)
{
    client_thread *self = arg;
    waymark_client *client = self->client;
    bool keeps_time = self == &client->threads[0];

    for (;;) {
        int64_t due_us = keeps_time ? client_park_next_us(client) : INT64_MAX;
        grpc_event event = grpc_completion_queue_next(self->queue, until(due_us), NULL);

        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE) {
            client_event *client_event = event.tag;

            CLIENT_CAME(client_event);
            client_event->run(client_event, event.success != 0);
        }
        if (keeps_time && client_park_next_us(client) != INT64_MAX)
            client_park_look(client);
    }
}

static void queue_free(grpc_completion_queue *queue)
{
    grpc_completion_queue_shutdown(queue);
    while (grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(queue);
}

static bool start_thread(waymark_client *client, client_thread *thread)
{
    thread->client = client;
    thread->queue = grpc_completion_queue_create_for_next(NULL);
    thread->poster =
        grpc_channel_create_call(client->channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                 thread->queue, grpc_slice_from_static_string("/waymark/Poster"),
                                 NULL, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    if (pthread_create(&thread->thread, NULL, queue_thread, thread) == 0)
        return true;
    grpc_call_unref(thread->poster);
    queue_free(thread->queue);
    return false;
}

static bool start_threads(waymark_client *client, unsigned n)
{
    client->threads = calloc(n, sizeof(client->threads[0]));
    if (client->threads == NULL)
        return false;
    client->n_threads = n;
    for (; client->n_started < n; client->n_started++)
        if (!start_thread(client, &client->threads[client->n_started]))
            return false;
    return true;
}

/* What was posted still runs. The posters go before the channel, of which they hold a part, and
 * the channel goes before the threads: that ends a watch of its state, whose event they take. */
static void stop_threads(waymark_client *client)
{
    for (unsigned i = 0; i < client->n_started; i++)
        grpc_call_unref(client->threads[i].poster);
    client_channel_unref(client->channel);
    for (unsigned i = 0; i < client->n_started; i++)
        grpc_completion_queue_shutdown(client->threads[i].queue);
    for (unsigned i = 0; i < client->n_started; i++) {
        pthread_join(client->threads[i].thread, NULL);
        grpc_completion_queue_destroy(client->threads[i].queue);
    }
    free(client->threads);
}

/* ---- methods ---- */

void *client_method_register(waymark_client *client, const wm_method *method)
{
    client_method *found;

    HASH_FIND_PTR(client->methods, &method, found);
    if (found == NULL) {
        found = calloc(1, sizeof(*found));
        if (found == NULL)
            abort();
        found->method = method;
        found->registered =
            grpc_channel_register_call(client->channel->channel, method->path, NULL, NULL);
        HASH_ADD_PTR(client->methods, method, found);
    }
    return found->registered;
}

static void methods_free(waymark_client *client)
{
    client_method *method, *next;

    HASH_ITER (hh, client->methods, method, next) {
        HASH_DEL(client->methods, method);
        free(method);
    }
}

/* ---- new and free ---- */

void waymark_client_options_from_env(waymark_client_options *options)
{
    const char *token = getenv("WAYMARK_TOKEN"), *token_file = getenv("WAYMARK_TOKEN_FILE");
    const char *address = getenv("WAYMARK_ADDRESS"), *plaintext = getenv("WAYMARK_PLAINTEXT_TOKEN");

    memset(options, 0, sizeof(*options));
    options->address = address != NULL && *address ? address : "127.0.0.1:7654";
    options->ca_file = getenv("WAYMARK_CA_FILE");
    options->tls = options->ca_file != NULL;
    options->allow_plaintext_token = plaintext != NULL && strcmp(plaintext, "1") == 0;
    if (token != NULL && *token)
        options->credentials = waymark_credentials_token(token);
    else if (token_file != NULL && *token_file)
        options->credentials = waymark_credentials_file(token_file);
}

/* Options of a channel, in a client that uses another's. */
static bool names_channel_options(const waymark_client_options *options)
{
    return options->address != NULL || options->tls || options->ca_file != NULL ||
           options->cert_file != NULL || options->key_file != NULL || options->tls_name != NULL ||
           options->own_connection || options->service_config != NULL ||
           options->load_balancing != NULL || options->keepalive_ms != 0 ||
           options->keepalive_timeout_ms != 0 || options->keepalive_without_calls ||
           options->reconnect_max_ms != 0 || options->compression || options->user_agent != NULL ||
           options->message_size_max != 0 || options->send_size_max != 0 ||
           options->allow_plaintext_token;
}

static client_channel *take_channel(const waymark_client_options *options, waymark_problem *problem)
{
    if (options->share == NULL)
        return client_channel_new(options, problem);
    if (names_channel_options(options)) {
        client_problem(problem, WAYMARK_INVALID_ARGUMENT,
                       "a client that shares has no address and no options of a connection");
        return NULL;
    }
    return client_channel_ref(options->share->channel);
}

/* A program that was built for a later library may set what this one does not know. */
static bool knows_all(const waymark_client_options *options)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(options->reserved); i++)
        if (options->reserved[i] != NULL)
            return false;
    return true;
}

/* The options that are not the channel's. */
static bool take_options(waymark_client *client, const waymark_client_options *options,
                         waymark_problem *problem)
{
    if (!knows_all(options)) {
        client_problem(
            problem, WAYMARK_INVALID_ARGUMENT,
            "the reserved room of the options is not zero: not initialised, or of a later "
            "libwaymark");
        return false;
    }
    if (options->threads > CLIENT_THREADS_MAX ||
        options->n_interceptors > CLIENT_INTERCEPTORS_MAX) {
        client_problem(problem, WAYMARK_INVALID_ARGUMENT, "more than %d threads or %d interceptors",
                       CLIENT_THREADS_MAX, CLIENT_INTERCEPTORS_MAX);
        return false;
    }
    if (!retry_policy_make(&options->retry, options->service_config != NULL, &client->retry)) {
        client_problem(problem, WAYMARK_INVALID_ARGUMENT, "a value of retry is out of its range");
        return false;
    }
    client->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : CLIENT_TIMEOUT_MS;
    client->wait_for_ready = options->wait_for_ready;
    client->credentials = credentials_ref(options->credentials);
    client->n_interceptors = options->n_interceptors;
    if (options->n_interceptors > 0) {
        client->interceptors = calloc(options->n_interceptors, sizeof(client->interceptors[0]));
        if (client->interceptors == NULL)
            abort();
        memcpy(client->interceptors, options->interceptors,
               options->n_interceptors * sizeof(client->interceptors[0]));
    }
    return true;
}

static waymark_client *client_alloc(void)
{
    waymark_client *client = calloc(1, sizeof(*client));

    if (client == NULL)
        abort();
    client->born = atomic_load(&client_forks);
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->idle, NULL);
    pthread_cond_init(&client->told, NULL);
    retry_budget_init(&client->retry_budget);
    atomic_init(&client->parked_next_us, INT64_MAX);
    client->bell.run = bell_rang;
    client->state_event.run = client_state_changed;
    return client;
}

static waymark_client *client_new(const waymark_client_options *options, waymark_problem *problem)
{
    waymark_client *client;

    if (!client_core_use()) {
        client_problem(problem, WAYMARK_FAILED_PRECONDITION,
                       "CLIENT_FORKED: this process was forked while its parent used the SDK");
        return NULL;
    }
    client = client_alloc();
    if (!take_options(client, options, problem))
        goto failed;
    client->channel = take_channel(options, problem);
    if (client->channel == NULL)
        goto failed;
    if (client->credentials != NULL && !client->channel->may_send_token) {
        client_problem(problem, WAYMARK_INVALID_ARGUMENT,
                       "without TLS tokens go to this machine only, and %s may be another "
                       "(allow_plaintext_token sends them all the same)",
                       options->address != NULL ? options->address : "the shared address");
        goto failed;
    }
    if (!start_threads(client, options->threads > 0 ? options->threads : 1)) {
        client_problem(problem, WAYMARK_RESOURCE_EXHAUSTED, "cannot start a thread");
        goto failed;
    }
    return client;
failed:
    waymark_client_free(client);
    return NULL;
}

waymark_client *waymark_client_new(const waymark_client_options *options, waymark_problem *problem)
{
    waymark_client_options from_env;
    waymark_client *client;

    if (options != NULL)
        return client_new(options, problem);
    waymark_client_options_from_env(&from_env);
    client = client_new(&from_env, problem);
    waymark_credentials_free(from_env.credentials);
    return client;
}

static void assert_not_in_callback(const waymark_client *client)
{
    for (unsigned i = 0; i < client->n_started; i++)
        assert(!pthread_equal(client->threads[i].thread, pthread_self()) &&
               "waymark_client_free() in a callback would wait for itself");
}

void waymark_client_free(waymark_client *client)
{
    if (client == NULL || CLIENT_IS_STALE(client->born))
        return;
    assert_not_in_callback(client);

    client_watches_free(client);
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    for (client_call *call = client->open; call != NULL; call = call->next)
        client_call_cancel_locked(call);
    while (client->open != NULL)
        pthread_cond_wait(&client->idle, &client->lock);
    pthread_mutex_unlock(&client->lock);

    stop_threads(client);
    methods_free(client);
    client_calls_free(client);
    waymark_credentials_free(client->credentials);
    free(client->interceptors);
    free(client->parked);
    pthread_cond_destroy(&client->told);
    pthread_cond_destroy(&client->idle);
    pthread_mutex_destroy(&client->lock);
    free(client);
    grpc_shutdown();
}
