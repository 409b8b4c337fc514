/* tests/hostile/attack_floods.c - frames that cost little to send and something to take. */
#include <string.h>

#include "tests/hostile/attack.h"

enum { SMALL_FRAMES = 4000 /* at once */ };

/* A block of headers that never ends (CVE-2024-27316 and its family). */
static void continuation_begin(hostile *self)
{
    peer *peer = &self->peer;
    wire block = {0};

    peer_request_block(peer, NULL, &block);
    wire_frame(&peer->out, FRAME_HEADERS, 0, peer_new_stream(peer), block.data, block.len);
    wire_free(&block);
}

static void continuation_fill(hostile *self)
{
    static uint8_t value[FRAME_SIZE_MAX - 64];
    peer *peer = &self->peer;
    wire block = {0};

    if (self->step++ == 0)
        continuation_begin(self);
    memset(value, 'a', sizeof(value));
    hpack_literal(&block, "x-flood", value, sizeof(value));
    while (peer->out.len < FILL_SIZE)
        wire_frame(&peer->out, FRAME_CONTINUATION, 0, 1, block.data, block.len);
    wire_free(&block);
}

/* The same without a byte in it, which no limit of bytes stops. */
static void empty_continuation_fill(hostile *self)
{
    if (self->step++ == 0)
        continuation_begin(self);
    for (unsigned i = 0; i < SMALL_FRAMES; i++)
        wire_frame(&self->peer.out, FRAME_CONTINUATION, 0, 1, NULL, 0);
}

/* Each is to be acknowledged. */
static void settings_fill(hostile *self)
{
    for (unsigned i = 0; i < SMALL_FRAMES; i++)
        wire_setting(&self->peer.out, SETTING_HEADER_TABLE_SIZE, 4096 - i % 2);
}

static void ping_fill(hostile *self)
{
    static const uint8_t payload[8] = {0};

    for (unsigned i = 0; i < SMALL_FRAMES; i++)
        wire_frame(&self->peer.out, FRAME_PING, 0, 0, payload, sizeof(payload));
}

static void empty_data_fill(hostile *self)
{
    peer *peer = &self->peer;

    if (self->step++ == 0)
        peer_request(peer, NULL, 0);
    for (unsigned i = 0; i < SMALL_FRAMES; i++)
        wire_frame(&peer->out, FRAME_DATA, 0, 1, NULL, 0);
}

static void window_update_fill(hostile *self)
{
    for (unsigned i = 0; i < SMALL_FRAMES; i++)
        wire_window_update(&self->peer.out, 0, 1);
}

static void priority_fill(hostile *self)
{
    static const uint8_t payload[5] = {0, 0, 0, 0, 16};

    for (unsigned i = 0; i < SMALL_FRAMES; i++)
        wire_frame(&self->peer.out, FRAME_PRIORITY, 0, peer_new_stream(&self->peer), payload,
                   sizeof(payload));
}

/* A type that HTTP/2 does not know is to be ignored, at the cost of reading it. */
static void unknown_frames_fill(hostile *self)
{
    static const uint8_t payload[64] = {0};

    for (unsigned i = 0; i < SMALL_FRAMES / 4; i++)
        wire_frame(&self->peer.out, 0xf0, 0, 0, payload, sizeof(payload));
}

const attack flood_attacks[] = {
    {.name = "continuation_flood",
     .flags = PEER_NO_ACK, /* which would come in the middle of the block */
     .summary = "a block of headers that never ends",
     .fill = continuation_fill},
    {.name = "empty_continuation_flood",
     .flags = PEER_NO_ACK, /* which would come in the middle of the block */
     .summary = "such a block, in frames without a byte",
     .fill = empty_continuation_fill},
    {.name = "settings_flood", .summary = "SETTINGS without end", .fill = settings_fill},
    {.name = "settings_flood_deaf",
     .summary = "SETTINGS without end, and no answer is read",
     .flags = PEER_DEAF,
     .fill = settings_fill},
    {.name = "ping_flood", .summary = "PINGs without end", .fill = ping_fill},
    {.name = "ping_flood_deaf",
     .summary = "PINGs without end, and no answer is read",
     .flags = PEER_DEAF,
     .fill = ping_fill},
    {.name = "empty_data_flood", .summary = "DATA frames without a byte", .fill = empty_data_fill},
    {.name = "window_update_flood",
     .summary = "windows that grow by one byte",
     .fill = window_update_fill},
    {.name = "priority_flood", .summary = "priorities of idle streams", .fill = priority_fill},
    {.name = "unknown_frame_flood",
     .summary = "frames of a type that nobody knows",
     .fill = unknown_frames_fill},
    {0},
};
