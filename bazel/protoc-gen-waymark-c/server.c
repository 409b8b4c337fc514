/* protoc-gen-waymark-c/server.c - FOO.server.h and .c: typed handlers over server/rpc.
 *
 * A typed handler cannot be called through a pointer of the generic type (C forbids it where
 * parameter types differ), so each method gets a trampoline with the generic type. It finds
 * the typed one in the handlers struct that bind() put into rpc_handler.typed.
 */
#include "bazel/protoc-gen-waymark-c/emit.h"

static void handlers_member(FILE *out, const model_file *file, const model_service *service,
                            const model_method *method)
{
    emit_comment(out, "    ", method->comment, method->deprecated, NULL);
    fputs("    struct {\n"
          "        unsigned flags;\n",
          out);
    if (method->client_streaming)
        emit(out, file, service, method,
             "        void (*opened)($rpc$call *call);\n"
             "        void (*message)($rpc$call *call, const $Request$ *message);\n"
             "        void (*half_closed)($rpc$call *call);\n");
    else
        emit(out, file, service, method,
             "        void (*request)($rpc$call *call, const $Request$ *request);\n");
    emit(out, file, service, method,
         "        void (*writable)($rpc$call *call);\n"
         "        void (*cancelled)($rpc$call *call);\n"
         "        void (*ended)($rpc$call *call);\n"
         "    } $member$;\n");
}

static void sender(FILE *out, const model_file *file, const model_service *service,
                   const model_method *method)
{
    if (method->server_streaming)
        emit(
            out, file, service, method,
            "\n"
            "/* $rpc$send() for $Method$: false means wait for writable(). */\n"
            "$MUST_USE$ static inline bool $call$_send($rpc$call *call, const $Response$ *message)\n"
            "{\n"
            "    return $rpc$send(call, &message->base);\n"
            "}\n");
    else
        emit(out, file, service, method,
             "\n"
             "/* $rpc$reply() for $Method$. */\n"
             "static inline void $call$_reply($rpc$call *call, const $Response$ *response)\n"
             "{\n"
             "    $rpc$reply(call, &response->base);\n"
             "}\n");
}

void emit_server_header(FILE *out, const model_file *file)
{
    emit_header_begin(out, file, "server",
                      file->is_tree ? "#include \"server/rpc/rpc.h\""
                                    : "#include <waymark/server.h>\n");
    for (size_t i = 0; i < file->n_services; i++) {
        const model_service *service = &file->services[i];

        emit(out, file, service, NULL,
             "\n"
             "enum { $SERVICE$_HANDLERS_N = $n_methods$ };\n"
             "\n");
        emit_comment(out, "", service->comment, service->deprecated,
                     "A method without request() or opened() answers UNIMPLEMENTED.");
        emit(out, file, service, NULL, "typedef struct $service$_handlers {\n");
        for (size_t k = 0; k < service->n_methods; k++)
            handlers_member(out, file, service, &service->methods[k]);
        if (service->n_methods == 0)
            fputs("    char unused; /* the service has no methods */\n", out);
        emit(
            out, file, service, NULL,
            "} $service$_handlers;\n"
            "\n"
            "/* The service with these handlers, for the server. `handlers` and `storage`\n"
            " * ($SERVICE$_HANDLERS_N elements) live as long as the server; `ctx` is $rpc$ctx(). */\n"
            "$type$service $service$_bind(const $service$_handlers *handlers, $type$handler *storage,\n"
            "    void *ctx);\n");
        for (size_t k = 0; k < service->n_methods; k++)
            sender(out, file, service, &service->methods[k]);
    }
    emit_header_end(out, file, "server");
}

static void trampoline(FILE *out, const model_file *file, const model_service *service,
                       const model_method *method)
{
    emit(out, file, service, method,
         method->client_streaming
             ? "\n"
               "static void $call$__message($rpc$call *call, const ProtobufCMessage *message)\n"
               "{\n"
               "    const $service$_handlers *handlers = $typed$(call);\n"
               "\n"
               "    handlers->$member$.message(call, (const $Request$ *)(const void *)message);\n"
               "}\n"
             : "\n"
               "static void $call$__request($rpc$call *call, const ProtobufCMessage *request)\n"
               "{\n"
               "    const $service$_handlers *handlers = $typed$(call);\n"
               "\n"
               "    handlers->$member$.request(call, (const $Request$ *)(const void *)request);\n"
               "}\n");
}

static void unimplemented(FILE *out, const model_file *file, const model_service *service)
{
    bool any_opened = false, any_request = false;

    for (size_t k = 0; k < service->n_methods; k++) {
        any_opened = any_opened || service->methods[k].client_streaming;
        any_request = any_request || !service->methods[k].client_streaming;
    }
    if (!any_opened && !any_request)
        return;
    emit(out, file, service, NULL,
         "\n"
         "static void $service$__no_opened($rpc$call *call)\n"
         "{\n");
    emit(
        out, file, service, NULL,
        file->is_tree
            ? "    wm_err err;\n"
              "\n"
              "    wm_fail(&err, WM_UNIMPLEMENTED, \"METHOD_UNKNOWN\", \"%s is not implemented\",\n"
              "            rpc_method(call)->path);\n"
              "    rpc_fail(call, &err);\n"
              "}\n"
            : "    waymark_server_fail(call, WAYMARK_UNIMPLEMENTED, \"METHOD_UNKNOWN\",\n"
              "        \"%s is not implemented\", waymark_server_method(call)->path);\n"
              "}\n");
    if (any_request)
        emit(out, file, service, NULL,
             "\n"
             "static void $service$__no_request($rpc$call *call, const ProtobufCMessage *request)\n"
             "{\n"
             "    (void)request;\n"
             "    $service$__no_opened(call);\n"
             "}\n");
}

static void bind_method(FILE *out, const model_file *file, const model_service *service,
                        const model_method *method)
{
    emit(out, file, service, method,
         "    storage[$SERVICE$_$METHOD$] = ($type$handler){\n"
         "        .method = &$service$.methods[$SERVICE$_$METHOD$],\n"
         "        .flags = handlers->$member$.flags,\n");
    if (method->client_streaming)
        emit(out, file, service, method,
             "        .opened = handlers->$member$.opened ? handlers->$member$.opened\n"
             "                                            : $service$__no_opened,\n"
             "        .message = handlers->$member$.message ? $call$__message : NULL,\n"
             "        .half_closed = handlers->$member$.half_closed,\n");
    else
        emit(out, file, service, method,
             "        .request = handlers->$member$.request ? $call$__request\n"
             "                                              : $service$__no_request,\n");
    emit(out, file, service, method,
         "        .writable = handlers->$member$.writable,\n"
         "        .cancelled = handlers->$member$.cancelled,\n"
         "        .ended = handlers->$member$.ended,\n"
         "        .typed = handlers,\n"
         "    };\n");
}

/* The protos, for reflection. waymark's own server has one set for all of its services. */
static void files(FILE *out, const model_file *file)
{
    enum { BYTES_PER_LINE = 20 };

    fputs("\n/* A FileDescriptorSet: this proto and all that it imports, without comments. */\n"
          "static const unsigned char waymark__files[] = {",
          out);
    for (size_t i = 0; i < file->set_size; i++)
        fprintf(out, "%s%u,", i % BYTES_PER_LINE == 0 ? "\n    " : " ", (unsigned)file->set[i]);
    fputs("\n};\n", out);
}

void emit_server_source(FILE *out, const model_file *file)
{
    emit_source_begin(out, file, "server");
    emit(out, file, NULL, NULL, "\n#include \"$stem$.methods.h\"\n");
    if (!file->is_tree && file->n_services > 0)
        files(out, file);
    for (size_t i = 0; i < file->n_services; i++) {
        const model_service *service = &file->services[i];

        for (size_t k = 0; k < service->n_methods; k++)
            trampoline(out, file, service, &service->methods[k]);
        unimplemented(out, file, service);
        emit(
            out, file, service, NULL,
            "\n"
            "$type$service $service$_bind(const $service$_handlers *handlers, $type$handler *storage,\n"
            "    void *ctx)\n"
            "{\n");
        for (size_t k = 0; k < service->n_methods; k++)
            bind_method(out, file, service, &service->methods[k]);
        if (service->n_methods == 0)
            fputs("    (void)handlers;\n", out);
        emit(
            out, file, service, NULL,
            file->is_tree
                ? "    return (rpc_service){.service = &$service$, .handlers = storage, .ctx = ctx};\n"
                  "}\n"
                : "    return (waymark_service){\n"
                  "        .service = &$service$,\n"
                  "        .handlers = storage,\n"
                  "        .ctx = ctx,\n"
                  "        .files = waymark__files,\n"
                  "        .files_size = sizeof(waymark__files),\n"
                  "    };\n"
                  "}\n");
    }
}
