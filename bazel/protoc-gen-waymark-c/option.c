/* protoc-gen-waymark-c/option.c - the custom options that the generator knows.
 *
 * An option of somebody's own reaches a plugin as an unknown field of MethodOptions. Its number
 * is looked up by name among the files of the request, because another project may have given
 * that number to an option of its own.
 */
#include "bazel/protoc-gen-waymark-c/option.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/memory.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest request_type;
typedef Google__Protobuf__FileDescriptorProto file_type;
typedef Google__Protobuf__FieldDescriptorProto field_type;
typedef Google__Protobuf__MethodDescriptorProto method_type;

static bool is_text(const char *text, const char *wanted)
{
    return text != NULL && strcmp(text, wanted) == 0;
}

/* The number of the extension package.name of MethodOptions, if it is a string; 0: there is none.
 */
static uint32_t find_number(const request_type *request, const char *package, const char *name)
{
    for (size_t i = 0; i < request->n_proto_file; i++) {
        const file_type *file = request->proto_file[i];

        if (!is_text(file->package, package))
            continue;
        for (size_t k = 0; k < file->n_extension; k++) {
            const field_type *field = file->extension[k];

            if (is_text(field->name, name) &&
                is_text(field->extendee, ".google.protobuf.MethodOptions") &&
                field->type == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__TYPE__TYPE_STRING)
                return (uint32_t)field->number;
        }
    }
    return 0;
}

/* protobuf-c keeps the length in front of the bytes of an unknown field. */
static const uint8_t *skip_length(const uint8_t *data, size_t *size)
{
    while (*size > 0) {
        (*size)--;
        if ((*data++ & 0x80) == 0)
            break;
    }
    return data;
}

/* As a C literal, whatever the bytes are. Octal escapes of three digits end by themselves. */
static char *make_literal(const uint8_t *bytes, size_t size)
{
    char *literal = must(malloc(4 * size + 3)), *out = literal;

    *out++ = '"';
    for (size_t i = 0; i < size; i++)
        if (isalnum(bytes[i]) || bytes[i] == '.' || bytes[i] == '_' || bytes[i] == '-')
            *out++ = (char)bytes[i];
        else
            out += sprintf(out, "\\%03o", (unsigned)bytes[i]);
    *out++ = '"';
    *out = 0;
    return literal;
}

static char *make_null(void)
{
    return must(strdup("NULL"));
}

char *option_permission(const request_type *request, const method_type *method)
{
    uint32_t number = find_number(request, "waymark.common.v1", "permission");
    const ProtobufCMessage *options = method->options ? &method->options->base : NULL;

    if (options == NULL || number == 0)
        return make_null();
    /* From the back: of a field that came twice, the last one counts. */
    for (size_t i = options->n_unknown_fields; i-- > 0;) {
        const ProtobufCMessageUnknownField *field = &options->unknown_fields[i];
        size_t size = field->len;
        const uint8_t *data = field->data;

        if (field->tag != number || field->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            continue;
        data = skip_length(data, &size);
        return make_literal(data, size);
    }
    return make_null();
}
