/* protoc-gen-waymark-c/clash.h - parts of a proto that would have the same name in C.
 *
 * Names that differ in a proto need not differ in C: `Get` with what belongs to it and `GetSync`
 * are both get_sync. protoc is told, in place of a compiler that knows nothing of the proto.
 */
#ifndef WAYMARK_PROTOC_GEN_CLASH_H
#define WAYMARK_PROTOC_GEN_CLASH_H

#include "bazel/protoc-gen-waymark-c/model.h"
#include "bazel/protoc-gen-waymark-c/rename.h"

#ifdef __cplusplus
extern "C" {
#endif

/* NULL, or the error that names two of them, which is the caller's to free. Looks at all that
 * could come of the services, also when not all of it is wanted. */
char *clash_of_services(const model_file *file);

/* The same of the messages, enums, and oneofs of a file whose fields have been renamed so. */
char *clash_of_messages(const Google__Protobuf__FileDescriptorProto *file,
                        const rename_list *renames);

#ifdef __cplusplus
}
#endif
#endif
