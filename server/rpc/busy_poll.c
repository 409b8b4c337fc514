/* server/rpc/busy_poll.c - when a queue thread looks for its next event instead of sleeping.
 *
 * Must stay pure: the thread's loop (queue.c) has the clock and the queue.
 */
#include "server/rpc/busy_poll.h"

void rpc_busy_poll_init(rpc_busy_poll *poll, int64_t window_us)
{
    *poll = (rpc_busy_poll){.window_us = window_us, .after = RPC_BUSY_POLL_AFTER};
}

void rpc_busy_poll_called(rpc_busy_poll *poll)
{
    poll->n_calls++;
}

bool rpc_busy_poll_is_due(const rpc_busy_poll *poll)
{
    return poll->window_us > 0 && poll->short_waits == poll->after;
}

void rpc_busy_poll_waited(rpc_busy_poll *poll, int64_t wait_us)
{
    bool is_short = wait_us <= 2 * poll->window_us; /* going to sleep and waking up are in it */

    if (poll->window_us == 0 || wait_us <= RPC_BUSY_POLL_WAIT_US)
        return;
    if (poll->n_calls > RPC_BUSY_POLL_CALLS_MAX || !is_short)
        poll->short_waits = 0;
    else if (rpc_busy_poll_is_due(poll))
        poll->after = poll->short_waits = RPC_BUSY_POLL_AFTER; /* it was worth it */
    else
        poll->short_waits++;
    poll->n_calls = 0;
}

void rpc_busy_poll_failed(rpc_busy_poll *poll)
{
    poll->short_waits = 0;
    poll->after =
        2 * poll->after < RPC_BUSY_POLL_AFTER_MAX ? 2 * poll->after : RPC_BUSY_POLL_AFTER_MAX;
}

void rpc_busy_poll_reset(rpc_busy_poll *poll)
{
    poll->short_waits = 0;
}
