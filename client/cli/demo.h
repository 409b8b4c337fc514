/* client/cli/demo.h - the fixes of a track file, all in memory, for `waymark demo`. */
#ifndef WAYMARK_CLIENT_CLI_DEMO_H
#define WAYMARK_CLIENT_CLI_DEMO_H

#include <waymark/geo/v1/geo.pb-c.h>

#include "client/cli/cli.h"

typedef struct demo_fixes {
    Waymark__Geo__V1__Position **positions; /* as in the file; entity ids with the prefix */
    size_t n;
    const char **entities; /* each once */
    size_t n_entities;
    size_t busiest; /* the entity with the most fixes */
} demo_fixes;

/* Everything lives in the arena. `name` is for complaints. */
WM_MUST_USE wm_code demo_fixes_read(demo_fixes *fixes, wm_arena *arena, const char *name,
                                    const char *text, size_t len, const char *prefix, wm_err *err);

#endif
