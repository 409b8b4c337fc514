/* server/dev/issuer_key.h - the development issuer's ES256 key: kept in a file, signs JWTs.
 *
 * Threads: immutable once made; signing from any thread.
 */
#ifndef WAYMARK_SERVER_DEV_ISSUER_KEY_H
#define WAYMARK_SERVER_DEV_ISSUER_KEY_H

#include "base/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct issuer_key issuer_key;

/* Reads the key from a PEM file, or makes one and writes it there (mode 0600). */
WM_MUST_USE wm_code issuer_key_open(const char *file, issuer_key **made, wm_err *err);
void issuer_key_free(issuer_key *key);

/* Appends a JWK Set of the public key. */
void issuer_key_write_jwks(const issuer_key *key, wm_buf *buf);
/* Appends a compact JWT with these claims (a JSON object). */
WM_MUST_USE wm_code issuer_key_sign(const issuer_key *key, const wm_buf *claims, wm_buf *token,
                                    wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
