/* server/auth/token.h - verifies access tokens; the only home of liboauth2 and its JOSE layer.
 *
 * A verifier knows the configured issuers and keeps their public keys: found by OIDC
 * discovery, fetched again when they are TOKEN_KEYS_AGE_S old, and when a token names a key
 * that is not among them, at most once in TOKEN_UNKNOWN_KEY_S. An issuer that cannot be
 * reached is left alone for TOKEN_RETRY_S; its known keys stay good for TOKEN_KEYS_KEEP_S.
 *
 * Threads: token_verify() and token_prefetch() block (network, signatures) and run on worker
 *          threads, any number at once. One fetch an issuer is in flight; who needs
 *          its result meanwhile is parked, so that a slow issuer holds one thread.
 * Memory:  a principal is counted (principal.h). The verifier copies its configuration.
 * Failure: WM_UNAUTHENTICATED with the reason of the failed check, or WM_UNAVAILABLE with
 *          TOKEN_ISSUER_UNREACHABLE. No message shows a token.
 */
#ifndef WAYMARK_SERVER_AUTH_TOKEN_H
#define WAYMARK_SERVER_AUTH_TOKEN_H

#include "server/auth/principal.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TOKEN_KEYS_AGE_S = 600,
    TOKEN_KEYS_KEEP_S = 3600,
    TOKEN_UNKNOWN_KEY_S = 5,
    TOKEN_RETRY_S = 2,
    TOKEN_FETCH_TIMEOUT_S = 5,
    TOKEN_KEYS_MAX = 64 /* keys of one issuer */
};

/* ---- a set of public keys ---- */

typedef struct token_keys token_keys;

/* Reads a JWK Set, or a single JWK. Keys that must not verify signatures are left out;
 * WM_INVALID when none is left, or two are so alike that a token could mean either. */
WM_MUST_USE wm_code token_keys_new(const char *json, size_t len, token_keys **made, wm_err *err);
void token_keys_free(token_keys *keys);

/* Verifies a compact JWS and yields its payload, in the arena. Claims are not looked at. */
WM_MUST_USE wm_code token_keys_verify(const token_keys *keys, wm_arena *arena, const char *jws,
                                      size_t len, const uint8_t **payload, size_t *payload_size,
                                      wm_err *err);

/* ---- tokens ---- */

typedef struct token_verifier token_verifier;

/* Somebody parked until a fetch has ended. Embedded; resume() runs on the thread that
 * fetched and must call token_verify() again elsewhere. */
typedef struct token_waiter token_waiter;
struct token_waiter {
    token_waiter *next;
    void (*resume)(token_waiter *waiter);
};

typedef enum token_outcome { TOKEN_DONE, TOKEN_PARKED } token_outcome;

token_verifier *token_verifier_new(const auth_config *config);
/* Nothing may be running or parked. */
void token_verifier_free(token_verifier *verifier);

/* TOKEN_DONE: `*code` says whether `*made` (one reference) is there. TOKEN_PARKED: the waiter
 * will be resumed; it may have been already. */
token_outcome token_verify(token_verifier *verifier, const char *token, size_t len,
                           token_waiter *waiter, wm_code *code, principal **made, wm_err *err);

/* Fetches the keys of issuer i, so that the first caller need not wait. Logs a failure.
 * WM_UNAVAILABLE: not to be had now. WM_UNAUTHENTICATED: it is a development issuer, and the
 * configuration does not allow that. */
wm_code token_prefetch(token_verifier *verifier, size_t i, wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
