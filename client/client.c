/* client/client.c - the channel, the threads that run callbacks, and their end. */
#include "include/waymark/client.h"

#include <assert.h>
#include <errno.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "base/clock.h"
#include "client/internal.h"

struct client_method {
    const wm_method *method;
    void *registered;
    UT_hash_handle hh;
};

static waymark_client *problem_set(waymark_problem *problem, waymark_code code, const char *fmt,
                                   ...) WM_PRINTF(3, 4);

/* Returns NULL, which is what the caller returns. */
static waymark_client *problem_set(waymark_problem *problem, waymark_code code, const char *fmt,
                                   ...)
{
    va_list args;

    if (problem != NULL) {
        problem->code = code;
        va_start(args, fmt);
        vsnprintf(problem->message, sizeof(problem->message), fmt, args);
        va_end(args);
    }
    return NULL;
}

/* ---- the queue threads ---- */

/* Ends calls that wait for a token longer than they have time. */
static void tick(waymark_client *client)
{
    gpr_timespec now;

    if (client->credentials == NULL || !credentials_has_waiters(client->credentials))
        return;
    now = gpr_now(GPR_CLOCK_MONOTONIC);
    pthread_mutex_lock(&client->lock);
    for (client_call *call = client->open; call != NULL; call = call->next) {
        if (gpr_time_cmp(call->deadline, now) > 0 ||
            !credentials_forget(client->credentials, &call->waiter))
            continue;
        call->refused_code = WAYMARK_DEADLINE_EXCEEDED;
        call->refused_reason = "TOKEN_AWAITED";
        snprintf(call->refused_message, sizeof(call->refused_message),
                 "no token came before the deadline");
        client_batch(call->call, NULL, 0, &call->refused_event);
    }
    pthread_mutex_unlock(&client->lock);
}

static void *queue_thread(void *arg)
{
    client_thread *self = arg;
    int64_t tick_us = 0, now_us;

    for (;;) {
        grpc_event event = grpc_completion_queue_next(
            self->queue,
            gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                         gpr_time_from_millis(CLIENT_TICK_MS, GPR_TIMESPAN)),
            NULL);

        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE) {
            client_event *client_event = event.tag;

            CLIENT_CAME(client_event);
            client_event->run(client_event, event.success != 0);
        }
        now_us = wm_monotonic_us();
        if (now_us - tick_us >= CLIENT_TICK_MS * INT64_C(1000)) {
            tick_us = now_us;
            tick(self->client);
        }
    }
}

static bool start_threads(waymark_client *client, unsigned n)
{
    client->threads = calloc(n, sizeof(client->threads[0]));
    if (client->threads == NULL)
        return false;
    client->n_threads = n;
    for (unsigned i = 0; i < n; i++) {
        client_thread *thread = &client->threads[i];

        thread->client = client;
        thread->queue = grpc_completion_queue_create_for_next(NULL);
        if (pthread_create(&thread->thread, NULL, queue_thread, thread) != 0) {
            grpc_completion_queue_shutdown(thread->queue);
            while (
                grpc_completion_queue_next(thread->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL)
                    .type != GRPC_QUEUE_SHUTDOWN)
                ;
            grpc_completion_queue_destroy(thread->queue);
            return false;
        }
        client->n_started++;
    }
    return true;
}

static void stop_threads(waymark_client *client)
{
    for (unsigned i = 0; i < client->n_started; i++)
        grpc_completion_queue_shutdown(client->threads[i].queue);
    for (unsigned i = 0; i < client->n_started; i++) {
        pthread_join(client->threads[i].thread, NULL);
        grpc_completion_queue_destroy(client->threads[i].queue);
    }
    free(client->threads);
}

/* ---- the channel ---- */

static char *read_file(const char *path, waymark_problem *problem)
{
    FILE *in = fopen(path, "rb");
    struct stat stat;
    char *text = NULL;

    if (in == NULL || fstat(fileno(in), &stat) != 0 || stat.st_size > 1024 * 1024) {
        problem_set(problem, WAYMARK_INVALID_ARGUMENT, "cannot read %s: %s", path,
                    in == NULL ? strerror(errno) : "too large");
    } else {
        size_t size = (size_t)stat.st_size;

        text = calloc(1, size + 1);
        if (text == NULL || fread(text, 1, size, in) != size) {
            problem_set(problem, WAYMARK_INVALID_ARGUMENT, "cannot read %s", path);
            free(text);
            text = NULL;
        }
    }
    if (in != NULL)
        fclose(in);
    return text;
}

static grpc_channel_credentials *tls_credentials(const waymark_client_options *options,
                                                 waymark_problem *problem)
{
    grpc_channel_credentials *credentials = NULL;
    char *ca = NULL, *cert = NULL, *key = NULL;
    grpc_ssl_pem_key_cert_pair pair;

    if ((options->cert_file == NULL) != (options->key_file == NULL)) {
        problem_set(problem, WAYMARK_INVALID_ARGUMENT, "cert_file and key_file go together");
        return NULL;
    }
    if (options->ca_file != NULL && (ca = read_file(options->ca_file, problem)) == NULL)
        goto out;
    if (options->cert_file != NULL && ((cert = read_file(options->cert_file, problem)) == NULL ||
                                       (key = read_file(options->key_file, problem)) == NULL))
        goto out;
    pair = (grpc_ssl_pem_key_cert_pair){.private_key = key, .cert_chain = cert};
    credentials = grpc_ssl_credentials_create_ex(ca, cert != NULL ? &pair : NULL, NULL, NULL);
    if (credentials == NULL)
        problem_set(problem, WAYMARK_INVALID_ARGUMENT, "the certificates cannot be used");
out:
    free(ca);
    free(cert);
    if (key != NULL)
        memset(key, 0, strlen(key));
    free(key);
    return credentials;
}

static grpc_arg int_arg(const char *key, int value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

static grpc_arg text_arg(const char *key, const char *value)
{
    return (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)key, .value.string = (char *)value};
}

static grpc_channel *make_channel(const waymark_client_options *options, size_t message_size_max,
                                  waymark_problem *problem)
{
    grpc_channel_credentials *credentials =
        options->tls ? tls_credentials(options, problem) : grpc_insecure_credentials_create();
    grpc_channel *channel;
    grpc_arg args[16];
    size_t n = 0;

    if (credentials == NULL)
        return NULL;
    args[n++] = text_arg(GRPC_ARG_PRIMARY_USER_AGENT_STRING, "waymark-c/0.1");
    args[n++] = int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)message_size_max);
    args[n++] = int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    args[n++] = int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
    /* A bomb is inflated before its size is looked at: take no compressed messages. */
    args[n++] = int_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1);
    args[n++] = int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    /* A retry in the core would hide from callers that a write may have happened twice. */
    args[n++] = int_arg(GRPC_ARG_ENABLE_RETRIES, 0);
    args[n++] = int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    /* A peer that went silent under open calls is given up within 40 s. */
    args[n++] = int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, CLIENT_KEEPALIVE_MS);
    args[n++] = int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, CLIENT_KEEPALIVE_TIMEOUT_MS);
    args[n++] = int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    if (options->own_connection)
        args[n++] = int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    if (options->tls && options->tls_name != NULL)
        args[n++] = text_arg(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, options->tls_name);

    channel = grpc_channel_create(options->address, credentials,
                                  &(grpc_channel_args){.num_args = n, .args = args});
    grpc_channel_credentials_release(credentials);
    return channel;
}

void *client_method_register(waymark_client *client, const wm_method *method)
{
    client_method *found;

    pthread_mutex_lock(&client->lock);
    HASH_FIND_PTR(client->methods, &method, found);
    if (found == NULL) {
        found = calloc(1, sizeof(*found));
        if (found == NULL)
            abort();
        found->method = method;
        found->registered = grpc_channel_register_call(client->channel, method->path, NULL, NULL);
        HASH_ADD_PTR(client->methods, method, found);
    }
    pthread_mutex_unlock(&client->lock);
    return found->registered;
}

/* ---- new and free ---- */

void waymark_client_options_from_env(waymark_client_options *options)
{
    const char *token = getenv("WAYMARK_TOKEN"), *token_file = getenv("WAYMARK_TOKEN_FILE");
    const char *address = getenv("WAYMARK_ADDRESS");

    memset(options, 0, sizeof(*options));
    options->address = address != NULL && *address ? address : "127.0.0.1:7654";
    options->ca_file = getenv("WAYMARK_CA_FILE");
    options->tls = options->ca_file != NULL;
    if (token != NULL && *token)
        options->credentials = waymark_credentials_token(token);
    else if (token_file != NULL && *token_file)
        options->credentials = waymark_credentials_file(token_file);
}

static waymark_client *client_new(const waymark_client_options *options, waymark_problem *problem)
{
    unsigned threads = options->threads > 0 ? options->threads : 1;
    waymark_client *client;

    if (options->address == NULL || *options->address == 0)
        return problem_set(problem, WAYMARK_INVALID_ARGUMENT, "the options name no address");
    if (threads > CLIENT_THREADS_MAX || options->message_size_max > INT32_MAX)
        return problem_set(problem, WAYMARK_INVALID_ARGUMENT,
                           "more than %d threads, or a message size above 2 GiB",
                           CLIENT_THREADS_MAX);
    client = calloc(1, sizeof(*client));
    if (client == NULL)
        return problem_set(problem, WAYMARK_RESOURCE_EXHAUSTED, "out of memory");

    grpc_init();
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->idle, NULL);
    client->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : CLIENT_TIMEOUT_MS;
    client->message_size_max =
        options->message_size_max > 0 ? options->message_size_max : WM_WIRE_SIZE_MAX;
    client->credentials = credentials_ref(options->credentials);
    client->channel = make_channel(options, client->message_size_max, problem);
    if (client->channel == NULL) {
        waymark_client_free(client);
        return NULL;
    }
    if (!start_threads(client, threads)) {
        waymark_client_free(client);
        return problem_set(problem, WAYMARK_RESOURCE_EXHAUSTED, "cannot start a thread");
    }
    return client;
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
    client_method *method, *next_method;

    if (client == NULL)
        return;
    assert_not_in_callback(client);

    pthread_mutex_lock(&client->lock);
    client->closing = true;
    for (client_call *call = client->open; call != NULL; call = call->next)
        call->cancel(call);
    while (client->open != NULL)
        pthread_cond_wait(&client->idle, &client->lock);
    pthread_mutex_unlock(&client->lock);

    stop_threads(client);
    if (client->channel != NULL)
        grpc_channel_destroy(client->channel);
    HASH_ITER (hh, client->methods, method, next_method) {
        HASH_DEL(client->methods, method);
        free(method);
    }
    client_calls_free(client);
    waymark_credentials_free(client->credentials);
    pthread_cond_destroy(&client->idle);
    pthread_mutex_destroy(&client->lock);
    free(client);
    grpc_shutdown();
}
