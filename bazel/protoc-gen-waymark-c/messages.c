/* protoc-gen-waymark-c/messages.c - the request for protoc-gen-c; see messages.h. */
#include "bazel/protoc-gen-waymark-c/messages.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/braces.h"
#include "bazel/protoc-gen-waymark-c/clash.h"
#include "bazel/protoc-gen-waymark-c/memory.h"
#include "bazel/protoc-gen-waymark-c/rename.h"
#include "bazel/protoc-gen-waymark-c/types.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest request_type;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse response_type;
typedef Google__Protobuf__FileDescriptorProto file_type;
typedef Google__Protobuf__DescriptorProto message_type;
typedef Google__Protobuf__FieldDescriptorProto field_type;

struct messages_plan {
    request_type *request;
    rename_list renames; /* of all files to generate */
    char *error;
};

static request_type *copy_request(const request_type *request)
{
    size_t size = google__protobuf__compiler__code_generator_request__get_packed_size(request);
    uint8_t *bytes = must(malloc(size + 1));
    request_type *copy;

    google__protobuf__compiler__code_generator_request__pack(request, bytes);
    copy = must(google__protobuf__compiler__code_generator_request__unpack(NULL, size, bytes));
    free(bytes);
    return copy;
}

/* ---- imports ---- */

/* Does `file`, or one of its public imports, define the type? */
static bool defines(const request_type *request, const file_type *file, const char *type)
{
    if (types_defined_in(file, type))
        return true;
    for (size_t i = 0; i < file->n_public_dependency; i++) {
        const file_type *next =
            types_find_file(request, file->dependency[file->public_dependency[i]]);

        if (next != NULL && defines(request, next, type))
            return true;
    }
    return false;
}

/* Does one of these messages, or one nested in them, have a field of a type of `file`? */
static bool uses(message_type *const *messages, size_t n, const request_type *request,
                 const file_type *file)
{
    for (size_t i = 0; i < n; i++) {
        const message_type *message = messages[i];

        for (size_t k = 0; k < message->n_field; k++)
            if (message->field[k]->type_name != NULL &&
                defines(request, file, message->field[k]->type_name))
                return true;
        if (uses(message->nested_type, message->n_nested_type, request, file))
            return true;
    }
    return false;
}

static bool is_public(const file_type *file, size_t index)
{
    for (size_t i = 0; i < file->n_public_dependency; i++)
        if ((size_t)file->public_dependency[i] == index)
            return true;
    return false;
}

static void drop_imports(const request_type *request, file_type *file)
{
    size_t kept = 0, n_public = 0;

    for (size_t i = 0; i < file->n_dependency; i++) {
        const file_type *imported = types_find_file(request, file->dependency[i]);
        bool public = is_public(file, i);

        if (!public && (imported == NULL ||
                        !uses(file->message_type, file->n_message_type, request, imported))) {
            free(file->dependency[i]);
            continue;
        }
        /* Both lists are in the order of the imports, so that none is overwritten unread. */
        if (public)
            file->public_dependency[n_public++] = (int32_t)kept;
        file->dependency[kept++] = file->dependency[i];
    }
    file->n_dependency = kept;
    file->n_public_dependency = n_public;
    file->n_weak_dependency = 0;
}

/* ---- what C cannot take ---- */

static void clear_optional(message_type *message)
{
    for (size_t i = 0; i < message->n_field; i++) {
        message->field[i]->has_proto3_optional = false;
        message->field[i]->proto3_optional = false;
    }
    for (size_t i = 0; i < message->n_nested_type; i++)
        clear_optional(message->nested_type[i]);
}

static void drop_fields(field_type **fields, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        google__protobuf__field_descriptor_proto__free_unpacked(fields[i], NULL);
    *n = 0;
}

static void drop_extensions(message_type *message)
{
    drop_fields(message->extension, &message->n_extension);
    for (size_t i = 0; i < message->n_nested_type; i++)
        drop_extensions(message->nested_type[i]);
}

static void drop_services(file_type *file)
{
    for (size_t i = 0; i < file->n_service; i++)
        google__protobuf__service_descriptor_proto__free_unpacked(file->service[i], NULL);
    file->n_service = 0;
}

/* Puts a space before the slash of each trigraph that is a backslash, of which compilers warn at
 * the end of a line. What could end a comment, protoc-gen-c breaks up itself. */
static void break_trigraphs(char **comment)
{
    char *made, *out;

    if (*comment == NULL || strstr(*comment, "?\?/") == NULL)
        return;
    made = out = must(malloc(2 * strlen(*comment) + 1));
    for (const char *in = *comment; *in; in++) {
        *out++ = *in;
        if (strncmp(in, "?/", 2) == 0 && in > *comment && in[-1] == '?')
            *out++ = ' ';
    }
    *out = 0;
    free(*comment);
    *comment = made;
}

static void prepare_comments(file_type *file)
{
    for (size_t i = 0; file->source_code_info && i < file->source_code_info->n_location; i++) {
        break_trigraphs(&file->source_code_info->location[i]->leading_comments);
        break_trigraphs(&file->source_code_info->location[i]->trailing_comments);
    }
}

/* Files of other syntaxes are left as they are: protoc-gen-c knows them well. */
static void prepare_file(messages_plan *plan, file_type *file)
{
    if (!types_is_proto3(file))
        return;
    drop_services(file);
    drop_fields(file->extension, &file->n_extension);
    for (size_t i = 0; i < file->n_message_type; i++) {
        drop_extensions(file->message_type[i]);
        clear_optional(file->message_type[i]);
    }
    drop_imports(plan->request, file);
    prepare_comments(file);
    rename_fields(&plan->renames, file);
    if (plan->error == NULL)
        plan->error = clash_of_messages(file, &plan->renames);
}

messages_plan *messages_plan_new(const request_type *request)
{
    messages_plan *plan = must(calloc(1, sizeof(*plan)));

    plan->request = copy_request(request);
    free(plan->request->parameter); /* our own options */
    plan->request->parameter = NULL;
    for (size_t i = 0; i < request->n_file_to_generate; i++) {
        file_type *file = types_find_file(plan->request, request->file_to_generate[i]);

        if (file != NULL)
            prepare_file(plan, file);
    }
    return plan;
}

void messages_plan_free(messages_plan *plan)
{
    rename_list_free(&plan->renames);
    free(plan->error);
    google__protobuf__compiler__code_generator_request__free_unpacked(plan->request, NULL);
    free(plan);
}

const char *messages_error(const messages_plan *plan)
{
    return plan->error;
}

const request_type *messages_request(const messages_plan *plan)
{
    return plan->request;
}

void messages_finish(const messages_plan *plan, response_type *response)
{
    for (size_t i = 0; i < response->n_file; i++) {
        rename_restore(&plan->renames, response->file[i]);
        braces_add(response->file[i]);
    }
}
