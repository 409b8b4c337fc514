/* protoc-gen-waymark-c/option.h - the custom options that the generator knows. */
#ifndef WAYMARK_PROTOC_GEN_OPTION_H
#define WAYMARK_PROTOC_GEN_OPTION_H

#include "google/protobuf/compiler/plugin.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The method's (waymark.common.v1.permission) as a C string literal, or "NULL" without one. The
 * result is the caller's. */
char *option_permission(const Google__Protobuf__Compiler__CodeGeneratorRequest *request,
                        const Google__Protobuf__MethodDescriptorProto *method);

#ifdef __cplusplus
}
#endif
#endif
