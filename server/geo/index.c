/* geo/index.c - a quadtree over longitude and latitude that measures distance in space.
 *
 * Cells halve in longitude and latitude, which suits boxes and polygons. Distance does not suit
 * degrees (poles, antimeridian), so each cell also knows the box in earth-centred space (metres)
 * that holds its piece of the ellipsoid, and each entity its point there. A straight line through
 * space is never longer than the way along the surface, so distance in space bounds the geodesic
 * distance from below; near and far need no special cases.
 *
 * Entities are numbered; a number is found by hash of the id, and a leaf's entities are a doubly
 * linked list of numbers. Entities are never removed, only moved.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/geo/tree.h"

enum {
    LEAF_MAX = 16,  /* a leaf with more splits */
    MERGE_MAX = 8,  /* an inner cell with fewer becomes a leaf */
    DEPTH_MAX = 26, /* cells of half a metre; a leaf there holds any number */
    WRITE_LEN = 64, /* moves while readers wait */
    IDS_SIZE = 64 * 1024
};

#define EARTH_E2 (EARTH_F * (2 - EARTH_F))

struct ids_block {
    ids_block *next;
    char bytes[IDS_SIZE];
};

static void *check_memory(void *memory)
{
    if (memory == NULL)
        abort(); /* as base/arena.h does */
    return memory;
}

/* ---- space ---- */

void geo_tree_to_space(double lon_deg, double lat_deg, double out[3])
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

    geo_tree_to_space(0, nearest, outer);
    geo_tree_to_space(0, farthest, inner);
    for (int axis = 0; axis < 2; axis++) {
        double turn = axis == 0 ? 0 : 90; /* a sine is a cosine a quarter turn on */

        cosine_range(b.west - turn, east - turn, &least, &greatest);
        low[axis] = least * (least < 0 ? outer[0] : inner[0]);
        high[axis] = greatest * (greatest < 0 ? inner[0] : outer[0]);
    }
    geo_tree_to_space(0, b.south, outer);
    low[2] = outer[2];
    geo_tree_to_space(0, north, outer);
    high[2] = outer[2];
    for (int axis = 0; axis < 3; axis++) {
        c->low[axis] = (float)(low[axis] - SPACE_SLACK_M);
        c->high[axis] = (float)(high[axis] + SPACE_SLACK_M);
    }
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

    geo_tree_to_space(fix->lon_deg, fix->lat_deg, at);
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
