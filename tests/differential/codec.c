/* tests/differential/codec.c - what our codec makes of messages, for codec_test.py to compare.
 *
 *   codec SCHEMA.so
 *
 * The library has the message types of a schema made by schema.py, in `codec_types`, the last NULL.
 * Reads frames from standard input and answers each on standard output, in order:
 *
 *   frame:  uint32 index into codec_types, uint32 size, the bytes      (little-endian)
 *   answer: uint32 1 and the message packed again, or uint32 0 and the reason of the refusal;
 *           each with its uint32 size
 *
 * A message that cannot be packed into what was counted for it aborts the program.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"

enum { FRAME_MAX = 16 * 1024 * 1024 };

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

static void answer(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size)
{
    ProtobufCMessage *message;
    wm_arena arena;
    wm_err err = {0};

    wm_arena_init(&arena, 0);
    wm_code code = wm_codec_unpack(&arena, type, bytes, size, &message, &err);
    if (code == WM_OK) {
        size_t packed_size = protobuf_c_message_get_packed_size(message);
        uint8_t *packed = wm_arena_alloc(&arena, packed_size + 1);

        if (protobuf_c_message_pack(message, packed) != packed_size)
            abort();
        write_answer(1, packed, packed_size);
    } else {
        write_answer(0, err.reason, strlen(err.reason));
    }
    wm_arena_free(&arena);
}

static const ProtobufCMessageDescriptor *const *load_types(const char *library, size_t *len)
{
    void *handle = dlopen(library, RTLD_NOW);
    const ProtobufCMessageDescriptor *const *types = handle ? dlsym(handle, "codec_types") : NULL;

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
    const ProtobufCMessageDescriptor *const *types;
    uint32_t head[2];
    size_t types_len;

    if (argc != 2)
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
        answer(types[head[0]], bytes, head[1]);
        free(bytes);
    }
    return 0;
}
