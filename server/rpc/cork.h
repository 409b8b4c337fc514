/* server/rpc/cork.h - writes of the core that leave together; cork.c tells why and how.
 *
 * A thread that promises to come back may have its writes held back while it starts batches, until
 * it releases them. Others, and all else that is sent, are not touched.
 *
 * Threads: all state is the calling thread's.
 */
#ifndef WAYMARK_SERVER_RPC_CORK_H
#define WAYMARK_SERVER_RPC_CORK_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    /* Writes of a turn for which it is always worth it, and those that leave at the latest, for a
     * queue thread and for a loop. The reader should have something to do meanwhile: what a loop
     * answers has waited for the database long enough. */
    RPC_CORK_QUEUE_MIN = 16,
    RPC_CORK_QUEUE_MAX = 32,
    RPC_CORK_LOOP_MIN = 2,
    RPC_CORK_LOOP_MAX = 8,
    RPC_CORK_EVENTS_MAX = 128, /* of a queue that is never empty; then they leave too */
    RPC_CORK_SOCKETS_MAX = 16, /* corked by one thread at a time */
    RPC_CORK_RECENT = 8,       /* sockets of the last turns: no more, and their clients may wait */
    RPC_CORK_SLEEPS = 4,       /* small turns with one after them, each, before it pauses */
    RPC_CORK_PAUSE_MAX = 255   /* writes that go straight out after turns that gained nothing */
};

/* From now on this thread releases before it sleeps; `writes_max` leave at once. With a `gain_min`
 * above 2 it also tells of its waits. */
void rpc_cork_promise(unsigned gain_min, unsigned writes_max);
/* Around each batch that is started. */
void rpc_cork_open(void);
void rpc_cork_close(void);
bool rpc_cork_is_holding(void);
/* A turn goes on: what is held does not wait for its end for ever. */
void rpc_cork_event(void);
/* The end of a turn: what is held leaves. */
void rpc_cork_release(void);
/* The wait after it: did the thread sleep, or was there more to do at once? */
void rpc_cork_waited(bool has_slept);

#ifdef __cplusplus
}
#endif
#endif
