/* protoc-gen-waymark-c/client.c - FOO.client.h and .c: typed calls over include/waymark/call.h.
 *
 * The runtime keeps a typed callback as a pointer of a generic type and hands it back to a
 * trampoline here, which knows the type: nothing is ever called through a wrong one.
 */
#include "bazel/protoc-gen-waymark-c/emit.h"

static const char *deprecated_mark(const model_method *method)
{
    return method->deprecated ? "WAYMARK_DEPRECATED\n" : "";
}

static void unary_header(FILE *out, const model_file *file, const model_service *service,
                         const model_method *method)
{
    emit(out, file, service, method,
         "\n"
         "/* How a call of $Method$ ended; `response` is NULL unless the status is OK. Both are\n"
         " * gone after the return. */\n"
         "typedef void (*$call$_done)(void *ctx, const waymark_status *status,\n"
         "    const $Response$ *response);\n"
         "\n");
    emit_comment(out, "", method->comment, method->deprecated,
                 "Calls done() exactly once, on a thread of the client. Any thread.");
    fputs(deprecated_mark(method), out);
    emit(out, file, service, method,
         "void $call$(waymark_client *client,\n"
         "    const $Request$ *request,\n"
         "    const waymark_call_options *options, $call$_done done, void *ctx);\n"
         "\n"
         "/* The same and waits. NULL unless the status is OK; see waymark_reply_status(). The\n"
         " * response lives as long as the reply, to be freed with waymark_reply_free(). */\n");
    fputs(deprecated_mark(method), out);
    emit(out, file, service, method,
         "const $Response$ *$call$_sync(\n"
         "    waymark_client *client, const $Request$ *request,\n"
         "    const waymark_call_options *options, waymark_reply **reply);\n");
}

static void stream_callbacks(FILE *out, const model_file *file, const model_service *service,
                             const model_method *method)
{
    emit(out, file, service, method,
         "\n"
         "/* What happens on a $Method$ stream; see waymark/call.h. Members may be NULL. */\n"
         "typedef struct $call$_callbacks {\n");
    if (method->server_streaming)
        emit(
            out, file, service, method,
            "    void (*message)(void *ctx, waymark_stream *stream, const $Response$ *message);\n");
    if (method->client_streaming)
        fputs("    void (*writable)(void *ctx, waymark_stream *stream);\n", out);
    emit(
        out, file, service, method,
        method->server_streaming
            ? "    void (*ended)(void *ctx, waymark_stream *stream, const waymark_status *status);\n"
            : "    void (*ended)(void *ctx, waymark_stream *stream, const waymark_status *status,\n"
              "        const $Response$ *response);\n");
    emit(out, file, service, method, "} $call$_callbacks;\n\n");
}

static void stream_header(FILE *out, const model_file *file, const model_service *service,
                          const model_method *method)
{
    stream_callbacks(out, file, service, method);
    emit_comment(out, "", method->comment, method->deprecated,
                 "`callbacks` stay valid until ended(); NULL opens a stream for the _sync calls.\n"
                 "The stream is to be freed with waymark_stream_free(). Any thread.");
    fputs(deprecated_mark(method), out);
    emit(out, file, service, method, "waymark_stream *$call$_open(waymark_client *client,\n");
    if (!method->client_streaming)
        emit(out, file, service, method, "    const $Request$ *request,\n");
    emit(out, file, service, method,
         "    const waymark_call_options *options,\n"
         "    const $call$_callbacks *callbacks, void *ctx);\n");
    if (method->client_streaming)
        emit(out, file, service, method,
             "/* Writes a message; packed before this returns. False: wait for writable(). */\n"
             "WAYMARK_MUST_USE bool $call$_write(waymark_stream *stream,\n"
             "    const $Request$ *message);\n"
             "/* The same and waits. False: the stream has ended. */\n"
             "bool $call$_write_sync(waymark_stream *stream,\n"
             "    const $Request$ *message);\n");
    if (method->server_streaming)
        emit(out, file, service, method,
             "/* Waits for the next message, which lives until the next call of this or the free.\n"
             " * NULL: the stream has ended; see waymark_stream_status(). */\n"
             "const $Response$ *$call$_read_sync(waymark_stream *stream);\n");
    else
        emit(out, file, service, method,
             "/* No more messages from here; waits for the response, which lives as long as the\n"
             " * stream. NULL unless the status is OK; see waymark_stream_status(). */\n"
             "const $Response$ *$call$_finish_sync(waymark_stream *stream);\n");
}

void emit_client_header(FILE *out, const model_file *file)
{
    emit_header_begin(out, file, "client", "#include <waymark/call.h>\n");
    for (size_t i = 0; i < file->n_services; i++) {
        const model_service *service = &file->services[i];

        emit(out, file, service, NULL, "\n/* ---- $full$ ---- */\n");
        emit_comment(out, "", service->comment, service->deprecated, NULL);
        for (size_t k = 0; k < service->n_methods; k++) {
            const model_method *method = &service->methods[k];

            if (method->client_streaming || method->server_streaming)
                stream_header(out, file, service, method);
            else
                unary_header(out, file, service, method);
        }
    }
    emit_header_end(out, file, "client");
}

static void unary_source(FILE *out, const model_file *file, const model_service *service,
                         const model_method *method)
{
    emit(out, file, service, method,
         "\n"
         "static void $call$__done(waymark__function done, void *ctx,\n"
         "    const waymark_status *status, const ProtobufCMessage *response)\n"
         "{\n"
         "    (($call$_done)done)(ctx, status, (const $Response$ *)(const void *)response);\n"
         "}\n"
         "\n"
         "void $call$(waymark_client *client,\n"
         "    const $Request$ *request,\n"
         "    const waymark_call_options *options, $call$_done done, void *ctx)\n"
         "{\n"
         "    waymark__unary(client, &$service$.methods[$SERVICE$_$METHOD$], &request->base,\n"
         "        options, $call$__done, (waymark__function)done, ctx);\n"
         "}\n"
         "\n"
         "const $Response$ *$call$_sync(\n"
         "    waymark_client *client, const $Request$ *request,\n"
         "    const waymark_call_options *options, waymark_reply **reply)\n"
         "{\n"
         "    return (const $Response$ *)(const void *)waymark__unary_sync(client,\n"
         "        &$service$.methods[$SERVICE$_$METHOD$], &request->base, options, reply);\n"
         "}\n");
}

static void stream_trampolines(FILE *out, const model_file *file, const model_service *service,
                               const model_method *method)
{
    if (method->server_streaming)
        emit(out, file, service, method,
             "\n"
             "static void $call$__message(const void *callbacks, void *ctx,\n"
             "    waymark_stream *stream, const ProtobufCMessage *message)\n"
             "{\n"
             "    const $call$_callbacks *typed = callbacks;\n"
             "\n"
             "    if (typed->message)\n"
             "        typed->message(ctx, stream, (const $Response$ *)(const void *)message);\n"
             "}\n");
    if (method->client_streaming)
        emit(out, file, service, method,
             "\n"
             "static void $call$__writable(const void *callbacks, void *ctx,\n"
             "    waymark_stream *stream)\n"
             "{\n"
             "    const $call$_callbacks *typed = callbacks;\n"
             "\n"
             "    if (typed->writable)\n"
             "        typed->writable(ctx, stream);\n"
             "}\n");
    emit(
        out, file, service, method,
        "\n"
        "static void $call$__ended(const void *callbacks, void *ctx,\n"
        "    waymark_stream *stream, const waymark_status *status, const ProtobufCMessage *response)\n"
        "{\n"
        "    const $call$_callbacks *typed = callbacks;\n"
        "\n");
    emit(out, file, service, method,
         method->server_streaming ? "    (void)response;\n"
                                    "    if (typed->ended)\n"
                                    "        typed->ended(ctx, stream, status);\n"
                                    "}\n"
                                  : "    if (typed->ended)\n"
                                    "        typed->ended(ctx, stream, status,\n"
                                    "            (const $Response$ *)(const void *)response);\n"
                                    "}\n");
    emit(out, file, service, method,
         "\n"
         "static const waymark__stream_kind $call$__kind = {\n");
    if (method->server_streaming)
        emit(out, file, service, method, "    .message = $call$__message,\n");
    if (method->client_streaming)
        emit(out, file, service, method, "    .writable = $call$__writable,\n");
    emit(out, file, service, method, "    .ended = $call$__ended,\n};\n");
}

static void stream_open(FILE *out, const model_file *file, const model_service *service,
                        const model_method *method)
{
    emit(out, file, service, method,
         "\n"
         "waymark_stream *$call$_open(waymark_client *client,\n");
    if (!method->client_streaming)
        emit(out, file, service, method, "    const $Request$ *request,\n");
    emit(out, file, service, method,
         "    const waymark_call_options *options,\n"
         "    const $call$_callbacks *callbacks, void *ctx)\n"
         "{\n"
         "    return waymark__stream_open(client, &$service$.methods[$SERVICE$_$METHOD$],\n");
    fprintf(out, "        %s, options,\n", method->client_streaming ? "NULL" : "&request->base");
    emit(out, file, service, method, "        &$call$__kind, callbacks, ctx);\n}\n");
}

static void stream_source(FILE *out, const model_file *file, const model_service *service,
                          const model_method *method)
{
    stream_trampolines(out, file, service, method);
    stream_open(out, file, service, method);
    if (method->client_streaming)
        emit(out, file, service, method,
             "\n"
             "bool $call$_write(waymark_stream *stream,\n"
             "    const $Request$ *message)\n"
             "{\n"
             "    return waymark__stream_write(stream, &message->base);\n"
             "}\n"
             "\n"
             "bool $call$_write_sync(waymark_stream *stream,\n"
             "    const $Request$ *message)\n"
             "{\n"
             "    return waymark__stream_write_sync(stream, &message->base);\n"
             "}\n");
    emit(out, file, service, method,
         method->server_streaming
             ? "\n"
               "const $Response$ *$call$_read_sync(waymark_stream *stream)\n"
               "{\n"
               "    return (const $Response$ *)(const void *)waymark__stream_read_sync(stream);\n"
               "}\n"
             : "\n"
               "const $Response$ *$call$_finish_sync(waymark_stream *stream)\n"
               "{\n"
               "    return (const $Response$ *)(const void *)waymark__stream_finish_sync(stream);\n"
               "}\n");
}

void emit_client_source(FILE *out, const model_file *file)
{
    emit_source_begin(out, file, "client");
    emit(out, file, NULL, NULL, "\n#include \"$stem$.methods.h\"\n");
    for (size_t i = 0; i < file->n_services; i++) {
        const model_service *service = &file->services[i];

        for (size_t k = 0; k < service->n_methods; k++) {
            const model_method *method = &service->methods[k];

            if (method->client_streaming || method->server_streaming)
                stream_source(out, file, service, method);
            else
                unary_source(out, file, service, method);
        }
    }
}
