/* server/rpc/places.c - how many calls a lane has at work, and how many whose answer has not left.
 *
 *   enter ── room ──> WORKING ── answered ──> LEAVING ── left (the final batch is done)
 *     └───── none ─> TOO_MANY_CALLS             └─────── cut (too long, or too many others)
 *
 * A client that never opens its window keeps an answer here, and it need not even have a token:
 * health answers everybody. So a call that has been answered takes no place of those at work, and
 * newer calls are never refused for it. Its answer has a time in which to leave, and when too many
 * wait the one that waits longest goes: honest clients take theirs within a round trip.
 *
 * Loops answer, the queue thread sees them leave, the lane's timer looks at the time: hence the
 * mutex, under which nothing but lists and numbers is touched.
 */
#include <stdlib.h>
#include <utlist.h>

#include "base/clock.h"
#include "server/rpc/internal.h"

bool rpc_place_enter(rpc_call *call)
{
    rpc_places *places = &call->queue->places;
    bool has_room;

    if (call->binding->uncounted)
        return true;
    uv_mutex_lock(&places->mutex);
    has_room = places->n_working < call->queue->server->calls_max;
    if (has_room) {
        places->n_working++;
        call->place = RPC_PLACE_WORKING;
    }
    uv_mutex_unlock(&places->mutex);
    return has_room;
}

/* Under the mutex. */
static void leaving_unlist(rpc_places *places, rpc_call *call)
{
    DL_DELETE2(places->leaving, call, place_prev, place_next);
    places->n_leaving--;
    call->place = RPC_PLACE_NONE;
}

/* Under the mutex: takes an answer out to be cut. The reference keeps the core's side of the call,
 * which may come to its end as soon as the mutex is free. */
static grpc_call *leaving_take(rpc_places *places, rpc_call *call)
{
    grpc_call_ref(call->core);
    leaving_unlist(places, call);
    places->n_cut++;
    call->is_cut = true;
    return call->core;
}

/* Without the mutex. What is left of the answer is dropped, and the status needs no window. */
static void answer_cut(grpc_call *core)
{
    grpc_call_cancel_with_status(core, GRPC_STATUS_CANCELLED,
                                 "the client did not take the answer in time", NULL);
    grpc_call_unref(core);
}

void rpc_place_answered(rpc_call *call, grpc_byte_buffer *answer)
{
    rpc_places *places = &call->queue->places;
    size_t size = answer != NULL ? grpc_byte_buffer_length(answer) : 0;
    grpc_call *cut = NULL;

    call->answered_us = wm_monotonic_us();
    call->leave_until_us =
        call->answered_us + places->answer_us + (int64_t)(size / RPC_ANSWER_BYTES_PER_S) * 1000000;
    uv_mutex_lock(&places->mutex);
    if (call->place == RPC_PLACE_WORKING)
        places->n_working--;
    if (places->n_leaving >= places->leaving_max)
        cut = leaving_take(places, places->leaving);
    DL_APPEND2(places->leaving, call, place_prev, place_next);
    places->n_leaving++;
    call->place = RPC_PLACE_LEAVING;
    uv_mutex_unlock(&places->mutex);
    if (cut != NULL)
        answer_cut(cut);
}

void rpc_place_left(rpc_call *call)
{
    rpc_places *places = &call->queue->places;

    uv_mutex_lock(&places->mutex);
    if (call->place == RPC_PLACE_LEAVING)
        leaving_unlist(places, call);
    uv_mutex_unlock(&places->mutex);
}

/* The first whose time is over, or NULL. Answers are listed as they were given, so none that
 * follows a young one can be late; large ones, which have more time, are passed over. */
static grpc_call *late_take(rpc_places *places, int64_t now_us)
{
    int64_t given_us = now_us - places->answer_us;
    grpc_call *late = NULL;
    rpc_call *call;

    uv_mutex_lock(&places->mutex);
    call = places->leaving;
    while (call != NULL && call->answered_us <= given_us && call->leave_until_us > now_us)
        call = call->place_next;
    if (call != NULL && call->leave_until_us <= now_us)
        late = leaving_take(places, call);
    uv_mutex_unlock(&places->mutex);
    return late;
}

void rpc_places_check(rpc_queue *queue)
{
    int64_t now_us = wm_monotonic_us();
    grpc_call *late;

    while ((late = late_take(&queue->places, now_us)) != NULL)
        answer_cut(late);
}

uint64_t rpc_places_cut(rpc_queue *queue)
{
    uint64_t n;

    uv_mutex_lock(&queue->places.mutex);
    n = queue->places.n_cut;
    uv_mutex_unlock(&queue->places.mutex);
    return n;
}

void rpc_places_init(rpc_queue *queue, const rpc_config *config)
{
    rpc_places *places = &queue->places;
    size_t calls_max = queue->server->calls_max;
    uint64_t answer_ms = config->answer_ms ? config->answer_ms : RPC_ANSWER_MS_DEFAULT;

    places->answer_us = (int64_t)(answer_ms < INT32_MAX ? answer_ms : INT32_MAX) * 1000;
    places->leaving_max = calls_max > RPC_LEAVING_MIN ? calls_max : RPC_LEAVING_MIN;
    if (uv_mutex_init(&places->mutex) != 0)
        abort();
}

void rpc_places_free(rpc_queue *queue)
{
    uv_mutex_destroy(&queue->places.mutex);
}
