/* server/auth/types.h - the plain data of auth/: callers, roles, issuers. No behaviour. */
#ifndef WAYMARK_SERVER_AUTH_TYPES_H
#define WAYMARK_SERVER_AUTH_TYPES_H

#include "base/arena.h"
#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A verified caller. Immutable, reference counted by the auth module, shared by calls. */
typedef struct auth_principal {
    const char *issuer;
    const char *subject;   /* the token's `sub` */
    const char *id;        /* "issuer#subject"; what grants name */
    const char *name;      /* for people; may equal subject */
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

#ifdef __cplusplus
}
#endif
#endif
