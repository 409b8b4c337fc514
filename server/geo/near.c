/* geo/near.c - what is near: by distance in space first, then by true distance.
 *
 * Best-first over the cells for the `limit` nearest in space, keeping all that might be nearer by
 * true distance; those are measured and sorted. If what was searched does not surely hold
 * everything as near as the last one (far searches, where the two orders differ), everything within
 * that distance is collected.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/geo/tree.h"

/* The largest radius of curvature, at the poles: the flattest the way can be. */
#define FLATTEST_M (EARTH_A_M / (1 - EARTH_F))

/* ---- distances ---- */

static double space_to_cell2(const double from[3], const cell *c)
{
    double sum = 0;

    for (int axis = 0; axis < 3; axis++) {
        if (from[axis] < (double)c->low[axis])
            sum += square((double)c->low[axis] - from[axis]);
        else if (from[axis] > (double)c->high[axis])
            sum += square(from[axis] - (double)c->high[axis]);
    }
    return sum;
}

static double space_to_point2(const double from[3], space_point to)
{
    return square(from[0] - (double)to.x) + square(from[1] - (double)to.y) +
           square(from[2] - (double)to.z);
}

/* No two places whose way along the surface is `way_m` are farther apart in space than this. The
 * straight line is longest where the surface is flattest. */
static double space_reach(double way_m)
{
    double half_angle = way_m / (2 * FLATTEST_M);

    if (half_angle >= M_PI / 2)
        return INFINITY;
    return fmin(way_m, 2 * FLATTEST_M * sin(half_angle) * (1 + 1e-9)) + SPACE_SLACK_M;
}

static double geodesic_m(const geo_index *index, double lon_deg, double lat_deg, const geo_fix *fix)
{
    double distance;

    geod_inverse(&index->geodesic, lat_deg, lon_deg, fix->lat_deg, fix->lon_deg, &distance, NULL,
                 NULL);
    return distance;
}

/* ---- heaps: of cells to look at, nearest first; of the best found, farthest first ---- */

typedef struct ranked {
    double key;
    uint32_t number;
} ranked;

typedef struct heap {
    ranked *items; /* from 0; the least key on top */
    size_t len, room;
    wm_arena *arena;
} heap;

static void heap_sift_up(heap *h, size_t i)
{
    ranked item = h->items[i];

    while (i > 0 && h->items[(i - 1) / 2].key > item.key) {
        h->items[i] = h->items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->items[i] = item;
}

static void heap_sift_down(heap *h, size_t i)
{
    ranked item = h->items[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= h->len)
            break;
        if (child + 1 < h->len && h->items[child + 1].key < h->items[child].key)
            child++;
        if (h->items[child].key >= item.key)
            break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = item;
}

static void heap_push(heap *h, double key, uint32_t number)
{
    if (h->len == h->room) {
        ranked *items = h->items;

        h->room = h->room == 0 ? 64 : 2 * h->room;
        h->items = WM_NEW_ARRAY(h->arena, ranked, h->room);
        if (h->len > 0)
            memcpy(h->items, items, h->len * sizeof(*items));
    }
    h->items[h->len] = (ranked){key, number};
    heap_sift_up(h, h->len++);
}

static ranked heap_pop(heap *h)
{
    ranked top = h->items[0];

    h->items[0] = h->items[--h->len];
    if (h->len > 0)
        heap_sift_down(h, 0);
    return top;
}

/* ---- the search ---- */

typedef struct hit_list {
    geo_hit *hits;
    size_t len, room;
    wm_arena *arena;
} hit_list;

typedef struct near_search {
    const geo_index *index;
    double lon_deg, lat_deg;
    double at[3];
    heap cells;
    heap best; /* by minus distance in space: the worst on top */
    heap seen; /* what may be among the nearest by true distance; a plain list */
    size_t limit;
    double radius_m;
    double reach2; /* farther in space than this is of no interest */
} near_search;

static void list_add(heap *list, double key, uint32_t number)
{
    if (list->len == list->room) {
        ranked *items = list->items;

        list->room = list->room == 0 ? 64 : 2 * list->room;
        list->items = WM_NEW_ARRAY(list->arena, ranked, list->room);
        if (list->len > 0)
            memcpy(list->items, items, list->len * sizeof(*items));
    }
    list->items[list->len++] = (ranked){key, number};
}

static void cells_begin(near_search *s)
{
    s->cells.len = 0;
    heap_push(&s->cells, space_to_cell2(s->at, cell_at(s->index, 0)), 0);
}

/* The next nearest leaf that may hold something of interest, or NULL. */
static const cell *cells_next_leaf(near_search *s)
{
    while (s->cells.len > 0) {
        ranked top = heap_pop(&s->cells);
        const cell *c = cell_at(s->index, top.number);

        if (top.key > s->reach2)
            return NULL;
        if (c->children == NONE)
            return c;
        for (uint32_t which = 0; which < 4; which++) {
            const cell *child = cell_at(s->index, c->children + which);
            double key = child->count == 0 ? INFINITY : space_to_cell2(s->at, child);

            if (key <= s->reach2)
                heap_push(&s->cells, key, c->children + which);
        }
    }
    return NULL;
}

static int nearer(const void *a, const void *b)
{
    const geo_hit *left = a, *right = b;

    if (left->distance_m != right->distance_m)
        return left->distance_m < right->distance_m ? -1 : 1;
    return strcmp(left->entity_id, right->entity_id);
}

/* Adds the entity if it is within the radius by true distance. */
static void hit_offer(const near_search *s, hit_list *list, uint32_t number, double radius_m)
{
    const entity *e = entity_at(s->index, number);
    double distance_m = geodesic_m(s->index, s->lon_deg, s->lat_deg, &e->fix);

    if (distance_m > radius_m)
        return;
    if (list->len == list->room) {
        geo_hit *hits = list->hits;

        list->room = list->room == 0 ? 32 : 2 * list->room;
        list->hits = WM_NEW_ARRAY(list->arena, geo_hit, list->room);
        if (list->len > 0)
            memcpy(list->hits, hits, list->len * sizeof(*hits));
    }
    list->hits[list->len++] = (geo_hit){e->id, e->fix, distance_m};
}

/* Everything within a radius. */
static void collect_within(near_search *s, hit_list *list, double radius_m)
{
    const cell *leaf;

    s->reach2 = square(space_reach(radius_m));
    cells_begin(s);
    while ((leaf = cells_next_leaf(s)) != NULL) {
        for (uint32_t i = leaf->head; i != NONE; i = entity_at(s->index, i)->next) {
            if (space_to_point2(s->at, entity_at(s->index, i)->at) <= s->reach2)
                hit_offer(s, list, i, radius_m);
        }
    }
}

/* Whatever is nearest by true distance is nearly the nearest in space: the order differs by as
 * much as the earth's curvature does. This is a reach that covers it up to 2,000 km, where it is
 * 83 ppm; the result is checked, so it need not be exact. */
static double nearest_reach2(double space2)
{
    return square(sqrt(space2) * (1 + 1e-4) + 2 * SPACE_SLACK_M);
}

static void best_offer(near_search *s, double key, uint32_t number)
{
    list_add(&s->seen, key, number);
    if (s->best.len < s->limit) {
        heap_push(&s->best, -key, number);
    } else if (key < -s->best.items[0].key) {
        s->best.items[0] = (ranked){-key, number};
        heap_sift_down(&s->best, 0);
    }
    if (s->best.len == s->limit)
        s->reach2 = fmin(s->reach2, nearest_reach2(-s->best.items[0].key));
}

/* The nearest in space, and with them whatever may be nearer by true distance. */
static void collect_nearest(near_search *s)
{
    const cell *leaf;

    cells_begin(s);
    while ((leaf = cells_next_leaf(s)) != NULL) {
        for (uint32_t i = leaf->head; i != NONE; i = entity_at(s->index, i)->next) {
            double key = space_to_point2(s->at, entity_at(s->index, i)->at);

            if (key <= s->reach2)
                best_offer(s, key, i);
        }
    }
}

static void hits_sort(hit_list *list)
{
    if (list->len > 0)
        qsort(list->hits, list->len, sizeof(*list->hits), nearer);
}

static void search_near(near_search *s, hit_list *list)
{
    double bound_m;

    collect_nearest(s);
    for (size_t i = 0; i < s->seen.len; i++) {
        if (s->seen.items[i].key <= s->reach2)
            hit_offer(s, list, s->seen.items[i].number, s->radius_m);
    }
    hits_sort(list);
    /* Is everything as near as the last one within the reach that was searched? */
    bound_m = list->len >= s->limit ? list->hits[s->limit - 1].distance_m : s->radius_m;
    if (square(space_reach(bound_m)) <= s->reach2)
        return;
    list->len = 0;
    collect_within(s, list, bound_m);
    hits_sort(list);
}

size_t geo_index_nearby(geo_index *index, wm_arena *arena, double lon_deg, double lat_deg,
                        size_t limit, double radius_m, geo_hit **hits)
{
    near_search s = {.index = index,
                     .lon_deg = lon_deg,
                     .lat_deg = lat_deg,
                     .cells.arena = arena,
                     .best.arena = arena,
                     .seen.arena = arena,
                     .limit = limit,
                     .radius_m = radius_m,
                     .reach2 = square(space_reach(radius_m))};
    hit_list list = {.arena = arena};

    geo_tree_to_space(lon_deg, lat_deg, s.at);
    pthread_rwlock_rdlock(&index->lock);
    search_near(&s, &list);
    if (list.len > limit)
        list.len = limit;
    hits_copy_ids(arena, list.hits, list.len);
    pthread_rwlock_unlock(&index->lock);
    *hits = list.hits;
    return list.len;
}
