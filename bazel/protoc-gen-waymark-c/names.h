/* protoc-gen-waymark-c/names.h - C names of proto names.
 *
 * Messages keep the names that protoc-gen-c gives them; services and methods get ours.
 * Memory: every result is on the heap and the caller's.
 */
#ifndef WAYMARK_PROTOC_GEN_NAMES_H
#define WAYMARK_PROTOC_GEN_NAMES_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ".a.b_c.GetX" -> "A__BC__GetX", as protoc-gen-c names the struct. */
char *names_message_type(const char *full_name);
/* ".a.b.GetX" -> "a__b__get_x", as protoc-gen-c names its functions. */
char *names_message_prefix(const char *full_name);
/* "isX" -> "isx" and "delete" -> "delete_", as protoc-gen-c names the member. */
char *names_field(const char *field);

/* "GetX" -> "get_x" */
char *names_lower(const char *camel);
/* "a.b.v1", "TrackService" -> "a_b_v1_track_service". Without a package: "", "Read" ->
 * "read_service", since "read" alone would be C's. */
char *names_service(const char *package, const char *service);
/* Is it, in lower case, a keyword that protoc-gen-c does not know (of C to C23 and C++ to C++20),
 * a macro of any program, a type that generated structs use, or a name that compilers keep? */
bool names_is_newer_keyword(const char *name);
/* A lower name that may be a struct's member in C and C++: "delete" -> "delete_". */
char *names_member(const char *camel);
/* "get_x" -> "GET_X"; everything but letters and digits becomes '_'. */
char *names_upper(const char *text);
/* "a/b-c" -> "WAYMARK_C_a_2fb_2dc": a macro's name that no other stem has. */
char *names_guard(const char *stem);
/* "a/b/x.proto" -> "a/b/x" */
char *names_stem(const char *proto_file);

#ifdef __cplusplus
}
#endif
#endif
