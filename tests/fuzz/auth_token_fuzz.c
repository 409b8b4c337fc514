/* tests/fuzz/auth_token_fuzz.c - any text may be a token, a key set or claims.
 *
 * The text is read as each of them; what a key set accepts must survive being asked to verify
 * the text. A token must never be accepted: no input here is signed.
 */
#include <stdlib.h>
#include <string.h>

#include "server/auth/claims.h"
#include "server/auth/jose.h"
#include "server/auth/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void read_claims(wm_arena *arena, const void *payload, size_t size)
{
    static const auth_issuer issuer = {"https://a.example", "waymark", NULL, NULL, false};
    auth_principal claims;
    size_t found;
    wm_err err = {0};

    if (claims_read(arena, &issuer, 1, payload, size, 1700000000000000, &claims, &found, &err) !=
        WM_OK)
        return;
    principal *made = principal_new(&claims, false);
    if (strcmp(made->seen.subject, claims.subject) != 0)
        abort();
    principal_release(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *text = (const char *)bytes;
    const uint8_t *payload;
    size_t payload_size;
    token_keys *keys;
    wm_arena arena;
    jose_jws jws;
    wm_err err = {0};

    wm_arena_init(&arena, 0);
    if (jose_jws_read(&arena, text, size, &jws, &err) == WM_OK)
        read_claims(&arena, jws.payload, jws.payload_size);
    read_claims(&arena, text, size);
    if (token_keys_new(text, size, &keys, &err) == WM_OK) {
        static const char token[] = "eyJhbGciOiJFUzI1NiJ9.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                                    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        if (token_keys_verify(keys, &arena, token, sizeof(token) - 1, &payload, &payload_size,
                              &err) == WM_OK)
            abort();
        token_keys_free(keys);
    }
    wm_arena_free(&arena);
    return 0;
}
