/* geo/tree.h - the quadtree of the live index, as the files of the index share it.
 *
 * index.c builds and changes it, near.c and within.c search it. Not for others.
 *
 * Threads: whoever reads holds the index's lock for reading, whoever changes for writing.
 */
#ifndef WAYMARK_SERVER_GEO_TREE_H
#define WAYMARK_SERVER_GEO_TREE_H

#include <geodesic.h>
#include <pthread.h>

#include "server/geo/index.h"

enum {
    CHUNK_BITS = 12,
    CHUNK_LEN = 1 << CHUNK_BITS,
    CHUNKS_MAX = 1 << 15 /* 134 million entities */
};

#define NONE UINT32_MAX
#define EARTH_A_M 6378137.0
#define EARTH_F (1 / 298.257223563)
/* Coordinates in space are floats, off by up to 0.25 m each. */
#define SPACE_SLACK_M 1.0

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

static inline entity *entity_at(const geo_index *index, uint32_t number)
{
    return &index->chunks[number >> CHUNK_BITS][number & (CHUNK_LEN - 1)];
}

static inline cell *cell_at(const geo_index *index, uint32_t number)
{
    return &index->cells[number];
}

static inline bounds quarter_bounds(bounds b, uint32_t which)
{
    b.width /= 2;
    b.height /= 2;
    if (which & 1)
        b.west += b.width;
    if (which & 2)
        b.south += b.height;
    return b;
}

static inline double square(double x)
{
    return x * x;
}

/* Where a place is, earth-centred, metres. */
void geo_tree_to_space(double lon_deg, double lat_deg, double out[3]);

/* The ids of hits, which are the index's, as the caller's own. */
static inline void hits_copy_ids(wm_arena *arena, geo_hit *hits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hits[i].entity_id = wm_arena_strdup(arena, hits[i].entity_id);
}

#endif
