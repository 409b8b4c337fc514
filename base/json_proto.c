/* base/json_proto.c - see json_proto.h. */
#include "base/json_proto.h"

#include <string.h>

json_form json_form_of(const ProtobufCMessageDescriptor *descriptor)
{
    static const struct {
        const char *name;
        json_form form;
    } forms[] = {
        {"Timestamp", JSON_FORM_TIMESTAMP},     {"Duration", JSON_FORM_DURATION},
        {"FieldMask", JSON_FORM_FIELD_MASK},    {"Value", JSON_FORM_VALUE},
        {"Struct", JSON_FORM_FIRST_FIELD},      {"ListValue", JSON_FORM_FIRST_FIELD},
        {"DoubleValue", JSON_FORM_FIRST_FIELD}, {"FloatValue", JSON_FORM_FIRST_FIELD},
        {"Int64Value", JSON_FORM_FIRST_FIELD},  {"UInt64Value", JSON_FORM_FIRST_FIELD},
        {"Int32Value", JSON_FORM_FIRST_FIELD},  {"UInt32Value", JSON_FORM_FIRST_FIELD},
        {"BoolValue", JSON_FORM_FIRST_FIELD},   {"StringValue", JSON_FORM_FIRST_FIELD},
        {"BytesValue", JSON_FORM_FIRST_FIELD},
    };
    static const char package[] = "google.protobuf.";

    if (strncmp(descriptor->name, package, sizeof(package) - 1) != 0)
        return JSON_FORM_PLAIN;
    for (size_t i = 0; i < WM_ARRAY_LEN(forms); i++) {
        if (strcmp(descriptor->name + sizeof(package) - 1, forms[i].name) == 0)
            return forms[i].form;
    }
    return JSON_FORM_PLAIN;
}

bool json_is_null_value(const ProtobufCFieldDescriptor *field)
{
    const ProtobufCEnumDescriptor *descriptor = field->descriptor;

    return field->type == PROTOBUF_C_TYPE_ENUM &&
           strcmp(descriptor->name, "google.protobuf.NullValue") == 0;
}

/* The next character of a proto name in camel case: a letter after underscores, or the next one
 * if `upper`, is a capital. False at the end of the name. */
static bool json_camel_next(const char **name, const char *end, bool upper, char *c)
{
    for (; *name < end && **name == '_'; (*name)++)
        upper = true;
    if (*name == end)
        return false;
    *c = *(*name)++;
    if (upper && *c >= 'a' && *c <= 'z')
        *c = (char)(*c - 'a' + 'A');
    return true;
}

/* protoc calls the entry of `string_labels` StringLabelsEntry, inside the parent. */
static bool json_is_entry_name(const char *entry, const char *field_name)
{
    const char *end = field_name + strlen(field_name);
    bool first = true;

    for (char c; json_camel_next(&field_name, end, first, &c); first = false) {
        if (*entry++ != c)
            return false;
    }
    return strcmp(entry, "Entry") == 0;
}

bool json_is_map(const ProtobufCMessageDescriptor *parent, const ProtobufCFieldDescriptor *field)
{
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    size_t len = strlen(parent->name);

    return field->type == PROTOBUF_C_TYPE_MESSAGE && field->label == PROTOBUF_C_LABEL_REPEATED &&
           entry->n_fields == 2 && strcmp(entry->fields[0].name, "key") == 0 &&
           strcmp(entry->fields[1].name, "value") == 0 &&
           strncmp(entry->name, parent->name, len) == 0 && entry->name[len] == '.' &&
           json_is_entry_name(entry->name + len + 1, field->name);
}

void json_camel_add(wm_buf *to, const char *proto_name, size_t len)
{
    const char *end = proto_name + len;

    for (char c; json_camel_next(&proto_name, end, false, &c);)
        wm_buf_char(to, c);
}

bool json_name_matches(const char *name, const char *proto_name)
{
    const char *end = proto_name + strlen(proto_name);

    if (strcmp(name, proto_name) == 0)
        return true;
    for (char c; json_camel_next(&proto_name, end, false, &c);) {
        if (*name++ != c)
            return false;
    }
    return *name == '\0';
}

size_t json_element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return sizeof(void *);
}
