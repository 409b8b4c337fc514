/* server/rpc/stream.c - reading and writing on streams, one message at a time each way.
 *
 * Everything here runs on the call's loop but for the two completions of the core,
 * which run on the queue thread, decode what was read, and send the rest on as a
 * lane message. One read and one write can be on their way, and their fields
 * (`received`, `message`, `arena` for the read; `sending` for the write) belong to
 * whoever holds that message: loop -> core -> queue thread -> loop.
 *
 * A stream is over when the core has let go of it (final batch and close) and neither
 * a read nor a write is on its way.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "server/rpc/internal.h"

static void stream_read_arrived(rpc_event *event, bool ok);
static void stream_written(rpc_event *event, bool ok);
static void stream_read_done(lane_msg *msg);
static void stream_write_done(lane_msg *msg);
static void stream_end_posted(lane_msg *msg);

rpc_stream *rpc_stream_new(rpc_call *call)
{
    rpc_stream *stream = calloc(1, sizeof(*stream));

    if (stream == NULL)
        abort();
    stream->call = call;
    stream->is_first_pending = call->binding->method->client_streaming;
    stream->on_read.run = stream_read_arrived;
    stream->on_written.run = stream_written;
    stream->read_msg.run = stream_read_done;
    stream->written_msg.run = stream_write_done;
    stream->end_msg.run = stream_end_posted;
    wm_arena_init(&stream->arena, 0);
    return stream;
}

void rpc_stream_free(rpc_stream *stream)
{
    if (stream->received != NULL)
        grpc_byte_buffer_destroy(stream->received);
    wm_arena_free(&stream->arena);
    free(stream);
}

static bool stream_is_ended(const rpc_stream *stream)
{
    return atomic_load_explicit(&stream->call->ended, memory_order_acquire);
}

/* Is there no sense, or no permission, in writing to this stream? After an abort nothing
 * more is shown, except when the server is only stopping: then acknowledgements of what
 * is already done may still leave. */
static bool stream_is_mute(const rpc_stream *stream)
{
    const wm_err *abort_err;

    if (!rpc_is_cancelled(stream->call))
        return false;
    abort_err = atomic_load_explicit(&stream->call->abort_err, memory_order_acquire);
    return abort_err == NULL || abort_err->code != WM_UNAVAILABLE;
}

static void stream_over_maybe(rpc_stream *stream)
{
    if (!stream->is_core_done || stream->is_reading || stream->is_writing)
        return;
    if (stream->is_listed) {
        DL_DELETE(stream->call->queue->streams, stream);
        atomic_fetch_sub_explicit(&stream->call->queue->stats.streams, 1, memory_order_relaxed);
    }
    rpc_call_over(stream->call); /* frees the stream */
}

void rpc_stream_core_done(rpc_stream *stream)
{
    stream->is_core_done = true;
    stream_over_maybe(stream);
}

/* ---- ending ---- */

static void stream_final_maybe(rpc_stream *stream)
{
    if (!stream->is_ending || stream->is_writing || stream->is_final_started)
        return;
    stream->is_final_started = true;
    rpc_call_final(stream->call);
}

static void stream_end_here(rpc_stream *stream)
{
    stream->is_ending = true;
    stream->ending_since_us = wm_monotonic_us();
    stream_final_maybe(stream);
}

static void stream_end_posted(lane_msg *msg)
{
    stream_end_here(wm_container_of(msg, rpc_stream, end_msg));
}

void rpc_stream_end(rpc_stream *stream)
{
    lane *lane = stream->call->queue->lane;

    if (lane_is_here(lane))
        stream_end_here(stream);
    else
        lane_post(lane, &stream->end_msg);
}

void rpc_finish(rpc_call *call)
{
    const wm_err *abort_err;

    assert(call->binding->method->server_streaming);
    assert(lane_is_here(call->queue->lane));
    rpc_call_claim(call);
    abort_err = atomic_load_explicit(&call->abort_err, memory_order_acquire);
    if (abort_err != NULL)
        rpc_call_set_status(call, abort_err);
    rpc_place_answered(call, call->stream->sending);
    rpc_limit_leave(call);
    rpc_stream_end(call->stream);
}

/* ---- writing ---- */

static void stream_written(rpc_event *event, bool ok)
{
    rpc_stream *stream = wm_container_of(event, rpc_stream, on_written);

    (void)ok; /* a failed write means that the client is gone; the close says so */
    rpc_hand_over(stream->call->queue, &stream->written_msg);
}

static void stream_write_done(lane_msg *msg)
{
    rpc_stream *stream = wm_container_of(msg, rpc_stream, written_msg);
    rpc_call *call = stream->call;

    grpc_byte_buffer_destroy(stream->sending);
    stream->sending = NULL;
    stream->is_writing = false;
    if (stream->is_ending)
        stream_final_maybe(stream);
    else if (!stream_is_mute(stream) && !stream_is_ended(stream) &&
             call->binding->handler->writable != NULL)
        call->binding->handler->writable(call);
}

bool rpc_is_writable(const rpc_call *call)
{
    return !call->stream->is_writing;
}

bool rpc_send(rpc_call *call, const ProtobufCMessage *message)
{
    rpc_stream *stream = call->stream;
    grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE}};
    size_t skip = call->is_initial_metadata_sent ? 1 : 0;
    wm_err err = {0};

    assert(call->binding->method->server_streaming);
    assert(lane_is_here(call->queue->lane));
    assert(!stream_is_ended(stream));
    if (stream_is_mute(stream) || stream_is_ended(stream))
        return true;
    if (stream->is_writing)
        return false;
    stream->sending = rpc_call_pack(call, message, &err);
    if (stream->sending == NULL) {
        rpc_abort(call, &err);
        return true;
    }
    rpc_initial_metadata_op(call, &ops[0]);
    ops[1].data.send_message.send_message = stream->sending;
    call->is_initial_metadata_sent = true;
    stream->is_writing = true;
    rpc_start_batch(call->core, ops + skip, 2 - skip, &stream->on_written);
    return true;
}

/* ---- reading ---- */

static void stream_read_start(rpc_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    stream->is_read_wanted = false;
    stream->is_reading = true;
    op.data.recv_message.recv_message = &stream->received;
    rpc_start_batch(stream->call->core, &op, 1, &stream->on_read);
}

void rpc_read(rpc_call *call)
{
    rpc_stream *stream = call->stream;

    assert(call->binding->method->client_streaming);
    assert(lane_is_here(call->queue->lane));
    if (stream->is_reading || stream->is_half_closed || stream_is_ended(stream) ||
        rpc_is_cancelled(call))
        return;
    if (stream->is_first_pending) {
        stream->is_first_pending = false;
        stream->is_reading = true;
        stream->read = call->request != NULL ? RPC_READ_MESSAGE : RPC_READ_HALF_CLOSE;
        stream->message = call->request;
        lane_post(call->queue->lane, &stream->read_msg);
        return;
    }
    /* The arena holds the message that is being delivered; the next one comes after it. */
    if (stream->is_in_message)
        stream->is_read_wanted = true;
    else
        stream_read_start(stream);
}

static void stream_read_arrived(rpc_event *event, bool ok)
{
    rpc_stream *stream = wm_container_of(event, rpc_stream, on_read);
    rpc_call *call = stream->call;

    if (!ok || stream->received == NULL) {
        /* The end of the client's half, or of the client. */
        stream->read = !ok || grpc_call_failed_before_recv_message(call->core)
                           ? RPC_READ_GONE
                           : RPC_READ_HALF_CLOSE;
    } else {
        wm_code rc = rpc_call_decode(call, &stream->arena, stream->received, &stream->message,
                                     &stream->read_err);
        stream->read = rc == WM_OK ? RPC_READ_MESSAGE : RPC_READ_BAD;
    }
    if (stream->received != NULL)
        grpc_byte_buffer_destroy(stream->received);
    stream->received = NULL;
    rpc_hand_over(call->queue, &stream->read_msg);
}

static void stream_deliver_message(rpc_stream *stream)
{
    rpc_call *call = stream->call;

    stream->is_in_message = true;
    call->binding->handler->message(call, stream->message);
    stream->is_in_message = false;
    stream->message = NULL;
    wm_arena_reset(&stream->arena);
    if (stream->is_read_wanted && !stream_is_ended(stream) && !rpc_is_cancelled(call))
        stream_read_start(stream);
}

static void stream_read_done(lane_msg *msg)
{
    rpc_stream *stream = wm_container_of(msg, rpc_stream, read_msg);
    rpc_call *call = stream->call;

    stream->is_reading = false;
    if (stream_is_ended(stream) || rpc_is_cancelled(call)) {
        wm_arena_reset(&stream->arena);
        stream_over_maybe(stream);
        return;
    }
    switch (stream->read) {
    case RPC_READ_MESSAGE:
        stream_deliver_message(stream);
        return;
    case RPC_READ_HALF_CLOSE:
        stream->is_half_closed = true;
        if (call->binding->handler->half_closed != NULL)
            call->binding->handler->half_closed(call);
        return;
    case RPC_READ_BAD:
        wm_arena_reset(&stream->arena);
        rpc_abort(call, &stream->read_err);
        return;
    case RPC_READ_GONE:
        return; /* cancelled() is on its way */
    }
}

/* ---- all open streams of a lane ---- */

static void stream_stop(rpc_stream *stream)
{
    wm_err err = {0};

    wm_fail(&err, WM_UNAVAILABLE, "SHUTTING_DOWN", "the server is stopping; connect again");
    err.retry_after_ms = 500;
    rpc_abort(stream->call, &err);
}

void rpc_stream_open(rpc_stream *stream)
{
    rpc_queue *queue = stream->call->queue;

    DL_APPEND(queue->streams, stream);
    stream->is_listed = true;
    atomic_fetch_add_explicit(&queue->stats.streams, 1, memory_order_relaxed);
    if (queue->stopping)
        stream_stop(stream);
}

void rpc_streams_stop(rpc_queue *queue)
{
    rpc_stream *stream;

    queue->stopping = true;
    DL_FOREACH (queue->streams, stream)
        stream_stop(stream);
}

/* A status waits behind the last message, and that for a client that does not read. It
 * shall not wait for ever: a cancelled call ends with the status text alone. */
static void stream_check_ending(rpc_stream *stream, int64_t now_us)
{
    const rpc_call *call = stream->call;
    char text[WM_ERR_MESSAGE_SIZE];
    size_t len = GRPC_SLICE_LENGTH(call->message);

    if (stream->is_final_started || now_us - stream->ending_since_us < RPC_END_WAIT_MS * 1000LL)
        return;
    if (call->code == WM_OK) /* a proper end has the time of an answer (places.c) */
        return;
    if (len >= sizeof(text))
        len = sizeof(text) - 1;
    memcpy(text, GRPC_SLICE_START_PTR(call->message), len);
    text[len] = '\0';
    grpc_call_cancel_with_status(call->core, (grpc_status_code)call->code, text, NULL);
}

void rpc_streams_check(rpc_queue *queue)
{
    const rpc_server *server = queue->server;
    int64_t now_us = wm_monotonic_us();
    rpc_stream *stream;

    DL_FOREACH (queue->streams, stream) {
        if (stream->is_ending) {
            stream_check_ending(stream, now_us);
            continue;
        }
        for (size_t i = 0; i < server->n_interceptors && !stream_is_ended(stream); i++) {
            rpc_interceptor *interceptor = server->interceptors[i];
            if (interceptor->checked != NULL)
                interceptor->checked(interceptor, stream->call);
        }
    }
}
