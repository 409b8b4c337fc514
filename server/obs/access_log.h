/* server/obs/access_log.h - one JSON line per call.
 *
 *   {"time":"...","level":"info","msg":"call","call":"9b2f...","method":"/waymark...",
 *    "code":"OK","duration_us":412,"namespace":"default","subject":"alice","peer":"ipv4:..."}
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

/* Who the caller of a call is, for the log; NULL for nobody. Auth says it, so that obs need
 * not know auth. Set before the server starts. */
void obs_access_log_set_subject(const char *(*subject)(const rpc_call *call));

#ifdef __cplusplus
}
#endif
#endif
