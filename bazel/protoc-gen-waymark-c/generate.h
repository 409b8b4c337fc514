/* protoc-gen-waymark-c/generate.h - from a CodeGeneratorRequest to a CodeGeneratorResponse.
 *
 * Pure: the same request always gives the same bytes.
 */
#ifndef WAYMARK_PROTOC_GEN_GENERATE_H
#define WAYMARK_PROTOC_GEN_GENERATE_H

#include "bazel/protoc-gen-waymark-c/options.h"
#include "google/protobuf/compiler/plugin.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Methods, server and client of the files with services, as the options want. The response is to
 * be freed with its free_unpacked(). An error in it names the proto. */
Google__Protobuf__Compiler__CodeGeneratorResponse *
generate(const Google__Protobuf__Compiler__CodeGeneratorRequest *request, const options *options);

/* Moves the files, or the error, of `more` into the response. */
void generate_add(Google__Protobuf__Compiler__CodeGeneratorResponse *response,
                  Google__Protobuf__Compiler__CodeGeneratorResponse *more);

#ifdef __cplusplus
}
#endif
#endif
