/* tests/fuzz/replay.c - runs a fuzz target without libFuzzer: each file of the corpus
 * as it is, then changed at random places, from a fixed seed.
 *
 * So every test run, with gcc and with the sanitizers, exercises the targets a
 * little; the real search is done by the binaries built with -fsanitize=fuzzer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { REPLAY_SIZE_MAX = 1 << 20, REPLAY_CHANGED = 400 };

static uint64_t replay_state = 0x9E3779B97F4A7C15;

/* xorshift64: the same numbers each time. */
static size_t replay_below(size_t limit)
{
    replay_state ^= replay_state << 13;
    replay_state ^= replay_state >> 7;
    replay_state ^= replay_state << 17;
    return (size_t)(replay_state % limit);
}

static size_t replay_change(uint8_t *bytes, size_t size)
{
    size_t changes = 1 + replay_below(4);

    for (size_t i = 0; i < changes && size > 0; i++) {
        size_t at = replay_below(size);

        switch (replay_below(4)) {
        case 0:
            bytes[at] = (uint8_t)replay_below(256);
            break;
        case 1:
            bytes[at] ^= (uint8_t)(1u << replay_below(8));
            break;
        case 2: /* take out */
            memmove(bytes + at, bytes + at + 1, size - at - 1);
            size--;
            break;
        default: /* cut off */
            if (replay_below(4) == 0)
                size = at;
            break;
        }
    }
    return size;
}

/* Each input is a block of its own size, so that ASan sees a read beyond it. */
static void replay_run(const uint8_t *bytes, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1);

    if (exact == NULL)
        abort();
    memcpy(exact, bytes, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

int main(int argc, char **argv)
{
    static uint8_t original[REPLAY_SIZE_MAX], changed[REPLAY_SIZE_MAX];

    if (argc < 2) {
        fprintf(stderr, "usage: %s CORPUS_FILE...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        size_t size;

        if (file == NULL) {
            perror(argv[i]);
            return 1;
        }
        size = fread(original, 1, sizeof(original), file);
        fclose(file);
        replay_run(original, size);
        for (int n = 0; n < REPLAY_CHANGED; n++) {
            memcpy(changed, original, size);
            replay_run(changed, replay_change(changed, size));
        }
    }
    printf("%d files\n", argc - 1);
    return 0;
}
