/* server/auth/internal.h - what the files of auth/ know of each other.
 *
 * Must not be included outside server/auth.
 */
#ifndef WAYMARK_SERVER_AUTH_INTERNAL_H
#define WAYMARK_SERVER_AUTH_INTERNAL_H

#include <pthread.h>

#include "server/auth/auth.h"
#include "server/auth/cache.h"
#include "server/auth/grants.h"
#include "server/auth/permissions.h"
#include "server/auth/token.h"
#include "waymark/auth/v1/auth_service.server.h"

struct auth {
    token_verifier *verifier;
    token_cache *cache;
    grants *grants;
    event_hub *hub; /* NULL: one process, no events */
    lane **lanes;
    size_t n_lanes;
    wm_arena arena;
    const char **issuers;
    size_t n_issuers;
    rpc_interceptor interceptor;
    event_subscriber subscriber; /* lane 0's */
    rpc_handler handlers[WAYMARK_AUTH_V1_AUTH_SERVICE_HANDLERS_N];
    pthread_mutex_t lock; /* of `prefetches` */
    pthread_cond_t none_left;
    size_t prefetches;
};

/* ---- interceptor.c ---- */
void interceptor_setup(auth *auth);
/* What WhoAmI, which any token may call, learns of the caller's grants. */
const grants_view *interceptor_view(const rpc_call *call);
WM_MUST_USE bool namespace_name_is_valid(const char *name);

/* ---- service.c ---- */
extern const waymark_auth_v1_auth_service_handlers auth_service_handlers;
/* Tells this process and the others that grants of a member were changed: into the
 * transaction, and after its commit. */
void auth_add_change(auth *auth, store_tx *tx, int32_t namespace_id, const char *member);
void auth_apply_change(auth *auth, lane *lane, const char *member);

#endif
