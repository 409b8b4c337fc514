/* base/utf8.c - checks UTF-8 (RFC 3629), eight ASCII bytes at a time. */
#include "base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define UTF8_HIGH_BITS UINT64_C(0x8080808080808080)
#define UTF8_LOW_BITS UINT64_C(0x0101010101010101)

/* True when all eight bytes are in 0x01..0x7f. */
static bool utf8_plain8(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    /* A byte of zero borrows and so gets its high bit set. */
    return ((word | (word - UTF8_LOW_BITS)) & UTF8_HIGH_BITS) == 0;
}

static bool utf8_tail(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* The length of the multi-byte character at `at`, or 0 when it is not one. */
static size_t utf8_long_char(const uint8_t *at, size_t left)
{
    uint8_t lead = at[0];

    if (lead >= 0xC2 && lead <= 0xDF)
        return left >= 2 && utf8_tail(at[1]) ? 2 : 0;
    if ((lead & 0xF0) == 0xE0) {
        if (left < 3 || !utf8_tail(at[1]) || !utf8_tail(at[2]))
            return 0;
        if ((lead == 0xE0 && at[1] < 0xA0) || (lead == 0xED && at[1] > 0x9F))
            return 0;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (left < 4 || !utf8_tail(at[1]) || !utf8_tail(at[2]) || !utf8_tail(at[3]))
            return 0;
        if ((lead == 0xF0 && at[1] < 0x90) || (lead == 0xF4 && at[1] > 0x8F))
            return 0;
        return 4;
    }
    return 0;
}

wm_utf8 wm_utf8_check(const void *text, size_t len)
{
    const uint8_t *at = text;
    const uint8_t *end = at + len;

    while (at < end) {
        size_t step;

        if (end - at >= 8 && utf8_plain8(at)) {
            at += 8;
            continue;
        }
        if (*at == 0)
            return WM_UTF8_NUL;
        step = *at < 0x80 ? 1 : utf8_long_char(at, (size_t)(end - at));
        if (step == 0)
            return WM_UTF8_BAD;
        at += step;
    }
    return WM_UTF8_OK;
}
