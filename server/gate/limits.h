/* server/gate/limits.h - every limit of the gate: its name, what it is unless set, how it is set.
 *
 * docs/operations.md has the table for operators; a test compares.
 *
 * Threads: read once at start, then constant.
 * Memory:  plain values.
 */
#ifndef WAYMARK_SERVER_GATE_LIMITS_H
#define WAYMARK_SERVER_GATE_LIMITS_H

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { GATE_RATE_MAX = 1000000 }; /* a second: time is counted in microseconds */

/* So many a second in the long run, GATE_RATE_MAX at most, and so many at once. */
typedef struct gate_rate {
    uint32_t per_s, burst;
} gate_rate;

typedef struct gate_limits {
    /* of a connection: events */
    gate_rate resets, settings, pings, priorities, window_updates, empty_data, other_frames;
    gate_rate tls_messages; /* after the handshake: new keys, alerts */
    /* of a connection: sizes */
    uint32_t streams;       /* open at a time; what the server tells clients must not be more */
    uint32_t header_bytes;  /* of a header block */
    uint32_t header_frames; /* CONTINUATION frames of a header block */
    /* of a connection: times */
    uint32_t handshake_ms;   /* from accept to the end of the TLS handshake */
    uint32_t preface_ms;     /* from there to the client's preface */
    uint32_t header_ms;      /* of a header block, first byte to last */
    uint32_t frame_stall_ms; /* without a byte in the middle of a frame or of a TLS record */
    uint32_t slow_reader_ms; /* without GATE_SLOW_READER_BYTES read while bytes wait */
    uint32_t idle_ms;        /* without a stream */
    uint32_t idle_busy_ms;   /* the same while more than half of `connections` are open */
    /* of an address: IPv4, or the /64 of an IPv6 */
    uint32_t address_connections;
    gate_rate address_handshakes, address_resets;
    /* Streams that the server has not ended: more of them wait in the client's socket. */
    gate_rate address_opens;
    uint32_t address_streams; /* open at a time */
    /* of the process */
    uint32_t connections;
    uint32_t held_bytes; /* that wait in the gate, of all connections together */
} gate_limits;

void gate_limits_init(gate_limits *limits);

/* Reads "NAME=VALUE": a number, or "PER_SECOND:BURST" for a rate. WM_INVALID says what is
 * wrong. */
WM_MUST_USE wm_code gate_limits_set(gate_limits *limits, const char *text, wm_err *err);

/* For documents and tests: the i-th limit's name and value as text, false past the last. */
bool gate_limits_describe(const gate_limits *limits, size_t i, const char **name, char *value,
                          size_t size);

#ifdef __cplusplus
}
#endif
#endif
