/* server/dev/issuer.h - an OIDC issuer for development: it gives anybody on this machine any token.
 *
 * For `waymarkd dev` alone; a production server refuses to trust it (auth_new). It listens
 * on a loopback address only, and refuses requests that a web page of another origin could
 * make (Host and Origin must be loopback too, bodies JSON, or forms with an Authorization header).
 *
 *   GET  /.well-known/openid-configuration   OIDC discovery; "waymark_development": true in it is
 *                                            how a production server knows what it must refuse
 *   GET  /jwks                               the public key
 *   POST /token                              Content-Type: application/json
 *     {"sub": "alice",              required, 1 to 255 bytes
 *      "role": "operator",          viewer, operator, worker or admin, or several with spaces
 *                                   between them: also grants them; default: none
 *      "namespace": "default",      where the role is granted; made when it does not exist
 *      "groups": ["ops"],           default: none
 *      "name": "Alice",             default: none
 *      "expires_in": 3600,          seconds, 1 to 31536000; default 3600
 *      "aud": "waymark"}            default: the configured audience
 *   POST /token                              Content-Type: application/x-www-form-urlencoded
 *                                            Authorization: Basic, any secret
 *     grant_type=client_credentials&scope=operator%20worker&audience=waymark
 *                                   the OAuth 2.0 grant: the client id is `sub`, scope is `role`
 *     200 {"access_token": "...", "token_type": "Bearer", "expires_in": 3600,
 *          "principal": "ISSUER#alice"}
 *     4xx, 5xx {"error": "invalid_request", "error_description": "..."}
 *
 * Tokens are ES256 access tokens (RFC 9068); the key is kept in a file, mode 0600.
 *
 * Threads: one of its own serves; the functions here are for the main thread, but for
 *          dev_issuer_token(), which any thread may call.
 */
#ifndef WAYMARK_SERVER_DEV_ISSUER_H
#define WAYMARK_SERVER_DEV_ISSUER_H

#include "base/buf.h"
#include "server/auth/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DEV_ISSUER_EXPIRES_DEFAULT_S = 3600, DEV_ISSUER_EXPIRES_MAX_S = 31536000 };

typedef struct dev_issuer dev_issuer;

typedef struct dev_issuer_config {
    const char *listen;   /* "127.0.0.1:8654"; port 0: any free one */
    const char *key_file; /* PEM; made when it is not there */
    const char *audience; /* of tokens that name none */
} dev_issuer_config;

/* Gives a role; blocks. On the issuer's thread. */
typedef wm_code (*dev_issuer_grant_fn)(void *ctx, const char *namespace_name, const char *principal,
                                       auth_role role, wm_err *err);

/* Listens and serves. WM_INVALID: the address is not a loopback one. WM_EXISTS: it is taken. */
WM_MUST_USE wm_code dev_issuer_new(const dev_issuer_config *config, dev_issuer **made, wm_err *err);
void dev_issuer_free(dev_issuer *issuer);

/* "http://127.0.0.1:8654": the `iss` of its tokens. */
const char *dev_issuer_url(const dev_issuer *issuer);

/* How roles are granted from now on; before that, and after NULL, a token with a role is refused.
 */
void dev_issuer_set_grant(dev_issuer *issuer, dev_issuer_grant_fn grant, void *ctx);

typedef struct dev_token_request {
    const char *subject;
    const char *name;     /* NULL: none */
    const char *audience; /* NULL: the configured one */
    const char *const *groups;
    size_t n_groups;
    int64_t expires_in_s;
} dev_token_request;

/* Appends a signed token. */
WM_MUST_USE wm_code dev_issuer_token(dev_issuer *issuer, const dev_token_request *request,
                                     wm_buf *token, wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
