/* server/gate/streams.h - the numbers of a connection's open streams.
 *
 * A small hash set of numbers. Pure.
 *
 * Threads: one user at a time.
 * Memory:  allocates with the first stream; gate_streams_free() gives it back. Eight to sixteen
 *          bytes a stream, of the most that were ever open at a time.
 */
#ifndef WAYMARK_SERVER_GATE_STREAMS_H
#define WAYMARK_SERVER_GATE_STREAMS_H

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gate_streams {
    uint32_t *ids; /* 0: free; room is a power of two */
    uint32_t room, n;
} gate_streams;

void gate_streams_free(gate_streams *streams);
/* `id` is neither 0 nor in the set. */
void gate_streams_add(gate_streams *streams, uint32_t id);
bool gate_streams_has(const gate_streams *streams, uint32_t id);
/* False when it was not there. */
bool gate_streams_remove(gate_streams *streams, uint32_t id);

#ifdef __cplusplus
}
#endif
#endif
