/* geo/index.c - a quadtree over longitude and latitude that measures distance in space.
 *
 * Cells halve in longitude and latitude, which suits boxes and polygons. Distance does not suit
 * degrees (poles, antimeridian), so each cell also knows the box in earth-centred space (metres)
 * that holds its piece of the ellipsoid, and each entity its point there. A straight line through
 * space is never longer than the way along the surface, so distance in space bounds the geodesic
 * distance from below; near and far need no special cases.
 *
 * Nearest: best-first over the cells for the `limit` nearest in space, keeping all that might be
 * nearer by true distance; those are measured and sorted. If what was searched does not surely hold
 * everything as near as the last one (far searches, where the orders differ), everything within
 * that distance is collected.
 *
 * Entities are numbered; a number is found by hash of the id, and a leaf's entities are a doubly
 * linked list of numbers. Entities are never removed, only moved.
 *
 * Coordinates in space are floats, off by up to 0.25 m each; SPACE_SLACK_M covers that.
 */
#include "server/geo/index.h"

#include <geodesic.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEAF_MAX = 16,  /* a leaf with more splits */
    MERGE_MAX = 8,  /* an inner cell with fewer becomes a leaf */
    DEPTH_MAX = 26, /* cells of half a metre; a leaf there holds any number */
    CHUNK_BITS = 12,
    CHUNK_LEN = 1 << CHUNK_BITS,
    CHUNKS_MAX = 1 << 15, /* 134 million entities */
    WRITE_LEN = 64,       /* moves while readers wait */
    IDS_SIZE = 64 * 1024
};

#define NONE UINT32_MAX
#define EARTH_A_M 6378137.0
#define EARTH_F (1 / 298.257223563)
#define EARTH_E2 (EARTH_F * (2 - EARTH_F))
#define SPACE_SLACK_M 1.0
/* The largest radius of curvature, at the poles: the flattest the way can be. */
#define FLATTEST_M (EARTH_A_M / (1 - EARTH_F))

typedef struct space_point {
    float x, y, z;
} space_point;

typedef struct entity {
    geo_fix fix;
    const char *id;
    space_point at;
    uint32_t next, prev; /* in the leaf */
    uint32_t hash;
} entity;

typedef struct cell {
    float low[3], high[3]; /* in space */
    uint32_t count;        /* entities in it and below */
    uint32_t children;     /* the first of four in a row; NONE: a leaf */
    uint32_t head;         /* of a leaf's list */
} cell;

/* A cell's borders, known on the way down. */
typedef struct bounds {
    double west, south, width, height;
} bounds;

typedef struct ids_block ids_block;
struct ids_block {
    ids_block *next;
    char bytes[IDS_SIZE];
};

struct geo_index {
    pthread_rwlock_t lock;
    struct geod_geodesic geodesic;
    entity *chunks[CHUNKS_MAX];
    uint32_t len;
    uint32_t *table; /* open addressing, by hash of the id; NONE: free */
    size_t table_len;
    cell *cells;
    uint32_t cells_len, cells_room, free_cells; /* groups of four, linked by `head` */
    ids_block *ids;
    size_t ids_used;
};

static const bounds WORLD = {-180, -90, 360, 180};

static void *check_memory(void *memory)
{
    if (memory == NULL)
        abort(); /* as base/arena.h does */
    return memory;
}

static entity *entity_at(const geo_index *index, uint32_t number)
{
    return &index->chunks[number >> CHUNK_BITS][number & (CHUNK_LEN - 1)];
}

/* ---- space ---- */

static void to_space(double lon_deg, double lat_deg, double out[3])
{
    const double degree = M_PI / 180;
    double sin_lat = sin(lat_deg * degree), cos_lat = cos(lat_deg * degree);
    double radius = EARTH_A_M / sqrt(1 - EARTH_E2 * sin_lat * sin_lat);

    out[0] = radius * cos_lat * cos(lon_deg * degree);
    out[1] = radius * cos_lat * sin(lon_deg * degree);
    out[2] = radius * (1 - EARTH_E2) * sin_lat;
}

/* Least and greatest cosine of the angles from `from` to `to`, degrees, at most a whole turn. */
static void cosine_range(double from, double to, double *least, double *greatest)
{
    const double degree = M_PI / 180;
    double a = cos(from * degree), b = cos(to * degree);

    *least = fmin(a, b);
    *greatest = fmax(a, b);
    if (ceil((from - 180) / 360) * 360 + 180 <= to)
        *least = -1;
    if (ceil(from / 360) * 360 <= to)
        *greatest = 1;
}

/* The box in space around a cell. Both the distance from the axis and the height above the
 * equator are monotone in latitude on each half. */
static void cell_set_space(cell *c, bounds b)
{
    double north = b.south + b.height, east = b.west + b.width;
    double nearest = b.south > 0 ? b.south : north < 0 ? north : 0;
    double farthest = fmax(fabs(b.south), fabs(north));
    double outer[3], inner[3], low[3], high[3], least, greatest;

    to_space(0, nearest, outer);
    to_space(0, farthest, inner);
    for (int axis = 0; axis < 2; axis++) {
        double turn = axis == 0 ? 0 : 90; /* a sine is a cosine a quarter turn on */

        cosine_range(b.west - turn, east - turn, &least, &greatest);
        low[axis] = least * (least < 0 ? outer[0] : inner[0]);
        high[axis] = greatest * (greatest < 0 ? inner[0] : outer[0]);
    }
    to_space(0, b.south, outer);
    low[2] = outer[2];
    to_space(0, north, outer);
    high[2] = outer[2];
    for (int axis = 0; axis < 3; axis++) {
        c->low[axis] = (float)(low[axis] - SPACE_SLACK_M);
        c->high[axis] = (float)(high[axis] + SPACE_SLACK_M);
    }
}

static double square(double x)
{
    return x * x;
}

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

/* ---- ids ---- */

static uint32_t id_hash(const char *id)
{
    uint64_t hash = 14695981039346656037u;

    for (; *id != '\0'; id++)
        hash = (hash ^ (unsigned char)*id) * 1099511628211u;
    return (uint32_t)(hash ^ (hash >> 32));
}

static uint32_t *table_slot(const geo_index *index, const char *id, uint32_t hash)
{
    size_t i = hash & (index->table_len - 1);

    while (index->table[i] != NONE) {
        const entity *e = entity_at(index, index->table[i]);

        if (e->hash == hash && strcmp(e->id, id) == 0)
            break;
        i = (i + 1) & (index->table_len - 1);
    }
    return &index->table[i];
}

static void table_grow(geo_index *index)
{
    size_t len = index->table_len == 0 ? 1024 : 2 * index->table_len;

    free(index->table);
    index->table = check_memory(malloc(len * sizeof(*index->table)));
    index->table_len = len;
    memset(index->table, 0xff, len * sizeof(*index->table));
    for (uint32_t i = 0; i < index->len; i++) {
        size_t at = entity_at(index, i)->hash & (len - 1);

        while (index->table[at] != NONE)
            at = (at + 1) & (len - 1);
        index->table[at] = i;
    }
}

static const char *id_keep(geo_index *index, const char *id)
{
    size_t size = strlen(id) + 1;
    char *kept;

    if (index->ids == NULL || index->ids_used + size > IDS_SIZE) {
        ids_block *block = check_memory(malloc(sizeof(*block)));

        block->next = index->ids;
        index->ids = block;
        index->ids_used = 0;
    }
    kept = index->ids->bytes + index->ids_used;
    memcpy(kept, id, size);
    index->ids_used += size;
    return kept;
}

/* ---- cells ---- */

static cell *cell_at(const geo_index *index, uint32_t number)
{
    return &index->cells[number];
}

/* Which quarter of `b` holds the place; narrows `b` to it. */
static uint32_t quarter(bounds *b, double lon_deg, double lat_deg)
{
    uint32_t which = 0;

    b->width /= 2;
    b->height /= 2;
    if (lon_deg >= b->west + b->width) {
        b->west += b->width;
        which |= 1;
    }
    if (lat_deg >= b->south + b->height) {
        b->south += b->height;
        which |= 2;
    }
    return which;
}

static bounds quarter_bounds(bounds b, uint32_t which)
{
    b.width /= 2;
    b.height /= 2;
    if (which & 1)
        b.west += b.width;
    if (which & 2)
        b.south += b.height;
    return b;
}

static uint32_t cells_take(geo_index *index)
{
    uint32_t first = index->free_cells;

    if (first != NONE) {
        index->free_cells = cell_at(index, first)->head;
        return first;
    }
    if (index->cells_len + 4 > index->cells_room) {
        index->cells_room = index->cells_room == 0 ? 64 : 2 * index->cells_room;
        index->cells =
            check_memory(realloc(index->cells, index->cells_room * sizeof(*index->cells)));
    }
    first = index->cells_len;
    index->cells_len += 4;
    return first;
}

static void leaf_link(geo_index *index, cell *leaf, uint32_t number)
{
    entity *e = entity_at(index, number);

    e->prev = NONE;
    e->next = leaf->head;
    if (leaf->head != NONE)
        entity_at(index, leaf->head)->prev = number;
    leaf->head = number;
}

static void leaf_unlink(geo_index *index, cell *leaf, uint32_t number)
{
    entity *e = entity_at(index, number);

    if (e->prev == NONE)
        leaf->head = e->next;
    else
        entity_at(index, e->prev)->next = e->next;
    if (e->next != NONE)
        entity_at(index, e->next)->prev = e->prev;
}

static void cell_init(cell *c, bounds b)
{
    c->count = 0;
    c->children = NONE;
    c->head = NONE;
    cell_set_space(c, b);
}

static void leaf_split(geo_index *index, uint32_t number, bounds b)
{
    uint32_t first = cells_take(index); /* may move the cells */
    cell *leaf = cell_at(index, number);
    uint32_t each = leaf->head;

    for (uint32_t which = 0; which < 4; which++)
        cell_init(cell_at(index, first + which), quarter_bounds(b, which));
    leaf->children = first;
    leaf->head = NONE;
    while (each != NONE) {
        entity *e = entity_at(index, each);
        uint32_t next = e->next;
        bounds inner = b;
        cell *child = cell_at(index, first + quarter(&inner, e->fix.lon_deg, e->fix.lat_deg));

        leaf_link(index, child, each);
        child->count++;
        each = next;
    }
}

static void cell_insert(geo_index *index, uint32_t number)
{
    const geo_fix *fix = &entity_at(index, number)->fix;
    bounds b = WORLD;
    uint32_t at = 0;

    for (int depth = 0;; depth++) {
        cell *c = cell_at(index, at);

        c->count++;
        if (c->children == NONE && c->count > LEAF_MAX && depth < DEPTH_MAX) {
            leaf_split(index, at, b);
            c = cell_at(index, at);
        }
        if (c->children == NONE) {
            leaf_link(index, c, number);
            return;
        }
        at = c->children + quarter(&b, fix->lon_deg, fix->lat_deg);
    }
}

/* Moves everything below `at` into the list of `into`, and gives the cells back. */
static void cell_drain(geo_index *index, uint32_t at, cell *into)
{
    cell *c = cell_at(index, at);

    if (c->children != NONE) {
        for (uint32_t which = 0; which < 4; which++)
            cell_drain(index, c->children + which, into);
        cell_at(index, c->children)->head = index->free_cells;
        index->free_cells = c->children;
        return;
    }
    while (c->head != NONE) {
        uint32_t number = c->head;

        leaf_unlink(index, c, number);
        leaf_link(index, into, number);
    }
}

static void cell_merge(geo_index *index, cell *c)
{
    uint32_t children = c->children;

    c->children = NONE;
    for (uint32_t which = 0; which < 4; which++)
        cell_drain(index, children + which, c);
    cell_at(index, children)->head = index->free_cells;
    index->free_cells = children;
}

static void cell_remove(geo_index *index, uint32_t number)
{
    const geo_fix *fix = &entity_at(index, number)->fix;
    bounds b = WORLD;
    uint32_t at = 0;

    for (;;) {
        cell *c = cell_at(index, at);

        c->count--;
        if (c->children != NONE && c->count <= MERGE_MAX)
            cell_merge(index, c);
        if (c->children == NONE) {
            leaf_unlink(index, c, number);
            return;
        }
        at = c->children + quarter(&b, fix->lon_deg, fix->lat_deg);
    }
}

/* ---- the index ---- */

geo_index *geo_index_new(void)
{
    geo_index *index = check_memory(calloc(1, sizeof(*index)));
    pthread_rwlockattr_t attributes;

    pthread_rwlockattr_init(&attributes);
    /* Else a busy stream of readers would keep writers out for ever. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&index->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    geod_init(&index->geodesic, EARTH_A_M, EARTH_F);
    index->free_cells = NONE;
    table_grow(index);
    cells_take(index);
    for (uint32_t i = 0; i < 4; i++)
        cell_init(cell_at(index, i), WORLD); /* the root, and three that stay empty */
    return index;
}

void geo_index_free(geo_index *index)
{
    for (size_t i = 0; i < CHUNKS_MAX && index->chunks[i] != NULL; i++)
        free(index->chunks[i]);
    while (index->ids != NULL) {
        ids_block *next = index->ids->next;

        free(index->ids);
        index->ids = next;
    }
    free(index->table);
    free(index->cells);
    pthread_rwlock_destroy(&index->lock);
    free(index);
}

static void entity_set_fix(entity *e, const geo_fix *fix)
{
    double at[3];

    to_space(fix->lon_deg, fix->lat_deg, at);
    e->fix = *fix;
    e->at = (space_point){(float)at[0], (float)at[1], (float)at[2]};
}

static void entity_add(geo_index *index, const geo_index_update *update, uint32_t hash)
{
    uint32_t number = index->len;
    entity **chunk = &index->chunks[number >> CHUNK_BITS];
    entity *e;

    if (number >> CHUNK_BITS >= CHUNKS_MAX)
        abort(); /* far more than the memory of the machines this runs on */
    if (*chunk == NULL)
        *chunk = check_memory(malloc(CHUNK_LEN * sizeof(entity)));
    e = entity_at(index, number);
    e->id = id_keep(index, update->entity_id);
    e->hash = hash;
    entity_set_fix(e, &update->fix);
    *table_slot(index, update->entity_id, hash) = number;
    index->len++;
    if (2 * (size_t)index->len > index->table_len)
        table_grow(index);
    cell_insert(index, number);
}

static void update_apply(geo_index *index, const geo_index_update *update)
{
    uint32_t hash = id_hash(update->entity_id);
    uint32_t number = *table_slot(index, update->entity_id, hash);
    entity *e;

    if (number == NONE) {
        entity_add(index, update, hash);
        return;
    }
    e = entity_at(index, number);
    if (update->fix.time_us <= e->fix.time_us)
        return;
    if (update->fix.lon_deg == e->fix.lon_deg && update->fix.lat_deg == e->fix.lat_deg) {
        e->fix = update->fix;
        return;
    }
    cell_remove(index, number);
    entity_set_fix(e, &update->fix);
    cell_insert(index, number);
}

void geo_index_apply(geo_index *index, const geo_index_update *updates, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t end = n - i > WRITE_LEN ? i + WRITE_LEN : n;

        pthread_rwlock_wrlock(&index->lock);
        for (; i < end; i++)
            update_apply(index, &updates[i]);
        pthread_rwlock_unlock(&index->lock);
    }
}

size_t geo_index_len(geo_index *index)
{
    size_t len;

    pthread_rwlock_rdlock(&index->lock);
    len = index->len;
    pthread_rwlock_unlock(&index->lock);
    return len;
}

bool geo_index_has(geo_index *index, const char *entity_id)
{
    bool has;

    pthread_rwlock_rdlock(&index->lock);
    has = *table_slot(index, entity_id, id_hash(entity_id)) != NONE;
    pthread_rwlock_unlock(&index->lock);
    return has;
}

/* ---- heaps: of cells to look at, nearest first, and of the best found, farthest first ---- */

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

/* ---- what is near ---- */

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

static void hits_copy_ids(wm_arena *arena, geo_hit *hits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hits[i].entity_id = wm_arena_strdup(arena, hits[i].entity_id);
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

    to_space(lon_deg, lat_deg, s.at);
    pthread_rwlock_rdlock(&index->lock);
    search_near(&s, &list);
    if (list.len > limit)
        list.len = limit;
    hits_copy_ids(arena, list.hits, list.len);
    pthread_rwlock_unlock(&index->lock);
    *hits = list.hits;
    return list.len;
}

/* ---- what is within ---- */

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
