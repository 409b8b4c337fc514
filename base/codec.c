/* base/codec.c - protobuf bytes in, behind the wire guard; see codec.h.
 *
 * The guard walks the bytes once, along the descriptor, and accepts a subset of
 * what protobuf-c accepts; the fuzz target tests/fuzz/codec_fuzz.c holds it to that.
 * It recurses only into known message fields and to WM_WIRE_DEPTH_MAX at most.
 * Unknown fields of a length are skipped as bytes. Groups are refused, as proto3
 * has none and protobuf-c does not read them.
 *
 * A singular message field that comes twice is WIRE_MALFORMED. The specification
 * merges the two, but protobuf-c loses scalars of the first, and no encoder
 * writes such a thing. Scalars that come twice follow the rule: the last one wins.
 *
 * The path of the offending field is found only on failure, from the frames on
 * the stack, by counting once more how many elements came before.
 */
#include "base/codec.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"

enum {
    CODEC_VARINT_MAX = 10, /* bytes */
    CODEC_TAG_MAX = 5,
    CODEC_SEEN_WORDS = 4 /* message fields of one type that are watched for duplicates: 256 */
};

typedef struct codec_frame codec_frame;
struct codec_frame {
    const codec_frame *parent;
    const ProtobufCMessageDescriptor *descriptor;
    const ProtobufCFieldDescriptor *field; /* the one being read, or NULL */
    const uint8_t *start;                  /* of this message */
    const uint8_t *field_start;            /* of the tag being read */
};

typedef struct codec_guard {
    size_t elements;
    wm_err *err;
} codec_guard;

/* One field on the wire. For a length-delimited one, `at` and `size` are its content. */
typedef struct codec_item {
    uint32_t id;
    uint32_t wire_type;
    const uint8_t *at;
    size_t size;
} codec_item;

/* ---- reading ---- */

/* How many bytes the varint at `at` has, or 0 when it does not end within `max`. */
static size_t codec_varint_size(const uint8_t *at, const uint8_t *end, size_t max)
{
    size_t left = (size_t)(end - at);

    if (left < max)
        max = left;
    for (size_t i = 0; i < max; i++) {
        if (at[i] < 0x80)
            return i + 1;
    }
    return 0;
}

static uint64_t codec_varint(const uint8_t *at, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)(at[i] & 0x7F) << (7 * i);
    return value;
}

typedef enum codec_read { CODEC_READ_OK, CODEC_READ_TRUNCATED, CODEC_READ_MALFORMED } codec_read;

static codec_read codec_read_varint(const uint8_t *at, const uint8_t *end, size_t max, size_t *size)
{
    *size = codec_varint_size(at, end, max);
    if (*size > 0)
        return CODEC_READ_OK;
    return (size_t)(end - at) < max ? CODEC_READ_TRUNCATED : CODEC_READ_MALFORMED;
}

static codec_read codec_read_tag(const uint8_t **at, const uint8_t *end, codec_item *item)
{
    size_t size;
    uint64_t tag;

    if (**at < 0x80) { /* ids 1 to 15 */
        tag = **at;
        size = 1;
    } else {
        codec_read rc = codec_read_varint(*at, end, CODEC_TAG_MAX, &size);

        if (rc != CODEC_READ_OK)
            return rc;
        tag = codec_varint(*at, size);
    }
    *at += size;
    item->id = (uint32_t)(tag >> 3);
    item->wire_type = (uint32_t)(tag & 7);
    return tag <= UINT32_MAX && item->id > 0 ? CODEC_READ_OK : CODEC_READ_MALFORMED;
}

static codec_read codec_read_length(const uint8_t **at, const uint8_t *end, codec_item *item)
{
    size_t header;
    uint64_t length;
    codec_read rc = codec_read_varint(*at, end, CODEC_TAG_MAX, &header);

    if (rc != CODEC_READ_OK)
        return rc;
    length = codec_varint(*at, header);
    if (length > INT32_MAX)
        return CODEC_READ_MALFORMED;
    item->at = *at + header;
    item->size = (size_t)length;
    if (item->size > (size_t)(end - item->at))
        return CODEC_READ_TRUNCATED;
    *at = item->at + item->size;
    return CODEC_READ_OK;
}

static codec_read codec_read_fixed(const uint8_t **at, const uint8_t *end, size_t size)
{
    if ((size_t)(end - *at) < size)
        return CODEC_READ_TRUNCATED;
    *at += size;
    return CODEC_READ_OK;
}

/* Reads one field and moves `*at` behind it. There is at least one byte. */
static codec_read codec_read_item(const uint8_t **at, const uint8_t *end, codec_item *item)
{
    codec_read rc = codec_read_tag(at, end, item);

    if (rc != CODEC_READ_OK)
        return rc;
    item->at = *at;
    switch (item->wire_type) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        rc = codec_read_varint(*at, end, CODEC_VARINT_MAX, &item->size);
        *at += item->size;
        return rc;
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        item->size = 8;
        return codec_read_fixed(at, end, 8);
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        item->size = 4;
        return codec_read_fixed(at, end, 4);
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        return codec_read_length(at, end, item);
    default:
        return CODEC_READ_MALFORMED;
    }
}

/* ---- failing ---- */

/* Which element of its repeated field the frame is at. */
static size_t codec_element_index(const codec_frame *frame)
{
    const uint8_t *at = frame->start;
    size_t index = 0;

    while (at < frame->field_start) {
        codec_item item;

        if (codec_read_item(&at, frame->field_start, &item) != CODEC_READ_OK)
            break;
        if (item.id == frame->field->id)
            index++;
    }
    return index;
}

static void codec_path(wm_buf *path, const codec_frame *frame)
{
    if (frame == NULL)
        return;
    codec_path(path, frame->parent);
    if (frame->field == NULL)
        return;
    if (path->size > 0)
        wm_buf_char(path, '.');
    wm_buf_text(path, frame->field->name);
    if (frame->field->label == PROTOBUF_C_LABEL_REPEATED)
        wm_buf_printf(path, "[%zu]", codec_element_index(frame));
}

static wm_code codec_fail(const codec_guard *guard, const codec_frame *frame, const char *reason,
                          const char *what)
{
    wm_buf path;

    if (guard->err == NULL)
        return WM_INVALID;
    wm_buf_init(&path, WM_WIRE_DEPTH_MAX * 80);
    codec_path(&path, frame);
    wm_fail_field(guard->err, path.data, reason, "%s", what);
    wm_buf_free(&path);
    return WM_INVALID;
}

static wm_code codec_fail_read(const codec_guard *guard, const codec_frame *frame, codec_read rc)
{
    if (rc == CODEC_READ_TRUNCATED)
        return codec_fail(guard, frame, "WIRE_TRUNCATED",
                          "the message ends in the middle of a field");
    return codec_fail(guard, frame, "WIRE_MALFORMED", "the bytes are not a protobuf message");
}

static wm_code codec_fail_type(const codec_guard *guard, const codec_frame *frame)
{
    return codec_fail(guard, frame, "WIRE_MALFORMED", "the field has another type on the wire");
}

static wm_code codec_count(codec_guard *guard, const codec_frame *frame, size_t n)
{
    guard->elements += n;
    if (guard->elements > WM_WIRE_ELEMENTS_MAX)
        return codec_fail(guard, frame, "WIRE_TOO_MANY_ELEMENTS",
                          "the message has more than 1000000 elements");
    return WM_OK;
}

/* ---- checking ---- */

static uint32_t codec_wire_type(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return PROTOBUF_C_WIRE_TYPE_32BIT;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return PROTOBUF_C_WIRE_TYPE_64BIT;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
    default:
        return PROTOBUF_C_WIRE_TYPE_VARINT;
    }
}

static wm_code codec_check_string(const codec_guard *guard, const codec_frame *frame,
                                  const codec_item *item)
{
    switch (wm_utf8_check(item->at, item->size)) {
    case WM_UTF8_BAD:
        return codec_fail(guard, frame, "WIRE_BAD_UTF8", "the text is not valid UTF-8");
    case WM_UTF8_NUL:
        return codec_fail(guard, frame, "WIRE_NUL_IN_STRING", "the text holds a NUL character");
    case WM_UTF8_OK:
        break;
    }
    return WM_OK;
}

static wm_code codec_check_packed_varints(codec_guard *guard, const codec_frame *frame,
                                          const codec_item *item)
{
    const uint8_t *at = item->at, *end = item->at + item->size;
    size_t n = 0;

    while (at < end) {
        size_t size;
        codec_read rc = codec_read_varint(at, end, CODEC_VARINT_MAX, &size);

        if (rc != CODEC_READ_OK)
            return codec_fail_read(guard, frame, rc);
        at += size;
        n++;
    }
    return codec_count(guard, frame, n);
}

static wm_code codec_check_packed(codec_guard *guard, const codec_frame *frame,
                                  const codec_item *item)
{
    switch (codec_wire_type(frame->field->type)) {
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        if (item->size % 4 != 0)
            return codec_fail_read(guard, frame, CODEC_READ_TRUNCATED);
        return codec_count(guard, frame, item->size / 4);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        if (item->size % 8 != 0)
            return codec_fail_read(guard, frame, CODEC_READ_TRUNCATED);
        return codec_count(guard, frame, item->size / 8);
    default:
        break;
    }
    /* protobuf-c takes packed booleans of one byte only. */
    if (frame->field->type == PROTOBUF_C_TYPE_BOOL) {
        for (size_t i = 0; i < item->size; i++) {
            if (item->at[i] > 1)
                return codec_fail_type(guard, frame);
        }
    }
    return codec_check_packed_varints(guard, frame, item);
}

static wm_code codec_check_message(codec_guard *guard, const codec_frame *parent,
                                   const ProtobufCMessageDescriptor *descriptor,
                                   const codec_item *item, int depth);

static wm_code codec_check_field(codec_guard *guard, const codec_frame *frame,
                                 const codec_item *item, int depth)
{
    const ProtobufCFieldDescriptor *field = frame->field;

    if (item->wire_type != codec_wire_type(field->type)) {
        if (item->wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED &&
            field->label == PROTOBUF_C_LABEL_REPEATED)
            return codec_check_packed(guard, frame, item);
        return codec_fail_type(guard, frame);
    }
    if (field->type == PROTOBUF_C_TYPE_STRING)
        return codec_check_string(guard, frame, item);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return codec_check_message(guard, frame, field->descriptor, item, depth + 1);
    return WM_OK;
}

/* Fields come in the order of their ids almost always, so the next one is tried first. */
static const ProtobufCFieldDescriptor *codec_find_field(const ProtobufCMessageDescriptor *of,
                                                        unsigned *hint, uint32_t id)
{
    const ProtobufCFieldDescriptor *field;

    for (unsigned i = *hint; i < of->n_fields && i < *hint + 2; i++) {
        if (of->fields[i].id == id) {
            *hint = i;
            return &of->fields[i];
        }
    }
    field = protobuf_c_message_descriptor_get_field(of, id);
    if (field != NULL)
        *hint = (unsigned)(field - of->fields);
    return field;
}

/* Notes a message field as seen; false when it was seen before. */
static bool codec_first_time(uint64_t seen[CODEC_SEEN_WORDS], unsigned index)
{
    uint64_t bit = UINT64_C(1) << (index % 64);

    if (index / 64 >= CODEC_SEEN_WORDS)
        return true;
    if (seen[index / 64] & bit)
        return false;
    seen[index / 64] |= bit;
    return true;
}

/* proto2 only. protobuf-c refuses as well, but cannot say which field is missing. */
static wm_code codec_check_required(const codec_guard *guard, codec_frame *frame,
                                    const codec_item *item)
{
    const ProtobufCMessageDescriptor *descriptor = frame->descriptor;

    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const uint8_t *at = item->at, *end = item->at + item->size;
        bool found = descriptor->fields[i].label != PROTOBUF_C_LABEL_REQUIRED;

        while (!found && at < end) {
            codec_item other;

            if (codec_read_item(&at, end, &other) != CODEC_READ_OK)
                break;
            found = other.id == descriptor->fields[i].id;
        }
        if (!found) {
            frame->field = &descriptor->fields[i];
            return codec_fail(guard, frame, "WIRE_MALFORMED", "a required field is missing");
        }
    }
    return WM_OK;
}

static wm_code codec_check_message(codec_guard *guard, const codec_frame *parent,
                                   const ProtobufCMessageDescriptor *descriptor,
                                   const codec_item *item, int depth)
{
    codec_frame frame = {parent, descriptor, NULL, item->at, item->at};
    uint64_t seen[CODEC_SEEN_WORDS] = {0};
    const uint8_t *at = item->at, *end = item->at + item->size;
    unsigned hint = 0;

    if (depth > WM_WIRE_DEPTH_MAX)
        return codec_fail(guard, parent, "WIRE_TOO_DEEP", "messages are nested deeper than 64");
    while (at < end) {
        codec_item inner;
        codec_read rc;
        wm_code code = codec_count(guard, parent, 1);

        if (code != WM_OK)
            return code;
        frame.field_start = at;
        frame.field = NULL;
        rc = codec_read_item(&at, end, &inner);
        if (rc != CODEC_READ_OK)
            return codec_fail_read(guard, &frame, rc);
        frame.field = codec_find_field(descriptor, &hint, inner.id);
        if (frame.field == NULL)
            continue;
        if (frame.field->type == PROTOBUF_C_TYPE_MESSAGE &&
            frame.field->label != PROTOBUF_C_LABEL_REPEATED && !codec_first_time(seen, hint))
            return codec_fail(guard, &frame, "WIRE_MALFORMED", "a message field comes twice");
        code = codec_check_field(guard, &frame, &inner, depth);
        if (code != WM_OK)
            return code;
    }
    return codec_check_required(guard, &frame, item);
}

/* An empty message may come as NULL, to which nothing may be added, not even 0. */
static const uint8_t *codec_bytes(const void *bytes)
{
    static const uint8_t nothing[1];

    return bytes != NULL ? bytes : nothing;
}

wm_code wm_codec_check(const ProtobufCMessageDescriptor *descriptor, const void *bytes, size_t size,
                       wm_err *err)
{
    codec_guard guard = {0, err};
    codec_item item = {0, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, codec_bytes(bytes), size};

    return codec_check_message(&guard, NULL, descriptor, &item, 1);
}

wm_code wm_codec_unpack(wm_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                        const void *bytes, size_t size, ProtobufCMessage **message, wm_err *err)
{
    wm_code code = wm_codec_check(descriptor, bytes, size, err);

    if (code != WM_OK)
        return code;
    *message =
        protobuf_c_message_unpack(descriptor, wm_arena_protobuf(arena), size, codec_bytes(bytes));
    /* The guard has passed the bytes, so what is left is the arena's limit. */
    if (*message == NULL)
        return wm_fail(err, WM_EXHAUSTED, "MESSAGE_TOO_LARGE",
                       "the message takes too much memory when unpacked");
    return WM_OK;
}
