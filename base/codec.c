/* base/codec.c - protobuf bytes in, behind the wire guard; see codec.h.
 *
 * The guard walks the bytes once, along the descriptor, and accepts a subset of
 * what protobuf-c accepts; the fuzz target tests/fuzz/base_codec_fuzz.c holds it to that.
 * It recurses only into known message fields and to WM_WIRE_DEPTH_MAX at most.
 * Unknown fields of a length are skipped as bytes. Groups are refused, as proto3
 * has none and protobuf-c does not read them.
 *
 * Where protobuf-c would read other values than the specification says, the guard notes it and
 * the message is written anew before it is unpacked (codec_merge.c). No encoder writes such
 * messages, so the way is a slow one that costs the others nothing.
 *
 * The path of the offending field is found only on failure, from the frames on
 * the stack, by counting once more how many elements came before.
 */
#include "base/codec.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/codec_merge.h"
#include "base/codec_wire.h"
#include "base/utf8.h"

enum { CODEC_SEEN_WORDS = 4 /* message fields of one type that are watched for repeats: 256 */ };

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
    bool must_merge; /* protobuf-c would read it wrongly as it stands */
    wm_err *err;
} codec_guard;

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

/* Notes a message field as seen; true when it was before, or when that cannot be told. */
static bool codec_comes_again(uint64_t seen[CODEC_SEEN_WORDS], unsigned index)
{
    uint64_t bit = UINT64_C(1) << (index % 64);
    bool again = index / 64 >= CODEC_SEEN_WORDS || (seen[index / 64] & bit);

    if (!again)
        seen[index / 64] |= bit;
    return again;
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
            frame.field->label != PROTOBUF_C_LABEL_REPEATED && codec_comes_again(seen, hint))
            guard->must_merge = true;
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

static wm_code codec_check(codec_guard *guard, const ProtobufCMessageDescriptor *descriptor,
                           const uint8_t *bytes, size_t size)
{
    codec_item item = {0, PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, bytes, size};

    return codec_check_message(guard, NULL, descriptor, &item, 1);
}

wm_code wm_codec_check(const ProtobufCMessageDescriptor *descriptor, const void *bytes, size_t size,
                       wm_err *err)
{
    codec_guard guard = {.err = err};

    return codec_check(&guard, descriptor, codec_bytes(bytes), size);
}

wm_code wm_codec_unpack(wm_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                        const void *bytes, size_t size, ProtobufCMessage **message, wm_err *err)
{
    codec_guard guard = {.err = err};
    const uint8_t *input = codec_bytes(bytes);
    wm_code code = codec_check(&guard, descriptor, input, size);
    size_t limit = wm_arena_limit(arena);

    if (code != WM_OK)
        return code;
    *message = NULL;
    /* Whoever comes after finds room, if only to say no, whatever the message takes. */
    wm_arena_set_limit(arena, limit - limit / 4);
    if (!guard.must_merge || codec_merge(arena, descriptor, &input, &size))
        *message = protobuf_c_message_unpack(descriptor, wm_arena_protobuf(arena), size, input);
    wm_arena_set_limit(arena, limit);
    /* The guard has passed the bytes, so what is left is the arena's limit. */
    if (*message == NULL)
        return wm_fail(err, WM_EXHAUSTED, "MESSAGE_TOO_LARGE",
                       "the message takes too much memory when unpacked");
    return WM_OK;
}
