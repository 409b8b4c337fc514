/* base/json_message.c - proto3 JSON to protobuf messages; see json.h.
 *
 * A tree of a limited depth is walked along a descriptor, so the recursion is
 * bounded by the tree. Frames on the stack give an error its path.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_proto.h"

enum { READ_PATH_MAX = 4096 };

/* Where in the JSON we are. */
typedef struct read_frame read_frame;
struct read_frame {
    const read_frame *parent;
    const char *name; /* a member, or NULL for an element */
    size_t index;
};

typedef struct read_context {
    wm_arena *arena;
    wm_err *err;
} read_context;

typedef const ProtobufCFieldDescriptor field_type;
typedef const ProtobufCMessageDescriptor message_type;

static wm_code read_message(read_context *ctx, const read_frame *frame, const wm_json *json,
                            message_type *descriptor, ProtobufCMessage **message);

/* ---- failing ---- */

static void read_path(wm_buf *path, const read_frame *frame)
{
    if (frame == NULL)
        return;
    read_path(path, frame->parent);
    if (frame->name == NULL) {
        wm_buf_printf(path, "[%zu]", frame->index);
        return;
    }
    if (path->size > 0)
        wm_buf_char(path, '.');
    wm_buf_text(path, frame->name);
}

static wm_code read_fail(const read_context *ctx, const read_frame *frame, const char *what)
{
    wm_buf path;

    if (ctx->err == NULL)
        return WM_INVALID;
    wm_buf_init(&path, READ_PATH_MAX);
    read_path(&path, frame);
    wm_fail_field(ctx->err, path.data, "FIELD_INVALID", "%s", what);
    wm_buf_free(&path);
    return WM_INVALID;
}

static void *read_alloc(const read_context *ctx, size_t size, wm_code *code)
{
    void *piece = wm_arena_try(ctx->arena, size);

    if (piece != NULL)
        memset(piece, 0, size);
    else
        *code = wm_fail(ctx->err, WM_EXHAUSTED, "MESSAGE_TOO_LARGE",
                        "the message takes too much memory");
    return piece;
}

/* ---- numbers ---- */

/* The number's text: of a JSON number, or of a string that holds one. */
static const char *read_number_text(const wm_json *json)
{
    if (json->kind == WM_JSON_NUMBER)
        return json->text;
    /* strtod and strtoll would skip space and take hexadecimal, "nan" and a plus. */
    if (json->kind == WM_JSON_STRING && json->text_len > 0 &&
        strspn(json->text, "0123456789+-.eE") == json->text_len && json->text[0] != '+')
        return json->text;
    return NULL;
}

static bool read_double(const wm_json *json, double *number)
{
    static const struct {
        const char *text;
        double number;
    } words[] = {
        {"NaN", (double)NAN}, {"Infinity", (double)INFINITY}, {"-Infinity", -(double)INFINITY}};
    const char *text = read_number_text(json);
    char *end;

    if (text != NULL) {
        *number = strtod(text, &end);
        return *end == '\0' && end != text && isfinite(*number);
    }
    for (size_t i = 0; json->kind == WM_JSON_STRING && i < WM_ARRAY_LEN(words); i++) {
        if (strcmp(json->text, words[i].text) == 0) {
            *number = words[i].number;
            return true;
        }
    }
    return false;
}

/* A whole number as magnitude and sign. "1e3" and "5.0" are whole; they go through a
 * double, which is exact up to 2^53. */
static bool read_whole(const wm_json *json, bool *negative, uint64_t *magnitude)
{
    const char *text = read_number_text(json);
    const char *digits;
    char *end;
    double number;

    if (text == NULL)
        return false;
    *negative = text[0] == '-';
    digits = text + (*negative ? 1 : 0);
    if (digits[0] >= '0' && digits[0] <= '9' && strspn(digits, "0123456789") == strlen(digits)) {
        errno = 0;
        *magnitude = strtoull(digits, &end, 10);
        return errno == 0;
    }
    if (!read_double(json, &number) || number != floor(number) || fabs(number) > 0x1p53)
        return false;
    *magnitude = (uint64_t)fabs(number);
    return true;
}

static bool read_signed(const wm_json *json, int64_t min, int64_t max, int64_t *number)
{
    bool negative;
    uint64_t magnitude;

    if (!read_whole(json, &negative, &magnitude))
        return false;
    if (negative) {
        if (magnitude > (uint64_t)INT64_MAX + 1)
            return false;
        *number = magnitude == (uint64_t)INT64_MAX + 1 ? INT64_MIN : -(int64_t)magnitude;
    } else {
        if (magnitude > (uint64_t)INT64_MAX)
            return false;
        *number = (int64_t)magnitude;
    }
    return *number >= min && *number <= max;
}

static bool read_unsigned(const wm_json *json, uint64_t max, uint64_t *number)
{
    bool negative;

    return read_whole(json, &negative, number) && (!negative || *number == 0) && *number <= max;
}

/* ---- other scalars ---- */

static int read_base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

/* Both alphabets, with padding or without. */
static wm_code read_bytes(read_context *ctx, const read_frame *frame, const wm_json *json,
                          ProtobufCBinaryData *bytes)
{
    wm_code code = WM_OK;
    size_t len = json->text_len;
    uint32_t word = 0;
    int bits = 0;

    while (len > 0 && json->text_len - len < 2 && json->text[len - 1] == '=')
        len--;
    if (len % 4 == 1)
        return read_fail(ctx, frame, "the text is not base64");
    bytes->len = 0;
    bytes->data = read_alloc(ctx, len / 4 * 3 + 3, &code);
    if (bytes->data == NULL)
        return code;
    for (size_t i = 0; i < len; i++) {
        int digit = read_base64_digit(json->text[i]);

        if (digit < 0)
            return read_fail(ctx, frame, "the text is not base64");
        word = word << 6 | (uint32_t)digit;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes->data[bytes->len++] = (uint8_t)(word >> bits);
        }
    }
    return WM_OK;
}

static wm_code read_enum(read_context *ctx, const read_frame *frame, const wm_json *json,
                         field_type *field, int32_t *number)
{
    int64_t wide;

    if (json->kind == WM_JSON_NULL) { /* only a NullValue gets here with null */
        *number = 0;
        return WM_OK;
    }
    if (json->kind == WM_JSON_STRING) {
        const ProtobufCEnumValue *value =
            protobuf_c_enum_descriptor_get_value_by_name(field->descriptor, json->text);

        if (value == NULL)
            return read_fail(ctx, frame, "no such value of the enum");
        *number = value->value;
        return WM_OK;
    }
    if (json->kind != WM_JSON_NUMBER || !read_signed(json, INT32_MIN, INT32_MAX, &wide))
        return read_fail(ctx, frame, "the name of an enum value was expected");
    *number = (int32_t)wide;
    return WM_OK;
}

static wm_code read_integer(read_context *ctx, const read_frame *frame, const wm_json *json,
                            field_type *field, void *at)
{
    int64_t number = 0;
    uint64_t natural = 0;
    bool ok;

    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        ok = read_unsigned(json, UINT32_MAX, &natural);
        *(uint32_t *)at = (uint32_t)natural;
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        ok = read_unsigned(json, UINT64_MAX, &natural);
        *(uint64_t *)at = natural;
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        ok = read_signed(json, INT64_MIN, INT64_MAX, &number);
        *(int64_t *)at = number;
        break;
    default:
        ok = read_signed(json, INT32_MIN, INT32_MAX, &number);
        *(int32_t *)at = (int32_t)number;
        break;
    }
    return ok ? WM_OK : read_fail(ctx, frame, "a whole number in the field's range was expected");
}

static wm_code read_real(read_context *ctx, const read_frame *frame, const wm_json *json,
                         field_type *field, void *at)
{
    double number;

    if (!read_double(json, &number))
        return read_fail(ctx, frame, "a number was expected");
    if (field->type == PROTOBUF_C_TYPE_DOUBLE) {
        *(double *)at = number;
        return WM_OK;
    }
    if (isfinite(number) && fabs(number) > (double)FLT_MAX)
        return read_fail(ctx, frame, "the number is too big for the field");
    *(float *)at = (float)number;
    return WM_OK;
}

/* One value of the field's type into `at`. */
static wm_code read_value(read_context *ctx, const read_frame *frame, const wm_json *json,
                          field_type *field, void *at)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FLOAT:
        return read_real(ctx, frame, json, field, at);
    case PROTOBUF_C_TYPE_BOOL:
        if (json->kind != WM_JSON_BOOL)
            return read_fail(ctx, frame, "true or false was expected");
        *(protobuf_c_boolean *)at = json->boolean;
        return WM_OK;
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(ctx, frame, json, field, at);
    case PROTOBUF_C_TYPE_STRING:
        if (json->kind != WM_JSON_STRING)
            return read_fail(ctx, frame, "a text was expected");
        *(const char **)at = json->text;
        return WM_OK;
    case PROTOBUF_C_TYPE_BYTES:
        if (json->kind != WM_JSON_STRING)
            return read_fail(ctx, frame, "a base64 text was expected");
        return read_bytes(ctx, frame, json, at);
    case PROTOBUF_C_TYPE_MESSAGE:
        return read_message(ctx, frame, json, field->descriptor, at);
    default:
        return read_integer(ctx, frame, json, field, at);
    }
}

/* ---- fields ---- */

static wm_code read_new(const read_context *ctx, message_type *descriptor,
                        ProtobufCMessage **message)
{
    wm_code code = WM_OK;

    *message = read_alloc(ctx, descriptor->sizeof_message, &code);
    if (*message != NULL)
        protobuf_c_message_init(descriptor, *message);
    return code;
}

/* A null stands for an unset field, except where null is a value. */
static bool read_null_is_value(field_type *field)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return json_form_of(field->descriptor) == JSON_FORM_VALUE;
    return json_is_null_value(field);
}

static wm_code read_array(read_context *ctx, const read_frame *frame, const wm_json *json,
                          field_type *field, ProtobufCMessage *message)
{
    size_t size = json_element_size(field->type);
    read_frame element = {frame, NULL, 0};
    wm_code code = WM_OK;
    char *elements;

    if (json->kind != WM_JSON_ARRAY)
        return read_fail(ctx, frame, "an array was expected");
    if (json->len == 0)
        return WM_OK;
    elements = read_alloc(ctx, json->len * size, &code);
    for (const wm_json *child = json->first; code == WM_OK && child != NULL; child = child->next) {
        if (child->kind == WM_JSON_NULL && !read_null_is_value(field))
            return read_fail(ctx, &element, "null is not an element");
        code = read_value(ctx, &element, child, field, elements + element.index * size);
        element.index++;
    }
    if (code != WM_OK)
        return code;
    *(void **)json_member_at(message, field->offset) = elements;
    *(size_t *)json_member_at(message, field->quantifier_offset) = json->len;
    return WM_OK;
}

/* The member's name as a value of the key's type. */
static wm_code read_map_key(read_context *ctx, const read_frame *frame, const wm_json *member,
                            field_type *field, void *at)
{
    wm_json key = {.kind = WM_JSON_STRING, .text = member->name, .text_len = strlen(member->name)};

    if (field->type == PROTOBUF_C_TYPE_BOOL && strcmp(key.text, "true") == 0)
        key = (wm_json){.kind = WM_JSON_BOOL, .boolean = true};
    else if (field->type == PROTOBUF_C_TYPE_BOOL && strcmp(key.text, "false") == 0)
        key = (wm_json){.kind = WM_JSON_BOOL};
    return read_value(ctx, frame, &key, field, at);
}

static wm_code read_map_entry(read_context *ctx, const read_frame *frame, const wm_json *member,
                              message_type *descriptor, ProtobufCMessage **entry)
{
    field_type *key = &descriptor->fields[0], *value = &descriptor->fields[1];
    wm_code code = read_new(ctx, descriptor, entry);

    if (code != WM_OK)
        return code;
    code = read_map_key(ctx, frame, member, key, json_member_at(*entry, key->offset));
    if (code != WM_OK)
        return code;
    if (member->kind == WM_JSON_NULL && !read_null_is_value(value))
        return read_fail(ctx, frame, "null is not a value of a map");
    return read_value(ctx, frame, member, value, json_member_at(*entry, value->offset));
}

static wm_code read_map(read_context *ctx, const read_frame *frame, const wm_json *json,
                        field_type *field, ProtobufCMessage *message)
{
    wm_code code = WM_OK;
    ProtobufCMessage **entries;
    size_t i = 0;

    if (json->kind != WM_JSON_OBJECT)
        return read_fail(ctx, frame, "an object was expected");
    if (json->len == 0)
        return WM_OK;
    entries = read_alloc(ctx, json->len * sizeof(*entries), &code);
    for (const wm_json *member = json->first; code == WM_OK && member != NULL;
         member = member->next) {
        read_frame inner = {frame, member->name, 0};

        code = read_map_entry(ctx, &inner, member, field->descriptor, &entries[i++]);
    }
    if (code != WM_OK)
        return code;
    *(ProtobufCMessage ***)json_member_at(message, field->offset) = entries;
    *(size_t *)json_member_at(message, field->quantifier_offset) = json->len;
    return WM_OK;
}

static wm_code read_singular(read_context *ctx, const read_frame *frame, const wm_json *json,
                             field_type *field, ProtobufCMessage *message)
{
    void *quantifier = json_member_at(message, field->quantifier_offset);

    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        if (*(uint32_t *)quantifier != 0)
            return read_fail(ctx, frame, "another field of the same oneof is set");
        *(uint32_t *)quantifier = field->id;
    } else if (field->label == PROTOBUF_C_LABEL_OPTIONAL &&
               field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_STRING) {
        *(protobuf_c_boolean *)quantifier = true;
    }
    return read_value(ctx, frame, json, field, json_member_at(message, field->offset));
}

static wm_code read_field(read_context *ctx, const read_frame *frame, const wm_json *json,
                          field_type *field, ProtobufCMessage *message)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return read_singular(ctx, frame, json, field, message);
    if (json_is_map(message->descriptor, field))
        return read_map(ctx, frame, json, field, message);
    return read_array(ctx, frame, json, field, message);
}

static field_type *read_find_field(message_type *descriptor, const char *name)
{
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (json_name_matches(name, descriptor->fields[i].name))
            return &descriptor->fields[i];
    }
    return NULL;
}

/* "someField" and "some_field" in one object are the same field twice. */
static bool read_comes_again(const wm_json *member, field_type *field)
{
    for (member = member->next; member != NULL; member = member->next) {
        if (json_name_matches(member->name, field->name))
            return true;
    }
    return false;
}

static wm_code read_plain(read_context *ctx, const read_frame *frame, const wm_json *json,
                          ProtobufCMessage *message)
{
    if (json->kind != WM_JSON_OBJECT)
        return read_fail(ctx, frame, "an object was expected");
    for (const wm_json *member = json->first; member != NULL; member = member->next) {
        field_type *field = read_find_field(message->descriptor, member->name);
        read_frame inner = {frame, member->name, 0};
        wm_code code;

        if (field == NULL)
            return read_fail(ctx, &inner, "no such field");
        if (read_comes_again(member, field))
            return read_fail(ctx, &inner, "the field comes twice");
        if (member->kind == WM_JSON_NULL && !read_null_is_value(field))
            continue;
        code = read_field(ctx, &inner, member, field, message);
        if (code != WM_OK)
            return code;
    }
    return WM_OK;
}

/* ---- special forms ---- */

static void read_set_time(ProtobufCMessage *message, int64_t seconds, int32_t nanos)
{
    *(int64_t *)json_member_at(message, message->descriptor->fields[0].offset) = seconds;
    *(int32_t *)json_member_at(message, message->descriptor->fields[1].offset) = nanos;
}

static wm_code read_timestamp(read_context *ctx, const read_frame *frame, const wm_json *json,
                              ProtobufCMessage *message)
{
    int64_t seconds;
    int32_t nanos;

    if (json->kind != WM_JSON_STRING ||
        !wm_time_parse_ns(json->text, json->text_len, &seconds, &nanos))
        return read_fail(ctx, frame, "a time like \"2026-01-02T03:04:05Z\" was expected");
    read_set_time(message, seconds, nanos);
    return WM_OK;
}

/* Up to nine digits after the point, as nanoseconds; moves `*text` behind them. */
static bool read_nanos(const char **text, int32_t *nanos)
{
    int32_t unit = 100000000;

    *nanos = 0;
    if (**text != '.')
        return true;
    (*text)++;
    if (**text < '0' || **text > '9')
        return false;
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        if (unit == 0)
            return false;
        *nanos += (**text - '0') * unit;
        unit /= 10;
    }
    return true;
}

static wm_code read_duration(read_context *ctx, const read_frame *frame, const wm_json *json,
                             ProtobufCMessage *message)
{
    static const char what[] = "a duration like \"1.5s\" was expected";
    const char *text = json->text;
    bool negative;
    int64_t seconds = 0;
    int32_t nanos;

    if (json->kind != WM_JSON_STRING)
        return read_fail(ctx, frame, what);
    negative = *text == '-';
    text += negative ? 1 : 0;
    if (*text < '0' || *text > '9')
        return read_fail(ctx, frame, what);
    for (; *text >= '0' && *text <= '9' && seconds <= JSON_DURATION_SECONDS_MAX; text++)
        seconds = seconds * 10 + (*text - '0');
    if (seconds > JSON_DURATION_SECONDS_MAX)
        return read_fail(ctx, frame, "the duration is longer than 10,000 years");
    if (!read_nanos(&text, &nanos) || strcmp(text, "s") != 0)
        return read_fail(ctx, frame, what);
    read_set_time(message, negative ? -seconds : seconds, negative ? -nanos : nanos);
    return WM_OK;
}

static bool read_is_path(const char *text, size_t len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char others[] = "0123456789_.";

    for (size_t i = 0; i < len; i++) {
        if (strchr(letters, text[i]) == NULL && (i == 0 || strchr(others, text[i]) == NULL))
            return false;
    }
    return len > 0;
}

/* "userName,a.bC" to user_name and a.b_c. */
static char *read_mask_path(const read_context *ctx, const char *camel, size_t len, wm_code *code)
{
    char *path = read_alloc(ctx, 2 * len + 1, code);
    char *to = path;

    for (size_t i = 0; path != NULL && i < len; i++) {
        if (camel[i] >= 'A' && camel[i] <= 'Z') {
            *to++ = '_';
            *to++ = (char)(camel[i] - 'A' + 'a');
        } else {
            *to++ = camel[i];
        }
    }
    return path;
}

static wm_code read_field_mask(read_context *ctx, const read_frame *frame, const wm_json *json,
                               ProtobufCMessage *message)
{
    field_type *field = &message->descriptor->fields[0];
    wm_code code = WM_OK;
    size_t n = 1, i = 0;
    const char *at;
    char **paths;

    if (json->kind != WM_JSON_STRING)
        return read_fail(ctx, frame, "field names with commas between them were expected");
    if (json->text_len == 0)
        return WM_OK;
    for (at = json->text; *at != '\0'; at++)
        n += *at == ',';
    paths = read_alloc(ctx, n * sizeof(*paths), &code);
    for (at = json->text; code == WM_OK && i < n; i++) {
        size_t len = strcspn(at, ",");

        if (!read_is_path(at, len))
            return read_fail(ctx, frame, "not a path of field names");
        paths[i] = read_mask_path(ctx, at, len, &code);
        at += len + 1;
    }
    if (code != WM_OK)
        return code;
    *(char ***)json_member_at(message, field->offset) = paths;
    *(size_t *)json_member_at(message, field->quantifier_offset) = n;
    return WM_OK;
}

/* google.protobuf.Value: the member that fits the kind, by its number in struct.proto. */
static wm_code read_dynamic_value(read_context *ctx, const read_frame *frame, const wm_json *json,
                                  ProtobufCMessage *message)
{
    static const unsigned ids[] = {
        [WM_JSON_NULL] = 1, [WM_JSON_NUMBER] = 2, [WM_JSON_STRING] = 3,
        [WM_JSON_BOOL] = 4, [WM_JSON_OBJECT] = 5, [WM_JSON_ARRAY] = 6,
    };
    field_type *field =
        protobuf_c_message_descriptor_get_field(message->descriptor, ids[json->kind]);

    if (field == NULL)
        return read_fail(ctx, frame, "the value has no place in the message");
    if (json->kind == WM_JSON_NULL) {
        *(uint32_t *)json_member_at(message, field->quantifier_offset) = field->id;
        return WM_OK;
    }
    return read_singular(ctx, frame, json, field, message);
}

static wm_code read_message(read_context *ctx, const read_frame *frame, const wm_json *json,
                            message_type *descriptor, ProtobufCMessage **message)
{
    wm_code code = read_new(ctx, descriptor, message);

    if (code != WM_OK)
        return code;
    switch (json_form_of(descriptor)) {
    case JSON_FORM_TIMESTAMP:
        return read_timestamp(ctx, frame, json, *message);
    case JSON_FORM_DURATION:
        return read_duration(ctx, frame, json, *message);
    case JSON_FORM_FIELD_MASK:
        return read_field_mask(ctx, frame, json, *message);
    case JSON_FORM_VALUE:
        return read_dynamic_value(ctx, frame, json, *message);
    case JSON_FORM_FIRST_FIELD:
        return read_field(ctx, frame, json, &descriptor->fields[0], *message);
    case JSON_FORM_PLAIN:
        break;
    }
    return read_plain(ctx, frame, json, *message);
}

wm_code wm_json_to_message(wm_arena *arena, const wm_json *json,
                           const ProtobufCMessageDescriptor *descriptor, ProtobufCMessage **message,
                           wm_err *err)
{
    read_context ctx = {arena, err};

    return read_message(&ctx, NULL, json, descriptor, message);
}
