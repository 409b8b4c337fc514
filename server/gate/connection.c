/* server/gate/connection.c - the life of a connection.
 *
 *   accept ─> [PROXY header] ─> [TLS handshake] ─> preface ─> relay ─> end ─> closed
 *
 * The core learns of a connection with the whole preface, so that peers which connect and say
 * nothing, or nonsense, cost it nothing. A breach, the core's hanging up and the stop of the server
 * lead to `end`: the core's side is closed, what is pending leaves, then FIN, and what the client
 * still sends is thrown away until it hangs up or time is over (a close with unread bytes would
 * send RST, which can overtake the last word). After a breach that word is GOAWAY: the core's side
 * stays open until the frame that is on its way is whole.
 *
 * Every function that may close a connection answers false then, and nobody touches it after that
 * but for its memory, which stays until the loop has let go of its handles.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/gate/internal.h"

static void stage_set(gate_conn *conn, gate_stage stage, int64_t now_us)
{
    conn->times.stage = stage;
    conn->times.stage_us = now_us;
}

/* ---- polls ---- */

static void client_ready(uv_poll_t *poll, int status, int events);
static void core_ready(uv_poll_t *poll, int status, int events);

static void poll_change(uv_poll_t *poll, int *current, int wanted, uv_poll_cb ready)
{
    if (*current == wanted)
        return;
    *current = wanted;
    if (wanted == 0)
        uv_poll_stop(poll);
    else
        uv_poll_start(poll, wanted, ready);
}

void gate_conn_poll(gate_conn *conn)
{
    int client = 0, core = 0;

    if (conn->is_closed)
        return;
    if (conn->shake != GATE_SHAKE_NONE) {
        poll_change(&conn->client_poll, &conn->client_events, 0, client_ready);
        return;
    }
    if (conn->to_client.size > 0)
        client |= UV_WRITABLE;
    /* One side is not read while the other does not take what it gets. */
    if (conn->to_core.size == 0 && conn->waiting.size == 0)
        client |= UV_READABLE;
    /* Nobody waits for the streams of a client that has hung up. */
    if (conn->waiting.size > 0)
        client |= UV_DISCONNECT;
    if (conn->to_core.size > 0)
        core |= UV_WRITABLE;
    if (conn->to_client.size == 0)
        core |= UV_READABLE;
    poll_change(&conn->client_poll, &conn->client_events, client, client_ready);
    if (conn->core_fd >= 0)
        poll_change(&conn->core_poll, &conn->core_events, core, core_ready);
}

static void conn_free(gate_conn *conn)
{
    SSL_free(conn->ssl);
    free(conn->shake_out.bytes);
    free(conn->proxy);
    gate_budget_free(&conn->budget);
    free(conn);
}

void gate_conn_unref(gate_conn *conn)
{
    gate *gate = conn->gate;

    if (--conn->n_refs == 0)
        conn_free(conn);
    gate_handle_closed(gate);
}

static void poll_closed(uv_handle_t *handle)
{
    gate_conn_unref(handle->data);
}

static void poll_open(gate_conn *conn, uv_poll_t *poll, int fd)
{
    if (uv_poll_init(lane_loop(conn->worker->lane), poll, fd) != 0)
        abort(); /* a socket can be polled */
    poll->data = conn;
    conn->n_refs++;
    gate_handle_opened(conn->gate);
}

/* ---- the end ---- */

/* The core cancels all streams of a connection at once when it ends, and everybody else waits
 * meanwhile. So connections with many streams end one after another. */
static void orphan_end(gate_worker *worker, int fd, uint32_t streams, int64_t now_us)
{
    close(fd);
    worker->orphan_us = now_us + (int64_t)streams * GATE_ORPHAN_STREAM_US;
}

static void orphan_add(gate_worker *worker, int fd, uint32_t streams)
{
    int64_t now_us = wm_monotonic_us();
    gate_orphan *orphan;

    if (streams < GATE_ORPHAN_STREAMS_MIN) {
        close(fd);
        return;
    }
    if (worker->is_closing || now_us >= worker->orphan_us ||
        worker->orphan_streams > GATE_ORPHAN_STREAMS_MAX) {
        orphan_end(worker, fd, streams, now_us);
        return;
    }
    orphan = malloc(sizeof(*orphan));
    if (orphan == NULL)
        abort();
    *orphan = (gate_orphan){.fd = fd, .streams = streams};
    LL_APPEND(worker->orphans, orphan);
    worker->orphan_streams += streams;
    gate_pace_start(worker);
}

void gate_orphans_end(gate_worker *worker, bool all)
{
    int64_t now_us = wm_monotonic_us();
    gate_orphan *orphan;

    while ((orphan = worker->orphans) != NULL && (all || now_us >= worker->orphan_us)) {
        LL_DELETE(worker->orphans, orphan);
        worker->orphan_streams -= orphan->streams;
        orphan_end(worker, orphan->fd, orphan->streams, now_us);
        free(orphan);
    }
}

static void core_close(gate_conn *conn)
{
    gate_stop_waiting(conn);
    if (conn->core_fd < 0)
        return;
    uv_close((uv_handle_t *)&conn->core_poll, poll_closed);
    orphan_add(conn->worker, conn->core_fd, conn->budget.streams.n);
    conn->core_fd = -1;
    rpc_server_abandon(conn->gate->server, conn->number);
    gate_pending_free(conn->gate, &conn->to_core);
}

static void address_leave(gate_conn *conn)
{
    if (conn->entry != NULL)
        gate_addresses_leave(conn->gate->addresses, conn->entry, conn->told_open);
    conn->entry = NULL;
}

void gate_conn_close(gate_conn *conn)
{
    gate_worker *worker = conn->worker;

    if (conn->is_closed)
        return;
    conn->is_closed = true;
    worker->out.size = 0; /* records that have not left must not go to the next connection */
    core_close(conn);
    address_leave(conn);
    if (conn->end_us != 0)
        DL_DELETE(worker->ending, conn);
    else
        DL_DELETE(worker->conns, conn);
    gate_pending_free(conn->gate, &conn->to_client);
    uv_close((uv_handle_t *)&conn->client_poll, poll_closed);
    gate_handshake_stop(conn);
    if (conn->shake != GATE_SHAKE_RUNS) /* else the pool still reads from it */
        close(conn->client_fd);
    atomic_fetch_sub_explicit(&conn->gate->open, 1, memory_order_relaxed);
}

/* Everything has left: says so, as TLS wants it, and closes our half. */
static bool say_goodbye(gate_conn *conn)
{
    if (conn->ssl != NULL && !conn->is_shut) {
        assert(conn->worker->out.size == 0);
        ERR_clear_error();
        (void)SSL_shutdown(conn->ssl);
        conn->is_shut = true;
        if (!gate_send_records(conn))
            return false;
    }
    if (conn->to_client.size > 0)
        return true;
    conn->is_shut = true;
    shutdown(conn->client_fd, SHUT_WR);
    return true;
}

static void end_flush(gate_conn *conn)
{
    if (gate_flush_to_client(conn) && conn->to_client.size == 0 && conn->core_fd < 0 &&
        !say_goodbye(conn))
        return;
    gate_conn_poll(conn);
}

static void end_tick(uv_timer_t *timer);

/* From here on nothing more is relayed, and time is bounded. */
static void end_begin(gate_conn *conn, int64_t linger_us)
{
    gate_worker *worker = conn->worker;
    int64_t now_us = wm_monotonic_us();

    if (conn->end_us != 0)
        return;
    stage_set(conn, GATE_AT_END, now_us);
    conn->end_us = now_us + linger_us;
    DL_DELETE(worker->conns, conn);
    if (worker->ending == NULL)
        uv_timer_start(&worker->end_timer, end_tick, GATE_END_TICK_MS, GATE_END_TICK_MS);
    DL_APPEND(worker->ending, conn);
}

void gate_conn_end(gate_conn *conn)
{
    core_close(conn);
    end_begin(conn, GATE_END_LINGER_US);
    end_flush(conn);
}

static bool goaway(gate_conn *conn)
{
    uint8_t bytes[GATE_FRAME_HEADER_SIZE + GATE_GOAWAY_SIZE];
    size_t size = 0;

    if (!conn->budget.is_server_settled) /* a server's first frame is SETTINGS */
        size = gate_write_settings(bytes);
    size += gate_write_goaway(bytes + size, conn->last_relayed, conn->goaway_code);
    return gate_send_to_client(conn, bytes, size);
}

/* GOAWAY has its place after the frame that the core is writing. */
static void cut_finish(gate_conn *conn)
{
    if (!gate_finish_frame(conn))
        return;
    if (!gate_scan_is_between(&conn->out)) {
        gate_conn_poll(conn);
        return;
    }
    if (goaway(conn))
        gate_conn_end(conn);
}

void gate_conn_cut(gate_conn *conn, gate_breach breach)
{
    gate_stage stage = conn->times.stage;

    gate_count(conn->gate, conn, breach);
    if (stage != GATE_AT_RELAY) {
        gate_conn_close(conn);
        return;
    }
    conn->goaway_code = breach == GATE_IDLE ? GATE_NO_ERROR : GATE_ENHANCE_YOUR_CALM;
    gate_stop_waiting(conn);
    gate_pending_free(conn->gate, &conn->to_core);
    end_begin(conn, breach == GATE_IDLE ? GATE_END_LINGER_US : GATE_CUT_LINGER_US);
    cut_finish(conn);
}

static void end_tick(uv_timer_t *timer)
{
    gate_worker *worker = timer->data;
    int64_t now_us = wm_monotonic_us();
    gate_conn *conn, *next;

    DL_FOREACH_SAFE (worker->ending, conn, next) {
        if (now_us >= conn->end_us)
            gate_conn_close(conn);
    }
    if (worker->ending == NULL)
        uv_timer_stop(timer);
}

/* ---- the beginning ---- */

bool gate_is_busy(const gate *gate)
{
    return atomic_load_explicit(&gate->open, memory_order_relaxed) > gate->limits.connections / 2;
}

static bool is_from_proxy(const gate *gate, const gate_address *address)
{
    for (size_t i = 0; i < gate->n_proxies; i++)
        if (gate_cidr_has(&gate->proxies[i], address))
            return true;
    return false;
}

static bool address_enter(gate_conn *conn)
{
    gate_breach breach = gate_addresses_enter(conn->gate->addresses, &conn->address,
                                              wm_monotonic_us(), &conn->entry);

    if (breach == GATE_FINE)
        return true;
    gate_conn_cut(conn, breach);
    return false;
}

/* The peer is known: on to TLS or HTTP/2. */
static bool conn_greet(gate_conn *conn)
{
    if (!address_enter(conn))
        return false;
    if (conn->tls == NULL) {
        stage_set(conn, GATE_AT_PREFACE, wm_monotonic_us());
        return true;
    }
    conn->times.stage = GATE_AT_HANDSHAKE; /* its time began with accept */
    conn->io = (gate_tls_io){.fd = conn->client_fd, .out = &conn->shake_out};
    conn->ssl = gate_tls_accept(conn->tls, &conn->io);
    return true;
}

static bool proxy_read(gate_conn *conn)
{
    gate_proxy_result result;
    size_t whole;

    for (;;) {
        ssize_t n;

        result = gate_proxy_parse(conn->proxy, conn->proxy_size, &whole, &conn->address);
        if (result != GATE_PROXY_MORE)
            break;
        /* Never beyond the header: what follows is for TLS. */
        n = recv(conn->client_fd, conn->proxy + conn->proxy_size, whole - conn->proxy_size,
                 MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n <= 0) {
            gate_conn_close(conn);
            return false;
        }
        conn->proxy_size += (size_t)n;
    }
    if (result == GATE_PROXY_BAD) {
        gate_conn_cut(conn, GATE_BAD_PROXY_HEADER);
        return false;
    }
    free(conn->proxy);
    conn->proxy = NULL;
    return conn_greet(conn);
}

void gate_handshake_done(gate_conn *conn)
{
    atomic_fetch_add_explicit(&conn->gate->handshakes, 1, memory_order_relaxed);
    stage_set(conn, GATE_AT_PREFACE, wm_monotonic_us());
    conn->io.out = &conn->worker->out;
    /* The preface may have come with the last flight. */
    if (gate_relay_from_client(conn))
        gate_conn_poll(conn);
}

static int pair_open(gate_conn *conn)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    conn->core_fd = ends[0];
    return ends[1];
}

bool gate_conn_adopt(gate_conn *conn, int64_t now_us)
{
    char peer[GATE_ADDRESS_TEXT_SIZE];
    rpc_identity *identity = conn->ssl != NULL ? gate_tls_identity(conn->ssl) : NULL;
    int end = pair_open(conn);

    gate_address_format(&conn->address, peer);
    conn->number = end < 0 ? -1 : rpc_server_adopt(conn->gate->server, end, peer, identity);
    rpc_identity_free(identity);
    if (conn->number < 0) {
        if (conn->core_fd >= 0)
            close(conn->core_fd);
        conn->core_fd = -1;
        gate_conn_cut(conn, GATE_CONNECTIONS);
        return false;
    }
    poll_open(conn, &conn->core_poll, conn->core_fd);
    stage_set(conn, GATE_AT_RELAY, now_us);
    conn->times.streams_us = now_us;
    return true;
}

static bool client_readable(gate_conn *conn)
{
    switch (conn->times.stage) {
    case GATE_AT_PROXY_HEADER:
        return proxy_read(conn);
    case GATE_AT_HANDSHAKE:
        gate_handshake(conn);
        return true;
    case GATE_AT_PREFACE:
    case GATE_AT_RELAY:
        return gate_relay_from_client(conn);
    case GATE_AT_END:
        break;
    }
    if (gate_discard(conn))
        return true;
    gate_conn_close(conn);
    return false;
}

static void client_ready(uv_poll_t *poll, int status, int events)
{
    gate_conn *conn = poll->data;

    if (conn->is_closed)
        return;
    if (status < 0 || (events & UV_DISCONNECT)) {
        gate_conn_close(conn);
        return;
    }
    if (events & UV_WRITABLE) {
        if (conn->times.stage == GATE_AT_END)
            end_flush(conn);
        else
            (void)gate_flush_to_client(conn);
    }
    if (!conn->is_closed && (events & UV_READABLE))
        (void)client_readable(conn);
    gate_conn_poll(conn);
}

/* The core has taken what was pending for it. */
static bool core_taken(gate_conn *conn)
{
    /* What the TLS library has read ahead is waiting, and no event tells of it. */
    if (conn->ssl != NULL && SSL_has_pending(conn->ssl))
        return gate_relay_from_client(conn);
    return true;
}

static void core_readable(gate_conn *conn)
{
    if (conn->to_client.size == 0) {
        if (conn->times.stage == GATE_AT_END)
            cut_finish(conn);
        else
            (void)gate_relay_from_core(conn);
    }
    gate_conn_poll(conn);
}

/* The core has closed its end and left bytes of ours unread. libuv has stopped the poll, and tells
 * of the error only; what the core said last is still there. */
static void core_failed(gate_conn *conn)
{
    conn->core_events = 0;
    gate_pending_free(conn->gate, &conn->to_core);
    core_readable(conn);
}

static void core_ready(uv_poll_t *poll, int status, int events)
{
    gate_conn *conn = poll->data;

    if (conn->is_closed || conn->core_fd < 0)
        return;
    if (status < 0) {
        core_failed(conn);
        return;
    }
    if (events & UV_WRITABLE) {
        gate_flush_to_core(conn);
        if (conn->to_core.size == 0 && !core_taken(conn))
            return;
    }
    if (events & UV_READABLE)
        core_readable(conn);
    else
        gate_conn_poll(conn);
}

static void conn_begin(lane_msg *msg)
{
    gate_conn *conn = wm_container_of(msg, gate_conn, msg);
    gate *gate = conn->gate;

    poll_open(conn, &conn->client_poll, conn->client_fd);
    gate_handle_closed(gate); /* of the message */
    DL_APPEND(conn->worker->conns, conn);
    if (conn->worker->is_closing || atomic_load(&gate->stop_us) != 0) {
        gate_conn_close(conn);
        return;
    }
    if (is_from_proxy(gate, &conn->address)) {
        conn->proxy = malloc(GATE_PROXY_SIZE_MAX);
        if (conn->proxy == NULL)
            abort();
        conn->times.stage = GATE_AT_PROXY_HEADER;
    } else if (!conn_greet(conn)) {
        return;
    }
    gate_conn_poll(conn);
}

void gate_conn_accept(gate *gate, size_t listener, int fd, const gate_address *address)
{
    gate_conn *conn = calloc(1, sizeof(*conn));
    const int on = 1;

    if (conn == NULL)
        abort();
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    conn->gate = gate;
    conn->worker = &gate->workers[gate->next_worker++ % gate->n_workers];
    conn->tls = gate->tls[listener];
    conn->client_fd = fd;
    conn->core_fd = -1;
    conn->address = *address;
    conn->chunk_max = GATE_CHUNK_SIZE;
    conn->times.stage_us = wm_monotonic_us();
    conn->msg.run = conn_begin;
    gate_handle_opened(gate); /* the message counts until it has run */
    if (lane_is_here(conn->worker->lane))
        conn_begin(&conn->msg);
    else
        lane_post(conn->worker->lane, &conn->msg);
}

void gate_conn_sweep(gate_conn *conn, int64_t now_us)
{
    gate_breach breach;

    /* While we do not read a client, it cannot be late. */
    if (conn->to_core.size > 0 || conn->waiting.size > 0)
        conn->times.frame_us = conn->times.received_us = now_us;
    if (conn->times.has_streams)
        conn->times.streams_us = now_us;
    conn->times.is_busy = gate_is_busy(conn->gate);
    breach = gate_times_check(&conn->times, &conn->gate->limits, now_us);
    if (breach != GATE_FINE)
        gate_conn_cut(conn, breach);
}
