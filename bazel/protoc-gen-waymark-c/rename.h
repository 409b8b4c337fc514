/* protoc-gen-waymark-c/rename.h - fields whose names would not compile.
 *
 * protoc-gen-c puts an underscore behind the keywords of C++98. Others are left, and so are what
 * clashes with members that it adds itself ("base", "n_items" beside a repeated "items"), macros
 * that every C program has, types that it uses itself (in C++, a member "size_t" hides the type),
 * and what compilers keep ("__func__"). Those fields are renamed before it sees them, and its
 * output gets their true names back where it speaks of the proto: in the descriptors.
 */
#ifndef WAYMARK_PROTOC_GEN_RENAME_H
#define WAYMARK_PROTOC_GEN_RENAME_H

#include <stddef.h>

#include "google/protobuf/compiler/plugin.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rename_pair {
    char *file;    /* "a/b.proto" */
    char *proto;   /* "restrict" */
    char *renamed; /* "restrict_", a name that no other field of the file has */
} rename_pair;

typedef struct rename_list {
    rename_pair *pairs;
    size_t n;
} rename_list;

/* Renames in place and remembers. */
void rename_fields(rename_list *list, Google__Protobuf__FileDescriptorProto *file);
/* The name in the proto of a field that is called so now. */
const char *rename_original(const rename_list *list, const char *file, const char *name);
/* Gives the descriptors in one of protoc-gen-c's files their names back. */
void rename_restore(const rename_list *list,
                    Google__Protobuf__Compiler__CodeGeneratorResponse__File *file);
void rename_list_free(rename_list *list);

#ifdef __cplusplus
}
#endif
#endif
