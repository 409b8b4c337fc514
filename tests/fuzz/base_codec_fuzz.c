/* tests/fuzz/base_codec_fuzz.c - what the wire guard passes, protobuf-c must unpack,
 * and what comes out must survive being packed, unpacked and written as JSON.
 */
#include <stdlib.h>

#include "base/codec.h"
#include "base/json.h"
#include "sample.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_again(wm_arena *arena, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = wm_arena_try(arena, size);
    ProtobufCMessage *again;
    wm_err err;
    wm_code code;

    if (packed == NULL)
        return;
    protobuf_c_message_pack(message, packed);
    code = wm_codec_unpack(arena, message->descriptor, packed, size, &again, &err);
    if (code != WM_OK && code != WM_EXHAUSTED)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const ProtobufCMessageDescriptor *descriptor = &waymark__sample__v1__sample__descriptor;
    ProtobufCMessage *message;
    wm_arena arena;
    wm_buf buf;
    wm_err err;
    wm_code code;

    wm_arena_init(&arena, 0);
    code = wm_codec_unpack(&arena, descriptor, bytes, size, &message, &err);
    /* Small input fits the arena, so being refused by protobuf-c alone is a hole in the guard. */
    if (code == WM_EXHAUSTED && size < 64 * 1024)
        abort();
    if (code == WM_OK) {
        wm_buf_init(&buf, 16 * 1024 * 1024);
        wm_json_from_message(&buf, message);
        wm_buf_free(&buf);
        check_again(&arena, message);
    }
    wm_arena_free(&arena);
    return 0;
}
