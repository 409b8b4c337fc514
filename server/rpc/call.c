/* server/rpc/call.c - the life of a call, from the slot to the free list.
 *
 *   take ─> STARTING ─> ADMITTING ─> DECODING ─> REQUESTED ─> HANDLED ─> final batch ─> over
 *             │ started()  │ limits.c   │ first    │ requested() │ request(), opened()
 *             │            │            │ message  │             │
 *             └────────────┴────────────┴──────────┴── rpc_fail ─┘
 *
 * Up to HANDLED the queue thread and the interceptors own the call. An interceptor may
 * answer in place or later from any thread; later answers come back to the queue
 * thread by an empty batch (rpc_next) or end the call directly (rpc_fail).
 *
 * Inline methods are answered in one batch (metadata, message, status, close); all
 * others arm the close first, so that cancelled() can come while they work.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include <grpc/support/alloc.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/rpc/internal.h"

/* What the queue thread is doing, so that an interceptor's answer in place needs no event. */
static _Thread_local struct {
    rpc_call *asking; /* the call whose interceptor runs in this thread */
    bool is_answered; /* it has called rpc_next() */
} here;

/* ---- taking and recycling ---- */

static void returned_take(rpc_queue *queue)
{
    rpc_call *call = atomic_exchange_explicit(&queue->returned, NULL, memory_order_acquire);

    while (call != NULL) {
        rpc_call *next = call->next_free;
        call->next_free = queue->free_calls;
        queue->free_calls = call;
        queue->n_free_calls++;
        call = next;
    }
}

static rpc_call *call_alloc(rpc_queue *queue)
{
    rpc_call *call;

    if (queue->free_calls == NULL)
        returned_take(queue);
    call = queue->free_calls;
    if (call != NULL) {
        queue->free_calls = call->next_free;
        queue->n_free_calls--;
        return call;
    }
    call = malloc(sizeof(*call));
    if (call == NULL)
        abort();
    wm_arena_init(&call->arena, 0);
    uv_mutex_lock(&queue->all_mutex);
    DL_APPEND2(queue->all, call, all_prev, all_next);
    uv_mutex_unlock(&queue->all_mutex);
    return call;
}

static void call_dispose(rpc_queue *queue, rpc_call *call)
{
    uv_mutex_lock(&queue->all_mutex);
    DL_DELETE2(queue->all, call, all_prev, all_next);
    uv_mutex_unlock(&queue->all_mutex);
    wm_arena_free(&call->arena);
    free(call);
}

/* At home. A loop cannot touch the queue thread's list; it leaves the call where the
 * queue thread looks when its list is empty. */
static void call_recycle(rpc_call *call)
{
    rpc_queue *queue = call->queue;

    wm_arena_reset(&call->arena);
    if (!call->on_loop) {
        if (queue->n_free_calls >= RPC_FREE_CALLS_MAX) {
            call_dispose(queue, call);
            return;
        }
        call->next_free = queue->free_calls;
        queue->free_calls = call;
        queue->n_free_calls++;
        return;
    }
    if (atomic_load_explicit(&queue->calls, memory_order_relaxed) > RPC_FREE_CALLS_MAX) {
        call_dispose(queue, call);
        return;
    }
    call->next_free = atomic_load_explicit(&queue->returned, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&queue->returned, &call->next_free, call,
                                                  memory_order_release, memory_order_relaxed))
        continue;
}

void rpc_call_free_all(rpc_queue *queue)
{
    returned_take(queue);
    while (queue->free_calls != NULL) {
        rpc_call *call = queue->free_calls;
        queue->free_calls = call->next_free;
        call_dispose(queue, call);
    }
}

void rpc_calls_log(rpc_queue *queue)
{
    const rpc_call *call;
    int64_t now_us = wm_monotonic_us();
    unsigned n = 0;

    uv_mutex_lock(&queue->all_mutex);
    for (call = queue->all; call != NULL && n < RPC_STUCK_CALLS_MAX; call = call->all_next) {
        char id[17];
        if (!atomic_load_explicit(&call->is_live, memory_order_acquire))
            continue;
        snprintf(id, sizeof(id), "%016" PRIx64, call->id);
        wm_log(WM_LOG_ERROR, "a call has not ended", wm_log_s("call", id),
               wm_log_s("method", call->binding->method->path),
               wm_log_i("age_us", now_us - call->start_us));
        n++;
    }
    uv_mutex_unlock(&queue->all_mutex);
}

static void call_resumed(rpc_event *event, bool ok);
static void call_first_read(rpc_event *event, bool ok);
static void call_closed(rpc_event *event, bool ok);
static void call_final_done(rpc_event *event, bool ok);

rpc_call *rpc_call_take(rpc_queue *queue, const rpc_binding *binding, grpc_call *core)
{
    rpc_call *call = call_alloc(queue);
    size_t n_calls;

    memset(call, 0, offsetof(rpc_call, arena));
    call->core = core;
    call->queue = queue;
    call->binding = binding;
    call->id = queue->server->id_prefix | ++queue->next_id;
    call->start_us = wm_monotonic_us();
    call->deadline_us = INT64_MAX;
    call->core_parts = 1; /* the final batch */
    call->on_resumed.run = call_resumed;
    call->on_first_read.run = call_first_read;
    call->on_closed.run = call_closed;
    call->on_final.run = call_final_done;
    n_calls = atomic_fetch_add_explicit(&queue->calls, 1, memory_order_relaxed) + 1;
    if (n_calls > atomic_load_explicit(&queue->calls_peak, memory_order_relaxed))
        atomic_store_explicit(&queue->calls_peak, n_calls, memory_order_relaxed);
    atomic_store_explicit(&call->is_live, true, memory_order_release);
    return call;
}

static void call_finished(rpc_call *call)
{
    const rpc_server *server = call->queue->server;
    int64_t duration_us = wm_monotonic_us() - call->start_us;

    for (size_t i = 0; i < server->n_interceptors; i++) {
        rpc_interceptor *interceptor = server->interceptors[i];
        if (interceptor->finished != NULL)
            interceptor->finished(interceptor, call, call->code, duration_us);
    }
    if (call->opened && call->binding->handler->ended != NULL)
        call->binding->handler->ended(call);
    if (call->principal_release != NULL)
        call->principal_release(call->principal);
}

static void metadata_free(grpc_metadata *metadata, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        grpc_slice_unref(metadata[i].key);
        grpc_slice_unref(metadata[i].value);
    }
}

void rpc_call_over(rpc_call *call)
{
    rpc_queue *queue = call->queue;

    if (call->is_counted_on_loop)
        atomic_fetch_sub_explicit(&queue->calls_on_loop, 1, memory_order_relaxed);
    call_finished(call);
    atomic_store_explicit(&call->is_live, false, memory_order_relaxed);
    metadata_free(call->initial, call->n_initial);
    metadata_free(call->trailing, call->n_trailing);
    grpc_slice_unref(call->message);
    grpc_slice_unref(call->details);
    if (call->reply != NULL)
        grpc_byte_buffer_destroy(call->reply);
    if (call->received != NULL)
        grpc_byte_buffer_destroy(call->received);
    if (call->peer != NULL)
        gpr_free(call->peer);
    grpc_metadata_array_destroy(&call->metadata);
    grpc_call_unref(call->core);
    if (call->stream != NULL)
        rpc_stream_free(call->stream);
    call_recycle(call);
    if (atomic_fetch_sub_explicit(&queue->calls, 1, memory_order_acq_rel) == 1 &&
        atomic_load_explicit(&queue->server->draining, memory_order_acquire))
        rpc_server_changed(queue->server);
}

/* ---- completions, on the queue thread ---- */

static void call_over_on_loop(lane_msg *msg)
{
    rpc_call *call = wm_container_of(msg, rpc_call, home_msg);

    if (call->stream != NULL)
        rpc_stream_core_done(call->stream);
    else
        rpc_call_over(call);
}

static void core_part_done(rpc_call *call)
{
    if (--call->core_parts > 0)
        return;
    if (!call->on_loop) {
        rpc_call_over(call);
        return;
    }
    call->home_msg.run = call_over_on_loop;
    rpc_hand_over(call->queue, &call->home_msg);
}

static void call_final_done(rpc_event *event, bool ok)
{
    rpc_call *call = wm_container_of(event, rpc_call, on_final);

    rpc_place_left(call);
    /* A status that could not be sent is no answer. */
    if ((!ok || call->is_cut) && call->code == WM_OK)
        call->code = WM_CANCELLED;
    core_part_done(call);
}

static void call_closed(rpc_event *event, bool ok)
{
    rpc_call *call = wm_container_of(event, rpc_call, on_closed);

    (void)ok; /* this operation always succeeds */
    if (call->close_cancelled) {
        rpc_call_cancel(call);
        rpc_limit_cancelled(call);
    }
    core_part_done(call);
}

static void call_cancelled_on_loop(lane_msg *msg)
{
    rpc_call *call = wm_container_of(msg, rpc_call, cancel_msg);

    if (call->opened && !atomic_load_explicit(&call->ended, memory_order_acquire))
        call->binding->handler->cancelled(call);
}

void rpc_call_cancel(rpc_call *call)
{
    atomic_store_explicit(&call->cancelled, true, memory_order_release);
    if (!call->on_loop || call->binding->handler->cancelled == NULL ||
        atomic_load_explicit(&call->ended, memory_order_acquire))
        return;
    if (atomic_exchange_explicit(&call->is_cancel_posted, true, memory_order_acq_rel))
        return;
    call->cancel_msg.run = call_cancelled_on_loop;
    lane_post(call->queue->lane, &call->cancel_msg);
}

/* ---- intake, on the queue thread ---- */

static void call_fail_late(rpc_call *call)
{
    wm_err err = {0};

    wm_fail(&err, WM_DEADLINE, "DEADLINE_PASSED", "the deadline passed before the work began");
    rpc_fail(call, &err);
}

static void call_handle_on_loop(lane_msg *msg)
{
    rpc_call *call = wm_container_of(msg, rpc_call, home_msg);
    const rpc_handler *handler = call->binding->handler;
    wm_err err = {0};

    /* Work that nobody waits for is dropped before it costs anything. */
    if (atomic_load_explicit(&call->cancelled, memory_order_acquire)) {
        wm_fail(&err, WM_CANCELLED, "CALL_CANCELLED", "the call was cancelled before it began");
        rpc_fail(call, &err);
        return;
    }
    if (call->deadline_us <= wm_monotonic_us()) {
        call_fail_late(call);
        return;
    }
    call->opened = true;
    if (call->stream != NULL)
        rpc_stream_open(call->stream);
    if (call->binding->method->client_streaming)
        handler->opened(call);
    else
        handler->request(call, call->request);
}

void rpc_call_arm_close(rpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

    op.data.recv_close_on_server.cancelled = &call->close_cancelled;
    call->is_close_armed = true;
    call->core_parts++;
    rpc_start_batch(call->core, &op, 1, &call->on_closed);
}

static void call_count_on_loop(rpc_call *call)
{
    call->is_counted_on_loop = true;
    atomic_fetch_add_explicit(&call->queue->calls_on_loop, 1, memory_order_relaxed);
}

static void call_dispatch(rpc_call *call)
{
    const rpc_binding *binding = call->binding;

    call->stage = RPC_HANDLED;
    if (binding->handler->flags & RPC_INLINE) {
        call->opened = true;
        binding->handler->request(call, call->request);
        return;
    }
    call->on_loop = true;
    if (binding->method->client_streaming || binding->method->server_streaming)
        call->stream = rpc_stream_new(call);
    else
        call_count_on_loop(call);
    if (!call->is_close_armed)
        rpc_call_arm_close(call);
    call->home_msg.run = call_handle_on_loop;
    rpc_hand_over(call->queue, &call->home_msg);
}

/* True when the interceptor has let the call pass in place. */
static bool interceptor_ask(rpc_call *call, rpc_interceptor *interceptor)
{
    here.asking = call;
    here.is_answered = false;
    if (call->stage == RPC_STARTING)
        interceptor->started(interceptor, call);
    else
        interceptor->requested(interceptor, call, call->request);
    here.asking = NULL;
    return here.is_answered;
}

/* True when all interceptors have been asked. */
static bool interceptors_ask(rpc_call *call)
{
    const rpc_server *server = call->queue->server;

    while (call->interceptor < server->n_interceptors) {
        rpc_interceptor *interceptor = server->interceptors[call->interceptor++];
        bool is_asked = call->stage == RPC_STARTING ? interceptor->started != NULL
                                                    : interceptor->requested != NULL;
        if (is_asked && !interceptor_ask(call, interceptor))
            return false;
    }
    call->interceptor = 0;
    return true;
}

static bool may_be_empty(const rpc_call *call)
{
    return (call->binding->handler->flags & RPC_MAY_BE_EMPTY) != 0 &&
           !grpc_call_failed_before_recv_message(call->core);
}

/* The client has half-closed without a message, or is gone, which only a client stream can tell:
 * then nobody reads this, but the log does. */
static void first_message_missing(rpc_call *call)
{
    wm_err err = {0};

    if (call->binding->method->client_streaming && grpc_call_failed_before_recv_message(call->core))
        wm_fail(&err, WM_CANCELLED, "CALL_CANCELLED", "the call was cancelled before it began");
    else
        wm_fail(&err, WM_INVALID, "FIELD_REQUIRED", "the call ended before its first message");
    rpc_fail(call, &err);
}

/* True when the first message is there and good, or when the stream needs none. */
static bool first_message_decode(rpc_call *call)
{
    wm_err err = {0};

    if (call->received == NULL && may_be_empty(call))
        return true;
    if (call->received == NULL) {
        first_message_missing(call);
        return false;
    }
    if (rpc_call_decode(call, &call->arena, call->received, &call->request, &err) != WM_OK) {
        rpc_fail(call, &err);
        return false;
    }
    grpc_byte_buffer_destroy(call->received);
    call->received = NULL;
    return true;
}

static void first_message_read(rpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    op.data.recv_message.recv_message = &call->received;
    rpc_start_batch(call->core, &op, 1, &call->on_first_read);
}

/* True when the call has a place among those of its method. */
static bool call_admit(rpc_call *call)
{
    if (call->binding->limiter == NULL)
        return true;
    return call->limit == RPC_LIMIT_NONE ? rpc_limit_enter(call) : rpc_limit_resumed(call);
}

static void call_go_on(rpc_call *call)
{
    if (call->stage == RPC_STARTING) {
        if (!interceptors_ask(call))
            return;
        call->stage = RPC_ADMITTING;
    }
    if (call->stage == RPC_ADMITTING) {
        if (!call_admit(call))
            return;
        call->stage = RPC_DECODING;
        if (call->binding->method->client_streaming) {
            first_message_read(call);
            return;
        }
    }
    if (call->stage == RPC_DECODING) {
        if (!first_message_decode(call))
            return;
        call->stage = RPC_REQUESTED;
    }
    /* An empty stream has no request to ask about. */
    if (call->request == NULL || interceptors_ask(call))
        call_dispatch(call);
}

static void call_refuse_stopping(rpc_call *call)
{
    wm_err err = {0};

    atomic_fetch_add_explicit(&call->queue->stats.refused_stopping, 1, memory_order_relaxed);
    wm_fail(&err, WM_UNAVAILABLE, "SHUTTING_DOWN", "the server is stopping; connect again");
    err.retry_after_ms = 500;
    rpc_fail(call, &err);
}

static void call_refuse_busy(rpc_call *call)
{
    const rpc_places *places = &call->queue->places;
    wm_err err = {0};

    atomic_fetch_add_explicit(&call->queue->stats.refused_busy, 1, memory_order_relaxed);
    if (call->binding->is_open)
        wm_fail(&err, WM_EXHAUSTED, "TOO_MANY_CALLS",
                "more than %zu streams of health and reflection are open, or %zu of one address",
                places->open_max, places->open_address_max);
    else
        wm_fail(&err, WM_EXHAUSTED, "TOO_MANY_CALLS", "more than %zu calls are in flight",
                call->queue->server->calls_max);
    err.retry_after_ms = call->binding->is_open ? 1000 : 100;
    rpc_fail(call, &err);
}

void rpc_call_begin(rpc_call *call)
{
    const rpc_server *server = call->queue->server;

    /* The core forgets the peer of a call that is cancelled. Inline calls are not told of that. */
    if (!(call->binding->handler->flags & RPC_INLINE))
        (void)rpc_peer(call);
    if (atomic_load_explicit(&server->draining, memory_order_acquire) && !call->binding->uncounted)
        call_refuse_stopping(call);
    else if (!rpc_place_enter(call))
        call_refuse_busy(call);
    else if (call->deadline_us <= call->start_us)
        call_fail_late(call);
    else
        call_go_on(call);
}

static void call_first_read(rpc_event *event, bool ok)
{
    rpc_call *call = wm_container_of(event, rpc_call, on_first_read);

    if (!ok && call->received != NULL) {
        grpc_byte_buffer_destroy(call->received);
        call->received = NULL;
    }
    call_go_on(call);
}

static void call_resumed(rpc_event *event, bool ok)
{
    (void)ok; /* an empty batch has nothing that could fail */
    call_go_on(wm_container_of(event, rpc_call, on_resumed));
}

static void call_resume_from_loop(lane_msg *msg)
{
    rpc_call *call = wm_container_of(msg, rpc_call, home_msg);
    rpc_start_batch(call->core, NULL, 0, &call->on_resumed);
}

/* On the loop an interceptor is in the middle of a callback of its own, whose memory may well be
 * in the call's arena (a query, a job): the call goes on when that has returned. */
void rpc_next(rpc_call *call)
{
    if (here.asking == call) {
        here.is_answered = true;
        return;
    }
    if (lane_is_here(call->queue->lane)) {
        call->home_msg.run = call_resume_from_loop;
        lane_post(call->queue->lane, &call->home_msg);
        return;
    }
    rpc_start_batch(call->core, NULL, 0, &call->on_resumed);
}
