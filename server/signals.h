/* server/signals.h - SIGTERM and SIGINT: the first asks to stop, a second ends at once.
 *
 * The signals are blocked before any thread is made and taken by the main thread alone.
 */
#ifndef WAYMARK_SERVER_SIGNALS_H
#define WAYMARK_SERVER_SIGNALS_H

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

/* First thing in main(): blocks SIGTERM, SIGINT and SIGCHLD, ignores SIGPIPE. */
void signals_block(void);
/* Waits up to timeout_ms for SIGTERM or SIGINT; true when one came. Returns early when a
 * child ended. */
bool signals_wait(unsigned timeout_ms);
/* From here on a further SIGTERM or SIGINT ends the process. */
void signals_release(void);

#ifdef __cplusplus
}
#endif
#endif
