/* base/json_print.c - protobuf messages to proto3 JSON; see json.h.
 *
 * Fields come in the order of their numbers. What a message cannot say in JSON
 * (a Timestamp outside the years 1 to 9999) is written as null rather than as
 * something that would be read back as another value.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_proto.h"

enum { PRINT_MAP_SEARCH_MAX = 256 };

static void print_message(wm_buf *buf, const ProtobufCMessage *message);

static void print_base64(wm_buf *buf, const ProtobufCBinaryData *bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    wm_buf_char(buf, '"');
    for (size_t i = 0; i < bytes->len; i += 3) {
        size_t left = bytes->len - i;
        uint32_t word = (uint32_t)bytes->data[i] << 16;
        char text[4];

        if (left > 1)
            word |= (uint32_t)bytes->data[i + 1] << 8;
        if (left > 2)
            word |= bytes->data[i + 2];
        text[0] = digits[word >> 18];
        text[1] = digits[word >> 12 & 63];
        text[2] = digits[word >> 6 & 63];
        text[3] = digits[word & 63];
        if (left < 2)
            text[2] = '=';
        if (left < 3)
            text[3] = '=';
        wm_buf_add(buf, text, 4);
    }
    wm_buf_char(buf, '"');
}

static void print_enum(wm_buf *buf, const ProtobufCFieldDescriptor *field, int32_t number)
{
    const ProtobufCEnumValue *value;

    if (json_is_null_value(field)) {
        wm_buf_text(buf, "null");
        return;
    }
    value = protobuf_c_enum_descriptor_get_value(field->descriptor, number);
    if (value == NULL)
        wm_buf_printf(buf, "%" PRId32, number);
    else
        wm_json_write_string(buf, value->name, strlen(value->name));
}

/* One value of the field's type, at `at`. */
static void print_value(wm_buf *buf, const ProtobufCFieldDescriptor *field, const void *at)
{
    const char *text;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        wm_buf_printf(buf, "%" PRId32, *(const int32_t *)at);
        return;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        wm_buf_printf(buf, "%" PRIu32, *(const uint32_t *)at);
        return;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        wm_buf_printf(buf, "\"%" PRId64 "\"", *(const int64_t *)at);
        return;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        wm_buf_printf(buf, "\"%" PRIu64 "\"", *(const uint64_t *)at);
        return;
    case PROTOBUF_C_TYPE_FLOAT:
        wm_json_write_float(buf, *(const float *)at);
        return;
    case PROTOBUF_C_TYPE_DOUBLE:
        wm_json_write_double(buf, *(const double *)at);
        return;
    case PROTOBUF_C_TYPE_BOOL:
        wm_buf_text(buf, *(const protobuf_c_boolean *)at ? "true" : "false");
        return;
    case PROTOBUF_C_TYPE_ENUM:
        print_enum(buf, field, *(const int32_t *)at);
        return;
    case PROTOBUF_C_TYPE_STRING:
        text = *(const char *const *)at;
        wm_json_write_string(buf, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
        return;
    case PROTOBUF_C_TYPE_BYTES:
        print_base64(buf, at);
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
        if (*(const ProtobufCMessage *const *)at == NULL)
            wm_buf_text(buf, "null");
        else
            print_message(buf, *(const ProtobufCMessage *const *)at);
        return;
    }
}

/* A map key is a string whatever its type. */
static void print_map_key(wm_buf *buf, const ProtobufCFieldDescriptor *field, const void *at)
{
    size_t from = buf->size;

    print_value(buf, field, at);
    if (!buf->failed && buf->data[from] != '"') {
        char text[32];

        snprintf(text, sizeof(text), "%s", buf->data + from);
        buf->size = from;
        wm_buf_printf(buf, "\"%s\"", text);
    }
}

static void print_map_value(wm_buf *buf, const ProtobufCMessage *entry)
{
    const ProtobufCFieldDescriptor *field = &entry->descriptor->fields[1];
    const void *at = json_member_at(entry, field->offset);

    /* An entry without a value has the default one, which for a message is an empty one. */
    if (field->type == PROTOBUF_C_TYPE_MESSAGE && *(const ProtobufCMessage *const *)at == NULL)
        wm_buf_text(buf, json_form_of(field->descriptor) == JSON_FORM_VALUE ? "null" : "{}");
    else
        print_value(buf, field, at);
}

/* protobuf-c keeps every entry that was sent; the last one with a key counts. Long maps
 * are not searched, as that would take n * n steps: their readers take the last one too. */
static bool print_key_comes_again(ProtobufCMessage *const *entries, size_t i, size_t n)
{
    const ProtobufCFieldDescriptor *key = &entries[i]->descriptor->fields[0];
    const void *at = json_member_at(entries[i], key->offset);

    if (n > PRINT_MAP_SEARCH_MAX)
        return false;
    for (size_t k = i + 1; k < n; k++) {
        const void *other = json_member_at(entries[k], key->offset);

        if (key->type == PROTOBUF_C_TYPE_STRING
                ? strcmp(*(const char *const *)at, *(const char *const *)other) == 0
                : memcmp(at, other, json_element_size(key->type)) == 0)
            return true;
    }
    return false;
}

static void print_map(wm_buf *buf, const ProtobufCMessage *message,
                      const ProtobufCFieldDescriptor *field)
{
    size_t n = *(const size_t *)json_member_at(message, field->quantifier_offset);
    ProtobufCMessage *const *entries =
        *(ProtobufCMessage *const *const *)json_member_at(message, field->offset);
    const char *separator = "";

    wm_buf_char(buf, '{');
    for (size_t i = 0; i < n; i++) {
        const ProtobufCFieldDescriptor *key = &entries[i]->descriptor->fields[0];

        if (print_key_comes_again(entries, i, n))
            continue;
        wm_buf_text(buf, separator);
        separator = ",";
        print_map_key(buf, key, json_member_at(entries[i], key->offset));
        wm_buf_char(buf, ':');
        print_map_value(buf, entries[i]);
    }
    wm_buf_char(buf, '}');
}

static void print_array(wm_buf *buf, const ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *field)
{
    size_t n = *(const size_t *)json_member_at(message, field->quantifier_offset);
    const char *elements = *(const char *const *)json_member_at(message, field->offset);
    size_t size = json_element_size(field->type);

    wm_buf_char(buf, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            wm_buf_char(buf, ',');
        print_value(buf, field, elements + i * size);
    }
    wm_buf_char(buf, ']');
}

static bool print_is_zero(const ProtobufCFieldDescriptor *field, const void *at)
{
    static const char zeros[8];

    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return *(const char *const *)at == NULL || **(const char *const *)at == '\0';
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)at)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(const ProtobufCMessage *const *)at == NULL;
    default:
        return memcmp(at, zeros, json_element_size(field->type)) == 0;
    }
}

static bool print_is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const void *at = json_member_at(message, field->offset);
    const void *quantifier = json_member_at(message, field->quantifier_offset);

    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) /* the case is an enum of field numbers */
        return *(const uint32_t *)quantifier == field->id;
    switch (field->label) {
    case PROTOBUF_C_LABEL_REQUIRED:
        return true;
    case PROTOBUF_C_LABEL_REPEATED:
        return *(const size_t *)quantifier > 0;
    case PROTOBUF_C_LABEL_OPTIONAL:
        if (field->type == PROTOBUF_C_TYPE_MESSAGE)
            return *(const ProtobufCMessage *const *)at != NULL;
        if (field->type == PROTOBUF_C_TYPE_STRING)
            return *(const char *const *)at != NULL;
        return *(const protobuf_c_boolean *)quantifier;
    case PROTOBUF_C_LABEL_NONE:
        break;
    }
    return !print_is_zero(field, at);
}

static void print_field(wm_buf *buf, const ProtobufCMessage *message,
                        const ProtobufCFieldDescriptor *field)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        print_value(buf, field, json_member_at(message, field->offset));
    else if (json_is_map(message->descriptor, field))
        print_map(buf, message, field);
    else
        print_array(buf, message, field);
}

static void print_plain(wm_buf *buf, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    const char *separator = "";

    wm_buf_char(buf, '{');
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];

        if (!print_is_set(message, field))
            continue;
        wm_buf_text(buf, separator);
        separator = ",";
        wm_buf_char(buf, '"');
        json_camel_add(buf, field->name, strlen(field->name));
        wm_buf_text(buf, "\":");
        print_field(buf, message, field);
    }
    wm_buf_char(buf, '}');
}

/* ---- special forms ---- */

/* 0, 3, 6 or 9 digits, as proto3 JSON has it. */
static void print_nanos(wm_buf *buf, int32_t nanos)
{
    if (nanos == 0)
        return;
    if (nanos % 1000000 == 0)
        wm_buf_printf(buf, ".%03" PRId32, nanos / 1000000);
    else if (nanos % 1000 == 0)
        wm_buf_printf(buf, ".%06" PRId32, nanos / 1000);
    else
        wm_buf_printf(buf, ".%09" PRId32, nanos);
}

static int64_t print_seconds_of(const ProtobufCMessage *message)
{
    return *(const int64_t *)json_member_at(message, message->descriptor->fields[0].offset);
}

static int32_t print_nanos_of(const ProtobufCMessage *message)
{
    return *(const int32_t *)json_member_at(message, message->descriptor->fields[1].offset);
}

static void print_timestamp(wm_buf *buf, const ProtobufCMessage *message)
{
    int64_t seconds = print_seconds_of(message);
    int32_t nanos = print_nanos_of(message);
    char text[WM_TIME_TEXT_SIZE];

    if (seconds < JSON_TIMESTAMP_SECONDS_MIN || seconds > JSON_TIMESTAMP_SECONDS_MAX || nanos < 0 ||
        nanos > 999999999) {
        wm_buf_text(buf, "null");
        return;
    }
    wm_time_format_seconds(seconds, text);
    wm_buf_printf(buf, "\"%s", text);
    print_nanos(buf, nanos);
    wm_buf_text(buf, "Z\"");
}

static void print_duration(wm_buf *buf, const ProtobufCMessage *message)
{
    int64_t seconds = print_seconds_of(message);
    int32_t nanos = print_nanos_of(message);

    if (seconds < -JSON_DURATION_SECONDS_MAX || seconds > JSON_DURATION_SECONDS_MAX ||
        nanos < -999999999 || nanos > 999999999 || (seconds > 0 && nanos < 0) ||
        (seconds < 0 && nanos > 0)) {
        wm_buf_text(buf, "null");
        return;
    }
    wm_buf_text(buf, seconds < 0 || nanos < 0 ? "\"-" : "\"");
    wm_buf_printf(buf, "%" PRId64, seconds < 0 ? -seconds : seconds);
    print_nanos(buf, nanos < 0 ? -nanos : nanos);
    wm_buf_text(buf, "s\"");
}

static void print_field_mask(wm_buf *buf, const ProtobufCMessage *message)
{
    const ProtobufCFieldDescriptor *paths = &message->descriptor->fields[0];
    size_t n = *(const size_t *)json_member_at(message, paths->quantifier_offset);
    char *const *path = *(char *const *const *)json_member_at(message, paths->offset);

    wm_buf_char(buf, '"');
    for (size_t i = 0; i < n; i++) {
        size_t from = buf->size;

        if (i > 0)
            wm_buf_char(buf, ',');
        json_camel_add(buf, path[i], strlen(path[i]));
        /* A path is made of field names; anything else must not break out of the quotes. */
        for (size_t k = from; !buf->failed && k < buf->size; k++) {
            if (buf->data[k] == '"' || buf->data[k] == '\\' || (unsigned char)buf->data[k] < 0x20)
                buf->data[k] = '_';
        }
    }
    wm_buf_char(buf, '"');
}

static void print_dynamic_value(wm_buf *buf, const ProtobufCMessage *message)
{
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

        if (print_is_set(message, field)) {
            print_field(buf, message, field);
            return;
        }
    }
    wm_buf_text(buf, "null");
}

static void print_message(wm_buf *buf, const ProtobufCMessage *message)
{
    switch (json_form_of(message->descriptor)) {
    case JSON_FORM_TIMESTAMP:
        print_timestamp(buf, message);
        return;
    case JSON_FORM_DURATION:
        print_duration(buf, message);
        return;
    case JSON_FORM_FIELD_MASK:
        print_field_mask(buf, message);
        return;
    case JSON_FORM_VALUE:
        print_dynamic_value(buf, message);
        return;
    case JSON_FORM_FIRST_FIELD:
        print_field(buf, message, &message->descriptor->fields[0]);
        return;
    case JSON_FORM_PLAIN:
        break;
    }
    print_plain(buf, message);
}

void wm_json_from_message(wm_buf *buf, const ProtobufCMessage *message)
{
    print_message(buf, message);
}
