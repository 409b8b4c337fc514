/* server/rpc/queue.c - the thread that polls a lane's completion queue, and the way into it.
 *
 * All completions of the core come here. When the queue is empty, what was held back leaves
 * (cork.h), and the thread sleeps; or it looks for a moment longer (busy_poll.h), while it answers
 * all calls of its lane by itself: those that a handler has on the loop, and PostgreSQL, which
 * works for them, may need this very processor.
 */
#include <sched.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/rpc/cork.h"
#include "server/rpc/internal.h"

void rpc_start_batch(grpc_call *core, const grpc_op *ops, size_t n, rpc_event *event)
{
    grpc_call_error rc;

    atomic_store_explicit(&event->handed, 1, memory_order_release);
    rpc_cork_open();
    rc = grpc_call_start_batch(core, ops, n, event, NULL);
    rpc_cork_close();
    if (rc == GRPC_CALL_OK)
        return;
    /* Only a wrong use of the core gets here, and then no completion would ever come. */
    wm_log(WM_LOG_ERROR, "gRPC refused a batch", wm_log_s("error", grpc_call_error_to_string(rc)));
    abort();
}

/* What the queue has now. */
static grpc_event queue_look(rpc_queue *queue)
{
    return grpc_completion_queue_next(queue->core, gpr_inf_past(GPR_CLOCK_MONOTONIC), NULL);
}

void rpc_hand_over(rpc_queue *queue, lane_msg *msg)
{
    queue->has_handed_over = true;
    lane_post(queue->lane, msg);
}

/* Nothing that came since the last wait was for the loop, and no unary call is with a handler
 * there. A stream that only is open has no work; when it has, it is handed over. */
static bool queue_is_alone(rpc_queue *queue)
{
    bool is_alone = !queue->has_handed_over &&
                    atomic_load_explicit(&queue->calls_on_loop, memory_order_relaxed) == 0;

    queue->has_handed_over = false;
    return is_alone;
}

static void count(atomic_ullong *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed); /* this thread alone writes it */
}

/* Other threads of this processor have their turns in between. */
static grpc_event queue_look_busily(rpc_queue *queue, int64_t until_us)
{
    grpc_event done = queue_look(queue);

    while (done.type == GRPC_QUEUE_TIMEOUT && wm_monotonic_us() < until_us) {
        sched_yield();
        done = queue_look(queue);
    }
    if (done.type == GRPC_QUEUE_TIMEOUT) {
        rpc_busy_poll_failed(&queue->busy_poll);
        count(&queue->stats.busy_waits_in_vain);
    } else {
        count(&queue->stats.busy_waits_found);
    }
    return done;
}

static grpc_event queue_wait(rpc_queue *queue)
{
    rpc_busy_poll *poll = &queue->busy_poll;
    int64_t since_us = wm_monotonic_us(), wait_us;
    grpc_event done = {.type = GRPC_QUEUE_TIMEOUT};

    if (!queue_is_alone(queue))
        rpc_busy_poll_reset(poll);
    if (rpc_busy_poll_is_due(poll))
        done = queue_look_busily(queue, since_us + poll->window_us);
    if (done.type == GRPC_QUEUE_TIMEOUT)
        done = grpc_completion_queue_next(queue->core, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    wait_us = wm_monotonic_us() - since_us;
    rpc_busy_poll_waited(poll, wait_us);
    rpc_cork_waited(wait_us > RPC_BUSY_POLL_WAIT_US);
    return done;
}

void rpc_queue_main(void *arg)
{
    rpc_queue *queue = arg;

    rpc_cork_promise(RPC_CORK_QUEUE_MIN, RPC_CORK_QUEUE_MAX);
    for (;;) {
        /* While replies are held back the queue is only asked for what it has. */
        grpc_event done = rpc_cork_is_holding() ? queue_look(queue) : queue_wait(queue);
        rpc_event *event = done.tag;

        if (done.type != GRPC_OP_COMPLETE)
            rpc_cork_release();
        if (done.type == GRPC_QUEUE_SHUTDOWN)
            return;
        if (done.type == GRPC_QUEUE_TIMEOUT)
            continue;
        (void)atomic_load_explicit(&event->handed, memory_order_acquire);
        event->run(event, done.success != 0);
        rpc_cork_event();
    }
}
