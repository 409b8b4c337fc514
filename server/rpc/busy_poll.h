/* server/rpc/busy_poll.h - when a queue thread looks for its next event instead of sleeping.
 *
 * A client that has one call in flight sends the next a few microseconds after it got its answer.
 * To sleep for so short a time, and to be woken, costs more than the call itself: two switches of
 * threads, and in a virtual machine two exits to the host. So a thread whose last waits were all
 * short looks again and again for a moment, as the kernel does for sockets (SO_BUSY_POLL) and KVM
 * for halted processors (halt_poll_ns).
 *
 * It sleeps as before after one look of that length in vain, and takes longer then until it tries
 * again; at a sign that somebody else has work of its lane; and when several calls came between
 * two waits: then there is enough to do, and what gathers meanwhile is answered together (cork.h).
 *
 * Pure: decisions from what the thread tells. Threads: the owner's alone.
 */
#ifndef WAYMARK_SERVER_RPC_BUSY_POLL_H
#define WAYMARK_SERVER_RPC_BUSY_POLL_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    RPC_BUSY_POLL_AFTER = 4,        /* short waits one after the other */
    RPC_BUSY_POLL_AFTER_MAX = 1024, /* when it was in vain again and again */
    RPC_BUSY_POLL_CALLS_MAX = 2,    /* between two waits */
    RPC_BUSY_POLL_WAIT_US = 5       /* what takes no longer was there, and is no wait */
};

typedef struct rpc_busy_poll {
    int64_t window_us;    /* for how long it looks; 0: never */
    unsigned after;       /* short waits that it takes */
    unsigned n_calls;     /* since the last wait */
    unsigned short_waits; /* so many there were, at most `after` */
} rpc_busy_poll;

void rpc_busy_poll_init(rpc_busy_poll *poll, int64_t window_us);
/* A call has come. */
void rpc_busy_poll_called(rpc_busy_poll *poll);
/* Should the wait that begins now be a busy one? */
bool rpc_busy_poll_is_due(const rpc_busy_poll *poll);
/* A wait was over after `wait_us`, whether busy or asleep. */
void rpc_busy_poll_waited(rpc_busy_poll *poll, int64_t wait_us);
/* Nothing came in the window; the wait goes on asleep. */
void rpc_busy_poll_failed(rpc_busy_poll *poll);
/* Others are at work for the lane: they need the processor more. */
void rpc_busy_poll_reset(rpc_busy_poll *poll);

#ifdef __cplusplus
}
#endif
#endif
