/* server/auth/auth.h - who calls, and what they may do: what other subjects see of auth/.
 *
 * The interceptor verifies the bearer token (token.h), finds the caller's roles in the
 * request's namespace (grants.h) and checks the permission that the method's row in
 * permissions.c names. A method without a row is refused: deny by default. Handlers
 * therefore only ask who and where:
 *
 *   const auth_principal *who = auth_principal_of(call);
 *   int32_t namespace_id = rpc_namespace(call);
 *
 * Open streams are checked again at least twice a second (promise 4).
 */
#ifndef WAYMARK_SERVER_AUTH_AUTH_H
#define WAYMARK_SERVER_AUTH_AUTH_H

#include "server/auth/types.h"
#include "server/event/hub.h"
#include "server/rpc/rpc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct auth auth;

WM_MUST_USE wm_code auth_new(const auth_config *config, lane **lanes, size_t n_lanes,
                             event_hub *hub, auth **made, wm_err *err);
void auth_free(auth *auth);
/* The interceptor, owned by `auth`. */
rpc_interceptor *auth_interceptor(auth *auth);
/* AuthService: WhoAmI, Grant, Revoke, ListGrants. */
rpc_service auth_service(auth *auth);

/* NULL for methods that need no token (health, reflection). Valid as long as the call. */
const auth_principal *auth_principal_of(const rpc_call *call);

#ifdef __cplusplus
}
#endif
#endif
