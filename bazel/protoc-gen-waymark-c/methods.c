/* protoc-gen-waymark-c/methods.c - FOO.methods.h and .c: what both sides know of a service. */
#include "bazel/protoc-gen-waymark-c/emit.h"

void emit_methods_header(FILE *out, const model_file *file)
{
    emit_header_begin(out, file, "methods",
                      file->is_tree ? "#include \"base/method.h\""
                                    : "#include <waymark/method.h>\n");
    for (size_t i = 0; i < file->n_services; i++) {
        const model_service *service = &file->services[i];

        fputc('\n', out);
        emit_comment(out, "", service->comment, service->deprecated, NULL);
        emit(out, file, service, NULL, "extern const wm_service $service$;\n\n");
        emit(out, file, service, NULL, "/* Indexes of $service$.methods. */\nenum {\n");
        for (size_t k = 0; k < service->n_methods; k++)
            emit(out, file, service, &service->methods[k], "    $SERVICE$_$METHOD$,\n");
        emit(out, file, service, NULL, "    $SERVICE$_METHODS_N\n};\n");
    }
    emit_header_end(out, file, "methods");
}

void emit_methods_source(FILE *out, const model_file *file)
{
    emit_source_begin(out, file, "methods");
    for (size_t i = 0; i < file->n_services; i++) {
        const model_service *service = &file->services[i];

        emit(out, file, service, NULL,
             "\nstatic const wm_method $service$__methods[$SERVICE$_METHODS_N + 1] = {\n");
        for (size_t k = 0; k < service->n_methods; k++) {
            const model_method *method = &service->methods[k];

            emit(out, file, service, method,
                 "    {\n"
                 "        .path = \"/$full$/$Method$\",\n"
                 "        .name = \"$Method$\",\n");
            fprintf(out, "        .client_streaming = %s,\n        .server_streaming = %s,\n",
                    method->client_streaming ? "true" : "false",
                    method->server_streaming ? "true" : "false");
            fprintf(out,
                    "        .deprecated = %s,\n        .idempotency = %s,\n"
                    "        .permission = %s,\n",
                    method->deprecated ? "true" : "false", method->idempotency, method->permission);
            emit(out, file, service, method,
                 "        .request = &$request$__descriptor,\n"
                 "        .response = &$response$__descriptor,\n"
                 "    },\n");
        }
        emit(out, file, service, NULL,
             "    {.path = NULL}, /* an array needs an element */\n"
             "};\n"
             "\n"
             "const wm_service $service$ = {\n"
             "    .name = \"$full$\",\n"
             "    .methods = $service$__methods,\n"
             "    .n_methods = $SERVICE$_METHODS_N,\n"
             "};\n");
    }
}
