/* tests/hostile/wire.c - HTTP/2 frames and header blocks as bytes. */
#include "tests/hostile/wire.h"

#include <stdlib.h>
#include <string.h>

enum {
    MESSAGE_PREFIX_SIZE = 5,

    HPACK_INDEXED = 0x80,    /* 7 bits of index */
    HPACK_REMEMBERED = 0x40, /* 6 bits of index, here 0: the name follows */
    HPACK_LITERAL = 0x00,    /* 4 bits of index, here 0 */
    HPACK_LENGTH_BITS = 7
};

void wire_free(wire *wire)
{
    free(wire->data);
    memset(wire, 0, sizeof(*wire));
}

void wire_add(wire *wire, const void *data, size_t len)
{
    if (wire->len + len > wire->capacity) {
        wire->capacity = (wire->len + len) * 2;
        wire->data = realloc(wire->data, wire->capacity);
        if (wire->data == NULL)
            abort();
    }
    if (len > 0)
        memcpy(wire->data + wire->len, data, len);
    wire->len += len;
}

void wire_drop(wire *wire, size_t n)
{
    wire->len -= n;
    memmove(wire->data, wire->data + n, wire->len);
}

uint32_t wire_u32(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static void u32_write(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* ---- frames ---- */

void wire_frame(wire *wire, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
                size_t len)
{
    uint8_t header[FRAME_HEADER_SIZE] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len,
                                         type, flags};

    wire->frames++;
    u32_write(header + 5, stream);
    wire_add(wire, header, sizeof(header));
    wire_add(wire, payload, len);
}

void wire_setting(wire *wire, uint16_t setting, uint32_t value)
{
    uint8_t payload[6] = {(uint8_t)(setting >> 8), (uint8_t)setting};

    u32_write(payload + 2, value);
    wire_frame(wire, FRAME_SETTINGS, 0, 0, payload, sizeof(payload));
}

void wire_rst_stream(wire *wire, uint32_t stream, uint32_t error)
{
    uint8_t payload[4];

    u32_write(payload, error);
    wire_frame(wire, FRAME_RST_STREAM, 0, stream, payload, sizeof(payload));
}

void wire_window_update(wire *wire, uint32_t stream, uint32_t increment)
{
    uint8_t payload[4];

    u32_write(payload, increment);
    wire_frame(wire, FRAME_WINDOW_UPDATE, 0, stream, payload, sizeof(payload));
}

void wire_message(wire *out, uint32_t stream, uint8_t flags, const void *message, size_t len,
                  bool is_last)
{
    uint8_t prefix[MESSAGE_PREFIX_SIZE] = {flags};
    wire whole = {0};
    size_t sent = 0;

    u32_write(prefix + 1, (uint32_t)len);
    wire_add(&whole, prefix, sizeof(prefix));
    wire_add(&whole, message, len);
    while (sent < whole.len) {
        size_t n = whole.len - sent < FRAME_SIZE_MAX ? whole.len - sent : FRAME_SIZE_MAX;
        bool is_end = is_last && sent + n == whole.len;
        wire_frame(out, FRAME_DATA, is_end ? FLAG_END_STREAM : 0, stream, whole.data + sent, n);
        sent += n;
    }
    wire_free(&whole);
}

bool frame_read(frame *frame, const uint8_t *data, size_t len)
{
    size_t size;

    if (len < FRAME_HEADER_SIZE)
        return false;
    size = (size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2];
    if (len - FRAME_HEADER_SIZE < size)
        return false;
    frame->type = data[3];
    frame->flags = data[4];
    frame->stream = wire_u32(data + 5) & WINDOW_MAX;
    frame->payload = data + FRAME_HEADER_SIZE;
    frame->len = size;
    return true;
}

/* ---- header blocks ---- */

/* An integer of RFC 7541, 5.1, whose first byte has `bits` of room beside `mark`. */
static void hpack_integer(wire *block, uint8_t mark, unsigned bits, size_t value)
{
    size_t room = ((size_t)1 << bits) - 1;
    uint8_t byte;

    if (value < room) {
        byte = (uint8_t)(mark | value);
        wire_add(block, &byte, 1);
        return;
    }
    byte = (uint8_t)(mark | room);
    wire_add(block, &byte, 1);
    for (value -= room; value >= 128; value >>= 7) {
        byte = (uint8_t)(value | 128);
        wire_add(block, &byte, 1);
    }
    byte = (uint8_t)value;
    wire_add(block, &byte, 1);
}

static void hpack_string(wire *block, const void *text, size_t len)
{
    hpack_integer(block, 0, HPACK_LENGTH_BITS, len);
    wire_add(block, text, len);
}

void hpack_indexed(wire *block, unsigned index)
{
    hpack_integer(block, HPACK_INDEXED, 7, index);
}

static void hpack_field(wire *block, uint8_t kind, const char *name, const void *value, size_t len)
{
    wire_add(block, &kind, 1);
    hpack_string(block, name, strlen(name));
    hpack_string(block, value, len);
}

void hpack_literal(wire *block, const char *name, const void *value, size_t len)
{
    hpack_field(block, HPACK_LITERAL, name, value, len);
}

void hpack_remembered(wire *block, const char *name, const char *value)
{
    hpack_field(block, HPACK_REMEMBERED, name, value, strlen(value));
}
