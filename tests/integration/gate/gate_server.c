/* tests/integration/gate/gate_server.c - a server behind the gate, for gate_test.py.
 *
 * One service, waymark.test.Gate, of well-known messages. It prints one JSON line with its port and
 * stops on SIGTERM, then prints another.
 *
 *   gate_server [--tls CERT KEY] [--mtls CERT KEY CA] [--core] [--threads N] [--shared]
 *               [--limit NAME=VALUE]... [--proxy CIDR]... [--files N] [--grace MS]
 *
 * --core serves without the gate, --shared has the gate on the lane's loop, --files sets the limit
 * of open files.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/buf.h"
#include "base/log.h"
#include "google/protobuf/wrappers.pb-c.h"
#include "server/gate/gate.h"

enum { REPLY_SIZE_MAX = 1 << 20 };

typedef Google__Protobuf__StringValue string_value;

static _Atomic(gate *) the_gate; /* the first calls may come before gate_start() has returned */
static atomic_uint held_calls, cancelled;

static const char *text_of(const ProtobufCMessage *message)
{
    return ((const string_value *)message)->value;
}

static void reply_text(rpc_call *call, const char *text)
{
    string_value value;

    google__protobuf__string_value__init(&value);
    value.value = (char *)text;
    rpc_reply(call, &value.base);
}

/* ---- Peer: who calls ---- */

static void add_texts(wm_buf *json, const char *name, char *const *texts, size_t n)
{
    wm_buf_printf(json, ", \"%s\": [", name);
    for (size_t i = 0; i < n; i++)
        wm_buf_printf(json, "%s\"%s\"", i > 0 ? ", " : "", texts[i]);
    wm_buf_text(json, "]");
}

static void peer_request(rpc_call *call, const ProtobufCMessage *request)
{
    const rpc_identity *identity = rpc_peer_identity(call);
    wm_buf json;

    (void)request;
    wm_buf_init(&json, REPLY_SIZE_MAX);
    wm_buf_printf(&json, "{\"peer\": \"%s\"", rpc_peer(call));
    if (identity != NULL) {
        wm_buf_printf(&json, ", \"cn\": \"%s\"", identity->common_name);
        add_texts(&json, "dns", identity->dns, identity->n_dns);
        add_texts(&json, "uris", identity->uris, identity->n_uris);
        add_texts(&json, "emails", identity->emails, identity->n_emails);
    }
    wm_buf_text(&json, "}");
    reply_text(call, json.data);
    wm_buf_free(&json);
}

/* ---- Stats: what the gate counts ---- */

static void stats_request(rpc_call *call, const ProtobufCMessage *request)
{
    const gate *gate = atomic_load(&the_gate);
    gate_stats stats = {0};
    wm_buf json;

    (void)request;
    if (gate != NULL)
        gate_stats_read(gate, &stats);
    wm_buf_init(&json, REPLY_SIZE_MAX);
    wm_buf_printf(
        &json,
        "{\"accepted\": %llu, \"open\": %llu, \"handshakes\": %llu, \"bytes_in\": %llu, "
        "\"bytes_out\": %llu, \"held\": %llu, \"addresses\": %llu, \"held_calls\": %u, \"cancelled\": %u",
        (unsigned long long)stats.accepted, (unsigned long long)stats.open,
        (unsigned long long)stats.handshakes, (unsigned long long)stats.bytes_in,
        (unsigned long long)stats.bytes_out, (unsigned long long)stats.held,
        (unsigned long long)stats.addresses, atomic_load(&held_calls), atomic_load(&cancelled));
    for (int i = 1; i < GATE_BREACHES_N; i++)
        wm_buf_printf(&json, ", \"%s\": %llu", gate_breach_name((gate_breach)i),
                      (unsigned long long)stats.breaches[i]);
    wm_buf_text(&json, "}");
    reply_text(call, json.data);
    wm_buf_free(&json);
}

static void echo_request(rpc_call *call, const ProtobufCMessage *request)
{
    reply_text(call, text_of(request));
}

/* ---- Hold: answers when it is cancelled ---- */

static void hold_request(rpc_call *call, const ProtobufCMessage *request)
{
    (void)call;
    (void)request;
    atomic_fetch_add(&held_calls, 1);
}

static void fail_cancelled(rpc_call *call)
{
    wm_err err = {0};

    atomic_fetch_add(&cancelled, 1);
    wm_fail(&err, WM_CANCELLED, "CALL_CANCELLED", "cancelled");
    rpc_fail(call, &err);
}

/* ---- Count: a stream of "COUNT SIZE" messages; each begins with its number ---- */

typedef struct count_state {
    int sent, total;
    size_t size;
    bool is_over;
    char *text;
} count_state;

static void count_pump(rpc_call *call)
{
    count_state *state = rpc_data(call);

    while (state->sent < state->total) {
        string_value value;

        google__protobuf__string_value__init(&value);
        snprintf(state->text, state->size + 1, "%010d", state->sent);
        state->text[10] = 'x';
        value.value = state->text;
        if (!rpc_send(call, &value.base))
            return;
        state->sent++;
    }
    if (!state->is_over)
        rpc_finish(call);
    state->is_over = true;
}

static void count_request(rpc_call *call, const ProtobufCMessage *request)
{
    count_state *state = WM_NEW(rpc_arena(call), count_state);

    if (sscanf(text_of(request), "%d %zu", &state->total, &state->size) != 2 || state->size < 11)
        abort();
    state->text = wm_arena_alloc(rpc_arena(call), state->size + 1);
    memset(state->text, 'x', state->size);
    state->text[state->size] = '\0';
    rpc_set_data(call, state);
    count_pump(call);
}

static void finish_cancelled(rpc_call *call)
{
    count_state *state = rpc_data(call);

    atomic_fetch_add(&cancelled, 1);
    if (state == NULL || !state->is_over)
        rpc_finish(call);
    if (state != NULL)
        state->is_over = true;
}

/* ---- Sink: reads nothing but the first message ---- */

static void sink_idle(rpc_call *call)
{
    (void)call;
}

static void sink_message(rpc_call *call, const ProtobufCMessage *message)
{
    (void)call;
    (void)message;
}

/* ---- the service ---- */

#define STRINGS                                             \
    .request = &google__protobuf__string_value__descriptor, \
    .response = &google__protobuf__string_value__descriptor

static const wm_method methods[] = {
    {.path = "/waymark.test.Gate/Peer", .name = "Peer", STRINGS},
    {.path = "/waymark.test.Gate/Stats", .name = "Stats", STRINGS},
    {.path = "/waymark.test.Gate/Echo", .name = "Echo", STRINGS},
    {.path = "/waymark.test.Gate/Hold", .name = "Hold", STRINGS},
    {.path = "/waymark.test.Gate/Count", .name = "Count", .server_streaming = true, STRINGS},
    {.path = "/waymark.test.Gate/Sink", .name = "Sink", .client_streaming = true, STRINGS},
};

static const rpc_handler handlers[] = {
    {.method = &methods[0], .flags = RPC_INLINE, .request = peer_request},
    {.method = &methods[1], .flags = RPC_INLINE, .request = stats_request},
    {.method = &methods[2], .request = echo_request},
    {.method = &methods[3], .request = hold_request, .cancelled = fail_cancelled},
    {.method = &methods[4],
     .request = count_request,
     .writable = count_pump,
     .cancelled = finish_cancelled},
    {.method = &methods[5],
     .opened = sink_idle,
     .message = sink_message,
     .half_closed = sink_idle,
     .cancelled = fail_cancelled},
};

static const wm_service service = {
    .name = "waymark.test.Gate", .methods = methods, .n_methods = WM_ARRAY_LEN(methods)};

/* ---- main ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

typedef struct options {
    rpc_listener listener;
    gate_limits limits;
    gate_cidr proxies[GATE_PROXIES_MAX];
    size_t n_proxies, n_threads;
    bool is_core, is_shared;
    uint64_t grace_ms;
} options;

static void die(const char *what)
{
    fprintf(stderr, "gate_server: %s\n", what);
    exit(2);
}

static void files_set(const char *number)
{
    struct rlimit files = {(rlim_t)atoi(number), (rlim_t)atoi(number)};

    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        die("cannot set the limit of open files");
}

/* An option that is followed by one value. */
static void option_set(options *options, const char *name, const char *value)
{
    wm_err err = {0};

    if (strcmp(name, "--threads") == 0)
        options->n_threads = (size_t)atoi(value);
    else if (strcmp(name, "--grace") == 0)
        options->grace_ms = (uint64_t)atoi(value);
    else if (strcmp(name, "--files") == 0)
        files_set(value);
    else if (strcmp(name, "--limit") == 0) {
        if (gate_limits_set(&options->limits, value, &err) != WM_OK)
            die(err.message);
    } else if (strcmp(name, "--proxy") == 0) {
        if (gate_cidr_parse(value, &options->proxies[options->n_proxies++], &err) != WM_OK)
            die(err.message);
    } else {
        die(name);
    }
}

static void options_read(options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool is_mutual = strcmp(argv[i], "--mtls") == 0;

        if (strcmp(argv[i], "--core") == 0) {
            options->is_core = true;
        } else if (strcmp(argv[i], "--shared") == 0) {
            options->is_shared = true;
        } else if ((is_mutual || strcmp(argv[i], "--tls") == 0) && i + 2 + is_mutual < argc) {
            options->listener.cert_file = argv[++i];
            options->listener.key_file = argv[++i];
            options->listener.client_ca_file = is_mutual ? argv[++i] : NULL;
        } else if (i + 1 < argc) {
            option_set(options, argv[i], argv[i + 1]);
            i++;
        } else {
            die(argv[i]);
        }
    }
}

static rpc_server *server_start(const options *options, lane **lane)
{
    const rpc_service services[] = {{.service = &service, .handlers = handlers}};
    rpc_config config = {.lanes = lane,
                         .n_lanes = 1,
                         .services = services,
                         .n_services = 1,
                         .listeners = &options->listener,
                         .n_listeners = options->is_core ? 1 : 0,
                         .connection = {.streams_max = options->limits.streams}};
    gate_config gated = {.server = NULL,
                         .listeners = &options->listener,
                         .n_listeners = 1,
                         .lanes = options->is_shared ? lane : NULL,
                         .n_lanes = options->n_threads,
                         .limits = &options->limits,
                         .proxies = options->proxies,
                         .n_proxies = options->n_proxies};
    rpc_server *server;
    gate *gate = NULL;
    wm_err err = {0};

    if (rpc_server_start(&config, &server, &err) != WM_OK)
        die(err.message);
    gated.server = server;
    if (!options->is_core && gate_start(&gated, &gate, &err) != WM_OK)
        die(err.message);
    atomic_store(&the_gate, gate);
    rpc_server_set_serving(server, true);
    printf("{\"port\": %d, \"memory_factor\": %d}\n",
           options->is_core ? rpc_server_port(server, 0) : gate_port(gate, 0),
           IS_SANITIZED ? 8 : 1);
    fflush(stdout);
    return server;
}

int main(int argc, char **argv)
{
    options options = {.listener = {.address = "127.0.0.1:0"}, .n_threads = 1, .grace_ms = 1000};
    rpc_server *server;
    sigset_t signals;
    wm_err err = {0};
    lane *lane;
    int signal;

    gate_limits_init(&options.limits);
    options_read(&options, argc, argv);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (lane_new(0, &lane, &err) != WM_OK)
        die(err.message);
    server = server_start(&options, &lane);
    sigwait(&signals, &signal);
    gate *gate = atomic_load(&the_gate);
    if (gate != NULL)
        gate_drain(gate, options.grace_ms);
    rpc_server_drain(server, options.grace_ms);
    gate_free(gate);
    rpc_server_free(server);
    lane_free(lane);
    printf("{\"stopped\": true}\n");
    return 0;
}
