/* server/rpc/reflection.c - grpc.reflection v1 and v1alpha, so that grpcurl just works.
 *
 * The server is given FileDescriptorSets. An index holds, sorted by name, each file's
 * serialized bytes (cut out of the set, never re-encoded) and each symbol's file;
 * built once, then constant and read by all lanes. An answer carries the file asked
 * for and everything it imports, so that a tool needs one question.
 *
 * v1alpha differs from v1 in its name alone: one set of messages serves both.
 */
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "server/rpc/internal.h"
#include "server/rpc/standard_protos.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

typedef struct reflection_file {
    const char *name;
    ProtobufCBinaryData bytes; /* in the set */
    const char **imports;
    size_t n_imports;
} reflection_file;

typedef struct reflection_symbol {
    const char *name; /* "waymark.geo.v1.TrackService.GetEntity" */
    const char *file; /* the name of its file */
} reflection_symbol;

typedef struct reflection_extension {
    const char *extended; /* the type, without the leading dot */
    const char *file;
    int32_t number;
} reflection_extension;

struct rpc_reflection {
    rpc_server *server;
    wm_arena arena; /* everything below; also the unpacked sets */
    reflection_file *files;
    size_t n_files, files_room;
    reflection_symbol *symbols;
    size_t n_symbols, symbols_room;
    reflection_extension *extensions;
    size_t n_extensions, extensions_room;
};

/* ---- building the index ---- */

/* Room for one more of an array in the arena; old arrays stay until the end. */
static void *index_grow(wm_arena *arena, void *array, size_t n, size_t *room, size_t size)
{
    void *bigger;

    if (n < *room)
        return array;
    *room = *room == 0 ? 64 : *room * 2;
    bigger = wm_arena_array(arena, *room, size);
    if (n > 0)
        memcpy(bigger, array, n * size);
    return bigger;
}

static const char *index_symbol(rpc_reflection *index, const char *scope, const char *name,
                                const char *file)
{
    const char *full = scope[0] == '\0' ? wm_arena_strdup(&index->arena, name)
                                        : wm_arena_printf(&index->arena, "%s.%s", scope, name);

    index->symbols = index_grow(&index->arena, index->symbols, index->n_symbols,
                                &index->symbols_room, sizeof(*index->symbols));
    index->symbols[index->n_symbols++] = (reflection_symbol){full, file};
    return full;
}

static void index_extensions(rpc_reflection *index, const char *scope,
                             Google__Protobuf__FieldDescriptorProto **fields, size_t n,
                             const char *file)
{
    for (size_t i = 0; i < n; i++) {
        const char *extended = fields[i]->extendee;
        index_symbol(index, scope, fields[i]->name, file);
        index->extensions = index_grow(&index->arena, index->extensions, index->n_extensions,
                                       &index->extensions_room, sizeof(*index->extensions));
        index->extensions[index->n_extensions++] = (reflection_extension){
            extended[0] == '.' ? extended + 1 : extended, file, fields[i]->number};
    }
}

static void index_enum(rpc_reflection *index, const char *scope,
                       const Google__Protobuf__EnumDescriptorProto *type, const char *file)
{
    index_symbol(index, scope, type->name, file);
    /* Values are siblings of their enum, as in C++. */
    for (size_t i = 0; i < type->n_value; i++)
        index_symbol(index, scope, type->value[i]->name, file);
}

/* The guard's depth limit, which the set has passed, bounds this recursion. */
static void index_message(rpc_reflection *index, const char *scope,
                          const Google__Protobuf__DescriptorProto *type, const char *file)
{
    const char *full = index_symbol(index, scope, type->name, file);

    for (size_t i = 0; i < type->n_field; i++)
        index_symbol(index, full, type->field[i]->name, file);
    for (size_t i = 0; i < type->n_oneof_decl; i++)
        index_symbol(index, full, type->oneof_decl[i]->name, file);
    for (size_t i = 0; i < type->n_nested_type; i++)
        index_message(index, full, type->nested_type[i], file);
    for (size_t i = 0; i < type->n_enum_type; i++)
        index_enum(index, full, type->enum_type[i], file);
    index_extensions(index, full, type->extension, type->n_extension, file);
}

static void index_service(rpc_reflection *index, const char *scope,
                          const Google__Protobuf__ServiceDescriptorProto *service, const char *file)
{
    const char *full = index_symbol(index, scope, service->name, file);

    for (size_t i = 0; i < service->n_method; i++)
        index_symbol(index, full, service->method[i]->name, file);
}

static const reflection_file *index_find_file(const rpc_reflection *index, const char *name)
{
    for (size_t i = 0; i < index->n_files; i++)
        if (strcmp(index->files[i].name, name) == 0)
            return &index->files[i];
    return NULL;
}

static void index_file(rpc_reflection *index, const Google__Protobuf__FileDescriptorProto *file,
                       ProtobufCBinaryData bytes)
{
    const char *scope = file->package != NULL ? file->package : "";
    reflection_file *entry;

    if (index_find_file(index, file->name) != NULL) /* in two sets: the first is as good */
        return;
    index->files = index_grow(&index->arena, index->files, index->n_files, &index->files_room,
                              sizeof(*index->files));
    entry = &index->files[index->n_files++];
    *entry =
        (reflection_file){file->name, bytes, (const char **)file->dependency, file->n_dependency};
    for (size_t i = 0; i < file->n_message_type; i++)
        index_message(index, scope, file->message_type[i], file->name);
    for (size_t i = 0; i < file->n_enum_type; i++)
        index_enum(index, scope, file->enum_type[i], file->name);
    for (size_t i = 0; i < file->n_service; i++)
        index_service(index, scope, file->service[i], file->name);
    index_extensions(index, scope, file->extension, file->n_extension, file->name);
}

/* Cuts the next length-delimited field out of a FileDescriptorSet and moves `at` behind it;
 * false, with `at` unmoved, at the end or when there is no whole field. */
static bool set_next(const uint8_t **at, const uint8_t *end, ProtobufCBinaryData *field)
{
    const uint8_t *next = *at;
    uint64_t size = 0;
    unsigned shift = 0;

    if (next == end)
        return false;
    next++; /* the tag: field 1, the only one there is */
    do {
        if (next == end || shift > 28)
            return false;
        size |= (uint64_t)(*next & 0x7f) << shift;
        shift += 7;
    } while (*next++ & 0x80);
    if (size > (size_t)(end - next))
        return false;
    field->data = (uint8_t *)next;
    field->len = size;
    *at = next + size;
    return true;
}

static wm_code index_set(rpc_reflection *index, const void *bytes, size_t size, wm_err *err)
{
    const uint8_t *at = bytes, *end = at + size;
    ProtobufCBinaryData field;

    while (set_next(&at, end, &field)) {
        ProtobufCMessage *file;
        wm_code rc =
            wm_codec_unpack(&index->arena, &google__protobuf__file_descriptor_proto__descriptor,
                            field.data, field.len, &file, err);
        if (rc != WM_OK)
            return rc;
        index_file(index, (Google__Protobuf__FileDescriptorProto *)file, field);
    }
    if (at != end)
        return wm_fail(err, WM_INTERNAL, "INTERNAL", "the embedded descriptor set is damaged");
    return WM_OK;
}

static int symbol_compare(const void *a, const void *b)
{
    return strcmp(((const reflection_symbol *)a)->name, ((const reflection_symbol *)b)->name);
}

/* ---- answering ---- */

typedef struct reflection_answer {
    wm_arena *arena;
    reflection_response response;
    Grpc__Reflection__V1__FileDescriptorResponse files;
    Grpc__Reflection__V1__ExtensionNumberResponse numbers;
    Grpc__Reflection__V1__ListServiceResponse services;
    Grpc__Reflection__V1__ErrorResponse error;
} reflection_answer;

static void answer_not_found(reflection_answer *answer, const char *what)
{
    answer->error.error_code = WM_NOT_FOUND;
    answer->error.error_message = wm_arena_printf(answer->arena, "%s not found", what);
    answer->response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    answer->response.error_response = &answer->error;
}

static bool list_has(const reflection_file **list, size_t n, const reflection_file *file)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == file)
            return true;
    return false;
}

/* The file, then what it imports, each once; the list grows while it is walked. */
static void answer_file(reflection_answer *answer, const rpc_reflection *index, const char *name)
{
    const reflection_file **list =
        WM_NEW_ARRAY(answer->arena, const reflection_file *, index->n_files);
    ProtobufCBinaryData *bytes = WM_NEW_ARRAY(answer->arena, ProtobufCBinaryData, index->n_files);
    const reflection_file *file = index_find_file(index, name);
    size_t n = 0;

    if (file == NULL) {
        answer_not_found(answer, "file");
        return;
    }
    list[n++] = file;
    for (size_t i = 0; i < n; i++) {
        bytes[i] = list[i]->bytes;
        for (size_t j = 0; j < list[i]->n_imports; j++) {
            const reflection_file *import = index_find_file(index, list[i]->imports[j]);
            if (import != NULL && !list_has(list, n, import))
                list[n++] = import;
        }
    }
    answer->files.file_descriptor_proto = bytes;
    answer->files.n_file_descriptor_proto = n;
    answer->response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    answer->response.file_descriptor_response = &answer->files;
}

static void answer_symbol(reflection_answer *answer, const rpc_reflection *index, const char *name)
{
    reflection_symbol key = {name[0] == '.' ? name + 1 : name, NULL};
    const reflection_symbol *found =
        index->n_symbols == 0
            ? NULL
            : bsearch(&key, index->symbols, index->n_symbols, sizeof(key), symbol_compare);

    if (found == NULL)
        answer_not_found(answer, "symbol");
    else
        answer_file(answer, index, found->file);
}

static void answer_extension(reflection_answer *answer, const rpc_reflection *index,
                             const Grpc__Reflection__V1__ExtensionRequest *request)
{
    for (size_t i = 0; i < index->n_extensions; i++) {
        const reflection_extension *extension = &index->extensions[i];
        if (extension->number == request->extension_number &&
            strcmp(extension->extended, request->containing_type) == 0) {
            answer_file(answer, index, extension->file);
            return;
        }
    }
    answer_not_found(answer, "extension");
}

static void answer_extension_numbers(reflection_answer *answer, const rpc_reflection *index,
                                     const char *type)
{
    reflection_symbol key = {type, NULL};

    if (index->n_symbols == 0 ||
        bsearch(&key, index->symbols, index->n_symbols, sizeof(key), symbol_compare) == NULL) {
        answer_not_found(answer, "type");
        return;
    }
    answer->numbers.base_type_name = (char *)type;
    answer->numbers.extension_number = WM_NEW_ARRAY(answer->arena, int32_t, index->n_extensions);
    for (size_t i = 0; i < index->n_extensions; i++)
        if (strcmp(index->extensions[i].extended, type) == 0)
            answer->numbers.extension_number[answer->numbers.n_extension_number++] =
                index->extensions[i].number;
    answer->response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    answer->response.all_extension_numbers_response = &answer->numbers;
}

static void answer_services(reflection_answer *answer, const rpc_server *server)
{
    answer->services.service =
        WM_NEW_ARRAY(answer->arena, Grpc__Reflection__V1__ServiceResponse *, server->n_services);
    for (size_t i = 0; i < server->n_services; i++) {
        Grpc__Reflection__V1__ServiceResponse *service =
            WM_NEW(answer->arena, Grpc__Reflection__V1__ServiceResponse);
        grpc__reflection__v1__service_response__init(service);
        service->name = (char *)server->services[i].service->name;
        answer->services.service[answer->services.n_service++] = service;
    }
    answer->response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    answer->response.list_services_response = &answer->services;
}

static void answer_make(reflection_answer *answer, const rpc_reflection *index,
                        const reflection_request *request)
{
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        answer_file(answer, index, request->file_by_filename);
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        answer_symbol(answer, index, request->file_containing_symbol);
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        answer_extension(answer, index, request->file_containing_extension);
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        answer_extension_numbers(answer, index, request->all_extension_numbers_of_type);
        return;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        answer_services(answer, index->server);
        return;
    default:
        answer->error.error_code = WM_INVALID;
        answer->error.error_message = "the request asks for nothing";
        answer->response.message_response_case =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
        answer->response.error_response = &answer->error;
    }
}

/* A message is asked for only when the stream is writable, so no answer ever waits. */
static void info_opened(rpc_call *call)
{
    rpc_read(call);
}

static void info_message(rpc_call *call, const ProtobufCMessage *message)
{
    const reflection_request *request = (const reflection_request *)message;
    reflection_answer answer = {
        .response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT,
        .files = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT,
        .numbers = GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT,
        .services = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT,
        .error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT,
    };
    wm_arena arena;

    wm_arena_init(&arena, 0);
    answer.arena = &arena;
    answer.response.valid_host = request->host;
    answer.response.original_request = (reflection_request *)request;
    answer_make(&answer, rpc_ctx(call), request);
    if (!rpc_send(call, &answer.response.base))
        abort(); /* we read only when writable */
    wm_arena_free(&arena);
}

static void info_half_closed(rpc_call *call)
{
    rpc_finish(call);
}

static const wm_method reflection_methods[RPC_REFLECTION_SERVICES][1] = {
    {{.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
      .name = "ServerReflectionInfo",
      .client_streaming = true,
      .server_streaming = true,
      .request = &grpc__reflection__v1__server_reflection_request__descriptor,
      .response = &grpc__reflection__v1__server_reflection_response__descriptor}},
    {{.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      .name = "ServerReflectionInfo",
      .client_streaming = true,
      .server_streaming = true,
      .request = &grpc__reflection__v1__server_reflection_request__descriptor,
      .response = &grpc__reflection__v1__server_reflection_response__descriptor}},
};

static const wm_service reflection_services[RPC_REFLECTION_SERVICES] = {
    {.name = "grpc.reflection.v1.ServerReflection",
     .methods = reflection_methods[0],
     .n_methods = 1},
    {.name = "grpc.reflection.v1alpha.ServerReflection",
     .methods = reflection_methods[1],
     .n_methods = 1},
};

static const rpc_handler reflection_handlers[RPC_REFLECTION_SERVICES] = {
    {.method = &reflection_methods[0][0],
     .opened = info_opened,
     .message = info_message,
     .half_closed = info_half_closed,
     .writable = rpc_read,
     .cancelled = rpc_finish},
    {.method = &reflection_methods[1][0],
     .opened = info_opened,
     .message = info_message,
     .half_closed = info_half_closed,
     .writable = rpc_read,
     .cancelled = rpc_finish},
};

wm_code rpc_reflection_new(rpc_server *server, const rpc_config *config, rpc_reflection **made,
                           wm_err *err)
{
    rpc_reflection *index = calloc(1, sizeof(*index));
    wm_code rc = WM_OK;

    if (index == NULL)
        abort();
    index->server = server;
    wm_arena_init(&index->arena, 0);
    *made = index;
    for (size_t i = 0; i < standard_protos_n && rc == WM_OK; i++)
        rc = index_set(index, standard_protos[i].bytes, standard_protos[i].size, err);
    if (rc == WM_OK && config->descriptor_set != NULL)
        rc = index_set(index, config->descriptor_set, config->descriptor_set_size, err);
    if (index->n_symbols > 0)
        qsort(index->symbols, index->n_symbols, sizeof(*index->symbols), symbol_compare);
    return rc;
}

void rpc_reflection_free(rpc_reflection *reflection)
{
    if (reflection == NULL)
        return;
    wm_arena_free(&reflection->arena);
    free(reflection);
}

rpc_service rpc_reflection_service(rpc_reflection *reflection, size_t i)
{
    return (rpc_service){
        .service = &reflection_services[i], .handlers = &reflection_handlers[i], .ctx = reflection};
}
