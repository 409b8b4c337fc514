/* server/rpc/stats.c - what the server is doing, for whoever watches it.
 *
 * Only reads: counters are kept where things happen.
 */
#include <assert.h>

#include "server/rpc/internal.h"

size_t rpc_server_n_methods(const rpc_server *server)
{
    return server->n_bindings + 1;
}

const wm_method *rpc_server_method(const rpc_server *server, size_t i)
{
    assert(i <= server->n_bindings);
    return i < server->n_bindings ? server->bindings[i].method : rpc_unknown_binding.method;
}

size_t rpc_method_index(const rpc_call *call)
{
    const rpc_server *server = call->queue->server;

    return call->binding == &rpc_unknown_binding ? server->n_bindings
                                                 : (size_t)(call->binding - server->bindings);
}

size_t rpc_server_n_lanes(const rpc_server *server)
{
    return server->n_queues;
}

void rpc_server_lane_stats(const rpc_server *server, size_t lane, rpc_lane_stats *stats)
{
    rpc_queue *queue = &server->queues[lane];

    assert(lane < server->n_queues);
    *stats = (rpc_lane_stats){
        .calls = atomic_load_explicit(&queue->calls, memory_order_relaxed),
        .streams = atomic_load_explicit(&queue->stats.streams, memory_order_relaxed),
        .received_messages =
            atomic_load_explicit(&queue->stats.received_messages, memory_order_relaxed),
        .received_bytes = atomic_load_explicit(&queue->stats.received_bytes, memory_order_relaxed),
        .sent_messages = atomic_load_explicit(&queue->stats.sent_messages, memory_order_relaxed),
        .sent_bytes = atomic_load_explicit(&queue->stats.sent_bytes, memory_order_relaxed),
        .refused_busy = atomic_load_explicit(&queue->stats.refused_busy, memory_order_relaxed),
        .refused_stopping =
            atomic_load_explicit(&queue->stats.refused_stopping, memory_order_relaxed),
        .answers_cut = rpc_places_cut(queue),
        .busy_waits_found =
            atomic_load_explicit(&queue->stats.busy_waits_found, memory_order_relaxed),
        .busy_waits_in_vain =
            atomic_load_explicit(&queue->stats.busy_waits_in_vain, memory_order_relaxed),
    };
}
