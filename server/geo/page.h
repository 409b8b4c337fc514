/* geo/page.h - page sizes and page tokens.
 *
 * A token is a digest of the query it belongs to, and where the next page begins; a token given
 * to another query is refused. It is not a secret: whoever makes one up sees nothing more than
 * by asking.
 *
 * Threads: pure functions of their input.
 */
#ifndef WAYMARK_SERVER_GEO_PAGE_H
#define WAYMARK_SERVER_GEO_PAGE_H

#include "base/arena.h"
#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

/* FNV-1a over everything that says which rows a query has, in a fixed order. */
typedef struct geo_page_query {
    uint64_t digest;
} geo_page_query;

void geo_page_query_init(geo_page_query *query, const char *method, int32_t namespace_id);
void geo_page_query_text(geo_page_query *query, const char *text);
void geo_page_query_bytes(geo_page_query *query, const void *bytes, size_t size);

/* WM_INVALID below 0; 0 gives `fallback`, more than `max` gives `max`. */
WM_MUST_USE wm_code geo_page_size(int32_t page_size, const char *field, int32_t fallback,
                                  int32_t max, int32_t *size, wm_err *err);
char *geo_page_token_write(wm_arena *arena, const geo_page_query *query, const char *position);
/* *position: where to go on, in the token; NULL for an empty token. */
WM_MUST_USE wm_code geo_page_token_read(const char *token, const geo_page_query *query,
                                        const char **position, wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
