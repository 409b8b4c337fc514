/* tests/integration/rpc/echo_server.c - a server over the call runtime, for rpc_test.py.
 *
 * One service, waymark.test.Echo, of well-known messages, so that a client needs no
 * generated code. It prints one JSON line with its ports and stops on SIGTERM.
 *
 *   echo_server [--lanes N] [--calls N] [--message-size N] [--grace MS] [--stop-wait MS] [--quiet]
 *               [--tls CERT KEY] [--mtls CERT KEY CA] [--unix PATH] [--limit SPEC]...
 *               [--compress PATTERN] [--take-compressed] [--connection NAME=VALUE]...
 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "google/protobuf/struct.pb-c.h"
#include "google/protobuf/wrappers.pb-c.h"
#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/obs/access_log.h"
#include "server/obs/http.h"
#include "server/obs/lane_metrics.h"
#include "server/obs/rpc_metrics.h"
#include "server/rpc/rpc.h"

typedef Google__Protobuf__StringValue string_value;

static struct {
    atomic_int cancelled, ended, messages;
    atomic_int slow_now, slow_peak, stuck_now;
    atomic_llong cancelled_at_us; /* the last CancelTime */
} counters;

static const char *text_of(const ProtobufCMessage *message)
{
    return ((const string_value *)message)->value;
}

static void string_init(string_value *value, const char *text)
{
    google__protobuf__string_value__init(value);
    value->value = (char *)text;
}

static void reply_text(rpc_call *call, const char *text)
{
    string_value value;
    string_init(&value, text);
    rpc_reply(call, &value.base);
}

static void count_cancelled(void)
{
    atomic_fetch_add(&counters.cancelled, 1);
}

static void any_ended(rpc_call *call)
{
    (void)call;
    atomic_fetch_add(&counters.ended, 1);
}

/* ---- unary ---- */

static void unary_request(rpc_call *call, const ProtobufCMessage *request)
{
    size_t len;
    const char *value = rpc_metadata(call, "x-echo-bin", &len);

    if (value != NULL) {
        rpc_add_initial_metadata(call, "x-initial-bin", value, len);
        rpc_add_trailing_metadata(call, "x-trailing-bin", value, len);
    }
    reply_text(call, text_of(request));
}

typedef struct worker_op {
    lane_job job;
    rpc_call *call;
    char *text;
} worker_op;

/* Answers from the worker thread; the op outlives the call. */
static void worker_run(lane_job *job)
{
    worker_op *op = wm_container_of(job, worker_op, job);
    reply_text(op->call, op->text);
}

static void worker_done(lane_job *job)
{
    worker_op *op = wm_container_of(job, worker_op, job);
    free(op->text);
    free(op);
}

static void worker_request(rpc_call *call, const ProtobufCMessage *request)
{
    worker_op *op = calloc(1, sizeof(*op));

    op->call = call;
    op->text = strdup(text_of(request));
    op->job.run = worker_run;
    op->job.done = worker_done;
    lane_work(rpc_lane(call), &op->job);
}

/* Answers only when it is cancelled. */
static void stuck_request(rpc_call *call, const ProtobufCMessage *request)
{
    (void)call;
    (void)request;
    atomic_fetch_add(&counters.stuck_now, 1);
    atomic_fetch_add(&counters.messages, 1);
}

static void stuck_ended(rpc_call *call)
{
    atomic_fetch_sub(&counters.stuck_now, 1);
    any_ended(call);
}

static void any_cancelled(rpc_call *call)
{
    wm_err err = {0};
    count_cancelled();
    wm_fail(&err, WM_CANCELLED, "CALL_CANCELLED", "cancelled");
    rpc_fail(call, &err);
}

/* Answers after the given milliseconds, whatever happens meanwhile. */
typedef struct slow_op {
    uv_timer_t timer;
    rpc_call *call;
} slow_op;

static void slow_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void slow_fired(uv_timer_t *timer)
{
    slow_op *op = timer->data;

    atomic_fetch_sub(&counters.slow_now, 1); /* a call is at work until it is answered */
    reply_text(op->call, rpc_is_cancelled(op->call) ? "cancelled" : "done");
    uv_close((uv_handle_t *)timer, slow_closed);
}

static void slow_request(rpc_call *call, const ProtobufCMessage *request)
{
    slow_op *op = calloc(1, sizeof(*op));
    int now = atomic_fetch_add(&counters.slow_now, 1) + 1, peak = atomic_load(&counters.slow_peak);

    while (now > peak && !atomic_compare_exchange_weak(&counters.slow_peak, &peak, now))
        ;
    op->call = call;
    op->timer.data = op;
    uv_timer_init(lane_loop(rpc_lane(call)), &op->timer);
    uv_timer_start(&op->timer, slow_fired, (uint64_t)atoi(text_of(request)), 0);
}

static void fail_request(rpc_call *call, const ProtobufCMessage *request)
{
    wm_err err = {0};

    if (strcmp(text_of(request), "internal") == 0)
        wm_fail(&err, WM_INTERNAL, "INTERNAL", "something broke");
    else
        wm_fail_field(&err, "value", "FIELD_INVALID", "not \"%s\" \xc3\xa9", text_of(request));
    err.retry_after_ms = 1500;
    rpc_fail(call, &err);
}

static void deep_request(rpc_call *call, const ProtobufCMessage *request)
{
    (void)request;
    reply_text(call, "shallow enough");
}

static void counters_request(rpc_call *call, const ProtobufCMessage *request)
{
    char text[256];

    (void)request;
    snprintf(text, sizeof(text),
             "{\"cancelled\": %d, \"ended\": %d, \"messages\": %d, \"slow_now\": %d, "
             "\"slow_peak\": %d, \"stuck_now\": %d, \"cancelled_at_us\": %lld}",
             atomic_load(&counters.cancelled), atomic_load(&counters.ended),
             atomic_load(&counters.messages), atomic_load(&counters.slow_now),
             atomic_load(&counters.slow_peak), atomic_load(&counters.stuck_now),
             atomic_load(&counters.cancelled_at_us));
    reply_text(call, text);
}

/* Two answers, which no handler may give. */
static void twice_request(rpc_call *call, const ProtobufCMessage *request)
{
    reply_text(call, text_of(request));
    reply_text(call, text_of(request));
}

/* An answer of so many bytes; as a stream, one message of them. */
static void big_text(const ProtobufCMessage *request, string_value *value, char **text)
{
    size_t n = (size_t)atoi(text_of(request));

    *text = malloc(n + 1);
    memset(*text, 'x', n);
    (*text)[n] = '\0';
    string_init(value, *text);
}

static void big_request(rpc_call *call, const ProtobufCMessage *request)
{
    string_value value;
    char *text;

    big_text(request, &value, &text);
    rpc_reply(call, &value.base);
    free(text);
}

static void big_stream_request(rpc_call *call, const ProtobufCMessage *request)
{
    string_value value;
    char *text;

    big_text(request, &value, &text);
    if (!rpc_send(call, &value.base))
        abort();
    free(text);
}

/* No answer, whatever happens. */
static void never_request(rpc_call *call, const ProtobufCMessage *request)
{
    (void)call;
    (void)request;
    atomic_fetch_add(&counters.messages, 1);
}

/* What the runtime knows of the call: traceparent, peer, subject, deadline in ms from now. */
static void context_request(rpc_call *call, const ProtobufCMessage *request)
{
    char text[512], parent[RPC_TRACEPARENT_SIZE], trace_id[RPC_TRACE_ID_SIZE];
    int64_t deadline_us = rpc_deadline_us(call);
    rpc_trace trace;

    (void)request;
    rpc_trace_get(call, &trace);
    rpc_trace_id_format(&trace, trace_id);
    rpc_traceparent_format(&trace, parent);
    snprintf(
        text, sizeof(text),
        "{\"traceparent\": \"%s\", \"trace\": \"%s\", \"has_parent\": %s, \"peer\": \"%s\", "
        "\"subject\": \"%s\", \"deadline_ms\": %lld, \"path\": \"%s\"}",
        parent, trace_id, trace.has_parent ? "true" : "false", rpc_peer(call), rpc_subject(call),
        deadline_us == INT64_MAX ? -1LL : (long long)((deadline_us - wm_monotonic_us()) / 1000),
        rpc_method(call)->path);
    reply_text(call, text);
}

/* Answers only when it is cancelled, and keeps the time of that. */
static void cancel_time_request(rpc_call *call, const ProtobufCMessage *request)
{
    (void)call;
    (void)request;
    atomic_fetch_add(&counters.messages, 1);
}

static void cancel_time_cancelled(rpc_call *call)
{
    atomic_store(&counters.cancelled_at_us, wm_monotonic_us());
    any_cancelled(call);
}

/* ---- server streaming: as many messages as asked, each of 1,000 bytes and its number ---- */

typedef struct count_state {
    int sent, total;
    bool is_over;
} count_state;

static void count_pump(rpc_call *call)
{
    count_state *state = rpc_data(call);
    char text[1024];

    while (state->sent < state->total) {
        string_value value;
        snprintf(text, sizeof(text), "%-1000d", state->sent);
        string_init(&value, text);
        if (!rpc_send(call, &value.base))
            return;
        state->sent++;
        atomic_fetch_add(&counters.messages, 1);
    }
    if (!state->is_over)
        rpc_finish(call);
    state->is_over = true;
}

static void count_request(rpc_call *call, const ProtobufCMessage *request)
{
    count_state *state = WM_NEW(rpc_arena(call), count_state);

    state->total = atoi(text_of(request));
    rpc_set_data(call, state);
    rpc_add_initial_metadata(call, "x-total", text_of(request), strlen(text_of(request)));
    count_pump(call);
}

/* Sends one message and then nothing until it is cancelled. */
static void watch_request(rpc_call *call, const ProtobufCMessage *request)
{
    string_value value;

    string_init(&value, text_of(request));
    if (!rpc_send(call, &value.base))
        abort();
}

/* ---- client streaming: counts ---- */

static void collect_opened(rpc_call *call)
{
    rpc_set_data(call, WM_NEW(rpc_arena(call), int64_t));
    rpc_read(call);
}

static void collect_message(rpc_call *call, const ProtobufCMessage *message)
{
    *(int64_t *)rpc_data(call) += (int64_t)strlen(text_of(message));
    atomic_fetch_add(&counters.messages, 1);
    if (strcmp(text_of(message), "enough") == 0)
        reply_text(call, "enough");
    else if (strcmp(text_of(message), "wait") != 0)
        rpc_read(call);
}

static void collect_half_closed(rpc_call *call)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)*(int64_t *)rpc_data(call));
    reply_text(call, text);
}

/* ---- bidi: echoes; reads the next message when the echo has left ---- */

static void chat_opened(rpc_call *call)
{
    rpc_read(call);
}

static void chat_message(rpc_call *call, const ProtobufCMessage *message)
{
    if (strcmp(text_of(message), "bye") == 0) {
        rpc_finish(call);
        return;
    }
    if (!rpc_send(call, message))
        abort(); /* it is writable whenever it reads */
}

static void chat_cancelled(rpc_call *call)
{
    count_cancelled();
    rpc_finish(call);
}

/* ---- the service ---- */

#define ECHO_STRINGS                                        \
    .request = &google__protobuf__string_value__descriptor, \
    .response = &google__protobuf__string_value__descriptor

static const wm_method methods[] = {
    {.path = "/waymark.test.Echo/Inline", .name = "Inline", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Loop", .name = "Loop", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Worker", .name = "Worker", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Stuck", .name = "Stuck", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Slow", .name = "Slow", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Fail", .name = "Fail", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Deep",
     .name = "Deep",
     .request = &google__protobuf__struct__descriptor,
     .response = &google__protobuf__string_value__descriptor},
    {.path = "/waymark.test.Echo/Counters", .name = "Counters", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Count", .name = "Count", .server_streaming = true, ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Watch", .name = "Watch", .server_streaming = true, ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Collect",
     .name = "Collect",
     .client_streaming = true,
     ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Chat",
     .name = "Chat",
     .client_streaming = true,
     .server_streaming = true,
     ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Twice", .name = "Twice", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Never", .name = "Never", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Context", .name = "Context", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/CancelTime", .name = "CancelTime", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/Big", .name = "Big", ECHO_STRINGS},
    {.path = "/waymark.test.Echo/BigStream",
     .name = "BigStream",
     .server_streaming = true,
     ECHO_STRINGS},
};

static const rpc_handler handlers[] = {
    {.method = &methods[0], .flags = RPC_INLINE, .request = unary_request, .ended = any_ended},
    {.method = &methods[1], .request = unary_request, .ended = any_ended},
    {.method = &methods[2], .request = worker_request, .ended = any_ended},
    {.method = &methods[3],
     .request = stuck_request,
     .cancelled = any_cancelled,
     .ended = stuck_ended},
    {.method = &methods[4], .request = slow_request, .ended = any_ended},
    {.method = &methods[5], .flags = RPC_INLINE, .request = fail_request, .ended = any_ended},
    {.method = &methods[6], .flags = RPC_INLINE, .request = deep_request},
    {.method = &methods[7], .flags = RPC_INLINE, .request = counters_request},
    {.method = &methods[8],
     .request = count_request,
     .writable = count_pump,
     .cancelled = chat_cancelled,
     .ended = any_ended},
    {.method = &methods[9],
     .request = watch_request,
     .cancelled = chat_cancelled,
     .ended = any_ended},
    {.method = &methods[10],
     .opened = collect_opened,
     .message = collect_message,
     .half_closed = collect_half_closed,
     .cancelled = any_cancelled,
     .ended = any_ended},
    {.method = &methods[11],
     .flags = RPC_MAY_BE_EMPTY,
     .opened = chat_opened,
     .message = chat_message,
     .half_closed = rpc_finish,
     .writable = rpc_read,
     .cancelled = chat_cancelled,
     .ended = any_ended},
    {.method = &methods[12], .request = twice_request},
    {.method = &methods[13], .request = never_request},
    {.method = &methods[14], .request = context_request},
    {.method = &methods[15], .request = cancel_time_request, .cancelled = cancel_time_cancelled},
    {.method = &methods[16], .request = big_request},
    {.method = &methods[17], .request = big_stream_request, .cancelled = chat_cancelled},
};

static const wm_service service = {
    .name = "waymark.test.Echo", .methods = methods, .n_methods = WM_ARRAY_LEN(methods)};

/* ---- an interceptor that does what the call's metadata asks for ---- */

static bool asks(const rpc_call *call, const char *key)
{
    size_t len;
    return rpc_metadata(call, key, &len) != NULL;
}

static void refuse(rpc_call *call, const char *reason)
{
    wm_err err = {0};
    wm_fail(&err, WM_UNAUTHENTICATED, reason, "refused by the test");
    rpc_fail(call, &err);
}

static void *later_main(void *call)
{
    if (asks(call, "x-refuse-later"))
        refuse(call, "REFUSED_LATER");
    else
        rpc_next(call);
    return NULL;
}

static void later(rpc_call *call)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, later_main, call) != 0)
        abort();
    pthread_detach(thread);
}

/* The same on the loop; the message lives in the call's arena and is looked at after the answer. */
typedef struct loop_answer {
    lane_msg msg;
    rpc_call *call;
    int answered;
} loop_answer;

static void loop_answer_run(lane_msg *msg)
{
    loop_answer *answer = wm_container_of(msg, loop_answer, msg);

    if (asks(answer->call, "x-refuse-loop"))
        refuse(answer->call, "REFUSED_ON_LOOP");
    else
        rpc_next(answer->call);
    usleep(2000);
    answer->answered++;
}

static void on_loop(rpc_call *call)
{
    loop_answer *answer = WM_NEW(rpc_arena(call), loop_answer);

    answer->call = call;
    answer->msg.run = loop_answer_run;
    lane_post(rpc_lane(call), &answer->msg);
}

static void gate_started(rpc_interceptor *self, rpc_call *call)
{
    (void)self;
    rpc_set_subject(call, asks(call, "x-subject") ? "somebody" : NULL);
    if (asks(call, "x-refuse"))
        refuse(call, "REFUSED");
    else if (asks(call, "x-later") || asks(call, "x-refuse-later"))
        later(call);
    else if (asks(call, "x-loop") || asks(call, "x-refuse-loop"))
        on_loop(call);
    else
        rpc_next(call);
}

static void gate_requested(rpc_interceptor *self, rpc_call *call, const ProtobufCMessage *request)
{
    (void)self;
    if (asks(call, "x-refuse-request") && strcmp(text_of(request), "refuse") == 0)
        refuse(call, "REQUEST_REFUSED");
    else if (asks(call, "x-request-later"))
        later(call);
    else
        rpc_next(call);
}

static void gate_checked(rpc_interceptor *self, rpc_call *call)
{
    wm_err err = {0};

    (void)self;
    if (!asks(call, "x-abort"))
        return;
    wm_fail(&err, WM_DENIED, "ACCESS_ENDED", "the grant was revoked");
    rpc_abort(call, &err);
}

static rpc_interceptor gate = {
    .name = "gate", .started = gate_started, .requested = gate_requested, .checked = gate_checked};

/* ---- main ---- */

/* Under a sanitizer memory costs a multiple, which the test allows for. */
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
    size_t n_lanes;
    uint64_t grace_ms;
    rpc_config config;
    rpc_listener listeners[4]; /* plaintext, then as the options come */
    rpc_limit limits[8];
    char limit_names[8][RPC_LIMIT_NAME_SIZE];
    const char *compressed[1];
} options;

static void limit_add(options *options, const char *text)
{
    size_t n = options->config.n_limits++;
    wm_err err = {0};

    if (rpc_limit_parse(text, &options->limits[n], options->limit_names[n], &err) != WM_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
}

static void option_other(options *options, const char *name, const char *value)
{
    wm_err err = {0};

    if (strcmp(name, "--connection") == 0) {
        if (rpc_connection_set(&options->config.connection, value, &err) != WM_OK) {
            fprintf(stderr, "%s\n", err.message);
            exit(2);
        }
    } else if (strcmp(name, "--limit") == 0) {
        limit_add(options, value);
    } else if (strcmp(name, "--compress") == 0) {
        options->compressed[0] = value;
        options->config.n_compressed = 1;
    } else if (strcmp(name, "--stop-wait") == 0) {
        options->config.stop_wait_ms = (uint32_t)atoi(value);
    } else if (strcmp(name, "--open-calls") == 0) {
        options->config.open_calls_max = (size_t)atoi(value);
    } else if (strcmp(name, "--answer-ms") == 0) {
        options->config.answer_ms = (uint64_t)atoi(value);
    } else if (strcmp(name, "--busy-poll-us") == 0) {
        options->config.busy_poll_us = atoi(value);
    } else if (strcmp(name, "--unix") == 0) {
        options->listeners[options->config.n_listeners++].address = value;
    } else {
        fprintf(stderr, "no option %s\n", name);
        exit(2);
    }
}

static void options_read(options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--lanes") == 0)
            options->n_lanes = (size_t)atoi(argv[++i]);
        else if (strcmp(argv[i], "--calls") == 0)
            options->config.calls_max = (size_t)atoi(argv[++i]);
        else if (strcmp(argv[i], "--message-size") == 0)
            options->config.message_size_max = (size_t)atoi(argv[++i]);
        else if (strcmp(argv[i], "--grace") == 0)
            options->grace_ms = (uint64_t)atoi(argv[++i]);
        else if (strcmp(argv[i], "--quiet") == 0)
            wm_log_set_level(WM_LOG_ERROR);
        else if (strcmp(argv[i], "--tls") == 0 || strcmp(argv[i], "--mtls") == 0) {
            rpc_listener *tls = &options->listeners[options->config.n_listeners++];
            bool is_mutual = strcmp(argv[i], "--mtls") == 0;
            tls->address = "localhost:0";
            tls->cert_file = argv[++i];
            tls->key_file = argv[++i];
            tls->client_ca_file = is_mutual ? argv[++i] : NULL;
        } else if (strcmp(argv[i], "--take-compressed") == 0) {
            options->config.takes_compressed = true;
        } else {
            option_other(options, argv[i], argv[i + 1]);
            i++;
        }
    }
}

/* ---- metrics, on a port of their own ---- */

static struct {
    obs_metrics *all;
    obs_rpc *rpc;
    obs_lanes *lanes;
    obs_http *http;
} metrics;

static bool is_ready(void *server)
{
    return rpc_server_is_serving(server);
}

static void metrics_start(rpc_server *server, lane **lanes, size_t n_lanes)
{
    wm_err err = {0};

    metrics.all = obs_metrics_new();
    metrics.lanes = obs_lanes_new(lanes, n_lanes);
    obs_rpc_add(metrics.rpc, server, metrics.all);
    obs_lanes_add(metrics.lanes, metrics.all);
    if (obs_http_start("127.0.0.1:0", metrics.all, is_ready, server, &metrics.http, &err) !=
        WM_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
}

static void metrics_stop(void)
{
    obs_http_free(metrics.http);
    obs_lanes_free(metrics.lanes);
    obs_metrics_free(metrics.all);
}

int main(int argc, char **argv)
{
    const rpc_service services[] = {{.service = &service, .handlers = handlers}};
    rpc_interceptor *interceptors[] = {obs_access_log(), NULL, &gate};
    options options = {
        .n_lanes = 2,
        .grace_ms = 1000,
        .config = {.services = services,
                   .n_services = 1,
                   .interceptors = interceptors,
                   .n_interceptors = WM_ARRAY_LEN(interceptors),
                   .n_listeners = 1},
        .listeners = {{.address = "127.0.0.1:0"}},
    };
    lane *lanes[16];
    rpc_server *server;
    sigset_t signals;
    wm_err err = {0};
    int signal;

    options_read(&options, argc, argv);
    assert(options.n_lanes >= 1 && options.n_lanes <= WM_ARRAY_LEN(lanes));
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    for (size_t i = 0; i < options.n_lanes; i++)
        if (lane_new((unsigned)i, &lanes[i], &err) != WM_OK)
            return 1;
    metrics.rpc = obs_rpc_new(options.n_lanes);
    interceptors[1] = obs_rpc_interceptor(metrics.rpc);
    options.config.lanes = lanes;
    options.config.n_lanes = options.n_lanes;
    options.config.listeners = options.listeners;
    options.config.limits = options.limits;
    options.config.compressed = options.compressed;
    if (rpc_server_start(&options.config, &server, &err) != WM_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    metrics_start(server, lanes, options.n_lanes);
    rpc_server_set_serving(server, true);
    printf("{\"port\": %d, \"tls_port\": %d, \"tls_port_2\": %d, \"http_port\": %d, "
           "\"memory_factor\": %d}\n",
           rpc_server_port(server, 0),
           options.config.n_listeners > 1 ? rpc_server_port(server, 1) : 0,
           options.config.n_listeners > 2 ? rpc_server_port(server, 2) : 0,
           obs_http_port(metrics.http), IS_SANITIZED ? 8 : 1);
    fflush(stdout);

    sigwait(&signals, &signal);
    rpc_server_drain(server, options.grace_ms);
    metrics_stop();
    rpc_server_free(server);
    obs_rpc_free(metrics.rpc);
    for (size_t i = 0; i < options.n_lanes; i++)
        lane_free(lanes[i]);
    printf("{\"stopped\": true, \"cancelled\": %d, \"ended\": %d}\n",
           atomic_load(&counters.cancelled), atomic_load(&counters.ended));
    return 0;
}
