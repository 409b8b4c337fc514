/* server/dev/issuer_form.c - see issuer_form.h. */
#include "server/dev/issuer_form.h"

#include <string.h>

#include "base/utf8.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Writes the decoded text, which is never longer; returns its length, or -1 for a bad escape. */
static long decode_into(char *to, const char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        int high, low;

        if (text[i] != '%') {
            to[n++] = text[i] == '+' ? ' ' : text[i];
            continue;
        }
        if (len - i < 3 || (high = hex_digit(text[i + 1])) < 0 ||
            (low = hex_digit(text[i + 2])) < 0)
            return -1;
        to[n++] = (char)(high * 16 + low);
        i += 2;
    }
    return (long)n;
}

wm_code issuer_form_decode(wm_arena *arena, const char *text, size_t len, const char **value,
                           wm_err *err)
{
    char *decoded = wm_arena_alloc(arena, len + 1);
    long n = decode_into(decoded, text, len);

    if (n < 0 || wm_utf8_check((const uint8_t *)decoded, (size_t)n) != WM_UTF8_OK)
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "a value is not percent-encoded UTF-8");
    decoded[n] = '\0';
    *value = decoded;
    return WM_OK;
}

wm_code issuer_form_find(wm_arena *arena, const wm_buf *body, const char *name, const char **value,
                         wm_err *err)
{
    size_t name_len = strlen(name);

    *value = NULL;
    if (body->size == 0)
        return WM_OK;
    const char *at = body->data, *end = body->data + body->size;
    for (const char *next; at < end; at = next) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        size_t len = (size_t)((stop ? stop : end) - at);

        next = stop ? stop + 1 : end;
        if (len <= name_len + 1 || at[name_len] != '=' || memcmp(at, name, name_len) != 0)
            continue;
        if (*value)
            return wm_fail_field(err, name, "FIELD_INVALID", "%s comes twice", name);
        wm_code code = issuer_form_decode(arena, at + name_len + 1, len - name_len - 1, value, err);
        if (code != WM_OK)
            return code;
    }
    return WM_OK;
}
