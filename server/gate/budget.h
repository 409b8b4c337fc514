/* server/gate/budget.h - what a connection may do, decided from frame headers and the time.
 *
 * Every frame of both directions is told to the budget, which answers whether the peer has gone
 * too far. What costs the core work without bringing any is paid from token buckets; ordinary
 * traffic gives tokens back, so that a busy and honest client never runs dry:
 *
 *   a call that the server ended      half a reset (and one late frame)
 *   a DATA frame from the server      two window updates and a ping (flow control, RTT probes)
 *   a call that begins                a priority frame and two window updates
 *   SETTINGS, PING from the server    the frame that answers it
 *
 * Streams opened and ended are only counted here; the address paces them.
 *
 * Pure: no I/O, no clock. Times are microseconds of any steady clock.
 *
 * Threads: one user at a time.
 * Memory:  a value; gate_budget_free() gives back the set of open streams.
 */
#ifndef WAYMARK_SERVER_GATE_BUDGET_H
#define WAYMARK_SERVER_GATE_BUDGET_H

#include "server/gate/frame.h"
#include "server/gate/limits.h"
#include "server/gate/streams.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Why a connection was closed or never served; each is counted. Names are in gate_breach_name(). */
typedef enum gate_breach {
    GATE_FINE,
    /* told by frames */
    GATE_RESETS,          /* the client opened and cancelled streams too fast */
    GATE_RESETS_PROVOKED, /* it made the server cancel them ("MadeYouReset") */
    GATE_STREAMS,
    GATE_HEADER_BYTES,
    GATE_HEADER_FRAMES,
    GATE_SETTINGS,
    GATE_PINGS,
    GATE_PRIORITIES,
    GATE_WINDOW_UPDATES,
    GATE_EMPTY_DATA,
    GATE_OTHER_FRAMES,
    GATE_FRAME_SIZES, /* a control frame of a size that none has */
    GATE_TLS_MESSAGES,
    /* told by the time */
    GATE_HEADER_TIME,
    GATE_FRAME_STALLED,
    GATE_SLOW_READER,
    GATE_IDLE,
    GATE_HANDSHAKE_TIME,
    GATE_PREFACE_TIME,
    /* told before HTTP/2 begins */
    GATE_BAD_PROXY_HEADER,
    GATE_BAD_HANDSHAKE,
    GATE_BAD_PREFACE,
    /* told by the address or the process */
    GATE_ADDRESS_CONNECTIONS,
    GATE_ADDRESS_HANDSHAKES,
    GATE_ADDRESS_RESETS,
    GATE_ADDRESS_STREAMS,
    GATE_CONNECTIONS,
    GATE_HELD_BYTES,
    GATE_BREACHES_N
} gate_breach;

/* "resets", "header_bytes": for logs and metrics. */
const char *gate_breach_name(gate_breach breach);

/* A token bucket in one number: the time at which it will be full again. Zero is a full one. */
typedef struct gate_bucket {
    int64_t full_us;
} gate_bucket;

/* Takes one token; false when there is none. */
WM_MUST_USE bool gate_bucket_take(gate_bucket *bucket, gate_rate rate, int64_t now_us);
/* Gives back half a token `halves` times. */
void gate_bucket_give(gate_bucket *bucket, gate_rate rate, unsigned halves);
bool gate_bucket_is_full(const gate_bucket *bucket, int64_t now_us);
/* How many tokens are there. */
unsigned gate_bucket_tokens(const gate_bucket *bucket, gate_rate rate, int64_t now_us);
/* Takes `n`, which may be more than are there: then it takes longer until there are some. */
void gate_bucket_owe(gate_bucket *bucket, gate_rate rate, unsigned n, int64_t now_us);

typedef struct gate_budget {
    gate_streams streams;
    uint32_t last_stream;                       /* the highest that the client has opened */
    uint32_t n_opened;                          /* streams by the client, */
    uint32_t n_ended;                           /* and by the server to their end; both wrap */
    uint32_t block_bytes;                       /* of the header block that is open, */
    uint32_t block_frames;                      /* with so many CONTINUATIONs */
    bool is_client_in_block, is_server_settled; /* the server's SETTINGS have passed */
    gate_bucket resets, settings, pings, priorities, window_updates, empty_data, other_frames;
    gate_bucket late_frames; /* about streams that have ended */
    gate_bucket tls_messages;
} gate_budget;

void gate_budget_free(gate_budget *budget);

/* A frame from the client, before it is passed on. Sets *is_reset when it cancelled a stream. */
WM_MUST_USE gate_breach gate_budget_client_frame(gate_budget *budget, const gate_limits *limits,
                                                 const gate_frame *frame, int64_t now_us,
                                                 bool *is_reset);
/* A frame from the server. */
WM_MUST_USE gate_breach gate_budget_server_frame(gate_budget *budget, const gate_limits *limits,
                                                 const gate_frame *frame, int64_t now_us,
                                                 bool *is_reset);

/* Messages of TLS that carry no data. */
WM_MUST_USE gate_breach gate_budget_tls_messages(gate_budget *budget, const gate_limits *limits,
                                                 unsigned n, int64_t now_us);

/* ---- the time ---- */

/* How far a connection has come. */
typedef enum gate_stage {
    GATE_AT_PROXY_HEADER,
    GATE_AT_HANDSHAKE,
    GATE_AT_PREFACE,
    GATE_AT_RELAY,
    GATE_AT_END /* only says goodbye */
} gate_stage;

/* What the clock has to know of a connection. A stream that is open and idle is legal, so time
 * counts only where a peer has begun something and does not go on, or has nothing open. */
typedef struct gate_times {
    gate_stage stage;
    int64_t stage_us;    /* when it came there; the TLS handshake counts from accept on */
    int64_t received_us; /* the client's last byte */
    int64_t frame_us;    /* when the frame or header block that is not whole began */
    int64_t streams_us;  /* when a stream was last open */
    int64_t taken_us;    /* when the client last took a share of what waits for it */
    bool is_in_frame;    /* the client owes us the rest of a frame, */
    bool is_in_headers;  /* or of a header block, */
    bool is_in_record;   /* or of a TLS record */
    bool is_held;        /* bytes wait for the client */
    bool has_streams;
    bool is_busy; /* many connections are open */
} gate_times;

gate_breach gate_times_check(const gate_times *times, const gate_limits *limits, int64_t now_us);

#ifdef __cplusplus
}
#endif
#endif
