/* geo/page.c - "0123456789abcdef.position". */
#include "server/geo/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DIGEST_LEN = 16 };

void geo_page_query_bytes(geo_page_query *query, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < size; i++)
        query->digest = (query->digest ^ at[i]) * UINT64_C(1099511628211);
}

void geo_page_query_text(geo_page_query *query, const char *text)
{
    geo_page_query_bytes(query, text, strlen(text) + 1); /* the NUL parts it from the next */
}

void geo_page_query_init(geo_page_query *query, const char *method, int32_t namespace_id)
{
    query->digest = UINT64_C(14695981039346656037);
    geo_page_query_text(query, method);
    geo_page_query_bytes(query, &namespace_id, sizeof(namespace_id));
}

wm_code geo_page_size(int32_t page_size, const char *field, int32_t fallback, int32_t max,
                      int32_t *size, wm_err *err)
{
    if (page_size < 0)
        return wm_fail_field(err, field, "FIELD_INVALID", "%s must not be negative", field);
    *size = page_size == 0 ? fallback : page_size < max ? page_size : max;
    return WM_OK;
}

char *geo_page_token_write(wm_arena *arena, const geo_page_query *query, const char *position)
{
    return wm_arena_printf(arena, "%016" PRIx64 ".%s", query->digest, position);
}

wm_code geo_page_token_read(const char *token, const geo_page_query *query, const char **position,
                            wm_err *err)
{
    char expected[DIGEST_LEN + 2];

    *position = NULL;
    if (token[0] == '\0')
        return WM_OK;
    snprintf(expected, sizeof(expected), "%016" PRIx64 ".", query->digest);
    if (strncmp(token, expected, DIGEST_LEN + 1) != 0)
        return wm_fail_field(err, "page_token", "PAGE_TOKEN_INVALID",
                             "page_token is not one of this query");
    *position = token + DIGEST_LEN + 1;
    return WM_OK;
}
