/* tests/hostile/wire.h - HTTP/2 frames and header blocks as bytes, good ones and bad ones.
 *
 * Nothing here checks that what it writes is allowed: that is the point. Header blocks are HPACK
 * without Huffman codes.
 *
 * Threads: none of its own.
 * Memory:  a buffer grows until wire_free(); running out aborts.
 */
#ifndef WAYMARK_HOSTILE_WIRE_H
#define WAYMARK_HOSTILE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_PRIORITY = 2,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_GOAWAY = 7,
    FRAME_WINDOW_UPDATE = 8,
    FRAME_CONTINUATION = 9,

    FLAG_ACK = 0x1,
    FLAG_END_STREAM = 0x1,
    FLAG_END_HEADERS = 0x4,

    SETTING_HEADER_TABLE_SIZE = 1,
    SETTING_INITIAL_WINDOW_SIZE = 4,

    ERROR_CANCEL = 8,

    FRAME_HEADER_SIZE = 9,
    FRAME_SIZE_MAX = 16384, /* what a peer takes without being asked */
    WINDOW_MAX = 0x7fffffff
};

typedef struct wire {
    uint8_t *data;
    size_t len, capacity;
    uint64_t frames; /* ever added by wire_frame() */
} wire;

typedef struct frame {
    uint8_t type, flags;
    uint32_t stream;
    const uint8_t *payload;
    size_t len;
} frame;

void wire_free(wire *wire);
void wire_add(wire *wire, const void *data, size_t len);
/* Takes the first `n` bytes away. */
void wire_drop(wire *wire, size_t n);

uint32_t wire_u32(const uint8_t *data);

void wire_frame(wire *wire, uint8_t type, uint8_t flags, uint32_t stream, const void *payload,
                size_t len);
void wire_setting(wire *wire, uint16_t setting, uint32_t value); /* a SETTINGS frame with it */
void wire_rst_stream(wire *wire, uint32_t stream, uint32_t error);
void wire_window_update(wire *wire, uint32_t stream, uint32_t increment);
/* A gRPC message of `len` bytes in DATA frames, its five-byte prefix before it. */
void wire_message(wire *wire, uint32_t stream, uint8_t flags, const void *message, size_t len,
                  bool is_last);

/* Reads the frame at `data`. False: it is not there as a whole yet. */
bool frame_read(frame *frame, const uint8_t *data, size_t len);

/* ---- header blocks ---- */

void hpack_indexed(wire *block, unsigned index);
/* A header that the peer shall not remember, or shall. */
void hpack_literal(wire *block, const char *name, const void *value, size_t len);
void hpack_remembered(wire *block, const char *name, const char *value);

#endif
