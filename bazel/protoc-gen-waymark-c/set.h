/* protoc-gen-waymark-c/set.h - a proto with all that it imports, as data. */
#ifndef WAYMARK_PROTOC_GEN_SET_H
#define WAYMARK_PROTOC_GEN_SET_H

#include <stddef.h>

#include "google/protobuf/compiler/plugin.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A serialized FileDescriptorSet of the file and its imports, imports first, without comments. The
 * bytes are the caller's. */
uint8_t *set_pack(const Google__Protobuf__Compiler__CodeGeneratorRequest *request,
                  const Google__Protobuf__FileDescriptorProto *file, size_t *size);

#ifdef __cplusplus
}
#endif
#endif
