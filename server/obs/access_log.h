/* server/obs/access_log.h - one JSON line per call.
 *
 *   {"time":"...","level":"info","msg":"call","call":"9b2f...","method":"/waymark...",
 *    "code":"OK","duration_us":412,"namespace":"default","subject":"alice","peer":"ipv4:...",
 *    "trace":"4bf9..."}
 *
 * `trace` is the trace id of a client that sent a `traceparent`, else empty.
 *
 * Answered calls are logged at debug level when they are health checks or reflection, else
 * at info; those that end with INTERNAL, UNKNOWN or DATA_LOSS at error.
 *
 * A busy server would write megabytes a second that nobody reads, so at most
 * OBS_CALLS_PER_SECOND_MAX lines a second are written below error level; what was left out is
 * counted in a line "calls not logged".
 *
 * Threads: the interceptor runs on whichever thread a call ends on; its only state is
 *          the count of this second's lines.
 */
#ifndef WAYMARK_SERVER_OBS_ACCESS_LOG_H
#define WAYMARK_SERVER_OBS_ACCESS_LOG_H

#include "server/rpc/rpc.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { OBS_CALLS_PER_SECOND_MAX = 500 };

/* Put it first in the chain: it lets every call pass. Static. */
rpc_interceptor *obs_access_log(void);

#ifdef __cplusplus
}
#endif
#endif
