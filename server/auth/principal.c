/* server/auth/principal.c - makes and counts verified callers; see principal.h.
 *
 * Must not verify: what comes in here was checked by token.c.
 */
#include "server/auth/principal.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* OpenSSL 3 looks an algorithm up by name at each one-shot digest, which costs more than a
 * digest of a token; so it is looked up once, and each thread keeps a context. */
static EVP_MD *sha256;
static pthread_key_t context_key;
static pthread_once_t digest_once = PTHREAD_ONCE_INIT;

static void context_free(void *context)
{
    EVP_MD_CTX_free(context);
}

static void digest_setup(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256 || pthread_key_create(&context_key, context_free) != 0)
        abort();
}

void principal_sha256(const void *bytes, size_t size, uint8_t digest[PRINCIPAL_DIGEST_SIZE])
{
    static __thread EVP_MD_CTX *context;

    if (!context) {
        pthread_once(&digest_once, digest_setup);
        context = EVP_MD_CTX_new();
        if (!context || pthread_setspecific(context_key, context) != 0)
            abort();
    }
    if (!EVP_DigestInit_ex(context, sha256, NULL) || !EVP_DigestUpdate(context, bytes, size) ||
        !EVP_DigestFinal_ex(context, digest, NULL))
        abort();
}

char *principal_id_text(wm_arena *arena, const char *issuer, const char *name)
{
    return wm_arena_printf(arena, "%s#%s", issuer, name);
}

/* Appends a text to the block and moves on. */
static const char *put_text(char **next, const char *text)
{
    char *start = *next;
    size_t size = strlen(text) + 1;

    memcpy(start, text, size);
    *next += size;
    return start;
}

principal *principal_new(const auth_principal *parts, bool is_admin)
{
    size_t id_size = strlen(parts->issuer) + 1 + strlen(parts->subject) + 1;
    size_t size = sizeof(principal) + parts->n_groups * sizeof(char *) + strlen(parts->issuer) + 1 +
                  strlen(parts->subject) + 1 + id_size + strlen(parts->name) + 1 +
                  strlen(parts->client_id) + 1;
    for (size_t i = 0; i < parts->n_groups; i++)
        size += strlen(parts->groups[i]) + 1;

    principal *made = malloc(size);
    if (!made)
        abort();
    const char **groups = (const char **)(void *)(made + 1);
    char *next = (char *)(groups + parts->n_groups);

    made->refs = 1;
    made->is_admin = is_admin;
    made->seen.issuer = put_text(&next, parts->issuer);
    made->seen.subject = put_text(&next, parts->subject);
    made->seen.name = put_text(&next, parts->name);
    made->seen.client_id = put_text(&next, parts->client_id);
    made->seen.expire_time_us = parts->expire_time_us;
    made->seen.groups = groups;
    made->seen.n_groups = parts->n_groups;

    /* The id and the groups lie one after another at the end: that is what is digested. */
    char *id = next;
    next = stpcpy(stpcpy(stpcpy(next, parts->issuer), "#"), parts->subject) + 1;
    made->seen.id = id;
    for (size_t i = 0; i < parts->n_groups; i++)
        groups[i] = put_text(&next, parts->groups[i]);
    principal_sha256(id, (size_t)(next - id), made->digest);
    return made;
}

principal *principal_retain(principal *principal)
{
    __atomic_add_fetch(&principal->refs, 1, __ATOMIC_RELAXED);
    return principal;
}

void principal_release(void *held)
{
    principal *principal = held;

    if (principal && __atomic_sub_fetch(&principal->refs, 1, __ATOMIC_ACQ_REL) == 0)
        free(principal);
}
