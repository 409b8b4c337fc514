/* base/arena.c - memory that dies together; see arena.h.
 *
 * Chunks form a stack. The newest chunk is filled from its start; what does not
 * fit gets a new chunk, twice as big as the last one up to WM_ARENA_CHUNK_MAX.
 * A piece bigger than that gets a chunk of its own behind the newest one, so
 * that the room left in the newest is not lost.
 */
#include "base/arena.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WM_ARENA_ALIGN = 16,
    WM_ARENA_CHUNK_MIN = 4 * 1024,
    WM_ARENA_CHUNK_MAX = 256 * 1024,
    WM_ARENA_LIMIT_DEFAULT = 64 * 1024 * 1024
};

struct wm_arena_chunk {
    wm_arena_chunk *older;
    size_t size; /* with this header */
};

static_assert(sizeof(wm_arena_chunk) % WM_ARENA_ALIGN == 0, "pieces after the header are aligned");

static void *arena_protobuf_alloc(void *self, size_t size)
{
    return wm_arena_try(self, size);
}

static void arena_protobuf_free(void *self, void *piece)
{
    (void)self;
    (void)piece;
}

static void arena_rewind(wm_arena *arena)
{
    arena->chunks = NULL;
    arena->next = arena->first;
    arena->end = arena->first + WM_ARENA_INLINE_SIZE;
    arena->used = WM_ARENA_INLINE_SIZE;
}

void wm_arena_init(wm_arena *arena, size_t limit)
{
    arena_rewind(arena);
    arena->limit = limit > 0 ? limit : WM_ARENA_LIMIT_DEFAULT;
    arena->allocator.alloc = arena_protobuf_alloc;
    arena->allocator.free = arena_protobuf_free;
    arena->allocator.allocator_data = arena;
}

void wm_arena_reset(wm_arena *arena)
{
    wm_arena_chunk *chunk = arena->chunks;

    while (chunk != NULL) {
        wm_arena_chunk *older = chunk->older;

        free(chunk);
        chunk = older;
    }
    arena_rewind(arena);
}

void wm_arena_free(wm_arena *arena)
{
    wm_arena_reset(arena);
}

/* How big the next chunk is that holds `size` bytes; 0 when the limit forbids it. */
static size_t arena_chunk_size(const wm_arena *arena, size_t size)
{
    size_t want = arena->chunks != NULL ? arena->chunks->size * 2 : WM_ARENA_CHUNK_MIN;
    size_t need = size + sizeof(wm_arena_chunk);
    size_t left = arena->limit > arena->used ? arena->limit - arena->used : 0;

    if (need > left)
        return 0;
    if (want > WM_ARENA_CHUNK_MAX)
        want = WM_ARENA_CHUNK_MAX;
    if (want < need)
        want = need;
    return want < left ? want : left;
}

/* `size` is already rounded up. `*over_limit` tells the two reasons for NULL apart. */
static void *arena_grow(wm_arena *arena, size_t size, bool *over_limit)
{
    size_t chunk_size = arena_chunk_size(arena, size);
    wm_arena_chunk *chunk;
    char *piece;

    *over_limit = chunk_size == 0;
    if (chunk_size == 0)
        return NULL;
    chunk = malloc(chunk_size);
    if (chunk == NULL)
        return NULL;
    chunk->size = chunk_size;
    arena->used += chunk_size;
    piece = (char *)chunk + sizeof(*chunk);
    if (size > WM_ARENA_CHUNK_MAX / 2 && arena->chunks != NULL) {
        chunk->older = arena->chunks->older;
        arena->chunks->older = chunk;
        return piece;
    }
    chunk->older = arena->chunks;
    arena->chunks = chunk;
    arena->next = piece + size;
    arena->end = (char *)chunk + chunk_size;
    return piece;
}

static void *arena_take(wm_arena *arena, size_t size, bool *over_limit)
{
    size_t rounded = (size + WM_ARENA_ALIGN - 1) & ~(size_t)(WM_ARENA_ALIGN - 1);

    *over_limit = rounded < size || rounded > SIZE_MAX / 4;
    if (*over_limit)
        return NULL;
    if (rounded <= (size_t)(arena->end - arena->next)) {
        char *piece = arena->next;

        arena->next += rounded;
        return piece;
    }
    return arena_grow(arena, rounded, over_limit);
}

void *wm_arena_try(wm_arena *arena, size_t size)
{
    bool over_limit;

    return arena_take(arena, size, &over_limit);
}

void *wm_arena_alloc(wm_arena *arena, size_t size)
{
    bool over_limit;
    void *piece = arena_take(arena, size, &over_limit);

    if (piece == NULL && !over_limit) {
        fputs("waymark: out of memory\n", stderr);
        abort();
    }
    return piece;
}

void *wm_arena_zalloc(wm_arena *arena, size_t size)
{
    void *piece = wm_arena_alloc(arena, size);

    if (piece != NULL)
        memset(piece, 0, size);
    return piece;
}

void *wm_arena_array(wm_arena *arena, size_t n, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(n, size, &total))
        return NULL;
    return wm_arena_zalloc(arena, total);
}

char *wm_arena_strndup(wm_arena *arena, const char *text, size_t len)
{
    char *copy = wm_arena_alloc(arena, len + 1);

    if (copy == NULL)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *wm_arena_strdup(wm_arena *arena, const char *text)
{
    return wm_arena_strndup(arena, text, strlen(text));
}

void *wm_arena_memdup(wm_arena *arena, const void *bytes, size_t size)
{
    void *copy = wm_arena_alloc(arena, size);

    if (copy != NULL && size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

char *wm_arena_printf(wm_arena *arena, const char *fmt, ...)
{
    va_list args;
    char *text;
    int len;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(len >= 0);
    text = wm_arena_alloc(arena, (size_t)len + 1);
    if (text == NULL)
        return NULL;
    va_start(args, fmt);
    vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}

size_t wm_arena_limit(const wm_arena *arena)
{
    return arena->limit;
}

void wm_arena_set_limit(wm_arena *arena, size_t limit)
{
    arena->limit = limit;
}

size_t wm_arena_used(const wm_arena *arena)
{
    return arena->used;
}

ProtobufCAllocator *wm_arena_protobuf(wm_arena *arena)
{
    return &arena->allocator;
}
