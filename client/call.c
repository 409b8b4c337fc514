/* client/call.c - unary calls.
 *
 * A unary call is one batch of all six operations, so it costs one event. Its struct, with the
 * arena for what comes back, is kept for the next call. What was sent is kept as well when it may
 * have to be sent again.
 */
#include "include/waymark/call.h"

#include <assert.h>
#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"

/* ---- messages ---- */

grpc_slice client_pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));

    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    return slice;
}

bool client_unpack(wm_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                   grpc_byte_buffer *buffer, ProtobufCMessage **message, wm_err *err)
{
    grpc_byte_buffer_reader reader;
    grpc_slice slice;
    bool whole = false;
    wm_code code;

    if (!grpc_byte_buffer_reader_init(&reader, buffer)) {
        wm_fail(err, WM_INVALID, "WIRE_MALFORMED", "the message cannot be read");
        return false;
    }
    /* Small messages are one slice; then nothing is copied. */
    if (buffer->type == GRPC_BB_RAW && buffer->data.raw.compression == GRPC_COMPRESS_NONE &&
        buffer->data.raw.slice_buffer.count == 1)
        slice = buffer->data.raw.slice_buffer.slices[0];
    else {
        slice = grpc_byte_buffer_reader_readall(&reader);
        whole = true;
    }
    code = wm_codec_unpack(arena, descriptor, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice),
                           message, err);
    if (whole)
        grpc_slice_unref(slice);
    grpc_byte_buffer_reader_destroy(&reader);
    return code == WM_OK;
}

/* ---- unary ---- */

struct waymark_call {
    client_trailer trailer; /* its arrays keep their room from call to call */
    client_event event;
    grpc_slice packed; /* the request, for as long as it may be sent */
    grpc_byte_buffer *request, *response;
    waymark__unary_done trampoline;
    waymark__function done;
    void *ctx;
    waymark_reply *reply; /* a _sync call's */
    /* Of a call with a handle: the handle has a reference, and the client or the reply. */
    bool has_handle;
    unsigned born; /* client_forks at that time */
    atomic_uint refs;
    pthread_mutex_t lock; /* for `ended` and base.call against waymark_call_cancel() */
    bool ended;
    client_call base; /* last: it ends with the arena */
};

struct waymark_reply {
    pthread_mutex_t lock;
    pthread_cond_t came;
    bool is_there;
    waymark_status status;
    const ProtobufCMessage *response;
    waymark_call call;
};

static void unary_init(waymark_call *call)
{
    memset((char *)call + offsetof(waymark_call, event), 0,
           offsetof(waymark_call, base) + offsetof(client_call, arena) -
               offsetof(waymark_call, event));
    wm_arena_init(&call->base.arena, 0);
}

static waymark_call *unary_alloc(void)
{
    waymark_call *call = malloc(sizeof(*call));

    if (call == NULL)
        abort();
    grpc_metadata_array_init(&call->trailer.initial);
    grpc_metadata_array_init(&call->trailer.trailing);
    return call;
}

static waymark_call *unary_take(waymark_client *client)
{
    client_call *base;

    pthread_mutex_lock(&client->lock);
    base = client->free_calls;
    if (base != NULL) {
        client->free_calls = base->next;
        client->n_free_calls--;
    }
    pthread_mutex_unlock(&client->lock);

    return base != NULL ? wm_container_of(base, waymark_call, base) : unary_alloc();
}

static void unary_free(waymark_call *call)
{
    grpc_metadata_array_destroy(&call->trailer.initial);
    grpc_metadata_array_destroy(&call->trailer.trailing);
    wm_arena_free(&call->base.arena);
    if (call->has_handle)
        pthread_mutex_destroy(&call->lock);
    free(call);
}

void client_calls_free(waymark_client *client)
{
    while (client->free_calls != NULL) {
        client_call *base = client->free_calls;

        client->free_calls = base->next;
        unary_free(wm_container_of(base, waymark_call, base));
    }
}

static void reply_free(waymark_reply *reply)
{
    grpc_metadata_array_destroy(&reply->call.trailer.initial);
    grpc_metadata_array_destroy(&reply->call.trailer.trailing);
    wm_arena_free(&reply->call.base.arena);
    if (reply->call.has_handle)
        pthread_mutex_destroy(&reply->call.lock);
    pthread_cond_destroy(&reply->came);
    pthread_mutex_destroy(&reply->lock);
    free(reply);
}

static void reply_complete(waymark_reply *reply)
{
    pthread_mutex_lock(&reply->lock);
    reply->is_there = true;
    pthread_cond_signal(&reply->came);
    pthread_mutex_unlock(&reply->lock);
}

static void unary_release(waymark_call *call)
{
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (call->reply != NULL)
        reply_free(call->reply);
    else
        unary_free(call);
}

static void drop_request(waymark_call *call)
{
    if (call->request != NULL)
        grpc_byte_buffer_destroy(call->request);
    call->request = NULL;
}

/* After the callback: everything but the memory goes, and that too unless it is kept. */
static void unary_end(waymark_call *call)
{
    waymark_reply *reply = call->reply;
    bool has_handle = call->has_handle;

    if (call->response != NULL)
        grpc_byte_buffer_destroy(call->response);
    drop_request(call);
    grpc_slice_unref(call->packed);
    if (has_handle) {
        pthread_mutex_lock(&call->lock);
        call->ended = true;
        pthread_mutex_unlock(&call->lock);
    }
    if (!client_call_end(&call->base, reply == NULL && !has_handle) && reply == NULL) {
        if (has_handle)
            unary_release(call);
        else
            unary_free(call);
    }
    if (reply != NULL)
        reply_complete(reply);
}

static void unary_deliver(waymark_call *call, const waymark_status *status,
                          const ProtobufCMessage *response)
{
    client_call_report(&call->base, status);
    if (call->reply != NULL) {
        call->reply->status = *status;
        call->reply->response = response;
    } else {
        call->trampoline(call->done, call->ctx, status, response);
    }
    unary_end(call);
}

static void unary_refused(client_call *base)
{
    waymark_call *call = wm_container_of(base, waymark_call, base);
    waymark_status status;

    client_call_refusal(base, &status);
    unary_deliver(call, &status, NULL);
}

/* What an attempt brought. */
static void read_attempt(waymark_call *call, waymark_status *status, ProtobufCMessage **response)
{
    client_call *base = &call->base;
    wm_err err;

    client_status_read(&base->arena, &call->trailer, base->want_metadata, status);
    grpc_slice_unref(call->trailer.message);
    if (call->response != NULL) {
        base->n_received++;
        base->bytes_received += grpc_byte_buffer_length(call->response);
    }
    if (status->code != WAYMARK_OK)
        return;
    if (call->response == NULL)
        client_status_make(&base->arena, WAYMARK_INTERNAL, "RESPONSE_MISSING",
                           "the server ended the call without a response", status);
    else if (!client_unpack(&base->arena, base->method->response, call->response, response, &err))
        client_status_make(&base->arena, WAYMARK_INTERNAL, err.reason, err.message, status);
}

static void unary_done(client_event *event, bool ok)
{
    waymark_call *call = wm_container_of(event, waymark_call, event);
    ProtobufCMessage *response = NULL;
    waymark_status status;

    (void)ok; /* a batch with a status in it always succeeds */
    read_attempt(call, &status, &response);
    if (!client_call_again(&call->base, &status))
        unary_deliver(call, &status, response);
}

static void begin_anew(waymark_call *call)
{
    drop_request(call);
    if (call->response != NULL)
        grpc_byte_buffer_destroy(call->response);
    call->response = NULL;
    call->trailer.initial.count = 0;
    call->trailer.trailing.count = 0;
    call->request = grpc_raw_byte_buffer_create(&call->packed, 1);
    if (!call->base.repeatable) {
        grpc_slice_unref(call->packed);
        call->packed = grpc_empty_slice();
    }
}

static void unary_begin(client_call *base)
{
    waymark_call *call = wm_container_of(base, waymark_call, base);
    grpc_op ops[6];

    begin_anew(call);
    base->n_sent++;
    base->bytes_sent += grpc_byte_buffer_length(call->request);
    memset(ops, 0, sizeof(ops));
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].flags = base->flags;
    ops[0].data.send_initial_metadata.metadata =
        client_call_metadata(base, &ops[0].data.send_initial_metadata.count);
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = call->request;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->trailer.initial;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &call->response;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &call->trailer.trailing;
    ops[5].data.recv_status_on_client.status = &call->trailer.code;
    ops[5].data.recv_status_on_client.status_details = &call->trailer.message;
    client_batch(base->call, ops, WM_ARRAY_LEN(ops), &call->event);
}

static void unary_start(waymark_call *call, waymark_client *client, const wm_method *method,
                        const ProtobufCMessage *request, const waymark_call_options *options)
{
    assert(request->descriptor == method->request && "the request is initialised and of its type");
    call->event.run = unary_done;
    call->packed = client_pack(request);
    call->base.begin = unary_begin;
    call->base.refused = unary_refused;
    client_call_start(&call->base, client, method, options, client->timeout_ms);
}

static void give_handle(waymark_call *call, const waymark_call_options *options)
{
    if (options == NULL || options->call == NULL)
        return;
    call->has_handle = true;
    call->born = atomic_load(&client_forks);
    atomic_init(&call->refs, 2);
    pthread_mutex_init(&call->lock, NULL);
    *options->call = call;
}

static void unary_async(waymark_client *client, const wm_method *method,
                        const ProtobufCMessage *request, const waymark_call_options *options,
                        waymark__unary_done trampoline, waymark__function done, void *ctx)
{
    waymark_call *call = unary_take(client);

    unary_init(call);
    call->trampoline = trampoline;
    call->done = done;
    call->ctx = ctx;
    give_handle(call, options);
    unary_start(call, client, method, request, options);
}

/* A handle for a call that is over before it began. */
static void give_dead_handle(const waymark_call_options *options)
{
    if (options == NULL || options->call == NULL)
        return;
    *options->call = unary_alloc();
    unary_init(*options->call);
    give_handle(*options->call, options);
    (*options->call)->ended = true;
    atomic_store(&(*options->call)->refs, 1);
}

void waymark__unary(waymark_client *client, const wm_method *method,
                    const ProtobufCMessage *request, const waymark_call_options *options,
                    waymark__unary_done trampoline, waymark__function done, void *ctx)
{
    if (!CLIENT_IS_STALE(client->born)) {
        unary_async(client, method, request, options, trampoline, done, ctx);
        return;
    }
    give_dead_handle(options);
    trampoline(done, ctx, &client_forked_status, NULL);
}

void waymark_call_cancel(waymark_call *call)
{
    if (CLIENT_IS_STALE(call->born))
        return;
    pthread_mutex_lock(&call->lock);
    if (!call->ended)
        client_call_cancel(&call->base);
    pthread_mutex_unlock(&call->lock);
}

void waymark_call_free(waymark_call *call)
{
    if (call != NULL && !CLIENT_IS_STALE(call->born))
        unary_release(call);
}

/* ---- and wait ---- */

static waymark_reply *reply_new(const waymark_call_options *options)
{
    waymark_reply *reply = malloc(sizeof(*reply));

    if (reply == NULL)
        abort();
    pthread_mutex_init(&reply->lock, NULL);
    pthread_cond_init(&reply->came, NULL);
    reply->is_there = false;
    reply->response = NULL;
    grpc_metadata_array_init(&reply->call.trailer.initial);
    grpc_metadata_array_init(&reply->call.trailer.trailing);
    unary_init(&reply->call);
    reply->call.reply = reply;
    give_handle(&reply->call, options);
    return reply;
}

const ProtobufCMessage *waymark__unary_sync(waymark_client *client, const wm_method *method,
                                            const ProtobufCMessage *request,
                                            const waymark_call_options *options,
                                            waymark_reply **made)
{
    waymark_reply *reply = reply_new(options);

    *made = reply;
    if (CLIENT_IS_STALE(client->born)) {
        reply->call.ended = true;
        reply->status = client_forked_status;
        return NULL;
    }
    unary_start(&reply->call, client, method, request, options);
    pthread_mutex_lock(&reply->lock);
    while (!reply->is_there)
        pthread_cond_wait(&reply->came, &reply->lock);
    pthread_mutex_unlock(&reply->lock);
    return reply->response;
}

const waymark_status *waymark_reply_status(const waymark_reply *reply)
{
    return &reply->status;
}

void waymark_reply_free(waymark_reply *reply)
{
    if (reply == NULL)
        return;
    if (reply->call.has_handle)
        unary_release(&reply->call);
    else
        reply_free(reply);
}
