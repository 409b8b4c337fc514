/* tests/interop/client.c - gRPC's own interop cases, called by our client stubs.
 *
 *   client --port PORT --test_case NAME [--host HOST] [--tls CA_FILE] [--tls_name NAME]
 *
 * Exits with 0 when the case passes; else it says what was not as it must be. The cases are those
 * of gRPC's interop-test-descriptions; each is a function of that name.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <waymark/waymark.h>

#include "grpc/testing/test.client.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

enum {
    LARGE_REQUEST_SIZE = 271828,
    LARGE_RESPONSE_SIZE = 314159,
    CASE_TIMEOUT_MS = 20000, /* no case may hang */
    N_STEPS = 4
};

static const int32_t request_sizes[N_STEPS] = {27182, 8, 1828, 45904};
static const int32_t response_sizes[N_STEPS] = {31415, 9, 2653, 58979};

static uint8_t zeros[LARGE_REQUEST_SIZE];

/* ---- what a case needs ---- */

static void expect(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ends the program when something is not as it must be. */
static void expect(bool holds, const char *format, ...)
{
    va_list arguments;

    if (holds)
        return;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static void expect_status(const waymark_status *status, waymark_code code)
{
    expect(status != NULL, "the call has not ended");
    expect(status->code == code, "%s (%s) instead of %s", waymark_code_name(status->code),
           status->message, waymark_code_name(code));
}

static void expect_message(const waymark_status *status, const char *message)
{
    expect(strcmp(status->message, message) == 0, "message \"%s\" instead of \"%s\"",
           status->message, message);
}

static void expect_payload(const Grpc__Testing__Payload *payload, int32_t size)
{
    expect(payload != NULL, "a response without a payload");
    expect(payload->type == GRPC__TESTING__PAYLOAD_TYPE__COMPRESSABLE, "payload type %d",
           (int)payload->type);
    expect(payload->body.len == (size_t)size, "a payload of %zu bytes instead of %" PRId32,
           payload->body.len, size);
}

static void expect_metadata(const waymark_status *status, const char *key, const char *value,
                            size_t size)
{
    size_t found = 0;

    for (size_t i = 0; i < status->n_metadata; i++) {
        const waymark_metadata *metadata = &status->metadata[i];
        if (strcmp(metadata->key, key) == 0 && metadata->size == size &&
            memcmp(metadata->value, value, size) == 0)
            found++;
    }
    expect(found == 1, "%s came back %zu times", key, found);
}

static Grpc__Testing__Payload payload_of(size_t size)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;

    payload.body.data = zeros;
    payload.body.len = size;
    return payload;
}

static waymark_call_options stream_options(void)
{
    return (waymark_call_options){.timeout_ms = CASE_TIMEOUT_MS};
}

/* A call of UnaryCall; the reply is to be freed. */
static const Grpc__Testing__SimpleResponse *unary_call(waymark_client *client, size_t request_size,
                                                       int32_t response_size,
                                                       const waymark_call_options *options,
                                                       waymark_reply **reply)
{
    Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    Grpc__Testing__Payload payload = payload_of(request_size);

    request.payload = &payload;
    request.response_size = response_size;
    return grpc_testing_test_service_unary_call_sync(client, &request, options, reply);
}

/* Writes one message to FullDuplexCall that asks for one response of a size. */
static bool duplex_write(waymark_stream *stream, size_t request_size, int32_t response_size)
{
    Grpc__Testing__StreamingOutputCallRequest request =
        GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    Grpc__Testing__ResponseParameters asked = GRPC__TESTING__RESPONSE_PARAMETERS__INIT;
    Grpc__Testing__ResponseParameters *parameters[] = {&asked};
    Grpc__Testing__Payload payload = payload_of(request_size);

    asked.size = response_size;
    request.payload = &payload;
    request.response_parameters = parameters;
    request.n_response_parameters = LENGTH(parameters);
    return grpc_testing_test_service_full_duplex_call_write_sync(stream, &request);
}

/* The same, and reads the response. */
static void duplex_exchange(waymark_stream *stream, size_t request_size, int32_t response_size)
{
    const Grpc__Testing__StreamingOutputCallResponse *response;

    expect(duplex_write(stream, request_size, response_size), "the stream ended before a write");
    response = grpc_testing_test_service_full_duplex_call_read_sync(stream);
    expect(response != NULL, "the stream ended before its response");
    expect_payload(response->payload, response_size);
}

/* Reads what must be the end. */
static const waymark_status *duplex_end(waymark_stream *stream)
{
    expect(grpc_testing_test_service_full_duplex_call_read_sync(stream) == NULL,
           "a response that nobody asked for");
    return waymark_stream_status(stream);
}

/* ---- the cases ---- */

static void empty_unary(waymark_client *client)
{
    Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    waymark_reply *reply;

    grpc_testing_test_service_empty_call_sync(client, &request, NULL, &reply);
    expect_status(waymark_reply_status(reply), WAYMARK_OK);
    waymark_reply_free(reply);
}

static void large_unary(waymark_client *client)
{
    const Grpc__Testing__SimpleResponse *response;
    waymark_reply *reply;

    response = unary_call(client, LARGE_REQUEST_SIZE, LARGE_RESPONSE_SIZE, NULL, &reply);
    expect_status(waymark_reply_status(reply), WAYMARK_OK);
    expect_payload(response->payload, LARGE_RESPONSE_SIZE);
    waymark_reply_free(reply);
}

static void client_streaming(waymark_client *client)
{
    waymark_call_options options = stream_options();
    const Grpc__Testing__StreamingInputCallResponse *response;
    waymark_stream *stream;
    int32_t sum = 0;

    stream = grpc_testing_test_service_streaming_input_call_open(client, &options, NULL, NULL);
    for (size_t i = 0; i < N_STEPS; i++) {
        Grpc__Testing__StreamingInputCallRequest request =
            GRPC__TESTING__STREAMING_INPUT_CALL_REQUEST__INIT;
        Grpc__Testing__Payload payload = payload_of((size_t)request_sizes[i]);

        request.payload = &payload;
        expect(grpc_testing_test_service_streaming_input_call_write_sync(stream, &request),
               "the stream ended before a write");
        sum += request_sizes[i];
    }
    response = grpc_testing_test_service_streaming_input_call_finish_sync(stream);
    expect_status(waymark_stream_status(stream), WAYMARK_OK);
    expect(response->aggregated_payload_size == sum, "a sum of %" PRId32 " instead of %" PRId32,
           response->aggregated_payload_size, sum);
    waymark_stream_free(stream);
}

static void server_streaming(waymark_client *client)
{
    waymark_call_options options = stream_options();
    Grpc__Testing__StreamingOutputCallRequest request =
        GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    Grpc__Testing__ResponseParameters asked[N_STEPS], *parameters[N_STEPS];
    const Grpc__Testing__StreamingOutputCallResponse *response;
    waymark_stream *stream;

    for (size_t i = 0; i < N_STEPS; i++) {
        grpc__testing__response_parameters__init(&asked[i]);
        asked[i].size = response_sizes[i];
        parameters[i] = &asked[i];
    }
    request.response_parameters = parameters;
    request.n_response_parameters = N_STEPS;
    stream = grpc_testing_test_service_streaming_output_call_open(client, &request, &options, NULL,
                                                                  NULL);
    for (size_t i = 0; i < N_STEPS; i++) {
        response = grpc_testing_test_service_streaming_output_call_read_sync(stream);
        expect(response != NULL, "the stream ended after %zu responses", i);
        expect_payload(response->payload, response_sizes[i]);
    }
    expect(grpc_testing_test_service_streaming_output_call_read_sync(stream) == NULL,
           "a response that nobody asked for");
    expect_status(waymark_stream_status(stream), WAYMARK_OK);
    waymark_stream_free(stream);
}

static void ping_pong(waymark_client *client)
{
    waymark_call_options options = stream_options();
    waymark_stream *stream;

    stream = grpc_testing_test_service_full_duplex_call_open(client, &options, NULL, NULL);
    for (size_t i = 0; i < N_STEPS; i++)
        duplex_exchange(stream, (size_t)request_sizes[i], response_sizes[i]);
    waymark_stream_close(stream);
    expect_status(duplex_end(stream), WAYMARK_OK);
    waymark_stream_free(stream);
}

static void empty_stream(waymark_client *client)
{
    waymark_call_options options = stream_options();
    waymark_stream *stream;

    stream = grpc_testing_test_service_full_duplex_call_open(client, &options, NULL, NULL);
    waymark_stream_close(stream);
    expect_status(duplex_end(stream), WAYMARK_OK);
    waymark_stream_free(stream);
}

static void timeout_on_sleeping_server(waymark_client *client)
{
    waymark_call_options options = {.timeout_ms = 1};
    Grpc__Testing__StreamingOutputCallRequest request =
        GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    Grpc__Testing__Payload payload = payload_of(27182);
    waymark_stream *stream;

    request.payload = &payload;
    stream = grpc_testing_test_service_full_duplex_call_open(client, &options, NULL, NULL);
    /* The deadline may pass before the write; the end says so. */
    (void)grpc_testing_test_service_full_duplex_call_write_sync(stream, &request);
    expect_status(duplex_end(stream), WAYMARK_DEADLINE_EXCEEDED);
    waymark_stream_free(stream);
}

static void cancel_after_begin(waymark_client *client)
{
    waymark_call_options options = stream_options();
    waymark_stream *stream;

    stream = grpc_testing_test_service_streaming_input_call_open(client, &options, NULL, NULL);
    waymark_stream_cancel(stream);
    expect(grpc_testing_test_service_streaming_input_call_finish_sync(stream) == NULL,
           "a response to a cancelled call");
    expect_status(waymark_stream_status(stream), WAYMARK_CANCELLED);
    waymark_stream_free(stream);
}

static void cancel_after_first_response(waymark_client *client)
{
    waymark_call_options options = stream_options();
    waymark_stream *stream;

    stream = grpc_testing_test_service_full_duplex_call_open(client, &options, NULL, NULL);
    duplex_exchange(stream, 27182, 31415);
    waymark_stream_cancel(stream);
    expect_status(duplex_end(stream), WAYMARK_CANCELLED);
    waymark_stream_free(stream);
}

static void status_of_unary(waymark_client *client, Grpc__Testing__EchoStatus *echo)
{
    Grpc__Testing__SimpleRequest request = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    waymark_reply *reply;

    request.response_status = echo;
    grpc_testing_test_service_unary_call_sync(client, &request, NULL, &reply);
    expect_status(waymark_reply_status(reply), (waymark_code)echo->code);
    expect_message(waymark_reply_status(reply), echo->message);
    waymark_reply_free(reply);
}

static void status_code_and_message(waymark_client *client)
{
    waymark_call_options options = stream_options();
    Grpc__Testing__StreamingOutputCallRequest request =
        GRPC__TESTING__STREAMING_OUTPUT_CALL_REQUEST__INIT;
    Grpc__Testing__EchoStatus echo = GRPC__TESTING__ECHO_STATUS__INIT;
    waymark_stream *stream;

    echo.code = WAYMARK_UNKNOWN;
    echo.message = "test status message";
    status_of_unary(client, &echo);

    request.response_status = &echo;
    stream = grpc_testing_test_service_full_duplex_call_open(client, &options, NULL, NULL);
    expect(grpc_testing_test_service_full_duplex_call_write_sync(stream, &request),
           "the stream ended before the write");
    waymark_stream_close(stream);
    expect_status(duplex_end(stream), WAYMARK_UNKNOWN);
    expect_message(waymark_stream_status(stream), echo.message);
    waymark_stream_free(stream);
}

static void special_status_message(waymark_client *client)
{
    Grpc__Testing__EchoStatus echo = GRPC__TESTING__ECHO_STATUS__INIT;

    echo.code = WAYMARK_UNKNOWN;
    echo.message = "\t\ntest with whitespace\r\nand Unicode BMP \xe2\x98\xba and non-BMP "
                   "\xf0\x9f\x98\x88\t\n";
    status_of_unary(client, &echo);
}

static void custom_metadata(waymark_client *client)
{
    static const char initial[] = "test_initial_metadata_value";
    static const char trailing[] = "\xab\xab\xab";
    static const waymark_metadata metadata[] = {
        {"x-grpc-test-echo-initial", initial, sizeof(initial) - 1},
        {"x-grpc-test-echo-trailing-bin", trailing, sizeof(trailing) - 1},
    };
    waymark_call_options options = {.timeout_ms = CASE_TIMEOUT_MS,
                                    .want_metadata = true,
                                    .metadata = metadata,
                                    .n_metadata = LENGTH(metadata)};
    const Grpc__Testing__SimpleResponse *response;
    waymark_stream *stream;
    waymark_reply *reply;

    response = unary_call(client, LARGE_REQUEST_SIZE, LARGE_RESPONSE_SIZE, &options, &reply);
    expect_status(waymark_reply_status(reply), WAYMARK_OK);
    expect_payload(response->payload, LARGE_RESPONSE_SIZE);
    for (size_t i = 0; i < LENGTH(metadata); i++)
        expect_metadata(waymark_reply_status(reply), metadata[i].key, metadata[i].value,
                        metadata[i].size);
    waymark_reply_free(reply);

    stream = grpc_testing_test_service_full_duplex_call_open(client, &options, NULL, NULL);
    duplex_exchange(stream, LARGE_REQUEST_SIZE, LARGE_RESPONSE_SIZE);
    waymark_stream_close(stream);
    expect_status(duplex_end(stream), WAYMARK_OK);
    for (size_t i = 0; i < LENGTH(metadata); i++)
        expect_metadata(waymark_stream_status(stream), metadata[i].key, metadata[i].value,
                        metadata[i].size);
    waymark_stream_free(stream);
}

static void unimplemented_method(waymark_client *client)
{
    Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    waymark_reply *reply;

    grpc_testing_test_service_unimplemented_call_sync(client, &request, NULL, &reply);
    expect_status(waymark_reply_status(reply), WAYMARK_UNIMPLEMENTED);
    waymark_reply_free(reply);
}

static void unimplemented_service(waymark_client *client)
{
    Grpc__Testing__Empty request = GRPC__TESTING__EMPTY__INIT;
    waymark_reply *reply;

    grpc_testing_unimplemented_service_unimplemented_call_sync(client, &request, NULL, &reply);
    expect_status(waymark_reply_status(reply), WAYMARK_UNIMPLEMENTED);
    waymark_reply_free(reply);
}

typedef struct interop_case {
    const char *name;
    void (*run)(waymark_client *client);
} interop_case;

#define CASE(name)  \
    {               \
#name, name \
    }
static const interop_case cases[] = {
    CASE(empty_unary),
    CASE(large_unary),
    CASE(client_streaming),
    CASE(server_streaming),
    CASE(ping_pong),
    CASE(empty_stream),
    CASE(timeout_on_sleeping_server),
    CASE(cancel_after_begin),
    CASE(cancel_after_first_response),
    CASE(status_code_and_message),
    CASE(special_status_message),
    CASE(custom_metadata),
    CASE(unimplemented_method),
    CASE(unimplemented_service),
};

/* ---- main ---- */

typedef struct options {
    const char *host, *port, *test_case;
    waymark_client_options client;
} options;

static bool options_read(options *options, int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--host") == 0)
            options->host = argv[i + 1];
        else if (strcmp(argv[i], "--port") == 0)
            options->port = argv[i + 1];
        else if (strcmp(argv[i], "--test_case") == 0)
            options->test_case = argv[i + 1];
        else if (strcmp(argv[i], "--tls") == 0)
            options->client.ca_file = argv[i + 1];
        else if (strcmp(argv[i], "--tls_name") == 0)
            options->client.tls_name = argv[i + 1];
        else
            return false;
    }
    options->client.tls = options->client.ca_file != NULL;
    return argc % 2 == 1 && options->port != NULL && options->test_case != NULL;
}

static const interop_case *case_find(const char *name)
{
    for (size_t i = 0; i < LENGTH(cases); i++)
        if (strcmp(cases[i].name, name) == 0)
            return &cases[i];
    return NULL;
}

static int usage(const char *program)
{
    fprintf(stderr,
            "usage: %s --port PORT --test_case NAME [--host HOST] [--tls CA_FILE]"
            " [--tls_name NAME]\ncases:",
            program);
    for (size_t i = 0; i < LENGTH(cases); i++)
        fprintf(stderr, " %s", cases[i].name);
    fputc('\n', stderr);
    return 2;
}

int main(int argc, char **argv)
{
    options options = {.host = "localhost", .client = {.timeout_ms = CASE_TIMEOUT_MS}};
    const interop_case *chosen;
    waymark_problem problem;
    waymark_client *client;
    char address[300];

    if (!options_read(&options, argc, argv) || (chosen = case_find(options.test_case)) == NULL)
        return usage(argv[0]);
    snprintf(address, sizeof(address), "%s:%s", options.host, options.port);
    options.client.address = address;
    client = waymark_client_new(&options.client, &problem);
    expect(client != NULL, "%s", problem.message);
    chosen->run(client);
    waymark_client_free(client);
    printf("%s passed\n", chosen->name);
    return 0;
}
