/* cel/value_proto.c - protobuf-c messages as values, by their descriptors, without copying.
 *
 * A message is a map from its fields' proto names. Scalar fields are always there, with their
 * default at least; a message field that is not set, and a member of a oneof that is not the
 * chosen one, are missing keys. google.protobuf's Struct, Value, ListValue, Timestamp, Duration
 * and the wrappers are what they stand for.
 */
#include <string.h>

#include "server/cel/internal.h"

static const void *member_of(const ProtobufCMessage *message, unsigned offset)
{
    return (const char *)message + offset;
}

static size_t element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

/* A string from the wire guard is UTF-8; NULL stands for an empty one. */
static cel_value text_value(const char *text)
{
    return cel_of_string(text ? text : "", text ? strlen(text) : 0);
}

static cel_value element_value(wm_arena *arena, const ProtobufCFieldDescriptor *field,
                               const void *at)
{
    const ProtobufCBinaryData *bytes = at;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_ENUM:
        return cel_of_int(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return cel_of_int(*(const int64_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return cel_of_uint(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return cel_of_uint(*(const uint64_t *)at);
    case PROTOBUF_C_TYPE_FLOAT:
        return cel_of_double((double)*(const float *)at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return cel_of_double(*(const double *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return cel_of_bool(*(const protobuf_c_boolean *)at != 0);
    case PROTOBUF_C_TYPE_STRING:
        return text_value(*(const char *const *)at);
    case PROTOBUF_C_TYPE_BYTES:
        return cel_of_bytes(bytes->data ? (const char *)bytes->data : "", bytes->len);
    default:
        return *(const ProtobufCMessage *const *)at
                   ? cel_message_view(arena, *(const ProtobufCMessage *const *)at)
                   : cel_of_null();
    }
}

/* ---- repeated fields ---- */

typedef struct elements {
    const char *data;
    size_t n, size;
} elements;

static elements elements_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (elements){*(const char *const *)member_of(message, field->offset),
                      *(const size_t *)member_of(message, field->quantifier_offset),
                      element_size(field->type)};
}

static bool is_map(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    size_t len;

    /* protobuf-c has no flag for maps; the entry's reserved name gives it away. */
    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    len = strlen(entry->short_name);
    return entry->n_fields == 2 && len > 5 && strcmp(entry->short_name + len - 5, "Entry") == 0 &&
           strncmp(entry->name, message->descriptor->name, strlen(message->descriptor->name)) == 0;
}

static cel_value repeated_list(wm_arena *arena, const ProtobufCMessage *message,
                               const ProtobufCFieldDescriptor *field)
{
    elements all = elements_of(message, field);
    cel_value *items = wm_arena_array(arena, all.n + 1, sizeof *items);

    for (size_t i = 0; items && i < all.n; i++)
        items[i] = element_value(arena, field, all.data + i * all.size);
    return cel_list_value(arena, items, items ? all.n : 0);
}

static cel_value repeated_map(wm_arena *arena, const ProtobufCMessage *message,
                              const ProtobufCFieldDescriptor *field)
{
    elements all = elements_of(message, field);
    cel_entry *entries = wm_arena_array(arena, all.n + 1, sizeof *entries);

    for (size_t i = 0; entries && i < all.n; i++) {
        const ProtobufCMessage *entry =
            *(const ProtobufCMessage *const *)(const void *)(all.data + i * all.size);
        const ProtobufCFieldDescriptor *fields = entry->descriptor->fields;

        entries[i].key = element_value(arena, &fields[0], member_of(entry, fields[0].offset));
        entries[i].value = element_value(arena, &fields[1], member_of(entry, fields[1].offset));
    }
    return cel_map_value(arena, entries, entries ? all.n : 0);
}

/* ---- messages ---- */

/* False when the field is not there. */
static bool field_value(wm_arena *arena, const ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *field, cel_value *value)
{
    const void *at = member_of(message, field->offset);

    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        *value = is_map(message, field) ? repeated_map(arena, message, field)
                                        : repeated_list(arena, message, field);
        return true;
    }
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        if (*(const uint32_t *)member_of(message, field->quantifier_offset) != field->id)
            return false;
    } else if (field->type == PROTOBUF_C_TYPE_MESSAGE && !*(const ProtobufCMessage *const *)at) {
        return false;
    }
    *value = element_value(arena, field, at);
    return true;
}

static bool message_find(const cel_map *map, wm_arena *arena, const char *key, size_t len,
                         cel_value *value)
{
    const ProtobufCMessage *message = map->data;

    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

        if (strlen(field->name) == len && memcmp(field->name, key, len) == 0)
            return field_value(arena, message, field, value);
    }
    return false;
}

static size_t message_len(wm_arena *arena, const ProtobufCMessage *message)
{
    cel_value value;
    size_t n = 0;

    for (unsigned i = 0; i < message->descriptor->n_fields; i++)
        n += field_value(arena, message, &message->descriptor->fields[i], &value);
    return n;
}

static const cel_entry *message_entries(const cel_map *map, wm_arena *arena)
{
    const ProtobufCMessage *message = map->data;
    cel_entry *entries = wm_arena_array(arena, map->len + 1u, sizeof *entries);
    size_t n = 0;

    for (unsigned i = 0; entries && i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

        if (field_value(arena, message, field, &entries[n].value))
            entries[n++].key = text_value(field->name);
    }
    return entries;
}

/* A Struct's entries are searched in place: a guard names few of them. */
static bool struct_find(const cel_map *map, wm_arena *arena, const char *key, size_t len,
                        cel_value *value)
{
    const ProtobufCMessage *message = map->data;
    elements all = elements_of(message, &message->descriptor->fields[0]);

    for (size_t i = 0; i < all.n; i++) {
        const ProtobufCMessage *entry =
            *(const ProtobufCMessage *const *)(const void *)(all.data + i * all.size);
        const ProtobufCFieldDescriptor *fields = entry->descriptor->fields;
        const char *name = *(const char *const *)member_of(entry, fields[0].offset);

        if (strncmp(name, key, len) == 0 && name[len] == 0 && !memchr(key, 0, len)) {
            *value = element_value(arena, &fields[1], member_of(entry, fields[1].offset));
            return true;
        }
    }
    return false;
}

static const cel_entry *struct_entries(const cel_map *map, wm_arena *arena)
{
    const ProtobufCMessage *message = map->data;
    cel_value whole = repeated_map(arena, message, &message->descriptor->fields[0]);

    return whole.kind == CEL_MAP ? whole.as.map->entries : NULL;
}

static const cel_map_ops message_ops = {message_find, message_entries};
static const cel_map_ops struct_ops = {struct_find, struct_entries};

static cel_value view_of(wm_arena *arena, const ProtobufCMessage *message, const cel_map_ops *ops,
                         size_t len)
{
    cel_map *map = wm_arena_alloc(arena, sizeof *map);

    if (!map)
        return cel_map_value(arena, NULL, 0);
    *map = (cel_map){.len = (uint32_t)len, .ops = ops, .data = message};
    return cel_of_map(map);
}

/* The chosen member of a google.protobuf.Value; null when there is none. */
static cel_value chosen_value(wm_arena *arena, const ProtobufCMessage *message)
{
    cel_value value;

    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

        if (field->type != PROTOBUF_C_TYPE_ENUM && field_value(arena, message, field, &value))
            return value;
    }
    return cel_of_null();
}

static int64_t seconds_of(const ProtobufCMessage *message)
{
    return *(const int64_t *)member_of(message, message->descriptor->fields[0].offset);
}

static int32_t nanos_of(const ProtobufCMessage *message)
{
    return *(const int32_t *)member_of(message, message->descriptor->fields[1].offset);
}

static cel_value duration_value(const ProtobufCMessage *message)
{
    int64_t nanos;

    if (__builtin_mul_overflow(seconds_of(message), INT64_C(1000000000), &nanos) ||
        __builtin_add_overflow(nanos, nanos_of(message), &nanos))
        nanos = seconds_of(message) < 0 ? INT64_MIN : INT64_MAX;
    return cel_of_duration(nanos);
}

static bool is_wrapper(const char *name)
{
    static const char *const names[] = {"BoolValue",   "Int32Value",  "Int64Value",
                                        "UInt32Value", "UInt64Value", "FloatValue",
                                        "DoubleValue", "StringValue", "BytesValue"};

    for (size_t i = 0; i < WM_ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

cel_value cel_message_view(wm_arena *arena, const ProtobufCMessage *message)
{
    static const char package[] = "google.protobuf.";
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    const char *name = descriptor->name + sizeof package - 1;

    if (strncmp(descriptor->name, package, sizeof package - 1) != 0)
        return view_of(arena, message, &message_ops, message_len(arena, message));
    if (strcmp(name, "Value") == 0)
        return chosen_value(arena, message);
    if (strcmp(name, "Struct") == 0)
        return view_of(arena, message, &struct_ops, elements_of(message, &descriptor->fields[0]).n);
    if (strcmp(name, "ListValue") == 0)
        return repeated_list(arena, message, &descriptor->fields[0]);
    if (strcmp(name, "Timestamp") == 0)
        return cel_of_timestamp(seconds_of(message), (uint32_t)nanos_of(message));
    if (strcmp(name, "Duration") == 0)
        return duration_value(message);
    if (is_wrapper(name))
        return element_value(arena, &descriptor->fields[0],
                             member_of(message, descriptor->fields[0].offset));
    return view_of(arena, message, &message_ops, message_len(arena, message));
}
