/* server/gate/relay.c - bytes from one side to the other.
 *
 * What has been read is looked at, then written at once; only what the other side does not take is
 * kept, and nothing more is read for it until that has left. So a connection holds nothing while
 * its peers keep up, and a chunk in each direction at most.
 *
 * A client that takes less than it is given gets less at a time (chunk_max), so that thousands of
 * slow ones hold little; all together are bounded by the limit held-bytes. When half of that is
 * held, everybody gets and gives little at a time.
 *
 * Streams that an address opens faster than the server ends them wait here, a chunk of each
 * connection and the rest in its socket: the core would take them all at once and make everybody
 * else wait behind them.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <utlist.h>

#include "base/clock.h"
#include "server/gate/internal.h"

/* Of recv() and send(): something else than "not now". */
static bool is_error(ssize_t n)
{
    return n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
}

/* ---- what is held ---- */

static void held_change(gate *gate, size_t plus, size_t minus)
{
    atomic_fetch_add_explicit(&gate->held, plus - minus, memory_order_relaxed);
}

static void waiting_change(gate *gate, size_t plus, size_t minus)
{
    atomic_fetch_add_explicit(&gate->waiting, plus - minus, memory_order_relaxed);
}

/* So much that everybody is read in small pieces. */
static bool is_much_held(const gate *gate)
{
    return atomic_load_explicit(&gate->held, memory_order_relaxed) > gate->limits.held_bytes / 2;
}

void gate_pending_free(gate *gate, gate_pending *pending)
{
    held_change(gate, 0, pending->size - pending->at);
    free(pending->bytes);
    *pending = (gate_pending){0};
}

static void pending_add(gate *gate, gate_pending *pending, const uint8_t *bytes, size_t size)
{
    size_t old = pending->size - pending->at;
    uint8_t *grown;

    if (size == 0)
        return;
    grown = malloc(old + size);
    if (grown == NULL)
        abort();
    if (old > 0)
        memcpy(grown, pending->bytes + pending->at, old);
    memcpy(grown + old, bytes, size);
    free(pending->bytes);
    *pending = (gate_pending){.bytes = grown, .size = old + size};
    held_change(gate, size, 0);
}

static bool is_pending(const gate_pending *pending)
{
    return pending->size > 0;
}

/* Writes what is pending; answers how much left, or -1. */
static ssize_t pending_send(gate *gate, gate_pending *pending, int fd)
{
    ssize_t n = send(fd, pending->bytes + pending->at, pending->size - pending->at,
                     MSG_NOSIGNAL | MSG_DONTWAIT);

    if (is_error(n))
        return -1;
    if (n <= 0)
        return 0;
    pending->at += (size_t)n;
    held_change(gate, 0, (size_t)n);
    if (pending->at == pending->size)
        gate_pending_free(gate, pending);
    return n;
}

/* ---- to the client ---- */

static void chunk_shrink(gate_conn *conn, size_t taken)
{
    conn->chunk_max = taken > GATE_CHUNK_MIN ? taken : GATE_CHUNK_MIN;
}

/* TLS makes more of a chunk than it was. */
static void chunk_grow(gate_conn *conn, size_t taken)
{
    if (taken >= conn->chunk_max && conn->chunk_max < GATE_CHUNK_SIZE)
        conn->chunk_max =
            conn->chunk_max < GATE_CHUNK_SIZE / 2 ? conn->chunk_max * 2 : GATE_CHUNK_SIZE;
}

/* Bytes as they go onto the wire. */
static bool client_write(gate_conn *conn, const uint8_t *bytes, size_t size)
{
    gate *gate = conn->gate;
    ssize_t n = 0;

    if (!is_pending(&conn->to_client)) {
        n = send(conn->client_fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (is_error(n)) {
            gate_conn_close(conn);
            return false;
        }
        if (n < 0)
            n = 0;
        if ((size_t)n == size) {
            chunk_grow(conn, size);
            return true;
        }
        chunk_shrink(conn, (size_t)n);
        conn->times.taken_us = wm_monotonic_us();
        conn->taken_bytes = 0;
    }
    pending_add(gate, &conn->to_client, bytes + n, size - (size_t)n);
    conn->times.is_held = true;
    if (atomic_load_explicit(&gate->held, memory_order_relaxed) > gate->limits.held_bytes &&
        conn->times.stage != GATE_AT_END) {
        gate_conn_cut(conn, GATE_HELD_BYTES);
        return false;
    }
    return true;
}

bool gate_send_records(gate_conn *conn)
{
    gate_out *out = &conn->worker->out;
    size_t size = out->size;

    out->size = 0;
    return size == 0 || client_write(conn, out->bytes, size);
}

bool gate_send_to_client(gate_conn *conn, const uint8_t *bytes, size_t size)
{
    if (conn->ssl == NULL)
        return client_write(conn, bytes, size);
    assert(conn->worker->out.size == 0);
    while (size > 0) {
        int n;

        ERR_clear_error();
        n = SSL_write(conn->ssl, bytes, (int)size);
        if (n <= 0) { /* records always fit into the buffer, so the session is broken */
            gate_conn_close(conn);
            return false;
        }
        bytes += n;
        size -= (size_t)n;
    }
    return gate_send_records(conn);
}

bool gate_flush_to_client(gate_conn *conn)
{
    ssize_t n;

    if (!is_pending(&conn->to_client))
        return true;
    n = pending_send(conn->gate, &conn->to_client, conn->client_fd);
    if (n < 0) {
        gate_conn_close(conn);
        return false;
    }
    conn->taken_bytes += (size_t)n;
    if (conn->taken_bytes >= GATE_SLOW_READER_BYTES) {
        conn->times.taken_us = wm_monotonic_us();
        conn->taken_bytes = 0;
    }
    conn->times.is_held = is_pending(&conn->to_client);
    return true;
}

/* ---- from the core ---- */

static gate_breach core_inspect(gate_conn *conn, const uint8_t *bytes, size_t size, int64_t now_us)
{
    const gate_limits *limits = &conn->gate->limits;
    gate_breach breach = GATE_FINE;
    gate_frame frame;
    unsigned n_resets = 0;

    for (size_t at = 0; at < size;) {
        bool is_frame, is_reset;

        at += gate_scan_next(&conn->out, bytes + at, size - at, &frame, &is_frame);
        if (!is_frame)
            continue;
        /* All are looked at, since they leave in any case: the client must know where it is. */
        gate_breach now =
            gate_budget_server_frame(&conn->budget, limits, &frame, now_us, &is_reset);
        if (breach == GATE_FINE)
            breach = now;
        n_resets += is_reset;
    }
    if (breach == GATE_FINE && n_resets > 0 && conn->entry != NULL)
        breach = gate_addresses_reset(conn->gate->addresses, conn->entry, n_resets, now_us);
    return breach;
}

static void streams_note(gate_conn *conn, int64_t now_us)
{
    if (conn->times.has_streams || conn->budget.streams.n > 0)
        conn->times.streams_us = now_us;
    conn->times.has_streams = conn->budget.streams.n > 0;
}

/* Tells the address what the streams have done; too many of them are a breach. */
static gate_breach streams_tell(gate_conn *conn, int64_t now_us)
{
    const gate_budget *budget = &conn->budget;
    const gate_stream_news news = {.opened = budget->n_opened - conn->told_opened,
                                   .ended = budget->n_ended - conn->told_ended,
                                   .change = (int32_t)(budget->streams.n - conn->told_open)};

    if (conn->entry == NULL || (news.opened == 0 && news.ended == 0 && news.change == 0))
        return GATE_FINE;
    conn->told_opened = budget->n_opened;
    conn->told_ended = budget->n_ended;
    conn->told_open = (uint32_t)budget->streams.n;
    return gate_addresses_streams(conn->gate->addresses, conn->entry, &news, now_us);
}

static size_t chunk_size(const gate_conn *conn)
{
    return is_much_held(conn->gate) ? GATE_CHUNK_MIN : conn->chunk_max;
}

bool gate_relay_from_core(gate_conn *conn)
{
    uint8_t *chunk = conn->worker->chunk;
    ssize_t n = recv(conn->core_fd, chunk, chunk_size(conn), MSG_DONTWAIT);
    gate_breach breach;
    int64_t now_us;

    if (n == 0 || is_error(n)) {
        gate_conn_end(conn);
        return false;
    }
    if (n < 0)
        return true;
    now_us = wm_monotonic_us();
    breach = core_inspect(conn, chunk, (size_t)n, now_us);
    streams_note(conn, now_us);
    if (breach == GATE_FINE)
        breach = streams_tell(conn, now_us);
    atomic_fetch_add_explicit(&conn->gate->bytes_out, (uint64_t)n, memory_order_relaxed);
    if (!gate_send_to_client(conn, chunk, (size_t)n))
        return false;
    if (breach == GATE_FINE)
        return true;
    gate_conn_cut(conn, breach);
    return false;
}

bool gate_finish_frame(gate_conn *conn)
{
    uint8_t *chunk = conn->worker->chunk;

    while (!gate_scan_is_between(&conn->out)) {
        size_t missing = gate_scan_missing(&conn->out);
        ssize_t n;

        if (missing == 0) /* a header block is open: the next frame's header */
            missing = GATE_FRAME_HEADER_SIZE;
        if (missing > GATE_CHUNK_SIZE)
            missing = GATE_CHUNK_SIZE;
        n = recv(conn->core_fd, chunk, missing, MSG_DONTWAIT);
        if (n == 0 || is_error(n)) {
            gate_conn_end(conn);
            return false;
        }
        if (n < 0)
            return true;
        (void)core_inspect(conn, chunk, (size_t)n, wm_monotonic_us());
        if (!gate_send_to_client(conn, chunk, (size_t)n))
            return false;
    }
    return true;
}

/* ---- from the client ---- */

/* Like recv(), in the clear. */
static ssize_t client_read(gate_conn *conn, uint8_t *bytes, size_t size)
{
    size_t done = 0;

    if (conn->ssl == NULL)
        return recv(conn->client_fd, bytes, size, MSG_DONTWAIT);
    assert(conn->worker->out.size == 0);
    while (done < size) {
        int n, error;

        ERR_clear_error();
        n = SSL_read(conn->ssl, bytes + done, (int)(size - done));
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (done > 0)
            break; /* an error comes again with the next read */
        error = SSL_get_error(conn->ssl, n);
        if (error == SSL_ERROR_WANT_READ) {
            errno = EAGAIN;
            return -1;
        }
        return 0; /* closed, by the rules or not */
    }
    return (ssize_t)done;
}

/* Up to the frame that opens the last of `room` streams; *seen is how far that is. */
static gate_breach client_inspect(gate_conn *conn, const uint8_t *bytes, size_t size, uint32_t room,
                                  size_t *seen, int64_t now_us)
{
    const uint32_t opened = conn->budget.n_opened;
    const gate_limits *limits = &conn->gate->limits;
    gate_breach breach = GATE_FINE;
    unsigned n_resets = 0;
    gate_frame frame;
    size_t at = 0;

    while (at < size && breach == GATE_FINE && conn->budget.n_opened - opened < room) {
        bool is_frame, is_reset;

        at += gate_scan_next(&conn->in, bytes + at, size - at, &frame, &is_frame);
        if (!is_frame)
            continue;
        /* A block that is open keeps the time of its first frame. */
        if (frame.type != GATE_FRAME_CONTINUATION)
            conn->times.frame_us = now_us;
        breach = gate_budget_client_frame(&conn->budget, limits, &frame, now_us, &is_reset);
        n_resets += is_reset;
    }
    *seen = at;
    conn->times.is_in_frame = !gate_scan_is_between(&conn->in);
    conn->times.is_in_headers =
        conn->in.is_in_block || (conn->in.left > 0 && (conn->in.type == GATE_FRAME_HEADERS ||
                                                       conn->in.type == GATE_FRAME_CONTINUATION));
    if (breach == GATE_FINE && n_resets > 0 && conn->entry != NULL)
        breach = gate_addresses_reset(conn->gate->addresses, conn->entry, n_resets, now_us);
    return breach;
}

/* When the core has closed its end the bytes are lost; what it said last is still to be read. */
static void core_write(gate_conn *conn, const uint8_t *bytes, size_t size)
{
    ssize_t n = 0;

    if (!is_pending(&conn->to_core))
        n = send(conn->core_fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (is_error(n))
        return;
    if (n < 0)
        n = 0;
    pending_add(conn->gate, &conn->to_core, bytes + n, size - (size_t)n);
}

void gate_flush_to_core(gate_conn *conn)
{
    if (is_pending(&conn->to_core) && pending_send(conn->gate, &conn->to_core, conn->core_fd) < 0)
        gate_pending_free(conn->gate, &conn->to_core);
}

/* Compares what has come of the preface; answers how much of the bytes belongs to it, or -1. */
static ssize_t preface_match(gate_conn *conn, const uint8_t *bytes, size_t size)
{
    size_t n = GATE_PREFACE_SIZE - conn->preface_size;

    if (n > size)
        n = size;
    if (memcmp(gate_preface + conn->preface_size, bytes, n) != 0)
        return -1;
    conn->preface_size = (uint8_t)(conn->preface_size + n);
    return (ssize_t)n;
}

/* Up to the whole preface nothing is passed on, and the core knows nothing of the connection. */
static bool client_begin(gate_conn *conn, const uint8_t *bytes, size_t size, size_t *taken,
                         int64_t now_us)
{
    ssize_t n = preface_match(conn, bytes, size);

    if (n < 0) {
        gate_conn_cut(conn, GATE_BAD_PREFACE);
        return false;
    }
    *taken = (size_t)n;
    if (conn->preface_size < GATE_PREFACE_SIZE)
        return true;
    if (!gate_conn_adopt(conn, now_us))
        return false;
    core_write(conn, gate_preface, GATE_PREFACE_SIZE);
    return true;
}

/* Passes on what may be: streams up to `turn` at most, and as many as the address may open. *taken
 * is how far that is. */
static bool client_pass(gate_conn *conn, const uint8_t *bytes, size_t size, uint32_t turn,
                        size_t *taken)
{
    int64_t now_us = wm_monotonic_us();
    uint32_t room = turn;
    gate_breach breach;
    size_t seen;

    *taken = 0;
    if (conn->times.stage == GATE_AT_PREFACE && !client_begin(conn, bytes, size, taken, now_us))
        return false;
    if (*taken == size)
        return true;
    if (conn->entry != NULL) {
        room = gate_addresses_room(conn->gate->addresses, conn->entry, now_us);
        room = room < turn ? room : turn;
    }
    bytes += *taken;
    breach = client_inspect(conn, bytes, size - *taken, room, &seen, now_us);
    streams_note(conn, now_us);
    if (breach == GATE_FINE)
        breach = streams_tell(conn, now_us);
    if (breach != GATE_FINE) {
        /* The core sees nothing of these bytes, so their streams count as never begun. */
        gate_conn_cut(conn, breach);
        return false;
    }
    conn->last_relayed = conn->budget.last_stream;
    atomic_fetch_add_explicit(&conn->gate->bytes_in, seen, memory_order_relaxed);
    core_write(conn, bytes, seen);
    *taken += seen;
    return true;
}

/* The rest of a chunk, whose streams the address may not open yet. Those who wait get a share of
 * what may be held, so that they cannot have others cut. */
static bool client_wait(gate_conn *conn, const uint8_t *bytes, size_t size)
{
    gate_worker *worker = conn->worker;
    gate *gate = conn->gate;
    uint64_t share = (uint64_t)gate->limits.held_bytes / 4 * 3;

    if (atomic_load_explicit(&gate->waiting, memory_order_relaxed) + size > share) {
        gate_conn_cut(conn, GATE_HELD_BYTES);
        return false;
    }
    pending_add(gate, &conn->waiting, bytes, size);
    waiting_change(gate, size, 0);
    gate_pace_start(worker);
    DL_APPEND2(worker->paced, conn, paced_prev, paced_next);
    return true;
}

void gate_stop_waiting(gate_conn *conn)
{
    if (!is_pending(&conn->waiting))
        return;
    waiting_change(conn->gate, 0, conn->waiting.size - conn->waiting.at);
    gate_pending_free(conn->gate, &conn->waiting);
    DL_DELETE2(conn->worker->paced, conn, paced_prev, paced_next);
}

static void waiting_pass(gate_conn *conn)
{
    gate_pending *waiting = &conn->waiting;
    size_t taken;

    if (is_pending(&conn->to_core))
        return; /* the core is behind by itself */
    if (!client_pass(conn, waiting->bytes + waiting->at, waiting->size - waiting->at,
                     GATE_PACE_STREAMS, &taken))
        return;
    waiting->at += taken;
    held_change(conn->gate, 0, taken);
    waiting_change(conn->gate, 0, taken);
    if (waiting->at == waiting->size) {
        gate_stop_waiting(conn);
        /* No event tells of what the TLS library has read ahead. */
        if (conn->ssl != NULL && SSL_has_pending(conn->ssl) && !gate_relay_from_client(conn))
            return;
    }
    gate_conn_poll(conn);
}

void gate_pace(uv_timer_t *timer)
{
    gate_worker *worker = timer->data;
    gate_conn *conn, *next;

    /* Somebody else goes first each time. */
    if ((conn = worker->paced) != NULL) {
        DL_DELETE2(worker->paced, conn, paced_prev, paced_next);
        DL_APPEND2(worker->paced, conn, paced_prev, paced_next);
    }
    DL_FOREACH_SAFE2(worker->paced, conn, next, paced_next)
    waiting_pass(conn);
    gate_orphans_end(worker, false);
    if (worker->paced == NULL && worker->orphans == NULL)
        uv_timer_stop(timer);
}

void gate_pace_start(gate_worker *worker)
{
    if (!uv_is_active((uv_handle_t *)&worker->pace_timer))
        uv_timer_start(&worker->pace_timer, gate_pace, GATE_PACE_TICK_MS, GATE_PACE_TICK_MS);
}

static void turn_begin(gate_conn *conn, size_t size)
{
    unsigned n_messages;

    if (conn->ssl == NULL)
        return;
    n_messages = gate_bucket_tokens(&conn->budget.tls_messages, conn->gate->limits.tls_messages,
                                    wm_monotonic_us());
    gate_tls_turn(&conn->io, size, n_messages);
}

static bool messages_pay(gate_conn *conn)
{
    unsigned n = conn->io.n_messages;
    gate_breach breach = GATE_FINE;

    conn->io.n_messages = 0;
    if (n > conn->io.n_messages_most)
        breach = GATE_TLS_MESSAGES;
    else if (n > 0)
        breach = gate_budget_tls_messages(&conn->budget, &conn->gate->limits, n, wm_monotonic_us());
    if (breach == GATE_FINE)
        return true;
    gate_conn_cut(conn, breach);
    return false;
}

/* `n` bytes or an error have come where `size` were asked for. Also a part of a record, which
 * brings nothing yet, shows that the client goes on. */
static void received_note(gate_conn *conn, ssize_t n, size_t size)
{
    if (n > 0 || conn->io.has_read)
        conn->times.received_us = wm_monotonic_us();
    /* What stands behind as much as was asked for is not owed by the client. */
    conn->times.is_in_record =
        conn->ssl != NULL && n < (ssize_t)size && gate_tls_is_in_record(conn->ssl);
}

bool gate_relay_from_client(gate_conn *conn)
{
    size_t size = is_much_held(conn->gate) ? GATE_CHUNK_MIN : GATE_CHUNK_SIZE;
    uint8_t *chunk = conn->worker->chunk;
    size_t taken;

    if (is_pending(&conn->waiting))
        return true; /* what came before goes first */
    turn_begin(conn, size);
    do {
        ssize_t n = client_read(conn, chunk, size);
        bool is_over = n == 0 || is_error(n);

        /* Reading makes TLS answer, for example to a new key, or say why it reads no more. */
        if (!gate_send_records(conn))
            return false;
        if (!messages_pay(conn))
            return false;
        if (is_over) {
            gate_conn_close(conn); /* its calls have ended, whatever is still on its way */
            return false;
        }
        received_note(conn, n, size);
        if (n < 0)
            return true;
        if (!client_pass(conn, chunk, (size_t)n, UINT32_MAX, &taken))
            return false;
        if (taken < (size_t)n && !client_wait(conn, chunk + taken, (size_t)n - taken))
            return false;
        /* No event tells of what the TLS library has read ahead; the socket's own bytes can wait
         * until others have had their turn. */
        conn->io.is_drained = true;
    } while (conn->ssl != NULL && !is_pending(&conn->to_core) && !is_pending(&conn->waiting) &&
             SSL_has_pending(conn->ssl));
    return true;
}

bool gate_discard(gate_conn *conn)
{
    /* For TCP this forgets the bytes without copying them. */
    ssize_t n = recv(conn->client_fd, NULL, 1 << 20, MSG_TRUNC | MSG_DONTWAIT);

    return n != 0 && !is_error(n);
}
