/* server/auth/jose.c - strict readers for JWS and JWK texts; see jose.h.
 *
 * Must not verify anything and must not trust anything: a JWS that was read here is still an
 * attacker's text until token.c has checked its signature.
 */
#include "server/auth/jose.h"

#include <string.h>

static const jose_alg JOSE_ALGS[] = {
    {"RS256", JOSE_RSA_PKCS1, 256, NULL, 0},     {"RS384", JOSE_RSA_PKCS1, 384, NULL, 0},
    {"RS512", JOSE_RSA_PKCS1, 512, NULL, 0},     {"PS256", JOSE_RSA_PSS, 256, NULL, 0},
    {"PS384", JOSE_RSA_PSS, 384, NULL, 0},       {"PS512", JOSE_RSA_PSS, 512, NULL, 0},
    {"ES256", JOSE_ECDSA, 256, "P-256", 2 * 32}, {"ES384", JOSE_ECDSA, 384, "P-384", 2 * 48},
    {"ES512", JOSE_ECDSA, 512, "P-521", 2 * 66},
};

const jose_alg *jose_alg_find(const char *name)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(JOSE_ALGS); i++)
        if (strcmp(name, JOSE_ALGS[i].name) == 0)
            return &JOSE_ALGS[i];
    return NULL;
}

/* ---- base64url ---- */

static int base64url_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-')
        return 62;
    return c == '_' ? 63 : -1;
}

bool jose_base64url_decode(wm_arena *arena, const char *text, size_t len, const uint8_t **bytes,
                           size_t *size)
{
    if (len % 4 == 1)
        return false;
    uint8_t *out = wm_arena_try(arena, len / 4 * 3 + 3);
    if (!out)
        return false;

    size_t n = 0;
    uint32_t bits = 0;
    unsigned n_bits = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = base64url_digit(text[i]);
        if (digit < 0)
            return false;
        bits = (bits << 6 | (uint32_t)digit) & 0xffff;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    /* Bits beyond the last byte must be zero, or one signature would have several texts. */
    if (bits & ((1u << n_bits) - 1))
        return false;
    *bytes = out;
    *size = n;
    return true;
}

void jose_base64url_encode(wm_buf *buf, const void *bytes, size_t size)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *in = bytes;
    uint32_t bits = 0;
    unsigned n_bits = 0;

    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | in[i];
        for (n_bits += 8; n_bits >= 6; n_bits -= 6)
            wm_buf_char(buf, DIGITS[bits >> (n_bits - 6) & 63]);
    }
    if (n_bits > 0)
        wm_buf_char(buf, DIGITS[bits << (6 - n_bits) & 63]);
}

/* ---- JWS ---- */

static wm_code malformed(wm_err *err, const char *what)
{
    return wm_fail(err, WM_UNAUTHENTICATED, "TOKEN_MALFORMED", "the token is not a compact JWT: %s",
                   what);
}

/* A member that must be a string when it is there. False: it is something else. */
static bool optional_text(const wm_json *object, const char *name, const char **text)
{
    const wm_json *member = wm_json_find(object, name);

    *text = NULL;
    if (!member)
        return true;
    if (member->kind != WM_JSON_STRING)
        return false;
    *text = member->text;
    return true;
}

static wm_code header_read(const wm_json *header, jose_jws *jws, wm_err *err)
{
    const wm_json *alg = wm_json_find(header, "alg");

    if (!alg || alg->kind != WM_JSON_STRING)
        return wm_fail(err, WM_UNAUTHENTICATED, "TOKEN_ALGORITHM", "the token names no algorithm");
    jws->alg = jose_alg_find(alg->text);
    if (!jws->alg)
        return wm_fail(err, WM_UNAUTHENTICATED, "TOKEN_ALGORITHM",
                       "the token's algorithm is not one of RS, PS or ES 256, 384, 512");
    /* An extension that must be understood (RFC 7515, 4.1.11), and the one that changes
     * what is signed (RFC 7797). We understand none. */
    if (wm_json_find(header, "crit") || wm_json_find(header, "b64"))
        return malformed(err, "its header has a critical extension");
    if (!optional_text(header, "kid", &jws->kid))
        return malformed(err, "its kid is not a string");
    if (!optional_text(header, "typ", &jws->typ))
        return malformed(err, "its typ is not a string");
    return WM_OK;
}

wm_code jose_jws_read(wm_arena *arena, const char *text, size_t len, jose_jws *jws, wm_err *err)
{
    const char *dots[2];
    size_t n_dots = 0;
    const uint8_t *header, *signature;
    size_t header_size;
    wm_json *json;

    *jws = (jose_jws){0};
    if (len > JOSE_TEXT_MAX)
        return malformed(err, "it is longer than 16 KiB");
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '.')
            continue;
        if (n_dots == 2)
            return malformed(err, "it has more than three parts");
        dots[n_dots++] = text + i;
    }
    if (n_dots != 2)
        return malformed(err, "it has fewer than three parts");

    const char *payload = dots[0] + 1, *last = dots[1] + 1;
    if (!jose_base64url_decode(arena, text, (size_t)(dots[0] - text), &header, &header_size) ||
        !jose_base64url_decode(arena, payload, (size_t)(dots[1] - payload), &jws->payload,
                               &jws->payload_size) ||
        !jose_base64url_decode(arena, last, (size_t)(text + len - last), &signature,
                               &jws->signature_size))
        return malformed(err, "a part is not base64url");
    if (wm_json_parse(arena, (const char *)header, header_size, &json, NULL) != WM_OK ||
        json->kind != WM_JSON_OBJECT)
        return malformed(err, "its header is not a JSON object");
    wm_code code = header_read(json, jws, err);
    if (code != WM_OK)
        return code;
    if (jws->signature_size == 0)
        return malformed(err, "it has no signature");
    return WM_OK;
}

/* ---- JWK ---- */

static wm_code bad_key(wm_err *err, const char *what)
{
    return wm_fail(err, WM_INVALID, "FIELD_INVALID", "the key cannot be used: %s", what);
}

static bool list_has(const wm_json *list, const char *text)
{
    for (const wm_json *item = list->first; item; item = item->next)
        if (item->kind == WM_JSON_STRING && strcmp(item->text, text) == 0)
            return true;
    return false;
}

/* `alg` of a key. "ES521" is how many write ES512, after its curve. */
static wm_code alg_read(const wm_json *json, jose_jwk *jwk, wm_err *err)
{
    const char *name;

    if (!optional_text(json, "alg", &name))
        return bad_key(err, "alg is not a string");
    if (!name)
        return WM_OK;
    jwk->alg = jose_alg_find(strcmp(name, "ES521") == 0 ? "ES512" : name);
    if (!jwk->alg)
        return bad_key(err, "it is for another algorithm");
    if ((jwk->alg->family != JOSE_ECDSA) != jwk->is_rsa)
        return bad_key(err, "kty and alg contradict each other");
    if (!jwk->is_rsa && strcmp(jwk->alg->curve, jwk->curve) != 0)
        return bad_key(err, "crv and alg contradict each other");
    return WM_OK;
}

static wm_code purpose_check(const wm_json *json, wm_err *err)
{
    const char *use;
    const wm_json *key_ops = wm_json_find(json, "key_ops");

    if (!optional_text(json, "use", &use) || (use && strcmp(use, "sig") != 0))
        return bad_key(err, "use is not \"sig\"");
    if (key_ops && (key_ops->kind != WM_JSON_ARRAY || !list_has(key_ops, "verify")))
        return bad_key(err, "key_ops does not hold \"verify\"");
    return WM_OK;
}

static uint32_t mod_small(const uint8_t *number, size_t size, uint32_t divisor)
{
    uint32_t rest = 0;

    for (size_t i = 0; i < size; i++)
        rest = (rest << 8 | number[i]) % divisor;
    return rest;
}

/* Keys made by a widespread, broken smart card library ("Return of Coppersmith's Attack",
 * CVE-2017-15361) can be factored. They show: modulo each of the first primes the modulus is
 * a power of 65537. A sound modulus passes for all of them with probability under 2^-26. */
static bool modulus_is_roca(const uint8_t *modulus, size_t size)
{
    static const uint8_t PRIMES[] = {11,  13,  17,  19,  23,  29,  31,  37,  41,  43,  47,  53,
                                     59,  61,  67,  71,  73,  79,  83,  89,  97,  101, 103, 107,
                                     109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167};

    for (size_t i = 0; i < sizeof(PRIMES); i++) {
        uint32_t prime = PRIMES[i], rest = mod_small(modulus, size, prime), power = 1;
        do
            power = power * (65537u % prime) % prime;
        while (power != rest && power != 1);
        if (power != rest)
            return false;
    }
    return true;
}

static size_t bits_of(const uint8_t *number, size_t size)
{
    size_t bits = size * 8;

    for (uint8_t top = size > 0 ? number[0] : 0; bits > 0 && !(top & 0x80);
         top = (uint8_t)(top << 1))
        bits--;
    return bits;
}

/* A member of base64url bytes. */
static bool member_bytes(wm_arena *arena, const wm_json *json, const char *name, const char **text,
                         const uint8_t **bytes, size_t *size)
{
    const wm_json *member = wm_json_find(json, name);

    if (!member || member->kind != WM_JSON_STRING || member->text_len == 0)
        return false;
    *text = member->text;
    return jose_base64url_decode(arena, member->text, member->text_len, bytes, size);
}

static wm_code rsa_read(wm_arena *arena, const wm_json *json, jose_jwk *jwk, wm_err *err)
{
    const char *n_text, *e_text;
    const uint8_t *n, *e;
    size_t n_size, e_size;

    if (!member_bytes(arena, json, "n", &n_text, &n, &n_size) ||
        !member_bytes(arena, json, "e", &e_text, &e, &e_size))
        return bad_key(err, "n or e is missing or not base64url");
    /* RFC 7518, 6.3.1.1: no leading zero, though some issuers write one. */
    while (n_size > 0 && n[0] == 0) {
        n++;
        n_size--;
    }
    size_t bits = bits_of(n, n_size);
    if (bits < JOSE_RSA_BITS_MIN || bits > JOSE_RSA_BITS_MAX)
        return bad_key(err, "its modulus is shorter than 2048 or longer than 8192 bits");
    if (!(n[n_size - 1] & 1) || modulus_is_roca(n, n_size))
        return bad_key(err, "its modulus is known to be weak");
    while (e_size > 0 && e[0] == 0) {
        e++;
        e_size--;
    }
    if (e_size == 0 || e_size > 8 || !(e[e_size - 1] & 1) || (e_size == 1 && e[0] == 1))
        return bad_key(err, "its exponent is even, too small or too long");
    jwk->size = n_size;
    jwk->text =
        wm_arena_printf(arena, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}", n_text, e_text);
    return WM_OK;
}

enum { COORDINATE_MAX = 66 };

/* A coordinate as base64url of the field's full length. RFC 7518, 6.2.1.2 wants it so, but
 * some issuers drop leading zeros, which makes one key in 128 short. NULL: it is not one. */
static const char *coordinate_read(wm_arena *arena, const wm_json *json, const char *name,
                                   size_t field_size)
{
    const char *text;
    const uint8_t *bytes;
    uint8_t padded[COORDINATE_MAX] = {0};
    size_t size;
    wm_buf buf;

    if (!member_bytes(arena, json, name, &text, &bytes, &size) || size > field_size)
        return NULL;
    memcpy(padded + field_size - size, bytes, size);
    wm_buf_init(&buf, 2 * COORDINATE_MAX);
    jose_base64url_encode(&buf, padded, field_size);
    text = wm_arena_strndup(arena, buf.data, buf.size);
    wm_buf_free(&buf);
    return text;
}

static wm_code ec_read(wm_arena *arena, const wm_json *json, jose_jwk *jwk, wm_err *err)
{
    static const struct {
        const char *name;
        size_t size;
    } CURVES[] = {{"P-256", 32}, {"P-384", 48}, {"P-521", 66}};
    const char *curve;

    if (!optional_text(json, "crv", &curve) || !curve)
        return bad_key(err, "crv is missing");
    for (size_t i = 0; i < WM_ARRAY_LEN(CURVES); i++) {
        if (strcmp(curve, CURVES[i].name) == 0) {
            jwk->curve = CURVES[i].name;
            jwk->size = CURVES[i].size;
        }
    }
    if (!jwk->curve)
        return bad_key(err, "crv is not P-256, P-384 or P-521");
    const char *x = coordinate_read(arena, json, "x", jwk->size);
    const char *y = coordinate_read(arena, json, "y", jwk->size);
    if (!x || !y)
        return bad_key(err, "x or y is missing or longer than the curve's field");
    jwk->text = wm_arena_printf(arena, "{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"}",
                                jwk->curve, x, y);
    return WM_OK;
}

wm_code jose_jwk_read(wm_arena *arena, const wm_json *json, jose_jwk *jwk, wm_err *err)
{
    const char *kty, *kid;
    wm_code code;

    *jwk = (jose_jwk){0};
    if (json->kind != WM_JSON_OBJECT || !optional_text(json, "kty", &kty) || !kty)
        return bad_key(err, "kty is missing");
    if (!optional_text(json, "kid", &kid) || (kid && strlen(kid) > JOSE_KID_MAX))
        return bad_key(err, "kid is not a string, or too long");
    jwk->kid = kid ? kid : "";
    jwk->is_rsa = strcmp(kty, "RSA") == 0;
    if (!jwk->is_rsa && strcmp(kty, "EC") != 0)
        return bad_key(err, "kty is neither RSA nor EC");
    code = purpose_check(json, err);
    if (code == WM_OK)
        code = jwk->is_rsa ? rsa_read(arena, json, jwk, err) : ec_read(arena, json, jwk, err);
    if (code == WM_OK)
        code = alg_read(json, jwk, err);
    return code;
}

bool jose_jwk_fits(const jose_jwk *jwk, const jose_alg *alg)
{
    if (jwk->is_rsa != (alg->family != JOSE_ECDSA))
        return false;
    if (!jwk->is_rsa && strcmp(jwk->curve, alg->curve) != 0)
        return false;
    /* The key's `alg` is a floor within its family: a key for PS256 may verify PS384 (as in
     * RFC 7520, figure 20), one for PS512 must not verify PS384, and none may change family. */
    return !jwk->alg || (jwk->alg->family == alg->family && jwk->alg->hash_bits <= alg->hash_bits);
}
