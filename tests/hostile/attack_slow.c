/* tests/hostile/attack_slow.c - peers that keep the server waiting or read next to nothing. */
#include <stdio.h>
#include <string.h>

#include "tests/hostile/attack.h"

enum {
    DRIBBLE_MS = 200,
    BODY_STREAMS = 10,
    BODY_SIZE = 1000,
    READER_STREAMS = 500, /* of one connection */
    NAME_SIZE_MAX = 100   /* so that its length fits one byte */
};

static const char reflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/* ---- those that send slowly ---- */

static void slow_headers_fill(hostile *self)
{
    peer *peer = &self->peer;
    wire block = {0};

    if (self->step++ == 0) {
        peer_request_block(peer, NULL, &block);
        wire_frame(&peer->out, FRAME_HEADERS, 0, peer_new_stream(peer), block.data, block.len);
    } else {
        hpack_literal(&block, "x", "y", 1);
        wire_frame(&peer->out, FRAME_CONTINUATION, 0, 1, block.data, block.len);
    }
    wire_free(&block);
}

/* Not even a whole frame: the nine bytes of its header, one at a time, and then its payload. */
static void slow_frame_fill(hostile *self)
{
    static const uint8_t header[FRAME_HEADER_SIZE] = {0, 64, 0, FRAME_HEADERS, 0, 0, 0, 0, 1};
    uint8_t byte = self->step < sizeof(header) ? header[self->step] : 0;

    self->step++;
    wire_add(&self->peer.out, &byte, 1);
}

static void slow_body_fill(hostile *self)
{
    static const uint8_t prefix[] = {0, 0, 0, BODY_SIZE >> 8, BODY_SIZE & 255};
    peer *peer = &self->peer;

    for (uint32_t i = 0; i < BODY_STREAMS; i++) {
        if (self->step == 0) {
            uint32_t stream = peer_request(peer, NULL, 0);
            wire_frame(&peer->out, FRAME_DATA, 0, stream, prefix, sizeof(prefix));
        } else {
            wire_frame(&peer->out, FRAME_DATA, 0, 2 * i + 1, "x", 1);
        }
    }
    self->step++;
}

/* ---- those that read slowly ---- */

/* ServerReflectionRequest.file_containing_symbol, which is answered by some kilobytes. */
static size_t reflection_message(const target *target, uint8_t *message)
{
    const char *service = target->path + 1;
    size_t len = strcspn(service, "/");

    if (len > NAME_SIZE_MAX)
        len = NAME_SIZE_MAX;
    message[0] = 4 << 3 | 2;
    message[1] = (uint8_t)len;
    memcpy(message + 2, service, len);
    return len + 2;
}

static void reader_fill(hostile *self)
{
    uint8_t message[NAME_SIZE_MAX + 2];
    size_t len = reflection_message(self->peer.target, message);
    peer *peer = &self->peer;

    if (self->step++ == 0) /* the connection's own window must not be what stops the replies */
        wire_window_update(&peer->out, 0, WINDOW_MAX - FRAME_SIZE_MAX * 4);
    for (unsigned i = 0; i < 50 && self->streams < READER_STREAMS; i++) {
        uint32_t stream = peer_request(peer, reflection, 0);
        wire_message(&peer->out, stream, 0, message, len, false);
        self->streams++;
    }
}

/* Takes one byte of each stream at a time. */
static void tiny_windows_came(hostile *self, const frame *frame)
{
    if (frame->type == FRAME_DATA && frame->len > 0)
        wire_window_update(&self->peer.out, frame->stream, 1);
}

const attack slow_attacks[] = {
    {.name = "slow_headers",
     .flags = PEER_NO_ACK, /* which would come in the middle */
     .summary = "a header now and then, and no end of them",
     .connections = 100,
     .pause_ms = DRIBBLE_MS,
     .fill = slow_headers_fill},
    {.name = "slow_frame",
     .flags = PEER_NO_ACK, /* which would come in the middle */
     .summary = "a frame byte by byte",
     .connections = 100,
     .pause_ms = DRIBBLE_MS,
     .fill = slow_frame_fill},
    {.name = "slow_body",
     .summary = "a message byte by byte",
     .connections = 100,
     .pause_ms = DRIBBLE_MS,
     .fill = slow_body_fill},
    {.name = "tiny_windows",
     .summary = "asks for large replies and takes them byte by byte",
     .window = 1,
     .pause_ms = 1,
     .fill = reader_fill,
     .came = tiny_windows_came},
    {.name = "zero_window",
     .summary = "asks for large replies, reads them not beyond the first byte",
     .window = 1,
     .connections = 20,
     .pause_ms = 1,
     .fill = reader_fill},
    {.name = "deaf_reader",
     .summary = "asks for large replies and never reads its socket",
     .window = WINDOW_MAX,
     .flags = PEER_DEAF,
     .connections = 20,
     .pause_ms = 1,
     .fill = reader_fill},
    {0},
};
