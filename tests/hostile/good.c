/* tests/hostile/good.c - the well-behaved client: a steady rate of small calls, each timed.
 *
 * Most calls go over one connection that it keeps; ten a second each make a connection of their
 * own, because an attack may leave the old ones alone and keep new ones out. Calls start by the
 * clock whether or not the ones before are answered, and each is timed from when it was due, so
 * that a server which stands still shows in every call of that time.
 *
 * A call has succeeded when a message and then trailers came: a refusal has no message.
 *
 * For each call one line: kept|new START_US LATENCY_US ok|failed, on the monotonic clock.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "tests/hostile/attack.h"

enum {
    KEPT_CALLS_MAX = 4096, /* in flight */
    NEW_CALLS_MAX = 64,
    NEW_PERIOD_US = 100000,
    REOPEN_US = 20000,
    TIMEOUT_US = 5000000,
    LAST_WAIT_US = 1000000 /* for what is in flight at the end */
};

typedef struct call {
    uint32_t stream; /* 0: this place is free */
    int64_t due_us;
    bool has_message;
} call;

typedef struct good {
    const target *target;
    peer kept;
    int64_t reopen_us;
    call calls[KEPT_CALLS_MAX];
    peer news[NEW_CALLS_MAX];
    call new_calls[NEW_CALLS_MAX];
} good;

static void call_ended(call *call, const char *kind, bool is_ok)
{
    printf("%s %lld %lld %s\n", kind, (long long)call->due_us, (long long)(now_us() - call->due_us),
           is_ok ? "ok" : "failed");
    call->stream = 0;
}

static void call_came(call *call, const char *kind, const frame *frame)
{
    if (frame->type == FRAME_DATA && frame->len > 0)
        call->has_message = true;
    if (frame->type == FRAME_RST_STREAM)
        call_ended(call, kind, false);
    else if (frame->type == FRAME_HEADERS && (frame->flags & FLAG_END_STREAM))
        call_ended(call, kind, call->has_message);
}

/* ---- the connection that is kept ---- */

static call *kept_find(good *good, uint32_t stream)
{
    for (size_t i = 0; i < KEPT_CALLS_MAX; i++)
        if (good->calls[i].stream == stream)
            return &good->calls[i];
    return NULL;
}

static void kept_came(peer *peer, const frame *frame)
{
    good *good = peer->owner;
    call *call = frame->stream != 0 ? kept_find(good, frame->stream) : NULL;

    if (call != NULL)
        call_came(call, "kept", frame);
    /* Replies are small, but many: what they took of the connection's window is given back. */
    if (frame->type == FRAME_DATA && frame->len > 0)
        wire_window_update(&peer->out, 0, (uint32_t)frame->len);
}

static void kept_watch(good *good, int64_t now)
{
    if (good->kept.state == PEER_CLOSED && now >= good->reopen_us) {
        peer_open(&good->kept, good->target, 0, 0);
        good->kept.came = kept_came;
        good->kept.owner = good;
        good->reopen_us = now + REOPEN_US;
    }
    for (size_t i = 0; i < KEPT_CALLS_MAX; i++) {
        call *call = &good->calls[i];
        if (call->stream != 0 &&
            (good->kept.state == PEER_CLOSED || now - call->due_us > TIMEOUT_US))
            call_ended(call, "kept", false);
    }
}

static void kept_call(good *good, int64_t due_us)
{
    call refused = {.due_us = due_us}, *call = kept_find(good, 0);

    if (call == NULL || good->kept.state == PEER_CLOSED) {
        call_ended(&refused, "kept", false);
        return;
    }
    *call = (struct call){.stream = peer_request(&good->kept, NULL, 0), .due_us = due_us};
    wire_message(&good->kept.out, call->stream, 0, NULL, 0, true);
    peer_flush(&good->kept);
}

/* ---- those that are new for each call ---- */

static void new_came(peer *peer, const frame *frame)
{
    call *call = peer->owner;

    if (call->stream != 0 && frame->stream == call->stream)
        call_came(call, "new", frame);
}

static void new_call(good *good, int64_t due_us)
{
    call refused = {.due_us = due_us};

    for (size_t i = 0; i < NEW_CALLS_MAX; i++) {
        peer *peer = &good->news[i];
        if (peer->state != PEER_CLOSED)
            continue;
        peer_open(peer, good->target, 0, 0);
        peer->came = new_came;
        peer->owner = &good->new_calls[i];
        good->new_calls[i] = (call){.stream = peer_request(peer, NULL, 0), .due_us = due_us};
        wire_message(&peer->out, good->new_calls[i].stream, 0, NULL, 0, true);
        return;
    }
    call_ended(&refused, "new", false);
}

static void new_watch(good *good, int64_t now)
{
    for (size_t i = 0; i < NEW_CALLS_MAX; i++) {
        call *call = &good->new_calls[i];
        peer *peer = &good->news[i];
        if (call->stream != 0 && (peer->state == PEER_CLOSED || now - call->due_us > TIMEOUT_US))
            call_ended(call, "new", false);
        if (call->stream == 0)
            peer_close(peer);
    }
}

/* ---- the loop ---- */

static void good_poll(good *good)
{
    struct pollfd polls[1 + NEW_CALLS_MAX];
    peer *peers[1 + NEW_CALLS_MAX];
    nfds_t n = 0;

    for (size_t i = 0; i <= NEW_CALLS_MAX; i++) {
        peer *peer = i == 0 ? &good->kept : &good->news[i - 1];
        if (peer->state == PEER_CLOSED)
            continue;
        peers[n] = peer;
        polls[n++] = (struct pollfd){.fd = peer->fd, .events = peer_events(peer)};
    }
    poll(polls, n, 1);
    for (nfds_t i = 0; i < n; i++)
        peer_step(peers[i], polls[i].revents);
}

bool good_run(const target *target, const good_options *options)
{
    static good good; /* too large for the stack */
    int64_t start_us = now_us(), end_us = start_us + (int64_t)(options->seconds * 1e6);
    int64_t period_us = (int64_t)(1e6 / options->rate);
    int64_t kept_due_us = start_us + REOPEN_US, new_due_us = start_us, now;

    good.target = target;
    while ((now = now_us()) < end_us + LAST_WAIT_US) {
        kept_watch(&good, now);
        new_watch(&good, now);
        for (; kept_due_us <= now && kept_due_us < end_us; kept_due_us += period_us)
            kept_call(&good, kept_due_us);
        for (; new_due_us <= now && new_due_us < end_us; new_due_us += NEW_PERIOD_US)
            new_call(&good, new_due_us);
        good_poll(&good);
    }
    for (size_t i = 0; i < KEPT_CALLS_MAX; i++)
        if (good.calls[i].stream != 0)
            call_ended(&good.calls[i], "kept", false);
    for (size_t i = 0; i < NEW_CALLS_MAX; i++)
        if (good.new_calls[i].stream != 0)
            call_ended(&good.new_calls[i], "new", false);
    peer_close(&good.kept);
    for (size_t i = 0; i < NEW_CALLS_MAX; i++)
        peer_close(&good.news[i]);
    return fflush(stdout) == 0;
}
