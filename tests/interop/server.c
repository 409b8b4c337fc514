/* tests/interop/server.c - grpc.testing.TestService, for gRPC's own interop cases.
 *
 *   server --port PORT [--tls CERT KEY] [--gate]
 *
 * It serves on every address of the machine, through the gate when asked, says "serving on port N"
 * and stops on SIGTERM or SIGINT. Only the stubs made from tests/proto/grpc/testing carry it; what
 * the cases need of the runtime beyond them would be a lack of the runtime.
 *
 * Responses are sent by a small machine, the same for the three calls that stream them:
 *
 *   request -> [pause ->] send -> ... -> read the next request, or finish
 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "grpc/testing/test.server.h"
#include "server/gate/gate.h"

enum {
    PAYLOAD_SIZE_MAX = 1 << 20, /* bytes of one response */
    RESPONSES_MAX = 4096,       /* that one call may owe */
    US_PER_MS = 1000,
    GRACE_MS = 1000
};

typedef Grpc__Testing__StreamingOutputCallRequest output_request;

/* What every payload is made of. */
static uint8_t zeros[PAYLOAD_SIZE_MAX];

/* ---- parts of all calls ---- */

static void fail_with(rpc_call *call, wm_code code, const char *reason, const char *message)
{
    wm_err err = {0};

    wm_fail(&err, code, reason, "%s", message);
    rpc_fail(call, &err);
}

/* Sends back what custom_metadata sent. */
static void metadata_echo(rpc_call *call)
{
    static const char initial[] = "x-grpc-test-echo-initial";
    static const char trailing[] = "x-grpc-test-echo-trailing-bin";
    size_t len;
    const char *value = rpc_metadata(call, initial, &len);

    if (value != NULL)
        rpc_add_initial_metadata(call, initial, value, len);
    value = rpc_metadata(call, trailing, &len);
    if (value != NULL)
        rpc_add_trailing_metadata(call, trailing, value, len);
}

/* True when the client asked for an error and got it. */
static bool status_echo(rpc_call *call, const Grpc__Testing__EchoStatus *status)
{
    if (status == NULL || status->code == WM_OK)
        return false;
    if (status->code < 0 || status->code > WM_UNAUTHENTICATED)
        fail_with(call, WM_INVALID, "FIELD_INVALID", "there is no such status code");
    else
        fail_with(call, (wm_code)status->code, "ASKED_FOR", status->message);
    return true;
}

static bool size_is_good(int32_t size)
{
    return size >= 0 && size <= PAYLOAD_SIZE_MAX;
}

static void payload_init(Grpc__Testing__Payload *payload, int32_t size)
{
    grpc__testing__payload__init(payload);
    payload->body.data = zeros;
    payload->body.len = (size_t)size;
}

/* ---- EmptyCall, UnaryCall ---- */

static void empty_request(rpc_call *call, const Grpc__Testing__Empty *request)
{
    Grpc__Testing__Empty response = GRPC__TESTING__EMPTY__INIT;

    (void)request;
    grpc_testing_test_service_empty_call_reply(call, &response);
}

static void unary_request(rpc_call *call, const Grpc__Testing__SimpleRequest *request)
{
    Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload;

    metadata_echo(call);
    if (status_echo(call, request->response_status))
        return;
    if (!size_is_good(request->response_size)) {
        fail_with(call, WM_INVALID, "FIELD_INVALID", "no response can have this size");
        return;
    }
    payload_init(&payload, request->response_size);
    response.payload = &payload;
    grpc_testing_test_service_unary_call_reply(call, &response);
}

/* ---- StreamingInputCall: adds up ---- */

static void input_opened(rpc_call *call)
{
    rpc_set_data(call, WM_NEW(rpc_arena(call), int64_t));
    rpc_read(call);
}

static void input_message(rpc_call *call, const Grpc__Testing__StreamingInputCallRequest *message)
{
    if (message->payload != NULL)
        *(int64_t *)rpc_data(call) += (int64_t)message->payload->body.len;
    rpc_read(call);
}

static void input_half_closed(rpc_call *call)
{
    Grpc__Testing__StreamingInputCallResponse response =
        GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;

    response.aggregated_payload_size = (int32_t) * (int64_t *)rpc_data(call);
    grpc_testing_test_service_streaming_input_call_reply(call, &response);
}

static void input_cancelled(rpc_call *call)
{
    fail_with(call, WM_CANCELLED, "CALL_CANCELLED", "cancelled");
}

/* ---- StreamingOutputCall, FullDuplexCall, HalfDuplexCall: the machine ---- */

typedef struct owed {
    int32_t size, interval_us;
} owed;

/* One call's responses. It outlives the call by the closing of its timer. */
typedef struct output {
    rpc_call *call;
    uv_timer_t timer;
    owed *owed; /* RESPONSES_MAX of them */
    size_t n_owed, n_sent;
    bool has_paused;  /* for the next response */
    bool is_last;     /* no request comes any more */
    bool is_buffered; /* HalfDuplexCall: nothing is sent before the last request */
    bool is_over;
} output;

static void output_pump(output *output);

static void output_timer_closed(uv_handle_t *timer)
{
    output *output = timer->data;

    free(output->owed);
    free(output);
}

static void output_paused(uv_timer_t *timer)
{
    output *output = timer->data;

    output->has_paused = true;
    output_pump(output);
}

static output *output_new(rpc_call *call)
{
    output *output = calloc(1, sizeof(*output));
    owed *owed = calloc(RESPONSES_MAX, sizeof(*owed));

    if (output == NULL || owed == NULL)
        abort();
    output->call = call;
    output->owed = owed;
    output->timer.data = output;
    uv_timer_init(lane_loop(rpc_lane(call)), &output->timer);
    rpc_set_data(call, output);
    metadata_echo(call);
    return output;
}

static void output_fail(output *output, const char *message)
{
    output->is_over = true;
    fail_with(output->call, WM_INVALID, "FIELD_INVALID", message);
}

/* Takes over what a request asks for. False: the call has ended with an error. */
static bool output_add(output *output, const output_request *request)
{
    if (status_echo(output->call, request->response_status)) {
        output->is_over = true;
        return false;
    }
    if (output->n_sent == output->n_owed)
        output->n_sent = output->n_owed = 0;
    if (request->n_response_parameters > RESPONSES_MAX - output->n_owed) {
        output_fail(output, "more responses than one call may owe");
        return false;
    }
    for (size_t i = 0; i < request->n_response_parameters; i++) {
        const Grpc__Testing__ResponseParameters *asked = request->response_parameters[i];
        if (!size_is_good(asked->size) || asked->interval_us < 0) {
            output_fail(output, "no response can have this size or interval");
            return false;
        }
        output->owed[output->n_owed++] = (owed){asked->size, asked->interval_us};
    }
    return true;
}

/* Sends the next response, or begins to wait for when it may leave. True: it is sent. */
static bool output_send(output *output)
{
    Grpc__Testing__StreamingOutputCallResponse response =
        GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
    const owed *next = &output->owed[output->n_sent];
    Grpc__Testing__Payload payload;

    if (next->interval_us > 0 && !output->has_paused) {
        /* Rounded up: the interval is the least that the client asks for. */
        uint64_t pause_ms = ((uint64_t)next->interval_us + US_PER_MS - 1) / US_PER_MS;
        uv_timer_start(&output->timer, output_paused, pause_ms, 0);
        return false;
    }
    payload_init(&payload, next->size);
    response.payload = &payload;
    if (!rpc_send(output->call, &response.base))
        return false; /* writable() comes */
    output->n_sent++;
    output->has_paused = false;
    return true;
}

/* Goes as far as it can; called whenever something has changed. */
static void output_pump(output *output)
{
    if (output->is_over || uv_is_active((uv_handle_t *)&output->timer))
        return;
    while (!(output->is_buffered && !output->is_last) && output->n_sent < output->n_owed) {
        if (!output_send(output))
            return;
    }
    if (output->is_last) {
        output->is_over = true;
        rpc_finish(output->call);
    } else {
        rpc_read(output->call);
    }
}

static void output_request_came(rpc_call *call, const output_request *request)
{
    output *output = output_new(call);

    output->is_last = true;
    if (output_add(output, request))
        output_pump(output);
}

static void output_opened(rpc_call *call)
{
    output_pump(output_new(call));
}

static void output_opened_buffered(rpc_call *call)
{
    output *output = output_new(call);

    output->is_buffered = true;
    output_pump(output);
}

static void output_message(rpc_call *call, const output_request *message)
{
    output *output = rpc_data(call);

    if (output_add(output, message))
        output_pump(output);
}

static void output_half_closed(rpc_call *call)
{
    output *output = rpc_data(call);

    output->is_last = true;
    output_pump(output);
}

static void output_writable(rpc_call *call)
{
    output_pump(rpc_data(call));
}

static void output_cancelled(rpc_call *call)
{
    output *output = rpc_data(call);

    output->is_over = true;
    uv_timer_stop(&output->timer);
    rpc_finish(call);
}

static void output_ended(rpc_call *call)
{
    output *output = rpc_data(call);

    uv_close((uv_handle_t *)&output->timer, output_timer_closed);
}

/* ---- the service; UnimplementedCall has no handler ---- */

static const grpc_testing_test_service_handlers handlers = {
    .empty_call = {.flags = RPC_INLINE, .request = empty_request},
    .unary_call = {.flags = RPC_INLINE, .request = unary_request},
    .cacheable_unary_call = {.flags = RPC_INLINE, .request = unary_request},
    .streaming_output_call = {.request = output_request_came,
                              .writable = output_writable,
                              .cancelled = output_cancelled,
                              .ended = output_ended},
    .streaming_input_call = {.flags = RPC_MAY_BE_EMPTY,
                             .opened = input_opened,
                             .message = input_message,
                             .half_closed = input_half_closed,
                             .cancelled = input_cancelled},
    .full_duplex_call = {.flags = RPC_MAY_BE_EMPTY,
                         .opened = output_opened,
                         .message = output_message,
                         .half_closed = output_half_closed,
                         .writable = output_writable,
                         .cancelled = output_cancelled,
                         .ended = output_ended},
    .half_duplex_call = {.flags = RPC_MAY_BE_EMPTY,
                         .opened = output_opened_buffered,
                         .message = output_message,
                         .half_closed = output_half_closed,
                         .writable = output_writable,
                         .cancelled = output_cancelled,
                         .ended = output_ended},
};

/* ---- main ---- */

typedef struct options {
    rpc_listener listener;
    char address[32];
    bool is_gated;
} options;

static int usage(const char *program)
{
    fprintf(stderr, "usage: %s --port PORT [--tls CERT KEY] [--gate]\n", program);
    return 2;
}

static bool options_read(int argc, char **argv, options *options)
{
    rpc_listener *listener = &options->listener;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
            snprintf(options->address, sizeof(options->address), "[::]:%d", atoi(argv[++i]));
            listener->address = options->address;
        } else if (strcmp(argv[i], "--tls") == 0 && i + 2 < argc) {
            listener->cert_file = argv[++i];
            listener->key_file = argv[++i];
        } else if (strcmp(argv[i], "--gate") == 0) {
            options->is_gated = true;
        } else {
            return false;
        }
    }
    return listener->address != NULL;
}

/* Serves until a signal of `stop` comes. */
static int serve(const options *options, const sigset_t *stop)
{
    rpc_handler storage[GRPC_TESTING_TEST_SERVICE_HANDLERS_N];
    rpc_service service = grpc_testing_test_service_bind(&handlers, storage, NULL);
    rpc_server *server = NULL;
    lane *lane = NULL;
    gate *gate = NULL;
    wm_err err = {0};
    int number;

    if (lane_new(0, &lane, &err) != WM_OK)
        goto failed;
    rpc_config config = {.lanes = &lane,
                         .n_lanes = 1,
                         .listeners = &options->listener,
                         .n_listeners = options->is_gated ? 0 : 1,
                         .services = &service,
                         .n_services = 1};
    gate_limits limits;
    gate_limits_init(&limits);
    config.connection.streams_max = limits.streams;
    if (rpc_server_start(&config, &server, &err) != WM_OK)
        goto failed;
    gate_config gated = {.server = server,
                         .listeners = &options->listener,
                         .n_listeners = 1,
                         .lanes = &lane,
                         .n_lanes = 1};
    if (options->is_gated && gate_start(&gated, &gate, &err) != WM_OK)
        goto failed;
    rpc_server_set_serving(server, true);
    printf("serving on port %d\n",
           options->is_gated ? gate_port(gate, 0) : rpc_server_port(server, 0));
    fflush(stdout);
    sigwait(stop, &number);
    if (gate != NULL)
        gate_drain(gate, GRACE_MS);
    rpc_server_drain(server, GRACE_MS);
    gate_free(gate);
    rpc_server_free(server);
    lane_free(lane);
    return 0;

failed:
    fprintf(stderr, "%s\n", err.message);
    rpc_server_free(server);
    lane_free(lane);
    return 1;
}

int main(int argc, char **argv)
{
    options options = {0};
    sigset_t stop;

    if (!options_read(argc, argv, &options))
        return usage(argv[0]);
    /* Before any thread is made, so that all inherit it. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    return serve(&options, &stop);
}
