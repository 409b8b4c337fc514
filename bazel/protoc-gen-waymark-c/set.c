/* protoc-gen-waymark-c/set.c - a proto with all that it imports, as data.
 *
 * The request has the files in an order in which imports come first; so has the set.
 */
#include "bazel/protoc-gen-waymark-c/set.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/memory.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest request_type;
typedef Google__Protobuf__FileDescriptorProto file_type;

/* Marks the file and all that it imports. */
static void mark(const request_type *request, bool *wanted, const char *name)
{
    for (size_t i = 0; i < request->n_proto_file; i++) {
        const file_type *file = request->proto_file[i];

        if (wanted[i] || strcmp(file->name, name) != 0)
            continue;
        wanted[i] = true;
        for (size_t k = 0; k < file->n_dependency; k++)
            mark(request, wanted, file->dependency[k]);
    }
}

uint8_t *set_pack(const request_type *request, const file_type *file, size_t *size)
{
    bool *wanted = must(calloc(request->n_proto_file + 1, sizeof(wanted[0])));
    file_type *copies = must(calloc(request->n_proto_file + 1, sizeof(copies[0])));
    file_type **list = must(calloc(request->n_proto_file + 1, sizeof(list[0])));
    Google__Protobuf__FileDescriptorSet set = GOOGLE__PROTOBUF__FILE_DESCRIPTOR_SET__INIT;
    uint8_t *bytes;

    mark(request, wanted, file->name);
    set.file = list;
    for (size_t i = 0; i < request->n_proto_file; i++) {
        if (!wanted[i])
            continue;
        copies[i] = *request->proto_file[i];
        copies[i].source_code_info = NULL; /* comments are long, and no client asks for them */
        list[set.n_file++] = &copies[i];
    }
    *size = google__protobuf__file_descriptor_set__get_packed_size(&set);
    bytes = must(malloc(*size + 1));
    google__protobuf__file_descriptor_set__pack(&set, bytes);
    free(list);
    free(copies);
    free(wanted);
    return bytes;
}
