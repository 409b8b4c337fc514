/* server/gate/budget.c - see budget.h.
 *
 * Must not decide what is valid HTTP/2: the core does. Here only what costs much and brings
 * nothing is counted.
 */
#include "server/gate/budget.h"

enum {
    US_PER_S = 1000000,
    US_PER_MS = 1000,
    SETTINGS_SIZE_MAX = 64 * 6, /* bytes: there are seven settings */
    OTHER_SIZE_MAX = 16 * 1024
};

static const char *const breach_names[GATE_BREACHES_N] = {
    [GATE_FINE] = "none",
    [GATE_RESETS] = "resets",
    [GATE_RESETS_PROVOKED] = "resets_provoked",
    [GATE_STREAMS] = "streams",
    [GATE_HEADER_BYTES] = "header_bytes",
    [GATE_HEADER_FRAMES] = "header_frames",
    [GATE_SETTINGS] = "settings",
    [GATE_PINGS] = "pings",
    [GATE_PRIORITIES] = "priorities",
    [GATE_WINDOW_UPDATES] = "window_updates",
    [GATE_EMPTY_DATA] = "empty_data",
    [GATE_OTHER_FRAMES] = "other_frames",
    [GATE_FRAME_SIZES] = "frame_size",
    [GATE_TLS_MESSAGES] = "tls_messages",
    [GATE_HEADER_TIME] = "header_time",
    [GATE_FRAME_STALLED] = "frame_stalled",
    [GATE_SLOW_READER] = "slow_reader",
    [GATE_IDLE] = "idle",
    [GATE_HANDSHAKE_TIME] = "handshake_time",
    [GATE_PREFACE_TIME] = "preface_time",
    [GATE_BAD_PROXY_HEADER] = "bad_proxy_header",
    [GATE_BAD_HANDSHAKE] = "bad_handshake",
    [GATE_BAD_PREFACE] = "bad_preface",
    [GATE_ADDRESS_CONNECTIONS] = "address_connections",
    [GATE_ADDRESS_HANDSHAKES] = "address_handshakes",
    [GATE_ADDRESS_RESETS] = "address_resets",
    [GATE_ADDRESS_STREAMS] = "address_streams",
    [GATE_CONNECTIONS] = "connections",
    [GATE_HELD_BYTES] = "held_bytes",
};

const char *gate_breach_name(gate_breach breach)
{
    return breach_names[breach];
}

/* ---- buckets ---- */

bool gate_bucket_take(gate_bucket *bucket, gate_rate rate, int64_t now_us)
{
    int64_t token_us = US_PER_S / rate.per_s;
    int64_t full_us = bucket->full_us > now_us ? bucket->full_us : now_us;

    if (full_us + token_us - now_us > token_us * rate.burst)
        return false;
    bucket->full_us = full_us + token_us;
    return true;
}

void gate_bucket_give(gate_bucket *bucket, gate_rate rate, unsigned halves)
{
    /* Below the present it is full, and taking starts from the present. */
    bucket->full_us -= US_PER_S / rate.per_s * halves / 2;
}

bool gate_bucket_is_full(const gate_bucket *bucket, int64_t now_us)
{
    return bucket->full_us <= now_us;
}

unsigned gate_bucket_tokens(const gate_bucket *bucket, gate_rate rate, int64_t now_us)
{
    int64_t token_us = US_PER_S / rate.per_s;
    int64_t missing_us = bucket->full_us > now_us ? bucket->full_us - now_us : 0;
    int64_t missing = (missing_us + token_us - 1) / token_us;

    return missing >= rate.burst ? 0 : rate.burst - (unsigned)missing;
}

void gate_bucket_owe(gate_bucket *bucket, gate_rate rate, unsigned n, int64_t now_us)
{
    int64_t full_us = bucket->full_us > now_us ? bucket->full_us : now_us;

    bucket->full_us = full_us + US_PER_S / rate.per_s * n;
}

void gate_budget_free(gate_budget *budget)
{
    gate_streams_free(&budget->streams);
}

static gate_breach pay(gate_bucket *bucket, gate_rate rate, int64_t now_us, gate_breach breach)
{
    return gate_bucket_take(bucket, rate, now_us) ? GATE_FINE : breach;
}

/* ---- the client's frames ---- */

static gate_breach stream_open(gate_budget *budget, const gate_limits *limits, uint32_t id)
{
    if (budget->streams.n >= limits->streams)
        return GATE_STREAMS;
    budget->last_stream = id;
    budget->n_opened++;
    gate_streams_add(&budget->streams, id);
    gate_bucket_give(&budget->priorities, limits->priorities, 2);
    gate_bucket_give(&budget->window_updates, limits->window_updates, 4);
    return GATE_FINE;
}

static gate_breach client_headers(gate_budget *budget, const gate_limits *limits,
                                  const gate_frame *frame, int64_t now_us)
{
    budget->block_bytes = frame->length;
    budget->block_frames = 0;
    budget->is_client_in_block = !(frame->flags & GATE_FLAG_END_HEADERS);
    if (frame->length > limits->header_bytes)
        return GATE_HEADER_BYTES;
    if (frame->stream > budget->last_stream)
        return stream_open(budget, limits, frame->stream);
    if (gate_streams_has(&budget->streams, frame->stream))
        return GATE_FINE; /* trailers; the core refuses more than one of them */
    return pay(&budget->late_frames, limits->other_frames, now_us, GATE_OTHER_FRAMES);
}

static gate_breach client_continuation(gate_budget *budget, const gate_limits *limits,
                                       const gate_frame *frame)
{
    budget->is_client_in_block = !(frame->flags & GATE_FLAG_END_HEADERS);
    if (frame->length > limits->header_bytes - budget->block_bytes)
        return GATE_HEADER_BYTES;
    budget->block_bytes += frame->length;
    if (++budget->block_frames > limits->header_frames)
        return GATE_HEADER_FRAMES;
    return GATE_FINE;
}

static gate_breach client_reset(gate_budget *budget, const gate_limits *limits,
                                const gate_frame *frame, int64_t now_us, bool *is_reset)
{
    if (frame->length != 4)
        return GATE_FRAME_SIZES;
    *is_reset = gate_streams_remove(&budget->streams, frame->stream);
    if (*is_reset)
        return pay(&budget->resets, limits->resets, now_us, GATE_RESETS);
    /* The server had ended it when the client gave up. */
    return pay(&budget->late_frames, limits->other_frames, now_us, GATE_OTHER_FRAMES);
}

static gate_breach client_data(gate_budget *budget, const gate_limits *limits,
                               const gate_frame *frame, int64_t now_us)
{
    if (frame->length > 0 || (frame->flags & GATE_FLAG_END_STREAM))
        return GATE_FINE;
    return pay(&budget->empty_data, limits->empty_data, now_us, GATE_EMPTY_DATA);
}

gate_breach gate_budget_client_frame(gate_budget *budget, const gate_limits *limits,
                                     const gate_frame *frame, int64_t now_us, bool *is_reset)
{
    *is_reset = false;
    switch (frame->type) {
    case GATE_FRAME_DATA:
        return client_data(budget, limits, frame, now_us);
    case GATE_FRAME_HEADERS:
        return client_headers(budget, limits, frame, now_us);
    case GATE_FRAME_CONTINUATION:
        return client_continuation(budget, limits, frame);
    case GATE_FRAME_RST_STREAM:
        return client_reset(budget, limits, frame, now_us, is_reset);
    case GATE_FRAME_SETTINGS:
        if (frame->length > SETTINGS_SIZE_MAX)
            return GATE_FRAME_SIZES;
        return pay(&budget->settings, limits->settings, now_us, GATE_SETTINGS);
    case GATE_FRAME_PING:
        if (frame->length != 8)
            return GATE_FRAME_SIZES;
        return pay(&budget->pings, limits->pings, now_us, GATE_PINGS);
    case GATE_FRAME_PRIORITY:
        if (frame->length != 5)
            return GATE_FRAME_SIZES;
        return pay(&budget->priorities, limits->priorities, now_us, GATE_PRIORITIES);
    case GATE_FRAME_WINDOW_UPDATE:
        if (frame->length != 4)
            return GATE_FRAME_SIZES;
        return pay(&budget->window_updates, limits->window_updates, now_us, GATE_WINDOW_UPDATES);
    default:
        if (frame->length > OTHER_SIZE_MAX)
            return GATE_FRAME_SIZES;
        return pay(&budget->other_frames, limits->other_frames, now_us, GATE_OTHER_FRAMES);
    }
}

/* ---- the server's frames ---- */

static void server_ended(gate_budget *budget, const gate_limits *limits, const gate_frame *frame)
{
    if (!(frame->flags & GATE_FLAG_END_STREAM))
        return;
    if (!gate_streams_remove(&budget->streams, frame->stream))
        return;
    budget->n_ended++;
    gate_bucket_give(&budget->resets, limits->resets, 1);
    gate_bucket_give(&budget->late_frames, limits->other_frames, 2);
    gate_bucket_give(&budget->window_updates, limits->window_updates, 2);
}

gate_breach gate_budget_server_frame(gate_budget *budget, const gate_limits *limits,
                                     const gate_frame *frame, int64_t now_us, bool *is_reset)
{
    *is_reset = false;
    switch (frame->type) {
    case GATE_FRAME_DATA:
        if (frame->length > 0) {
            gate_bucket_give(&budget->window_updates, limits->window_updates, 4);
            gate_bucket_give(&budget->pings, limits->pings, 2);
        }
        server_ended(budget, limits, frame);
        return GATE_FINE;
    case GATE_FRAME_HEADERS:
        server_ended(budget, limits, frame);
        return GATE_FINE;
    case GATE_FRAME_RST_STREAM:
        /* One after the server's own end is how it says that it needs no more of the request. */
        *is_reset = gate_streams_remove(&budget->streams, frame->stream);
        if (!*is_reset)
            return GATE_FINE;
        return pay(&budget->resets, limits->resets, now_us, GATE_RESETS_PROVOKED);
    case GATE_FRAME_SETTINGS:
        budget->is_server_settled = true;
        gate_bucket_give(&budget->settings, limits->settings, 2);
        return GATE_FINE;
    case GATE_FRAME_PING:
        gate_bucket_give(&budget->pings, limits->pings, 2);
        return GATE_FINE;
    default:
        return GATE_FINE;
    }
}

/* ---- TLS ---- */

gate_breach gate_budget_tls_messages(gate_budget *budget, const gate_limits *limits, unsigned n,
                                     int64_t now_us)
{
    gate_breach breach = GATE_FINE;

    for (unsigned i = 0; i < n && breach == GATE_FINE; i++)
        breach = pay(&budget->tls_messages, limits->tls_messages, now_us, GATE_TLS_MESSAGES);
    return breach;
}

/* ---- the time ---- */

static bool is_over(int64_t since_us, uint32_t limit_ms, int64_t now_us)
{
    return now_us - since_us > (int64_t)limit_ms * US_PER_MS;
}

static gate_breach relay_check(const gate_times *times, const gate_limits *limits, int64_t now_us)
{
    if (times->is_held && is_over(times->taken_us, limits->slow_reader_ms, now_us))
        return GATE_SLOW_READER;
    if (times->is_in_headers && is_over(times->frame_us, limits->header_ms, now_us))
        return GATE_HEADER_TIME;
    if ((times->is_in_frame || times->is_in_record) &&
        is_over(times->received_us, limits->frame_stall_ms, now_us))
        return GATE_FRAME_STALLED;
    if (times->has_streams)
        return GATE_FINE;
    if (is_over(times->streams_us, times->is_busy ? limits->idle_busy_ms : limits->idle_ms, now_us))
        return GATE_IDLE;
    return GATE_FINE;
}

gate_breach gate_times_check(const gate_times *times, const gate_limits *limits, int64_t now_us)
{
    switch (times->stage) {
    case GATE_AT_PROXY_HEADER:
    case GATE_AT_HANDSHAKE:
        return is_over(times->stage_us, limits->handshake_ms, now_us) ? GATE_HANDSHAKE_TIME
                                                                      : GATE_FINE;
    case GATE_AT_PREFACE:
        return is_over(times->stage_us, limits->preface_ms, now_us) ? GATE_PREFACE_TIME : GATE_FINE;
    case GATE_AT_RELAY:
        return relay_check(times, limits, now_us);
    case GATE_AT_END:
        break;
    }
    return GATE_FINE;
}
