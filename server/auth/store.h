/* server/auth/store.h - the SQL of grants and namespaces.
 *
 * Threads: on the loop of the store given.
 * Memory:  arguments are copied; texts of rows live as long as the rows.
 */
#ifndef WAYMARK_SERVER_AUTH_STORE_H
#define WAYMARK_SERVER_AUTH_STORE_H

#include "server/auth/types.h"
#include "server/store/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As in waymark.auth_grant.member_kind. */
typedef enum member_kind { MEMBER_NONE, MEMBER_PRINCIPAL, MEMBER_GROUP } member_kind;

typedef struct grant_row {
    wm_uuid id;
    member_kind kind;
    const char *member; /* "issuer#name" */
    int role;           /* waymark.auth.v1.Role; its bit in auth_role is 1 << (role - 1) */
    const char *creator;
    int64_t create_time_us;
} grant_row;

/* Which grants to list. */
typedef struct grant_filter {
    member_kind kind; /* MEMBER_NONE: all */
    const char *member;
    int role;             /* 0: all */
    const wm_uuid *after; /* NULL: from the first */
    int32_t limit;
} grant_filter;

/* What a caller may do in a namespace. */
void auth_store_load_roles(store *store, store_query *query, wm_arena *arena,
                           const char *namespace_name, const auth_principal *who,
                           void (*done)(store_query *query, wm_code code));
/* Id 0: there is no such namespace. */
void auth_store_read_roles(const store_query *query, int32_t *namespace_id, unsigned *roles);

/* Makes a namespace when it is not there. */
void auth_store_make_namespace(store *store, store_query *query, wm_arena *arena, const char *name,
                               void (*done)(store_query *query, wm_code code));

/* Adds statements to a transaction's step; the index of the result is returned. */
size_t auth_store_add_namespace(store_tx *tx, wm_arena *arena, const char *name);
/* One row with the namespace's id, or none. */
size_t auth_store_find_namespace(store_tx *tx, wm_arena *arena, const char *name);
/* One row, the grant that is now there; none when another transaction has just made the same
 * grant: try again. */
size_t auth_store_add_grant(store_tx *tx, wm_arena *arena, int32_t namespace_id,
                            const grant_row *grant);
/* One row, the grant that was there, or none. */
size_t auth_store_delete_grant(store_tx *tx, wm_arena *arena, int32_t namespace_id,
                               const wm_uuid *id);
void auth_store_read_grant(const store_rows *rows, size_t i, grant_row *grant);

void auth_store_list_grants(store *store, store_query *query, wm_arena *arena, int32_t namespace_id,
                            const grant_filter *filter,
                            void (*done)(store_query *query, wm_code code));

#ifdef __cplusplus
}
#endif
#endif
