/* protoc-gen-waymark-c/main.c - the plugin: a request on standard input, a response on
 * standard output.
 *
 * What is wrong with the protos travels in the response, as protoc wants it; only a broken
 * pipe or a request that does not parse makes the program fail.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/generate.h"
#include "bazel/protoc-gen-waymark-c/messages.h"
#include "bazel/protoc-gen-waymark-c/run.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest request_type;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse response_type;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "protoc-gen-waymark-c: %s: %s\n", what, why);
    exit(1);
}

static request_type *read_request(void)
{
    size_t size;
    uint8_t *bytes = run_read_all(stdin, &size);
    request_type *request;

    if (!bytes)
        die("cannot read the request", strerror(errno));
    request = google__protobuf__compiler__code_generator_request__unpack(NULL, size, bytes);
    free(bytes);
    if (!request)
        die("the request", "not a CodeGeneratorRequest; protoc runs this program");
    return request;
}

/* Adds what protoc-gen-c makes of the request. */
static void add_messages(response_type *response, const request_type *request,
                         const char *protoc_gen_c)
{
    messages_plan *plan = messages_plan_new(request);
    const char *error = messages_error(plan);
    response_type *messages = NULL;

    if (error)
        response->error = strdup(error);
    else
        messages = run_plugin(protoc_gen_c, messages_request(plan), &response->error);
    if (messages) {
        messages_finish(plan, messages);
        generate_add(response, messages);
        google__protobuf__compiler__code_generator_response__free_unpacked(messages, NULL);
    }
    messages_plan_free(plan);
}

static void write_response(const response_type *response)
{
    size_t size = google__protobuf__compiler__code_generator_response__get_packed_size(response);
    uint8_t *packed = malloc(size + 1);

    if (!packed)
        die("the response", "out of memory");
    google__protobuf__compiler__code_generator_response__pack(response, packed);
    if (fwrite(packed, 1, size, stdout) != size || fflush(stdout) != 0)
        die("cannot write the response", strerror(errno));
    free(packed);
}

/* protoc gives no arguments: whoever does is a person. */
static int print_help(void)
{
    puts("protoc-gen-waymark-c - a plugin of protoc that makes gRPC clients and servers in C\n"
         "\n"
         "  protoc --waymark-c_out=[OPTIONS:]DIR FILE.proto...\n"
         "\n"
         "Options, separated by commas:\n"
         "  messages, methods, server, client   what comes out; none of them means all\n"
         "  protoc-gen-c=PATH                   the program that makes the messages (from PATH)\n"
         "\n"
         "For each FILE.proto it writes FILE.pb-c.h and .c, and where there are services also\n"
         "FILE.methods, FILE.server and FILE.client.");
    return 0;
}

static int run(void)
{
    request_type *request = read_request();
    options options;
    char *error = options_parse(&options, request->parameter);
    response_type *response = generate(request, &options);

    if (error) {
        free(response->error);
        response->error = error;
    }
    if (!response->error && (options.kinds & OPTION_MESSAGES))
        add_messages(response, request, options.protoc_gen_c);
    write_response(response);

    google__protobuf__compiler__code_generator_response__free_unpacked(response, NULL);
    google__protobuf__compiler__code_generator_request__free_unpacked(request, NULL);
    free(options.protoc_gen_c);
    return 0;
}

int main(int argc, char **argv)
{
    (void)argv;
    return argc > 1 ? print_help() : run();
}
