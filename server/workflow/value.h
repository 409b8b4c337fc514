/* server/workflow/value.h - the values that charts compute with: JSON trees.
 *
 * A value is a wm_json that nobody changes: setting a member makes a new object that
 * shares what stayed. Objects read from a Struct have their members sorted by name and
 * without repeats.
 *
 * Threads: pure functions of their input.
 * Memory:  all results live in the arena given and may point into their inputs.
 */
#ifndef WAYMARK_SERVER_WORKFLOW_VALUE_H
#define WAYMARK_SERVER_WORKFLOW_VALUE_H

#include "base/json.h"
#include "google/protobuf/struct.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WORKFLOW_VALUE_SIZE_MAX = 256 * 1024, /* an instance's variables, an event's data */
    WORKFLOW_VALUE_DEPTH_MAX = 48         /* leaves room for Struct's two levels per level */
};

const wm_json *workflow_value_null(void);
const wm_json *workflow_value_bool(bool boolean);
const wm_json *workflow_value_number(wm_arena *arena, double number);
const wm_json *workflow_value_string(wm_arena *arena, const char *text, size_t len);
/* An object without members. */
const wm_json *workflow_value_empty(void);

/* Builds a list or an object by adding at the end. */
typedef struct workflow_builder {
    wm_arena *arena;
    wm_json *value;
    wm_json **tail;
} workflow_builder;
void workflow_build(workflow_builder *builder, wm_arena *arena, wm_json_kind kind);
/* `name` is NULL in a list. */
void workflow_build_add(workflow_builder *builder, const char *name, const wm_json *member);

/* `object` with what `path` ("a.b") names set to `value`; objects on the way are made, and
 * other values there are replaced by objects. */
const wm_json *workflow_value_set(wm_arena *arena, const wm_json *object, const char *path,
                                  const wm_json *value);
/* The members of `over` put over those of `under`. */
const wm_json *workflow_value_merge(wm_arena *arena, const wm_json *under, const wm_json *over);
bool workflow_value_equal(const wm_json *a, const wm_json *b);

/* About the length of its text, or a number above `max` when it is longer or nested too deep. */
size_t workflow_value_size(const wm_json *value, size_t max);
/* Appends the text; buf->failed when it is too long or nested too deep. */
void workflow_value_write(wm_buf *buf, const wm_json *value);
/* NULL when it is longer than WORKFLOW_VALUE_SIZE_MAX or nested too deep. */
const char *workflow_value_text(wm_arena *arena, const wm_json *value);

/* NULL reads as an empty object. WM_INVALID at `field` when nested too deep. */
WM_MUST_USE wm_code workflow_value_from_struct(wm_arena *arena,
                                               const Google__Protobuf__Struct *object,
                                               const char *field, const wm_json **value,
                                               wm_err *err);
/* `object` is an object. */
Google__Protobuf__Struct *workflow_value_to_struct(wm_arena *arena, const wm_json *object);

#ifdef __cplusplus
}
#endif
#endif
