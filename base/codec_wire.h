/* base/codec_wire.h - reading fields off the wire; private to the codec.
 *
 * Everything is inline: the guard spends its time here. It looks at no descriptor.
 */
#ifndef WAYMARK_BASE_CODEC_WIRE_H
#define WAYMARK_BASE_CODEC_WIRE_H

#include <protobuf-c/protobuf-c.h>

enum { CODEC_VARINT_MAX = 10, /* bytes */ CODEC_TAG_MAX = 5 };

/* One field on the wire. For a length-delimited one, `at` and `size` are its content. */
typedef struct codec_item {
    uint32_t id;
    uint32_t wire_type;
    const uint8_t *at;
    size_t size;
} codec_item;

typedef enum codec_read { CODEC_READ_OK, CODEC_READ_TRUNCATED, CODEC_READ_MALFORMED } codec_read;

/* How many bytes the varint at `at` has, or 0 when it does not end within `max`. */
static inline size_t codec_varint_size(const uint8_t *at, const uint8_t *end, size_t max)
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

static inline uint64_t codec_varint(const uint8_t *at, size_t size)
{
    uint64_t value = 0;

    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)(at[i] & 0x7F) << (7 * i);
    return value;
}

static inline codec_read codec_read_varint(const uint8_t *at, const uint8_t *end, size_t max,
                                           size_t *size)
{
    *size = codec_varint_size(at, end, max);
    if (*size > 0)
        return CODEC_READ_OK;
    return (size_t)(end - at) < max ? CODEC_READ_TRUNCATED : CODEC_READ_MALFORMED;
}

static inline codec_read codec_read_tag(const uint8_t **at, const uint8_t *end, codec_item *item)
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

static inline codec_read codec_read_length(const uint8_t **at, const uint8_t *end, codec_item *item)
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

static inline codec_read codec_read_fixed(const uint8_t **at, const uint8_t *end, size_t size)
{
    if ((size_t)(end - *at) < size)
        return CODEC_READ_TRUNCATED;
    *at += size;
    return CODEC_READ_OK;
}

/* Reads one field and moves `*at` behind it. There is at least one byte. */
static inline codec_read codec_read_item(const uint8_t **at, const uint8_t *end, codec_item *item)
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

#endif
