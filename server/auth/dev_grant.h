/* server/auth/dev_grant.h - grants made by the server itself, for development mode.
 *
 * Threads: any but a loop; blocks until the commit.
 */
#ifndef WAYMARK_SERVER_AUTH_DEV_GRANT_H
#define WAYMARK_SERVER_AUTH_DEV_GRANT_H

#include "server/auth/auth.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Gives a role to a principal ("issuer#subject") in a namespace, which is made when it is
 * not there. The signature is that of dev_issuer_grant_fn; `auth` is an auth *. */
WM_MUST_USE wm_code auth_dev_grant(void *auth, const char *namespace_name, const char *principal,
                                   auth_role role, wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
