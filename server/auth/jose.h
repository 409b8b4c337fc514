/* server/auth/jose.h - JWS and JWK texts read strictly (RFC 7515, 7517, 7518): pure, no crypto.
 *
 * The JOSE library underneath is lenient where an attacker profits from it (base64url with
 * stray bits, keys of any size, a key's `use`). What is read here is refused unless it is
 * exactly what the RFCs say, and only what passed here reaches the library.
 *
 * Threads: pure functions of their input.
 * Memory:  what is read lives in the arena given and may point into the text.
 * Failure: WM_UNAUTHENTICATED with TOKEN_MALFORMED or TOKEN_ALGORITHM for a JWS, WM_INVALID
 *          for a key. Messages never show the text.
 */
#ifndef WAYMARK_SERVER_AUTH_JOSE_H
#define WAYMARK_SERVER_AUTH_JOSE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    JOSE_TEXT_MAX = 16 * 1024, /* bytes of a compact JWS */
    JOSE_RSA_BITS_MIN = 2048,  /* RFC 7518, 3.3 */
    JOSE_RSA_BITS_MAX = 8192,  /* more costs verification time that a client chooses */
    JOSE_KID_MAX = 256
};

/* Algorithms of one family use the same kind of key in the same way. */
typedef enum jose_family { JOSE_RSA_PKCS1, JOSE_RSA_PSS, JOSE_ECDSA } jose_family;

typedef struct jose_alg {
    const char *name;
    jose_family family;
    int hash_bits;
    const char *curve;     /* ECDSA: the only curve it goes with */
    size_t signature_size; /* ECDSA; an RSA signature is as long as the modulus */
} jose_alg;

/* An accepted (asymmetric) algorithm, or NULL. */
const jose_alg *jose_alg_find(const char *name);

typedef struct jose_jws {
    const jose_alg *alg;
    const char *kid; /* NULL: the header has none */
    const char *typ; /* NULL: the header has none */
    const uint8_t *payload;
    size_t payload_size;
    size_t signature_size;
} jose_jws;

/* Reads a compact JWS. Its signature is not looked at. */
WM_MUST_USE wm_code jose_jws_read(wm_arena *arena, const char *text, size_t len, jose_jws *jws,
                                  wm_err *err);

typedef struct jose_jwk {
    bool is_rsa;
    const char *kid;     /* "": none */
    const char *curve;   /* EC */
    size_t size;         /* bytes of the modulus, or of a coordinate */
    const jose_alg *alg; /* the weakest algorithm the key is for; NULL: it does not say */
    const char *text;    /* a JWK of the public members alone, for the JOSE library */
} jose_jwk;

/* Reads a public key meant for verifying signatures. Refuses weak ones (short, even or
 * tiny exponent, ROCA) and those meant for something else (`use`, `key_ops`). */
WM_MUST_USE wm_code jose_jwk_read(wm_arena *arena, const wm_json *json, jose_jwk *jwk, wm_err *err);

/* May this key verify a signature of this algorithm? */
bool jose_jwk_fits(const jose_jwk *jwk, const jose_alg *alg);

/* Strict base64url without padding: no other characters, no stray bits. */
WM_MUST_USE bool jose_base64url_decode(wm_arena *arena, const char *text, size_t len,
                                       const uint8_t **bytes, size_t *size);
/* Appends base64url without padding. */
void jose_base64url_encode(wm_buf *buf, const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
