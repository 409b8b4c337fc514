/* client/channel.c - the gRPC channel of a client, from its options.
 *
 * What the core would find out later, at the first call, is looked at here where it can be: with a
 * service config that it cannot use it makes a channel on which every call fails.
 */
#include <errno.h>
#include <grpc/compression.h>
#include <grpc/support/alloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/grpc_security.h"
#include "client/internal.h"
#include "client/target.h"

void client_problem(waymark_problem *problem, waymark_code code, const char *fmt, ...)
{
    va_list args;

    if (problem == NULL)
        return;
    problem->code = code;
    va_start(args, fmt);
    vsnprintf(problem->message, sizeof(problem->message), fmt, args);
    va_end(args);
}

/* ---- TLS ---- */

static char *read_file(const char *path, waymark_problem *problem)
{
    FILE *in = fopen(path, "rb");
    struct stat stat;
    char *text = NULL;

    if (in == NULL || fstat(fileno(in), &stat) != 0 || stat.st_size > 1024 * 1024) {
        client_problem(problem, WAYMARK_INVALID_ARGUMENT, "cannot read %s: %s", path,
                       in == NULL ? strerror(errno) : "too large");
    } else {
        size_t size = (size_t)stat.st_size;

        text = calloc(1, size + 1);
        if (text == NULL || fread(text, 1, size, in) != size) {
            client_problem(problem, WAYMARK_INVALID_ARGUMENT, "cannot read %s", path);
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
        client_problem(problem, WAYMARK_INVALID_ARGUMENT, "cert_file and key_file go together");
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
        client_problem(problem, WAYMARK_INVALID_ARGUMENT, "the certificates cannot be used");
out:
    free(ca);
    free(cert);
    if (key != NULL)
        memset(key, 0, strlen(key));
    free(key);
    return credentials;
}

/* ---- options ---- */

static bool is_printable(const char *text)
{
    for (; *text != 0; text++)
        if (*text < ' ' || *text > '~')
            return false;
    return true;
}

static bool in_range(int64_t value, int64_t least, int64_t most)
{
    return value == 0 || (value >= least && value <= most);
}

/* What is wrong with the options of a channel, or NULL. */
static const char *what_is_wrong(const waymark_client_options *options)
{
    const char *lb = options->load_balancing;

    if (options->address == NULL || *options->address == 0)
        return "the options name no address";
    if (options->message_size_max > INT32_MAX || options->send_size_max > INT32_MAX)
        return "a message size is above 2 GiB";
    if (options->user_agent != NULL &&
        (strlen(options->user_agent) > CLIENT_USER_AGENT_MAX || !is_printable(options->user_agent)))
        return "user_agent is longer than 256 bytes or not printable ASCII";
    if (lb != NULL && strcmp(lb, "pick_first") != 0 && strcmp(lb, "round_robin") != 0)
        return "load_balancing is neither pick_first nor round_robin";
    if (options->keepalive_ms > 0 && options->keepalive_ms < CLIENT_KEEPALIVE_MIN_MS)
        return "keepalive_ms is below 1,000";
    if (options->keepalive_ms > INT32_MAX || !in_range(options->keepalive_timeout_ms, 1, INT32_MAX))
        return "a keepalive time is out of range";
    if (!in_range(options->reconnect_max_ms, 100, 3600000))
        return "reconnect_max_ms is not from 100 to 3,600,000";
    return NULL;
}

static grpc_arg int_arg(const char *key, int64_t value)
{
    return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = (int)value};
}

static grpc_arg text_arg(const char *key, const char *value)
{
    return (grpc_arg){.type = GRPC_ARG_STRING, .key = (char *)key, .value.string = (char *)value};
}

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static size_t connection_args(const waymark_client_options *options, grpc_arg *args)
{
    size_t n = 0;
    int64_t keepalive_ms = or_default(options->keepalive_ms, CLIENT_KEEPALIVE_MS);

    args[n++] = int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, CLIENT_RECONNECT_MS);
    args[n++] = int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                        or_default(options->reconnect_max_ms, CLIENT_RECONNECT_MAX_MS));
    args[n++] = int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    /* A peer that went silent under open calls is given up within 40 s. */
    args[n++] = int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive_ms > 0 ? keepalive_ms : INT32_MAX);
    args[n++] = int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                        or_default(options->keepalive_timeout_ms, CLIENT_KEEPALIVE_TIMEOUT_MS));
    args[n++] =
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, options->keepalive_without_calls ? 1 : 0);
    args[n++] = int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    if (options->own_connection)
        args[n++] = int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    if (options->tls && options->tls_name != NULL)
        args[n++] = text_arg(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, options->tls_name);
    return n;
}

static size_t call_args(const waymark_client_options *options, const char *user_agent,
                        grpc_arg *args)
{
    size_t n = 0;
    size_t receive_max =
        options->message_size_max > 0 ? options->message_size_max : WM_WIRE_SIZE_MAX;

    args[n++] = text_arg(GRPC_ARG_PRIMARY_USER_AGENT_STRING, user_agent);
    args[n++] = int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int64_t)receive_max);
    if (options->send_size_max > 0)
        args[n++] = int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, (int64_t)options->send_size_max);
    /* A bomb is inflated before its size is looked at: take no compressed messages. */
    if (!options->compression)
        args[n++] =
            int_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
    args[n++] = int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    /* Without a policy of the user's a retry in the core would hide from callers that a write
     * may have happened twice; and it costs. */
    args[n++] = int_arg(GRPC_ARG_ENABLE_RETRIES, options->service_config != NULL ? 1 : 0);
    if (options->service_config != NULL)
        args[n++] = text_arg(GRPC_ARG_SERVICE_CONFIG, options->service_config);
    if (options->load_balancing != NULL)
        args[n++] = text_arg(GRPC_ARG_LB_POLICY_NAME, options->load_balancing);
    return n;
}

/* A fresh channel is idle; one that the core could not make has failed already. Why, the core tells
 * its log alone. */
static bool is_lame(grpc_channel *channel)
{
    return grpc_channel_check_connectivity_state(channel, 0) == GRPC_CHANNEL_TRANSIENT_FAILURE;
}

/* ---- new and free ---- */

client_channel *client_channel_new(const waymark_client_options *options, waymark_problem *problem)
{
    const char *wrong = what_is_wrong(options);
    client_channel *channel;
    grpc_channel_credentials *credentials;
    char user_agent[CLIENT_USER_AGENT_MAX + 32];
    grpc_arg args[32];
    size_t n;

    if (wrong != NULL) {
        client_problem(problem, WAYMARK_INVALID_ARGUMENT, "%s", wrong);
        return NULL;
    }
    credentials =
        options->tls ? tls_credentials(options, problem) : grpc_insecure_credentials_create();
    if (credentials == NULL)
        return NULL;
    channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        abort();
    atomic_init(&channel->refs, 1);
    channel->compression = options->compression;
    channel->may_send_token =
        options->tls || options->allow_plaintext_token || client_target_is_local(options->address);

    snprintf(user_agent, sizeof(user_agent), "%s%swaymark-c/0.1",
             options->user_agent != NULL ? options->user_agent : "",
             options->user_agent != NULL && *options->user_agent != 0 ? " " : "");
    n = connection_args(options, args);
    n += call_args(options, user_agent, args + n);
    channel->channel = grpc_channel_create(options->address, credentials,
                                           &(grpc_channel_args){.num_args = n, .args = args});
    grpc_channel_credentials_release(credentials);
    if (is_lame(channel->channel)) {
        client_problem(problem, WAYMARK_INVALID_ARGUMENT,
                       "the gRPC core cannot use the %s; its log, on standard error, says why",
                       options->service_config != NULL ? "service_config" : "address");
        client_channel_unref(channel);
        return NULL;
    }
    return channel;
}

client_channel *client_channel_ref(client_channel *channel)
{
    atomic_fetch_add_explicit(&channel->refs, 1, memory_order_relaxed);
    return channel;
}

void client_channel_unref(client_channel *channel)
{
    if (channel == NULL || atomic_fetch_sub_explicit(&channel->refs, 1, memory_order_acq_rel) != 1)
        return;
    grpc_channel_destroy(channel->channel);
    free(channel);
}
