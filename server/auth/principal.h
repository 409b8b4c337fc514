/* server/auth/principal.h - a verified caller as auth/ itself holds it.
 *
 * Threads: immutable but for the count of references, which is atomic.
 * Memory:  one block; principal_release() of the last reference frees it.
 */
#ifndef WAYMARK_SERVER_AUTH_PRINCIPAL_H
#define WAYMARK_SERVER_AUTH_PRINCIPAL_H

#include "server/auth/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PRINCIPAL_DIGEST_SIZE = 32, PRINCIPAL_GROUPS_MAX = 200, PRINCIPAL_TEXT_MAX = 512 };

typedef struct principal {
    auth_principal seen; /* what handlers get; first, so that the pointers are the same */
    unsigned refs;       /* by __atomic */
    bool is_admin;       /* named in the configuration: admin in every namespace */
    /* Of id and groups: callers with equal digests have the same grants. */
    uint8_t digest[PRINCIPAL_DIGEST_SIZE];
} principal;

/* Copies the texts of `parts`; its `id` is made here. One reference, the caller's. */
principal *principal_new(const auth_principal *parts, bool is_admin);
principal *principal_retain(principal *principal);
void principal_release(void *principal);

/* SHA-256. Any thread. */
void principal_sha256(const void *bytes, size_t size, uint8_t digest[PRINCIPAL_DIGEST_SIZE]);

/* "issuer#name": how grants name a principal or a group of an issuer. */
char *principal_id_text(wm_arena *arena, const char *issuer, const char *name);

#ifdef __cplusplus
}
#endif
#endif
