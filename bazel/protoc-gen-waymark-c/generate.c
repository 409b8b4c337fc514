/* protoc-gen-waymark-c/generate.c - from a CodeGeneratorRequest to a CodeGeneratorResponse. */
#include "bazel/protoc-gen-waymark-c/generate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/clash.h"
#include "bazel/protoc-gen-waymark-c/emit.h"
#include "bazel/protoc-gen-waymark-c/memory.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest request_type;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse response_type;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse__File output_type;

static const struct {
    const char *kind;
    unsigned option;
    void (*header)(FILE *out, const model_file *file);
    void (*source)(FILE *out, const model_file *file);
} kinds[] = {
    {"methods", OPTION_METHODS, emit_methods_header, emit_methods_source},
    {"server", OPTION_SERVER, emit_server_header, emit_server_source},
    {"client", OPTION_CLIENT, emit_client_header, emit_client_source},
};

enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void fail(response_type *response, const char *fmt, ...)
{
    va_list args;

    if (response->error)
        return; /* the first one says it */
    va_start(args, fmt);
    response->error = format_list(fmt, args);
    va_end(args);
}

static void add_file(response_type *response, const model_file *file, const char *kind,
                     const char *extension, void (*write)(FILE *out, const model_file *file))
{
    output_type *output = must(malloc(sizeof(*output)));
    size_t size;
    FILE *out;

    google__protobuf__compiler__code_generator_response__file__init(output);
    output->name = format("%s.%s.%s", file->stem, kind, extension);
    out = must(open_memstream(&output->content, &size));
    write(out, file);
    if (fclose(out) != 0)
        abort();
    response->file =
        must(realloc(response->file, (response->n_file + 1) * sizeof(response->file[0])));
    response->file[response->n_file++] = output;
}

static void add_stubs(response_type *response, const model_file *file, unsigned wanted)
{
    for (size_t k = 0; k < N_KINDS && file->n_services > 0; k++) {
        if (!(wanted & kinds[k].option))
            continue;
        add_file(response, file, kinds[k].kind, "h", kinds[k].header);
        add_file(response, file, kinds[k].kind, "c", kinds[k].source);
    }
}

response_type *generate(const request_type *request, const options *options)
{
    response_type *response = must(malloc(sizeof(*response)));

    google__protobuf__compiler__code_generator_response__init(response);
    response->has_supported_features = true;
    response->supported_features =
        GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_RESPONSE__FEATURE__FEATURE_PROTO3_OPTIONAL;
    for (size_t i = 0; i < request->n_file_to_generate && !response->error; i++) {
        model_file *file = model_new(request, request->file_to_generate[i]);

        if (!file) {
            fail(response, "%s: it, or a type it uses, is not in the request",
                 request->file_to_generate[i]);
            break;
        }
        file->is_tree = options->is_tree;
        response->error = clash_of_services(file);
        if (response->error == NULL)
            add_stubs(response, file, options->kinds);
        model_free(file);
    }
    return response;
}

void generate_add(response_type *response, response_type *more)
{
    size_t n = response->n_file + more->n_file;

    if (more->error && !response->error) {
        response->error = more->error;
        more->error = NULL;
    }
    if (more->n_file == 0)
        return;
    response->file = must(realloc(response->file, n * sizeof(response->file[0])));
    memcpy(&response->file[response->n_file], more->file, more->n_file * sizeof(more->file[0]));
    response->n_file = n;
    more->n_file = 0; /* they have moved */
}
