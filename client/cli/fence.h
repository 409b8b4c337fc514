/* client/cli/fence.h - what other commands use of the fence commands. */
#ifndef WAYMARK_CLIENT_CLI_FENCE_H
#define WAYMARK_CLIENT_CLI_FENCE_H

#include <waymark/geo/v1/geo.pb-c.h>

#include "client/cli/cli.h"

/* Puts every feature of a GeoJSON text and counts them. `name` is for complaints. Returns the exit
 * code, after complaints. */
int fence_put_text(cli *cli, const char *name, const char *text, size_t len, size_t *n_put);

/* "enter" or "exit" */
const char *fence_event_kind(const Waymark__Geo__V1__FenceEvent *event);

#endif
