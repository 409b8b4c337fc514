/* protoc-gen-waymark-c/run.h - running protoc-gen-c on a request of ours. */
#ifndef WAYMARK_PROTOC_GEN_RUN_H
#define WAYMARK_PROTOC_GEN_RUN_H

#include <stdio.h>

#include "google/protobuf/compiler/plugin.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All that `in` has. The bytes are the caller's; NULL when they cannot be read (errno). */
uint8_t *run_read_all(FILE *in, size_t *size);

/* The plugin's response, or NULL with *error, which is the caller's to free. */
Google__Protobuf__Compiler__CodeGeneratorResponse *
run_plugin(const char *program, const Google__Protobuf__Compiler__CodeGeneratorRequest *request,
           char **error);

#ifdef __cplusplus
}
#endif
#endif
