/* geo/geos.h - a GEOS context that keeps the text of its last error. For area.c and fence.c.
 *
 * Threads: a context belongs to one thread at a time; the struct must not move while it is open.
 */
#ifndef WAYMARK_SERVER_GEO_GEOS_H
#define WAYMARK_SERVER_GEO_GEOS_H

/* The plain, global GEOS functions are not safe with threads. */
#define GEOS_USE_ONLY_R_API
#include <geos_c.h>

#include "server/geo/area.h"

typedef struct geo_geos {
    GEOSContextHandle_t context;
    char error[WM_ERR_MESSAGE_SIZE];
} geo_geos;

void geo_geos_open(geo_geos *geos);
void geo_geos_close(geo_geos *geos);
/* A polygon or multipolygon; NULL when the bytes are something else. */
GEOSGeometry *geo_geos_read_wkb(geo_geos *geos, geo_wkb wkb);

#endif
