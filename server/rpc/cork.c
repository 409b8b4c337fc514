/* server/rpc/cork.c - replies that leave together go to the wire together.
 *
 * The core writes after each batch that a call starts: one sendmsg() for each reply, and for a
 * small call that is half of the server's work, nearly all of it the kernel's way through TCP up
 * to the reader. The core has no means to start several batches first and to write then. The
 * kernel has: a corked socket (TCP_CORK) takes bytes and keeps them until it is uncorked, then
 * they leave as one segment.
 *
 * The core does not tell which sockets are its own. But the dynamic linker binds the core's calls
 * of sendmsg() to a function of that name in the program, when there is one: the one below. It
 * does what the system's does; only while a thread of ours starts a batch, and has promised to
 * come back before it sleeps (rpc_cork_promise), it corks the socket first. rpc_cork_release()
 * uncorks. No byte is kept in this process, so nothing can be lost or overtaken, and should a
 * socket ever stay corked, the kernel sends after 200 ms. Linked in a way in which the core does
 * not find this function, all works as before, one segment a reply.
 *
 *   queue thread   event, event, event ... queue empty: release, sleep
 *   loop thread    callbacks of one turn ... end of the turn: release, sleep
 *
 * Where corking gains nothing it is not done: the next writes of the thread go straight out, the
 * more the oftener that happens. That is so when a turn had one write for each socket; and when
 * turn after turn had a few for the same client and the thread slept between them, so that each of
 * the two had nothing to do while the other worked. So a call that is alone in flight waits for
 * nobody, nor do a few, nor many connections with a call each.
 *
 * Must not be told of sockets that are not the core's: that is why sockets are corked only while
 * grpc_call_start_batch() runs. All state is the thread's own.
 */
#include "server/rpc/cork.h"

#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>

static _Thread_local struct {
    unsigned gain_min;   /* writes of a turn that are always worth it */
    unsigned writes_max; /* not 0: the thread comes back before it sleeps */
    bool is_open;        /* a batch is being started */
    /* What is held, and events since its first write. */
    unsigned n_writes, n_sockets, n_events;
    int sockets[RPC_CORK_SOCKETS_MAX];
    /* This turn. */
    unsigned n_turn; /* writes that were held, whether they have left or not */
    bool has_gained; /* a socket took several */
    bool is_wide;    /* several sockets, or one that the turns before did not have */
    bool is_partial; /* it began with writes that went straight out */
    /* The turns before. */
    bool is_small;    /* the last one gained, but not much: the wait after it decides */
    unsigned n_slept; /* of such turns in a row, those that a sleep followed */
    int recent[RPC_CORK_RECENT];
    unsigned n_recent; /* goes round */
    unsigned pause;    /* grows with each turn that gained nothing */
    unsigned to_skip;  /* writes to go before it is tried again */
} cork;

void rpc_cork_promise(unsigned gain_min, unsigned writes_max)
{
    cork.gain_min = gain_min;
    cork.writes_max = writes_max;
}

void rpc_cork_open(void)
{
    cork.is_open = cork.writes_max > 0;
}

void rpc_cork_close(void)
{
    cork.is_open = false;
}

bool rpc_cork_is_holding(void)
{
    return cork.n_writes > 0;
}

/* Sockets that cannot be corked (unix) refuse it, and hold nothing back either. */
static void cork_set(int fd, int on)
{
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

static void cork_pause(void)
{
    cork.pause = 2 * cork.pause + 1 < RPC_CORK_PAUSE_MAX ? 2 * cork.pause + 1 : RPC_CORK_PAUSE_MAX;
    cork.to_skip = cork.pause;
}

/* Had one of the last turns this socket? */
static bool cork_knows(int fd)
{
    for (unsigned i = 0; i < RPC_CORK_RECENT; i++)
        if (cork.recent[i] == fd)
            return true;
    cork.recent[cork.n_recent++ % RPC_CORK_RECENT] = fd;
    return false;
}

static void cork_uncork(void)
{
    cork.n_turn += cork.n_writes;
    if (cork.n_writes > cork.n_sockets)
        cork.has_gained = true;
    else if (!cork.has_gained && !cork.is_partial)
        cork_pause();
    if (cork.n_sockets > 1 || !cork_knows(cork.sockets[0]))
        cork.is_wide = true;
    if (cork.has_gained && (cork.is_wide || cork.n_turn >= cork.gain_min))
        cork.pause = cork.n_slept = 0;
    for (unsigned i = 0; i < cork.n_sockets; i++)
        cork_set(cork.sockets[i], 0);
    cork.n_writes = cork.n_sockets = cork.n_events = 0;
}

void rpc_cork_release(void)
{
    if (cork.n_writes > 0)
        cork_uncork();
    if (cork.n_turn > 0)
        cork.is_small = cork.has_gained && !cork.is_wide && cork.n_turn < cork.gain_min;
    cork.has_gained = cork.is_wide = cork.is_partial = false;
    cork.n_turn = 0;
}

void rpc_cork_waited(bool has_slept)
{
    if (cork.is_small && !has_slept)
        cork.pause = cork.n_slept = 0;
    else if (cork.is_small && cork.n_slept < RPC_CORK_SLEEPS)
        cork.n_slept++;
    else if (cork.is_small)
        cork_pause();
    cork.is_small = false;
    if (has_slept)
        cork.is_partial = false;
}

void rpc_cork_event(void)
{
    if (cork.n_writes > 0 && ++cork.n_events == RPC_CORK_EVENTS_MAX)
        rpc_cork_release();
}

/* Before a write to `fd`. */
static void cork_hold(int fd)
{
    unsigned i = 0;

    while (i < cork.n_sockets && cork.sockets[i] != fd)
        i++;
    if (i == cork.n_sockets) {
        cork.sockets[cork.n_sockets++] = fd;
        cork_set(fd, 1);
    }
    cork.n_writes++;
}

/* ---- what the core calls ---- */

typedef ssize_t (*send_function)(int fd, const struct msghdr *message, int flags);

/* The next one behind ours: the system's, or a sanitizer's. */
static send_function send_next(void)
{
    static _Atomic(send_function) found;
    send_function next = atomic_load_explicit(&found, memory_order_relaxed);

    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "sendmsg");
        if (next == NULL)
            abort();
        atomic_store_explicit(&found, next, memory_order_relaxed);
    }
    return next;
}

__attribute__((visibility("default"))) ssize_t sendmsg(int fd, const struct msghdr *message,
                                                       int flags)
{
    ssize_t sent;
    int error;

    if (!cork.is_open)
        return send_next()(fd, message, flags);
    if (cork.to_skip > 0) {
        cork.to_skip--;
        cork.is_partial = true;
        return send_next()(fd, message, flags);
    }
    cork_hold(fd);
    sent = send_next()(fd, message, flags);
    /* A unix socket refuses to be uncorked; the core must see EAGAIN, not that, or it closes. */
    error = errno;
    if (cork.n_writes == cork.writes_max || cork.n_sockets == RPC_CORK_SOCKETS_MAX)
        cork_uncork();
    errno = error;
    return sent;
}
