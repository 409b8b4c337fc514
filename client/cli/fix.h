/* client/cli/fix.h - a fix of a track file as a message. */
#ifndef WAYMARK_CLIENT_CLI_FIX_H
#define WAYMARK_CLIENT_CLI_FIX_H

#include <waymark/geo/v1/geo.pb-c.h>

#include "base/arena.h"
#include "client/cli/track_file.h"

/* All of it in the arena. */
Waymark__Geo__V1__Position *fix_position(wm_arena *arena, const track_fix *fix);

#endif
