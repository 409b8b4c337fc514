/* server/sdk/later.c - what a handler starts and comes back to: work, timers, messages.
 *
 * Each begins with a message to the call's loop unless it is there already, because libuv's
 * functions belong to the loop's thread. What is kept for it is on the heap and not in the call's
 * arena, which only one thread may use at a time.
 */
#include <stdlib.h>

#include "server/sdk/internal.h"

typedef struct later {
    lane_msg msg;
    lane_job job;
    uv_timer_t timer;
    waymark_server_call *call;
    void (*run)(void *ctx);
    void (*done)(waymark_server_call *call, void *ctx);
    void *ctx;
    uint64_t delay_ms;
} later;

static later *later_new(waymark_server_call *call,
                        void (*done)(waymark_server_call *call, void *ctx), void *ctx)
{
    later *later = calloc(1, sizeof(*later));

    if (later == NULL)
        abort();
    later->call = call;
    later->done = done;
    later->ctx = ctx;
    return later;
}

/* Begins on the call's loop, now or by a message. */
static void later_begin(later *later, void (*begin)(lane_msg *msg))
{
    lane *lane = rpc_lane(sdk_call(later->call));

    if (lane_is_here(lane)) {
        begin(&later->msg);
        return;
    }
    later->msg.run = begin;
    lane_post(lane, &later->msg);
}

/* ---- work ---- */

static void work_run(lane_job *job)
{
    later *later = wm_container_of(job, struct later, job);

    later->run(later->ctx);
}

static void work_done(lane_job *job)
{
    later *later = wm_container_of(job, struct later, job);

    later->done(later->call, later->ctx);
    free(later);
}

static void work_begin(lane_msg *msg)
{
    later *later = wm_container_of(msg, struct later, msg);

    later->job.run = work_run;
    later->job.done = work_done;
    lane_work(rpc_lane(sdk_call(later->call)), &later->job);
}

void waymark_server_work(waymark_server_call *call, void (*run)(void *ctx),
                         void (*done)(waymark_server_call *call, void *ctx), void *ctx)
{
    later *later = later_new(call, done, ctx);

    later->run = run;
    later_begin(later, work_begin);
}

/* ---- timers ---- */

static void timer_closed(uv_handle_t *timer)
{
    free(timer->data);
}

static void timer_over(uv_timer_t *timer)
{
    later *later = timer->data;

    /* The close comes after this, at the end of the loop's turn. */
    uv_close((uv_handle_t *)timer, timer_closed);
    later->done(later->call, later->ctx);
}

static void timer_begin(lane_msg *msg)
{
    later *later = wm_container_of(msg, struct later, msg);

    uv_timer_init(lane_loop(rpc_lane(sdk_call(later->call))), &later->timer);
    later->timer.data = later;
    uv_timer_start(&later->timer, timer_over, later->delay_ms, 0);
}

void waymark_server_after(waymark_server_call *call, uint64_t delay_ms,
                          void (*fn)(waymark_server_call *call, void *ctx), void *ctx)
{
    later *later = later_new(call, fn, ctx);

    later->delay_ms = delay_ms;
    later_begin(later, timer_begin);
}

/* ---- messages ---- */

static void post_run(lane_msg *msg)
{
    later *later = wm_container_of(msg, struct later, msg);

    later->done(later->call, later->ctx);
    free(later);
}

void waymark_server_post(waymark_server_call *call,
                         void (*fn)(waymark_server_call *call, void *ctx), void *ctx)
{
    later *later = later_new(call, fn, ctx);

    later->msg.run = post_run;
    lane_post(rpc_lane(sdk_call(call)), &later->msg);
}
