/* protoc-gen-waymark-c/types.c - which file of a request defines what. */
#include "bazel/protoc-gen-waymark-c/types.h"

#include <string.h>

typedef Google__Protobuf__Compiler__CodeGeneratorRequest request_type;
typedef Google__Protobuf__FileDescriptorProto file_type;
typedef Google__Protobuf__DescriptorProto message_type;
typedef Google__Protobuf__EnumDescriptorProto enum_type;

file_type *types_find_file(const request_type *request, const char *name)
{
    for (size_t i = 0; i < request->n_proto_file; i++)
        if (strcmp(request->proto_file[i]->name, name) == 0)
            return request->proto_file[i];
    return NULL;
}

static bool is_enum(enum_type *const *enums, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(enums[i]->name, name) == 0)
            return true;
    return false;
}

/* Is `name`, the rest of a full name, one of these messages or nested in one? */
static bool is_message(message_type *const *messages, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        const message_type *message = messages[i];
        size_t length = strlen(message->name);
        const char *nested = name + length + 1;

        if (strncmp(message->name, name, length) != 0)
            continue;
        if (name[length] == 0)
            return true;
        if (name[length] == '.' &&
            (is_message(message->nested_type, message->n_nested_type, nested) ||
             is_enum(message->enum_type, message->n_enum_type, nested)))
            return true;
    }
    return false;
}

bool types_defined_in(const file_type *file, const char *full_name)
{
    const char *package = file->package ? file->package : "", *name = full_name + 1;
    size_t length = strlen(package);

    if (strncmp(name, package, length) != 0)
        return false;
    name += length;
    if (length > 0 && *name++ != '.')
        return false;
    return is_message(file->message_type, file->n_message_type, name) ||
           is_enum(file->enum_type, file->n_enum_type, name);
}

bool types_is_proto3(const file_type *file)
{
    return file->syntax != NULL && strcmp(file->syntax, "proto3") == 0;
}
