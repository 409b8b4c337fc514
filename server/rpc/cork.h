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
    RPC_CORK_WRITES_MAX = 64,  /* then they leave: the client has enough to begin with */
    RPC_CORK_SOCKETS_MAX = 16, /* corked by one thread at a time */
    RPC_CORK_PAUSE_MAX = 255   /* writes that go straight out after turns that gained nothing */
};

/* From now on this thread releases whenever it is about to sleep. */
void rpc_cork_promise(void);
/* Around each batch that is started. */
void rpc_cork_open(void);
void rpc_cork_close(void);
bool rpc_cork_is_holding(void);
/* The end of a turn: what is held leaves. */
void rpc_cork_release(void);

#ifdef __cplusplus
}
#endif
#endif
