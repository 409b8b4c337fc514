/* client/call.c - how every call begins and ends, and unary calls.
 *
 * A unary call is one batch of all six operations, so it costs one event. Its struct, with the
 * arena for what comes back, is kept for the next call.
 */
#include "include/waymark/call.h"

#include <assert.h>
#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"

void client_batch(grpc_call *call, const grpc_op *ops, size_t n, client_event *event)
{
    grpc_call_error error;

    CLIENT_SENT(event);
    error = grpc_call_start_batch(call, ops, n, event, NULL);
    assert(error == GRPC_CALL_OK && "a batch is well formed and alone of its kind");
    (void)error;
}

/* ---- messages ---- */

grpc_byte_buffer *client_pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
    grpc_byte_buffer *buffer;

    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
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

/* ---- beginning and ending, of unary calls and streams ---- */

static void refuse(client_call *call, waymark_code code, const char *reason, const char *why)
{
    call->refused_code = code;
    call->refused_reason = reason;
    snprintf(call->refused_message, sizeof(call->refused_message), "%s", why);
    client_batch(call->call, NULL, 0, &call->refused_event);
}

static void refused_event(client_event *event, bool ok)
{
    client_call *call = wm_container_of(event, client_call, refused_event);

    (void)ok;
    call->refused(call);
}

static void token_ready(token_waiter *waiter, grpc_slice token, const char *reason, const char *why)
{
    client_call *call = wm_container_of(waiter, client_call, waiter);

    if (reason != NULL) {
        refuse(call, WAYMARK_UNAUTHENTICATED, reason, why);
        return;
    }
    call->token = token;
    call->metadata[0].value = token;
    call->begin(call);
}

/* Room for the token and copies of the caller's own. False: a key or value is not allowed. */
static bool fill_metadata(client_call *call, const waymark_call_options *options)
{
    size_t n_own = options != NULL ? options->n_metadata : 0;
    bool token = call->client->credentials != NULL, legal = n_own <= CLIENT_METADATA_MAX;

    call->n_metadata = 0;
    call->metadata = NULL;
    if (!legal || (n_own == 0 && !token))
        return legal;
    call->metadata = WM_NEW_ARRAY(&call->arena, grpc_metadata, n_own + 1);
    memset(call->metadata, 0, (n_own + 1) * sizeof(call->metadata[0]));
    if (token)
        call->metadata[call->n_metadata++].key = grpc_slice_from_static_string("authorization");
    for (size_t i = 0; i < n_own; i++) {
        const waymark_metadata *from = &options->metadata[i];
        grpc_metadata *to = &call->metadata[call->n_metadata++];

        to->key = grpc_slice_from_copied_string(from->key);
        to->value = grpc_slice_from_copied_buffer(from->value, from->size);
        legal = legal && grpc_header_key_is_legal(to->key) &&
                (grpc_is_binary_header(to->key) || grpc_header_nonbin_value_is_legal(to->value));
    }
    return legal;
}

static void drop_metadata(client_call *call)
{
    for (size_t i = call->client->credentials != NULL ? 1 : 0; i < call->n_metadata; i++) {
        grpc_slice_unref(call->metadata[i].key);
        grpc_slice_unref(call->metadata[i].value);
    }
    grpc_slice_unref(call->token);
}

static gpr_timespec deadline_of(const waymark_call_options *options, int64_t timeout_ms)
{
    if (options != NULL && options->timeout_ms != 0)
        timeout_ms = options->timeout_ms;
    if (timeout_ms < 0)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
}

/* Makes the grpc call and links; true when the client is closing. */
static bool open_call(client_call *call, waymark_client *client)
{
    unsigned thread = client->n_threads == 1 ? 0
                                             : atomic_fetch_add_explicit(&client->next_thread, 1,
                                                                         memory_order_relaxed) %
                                                   client->n_threads;
    bool closing;

    call->call = grpc_channel_create_registered_call(
        client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, client->threads[thread].queue,
        client_method_register(client, call->method), call->deadline, NULL);

    pthread_mutex_lock(&client->lock);
    closing = client->closing;
    call->prev = NULL;
    call->next = client->open;
    if (call->next != NULL)
        call->next->prev = call;
    client->open = call;
    pthread_mutex_unlock(&client->lock);
    return closing;
}

void client_call_start(client_call *call, waymark_client *client, const wm_method *method,
                       const waymark_call_options *options, int64_t timeout_ms)
{
    const char *reason, *why;
    bool legal;

    call->client = client;
    call->method = method;
    call->deadline = deadline_of(options, timeout_ms);
    call->flags = options != NULL && options->wait_for_ready
                      ? GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                            GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET
                      : 0;
    call->want_metadata = options != NULL && options->want_metadata;
    call->token = grpc_empty_slice();
    call->waiter.ready = token_ready;
    call->refused_event.run = refused_event;
    legal = fill_metadata(call, options);

    if (open_call(call, client)) {
        refuse(call, WAYMARK_CANCELLED, "CLIENT_CLOSING", "the client is being freed");
        return;
    }
    if (!legal) {
        refuse(call, WAYMARK_INVALID_ARGUMENT, "METADATA_INVALID",
               "too much metadata, or a key or value that HTTP does not allow");
        return;
    }
    if (client->credentials == NULL) {
        call->begin(call);
        return;
    }
    switch (credentials_get(client->credentials, &call->waiter, &call->token, &reason, &why)) {
    case TOKEN_READY:
        call->metadata[0].value = call->token;
        call->begin(call);
        break;
    case TOKEN_REFUSED:
        refuse(call, WAYMARK_UNAUTHENTICATED, reason, why);
        break;
    case TOKEN_AWAITED:
        break; /* token_ready() goes on, and may have done so already */
    }
}

void client_call_cancel(client_call *call)
{
    grpc_call_cancel(call->call, NULL);
    if (call->client->credentials != NULL &&
        credentials_forget(call->client->credentials, &call->waiter))
        refuse(call, WAYMARK_CANCELLED, "", "cancelled");
}

bool client_call_end(client_call *call, bool recycle)
{
    waymark_client *client = call->client;
    grpc_call *grpc_call = call->call;
    bool kept = false;

    drop_metadata(call);
    if (recycle)
        wm_arena_reset(&call->arena);

    pthread_mutex_lock(&client->lock);
    if (call->prev != NULL)
        call->prev->next = call->next;
    else
        client->open = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    if (recycle && client->n_free_calls < CLIENT_FREE_CALLS_MAX) {
        call->next = client->free_calls;
        client->free_calls = call;
        client->n_free_calls++;
        kept = true;
    }
    if (client->open == NULL && client->closing)
        pthread_cond_signal(&client->idle);
    pthread_mutex_unlock(&client->lock);

    /* Only now: whoever cancels everything finds linked calls alive. The client stays until
     * this thread has been joined. */
    grpc_call_unref(grpc_call);
    return kept;
}

/* ---- unary ---- */

struct waymark_call {
    client_trailer trailer; /* its arrays keep their room from call to call */
    client_event event;
    grpc_byte_buffer *request, *response;
    waymark__unary_done trampoline;
    waymark__function done;
    void *ctx;
    waymark_reply *reply; /* a _sync call's */
    /* Of a call with a handle: the handle and the client each have a reference. */
    bool has_handle;
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

static waymark_call *unary_take(waymark_client *client)
{
    client_call *base;
    waymark_call *call;

    pthread_mutex_lock(&client->lock);
    base = client->free_calls;
    if (base != NULL) {
        client->free_calls = base->next;
        client->n_free_calls--;
    }
    pthread_mutex_unlock(&client->lock);

    if (base != NULL)
        return wm_container_of(base, waymark_call, base);
    call = malloc(sizeof(*call));
    if (call == NULL)
        abort();
    grpc_metadata_array_init(&call->trailer.initial);
    grpc_metadata_array_init(&call->trailer.trailing);
    return call;
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

static void reply_complete(waymark_reply *reply)
{
    pthread_mutex_lock(&reply->lock);
    reply->is_there = true;
    pthread_cond_signal(&reply->came);
    pthread_mutex_unlock(&reply->lock);
}

static void unary_release(waymark_call *call)
{
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1)
        unary_free(call);
}

/* After the callback: everything but the memory goes, and that too unless it is kept. */
static void unary_end(waymark_call *call)
{
    waymark_reply *reply = call->reply;
    bool has_handle = call->has_handle;

    if (call->response != NULL)
        grpc_byte_buffer_destroy(call->response);
    if (call->request != NULL)
        grpc_byte_buffer_destroy(call->request);
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

    client_status_make(&base->arena, base->refused_code, base->refused_reason,
                       base->refused_message, &status);
    unary_deliver(call, &status, NULL);
}

static void unary_done(client_event *event, bool ok)
{
    waymark_call *call = wm_container_of(event, waymark_call, event);
    client_call *base = &call->base;
    ProtobufCMessage *response = NULL;
    waymark_status status;
    wm_err err;

    (void)ok; /* a batch with a status in it always succeeds */
    client_status_read(&base->arena, &call->trailer, base->want_metadata, &status);
    grpc_slice_unref(call->trailer.message);
    if (status.code == WAYMARK_OK) {
        if (call->response == NULL)
            client_status_make(&base->arena, WAYMARK_INTERNAL, "RESPONSE_MISSING",
                               "the server ended the call without a response", &status);
        else if (!client_unpack(&base->arena, base->method->response, call->response, &response,
                                &err))
            client_status_make(&base->arena, WAYMARK_INTERNAL, err.reason, err.message, &status);
    } else if (status.code == WAYMARK_UNAUTHENTICATED && base->client->credentials != NULL) {
        credentials_refused(base->client->credentials, &base->token);
    }
    unary_deliver(call, &status, response);
}

static void unary_begin(client_call *base)
{
    waymark_call *call = wm_container_of(base, waymark_call, base);
    grpc_op ops[6];

    memset(ops, 0, sizeof(ops));
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].flags = base->flags;
    ops[0].data.send_initial_metadata.count = base->n_metadata;
    ops[0].data.send_initial_metadata.metadata = base->metadata;
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
    call->trailer.initial.count = 0;
    call->trailer.trailing.count = 0;
    call->event.run = unary_done;
    call->request = client_pack(request);
    call->base.begin = unary_begin;
    call->base.refused = unary_refused;
    call->base.cancel = client_call_cancel;
    client_call_start(&call->base, client, method, options, client->timeout_ms);
}

void waymark__unary(waymark_client *client, const wm_method *method,
                    const ProtobufCMessage *request, const waymark_call_options *options,
                    waymark__unary_done trampoline, waymark__function done, void *ctx)
{
    waymark_call *call = unary_take(client);

    unary_init(call);
    call->trampoline = trampoline;
    call->done = done;
    call->ctx = ctx;
    if (options != NULL && options->call != NULL) {
        call->has_handle = true;
        atomic_init(&call->refs, 2);
        pthread_mutex_init(&call->lock, NULL);
        *options->call = call;
    }
    unary_start(call, client, method, request, options);
}

void waymark_call_cancel(waymark_call *call)
{
    pthread_mutex_lock(&call->lock);
    if (!call->ended)
        client_call_cancel(&call->base);
    pthread_mutex_unlock(&call->lock);
}

void waymark_call_free(waymark_call *call)
{
    if (call != NULL)
        unary_release(call);
}

/* ---- and wait ---- */

const ProtobufCMessage *waymark__unary_sync(waymark_client *client, const wm_method *method,
                                            const ProtobufCMessage *request,
                                            const waymark_call_options *options,
                                            waymark_reply **made)
{
    waymark_reply *reply = malloc(sizeof(*reply));

    assert(options == NULL || options->call == NULL);
    if (reply == NULL)
        abort();
    pthread_mutex_init(&reply->lock, NULL);
    pthread_cond_init(&reply->came, NULL);
    reply->is_there = false;
    grpc_metadata_array_init(&reply->call.trailer.initial);
    grpc_metadata_array_init(&reply->call.trailer.trailing);
    unary_init(&reply->call);
    reply->call.reply = reply;
    unary_start(&reply->call, client, method, request, options);

    pthread_mutex_lock(&reply->lock);
    while (!reply->is_there)
        pthread_cond_wait(&reply->came, &reply->lock);
    pthread_mutex_unlock(&reply->lock);
    *made = reply;
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
    grpc_metadata_array_destroy(&reply->call.trailer.initial);
    grpc_metadata_array_destroy(&reply->call.trailer.trailing);
    wm_arena_free(&reply->call.base.arena);
    pthread_cond_destroy(&reply->came);
    pthread_mutex_destroy(&reply->lock);
    free(reply);
}
