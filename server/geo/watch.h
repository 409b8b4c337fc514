/* geo/watch.h - records of the hub, decoded once for all watchers of a lane.
 *
 * Threads: on the lane's loop, from a subscriber's callback.
 * Memory:  the message lives until the next record.
 */
#ifndef WAYMARK_SERVER_GEO_WATCH_H
#define WAYMARK_SERVER_GEO_WATCH_H

#include "server/geo/internal.h"

/* NULL when the record cannot be read (logged once). */
const ProtobufCMessage *geo_record_decode(geo_lane *at, const event_record *record);

#endif
