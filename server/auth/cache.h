/* server/auth/cache.h - tokens that were verified, by digest: the fast way in.
 *
 * A fixed table of TOKEN_CACHE_SIZE places, in sets of four. A full set gives up the token
 * that expires first; whoever loses his place is verified again. Tokens are not kept.
 *
 * Threads: any; a lock for every few sets.
 * Memory:  holds one reference to each principal.
 */
#ifndef WAYMARK_SERVER_AUTH_CACHE_H
#define WAYMARK_SERVER_AUTH_CACHE_H

#include "server/auth/principal.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TOKEN_CACHE_SIZE = 16384 };

typedef struct token_cache token_cache;

token_cache *token_cache_new(void);
void token_cache_free(token_cache *cache);

/* A reference for the caller; NULL when the token is not there or has expired by `now_us`. */
principal *token_cache_find(token_cache *cache, const uint8_t digest[PRINCIPAL_DIGEST_SIZE],
                            int64_t now_us);
/* Takes a reference of its own. */
void token_cache_put(token_cache *cache, const uint8_t digest[PRINCIPAL_DIGEST_SIZE],
                     principal *principal);

#ifdef __cplusplus
}
#endif
#endif
