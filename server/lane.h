/* server/lane.h - one of the server's parallel halves: a queue thread and a loop thread.
 *
 * The queue thread polls the lane's gRPC completion queue, decodes requests and
 * runs inline handlers; rpc/ owns it. The loop thread runs a libuv loop: the
 * store's and the bus's sockets, timers, and every handler that is not inline.
 * Nearly all state belongs to one lane's loop and is never locked; other threads
 * send it messages with lane_post().
 *
 *      queue thread --lane_post--> loop thread --grpc_call_start_batch--> wire
 *
 * Threads: lane_post() from any thread; lane_work() and the rest on the lane's loop.
 * Memory:  the poster owns the lane_msg until run() is called; embed it.
 */
#ifndef WAYMARK_SERVER_LANE_H
#define WAYMARK_SERVER_LANE_H

#include <uv.h>

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lane lane;
typedef struct store store;

/* A message to a lane's loop. Embedded in what it is about. */
typedef struct lane_msg lane_msg;
struct lane_msg {
    lane_msg *next;
    void (*run)(lane_msg *msg); /* on the loop; may free what embeds it */
};

/* A piece of blocking work: run() on a worker thread, then done() on the loop. */
typedef struct lane_job lane_job;
struct lane_job {
    uv_work_t work;
    lane *lane;
    void (*run)(lane_job *job);
    void (*done)(lane_job *job);
};

/* Starts the loop thread. */
WM_MUST_USE wm_code lane_new(unsigned index, lane **made, wm_err *err);
/* Stops the loop when nothing is left on it, joins the thread, frees. Messages
 * posted before this call are run. */
void lane_free(lane *lane);

unsigned lane_index(const lane *lane);
uv_loop_t *lane_loop(lane *lane);
bool lane_is_here(const lane *lane); /* is this the lane's loop thread? */

/* Queues without bound by itself: every sender has a bound of its own (calls in
 * flight, a stream's credits). Messages from one thread arrive in order. Wakes
 * the loop once per burst. */
void lane_post(lane *lane, lane_msg *msg);

/* Runs fn(ctx) on the loop and waits for it. Setup and teardown only, never from
 * a loop. */
void lane_call(lane *lane, void (*fn)(void *ctx), void *ctx);

void lane_work(lane *lane, lane_job *job);

/* Has `fn` called on the loop at the end of each turn, before the loop waits for the next event.
 * One function for a lane, for as long as it lives. On the loop. */
void lane_at_turn_end(lane *lane, void (*fn)(void));

/* The lane's store, set once during setup by main.c. */
store *lane_store(lane *lane);
void lane_set_store(lane *lane, store *store);

#ifdef __cplusplus
}
#endif
#endif
