/* base/arena.h - memory that dies together.
 *
 * An arena hands out pieces of a few big chunks and frees them all at once.
 * Each call owns one; batches and streamed messages have their own.
 *
 * Threads: one user at a time; nothing here locks.
 * Memory:  the first WM_ARENA_INLINE_SIZE bytes live inside the struct itself
 *          (the owner embeds it), later chunks double up to 256 KiB. A total
 *          above `limit` makes the allocation return NULL.
 * Failure: only wm_arena_try() returns NULL. The others abort the process when
 *          the system has no memory and return NULL only above the limit, which
 *          callers on validated input may treat as a bug.
 */
#ifndef WAYMARK_BASE_ARENA_H
#define WAYMARK_BASE_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WM_ARENA_INLINE_SIZE = 2048 };

typedef struct wm_arena_chunk wm_arena_chunk;

/* Embedded by its owner; the fields are private. */
typedef struct wm_arena {
    wm_arena_chunk *chunks;
    char *next, *end;
    size_t used, limit;
    ProtobufCAllocator allocator;
    char first[WM_ARENA_INLINE_SIZE] __attribute__((aligned(16)));
} wm_arena;

/* `limit`: bytes this arena may ever hold at once; 0 means 64 MiB. */
void wm_arena_init(wm_arena *arena, size_t limit);
/* Frees everything; the arena may be used again at once. */
void wm_arena_reset(wm_arena *arena);
void wm_arena_free(wm_arena *arena);

/* 16-byte aligned, not zeroed. */
void *wm_arena_alloc(wm_arena *arena, size_t size) __attribute__((malloc));
void *wm_arena_zalloc(wm_arena *arena, size_t size) __attribute__((malloc));
void *wm_arena_try(wm_arena *arena, size_t size) __attribute__((malloc));
/* n * size with an overflow check. */
void *wm_arena_array(wm_arena *arena, size_t n, size_t size) __attribute__((malloc));
char *wm_arena_strdup(wm_arena *arena, const char *text);
char *wm_arena_strndup(wm_arena *arena, const char *text, size_t len);
void *wm_arena_memdup(wm_arena *arena, const void *bytes, size_t size);
char *wm_arena_printf(wm_arena *arena, const char *fmt, ...) WM_PRINTF(2, 3);
/* The most that it may hold; it may be changed at any time, also to less than it holds. */
size_t wm_arena_limit(const wm_arena *arena);
void wm_arena_set_limit(wm_arena *arena, size_t limit);
/* Bytes it holds now, with those inside the struct. */
size_t wm_arena_used(const wm_arena *arena);

/* For protobuf-c: allocates here, frees nothing. Owned by the arena. */
ProtobufCAllocator *wm_arena_protobuf(wm_arena *arena);

#define WM_NEW(arena, type) ((type *)wm_arena_zalloc((arena), sizeof(type)))
#define WM_NEW_ARRAY(arena, type, n) ((type *)wm_arena_array((arena), (n), sizeof(type)))

#ifdef __cplusplus
}
#endif
#endif
