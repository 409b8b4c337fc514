/* client/cli/demo_fixes.c - the fixes of a track file, all in memory; see demo.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/demo.h"
#include "client/cli/fix.h"

/* Reads and checks every line; with `positions` also keeps the fixes. Counts them. */
static wm_code fixes_scan(track_file *file, wm_arena *arena, const char *name, const char *prefix,
                          Waymark__Geo__V1__Position **positions, wm_err *err)
{
    track_fix fix;
    wm_err why;
    wm_code code;

    while ((code = track_file_next(file, &fix, &why)) == WM_OK) {
        Waymark__Geo__V1__Position *position;

        if (positions == NULL)
            continue;
        position = fix_position(arena, &fix);
        position->entity_id = wm_arena_printf(arena, "%s%s", prefix, fix.entity);
        positions[file->rows - 1] = position;
    }
    if (code == WM_NOT_FOUND)
        return WM_OK;
    return wm_fail(err, code, why.reason, "%s:%" PRId64 ": %s", name, file->line, why.message);
}

static int fixes_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts the ids of all fixes, then keeps each once. */
static void fixes_find_entities(demo_fixes *fixes, wm_arena *arena)
{
    size_t run = 0, longest = 0;

    fixes->entities = WM_NEW_ARRAY(arena, const char *, fixes->n + 1);
    for (size_t i = 0; i < fixes->n; i++)
        fixes->entities[i] = fixes->positions[i]->entity_id;
    qsort(fixes->entities, fixes->n, sizeof(*fixes->entities), fixes_compare);
    fixes->n_entities = 0;
    for (size_t i = 0; i < fixes->n; i++) {
        bool same = fixes->n_entities > 0 &&
                    strcmp(fixes->entities[fixes->n_entities - 1], fixes->entities[i]) == 0;

        if (!same)
            fixes->entities[fixes->n_entities++] = fixes->entities[i];
        run = same ? run + 1 : 1;
        if (run > longest) {
            longest = run;
            fixes->busiest = fixes->n_entities - 1;
        }
    }
}

wm_code demo_fixes_read(demo_fixes *fixes, wm_arena *arena, const char *name, const char *text,
                        size_t len, const char *prefix, wm_err *err)
{
    track_file file;
    wm_code code = track_file_of_text(&file, name, text, len, err);

    if (code == WM_OK)
        code = fixes_scan(&file, arena, name, prefix, NULL, err);
    if (code != WM_OK)
        return code;
    fixes->n = (size_t)file.rows;
    if (fixes->n == 0)
        return wm_fail(err, WM_INVALID, "FIELD_REQUIRED", "%s has no fixes", name);
    fixes->positions = WM_NEW_ARRAY(arena, Waymark__Geo__V1__Position *, fixes->n);
    track_file_rewind(&file);
    code = fixes_scan(&file, arena, name, prefix, fixes->positions, err);
    if (code == WM_OK)
        fixes_find_entities(fixes, arena);
    return code;
}
