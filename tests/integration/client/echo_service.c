/* tests/integration/client/echo_service.c - the echo service, over generated handlers.
 *
 * Echo tells in trailing metadata what it saw: the authorization, the user agent, how many attempts
 * there were before, and what came as "echo-bin".
 */
#include "tests/integration/client/echo_service.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/rpc/rpc.h"
#include "testing.server.h"

struct echo_server {
    lane *lane;
    rpc_server *server;
    atomic_ullong calls;
    atomic_uint failures_due;
    atomic_int failure_code, failure_retry_ms;
    _Atomic(const char *) token;
    rpc_handler storage[WAYMARK_TESTING_V1_ECHO_SERVICE_HANDLERS_N];
};

static atomic_ullong repeated, cancelled;

typedef Waymark__Testing__V1__EchoRequest echo_request;
typedef Waymark__Testing__V1__EchoResponse echo_response;

/* ---- calls that are to fail ---- */

static bool take_failure(echo_server *server, wm_err *err)
{
    unsigned due = atomic_load(&server->failures_due);

    while (due > 0 && !atomic_compare_exchange_weak(&server->failures_due, &due, due - 1))
        ;
    if (due == 0)
        return false;
    wm_fail(err, (wm_code)atomic_load(&server->failure_code), "AS_ASKED", "as asked");
    err->retry_after_ms = (uint32_t)atomic_load(&server->failure_retry_ms);
    return true;
}

static bool lacks_token(echo_server *server, const rpc_call *call, wm_err *err)
{
    const char *token = atomic_load(&server->token), *seen;
    size_t length;

    if (token == NULL)
        return false;
    seen = rpc_metadata(call, "authorization", &length);
    if (seen != NULL && length == 7 + strlen(token) && memcmp(seen + 7, token, length - 7) == 0)
        return false;
    wm_fail(err, WM_UNAUTHENTICATED, "TOKEN_EXPIRED", "this token is not taken");
    return true;
}

/* True: the call has been refused. */
static bool refused(rpc_call *call)
{
    echo_server *server = rpc_ctx(call);
    wm_err err = {0};

    atomic_fetch_add(&server->calls, 1);
    if (!lacks_token(server, call, &err) && !take_failure(server, &err))
        return false;
    rpc_fail(call, &err);
    return true;
}

/* ---- Echo ---- */

typedef struct delayed_echo {
    uv_timer_t timer;
    rpc_call *call;
    const echo_request *request;
} delayed_echo;

static void tell_seen(rpc_call *call, const char *key, const char *as)
{
    size_t length;
    const char *value = rpc_metadata(call, key, &length);

    if (value != NULL)
        rpc_add_trailing_metadata(call, as, value, length);
}

static void reply_echo(rpc_call *call, const echo_request *request)
{
    echo_response response = WAYMARK__TESTING__V1__ECHO_RESPONSE__INIT;

    tell_seen(call, "authorization", "seen-authorization");
    tell_seen(call, "user-agent", "seen-user-agent");
    tell_seen(call, "grpc-previous-rpc-attempts", "seen-attempts");
    tell_seen(call, "echo-bin", "echoed-bin");
    tell_seen(call, "added", "seen-added");
    response.payload = request->payload;
    response.number = request->number;
    response.text = request->text;
    waymark_testing_v1_echo_service_echo_reply(call, &response);
}

static void timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void delay_over(uv_timer_t *timer)
{
    delayed_echo *delayed = timer->data;
    rpc_call *call = delayed->call;

    rpc_set_data(call, NULL);
    uv_close((uv_handle_t *)timer, timer_closed);
    reply_echo(call, delayed->request);
}

static void echo(rpc_call *call, const echo_request *request)
{
    delayed_echo *delayed;

    if (refused(call))
        return;
    if (request->delay_ms <= 0) {
        reply_echo(call, request);
        return;
    }
    delayed = calloc(1, sizeof(*delayed));
    delayed->call = call;
    delayed->request = request;
    delayed->timer.data = delayed;
    rpc_set_data(call, delayed);
    uv_timer_init(lane_loop(rpc_lane(call)), &delayed->timer);
    uv_timer_start(&delayed->timer, delay_over, (uint64_t)request->delay_ms, 0);
}

static void echo_cancelled(rpc_call *call)
{
    delayed_echo *delayed = rpc_data(call);
    wm_err err;

    atomic_fetch_add(&cancelled, 1);
    if (delayed != NULL)
        uv_close((uv_handle_t *)&delayed->timer, timer_closed);
    wm_fail(&err, WM_CANCELLED, "CANCELLED", "the caller went away");
    rpc_fail(call, &err);
}

static void nothing(rpc_call *call, const Google__Protobuf__Empty *request)
{
    if (!refused(call))
        waymark_testing_v1_echo_service_nothing_reply(call, request);
}

/* ---- Repeat ---- */

typedef struct repeat_state {
    int64_t sent, count;
    ProtobufCBinaryData payload;
} repeat_state;

static void repeat_more(rpc_call *call)
{
    repeat_state *state = rpc_data(call);
    Waymark__Testing__V1__RepeatResponse message = WAYMARK__TESTING__V1__REPEAT_RESPONSE__INIT;

    message.payload = state->payload;
    while (state->count == 0 || state->sent < state->count) {
        message.number = state->sent + 1;
        if (!waymark_testing_v1_echo_service_repeat_send(call, &message))
            return;
        state->sent++;
        atomic_fetch_add(&repeated, 1);
        if (rpc_is_cancelled(call))
            return;
    }
    rpc_finish(call);
}

static void repeat(rpc_call *call, const Waymark__Testing__V1__RepeatRequest *request)
{
    repeat_state *state = WM_NEW(rpc_arena(call), repeat_state);

    if (refused(call))
        return;
    state->count = request->count;
    state->payload = request->payload;
    rpc_set_data(call, state);
    repeat_more(call);
}

static void stream_cancelled(rpc_call *call)
{
    wm_err err;

    atomic_fetch_add(&cancelled, 1);
    wm_fail(&err, WM_CANCELLED, "CANCELLED", "the caller went away");
    rpc_fail(call, &err);
}

/* ---- Sum ---- */

typedef struct sum_state {
    int64_t sum, count;
} sum_state;

static void sum_opened(rpc_call *call)
{
    rpc_set_data(call, WM_NEW(rpc_arena(call), sum_state));
    rpc_read(call);
}

static void sum_message(rpc_call *call, const Waymark__Testing__V1__SumRequest *message)
{
    sum_state *state = rpc_data(call);

    state->sum += message->number;
    state->count++;
    rpc_read(call);
}

static void sum_half_closed(rpc_call *call)
{
    const sum_state *state = rpc_data(call);
    Waymark__Testing__V1__SumResponse response = WAYMARK__TESTING__V1__SUM_RESPONSE__INIT;

    response.sum = state->sum;
    response.count = state->count;
    waymark_testing_v1_echo_service_sum_reply(call, &response);
}

/* ---- Talk ---- */

static void talk_message(rpc_call *call, const Waymark__Testing__V1__TalkRequest *message)
{
    Waymark__Testing__V1__TalkResponse answer = WAYMARK__TESTING__V1__TALK_RESPONSE__INIT;

    answer.payload = message->payload;
    answer.number = message->number;
    if (!waymark_testing_v1_echo_service_talk_send(call, &answer))
        abort(); /* we read only when writable */
    if (rpc_is_writable(call))
        rpc_read(call);
}

/* ---- Fail ---- */

static void fail(rpc_call *call, const Waymark__Testing__V1__FailRequest *request)
{
    wm_err err = {0};

    if (request->field[0] != 0)
        wm_fail_field(&err, request->field, request->reason, "%s is wrong", request->field);
    else
        wm_fail(&err, (wm_code)request->code, request->reason, "as asked");
    err.code = (wm_code)request->code;
    err.retry_after_ms = (uint32_t)request->retry_after_ms;
    rpc_fail(call, &err);
}

/* Retire has no handler: it answers UNIMPLEMENTED. */
static const waymark_testing_v1_echo_service_handlers handlers = {
    .echo = {.request = echo, .cancelled = echo_cancelled},
    .nothing = {.flags = RPC_INLINE, .request = nothing},
    .repeat = {.request = repeat, .writable = repeat_more, .cancelled = stream_cancelled},
    .sum = {.opened = sum_opened,
            .message = sum_message,
            .half_closed = sum_half_closed,
            .cancelled = stream_cancelled},
    .talk = {.opened = rpc_read,
             .message = talk_message,
             .half_closed = rpc_finish,
             .writable = rpc_read,
             .cancelled = stream_cancelled},
    .fail = {.request = fail},
};

static void must(wm_code code, const wm_err *err)
{
    if (code == WM_OK)
        return;
    fprintf(stderr, "echo_server: %s\n", err->message);
    abort();
}

static echo_server *start(const rpc_listener *listener, bool compresses, bool takes_compressed)
{
    static const char *const compressed[] = {"waymark.testing.v1.EchoService/Echo",
                                             "waymark.testing.v1.EchoService/Repeat"};
    echo_server *server = calloc(1, sizeof(*server));
    rpc_service service = waymark_testing_v1_echo_service_bind(&handlers, server->storage, server);
    wm_err err;

    must(lane_new(0, &server->lane, &err), &err);

    rpc_config config = {
        .lanes = &server->lane,
        .n_lanes = 1,
        .listeners = listener,
        .n_listeners = 1,
        .services = &service,
        .n_services = 1,
        .compressed = compressed,
        .n_compressed = compresses ? 2 : 0,
        .takes_compressed = takes_compressed,
    };

    must(rpc_server_start(&config, &server->server, &err), &err);
    rpc_server_set_serving(server->server, true);
    return server;
}

echo_server *echo_server_start(const char *address)
{
    rpc_listener listener = {.address = address};

    return start(&listener, false, false);
}

echo_server *echo_server_start_tls(const char *address, const char *cert_file, const char *key_file,
                                   const char *client_ca_file)
{
    rpc_listener listener = {.address = address,
                             .cert_file = cert_file,
                             .key_file = key_file,
                             .client_ca_file = client_ca_file};

    return start(&listener, false, false);
}

echo_server *echo_server_start_compressing(const char *address, bool takes)
{
    rpc_listener listener = {.address = address};

    return start(&listener, true, takes);
}

void echo_server_fail_next(echo_server *server, unsigned n, int code, int retry_after_ms)
{
    atomic_store(&server->failure_code, code);
    atomic_store(&server->failure_retry_ms, retry_after_ms);
    atomic_store(&server->failures_due, n);
}

void echo_server_require_token(echo_server *server, const char *token)
{
    atomic_store(&server->token, token);
}

uint64_t echo_server_calls(const echo_server *server)
{
    return atomic_load(&server->calls);
}

int echo_server_port(const echo_server *server)
{
    return rpc_server_port(server->server, 0);
}

void echo_server_stop(echo_server *server)
{
    rpc_server_drain(server->server, 0);
    rpc_server_free(server->server);
    lane_free(server->lane);
    free(server);
}

uint64_t echo_server_repeated(void)
{
    return atomic_load(&repeated);
}

uint64_t echo_server_cancelled(void)
{
    return atomic_load(&cancelled);
}
