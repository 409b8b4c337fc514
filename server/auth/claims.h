/* server/auth/claims.h - what a token says of its bearer, checked: pure, no keys, no clock.
 *
 * Threads: pure functions of their input.
 * Memory:  claims live in the arena given.
 * Failure: WM_UNAUTHENTICATED with the reason of the first check that failed.
 */
#ifndef WAYMARK_SERVER_AUTH_CLAIMS_H
#define WAYMARK_SERVER_AUTH_CLAIMS_H

#include "server/auth/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How far an issuer's clock may be ahead of ours, for `nbf` alone: a token is never taken
 * after its `exp`. */
enum { CLAIMS_NOT_BEFORE_SKEW_MS = 5000, CLAIMS_SUBJECT_MAX = 255 };

/* Checks iss, exp, nbf, aud and sub, in this order. `issuer` is the index of the token's. */
WM_MUST_USE wm_code claims_read(wm_arena *arena, const auth_issuer *issuers, size_t n_issuers,
                                const void *payload, size_t payload_size, int64_t now_us,
                                auth_principal *claims, size_t *issuer, wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
