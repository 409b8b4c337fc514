/* server/dev/dev.h - `waymarkd dev`: everything on a laptop, in one process tree.
 *
 * A private PostgreSQL and Redis, a loopback OIDC issuer and the server itself; they stop
 * together. `--join DIR` is a second server on what runs in DIR.
 */
#ifndef WAYMARK_SERVER_DEV_DEV_H
#define WAYMARK_SERVER_DEV_DEV_H

#include "server/config.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Runs until SIGTERM or SIGINT. Main thread. */
WM_MUST_USE wm_code dev_run(config *config, wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
