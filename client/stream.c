/* client/stream.c - calls with more than one message.
 *
 * At most four batches are in flight: opening (what the client sends first), ending (initial
 * metadata and status), reading, and writing or closing. The stream's lock guards its flags and
 * is held while a batch is started, so that two threads cannot start two of a kind; callbacks run
 * without it. The stream has ended when the status is there and no batch is left:
 *
 *   opening ──────┐
 *   reading ──────┼──> all done ──> ended() ──> client_call_end()
 *   writing ──────┤
 *   ending ───────┘  (the core completes it after the last message has been read)
 *
 * While the token is awaited nothing is in flight: writes answer false, a read is remembered. A
 * server stream whose token was refused before it brought anything goes back there once.
 *
 * A stream without callbacks serves one thread's _sync calls: what would call back sets a flag
 * and signals instead.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"

struct waymark_stream {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* for _sync calls */
    atomic_uint refs;       /* the handle, and the client until the end */

    unsigned born; /* client_forks at that time */

    const waymark__stream_kind *kind;
    const void *callbacks; /* NULL: a _sync stream */
    void *ctx;

    bool begun; /* batches may be started */
    bool reading, read_wanted;
    bool writing, writable_due;
    bool close_wanted, closed;
    bool has_status;
    bool settling;      /* between an attempt's last event and what follows: start nothing */
    bool ended;         /* and `status` is set */
    unsigned in_flight; /* batches */

    client_event opened_event, read_event, written_event, status_event;
    client_trailer trailer;
    grpc_slice request;      /* of a server stream, for as long as it may be sent */
    grpc_byte_buffer *first; /* of it, until it is sent */
    grpc_byte_buffer *incoming, *outgoing;

    const ProtobufCMessage *message; /* a _sync stream's last, or a client stream's response */
    wm_arena message_arena;
    bool bad_message; /* what was read is not a message; the stream was cancelled for it */
    wm_err bad;
    waymark_status status;
    client_call base; /* last: it ends with the arena */
};

static void stream_free(waymark_stream *stream)
{
    if (stream->incoming != NULL)
        grpc_byte_buffer_destroy(stream->incoming);
    if (stream->first != NULL)
        grpc_byte_buffer_destroy(stream->first);
    grpc_slice_unref(stream->request);
    grpc_metadata_array_destroy(&stream->trailer.initial);
    grpc_metadata_array_destroy(&stream->trailer.trailing);
    wm_arena_free(&stream->message_arena);
    wm_arena_free(&stream->base.arena);
    pthread_cond_destroy(&stream->changed);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

static void stream_release(waymark_stream *stream)
{
    if (atomic_fetch_sub_explicit(&stream->refs, 1, memory_order_acq_rel) == 1)
        stream_free(stream);
}

/* ---- batches; the lock is held ---- */

static void start(waymark_stream *stream, const grpc_op *ops, size_t n, client_event *event)
{
    stream->in_flight++;
    client_batch(stream->base.call, ops, n, event);
}

static void start_read(waymark_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &stream->incoming};

    stream->reading = true;
    start(stream, &op, 1, &stream->read_event);
}

static void start_close(waymark_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};

    stream->closed = true;
    stream->writing = true;
    start(stream, &op, 1, &stream->written_event);
}

static void start_write(waymark_stream *stream, const ProtobufCMessage *message)
{
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    grpc_slice slice = client_pack(message);

    stream->base.n_sent++;
    stream->base.bytes_sent += GRPC_SLICE_LENGTH(slice);
    stream->outgoing = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    stream->writing = true;
    op.data.send_message.send_message = stream->outgoing;
    start(stream, &op, 1, &stream->written_event);
}

static void make_first(waymark_stream *stream)
{
    stream->base.n_sent++;
    stream->base.bytes_sent += GRPC_SLICE_LENGTH(stream->request);
    stream->first = grpc_raw_byte_buffer_create(&stream->request, 1);
    if (!stream->base.repeatable) {
        grpc_slice_unref(stream->request);
        stream->request = grpc_empty_slice();
    }
}

static void start_opening(waymark_stream *stream)
{
    grpc_op ops[3];
    size_t n = 1;

    memset(ops, 0, sizeof(ops));
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].flags = stream->base.flags;
    ops[0].data.send_initial_metadata.metadata =
        client_call_metadata(&stream->base, &ops[0].data.send_initial_metadata.count);
    if (!stream->base.method->client_streaming) {
        make_first(stream);
        ops[1].op = GRPC_OP_SEND_MESSAGE;
        ops[1].data.send_message.send_message = stream->first;
        ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        n = 3;
    }
    start(stream, ops, n, &stream->opened_event);
}

static void start_ending(waymark_stream *stream)
{
    grpc_op ops[2];

    memset(ops, 0, sizeof(ops));
    ops[0].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[0].data.recv_initial_metadata.recv_initial_metadata = &stream->trailer.initial;
    ops[1].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[1].data.recv_status_on_client.trailing_metadata = &stream->trailer.trailing;
    ops[1].data.recv_status_on_client.status = &stream->trailer.code;
    ops[1].data.recv_status_on_client.status_details = &stream->trailer.message;
    start(stream, ops, 2, &stream->status_event);
}

/* ---- the end ---- */

/* Reads what the attempt ended with; the lock is held. */
static void settle(waymark_stream *stream)
{
    client_call *base = &stream->base;
    waymark_status *status = &stream->status;

    if (!stream->has_status) {
        client_call_refusal(base, status);
        return;
    }
    client_status_read(&base->arena, &stream->trailer, base->want_metadata, status);
    grpc_slice_unref(stream->trailer.message);
    if (stream->bad_message)
        client_status_make(&base->arena, WAYMARK_INTERNAL, stream->bad.reason, stream->bad.message,
                           status);
    else if (status->code == WAYMARK_OK && !base->method->server_streaming &&
             stream->message == NULL)
        client_status_make(&base->arena, WAYMARK_INTERNAL, "RESPONSE_MISSING",
                           "the server ended the call without a response", status);
}

/* Back to where a stream is while it waits for its token; the lock is held. A read that was asked
 * for and found the end is asked for still. */
static void rewind_stream(waymark_stream *stream)
{
    stream->read_wanted = stream->read_wanted || stream->reading;
    stream->reading = false;
    stream->begun = false;
    stream->has_status = false;
    stream->settling = false;
    stream->trailer.initial.count = 0;
    stream->trailer.trailing.count = 0;
}

/* Nothing is in flight after an attempt. True: there will be another one. */
static bool again(waymark_stream *stream)
{
    client_call *base = &stream->base;

    if (base->n_received > 0)
        base->repeatable = false; /* the caller has seen some of it */
    /* Before asking: another thread may begin the next attempt at once. It has nothing to read
     * from here, since `status` is written by this thread alone. */
    pthread_mutex_lock(&stream->lock);
    if (base->repeatable)
        rewind_stream(stream);
    pthread_mutex_unlock(&stream->lock);
    return client_call_again(base, &stream->status);
}

/* The last event: nobody else is about, but for the handle. */
static void finish(waymark_stream *stream)
{
    client_call_report(&stream->base, &stream->status); /* before whoever waits may see the end */
    pthread_mutex_lock(&stream->lock);
    if (stream->status.code != WAYMARK_OK && !stream->base.method->server_streaming)
        stream->message = NULL;
    stream->ended = true;
    pthread_mutex_unlock(&stream->lock);
    if (stream->callbacks != NULL)
        stream->kind->ended(stream->callbacks, stream->ctx, stream, &stream->status,
                            stream->base.method->server_streaming ? NULL : stream->message);

    client_call_end(&stream->base, false);
    if (stream->callbacks == NULL) {
        pthread_mutex_lock(&stream->lock);
        pthread_cond_broadcast(&stream->changed);
        pthread_mutex_unlock(&stream->lock);
    }
    stream_release(stream);
}

static void end(waymark_stream *stream)
{
    bool attempted;

    pthread_mutex_lock(&stream->lock);
    attempted = stream->has_status;
    settle(stream);
    pthread_mutex_unlock(&stream->lock);
    if (!attempted || !again(stream))
        finish(stream);
}

/* Every event ends with this. */
static void event_over(waymark_stream *stream)
{
    bool over;

    pthread_mutex_lock(&stream->lock);
    over = --stream->in_flight == 0 && stream->has_status;
    stream->settling = over;
    pthread_mutex_unlock(&stream->lock);
    if (over)
        end(stream);
}

static void stream_refused(client_call *base)
{
    waymark_stream *stream = wm_container_of(base, waymark_stream, base);

    end(stream);
}

/* ---- events ---- */

static void opened(client_event *event, bool ok)
{
    waymark_stream *stream = wm_container_of(event, waymark_stream, opened_event);
    bool tell;

    (void)ok; /* the status says it */
    pthread_mutex_lock(&stream->lock);
    if (stream->first != NULL)
        grpc_byte_buffer_destroy(stream->first);
    stream->first = NULL;
    tell = stream->writable_due && !stream->writing && !stream->has_status;
    stream->writable_due = stream->writable_due && !tell;
    if (stream->callbacks == NULL)
        pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    if (tell)
        stream->kind->writable(stream->callbacks, stream->ctx, stream);
    event_over(stream);
}

static void status_came(client_event *event, bool ok)
{
    waymark_stream *stream = wm_container_of(event, waymark_stream, status_event);

    (void)ok;
    pthread_mutex_lock(&stream->lock);
    stream->has_status = true;
    if (stream->callbacks == NULL)
        pthread_cond_broadcast(&stream->changed); /* nothing can be written any more */
    pthread_mutex_unlock(&stream->lock);
    event_over(stream);
}

static void written(client_event *event, bool ok)
{
    waymark_stream *stream = wm_container_of(event, waymark_stream, written_event);
    bool tell = false;

    (void)ok; /* a failed write ends the stream, and the status says why */
    pthread_mutex_lock(&stream->lock);
    if (stream->outgoing != NULL)
        grpc_byte_buffer_destroy(stream->outgoing);
    stream->outgoing = NULL;
    stream->writing = false;
    if (stream->close_wanted && !stream->closed) {
        start_close(stream);
    } else if (stream->callbacks == NULL) {
        pthread_cond_broadcast(&stream->changed);
    } else {
        tell = stream->writable_due && !stream->closed && !stream->has_status;
        stream->writable_due = false;
    }
    pthread_mutex_unlock(&stream->lock);
    if (tell)
        stream->kind->writable(stream->callbacks, stream->ctx, stream);
    event_over(stream);
}

/* Unpacks what came; a message that cannot be read ends the stream. */
static ProtobufCMessage *take_incoming(waymark_stream *stream)
{
    ProtobufCMessage *message = NULL;

    wm_arena_reset(&stream->message_arena); /* of a _sync stream's last one */
    if (!client_unpack(&stream->message_arena, stream->base.method->response, stream->incoming,
                       &message, &stream->bad)) {
        stream->bad_message = true;
        grpc_call_cancel(stream->base.call, NULL);
    }
    grpc_byte_buffer_destroy(stream->incoming);
    stream->incoming = NULL;
    return message;
}

static void read_done(client_event *event, bool ok)
{
    waymark_stream *stream = wm_container_of(event, waymark_stream, read_event);
    ProtobufCMessage *message = NULL;
    bool keep = stream->callbacks == NULL || !stream->base.method->server_streaming;

    (void)ok;
    /* No lock: nobody reads again, or looks at the message, while `reading` is set. */
    if (stream->incoming != NULL) {
        stream->base.n_received++;
        stream->base.bytes_received += grpc_byte_buffer_length(stream->incoming);
        message = take_incoming(stream);
    }

    pthread_mutex_lock(&stream->lock);
    if (keep)
        stream->message = message;
    /* The end of the messages: stay "reading", so that further reads do nothing. */
    stream->reading = message == NULL || !stream->base.method->server_streaming;
    if (stream->callbacks == NULL)
        pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);

    if (message != NULL && !keep) {
        stream->kind->message(stream->callbacks, stream->ctx, stream, message);
        /* The next message, even when it was asked for in there, is this thread's next event. */
        wm_arena_reset(&stream->message_arena);
    }
    event_over(stream);
}

/* ---- opening ---- */

static void stream_begin(client_call *base)
{
    waymark_stream *stream = wm_container_of(base, waymark_stream, base);

    pthread_mutex_lock(&stream->lock);
    stream->begun = true;
    start_opening(stream);
    start_ending(stream);
    if (stream->read_wanted || !base->method->server_streaming)
        start_read(stream);
    if (stream->close_wanted && !stream->closed)
        start_close(stream);
    pthread_mutex_unlock(&stream->lock);
}

static waymark_stream *stream_new(void)
{
    waymark_stream *stream = malloc(sizeof(*stream));

    if (stream == NULL)
        abort();
    memset(stream, 0, offsetof(waymark_stream, base) + offsetof(client_call, arena));
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
    atomic_init(&stream->refs, 2);
    grpc_metadata_array_init(&stream->trailer.initial);
    grpc_metadata_array_init(&stream->trailer.trailing);
    wm_arena_init(&stream->message_arena, 0);
    wm_arena_init(&stream->base.arena, 0);
    stream->opened_event.run = opened;
    stream->read_event.run = read_done;
    stream->written_event.run = written;
    stream->status_event.run = status_came;
    stream->base.begin = stream_begin;
    stream->base.refused = stream_refused;
    stream->born = atomic_load(&client_forks);
    return stream;
}

/* There is no thread on which it could end later. */
static void end_forked(waymark_stream *stream)
{
    stream->status = client_forked_status;
    stream->ended = true;
    if (stream->callbacks != NULL)
        stream->kind->ended(stream->callbacks, stream->ctx, stream, &stream->status, NULL);
    stream_release(stream);
}

waymark_stream *waymark__stream_open(waymark_client *client, const wm_method *method,
                                     const ProtobufCMessage *request,
                                     const waymark_call_options *options,
                                     const waymark__stream_kind *kind, const void *callbacks,
                                     void *ctx)
{
    waymark_stream *stream = stream_new();

    assert((request != NULL) != method->client_streaming);
    assert(options == NULL || options->call == NULL);
    stream->kind = kind;
    stream->callbacks = callbacks;
    stream->ctx = ctx;
    if (request != NULL) {
        assert(request->descriptor == method->request && "the request is initialised");
        stream->request = client_pack(request);
        stream->close_wanted = stream->closed = true;
    }
    stream->base.method = method;
    if (CLIENT_IS_STALE(client->born))
        end_forked(stream);
    else
        client_call_start(&stream->base, client, method, options, -1);
    return stream;
}

/* ---- what callers do ---- */

/* The lock is held. While an attempt settles, nobody would be left to take the read's event. */
static void ask_to_read(waymark_stream *stream)
{
    if (!stream->begun || stream->settling)
        stream->read_wanted = true;
    else if (!stream->reading && !stream->ended)
        start_read(stream);
}

void waymark_stream_read(waymark_stream *stream)
{
    if (CLIENT_IS_STALE(stream->born))
        return;
    pthread_mutex_lock(&stream->lock);
    ask_to_read(stream);
    pthread_mutex_unlock(&stream->lock);
}

/* Is there anybody left to write to? The lock is held. */
static bool is_over(const waymark_stream *stream)
{
    return stream->ended || stream->has_status;
}

bool waymark__stream_write(waymark_stream *stream, const ProtobufCMessage *message)
{
    bool accepted = true;

    assert(message->descriptor == stream->base.method->request && "the message is initialised");
    if (CLIENT_IS_STALE(stream->born))
        return true; /* dropped */
    pthread_mutex_lock(&stream->lock);
    assert(!stream->close_wanted && !stream->closed && "nothing is written after the close");
    if (is_over(stream)) {
        /* Dropped: ended() comes, or came. */
    } else if (!stream->begun || stream->writing) {
        stream->writable_due = true;
        accepted = false;
    } else {
        start_write(stream, message);
    }
    pthread_mutex_unlock(&stream->lock);
    return accepted;
}

bool waymark_stream_is_writable(waymark_stream *stream)
{
    bool writable;

    if (CLIENT_IS_STALE(stream->born))
        return true;
    pthread_mutex_lock(&stream->lock);
    writable = is_over(stream) || (stream->begun && !stream->writing);
    stream->writable_due = stream->writable_due || !writable;
    pthread_mutex_unlock(&stream->lock);
    return writable;
}

void waymark_stream_close(waymark_stream *stream)
{
    if (CLIENT_IS_STALE(stream->born))
        return;
    pthread_mutex_lock(&stream->lock);
    if (!stream->close_wanted && !is_over(stream)) {
        stream->close_wanted = true;
        if (stream->begun && !stream->writing)
            start_close(stream);
    }
    pthread_mutex_unlock(&stream->lock);
}

void waymark_stream_cancel(waymark_stream *stream)
{
    if (CLIENT_IS_STALE(stream->born))
        return;
    pthread_mutex_lock(&stream->lock);
    if (!stream->ended)
        client_call_cancel(&stream->base);
    pthread_mutex_unlock(&stream->lock);
}

const waymark_status *waymark_stream_status(waymark_stream *stream)
{
    bool ended;

    if (CLIENT_IS_STALE(stream->born))
        return &client_forked_status;
    pthread_mutex_lock(&stream->lock);
    ended = stream->ended;
    pthread_mutex_unlock(&stream->lock);
    return ended ? &stream->status : NULL;
}

void waymark_stream_free(waymark_stream *stream)
{
    if (stream == NULL || CLIENT_IS_STALE(stream->born))
        return;
    waymark_stream_cancel(stream);
    stream_release(stream);
}

/* ---- and wait ---- */

bool waymark__stream_write_sync(waymark_stream *stream, const ProtobufCMessage *message)
{
    bool over;

    assert(stream->callbacks == NULL && "a stream with callbacks does not wait");
    if (CLIENT_IS_STALE(stream->born))
        return false;
    pthread_mutex_lock(&stream->lock);
    while (!is_over(stream) && (!stream->begun || stream->writing))
        pthread_cond_wait(&stream->changed, &stream->lock);
    over = is_over(stream);
    if (!over)
        start_write(stream, message);
    pthread_mutex_unlock(&stream->lock);
    return !over;
}

static const ProtobufCMessage *wait_for_message(waymark_stream *stream)
{
    while (stream->message == NULL && !stream->ended)
        pthread_cond_wait(&stream->changed, &stream->lock);
    return stream->message;
}

const ProtobufCMessage *waymark__stream_read_sync(waymark_stream *stream)
{
    const ProtobufCMessage *message;

    assert(stream->callbacks == NULL && "a stream with callbacks does not wait");
    if (CLIENT_IS_STALE(stream->born))
        return NULL;
    pthread_mutex_lock(&stream->lock);
    stream->message = NULL;
    ask_to_read(stream);
    message = wait_for_message(stream);
    pthread_mutex_unlock(&stream->lock);
    return message;
}

const ProtobufCMessage *waymark__stream_finish_sync(waymark_stream *stream)
{
    const ProtobufCMessage *message;

    assert(stream->callbacks == NULL && "a stream with callbacks does not wait");
    if (CLIENT_IS_STALE(stream->born))
        return NULL;
    waymark_stream_close(stream);
    pthread_mutex_lock(&stream->lock);
    while (!stream->ended)
        pthread_cond_wait(&stream->changed, &stream->lock);
    message = stream->message;
    pthread_mutex_unlock(&stream->lock);
    return message;
}
