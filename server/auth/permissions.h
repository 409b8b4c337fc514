/* server/auth/permissions.h - which permission each method needs, and which roles hold it.
 *
 * One table, in permissions.c. What is not in it is refused.
 *
 * Threads: constant data.
 */
#ifndef WAYMARK_SERVER_AUTH_PERMISSIONS_H
#define WAYMARK_SERVER_AUTH_PERMISSIONS_H

#include <stddef.h>

#include "server/auth/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct permission {
    const char *name; /* "geo.read" */
    unsigned roles;   /* bits of auth_role */
} permission;

typedef enum permission_rule {
    PERMISSION_NO_TOKEN,  /* anybody */
    PERMISSION_ANY_TOKEN, /* whoever has a valid token */
    PERMISSION_OF_ROLE    /* who has the row's permission in the request's namespace */
} permission_rule;

typedef struct permission_row {
    const char *path; /* "/waymark.geo.v1.TrackService/GetEntity" */
    permission_rule rule;
    const permission *permission; /* PERMISSION_OF_ROLE */
    /* A configured admin's first call of this kind makes its namespace. */
    bool makes_namespace;
} permission_row;

/* NULL: the method has no row and is refused. */
const permission_row *permission_find(const char *path);

/* All permissions, sorted by name; for WhoAmI. */
const permission *permission_list(size_t *n);
/* The table, sorted by path; for the test that finds methods without a row. */
const permission_row *permission_rows(size_t *n);

/* "viewer", "operator", "worker", "admin", in the order of their bits. */
enum { AUTH_ROLES_N = 4 };
const char *auth_role_name(unsigned index);
/* Names of the roles in a mask, "operator or admin", into `text`. */
void auth_roles_describe(unsigned roles, char *text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
