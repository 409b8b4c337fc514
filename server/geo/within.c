/* geo/within.c - what is within a box or an area, page by page in the order of ids.
 *
 * Walks the cells that the box touches and keeps the first `limit` ids after the last page's, so
 * that memory follows the page and not what is found.
 */
#include <stdlib.h>
#include <string.h>

#include "server/geo/tree.h"

typedef struct within_search {
    const geo_index *index;
    geo_box part; /* west <= east */
    geo_area *area;
    const char *after_id;
    geo_hit *hits; /* a heap, the last id on top */
    size_t len, limit;
} within_search;

static void hits_sift_down(geo_hit *hits, size_t len)
{
    geo_hit item = hits[0];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= len)
            break;
        if (child + 1 < len && strcmp(hits[child + 1].entity_id, hits[child].entity_id) > 0)
            child++;
        if (strcmp(hits[child].entity_id, item.entity_id) <= 0)
            break;
        hits[i] = hits[child];
        i = child;
    }
    hits[i] = item;
}

static void hits_sift_up(geo_hit *hits, size_t i)
{
    geo_hit item = hits[i];

    while (i > 0 && strcmp(hits[(i - 1) / 2].entity_id, item.entity_id) < 0) {
        hits[i] = hits[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    hits[i] = item;
}

/* Keeps the `limit` first ids after after_id. */
static void within_offer(within_search *s, const entity *e)
{
    if (strcmp(e->id, s->after_id) <= 0)
        return;
    if (s->len == s->limit && strcmp(e->id, s->hits[0].entity_id) > 0)
        return;
    if (!geo_box_contains(&s->part, e->fix.lon_deg, e->fix.lat_deg))
        return;
    if (s->area != NULL && !geo_area_contains(s->area, e->fix.lon_deg, e->fix.lat_deg))
        return;
    if (s->len == s->limit) {
        s->hits[0] = (geo_hit){e->id, e->fix, 0};
        hits_sift_down(s->hits, s->len);
    } else {
        s->hits[s->len] = (geo_hit){e->id, e->fix, 0};
        hits_sift_up(s->hits, s->len++);
    }
}

static void within_visit(within_search *s, uint32_t at, bounds b)
{
    const cell *c = cell_at(s->index, at);

    if (c->count == 0 || b.west > s->part.east_deg || b.west + b.width < s->part.west_deg ||
        b.south > s->part.north_deg || b.south + b.height < s->part.south_deg)
        return;
    if (c->children != NONE) {
        for (uint32_t which = 0; which < 4; which++)
            within_visit(s, c->children + which, quarter_bounds(b, which));
        return;
    }
    for (uint32_t i = c->head; i != NONE; i = entity_at(s->index, i)->next)
        within_offer(s, entity_at(s->index, i));
}

static int by_id(const void *a, const void *b)
{
    const geo_hit *left = a, *right = b;

    return strcmp(left->entity_id, right->entity_id);
}

size_t geo_index_within(geo_index *index, wm_arena *arena, const geo_box *box, geo_area *area,
                        const char *after_id, size_t limit, geo_hit **hits)
{
    within_search s = {
        .index = index, .part = *box, .area = area, .after_id = after_id, .limit = limit};

    pthread_rwlock_rdlock(&index->lock);
    if (s.limit > index->len)
        s.limit = index->len;
    if (s.limit > 0) {
        s.hits = WM_NEW_ARRAY(arena, geo_hit, s.limit);
        if (box->west_deg > box->east_deg) { /* over the antimeridian: two parts */
            s.part.east_deg = 180;
            within_visit(&s, 0, WORLD);
            s.part.west_deg = -180;
            s.part.east_deg = box->east_deg;
        }
        within_visit(&s, 0, WORLD);
        qsort(s.hits, s.len, sizeof(*s.hits), by_id);
        hits_copy_ids(arena, s.hits, s.len);
    }
    pthread_rwlock_unlock(&index->lock);
    *hits = s.hits;
    return s.len;
}
