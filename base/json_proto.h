/* base/json_proto.h - what reading and writing messages as JSON share: which
 * types have a form of their own, and how field names look. Private to base/.
 *
 * Special types are known by name, and their fields by number, so that base
 * needs no generated code.
 */
#ifndef WAYMARK_BASE_JSON_PROTO_H
#define WAYMARK_BASE_JSON_PROTO_H

#include "base/json.h"

typedef enum json_form {
    JSON_FORM_PLAIN,
    JSON_FORM_TIMESTAMP,
    JSON_FORM_DURATION,
    JSON_FORM_FIELD_MASK,
    JSON_FORM_VALUE,
    JSON_FORM_FIRST_FIELD /* Struct, ListValue and wrappers are what their only field is */
} json_form;

#define JSON_DURATION_SECONDS_MAX INT64_C(315576000000)  /* about 10,000 years */
#define JSON_TIMESTAMP_SECONDS_MIN INT64_C(-62135596800) /* 0001-01-01 */
#define JSON_TIMESTAMP_SECONDS_MAX INT64_C(253402300799) /* the end of 9999 */

json_form json_form_of(const ProtobufCMessageDescriptor *descriptor);
bool json_is_null_value(const ProtobufCFieldDescriptor *field);

/* protobuf-c has no flag for maps; the entry's reserved name gives it away. */
bool json_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *field);

/* The lowerCamelCase of a proto name: into `to`, and compared with `name`. */
void json_camel_add(wm_buf *to, const char *proto_name, size_t len);
bool json_name_matches(const char *name, const char *proto_name);

/* Bytes of one element of the field in a repeated array. */
size_t json_element_size(ProtobufCType type);

static inline void *json_member_at(const ProtobufCMessage *message, unsigned offset)
{
    return (char *)(uintptr_t)message + offset;
}

#endif
