/* tests/differential/codec.c - what our codec makes of messages, for codec_test.py to compare.
 *
 *   codec SCHEMA.so again|print|read
 *
 * The library has the message types of a schema made by schema.py, in `codec_types`, the last NULL.
 * Reads frames from standard input and answers each on standard output, in order:
 *
 *   frame:  uint32 index into codec_types, uint32 size, the bytes      (little-endian)
 *   answer: uint32 1 and what comes out, or uint32 0 and the reason of the refusal; each with its
 *           uint32 size
 *
 *   again   a message; packed again
 *   print   a message; as JSON
 *   read    JSON; the message packed
 *
 * A message that cannot be packed into what was counted for it aborts the program.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "base/json.h"

enum { FRAME_MAX = 16 * 1024 * 1024 };

typedef ProtobufCMessageDescriptor message_type;

static bool read_all(void *to, size_t size)
{
    return fread(to, 1, size, stdin) == size;
}

static void write_answer(uint32_t accepted, const void *bytes, size_t size)
{
    uint32_t head[2] = {accepted, (uint32_t)size};

    if (fwrite(head, sizeof(head), 1, stdout) != 1 || fwrite(bytes, 1, size, stdout) != size)
        exit(3);
}

static void answer_packed(wm_arena *arena, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = wm_arena_alloc(arena, size + 1);

    if (protobuf_c_message_pack(message, packed) != size)
        abort();
    write_answer(1, packed, size);
}

static void answer_printed(wm_arena *arena, const ProtobufCMessage *message)
{
    wm_buf text;

    (void)arena;
    wm_buf_init(&text, FRAME_MAX);
    wm_json_from_message(&text, message);
    if (text.failed)
        abort();
    write_answer(1, text.data, text.size);
    wm_buf_free(&text);
}

static wm_code read_json(wm_arena *arena, const message_type *type, const uint8_t *bytes,
                         size_t size, ProtobufCMessage **message, wm_err *err)
{
    wm_json *json;
    wm_code code = wm_json_parse(arena, (const char *)bytes, size, &json, err);

    return code == WM_OK ? wm_json_to_message(arena, json, type, message, err) : code;
}

static void answer(const char *mode, const message_type *type, const uint8_t *bytes, size_t size)
{
    ProtobufCMessage *message;
    wm_arena arena;
    wm_err err = {0};

    wm_arena_init(&arena, 0);
    wm_code code = strcmp(mode, "read") == 0
                       ? read_json(&arena, type, bytes, size, &message, &err)
                       : wm_codec_unpack(&arena, type, bytes, size, &message, &err);
    if (code != WM_OK)
        write_answer(0, err.reason, strlen(err.reason));
    else if (strcmp(mode, "print") == 0)
        answer_printed(&arena, message);
    else
        answer_packed(&arena, message);
    wm_arena_free(&arena);
}

static const message_type *const *load_types(const char *library, size_t *len)
{
    void *handle = dlopen(library, RTLD_NOW);
    const message_type *const *types = handle ? dlsym(handle, "codec_types") : NULL;

    if (!types) {
        fprintf(stderr, "%s: %s\n", library, dlerror());
        exit(2);
    }
    for (*len = 0; types[*len]; ++*len)
        continue;
    return types;
}

int main(int argc, char **argv)
{
    const message_type *const *types;
    uint32_t head[2];
    size_t types_len;

    if (argc != 3)
        return 2;
    types = load_types(argv[1], &types_len);
    while (read_all(head, sizeof(head))) {
        uint8_t *bytes;

        if (head[0] >= types_len || head[1] > FRAME_MAX)
            return 2;
        /* Of exactly this size, so that ASan sees a read beyond it. */
        bytes = malloc(head[1]);
        if (!read_all(bytes, head[1]))
            return 2;
        answer(argv[2], types[head[0]], bytes, head[1]);
        free(bytes);
    }
    return 0;
}
