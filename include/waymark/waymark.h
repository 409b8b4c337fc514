/* waymark/waymark.h - the waymark C SDK: everything but the generated calls.
 *
 * Typed calls are in the headers made from the protos: "waymark/geo/v1/track_service.client.h"
 * and its like; they include what they need of this one.
 */
#ifndef WAYMARK_WAYMARK_H
#define WAYMARK_WAYMARK_H

#include <waymark/call.h>
#include <waymark/client.h>
#include <waymark/credentials.h>
#include <waymark/status.h>

#endif
