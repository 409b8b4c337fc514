/* base/json.h - JSON text in and out, and protobuf messages as proto3 JSON.
 *
 * Parsing goes to a small tree in an arena, so that errors can name a path.
 * Messages map by their protobuf-c descriptors, as the proto3 JSON mapping
 * says (lowerCamelCase and original names are both read; lowerCamelCase is
 * written; 64-bit integers as strings; Timestamp, Duration, Struct, Value,
 * ListValue, FieldMask, wrappers and bytes in their special forms).
 *
 * Threads: pure functions of their input.
 * Memory:  trees and messages live in the arena given.
 * Failure: WM_INVALID with line and column, or with the field's path; WM_EXHAUSTED
 *          when the arena's limit is reached. google.protobuf.Any is read and
 *          written as an ordinary message (typeUrl, value): there is no registry.
 */
#ifndef WAYMARK_BASE_JSON_H
#define WAYMARK_BASE_JSON_H

#include "base/arena.h"
#include "base/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WM_JSON_DEPTH_MAX = 64 };

typedef enum wm_json_kind {
    WM_JSON_NULL,
    WM_JSON_BOOL,
    WM_JSON_NUMBER,
    WM_JSON_STRING,
    WM_JSON_ARRAY,
    WM_JSON_OBJECT
} wm_json_kind;

typedef struct wm_json wm_json;
struct wm_json {
    wm_json_kind kind;
    bool boolean;
    double number;
    const char *text; /* STRING: decoded, NUL-terminated; NUMBER: as written */
    size_t text_len;
    const char *name; /* the member's name when the parent is an object */
    wm_json *first;   /* children in document order */
    wm_json *next;
    size_t len; /* number of children */
};

/* RFC 8259; duplicate names, trailing text, lone surrogates, invalid UTF-8 and
 * "\u0000" are errors. */
WM_MUST_USE wm_code wm_json_parse(wm_arena *arena, const char *text, size_t len, wm_json **json,
                                  wm_err *err);
/* The member, or NULL. */
const wm_json *wm_json_find(const wm_json *object, const char *name);

/* Appends a quoted, escaped string. */
void wm_json_write_string(wm_buf *buf, const char *text, size_t len);
/* Shortest text that reads back the same; NaN and infinities as proto3 JSON strings. */
void wm_json_write_double(wm_buf *buf, double number);
void wm_json_write_float(wm_buf *buf, float number);

/* Message <-> proto3 JSON. Unknown fields in the JSON are errors. */
WM_MUST_USE wm_code wm_json_to_message(wm_arena *arena, const wm_json *json,
                                       const ProtobufCMessageDescriptor *descriptor,
                                       ProtobufCMessage **message, wm_err *err);
/* One line, no trailing newline. Fields at their default value are left out. */
void wm_json_from_message(wm_buf *buf, const ProtobufCMessage *message);

#ifdef __cplusplus
}
#endif
#endif
