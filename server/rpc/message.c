/* server/rpc/message.c - bytes of the core to messages of ours, and back.
 *
 * What comes in is measured and goes through the wire guard before anything else sees it; what
 * goes out is packed straight into the slice that the core sends.
 */
#include <assert.h>

#include <grpc/byte_buffer_reader.h>

#include "base/codec.h"
#include "server/rpc/internal.h"

wm_code rpc_call_decode(rpc_call *call, wm_arena *arena, grpc_byte_buffer *bytes,
                        ProtobufCMessage **message, wm_err *err)
{
    size_t size = grpc_byte_buffer_length(bytes), max = call->queue->server->message_size_max;
    const ProtobufCMessageDescriptor *descriptor = call->binding->method->request;
    grpc_byte_buffer_reader reader;
    grpc_slice *first;
    wm_code rc;

    atomic_fetch_add_explicit(&call->queue->stats.received_messages, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&call->queue->stats.received_bytes, size, memory_order_relaxed);
    if (size > max)
        return wm_fail(err, WM_EXHAUSTED, "MESSAGE_TOO_LARGE",
                       "the message has %zu bytes, more than the %zu allowed", size, max);
    if (!grpc_byte_buffer_reader_init(&reader, bytes))
        return wm_fail(err, WM_INVALID, "WIRE_MALFORMED", "the message cannot be read");
    if (size == 0) {
        rc = wm_codec_unpack(arena, descriptor, "", 0, message, err);
    } else if (grpc_byte_buffer_reader_peek(&reader, &first) && GRPC_SLICE_LENGTH(*first) == size) {
        rc = wm_codec_unpack(arena, descriptor, GRPC_SLICE_START_PTR(*first), size, message, err);
    } else {
        grpc_byte_buffer_reader_destroy(&reader);
        if (!grpc_byte_buffer_reader_init(&reader, bytes))
            return wm_fail(err, WM_INVALID, "WIRE_MALFORMED", "the message cannot be read");
        grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
        rc = wm_codec_unpack(arena, descriptor, GRPC_SLICE_START_PTR(all), size, message, err);
        grpc_slice_unref(all);
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return rc;
}

grpc_byte_buffer *rpc_call_pack(rpc_call *call, const ProtobufCMessage *message, wm_err *err)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    size_t max = call->queue->server->message_size_max;
    grpc_byte_buffer *bytes;
    grpc_slice slice;

    assert(message->descriptor == call->binding->method->response);
    if (size > max) {
        wm_fail(err, WM_EXHAUSTED, "MESSAGE_TOO_LARGE",
                "the answer has %zu bytes, more than the %zu allowed; ask for less", size, max);
        return NULL;
    }
    slice = grpc_slice_malloc(size);
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    atomic_fetch_add_explicit(&call->queue->stats.sent_messages, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&call->queue->stats.sent_bytes, size, memory_order_relaxed);
    return bytes;
}
