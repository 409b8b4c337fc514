/* waymark/waymark.h - the waymark C SDK: everything but the generated calls and the worker loop.
 *
 * Typed calls are in the headers made from the protos: "waymark/geo/v1/track_service.client.h"
 * and its like; they include what they need of this one. waymark/worker.h works on tasks.
 *
 * What is the same everywhere:
 * - Functions may be called from any thread unless they say otherwise.
 * - What an options struct points to is copied, or used only during the call.
 * - Misuse (a stream of another method's type, a write after the close, an answer given twice)
 *   asserts where asserts are on. Like the gRPC core below it, the SDK aborts when memory is out.
 * - Zero is every option's default, so `= {0}` is a good start. Options structs end in reserved
 *   room, from which later options of the same soname come; so keep it zero.
 */
#ifndef WAYMARK_WAYMARK_H
#define WAYMARK_WAYMARK_H

#include <waymark/call.h>
#include <waymark/client.h>
#include <waymark/credentials.h>
#include <waymark/interceptor.h>
#include <waymark/status.h>

#endif
