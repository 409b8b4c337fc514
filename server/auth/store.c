/* server/auth/store.c - the SQL of grants and namespaces; see store.h.
 *
 * Must not decide anything: who may read or change grants was settled before.
 */
#include "server/auth/store.h"

#include "server/auth/principal.h"

/* The caller's roles in a namespace, as bits. No row: no such namespace.
 * $1 namespace name  $2 member kinds  $3 members (the principal, then its groups) */
static const store_stmt LOAD_ROLES = {
    "auth_load_roles",
    "SELECT n.id, (SELECT coalesce(bit_or(1 << (g.role - 1)), 0)"
    "  FROM unnest($2::int[], $3::text[]) AS m (kind, name)"
    "  JOIN waymark.auth_grant g"
    "    ON g.namespace_id = n.id AND g.member_kind = m.kind AND g.member = m.name)"
    " FROM waymark.namespace n WHERE n.name = $1::text"};

/* $1 name */
static const store_stmt MAKE_NAMESPACE = {
    "auth_make_namespace",
    "INSERT INTO waymark.namespace (name) VALUES ($1::text) ON CONFLICT (name) DO NOTHING"};

/* $1 name */
static const store_stmt FIND_NAMESPACE = {"auth_find_namespace",
                                          "SELECT id FROM waymark.namespace WHERE name = $1::text"};

/* The columns that auth_store_read_grant() reads. */
#define GRANT_COLUMNS "grant_id, member_kind::int, member, role::int, creator, create_time"

/* Makes a grant, or finds the equal one. No row: an equal one was committed after this
 * statement's snapshot.
 * $1 namespace  $2 id  $3 member kind  $4 member  $5 role  $6 creator */
static const store_stmt ADD_GRANT = {
    "auth_add_grant",
    "WITH made AS ("
    " INSERT INTO waymark.auth_grant (namespace_id, grant_id, member_kind, member, role, creator)"
    " VALUES ($1::int, $2::uuid, $3::int, $4::text, $5::int, $6::text)"
    " ON CONFLICT (namespace_id, member_kind, member, role) DO NOTHING"
    " RETURNING " GRANT_COLUMNS ")"
    " SELECT * FROM made UNION ALL"
    " SELECT " GRANT_COLUMNS " FROM waymark.auth_grant"
    " WHERE namespace_id = $1::int AND member_kind = $3::int AND member = $4::text"
    " AND role = $5::int"};

/* $1 namespace  $2 id */
static const store_stmt DELETE_GRANT = {
    "auth_delete_grant",
    "DELETE FROM waymark.auth_grant WHERE namespace_id = $1::int AND grant_id = $2::uuid"
    " RETURNING " GRANT_COLUMNS};

/* $1 namespace  $2 after this id, or null  $3 member kind, 0 for all  $4 member
 * $5 role, 0 for all  $6 limit */
static const store_stmt LIST_GRANTS = {
    "auth_list_grants",
    "SELECT " GRANT_COLUMNS " FROM waymark.auth_grant"
    " WHERE namespace_id = $1::int AND ($2::uuid IS NULL OR grant_id > $2::uuid)"
    " AND ($3::int = 0 OR (member_kind = $3::int AND member = $4::text))"
    " AND ($5::int = 0 OR role = $5::int)"
    " ORDER BY grant_id LIMIT $6::int"};

void auth_store_load_roles(store *store, store_query *query, wm_arena *arena,
                           const char *namespace_name, const auth_principal *who,
                           void (*done)(store_query *query, wm_code code))
{
    size_t n = 1 + who->n_groups;
    int32_t *kinds = WM_NEW_ARRAY(arena, int32_t, n);
    const char **members = WM_NEW_ARRAY(arena, const char *, n);
    store_args args;

    kinds[0] = MEMBER_PRINCIPAL;
    members[0] = who->id;
    for (size_t i = 0; i < who->n_groups; i++) {
        kinds[i + 1] = MEMBER_GROUP;
        members[i + 1] = principal_id_text(arena, who->issuer, who->groups[i]);
    }
    store_args_init(&args, arena);
    store_arg_text(&args, namespace_name);
    store_arg_int32s(&args, kinds, n);
    store_arg_texts(&args, members, n);
    store_query_start(store, query, arena, &LOAD_ROLES, &args, false, done);
}

void auth_store_read_roles(const store_query *query, int32_t *namespace_id, unsigned *roles)
{
    const store_rows *rows = store_query_rows(query);

    *namespace_id = 0;
    *roles = 0;
    if (store_rows_len(rows) == 0)
        return;
    *namespace_id = store_int32(rows, 0, 0);
    *roles = (unsigned)store_int32(rows, 0, 1);
}

static void name_args(store_args *args, wm_arena *arena, const char *name)
{
    store_args_init(args, arena);
    store_arg_text(args, name);
}

void auth_store_make_namespace(store *store, store_query *query, wm_arena *arena, const char *name,
                               void (*done)(store_query *query, wm_code code))
{
    store_args args;

    name_args(&args, arena, name);
    store_query_start(store, query, arena, &MAKE_NAMESPACE, &args, true, done);
}

size_t auth_store_add_namespace(store_tx *tx, wm_arena *arena, const char *name)
{
    store_args args;

    name_args(&args, arena, name);
    return store_tx_add(tx, &MAKE_NAMESPACE, &args);
}

size_t auth_store_find_namespace(store_tx *tx, wm_arena *arena, const char *name)
{
    store_args args;

    name_args(&args, arena, name);
    return store_tx_add(tx, &FIND_NAMESPACE, &args);
}

size_t auth_store_add_grant(store_tx *tx, wm_arena *arena, int32_t namespace_id,
                            const grant_row *grant)
{
    store_args args;

    store_args_init(&args, arena);
    store_arg_int32(&args, namespace_id);
    store_arg_uuid(&args, &grant->id);
    store_arg_int32(&args, (int32_t)grant->kind);
    store_arg_text(&args, grant->member);
    store_arg_int32(&args, grant->role);
    store_arg_text(&args, grant->creator);
    return store_tx_add(tx, &ADD_GRANT, &args);
}

size_t auth_store_delete_grant(store_tx *tx, wm_arena *arena, int32_t namespace_id,
                               const wm_uuid *id)
{
    store_args args;

    store_args_init(&args, arena);
    store_arg_int32(&args, namespace_id);
    store_arg_uuid(&args, id);
    return store_tx_add(tx, &DELETE_GRANT, &args);
}

void auth_store_read_grant(const store_rows *rows, size_t i, grant_row *grant)
{
    grant->id = store_uuid(rows, i, 0);
    grant->kind = (member_kind)store_int32(rows, i, 1);
    grant->member = store_text(rows, i, 2);
    grant->role = store_int32(rows, i, 3);
    grant->creator = store_text(rows, i, 4);
    grant->create_time_us = store_time(rows, i, 5);
}

void auth_store_list_grants(store *store, store_query *query, wm_arena *arena, int32_t namespace_id,
                            const grant_filter *filter,
                            void (*done)(store_query *query, wm_code code))
{
    store_args args;

    store_args_init(&args, arena);
    store_arg_int32(&args, namespace_id);
    store_arg_uuid(&args, filter->after);
    store_arg_int32(&args, (int32_t)filter->kind);
    store_arg_text(&args, filter->member);
    store_arg_int32(&args, filter->role);
    store_arg_int32(&args, filter->limit);
    store_query_start(store, query, arena, &LIST_GRANTS, &args, false, done);
}
