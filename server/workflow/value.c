/* server/workflow/value.c - see value.h. A node is never in two parents: adding it to one
 * copies the node itself and shares what is below it. */
#include "server/workflow/value.h"

#include <stdlib.h>
#include <string.h>

static const wm_json null_value = {.kind = WM_JSON_NULL};
static const wm_json true_value = {.kind = WM_JSON_BOOL, .boolean = true};
static const wm_json false_value = {.kind = WM_JSON_BOOL};
static const wm_json empty_value = {.kind = WM_JSON_OBJECT};

const wm_json *workflow_value_null(void)
{
    return &null_value;
}

const wm_json *workflow_value_bool(bool boolean)
{
    return boolean ? &true_value : &false_value;
}

const wm_json *workflow_value_empty(void)
{
    return &empty_value;
}

const wm_json *workflow_value_number(wm_arena *arena, double number)
{
    wm_json *value = WM_NEW(arena, wm_json);

    value->kind = WM_JSON_NUMBER;
    value->number = number;
    return value;
}

const wm_json *workflow_value_string(wm_arena *arena, const char *text, size_t len)
{
    wm_json *value = WM_NEW(arena, wm_json);

    value->kind = WM_JSON_STRING;
    value->text = wm_arena_strndup(arena, text, len);
    value->text_len = len;
    return value;
}

void workflow_build(workflow_builder *builder, wm_arena *arena, wm_json_kind kind)
{
    builder->arena = arena;
    builder->value = WM_NEW(arena, wm_json);
    builder->value->kind = kind;
    builder->tail = &builder->value->first;
}

void workflow_build_add(workflow_builder *builder, const char *name, const wm_json *member)
{
    wm_json *copy = (wm_json *)wm_arena_memdup(builder->arena, member, sizeof *member);

    copy->name = name;
    copy->next = NULL;
    *builder->tail = copy;
    builder->tail = &copy->next;
    builder->value->len++;
}

/* workflow_value_set for the path of which `name` (of `len` bytes) is the first part. */
static const wm_json *set_member(wm_arena *arena, const wm_json *object, const char *path,
                                 const wm_json *value)
{
    size_t len = strcspn(path, ".");
    const char *rest = path[len] == '.' ? path + len + 1 : NULL;
    bool found = false;
    workflow_builder builder;

    workflow_build(&builder, arena, WM_JSON_OBJECT);
    if (object && object->kind == WM_JSON_OBJECT) {
        for (const wm_json *member = object->first; member; member = member->next) {
            bool here = strlen(member->name) == len && memcmp(member->name, path, len) == 0;

            found |= here;
            if (here)
                workflow_build_add(&builder, member->name,
                                   rest ? set_member(arena, member, rest, value) : value);
            else
                workflow_build_add(&builder, member->name, member);
        }
    }
    if (!found)
        workflow_build_add(&builder, wm_arena_strndup(arena, path, len),
                           rest ? set_member(arena, NULL, rest, value) : value);
    return builder.value;
}

const wm_json *workflow_value_set(wm_arena *arena, const wm_json *object, const char *path,
                                  const wm_json *value)
{
    return set_member(arena, object, path, value);
}

/* Both objects sorted by name would make this a merge; charts' variables are few, and an
 * object that was assigned to is not sorted. */
const wm_json *workflow_value_merge(wm_arena *arena, const wm_json *under, const wm_json *over)
{
    workflow_builder builder;

    if (!over->first)
        return under;
    if (!under->first)
        return over;
    workflow_build(&builder, arena, WM_JSON_OBJECT);
    for (const wm_json *member = under->first; member; member = member->next) {
        if (!wm_json_find(over, member->name))
            workflow_build_add(&builder, member->name, member);
    }
    for (const wm_json *member = over->first; member; member = member->next)
        workflow_build_add(&builder, member->name, member);
    return builder.value;
}

bool workflow_value_equal(const wm_json *a, const wm_json *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case WM_JSON_NULL:
        return true;
    case WM_JSON_BOOL:
        return a->boolean == b->boolean;
    case WM_JSON_NUMBER:
        return a->number == b->number;
    case WM_JSON_STRING:
        return a->text_len == b->text_len && memcmp(a->text, b->text, a->text_len) == 0;
    case WM_JSON_ARRAY:
        if (a->len != b->len)
            return false;
        for (const wm_json *x = a->first, *y = b->first; x; x = x->next, y = y->next) {
            if (!workflow_value_equal(x, y))
                return false;
        }
        return true;
    case WM_JSON_OBJECT:
        if (a->len != b->len)
            return false;
        for (const wm_json *x = a->first; x; x = x->next) {
            const wm_json *y = wm_json_find(b, x->name);

            if (!y || !workflow_value_equal(x, y))
                return false;
        }
        return true;
    }
    return false;
}

/* Values share parts, so that a small tree can have a very long text: stop at once when the
 * buffer is full. */
static void write_value(wm_buf *buf, const wm_json *value, int depth)
{
    bool object = value->kind == WM_JSON_OBJECT;

    if (depth > WORKFLOW_VALUE_DEPTH_MAX)
        buf->failed = true;
    if (buf->failed)
        return;
    switch (value->kind) {
    case WM_JSON_NULL:
        wm_buf_text(buf, "null");
        return;
    case WM_JSON_BOOL:
        wm_buf_text(buf, value->boolean ? "true" : "false");
        return;
    case WM_JSON_NUMBER:
        wm_json_write_double(buf, value->number);
        return;
    case WM_JSON_STRING:
        wm_json_write_string(buf, value->text, value->text_len);
        return;
    case WM_JSON_ARRAY:
    case WM_JSON_OBJECT:
        break;
    }
    wm_buf_char(buf, object ? '{' : '[');
    for (const wm_json *member = value->first; member && !buf->failed; member = member->next) {
        if (member != value->first)
            wm_buf_char(buf, ',');
        if (object) {
            wm_json_write_string(buf, member->name, strlen(member->name));
            wm_buf_char(buf, ':');
        }
        write_value(buf, member, depth + 1);
    }
    wm_buf_char(buf, object ? '}' : ']');
}

/* Stops as soon as it is too much, so that neither depth nor shared parts cost anything. */
static size_t size_of(const wm_json *value, size_t max, int depth)
{
    size_t size = 8 + (value->kind == WM_JSON_STRING ? value->text_len : 0);

    if (value->kind != WM_JSON_ARRAY && value->kind != WM_JSON_OBJECT)
        return size;
    if (depth > WORKFLOW_VALUE_DEPTH_MAX)
        return max + 1;
    for (const wm_json *member = value->first; member && size <= max; member = member->next) {
        size += member->name ? strlen(member->name) + 3 : 1;
        if (size <= max)
            size += size_of(member, max - size, depth + 1);
    }
    return size;
}

size_t workflow_value_size(const wm_json *value, size_t max)
{
    return size_of(value, max, 0);
}

void workflow_value_write(wm_buf *buf, const wm_json *value)
{
    write_value(buf, value, 0);
}

const char *workflow_value_text(wm_arena *arena, const wm_json *value)
{
    wm_buf buf;
    const char *text = NULL;

    if (value->kind == WM_JSON_OBJECT && !value->first)
        return "{}";
    wm_buf_init(&buf, WORKFLOW_VALUE_SIZE_MAX);
    workflow_value_write(&buf, value);
    if (!buf.failed)
        text = wm_arena_strndup(arena, buf.data, buf.size);
    wm_buf_free(&buf);
    return text;
}

/* ---- Struct ---- */

static bool from_value(wm_arena *arena, const Google__Protobuf__Value *in, const char *name,
                       workflow_builder *into, int depth);

typedef Google__Protobuf__Struct__FieldsEntry struct_entry;

/* By key; among equal keys in the order of arrival, which their addresses cannot tell, so the
 * array holds indexes into the entries beside them. */
typedef struct entry_ref {
    const struct_entry *entry;
    size_t index;
} entry_ref;

static int compare_refs(const void *a, const void *b)
{
    const entry_ref *x = (const entry_ref *)a, *y = (const entry_ref *)b;
    int by_key = strcmp(x->entry->key, y->entry->key);

    if (by_key)
        return by_key;
    return x->index < y->index ? -1 : 1;
}

/* Maps say that the last of equal keys counts. */
static bool from_object(wm_arena *arena, const Google__Protobuf__Struct *in,
                        workflow_builder *object, int depth)
{
    entry_ref *refs;

    if (depth > WORKFLOW_VALUE_DEPTH_MAX / 2)
        return false;
    refs = WM_NEW_ARRAY(arena, entry_ref, in->n_fields);
    for (size_t i = 0; i < in->n_fields; i++) {
        refs[i].entry = in->fields[i];
        refs[i].index = i;
    }
    if (in->n_fields > 1)
        qsort(refs, in->n_fields, sizeof *refs, compare_refs);
    for (size_t i = 0; i < in->n_fields; i++) {
        const struct_entry *entry = refs[i].entry;

        if (i + 1 < in->n_fields && strcmp(entry->key, refs[i + 1].entry->key) == 0)
            continue;
        if (!from_value(arena, entry->value, wm_arena_strdup(arena, entry->key), object, depth + 1))
            return false;
    }
    return true;
}

static bool from_list(wm_arena *arena, const Google__Protobuf__ListValue *in,
                      workflow_builder *list, int depth)
{
    if (depth > WORKFLOW_VALUE_DEPTH_MAX / 2)
        return false;
    for (size_t i = 0; in && i < in->n_values; i++) {
        if (!from_value(arena, in->values[i], NULL, list, depth + 1))
            return false;
    }
    return true;
}

static bool from_value(wm_arena *arena, const Google__Protobuf__Value *in, const char *name,
                       workflow_builder *into, int depth)
{
    workflow_builder inner;

    switch (in ? in->kind_case : GOOGLE__PROTOBUF__VALUE__KIND__NOT_SET) {
    case GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE:
        workflow_build_add(into, name, workflow_value_bool(in->bool_value));
        return true;
    case GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE:
        workflow_build_add(into, name, workflow_value_number(arena, in->number_value));
        return true;
    case GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE:
        workflow_build_add(
            into, name, workflow_value_string(arena, in->string_value, strlen(in->string_value)));
        return true;
    case GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE:
        workflow_build(&inner, arena, WM_JSON_OBJECT);
        if (!from_object(arena, in->struct_value, &inner, depth))
            return false;
        workflow_build_add(into, name, inner.value);
        return true;
    case GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE:
        workflow_build(&inner, arena, WM_JSON_ARRAY);
        if (!from_list(arena, in->list_value, &inner, depth))
            return false;
        workflow_build_add(into, name, inner.value);
        return true;
    default:
        workflow_build_add(into, name, &null_value);
        return true;
    }
}

wm_code workflow_value_from_struct(wm_arena *arena, const Google__Protobuf__Struct *object,
                                   const char *field, const wm_json **value, wm_err *err)
{
    workflow_builder builder;

    *value = &empty_value;
    if (!object || object->n_fields == 0)
        return WM_OK;
    workflow_build(&builder, arena, WM_JSON_OBJECT);
    if (!from_object(arena, object, &builder, 0))
        return wm_fail_field(err, field, "WIRE_TOO_DEEP", "nested deeper than %d",
                             WORKFLOW_VALUE_DEPTH_MAX / 2);
    *value = builder.value;
    return WM_OK;
}

static Google__Protobuf__Value *to_value(wm_arena *arena, const wm_json *value);

static Google__Protobuf__ListValue *to_list(wm_arena *arena, const wm_json *list)
{
    Google__Protobuf__ListValue *out = WM_NEW(arena, Google__Protobuf__ListValue);
    size_t i = 0;

    google__protobuf__list_value__init(out);
    out->values = WM_NEW_ARRAY(arena, Google__Protobuf__Value *, list->len);
    for (const wm_json *member = list->first; member; member = member->next)
        out->values[i++] = to_value(arena, member);
    out->n_values = i;
    return out;
}

static Google__Protobuf__Value *to_value(wm_arena *arena, const wm_json *value)
{
    Google__Protobuf__Value *out = WM_NEW(arena, Google__Protobuf__Value);

    google__protobuf__value__init(out);
    switch (value->kind) {
    case WM_JSON_NULL:
        out->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
        break;
    case WM_JSON_BOOL:
        out->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE;
        out->bool_value = value->boolean;
        break;
    case WM_JSON_NUMBER:
        out->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
        out->number_value = value->number;
        break;
    case WM_JSON_STRING:
        out->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
        out->string_value = (char *)value->text;
        break;
    case WM_JSON_ARRAY:
        out->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
        out->list_value = to_list(arena, value);
        break;
    case WM_JSON_OBJECT:
        out->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
        out->struct_value = workflow_value_to_struct(arena, value);
        break;
    }
    return out;
}

Google__Protobuf__Struct *workflow_value_to_struct(wm_arena *arena, const wm_json *object)
{
    Google__Protobuf__Struct *out = WM_NEW(arena, Google__Protobuf__Struct);
    size_t i = 0;

    google__protobuf__struct__init(out);
    out->fields = WM_NEW_ARRAY(arena, struct_entry *, object->len);
    for (const wm_json *member = object->first; member; member = member->next) {
        struct_entry *entry = WM_NEW(arena, struct_entry);

        google__protobuf__struct__fields_entry__init(entry);
        entry->key = (char *)member->name;
        entry->value = to_value(arena, member);
        out->fields[i++] = entry;
    }
    out->n_fields = i;
    return out;
}
