/* protoc-gen-waymark-c/types.h - which file of a request defines what. */
#ifndef WAYMARK_PROTOC_GEN_TYPES_H
#define WAYMARK_PROTOC_GEN_TYPES_H

#include <stdbool.h>

#include "google/protobuf/compiler/plugin.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

/* NULL when there is no file of that name. */
Google__Protobuf__FileDescriptorProto *
types_find_file(const Google__Protobuf__Compiler__CodeGeneratorRequest *request, const char *name);

/* Does the file define the message or enum ".package.Name"? */
bool types_defined_in(const Google__Protobuf__FileDescriptorProto *file, const char *full_name);

/* Is it a proto3 file? */
bool types_is_proto3(const Google__Protobuf__FileDescriptorProto *file);

#ifdef __cplusplus
}
#endif
#endif
