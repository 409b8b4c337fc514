/* protoc-gen-waymark-c/generate.h - from a CodeGeneratorRequest to a CodeGeneratorResponse.
 *
 * Pure: the same request always gives the same bytes.
 */
#ifndef WAYMARK_PROTOC_GEN_GENERATE_H
#define WAYMARK_PROTOC_GEN_GENERATE_H

#include "google/protobuf/compiler/plugin.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The response is to be freed with its free_unpacked(). An error in it names the proto. */
Google__Protobuf__Compiler__CodeGeneratorResponse *
generate(const Google__Protobuf__Compiler__CodeGeneratorRequest *request);

#ifdef __cplusplus
}
#endif
#endif
