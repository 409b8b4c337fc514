/* server/rpc/answer.c - how a call ends: reply, failure, abort, and the batch that says so.
 *
 * Whoever claims the call first fixes its answer. For unary calls the final batch starts on the
 * thread that answers; for streams stream.c starts it when the last message has left.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "server/rpc/internal.h"

/* A second answer cannot be told from the first one of whoever has the call by now, so going on
 * could show one caller what is another's. */
static void call_answered_twice(const rpc_call *call)
{
    char id[17];

    snprintf(id, sizeof(id), "%016" PRIx64, call->id);
    wm_log(WM_LOG_ERROR, "a call was answered twice", wm_log_s("call", id),
           wm_log_s("method", call->binding->method->path));
    abort();
}

void rpc_call_claim(rpc_call *call)
{
    if (atomic_exchange_explicit(&call->ended, true, memory_order_acq_rel))
        call_answered_twice(call);
}

static void call_set_status(rpc_call *call, const wm_err *err, const wm_err *violations, size_t n)
{
    assert(err->code != WM_OK);
    call->code = err->code;
    rpc_status_pack(err, violations, n, call->queue->server->error_domain, call->id, &call->message,
                    &call->details);
    if (err->code == WM_INTERNAL) {
        char id[17], trace_id[RPC_TRACE_ID_SIZE] = "";
        rpc_trace trace;
        rpc_trace_get(call, &trace);
        if (trace.has_parent)
            rpc_trace_id_format(&trace, trace_id);
        snprintf(id, sizeof(id), "%016" PRIx64, call->id);
        wm_log(WM_LOG_ERROR, "internal error", wm_log_s("call", id), wm_log_s("trace", trace_id),
               wm_log_s("method", call->binding->method->path), wm_log_s("reason", err->reason),
               wm_log_s("error", err->message));
    }
}

void rpc_call_set_status(rpc_call *call, const wm_err *err)
{
    call_set_status(call, err, NULL, 0);
}

static grpc_metadata *metadata_place(rpc_call *call, grpc_metadata **list, size_t n)
{
    if (*list == NULL)
        *list = WM_NEW_ARRAY(&call->arena, grpc_metadata, RPC_REPLY_METADATA_MAX + 1);
    assert(n <= RPC_REPLY_METADATA_MAX);
    return &(*list)[n];
}

static void details_add(rpc_call *call)
{
    grpc_metadata *place;

    if (GRPC_SLICE_LENGTH(call->details) == 0)
        return;
    place = metadata_place(call, &call->trailing, call->n_trailing++);
    place->key = grpc_slice_from_static_string("grpc-status-details-bin");
    place->value = grpc_slice_ref(call->details);
}

void rpc_initial_metadata_op(rpc_call *call, grpc_op *op)
{
    op->op = GRPC_OP_SEND_INITIAL_METADATA;
    op->data.send_initial_metadata.count = call->n_initial;
    op->data.send_initial_metadata.metadata = call->initial;
    /* The core picks the best of what this client takes, perhaps nothing. */
    if (call->binding->compresses) {
        op->data.send_initial_metadata.maybe_compression_level.is_set = 1;
        op->data.send_initial_metadata.maybe_compression_level.level = GRPC_COMPRESS_LEVEL_MED;
    }
}

void rpc_call_final(rpc_call *call)
{
    grpc_op ops[4], *op = ops;

    memset(ops, 0, sizeof(ops));
    details_add(call);
    if (!call->is_initial_metadata_sent) {
        rpc_initial_metadata_op(call, op);
        op++;
    }
    if (call->reply != NULL) {
        op->op = GRPC_OP_SEND_MESSAGE;
        op->data.send_message.send_message = call->reply;
        op++;
    }
    op->op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    op->data.send_status_from_server.status = (grpc_status_code)call->code;
    op->data.send_status_from_server.status_details =
        GRPC_SLICE_LENGTH(call->message) > 0 ? &call->message : NULL;
    op->data.send_status_from_server.trailing_metadata_count = call->n_trailing;
    op->data.send_status_from_server.trailing_metadata = call->trailing;
    op++;
    if (!call->is_close_armed) {
        op->op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        op->data.recv_close_on_server.cancelled = &call->close_cancelled;
        op++;
    }
    /* From here on the call may be gone at any moment. */
    rpc_start_batch(call->core, ops, (size_t)(op - ops), &call->on_final);
}

static void call_end(rpc_call *call)
{
    /* An interceptor that refuses on the loop: see rpc_next(). The loop becomes the home, so that
     * the call outlives the callback it is refused in. */
    if (call->stage != RPC_HANDLED && lane_is_here(call->queue->lane))
        call->on_loop = true;
    rpc_place_answered(call, call->reply);
    rpc_limit_leave(call);
    if (call->stream != NULL)
        rpc_stream_end(call->stream);
    else
        rpc_call_final(call);
}

void rpc_reply(rpc_call *call, const ProtobufCMessage *response)
{
    wm_err *abort_err, err = {0};

    assert(!call->binding->method->server_streaming);
    rpc_call_claim(call);
    abort_err = atomic_load_explicit(&call->abort_err, memory_order_acquire);
    if (abort_err != NULL) {
        rpc_call_set_status(call, abort_err);
    } else {
        call->reply = rpc_call_pack(call, response, &err);
        if (call->reply == NULL)
            rpc_call_set_status(call, &err);
    }
    call_end(call);
}

void rpc_fail_all(rpc_call *call, const wm_err *err, const wm_err *violations, size_t n)
{
    const wm_err *abort_err;

    rpc_call_claim(call);
    abort_err = atomic_load_explicit(&call->abort_err, memory_order_acquire);
    if (abort_err != NULL)
        rpc_call_set_status(call, abort_err);
    else
        call_set_status(call, err, violations, n);
    call_end(call);
}

void rpc_fail(rpc_call *call, const wm_err *err)
{
    rpc_fail_all(call, err, NULL, 0);
}

void rpc_abort(rpc_call *call, const wm_err *err)
{
    wm_err *none = NULL, *copy;

    assert(call->on_loop && lane_is_here(call->queue->lane));
    assert(err->code != WM_OK);
    if (atomic_load_explicit(&call->ended, memory_order_acquire))
        return;
    copy = wm_arena_memdup(&call->arena, err, sizeof(*err));
    /* The first reason stands. */
    if (atomic_compare_exchange_strong_explicit(&call->abort_err, &none, copy, memory_order_acq_rel,
                                                memory_order_acquire))
        rpc_call_cancel(call);
}

static void metadata_add(rpc_call *call, grpc_metadata **list, size_t *n, const char *key,
                         const char *value, size_t len)
{
    grpc_metadata *place;

    assert(*n < RPC_REPLY_METADATA_MAX);
    if (*n >= RPC_REPLY_METADATA_MAX)
        return;
    place = metadata_place(call, list, (*n)++);
    place->key = grpc_slice_from_copied_string(key);
    place->value = grpc_slice_from_copied_buffer(value, len);
    assert(grpc_header_key_is_legal(place->key));
}

void rpc_add_initial_metadata(rpc_call *call, const char *key, const char *value, size_t len)
{
    metadata_add(call, &call->initial, &call->n_initial, key, value, len);
}

void rpc_add_trailing_metadata(rpc_call *call, const char *key, const char *value, size_t len)
{
    metadata_add(call, &call->trailing, &call->n_trailing, key, value, len);
}
