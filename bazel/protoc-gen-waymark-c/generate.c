/* protoc-gen-waymark-c/generate.c - from a CodeGeneratorRequest to a CodeGeneratorResponse.
 *
 * Options, separated by commas, say what comes out: "methods", "server", "client". None of
 * them means all. Files without services give nothing.
 */
#include "bazel/protoc-gen-waymark-c/generate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/emit.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest request_type;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse response_type;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse__File output_type;

static const struct {
    const char *kind;
    void (*header)(FILE *out, const model_file *file);
    void (*source)(FILE *out, const model_file *file);
} kinds[] = {
    {"methods", emit_methods_header, emit_methods_source},
    {"server", emit_server_header, emit_server_source},
    {"client", emit_client_header, emit_client_source},
};

enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static void fail(response_type *response, const char *fmt, ...)
{
    va_list args;

    if (response->error)
        return; /* the first one says it */
    va_start(args, fmt);
    if (vasprintf(&response->error, fmt, args) < 0)
        abort();
    va_end(args);
}

/* Which kinds are wanted, as a bit set. */
static unsigned parse_options(response_type *response, const char *options)
{
    unsigned wanted = 0;

    while (options && *options) {
        size_t length = strcspn(options, ","), i;

        for (i = 0; i < N_KINDS; i++)
            if (strlen(kinds[i].kind) == length && memcmp(kinds[i].kind, options, length) == 0)
                break;
        if (i == N_KINDS)
            fail(response, "unknown option \"%.*s\"; known are methods, server, client",
                 (int)length, options);
        else
            wanted |= 1u << i;
        options += length + (options[length] == ',');
    }
    return wanted ? wanted : (1u << N_KINDS) - 1;
}

static void add_file(response_type *response, const model_file *file, const char *kind,
                     const char *extension, void (*write)(FILE *out, const model_file *file))
{
    output_type *output = must(malloc(sizeof(*output)));
    size_t size;
    FILE *out;

    google__protobuf__compiler__code_generator_response__file__init(output);
    if (asprintf(&output->name, "%s.%s.%s", file->stem, kind, extension) < 0)
        abort();
    out = must(open_memstream(&output->content, &size));
    write(out, file);
    if (fclose(out) != 0)
        abort();
    response->file =
        must(realloc(response->file, (response->n_file + 1) * sizeof(response->file[0])));
    response->file[response->n_file++] = output;
}

response_type *generate(const request_type *request)
{
    response_type *response = must(malloc(sizeof(*response)));
    unsigned wanted;

    google__protobuf__compiler__code_generator_response__init(response);
    wanted = parse_options(response, request->parameter);
    for (size_t i = 0; i < request->n_file_to_generate && !response->error; i++) {
        model_file *file = model_new(request, request->file_to_generate[i]);

        if (!file) {
            fail(response, "%s: it, or a type it uses, is not in the request",
                 request->file_to_generate[i]);
            break;
        }
        for (size_t k = 0; k < N_KINDS && file->n_services > 0; k++) {
            if (!(wanted & (1u << k)))
                continue;
            add_file(response, file, kinds[k].kind, "h", kinds[k].header);
            add_file(response, file, kinds[k].kind, "c", kinds[k].source);
        }
        model_free(file);
    }
    return response;
}
