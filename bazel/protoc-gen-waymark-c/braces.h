/* protoc-gen-waymark-c/braces.h - initial values of oneofs that begin with bytes or an enum.
 *
 * protoc-gen-c initialises every union by {0}. Where its first member is a struct, which bytes are,
 * gcc warns of missing braces in every program that uses the message; where it is an enum, C++
 * takes no 0 for it. `optional bytes` and `optional` enums are always such.
 */
#ifndef WAYMARK_PROTOC_GEN_BRACES_H
#define WAYMARK_PROTOC_GEN_BRACES_H

#include "google/protobuf/compiler/plugin.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Adds the braces in one of protoc-gen-c's headers; leaves other files alone. */
void braces_add(Google__Protobuf__Compiler__CodeGeneratorResponse__File *file);

#ifdef __cplusplus
}
#endif
#endif
