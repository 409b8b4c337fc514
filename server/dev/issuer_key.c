/* server/dev/issuer_key.c - an EC P-256 key by OpenSSL; see issuer_key.h.
 *
 * Must not serve production: nothing here protects the key but the file's mode.
 */
#include "server/dev/issuer_key.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/auth/jose.h"

enum { FIELD_SIZE = 32, KID_SIZE = 17 };

struct issuer_key {
    EVP_PKEY *pair;
    uint8_t x[FIELD_SIZE], y[FIELD_SIZE];
    char kid[KID_SIZE]; /* hex, of a digest of x and y */
};

static wm_code fail_file(wm_err *err, const char *file)
{
    return wm_fail(err, WM_PRECONDITION, "DEV_ISSUER_KEY", "%s: %s", file, strerror(errno));
}

static wm_code read_pair(const char *file, EVP_PKEY **pair, wm_err *err)
{
    FILE *in = fopen(file, "re");

    if (!in)
        return errno == ENOENT ? WM_NOT_FOUND : fail_file(err, file);
    *pair = PEM_read_PrivateKey(in, NULL, NULL, NULL);
    fclose(in);
    if (!*pair || !EVP_PKEY_is_a(*pair, "EC"))
        return wm_fail(err, WM_DATA_LOSS, "DEV_ISSUER_KEY", "%s holds no EC key; remove it", file);
    return WM_OK;
}

/* Under a temporary name first: a half-written key would stop every later start. */
static wm_code write_pair(const char *file, EVP_PKEY *pair, wm_err *err)
{
    char *temporary;

    if (asprintf(&temporary, "%s.new", file) < 0)
        abort();
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool written = out && PEM_write_PrivateKey(out, pair, NULL, NULL, 0, NULL, NULL);
    if (out && fclose(out) != 0)
        written = false;
    written = written && rename(temporary, file) == 0;
    free(temporary);
    return written ? WM_OK : fail_file(err, file);
}

static bool read_coordinate(EVP_PKEY *pair, const char *name, uint8_t out[FIELD_SIZE])
{
    BIGNUM *number = NULL;
    bool done = EVP_PKEY_get_bn_param(pair, name, &number) &&
                BN_bn2binpad(number, out, FIELD_SIZE) == FIELD_SIZE;

    BN_free(number);
    return done;
}

static bool read_public(issuer_key *key)
{
    uint8_t point[2 * FIELD_SIZE], digest[EVP_MAX_MD_SIZE];

    if (!read_coordinate(key->pair, OSSL_PKEY_PARAM_EC_PUB_X, key->x) ||
        !read_coordinate(key->pair, OSSL_PKEY_PARAM_EC_PUB_Y, key->y))
        return false;
    memcpy(point, key->x, FIELD_SIZE);
    memcpy(point + FIELD_SIZE, key->y, FIELD_SIZE);
    if (!EVP_Digest(point, sizeof(point), digest, NULL, EVP_sha256(), NULL))
        return false;
    for (size_t i = 0; i < (KID_SIZE - 1) / 2; i++)
        snprintf(key->kid + 2 * i, 3, "%02x", digest[i]);
    return true;
}

wm_code issuer_key_open(const char *file, issuer_key **made, wm_err *err)
{
    issuer_key *key = calloc(1, sizeof(*key));
    if (!key)
        abort();

    wm_code code = read_pair(file, &key->pair, err);
    if (code == WM_NOT_FOUND) {
        key->pair = EVP_EC_gen("P-256");
        code = key->pair ? write_pair(file, key->pair, err)
                         : wm_fail(err, WM_INTERNAL, "DEV_ISSUER_KEY", "no key could be made");
    }
    if (code == WM_OK && !read_public(key))
        code = wm_fail(err, WM_DATA_LOSS, "DEV_ISSUER_KEY", "%s is not a P-256 key", file);
    if (code != WM_OK) {
        issuer_key_free(key);
        key = NULL;
    }
    *made = key;
    return code;
}

void issuer_key_free(issuer_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pair);
    free(key);
}

void issuer_key_write_jwks(const issuer_key *key, wm_buf *buf)
{
    wm_buf_printf(buf,
                  "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"alg\":\"ES256\","
                  "\"kid\":\"%s\",\"x\":\"",
                  key->kid);
    jose_base64url_encode(buf, key->x, FIELD_SIZE);
    wm_buf_text(buf, "\",\"y\":\"");
    jose_base64url_encode(buf, key->y, FIELD_SIZE);
    wm_buf_text(buf, "\"}]}");
}

/* OpenSSL signs in DER; JWS wants r and s side by side (RFC 7518, 3.4). */
static bool sign_bytes(EVP_PKEY *pair, const void *bytes, size_t size,
                       uint8_t signature[2 * FIELD_SIZE])
{
    uint8_t der[128];
    const uint8_t *next = der;
    size_t der_size = sizeof(der);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, pair) &&
                EVP_DigestSign(context, der, &der_size, bytes, size);

    EVP_MD_CTX_free(context);
    if (!done)
        return false;
    ECDSA_SIG *pair_of_numbers = d2i_ECDSA_SIG(NULL, &next, (long)der_size);
    if (!pair_of_numbers)
        return false;
    done = BN_bn2binpad(ECDSA_SIG_get0_r(pair_of_numbers), signature, FIELD_SIZE) > 0 &&
           BN_bn2binpad(ECDSA_SIG_get0_s(pair_of_numbers), signature + FIELD_SIZE, FIELD_SIZE) > 0;
    ECDSA_SIG_free(pair_of_numbers);
    return done;
}

wm_code issuer_key_sign(const issuer_key *key, const wm_buf *claims, wm_buf *token, wm_err *err)
{
    char header[96];
    uint8_t signature[2 * FIELD_SIZE];
    size_t start = token->size;

    int len = snprintf(header, sizeof(header),
                       "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", key->kid);
    jose_base64url_encode(token, header, (size_t)len);
    wm_buf_char(token, '.');
    jose_base64url_encode(token, claims->data, claims->size);
    if (token->failed ||
        !sign_bytes(key->pair, token->data + start, token->size - start, signature))
        return wm_fail(err, WM_INTERNAL, "DEV_ISSUER_KEY", "the token could not be signed");
    wm_buf_char(token, '.');
    jose_base64url_encode(token, signature, sizeof(signature));
    return token->failed ? wm_fail(err, WM_EXHAUSTED, "DEV_ISSUER_KEY", "the token is too long")
                         : WM_OK;
}
