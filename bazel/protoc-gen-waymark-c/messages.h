/* protoc-gen-waymark-c/messages.h - the message code (x.pb-c.h and .c), which protoc-gen-c makes.
 *
 * protoc-gen-c cannot do all that proto3 users write: it refuses `optional`, and some names of
 * fields do not compile. So it gets a request that says the same in words that it can take, and
 * what it answers is put right. Both steps are pure; who runs it is main.c.
 *
 * - `optional` fields become the single members of the oneofs that protoc has made for them;
 *   bytes and field numbers are the same, and presence is the oneof's case.
 * - Fields whose names would not compile get an underscore behind; only in C, not in descriptors.
 * - Imports of which no type is used, such as those that bring options, and extensions are left
 *   out, so that nobody needs to compile descriptor.proto and its like.
 * - Oneofs that begin with bytes or an enum get an initial value of which gcc does not warn and
 *   that C++ takes.
 * - Trigraphs in comments are broken up.
 * - Services are left out: protoc-gen-c's are for a transport of its own.
 */
#ifndef WAYMARK_PROTOC_GEN_MESSAGES_H
#define WAYMARK_PROTOC_GEN_MESSAGES_H

#include "google/protobuf/compiler/plugin.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct messages_plan messages_plan;

/* The plan is to be freed. It copies what it needs of `request`. */
messages_plan *messages_plan_new(const Google__Protobuf__Compiler__CodeGeneratorRequest *request);
void messages_plan_free(messages_plan *plan);

/* What of the protos cannot be C, or NULL; belongs to the plan. */
const char *messages_error(const messages_plan *plan);

/* What protoc-gen-c is to be asked when there is no error; belongs to the plan. */
const Google__Protobuf__Compiler__CodeGeneratorRequest *messages_request(const messages_plan *plan);

/* Puts the files of its response right, in place. */
void messages_finish(const messages_plan *plan,
                     Google__Protobuf__Compiler__CodeGeneratorResponse *response);

#ifdef __cplusplus
}
#endif
#endif
