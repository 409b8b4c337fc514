/* protoc-gen-waymark-c/model.c - a proto file's services, with all names worked out. */
#include "bazel/protoc-gen-waymark-c/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/memory.h"
#include "bazel/protoc-gen-waymark-c/names.h"
#include "bazel/protoc-gen-waymark-c/option.h"
#include "bazel/protoc-gen-waymark-c/set.h"
#include "bazel/protoc-gen-waymark-c/types.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest request_type;
typedef Google__Protobuf__FileDescriptorProto file_type;
typedef Google__Protobuf__ServiceDescriptorProto service_type;
typedef Google__Protobuf__MethodDescriptorProto method_type;
typedef Google__Protobuf__SourceCodeInfo__Location location_type;

/* Field numbers of descriptor.proto, of which the paths of comments are made. */
enum { PATH_FILE_SERVICE = 6, PATH_SERVICE_METHOD = 2 };

/* The file that defines ".package.Message". */
static const file_type *find_type(const request_type *request, const char *full_name)
{
    for (size_t i = 0; i < request->n_proto_file; i++)
        if (types_defined_in(request->proto_file[i], full_name))
            return request->proto_file[i];
    return NULL;
}

/* The comment before (or behind) what `path` leads to. */
static const char *find_comment(const file_type *file, const int32_t *path, size_t n)
{
    if (!file->source_code_info)
        return "";
    for (size_t i = 0; i < file->source_code_info->n_location; i++) {
        const location_type *location = file->source_code_info->location[i];

        if (location->n_path != n || memcmp(location->path, path, n * sizeof(path[0])) != 0)
            continue;
        if (location->leading_comments)
            return location->leading_comments;
        if (location->trailing_comments)
            return location->trailing_comments;
    }
    return "";
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds the header of a type's file; false when nothing defines the type. */
static bool add_include(model_file *model, const request_type *request, const char *type)
{
    const file_type *file = find_type(request, type);
    char *stem, *include;

    if (!file)
        return false;
    stem = names_stem(file->name);
    include = format("%s.pb-c.h", stem);
    free(stem);
    for (size_t i = 0; i < model->n_includes; i++)
        if (strcmp(model->includes[i], include) == 0) {
            free(include);
            return true;
        }
    model->includes =
        must(realloc(model->includes, (model->n_includes + 1) * sizeof(model->includes[0])));
    model->includes[model->n_includes++] = include;
    return true;
}

static const char *idempotency_of(const method_type *proto)
{
    if (proto->options == NULL)
        return "WM_IDEMPOTENCY_UNKNOWN";
    switch (proto->options->idempotency_level) {
    case GOOGLE__PROTOBUF__METHOD_OPTIONS__IDEMPOTENCY_LEVEL__NO_SIDE_EFFECTS:
        return "WM_NO_SIDE_EFFECTS";
    case GOOGLE__PROTOBUF__METHOD_OPTIONS__IDEMPOTENCY_LEVEL__IDEMPOTENT:
        return "WM_IDEMPOTENT";
    default:
        return "WM_IDEMPOTENCY_UNKNOWN";
    }
}

static bool fill_method(model_file *model, model_method *method, const request_type *request,
                        const method_type *proto)
{
    method->name = proto->name;
    method->lower = names_lower(proto->name);
    method->member = names_member(proto->name);
    method->upper = names_upper(method->lower);
    method->request_type = names_message_type(proto->input_type);
    method->request_prefix = names_message_prefix(proto->input_type);
    method->response_type = names_message_type(proto->output_type);
    method->response_prefix = names_message_prefix(proto->output_type);
    method->client_streaming = proto->client_streaming;
    method->server_streaming = proto->server_streaming;
    method->deprecated = proto->options && proto->options->deprecated;
    method->idempotency = idempotency_of(proto);
    method->permission = option_permission(request, proto);
    return add_include(model, request, proto->input_type) &&
           add_include(model, request, proto->output_type);
}

static bool fill_service(model_file *model, size_t index, const request_type *request,
                         const file_type *file)
{
    model_service *service = &model->services[index];
    const service_type *proto = file->service[index];
    const char *package = file->package ? file->package : "";
    int32_t path[4] = {PATH_FILE_SERVICE, (int32_t)index, PATH_SERVICE_METHOD, 0};
    bool known = true;

    service->name = proto->name;
    service->full_name = format("%s%s%s", package, *package ? "." : "", proto->name);
    service->lower = names_service(package, proto->name);
    service->upper = names_upper(service->lower);
    service->deprecated = proto->options && proto->options->deprecated;
    service->comment = find_comment(file, path, 2);
    service->n_methods = proto->n_method;
    service->methods = must(calloc(proto->n_method + 1, sizeof(service->methods[0])));
    for (size_t i = 0; i < proto->n_method; i++) {
        path[3] = (int32_t)i;
        service->methods[i].comment = find_comment(file, path, 4);
        known = fill_method(model, &service->methods[i], request, proto->method[i]) && known;
    }
    return known;
}

model_file *model_new(const request_type *request, const char *name)
{
    const file_type *file = types_find_file(request, name);
    model_file *model;
    bool known = true;

    if (!file)
        return NULL;
    model = must(calloc(1, sizeof(*model)));
    model->name = file->name;
    model->stem = names_stem(file->name);
    model->n_services = file->n_service;
    model->services = must(calloc(file->n_service + 1, sizeof(model->services[0])));
    for (size_t i = 0; i < file->n_service; i++)
        known = fill_service(model, i, request, file) && known;
    if (!known) {
        model_free(model);
        return NULL;
    }
    model->set = set_pack(request, file, &model->set_size);
    if (model->n_includes > 0)
        qsort(model->includes, model->n_includes, sizeof(model->includes[0]), compare_texts);
    return model;
}

static void free_method(model_method *method)
{
    free(method->lower);
    free(method->member);
    free(method->upper);
    free(method->permission);
    free(method->request_type);
    free(method->request_prefix);
    free(method->response_type);
    free(method->response_prefix);
}

void model_free(model_file *file)
{
    for (size_t i = 0; i < file->n_services; i++) {
        model_service *service = &file->services[i];

        for (size_t k = 0; k < service->n_methods; k++)
            free_method(&service->methods[k]);
        free(service->methods);
        free(service->full_name);
        free(service->lower);
        free(service->upper);
    }
    for (size_t i = 0; i < file->n_includes; i++)
        free(file->includes[i]);
    free(file->includes);
    free(file->services);
    free(file->set);
    free(file->stem);
    free(file);
}
