/* tests/hostile/peer.c - one connection to the server under test, plain or TLS.
 *
 * Requests after the first cost six bytes of headers: the first leaves its headers in the server's
 * HPACK table, as an attacker who wants many requests for little would do.
 */
#include "tests/hostile/peer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    /* Of HPACK's static table. */
    STATIC_METHOD_POST = 3,
    STATIC_SCHEME_HTTP = 6,
    STATIC_SCHEME_HTTPS = 7,
    STATIC_SIZE = 61
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- the connection's life ---- */

static void peer_ended(peer *peer, bool was_reset)
{
    if (peer->state == PEER_CLOSED)
        return;
    peer->cut_us = now_us();
    peer->was_reset = was_reset;
    peer_close(peer);
}

void peer_close(peer *peer)
{
    if (peer->state == PEER_CLOSED)
        return;
    peer->state = PEER_CLOSED;
    peer->frames_sent = peer->out.frames;
    SSL_free(peer->ssl);
    peer->ssl = NULL;
    close(peer->fd);
    wire_free(&peer->in);
    wire_free(&peer->out);
}

static void peer_greet(peer *peer)
{
    peer->state = PEER_OPEN;
    peer->opened_us = now_us();
}

void peer_open(peer *peer, const target *target, unsigned flags, uint32_t window)
{
    static const int one = 1;

    assert(peer->state == PEER_CLOSED);
    memset(peer, 0, sizeof(*peer));
    peer->target = target;
    peer->flags = flags;
    peer->next_stream = 1;
    peer->fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (peer->fd < 0)
        return;
    peer->state = PEER_CONNECTING;
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (target->source_len > 0)
        bind(peer->fd, (const struct sockaddr *)&target->source, target->source_len);
    if (!(flags & PEER_NO_PREFACE)) {
        wire_add(&peer->out, preface, sizeof(preface) - 1);
        if (window > 0)
            wire_setting(&peer->out, SETTING_INITIAL_WINDOW_SIZE, window);
        else
            wire_frame(&peer->out, FRAME_SETTINGS, 0, 0, NULL, 0);
    }
    if (connect(peer->fd, (const struct sockaddr *)&target->address, target->address_len) != 0 &&
        errno != EINPROGRESS)
        peer_ended(peer, true);
}

static void peer_shake(peer *peer)
{
    int rc = SSL_connect(peer->ssl);

    if (rc == 1) {
        peer_greet(peer);
        return;
    }
    switch (SSL_get_error(peer->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        peer->wants_write = false;
        return;
    case SSL_ERROR_WANT_WRITE:
        peer->wants_write = true;
        return;
    default:
        peer_ended(peer, true);
    }
}

static void peer_connected(peer *peer)
{
    int error = 0;
    socklen_t len = sizeof(error);

    getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0) {
        peer_ended(peer, true);
        return;
    }
    if (peer->target->tls == NULL || (peer->flags & PEER_NO_TLS)) {
        peer_greet(peer);
        return;
    }
    peer->ssl = SSL_new(peer->target->tls);
    if (peer->ssl == NULL || SSL_set_fd(peer->ssl, peer->fd) != 1)
        abort();
    peer->state = PEER_SHAKING;
    peer_shake(peer);
}

/* ---- bytes ---- */

/* As send() and recv(): -1 for "later", 0 for the end. */
static ssize_t bytes_result(ssize_t n)
{
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return -1;
    return n < 0 ? 0 : n;
}

static ssize_t tls_result(peer *peer, int n)
{
    int error;

    if (n > 0)
        return n;
    error = SSL_get_error(peer->ssl, n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? -1 : 0;
}

static ssize_t bytes_send(peer *peer, const uint8_t *data, size_t len)
{
    if (peer->ssl == NULL)
        return bytes_result(send(peer->fd, data, len, MSG_NOSIGNAL));
    return tls_result(peer, SSL_write(peer->ssl, data, (int)len));
}

static ssize_t bytes_receive(peer *peer, uint8_t *data, size_t size)
{
    if (peer->ssl == NULL) {
        ssize_t n = recv(peer->fd, data, size, 0);
        peer->was_reset = n < 0 && errno == ECONNRESET;
        return bytes_result(n);
    }
    return tls_result(peer, SSL_read(peer->ssl, data, (int)size));
}

/* ---- frames that come ---- */

static void peer_answer(peer *peer, const frame *frame)
{
    if ((peer->flags & PEER_NO_ACK) || (frame->flags & FLAG_ACK))
        return;
    if (frame->type == FRAME_SETTINGS)
        wire_frame(&peer->out, FRAME_SETTINGS, FLAG_ACK, 0, NULL, 0);
    else if (frame->type == FRAME_PING)
        wire_frame(&peer->out, FRAME_PING, FLAG_ACK, 0, frame->payload, frame->len);
}

static void peer_take(peer *peer, const frame *frame)
{
    if (frame->type == FRAME_GOAWAY && frame->len >= 8 && peer->goaway_us == 0) {
        peer->goaway_us = now_us();
        peer->goaway_code = wire_u32(frame->payload + 4);
    }
    peer->replies += frame->type == FRAME_HEADERS;
    peer->resets += frame->type == FRAME_RST_STREAM;
    peer_answer(peer, frame);
    if (peer->came != NULL)
        peer->came(peer, frame);
}

static void peer_parse(peer *peer)
{
    size_t done = 0;
    frame frame;

    while (frame_read(&frame, peer->in.data + done, peer->in.len - done)) {
        peer_take(peer, &frame);
        done += FRAME_HEADER_SIZE + frame.len;
    }
    wire_drop(&peer->in, done);
}

/* Reads until nothing is there. False: the connection has ended. */
static bool peer_receive(peer *peer)
{
    static uint8_t buffer[PEER_READ_SIZE];

    for (;;) {
        ssize_t n = bytes_receive(peer, buffer, sizeof(buffer));
        if (n < 0)
            return true;
        if (n == 0)
            return false;
        wire_add(&peer->in, buffer, (size_t)n);
        peer_parse(peer);
        if (n < (ssize_t)sizeof(buffer) && peer->ssl == NULL)
            return true;
    }
}

void peer_flush(peer *peer)
{
    size_t done = 0;

    if (peer->state != PEER_OPEN)
        return;
    while (done < peer->out.len) {
        ssize_t n = bytes_send(peer, peer->out.data + done, peer->out.len - done);
        if (n < 0)
            break;
        if (n == 0) {
            /* What the server said before it cut the connection may still be there. */
            peer_receive(peer);
            peer_ended(peer, peer->goaway_us == 0);
            return;
        }
        done += (size_t)n;
    }
    peer->bytes_sent += done;
    wire_drop(&peer->out, done);
}

/* ---- the loop's side ---- */

short peer_events(const peer *peer)
{
    short events = peer->flags & PEER_DEAF ? POLLRDHUP : POLLIN;

    switch (peer->state) {
    case PEER_CONNECTING:
        return POLLOUT;
    case PEER_SHAKING:
        return peer->wants_write ? POLLOUT : POLLIN;
    case PEER_OPEN:
        return (short)(peer->out.len > 0 ? events | POLLOUT : events);
    case PEER_CLOSED:
        break;
    }
    return 0;
}

void peer_step(peer *peer, short revents)
{
    if (revents == 0)
        return;
    switch (peer->state) {
    case PEER_CONNECTING:
        peer_connected(peer);
        return;
    case PEER_SHAKING:
        peer_shake(peer);
        return;
    case PEER_OPEN:
        if ((revents & (POLLIN | POLLHUP | POLLERR | POLLRDHUP)) && !peer_receive(peer)) {
            peer_ended(peer, peer->was_reset);
            return;
        }
        peer_flush(peer);
        return;
    case PEER_CLOSED:
        return;
    }
}

/* ---- requests ---- */

uint32_t peer_new_stream(peer *peer)
{
    uint32_t stream = peer->next_stream;

    peer->next_stream += 2;
    return stream;
}

/* The names in the order in which the server's table then holds them, newest first. */
static void block_again(const peer *peer, wire *block)
{
    unsigned n = peer->target->authorization != NULL ? 5 : 4;

    for (unsigned i = n; i > 0; i--)
        hpack_indexed(block, STATIC_SIZE + i);
}

void peer_request_block(peer *peer, const char *path, wire *block)
{
    const target *target = peer->target;

    hpack_indexed(block, STATIC_METHOD_POST);
    hpack_indexed(block, peer->ssl != NULL ? STATIC_SCHEME_HTTPS : STATIC_SCHEME_HTTP);
    if (peer->has_asked && path == NULL) {
        block_again(peer, block);
        return;
    }
    if (path != NULL) {
        /* A path of the owner's changes nothing in the table, so that the next request fits. */
        hpack_literal(block, ":path", path, strlen(path));
        hpack_literal(block, ":authority", target->name, strlen(target->name));
        hpack_literal(block, "content-type", "application/grpc", strlen("application/grpc"));
        hpack_literal(block, "te", "trailers", strlen("trailers"));
        return;
    }
    peer->has_asked = true;
    hpack_remembered(block, ":path", target->path);
    hpack_remembered(block, ":authority", target->name);
    hpack_remembered(block, "content-type", "application/grpc");
    hpack_remembered(block, "te", "trailers");
    if (target->authorization != NULL)
        hpack_remembered(block, "authorization", target->authorization);
}

uint32_t peer_request(peer *peer, const char *path, uint8_t flags)
{
    uint32_t stream = peer_new_stream(peer);
    wire block = {0};

    peer_request_block(peer, path, &block);
    wire_frame(&peer->out, FRAME_HEADERS, FLAG_END_HEADERS | flags, stream, block.data, block.len);
    wire_free(&block);
    return stream;
}
