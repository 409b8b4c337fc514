/* cel/fn_encode.c - base64, with the letters of RFC 4648, section 4, or of section 5 for URLs. */
#include "server/cel/net.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char plain[] = LETTERS "+/", url[] = LETTERS "-_";

static size_t encode(const char *letters, const char *bytes, size_t len, char *to)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t)(unsigned char)bytes[i] << 16;

        if (i + 1 < len)
            group |= (uint32_t)(unsigned char)bytes[i + 1] << 8;
        if (i + 2 < len)
            group |= (unsigned char)bytes[i + 2];
        to[n++] = letters[group >> 18];
        to[n++] = letters[group >> 12 & 63];
        to[n++] = i + 1 < len ? letters[group >> 6 & 63] : '=';
        to[n++] = i + 2 < len ? letters[group & 63] : '=';
    }
    return n;
}

void cel_base64_put(wm_buf *buf, const char *bytes, size_t len)
{
    char four[4];

    for (size_t i = 0; i < len; i += 3)
        wm_buf_add(buf, four, encode(plain, bytes + i, len - i < 3 ? len - i : 3, four));
}

static cel_value encode_with(cel_call *call, const cel_value *bytes, const char *letters)
{
    char *text = cel_alloc(call, ((size_t)bytes->len + 2) / 3 * 4);

    if (!text)
        return cel_fail_memory(call);
    return cel_of_string(text, encode(letters, bytes->as.text, bytes->len, text));
}

static cel_value base64_encode(cel_call *call, const cel_value *args, size_t n)
{
    (void)n;
    return encode_with(call, args, plain);
}

static cel_value base64_encode_url(cel_call *call, const cel_value *args, size_t n)
{
    (void)n;
    return encode_with(call, args, url);
}

static int letter_value(const char *letters, char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == letters[62] ? 62 : c == letters[63] ? 63 : -1;
}

/* With or without its padding. */
static cel_value decode_with(cel_call *call, const cel_value *encoded, const char *letters)
{
    const char *text = encoded->as.text;
    size_t len = encoded->len, bytes = 0;
    char *out = cel_alloc(call, len);
    uint32_t group = 0, bits = 0;

    if (!out)
        return cel_fail_memory(call);
    if (len % 4 == 0)
        for (int i = 0; i < 2 && len > 0 && text[len - 1] == '='; i++)
            len--;
    if (len % 4 == 1)
        return cel_fail(call, CEL_ERROR_ARGUMENT, "the text is not base64");
    for (size_t i = 0; i < len; i++) {
        int value = letter_value(letters, text[i]);

        if (value < 0)
            return cel_fail(call, CEL_ERROR_ARGUMENT, "the text is not base64");
        group = (group << 6 | (uint32_t)value) & 0xffffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[bytes++] = (char)(group >> bits);
        }
    }
    return cel_of_bytes(out, bytes);
}

static cel_value base64_decode(cel_call *call, const cel_value *args, size_t n)
{
    (void)n;
    return decode_with(call, args, plain);
}

static cel_value base64_decode_url(cel_call *call, const cel_value *args, size_t n)
{
    (void)n;
    return decode_with(call, args, url);
}

CEL_TABLE(cel_fn_encode, {"base64.encode", false, false, "y", "s", base64_encode},
          {"base64.decode", false, false, "s", "y", base64_decode},
          {"base64.encodeUrl", false, false, "y", "s", base64_encode_url},
          {"base64.decodeUrl", false, false, "s", "y", base64_decode_url});
