/* server/auth/cache.c - a set-associative table of verified tokens; see cache.h.
 *
 * Must not verify, and must not outlive a token: find() compares the expiry each time.
 */
#include "server/auth/cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4, SETS = TOKEN_CACHE_SIZE / WAYS, LOCKS = 64 };

typedef struct place {
    uint8_t digest[PRINCIPAL_DIGEST_SIZE];
    principal *principal; /* NULL: empty */
} place;

struct token_cache {
    pthread_mutex_t locks[LOCKS];
    place sets[SETS][WAYS];
};

token_cache *token_cache_new(void)
{
    token_cache *cache = calloc(1, sizeof(*cache));
    if (!cache)
        abort();

    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_init(&cache->locks[i], NULL);
    return cache;
}

void token_cache_free(token_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < SETS; i++)
        for (size_t j = 0; j < WAYS; j++)
            principal_release(cache->sets[i][j].principal);
    for (size_t i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&cache->locks[i]);
    free(cache);
}

/* Digests are evenly spread: their first bytes will do. */
static size_t set_of(const uint8_t *digest)
{
    uint32_t bits;

    memcpy(&bits, digest, sizeof(bits));
    return bits % SETS;
}

principal *token_cache_find(token_cache *cache, const uint8_t digest[PRINCIPAL_DIGEST_SIZE],
                            int64_t now_us)
{
    size_t set = set_of(digest);
    pthread_mutex_t *lock = &cache->locks[set % LOCKS];
    principal *found = NULL;

    pthread_mutex_lock(lock);
    for (size_t i = 0; i < WAYS && !found; i++) {
        place *place = &cache->sets[set][i];
        if (place->principal && memcmp(place->digest, digest, PRINCIPAL_DIGEST_SIZE) == 0 &&
            place->principal->seen.expire_time_us > now_us)
            found = principal_retain(place->principal);
    }
    pthread_mutex_unlock(lock);
    return found;
}

/* Where a token goes: its own place, else an empty one, else that of the first to expire. */
static place *place_for(place *set, const uint8_t *digest)
{
    place *best = &set[0];

    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].principal && memcmp(set[i].digest, digest, PRINCIPAL_DIGEST_SIZE) == 0)
            return &set[i];
        if (!best->principal)
            continue;
        if (!set[i].principal ||
            set[i].principal->seen.expire_time_us < best->principal->seen.expire_time_us)
            best = &set[i];
    }
    return best;
}

void token_cache_put(token_cache *cache, const uint8_t digest[PRINCIPAL_DIGEST_SIZE],
                     principal *principal)
{
    size_t set = set_of(digest);
    pthread_mutex_t *lock = &cache->locks[set % LOCKS];

    pthread_mutex_lock(lock);
    place *place = place_for(cache->sets[set], digest);
    struct principal *old = place->principal;
    memcpy(place->digest, digest, PRINCIPAL_DIGEST_SIZE);
    place->principal = principal_retain(principal);
    pthread_mutex_unlock(lock);
    principal_release(old);
}
