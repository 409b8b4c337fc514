/* server/rpc/arguments.c - what the core is told about connections and messages.
 *
 * All numbers of rpc_config that the core itself keeps become channel arguments here, for
 * every connection of the server, also those that are handed over as sockets.
 */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/compression.h>

#include "server/rpc/internal.h"

enum {
    HANDSHAKE_TIMEOUT_MS = 10000,
    KEEPALIVE_MS = 60000,
    KEEPALIVE_TIMEOUT_MS = 20000,
    CLIENT_PING_MS = 10000,
    PING_STRIKES_MAX = 2,
    VALUE_DIGITS_MAX = 9,
    ARGS_MAX = 24
};

/* ---- by name ---- */

static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
    {"keepalive-ms", offsetof(rpc_connection_config, keepalive_ms)},
    {"keepalive-timeout-ms", offsetof(rpc_connection_config, keepalive_timeout_ms)},
    {"client-ping-min-ms", offsetof(rpc_connection_config, client_ping_min_ms)},
    {"ping-strikes-max", offsetof(rpc_connection_config, ping_strikes_max)},
    {"idle-max-ms", offsetof(rpc_connection_config, idle_max_ms)},
    {"age-max-ms", offsetof(rpc_connection_config, age_max_ms)},
    {"age-grace-ms", offsetof(rpc_connection_config, age_grace_ms)},
    {"streams-max", offsetof(rpc_connection_config, streams_max)},
    {"metadata-size-max", offsetof(rpc_connection_config, metadata_size_max)},
};

static uint32_t *number_of(rpc_connection_config *connection, const char *name, size_t len)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(numbers); i++)
        if (strlen(numbers[i].name) == len && memcmp(numbers[i].name, name, len) == 0)
            return (uint32_t *)(void *)((char *)connection + numbers[i].offset);
    return NULL;
}

wm_code rpc_connection_set(rpc_connection_config *connection, const char *text, wm_err *err)
{
    size_t len = strcspn(text, "=");
    uint32_t *number = number_of(connection, text, len);
    const char *value = text + len + (text[len] == '=');
    size_t n_digits = strspn(value, "0123456789");

    if (number == NULL)
        return wm_fail(err, WM_INVALID, "OPTION_INVALID",
                       "\"%.80s\" does not begin with the name of a number of connections", text);
    if (n_digits == 0 || n_digits > VALUE_DIGITS_MAX || value[n_digits] != '\0')
        return wm_fail(err, WM_INVALID, "OPTION_INVALID",
                       "\"%.80s\": the value is not a whole number below a thousand million", text);
    *number = (uint32_t)strtoul(value, NULL, 10);
    return WM_OK;
}

/* ---- to the core ---- */

static void arg_add(grpc_channel_args *args, const char *key, uint32_t value)
{
    grpc_arg *arg = &args->args[args->num_args++];

    assert(args->num_args <= ARGS_MAX);
    arg->type = GRPC_ARG_INTEGER;
    arg->key = (char *)key;
    arg->value.integer = value > INT_MAX ? INT_MAX : (int)value;
}

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value != 0 ? value : standard;
}

static uint32_t streams_max(const rpc_server *server, const rpc_connection_config *connection)
{
    /* Some more than we answer, so that the refusal can be ours and carry a reason. */
    size_t standard = server->calls_max < RPC_STREAMS_MAX_DEFAULT ? server->calls_max + 64
                                                                  : RPC_STREAMS_MAX_DEFAULT;

    return or_default(connection->streams_max, (uint32_t)standard);
}

static void args_of_connection(grpc_channel_args *args, const rpc_server *server,
                               const rpc_connection_config *connection)
{
    arg_add(args, GRPC_ARG_MAX_CONCURRENT_STREAMS, streams_max(server, connection));
    arg_add(args, GRPC_ARG_MAX_METADATA_SIZE,
            or_default(connection->metadata_size_max, RPC_METADATA_SIZE_MAX_DEFAULT));
    arg_add(args, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS);
    arg_add(args, GRPC_ARG_KEEPALIVE_TIME_MS, or_default(connection->keepalive_ms, KEEPALIVE_MS));
    arg_add(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
            or_default(connection->keepalive_timeout_ms, KEEPALIVE_TIMEOUT_MS));
    arg_add(args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    /* A watch may be silent for hours, and its client is looked after all the same. */
    arg_add(args, GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    arg_add(args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
            or_default(connection->client_ping_min_ms, CLIENT_PING_MS));
    arg_add(args, GRPC_ARG_HTTP2_MAX_PING_STRIKES,
            or_default(connection->ping_strikes_max, PING_STRIKES_MAX));
    if (connection->idle_max_ms != 0)
        arg_add(args, GRPC_ARG_MAX_CONNECTION_IDLE_MS, connection->idle_max_ms);
    if (connection->age_max_ms != 0)
        arg_add(args, GRPC_ARG_MAX_CONNECTION_AGE_MS, connection->age_max_ms);
    if (connection->age_max_ms != 0 && connection->age_grace_ms != 0)
        arg_add(args, GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, connection->age_grace_ms);
}

void rpc_core_create(rpc_server *server, const rpc_config *config)
{
    grpc_arg list[ARGS_MAX + 1];
    grpc_channel_args args = {0, list};

    server->quota = grpc_resource_quota_create("waymark");
    grpc_resource_quota_resize(server->quota,
                               config->memory_max ? config->memory_max : RPC_MEMORY_MAX_DEFAULT);

    /* Two servers on one port would steal each other's connections silently. */
    arg_add(&args, GRPC_ARG_ALLOW_REUSEPORT, 0);
    /* A compressed bomb is inflated before its size is looked at: take none. What we send is
     * compressed all the same where a method says so. */
    if (!config->takes_compressed)
        arg_add(&args, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
                1u << GRPC_COMPRESS_NONE);
    /* Up to twice our limit the message reaches us, and the refusal can name its reason. */
    arg_add(&args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (uint32_t)(server->message_size_max * 2));
    args_of_connection(&args, server, &config->connection);
    /* Costs work in every call and nobody reads it. */
    arg_add(&args, GRPC_ARG_ENABLE_CHANNELZ, 0);
    list[args.num_args].type = GRPC_ARG_POINTER;
    list[args.num_args].key = GRPC_ARG_RESOURCE_QUOTA;
    list[args.num_args].value.pointer.p = server->quota;
    list[args.num_args].value.pointer.vtable = grpc_resource_quota_arg_vtable();
    args.num_args++;
    server->core = grpc_server_create(&args, NULL);
}
