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

#include "server/event/hub.h"
#include "server/rpc/rpc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A verified caller. Immutable, reference counted by the auth module, shared by calls. */
typedef struct auth_principal {
    const char *issuer;
    const char *subject;  /* the token's `sub` */
    const char *id;       /* "issuer#subject"; what grants name */
    const char *name;     /* for people; may equal subject */
    const char *client_id; /* azp or client_id, or "" */
    const char *const *groups;
    size_t n_groups;
    int64_t expire_time_us; /* wall clock */
} auth_principal;

typedef enum auth_role {
    AUTH_VIEWER = 1u << 0,
    AUTH_OPERATOR = 1u << 1,
    AUTH_WORKER = 1u << 2,
    AUTH_ADMIN = 1u << 3
} auth_role;

/* One trusted issuer. */
typedef struct auth_issuer {
    const char *issuer;        /* exact `iss` */
    const char *audience;      /* required `aud` */
    const char *discovery_url; /* NULL: issuer + "/.well-known/openid-configuration" */
    const char *ca_file;       /* NULL: the system's */
    bool development;          /* refused unless the server runs in dev mode */
} auth_issuer;

typedef struct auth_config {
    const auth_issuer *issuers;
    size_t n_issuers;
    /* Principals ("issuer#subject") that are admin in every namespace, whatever the
     * grants say: the way in for a fresh installation. */
    const char *const *admins;
    size_t n_admins;
    bool dev_mode;
} auth_config;

typedef struct auth auth;

WM_MUST_USE wm_code auth_new(const auth_config *config, lane **lanes, size_t n_lanes, event_hub *hub, auth **made,
                             wm_err *err);
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
