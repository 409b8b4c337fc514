/* base/random.c - randomness from the kernel, and UUIDv7; see random.h.
 *
 * Each thread keeps a block of random bytes, so that an id costs no system
 * call. A fork() would copy the block: nothing in waymark forks and then makes
 * ids in both processes.
 *
 * UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, version, 12 bits that count
 * up among the ids of one thread in one millisecond (method 1, a counter seeded
 * at random with its top bit clear), variant, 62 random bits.
 */
#include "base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

enum { RANDOM_BLOCK_SIZE = 1024, RANDOM_COUNTER_MAX = 0xFFF };

typedef struct random_block {
    uint8_t bytes[RANDOM_BLOCK_SIZE];
    size_t left;
} random_block;

static _Thread_local random_block random_own;

static void random_kernel(uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t got = getrandom(bytes, size, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            fputs("waymark: the system has no entropy\n", stderr);
            abort();
        }
        bytes += got;
        size -= (size_t)got;
    }
}

void wm_random_bytes(void *bytes, size_t size)
{
    random_block *block = &random_own;

    if (size > RANDOM_BLOCK_SIZE / 4) {
        random_kernel(bytes, size);
        return;
    }
    if (size > block->left) {
        random_kernel(block->bytes, RANDOM_BLOCK_SIZE);
        block->left = RANDOM_BLOCK_SIZE;
    }
    block->left -= size;
    memcpy(bytes, block->bytes + block->left, size);
    /* Bytes are handed out once and do not stay here. */
    explicit_bzero(block->bytes + block->left, size);
}

uint64_t wm_random_below(uint64_t limit)
{
    uint64_t number, ceiling;

    if (limit < 2)
        return 0;
    /* The largest multiple of `limit`; what is above would favour small numbers. */
    ceiling = UINT64_MAX - UINT64_MAX % limit;
    do {
        wm_random_bytes(&number, sizeof(number));
    } while (number >= ceiling);
    return number % limit;
}

typedef struct random_stamp {
    uint64_t ms;
    uint32_t counter;
} random_stamp;

static _Thread_local random_stamp random_last;

static random_stamp random_next_stamp(uint32_t seed)
{
    random_stamp *last = &random_last;
    uint64_t now_ms = (uint64_t)wm_now_us() / 1000;

    if (now_ms > last->ms) {
        last->ms = now_ms;
        last->counter = seed & (RANDOM_COUNTER_MAX >> 1);
    } else if (++last->counter > RANDOM_COUNTER_MAX) {
        /* The counter ran over, or the clock stands still: borrow from the future. */
        last->ms++;
        last->counter = seed & (RANDOM_COUNTER_MAX >> 1);
    }
    return *last;
}

wm_uuid wm_uuid_new(void)
{
    wm_uuid uuid;
    random_stamp stamp;

    wm_random_bytes(uuid.bytes + 6, 10);
    stamp = random_next_stamp((uint32_t)uuid.bytes[6] << 8 | uuid.bytes[7]);
    for (int i = 0; i < 6; i++)
        uuid.bytes[i] = (uint8_t)(stamp.ms >> (40 - 8 * i));
    uuid.bytes[6] = (uint8_t)(0x70 | stamp.counter >> 8);
    uuid.bytes[7] = (uint8_t)(stamp.counter & 0xFF);
    uuid.bytes[8] = (uint8_t)(0x80 | (uuid.bytes[8] & 0x3F));
    return uuid;
}

static bool random_dash_before(int i)
{
    return i == 4 || i == 6 || i == 8 || i == 10;
}

void wm_uuid_format(const wm_uuid *uuid, char text[WM_UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *at = text;

    for (int i = 0; i < 16; i++) {
        if (random_dash_before(i))
            *at++ = '-';
        *at++ = digits[uuid->bytes[i] >> 4];
        *at++ = digits[uuid->bytes[i] & 15];
    }
    *at = '\0';
}

static int random_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool wm_uuid_parse(const char *text, wm_uuid *uuid)
{
    wm_uuid parsed;

    for (int i = 0; i < 16; i++) {
        int high, low;

        if (random_dash_before(i) && *text++ != '-')
            return false;
        high = random_hex(text[0]);
        low = high < 0 ? -1 : random_hex(text[1]);
        if (low < 0)
            return false;
        parsed.bytes[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text != '\0')
        return false;
    *uuid = parsed;
    return true;
}
