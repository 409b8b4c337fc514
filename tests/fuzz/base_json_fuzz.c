/* tests/fuzz/base_json_fuzz.c - any text may be parsed; what becomes a message is
 * written as JSON that becomes a message again, and that writes the same text.
 */
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/json.h"
#include "sample.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool read_message(wm_arena *arena, const char *text, size_t size, ProtobufCMessage **message)
{
    wm_json *json;
    wm_err err;

    return wm_json_parse(arena, text, size, &json, &err) == WM_OK &&
           wm_json_to_message(arena, json, &waymark__sample__v1__sample__descriptor, message,
                              &err) == WM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    ProtobufCMessage *message;
    wm_arena arena;
    wm_buf once, twice;

    wm_arena_init(&arena, 0);
    wm_buf_init(&once, 16 * 1024 * 1024);
    wm_buf_init(&twice, 16 * 1024 * 1024);
    if (read_message(&arena, (const char *)bytes, size, &message)) {
        wm_json_from_message(&once, message);
        if (!read_message(&arena, once.data, once.size, &message))
            abort();
        wm_json_from_message(&twice, message);
        if (once.size != twice.size || memcmp(once.data, twice.data, once.size) != 0)
            abort();
    }
    wm_buf_free(&once);
    wm_buf_free(&twice);
    wm_arena_free(&arena);
    return 0;
}
