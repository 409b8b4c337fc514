/* server/auth/service.c - AuthService: WhoAmI, Grant, Revoke, ListGrants.
 *
 * The interceptor has checked the permission; here the requests are checked, and changes are
 * written with the record that tells the other processes, in one transaction:
 *
 *   Grant    BEGIN -> WRITE -> REPLY          (WRITE -> BEGIN when an equal grant was just made)
 *   Revoke   BEGIN -> DELETE -> WRITE -> REPLY
 *
 * An op lives in its call's arena and ends its call exactly once. Must not reply before the
 * commit, nor before this process has forgotten what it knew of the member.
 */
#include <string.h>

#include "base/clock.h"
#include "server/auth/internal.h"

enum { PAGE_SIZE_DEFAULT = 100, PAGE_SIZE_MAX = 1000, MEMBER_MAX = 1024, GRANT_TRIES_MAX = 3 };

typedef Waymark__Auth__V1__Grant grant_message;
typedef Google__Protobuf__Timestamp timestamp;

static timestamp *time_message(wm_arena *arena, int64_t time_us)
{
    timestamp *time = WM_NEW(arena, timestamp);

    google__protobuf__timestamp__init(time);
    time->seconds = time_us / 1000000;
    time->nanos = (int32_t)(time_us % 1000000) * 1000;
    return time;
}

/* ---- WhoAmI ---- */

static void add_roles(wm_arena *arena, unsigned roles, Waymark__Auth__V1__WhoAmIResponse *reply)
{
    size_t n;
    const permission *permissions = permission_list(&n);

    reply->roles = WM_NEW_ARRAY(arena, Waymark__Auth__V1__Role, AUTH_ROLES_N);
    for (unsigned i = 0; i < AUTH_ROLES_N; i++)
        if (roles & 1u << i)
            reply->roles[reply->n_roles++] = (Waymark__Auth__V1__Role)(i + 1);
    reply->permissions = WM_NEW_ARRAY(arena, char *, n);
    for (size_t i = 0; i < n; i++)
        if (roles & permissions[i].roles)
            reply->permissions[reply->n_permissions++] = (char *)permissions[i].name;
}

/* Inline: it reads nothing but what the interceptor found. */
static void who_am_i_called(rpc_call *call, const Waymark__Auth__V1__WhoAmIRequest *request)
{
    const principal *who = rpc_principal(call);
    const auth_principal *seen = &who->seen;
    wm_arena *arena = rpc_arena(call);
    Waymark__Auth__V1__WhoAmIResponse reply = WAYMARK__AUTH__V1__WHO_AM_IRESPONSE__INIT;

    (void)request;
    reply.principal = (char *)seen->id;
    reply.issuer = (char *)seen->issuer;
    reply.subject = (char *)seen->subject;
    reply.name = (char *)seen->name;
    reply.client_id = (char *)seen->client_id;
    reply.n_groups = seen->n_groups;
    reply.groups = (char **)seen->groups;
    reply.expire_time = time_message(arena, seen->expire_time_us);
    reply.namespace_ = (char *)rpc_namespace_name(call);
    reply.configured_admin = who->is_admin;
    add_roles(arena, interceptor_view(call)->roles | (who->is_admin ? (unsigned)AUTH_ADMIN : 0),
              &reply);
    waymark_auth_v1_auth_service_who_am_i_reply(call, &reply);
}

/* ---- what requests name ---- */

/* "issuer#name" of a member; a text without "#" is of the caller's own issuer. */
static wm_code member_read(const auth *auth, const rpc_call *call, wm_arena *arena,
                           const char *field, const char *text, const char **member, wm_err *err)
{
    const char *hash = strchr(text, '#');

    if (text[0] == '\0')
        return wm_fail_field(err, field, "FIELD_REQUIRED", "%s is empty", field);
    if (strlen(text) > MEMBER_MAX)
        return wm_fail_field(err, field, "FIELD_TOO_LONG", "%s is longer than %d bytes", field,
                             MEMBER_MAX);
    if (!hash) {
        *member = principal_id_text(arena, auth_principal_of(call)->issuer, text);
        return WM_OK;
    }
    if (hash[1] == '\0')
        return wm_fail_field(err, field, "FIELD_INVALID", "%s has nothing after the #", field);
    for (size_t i = 0; i < auth->n_issuers; i++) {
        size_t len = strlen(auth->issuers[i]);
        if (len == (size_t)(hash - text) && strncmp(text, auth->issuers[i], len) == 0) {
            *member = text;
            return WM_OK;
        }
    }
    return wm_fail_field(err, field, "FIELD_INVALID",
                         "%s does not begin with a configured issuer and a #", field);
}

static wm_code role_read(Waymark__Auth__V1__Role role, bool required, wm_err *err)
{
    if (role == WAYMARK__AUTH__V1__ROLE__ROLE_UNSPECIFIED)
        return required ? wm_fail_field(err, "role", "FIELD_REQUIRED", "role is required") : WM_OK;
    if ((int)role < 1 || (int)role > AUTH_ROLES_N)
        return wm_fail_field(err, "role", "FIELD_INVALID", "there is no role %d", (int)role);
    return WM_OK;
}

static grant_message *grant_of_row(rpc_call *call, const grant_row *row)
{
    wm_arena *arena = rpc_arena(call);
    grant_message *grant = WM_NEW(arena, grant_message);
    char *id = wm_arena_alloc(arena, WM_UUID_TEXT_SIZE);
    char *member = wm_arena_strdup(arena, row->member);

    waymark__auth__v1__grant__init(grant);
    wm_uuid_format(&row->id, id);
    grant->grant_id = id;
    grant->namespace_ = (char *)rpc_namespace_name(call);
    if (row->kind == MEMBER_PRINCIPAL) {
        grant->member_case = WAYMARK__AUTH__V1__GRANT__MEMBER_PRINCIPAL;
        grant->principal = member;
    } else {
        grant->member_case = WAYMARK__AUTH__V1__GRANT__MEMBER_GROUP;
        grant->group = member;
    }
    grant->role = (Waymark__Auth__V1__Role)row->role;
    grant->create_time = time_message(arena, row->create_time_us);
    grant->creator = wm_arena_strdup(arena, row->creator);
    return grant;
}

/* ---- changes ---- */

void auth_add_change(auth *auth, store_tx *tx, int32_t namespace_id, const char *member)
{
    if (auth->hub)
        event_outbox_add(tx, EVENT_GRANTS, namespace_id, member, strlen(member));
}

void auth_apply_change(auth *auth, lane *lane, const char *member)
{
    grants_changed(auth->grants, lane, member);
    if (auth->hub)
        event_hub_wake(auth->hub);
}

typedef struct change_op {
    store_tx tx;
    auth *auth;
    rpc_call *call;
    grant_row grant;
    size_t result; /* index of the statement's rows */
    unsigned tries;
} change_op;

static change_op *change_new(rpc_call *call)
{
    change_op *op = WM_NEW(rpc_arena(call), change_op);

    op->auth = rpc_ctx(call);
    op->call = call;
    return op;
}

static void grant_begin(change_op *op);

static void grant_committed(store_tx *tx, wm_code code)
{
    change_op *op = tx->ctx;
    Waymark__Auth__V1__GrantResponse reply = WAYMARK__AUTH__V1__GRANT_RESPONSE__INIT;

    if (code != WM_OK) {
        rpc_fail(op->call, &tx->err);
        return;
    }
    const store_rows *rows = store_tx_rows(tx, op->result);
    if (store_rows_len(rows) == 0) {
        wm_err err = {0};
        if (++op->tries < GRANT_TRIES_MAX) {
            grant_begin(op);
            return;
        }
        wm_fail(&err, WM_ABORTED, "STORE_BUSY", "equal grants are made and revoked all the time");
        rpc_fail(op->call, &err);
        return;
    }
    auth_store_read_grant(rows, 0, &op->grant);
    auth_apply_change(op->auth, rpc_lane(op->call), op->grant.member);
    reply.grant = grant_of_row(op->call, &op->grant);
    waymark_auth_v1_auth_service_grant_reply(op->call, &reply);
}

static void grant_ready(store_tx *tx, wm_code code)
{
    change_op *op = tx->ctx;
    int32_t namespace_id = rpc_namespace(op->call);

    if (code != WM_OK) {
        rpc_fail(op->call, &tx->err);
        return;
    }
    op->result = auth_store_add_grant(tx, rpc_arena(op->call), namespace_id, &op->grant);
    auth_add_change(op->auth, tx, namespace_id, op->grant.member);
    store_tx_commit(tx, grant_committed);
}

static void grant_begin(change_op *op)
{
    store_tx_begin(lane_store(rpc_lane(op->call)), &op->tx, rpc_arena(op->call), true, grant_ready,
                   op);
}

static void grant_called(rpc_call *call, const Waymark__Auth__V1__GrantRequest *request)
{
    change_op *op = change_new(call);
    wm_err err = {0};
    wm_code code = WM_OK;

    switch (request->member_case) {
    case WAYMARK__AUTH__V1__GRANT_REQUEST__MEMBER_PRINCIPAL:
        op->grant.kind = MEMBER_PRINCIPAL;
        code = member_read(op->auth, call, rpc_arena(call), "principal", request->principal,
                           &op->grant.member, &err);
        break;
    case WAYMARK__AUTH__V1__GRANT_REQUEST__MEMBER_GROUP:
        op->grant.kind = MEMBER_GROUP;
        code = member_read(op->auth, call, rpc_arena(call), "group", request->group,
                           &op->grant.member, &err);
        break;
    default:
        code = wm_fail_field(&err, "principal", "FIELD_REQUIRED", "principal or group is required");
    }
    if (code == WM_OK)
        code = role_read(request->role, true, &err);
    if (code != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    op->grant.id = wm_uuid_new();
    op->grant.role = (int)request->role;
    op->grant.creator = auth_principal_of(call)->id;
    grant_begin(op);
}

/* ---- Revoke ---- */

static void revoke_committed(store_tx *tx, wm_code code)
{
    change_op *op = tx->ctx;
    Waymark__Auth__V1__RevokeResponse reply = WAYMARK__AUTH__V1__REVOKE_RESPONSE__INIT;

    if (code != WM_OK) {
        rpc_fail(op->call, &tx->err);
        return;
    }
    auth_apply_change(op->auth, rpc_lane(op->call), op->grant.member);
    waymark_auth_v1_auth_service_revoke_reply(op->call, &reply);
}

static void revoke_missed(store_tx *tx, wm_code code)
{
    change_op *op = tx->ctx;
    char id[WM_UUID_TEXT_SIZE];
    wm_err err = {0};

    (void)code;
    wm_uuid_format(&op->grant.id, id);
    wm_fail(&err, WM_NOT_FOUND, "GRANT_NOT_FOUND", "there is no grant %s in namespace %s", id,
            rpc_namespace_name(op->call));
    rpc_fail(op->call, &err);
}

static void revoke_deleted(store_tx *tx, wm_code code)
{
    change_op *op = tx->ctx;

    if (code != WM_OK) {
        rpc_fail(op->call, &tx->err);
        return;
    }
    const store_rows *rows = store_tx_rows(tx, op->result);
    if (store_rows_len(rows) == 0) {
        store_tx_rollback(tx, revoke_missed);
        return;
    }
    auth_store_read_grant(rows, 0, &op->grant);
    op->grant.member = wm_arena_strdup(rpc_arena(op->call), op->grant.member);
    auth_add_change(op->auth, tx, rpc_namespace(op->call), op->grant.member);
    store_tx_commit(tx, revoke_committed);
}

static void revoke_ready(store_tx *tx, wm_code code)
{
    change_op *op = tx->ctx;

    if (code != WM_OK) {
        rpc_fail(op->call, &tx->err);
        return;
    }
    op->result =
        auth_store_delete_grant(tx, rpc_arena(op->call), rpc_namespace(op->call), &op->grant.id);
    store_tx_step(tx, revoke_deleted);
}

static void revoke_called(rpc_call *call, const Waymark__Auth__V1__RevokeRequest *request)
{
    change_op *op = change_new(call);
    wm_err err = {0};

    if (!wm_uuid_parse(request->grant_id, &op->grant.id)) {
        wm_fail_field(&err, "grant_id",
                      request->grant_id[0] == '\0' ? "FIELD_REQUIRED" : "ID_MALFORMED",
                      "grant_id is not the UUID of a grant");
        rpc_fail(call, &err);
        return;
    }
    store_tx_begin(lane_store(rpc_lane(call)), &op->tx, rpc_arena(call), true, revoke_ready, op);
}

/* ---- ListGrants ---- */

typedef struct list_op {
    store_query query;
    rpc_call *call;
    grant_filter filter;
    wm_uuid after;
    int32_t page_size;
} list_op;

enum { BINDING_HEX = 8, PAGE_TOKEN_LEN = WM_UUID_TEXT_SIZE - 1 + 1 + BINDING_HEX };

/* Of what a page token is bound to: it must not carry on another list. */
static void filter_binding(rpc_call *call, const grant_filter *filter, char hex[BINDING_HEX + 1])
{
    uint8_t digest[PRINCIPAL_DIGEST_SIZE];
    const char *text =
        wm_arena_printf(rpc_arena(call), "%d %d %d %s", rpc_namespace(call), filter->role,
                        (int)filter->kind, filter->member ? filter->member : "");

    principal_sha256(text, strlen(text), digest);
    for (size_t i = 0; i < BINDING_HEX / 2; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* The last grant's id and the binding: "0190...-...:1a2b3c4d". */
static char *page_token_make(list_op *op, const wm_uuid *last)
{
    char id[WM_UUID_TEXT_SIZE], binding[BINDING_HEX + 1];

    wm_uuid_format(last, id);
    filter_binding(op->call, &op->filter, binding);
    return wm_arena_printf(rpc_arena(op->call), "%s:%s", id, binding);
}

static wm_code page_token_read(list_op *op, const char *token, wm_err *err)
{
    char id[WM_UUID_TEXT_SIZE], binding[BINDING_HEX + 1];

    if (token[0] == '\0')
        return WM_OK;
    filter_binding(op->call, &op->filter, binding);
    snprintf(id, sizeof(id), "%s", token);
    if (strlen(token) != PAGE_TOKEN_LEN || token[WM_UUID_TEXT_SIZE - 1] != ':' ||
        strcmp(token + WM_UUID_TEXT_SIZE, binding) != 0 || !wm_uuid_parse(id, &op->after))
        return wm_fail_field(err, "page_token", "PAGE_TOKEN_INVALID",
                             "page_token is not of this list");
    op->filter.after = &op->after;
    return WM_OK;
}

static void list_done(store_query *query, wm_code code)
{
    list_op *op = wm_container_of(query, list_op, query);
    Waymark__Auth__V1__ListGrantsResponse reply = WAYMARK__AUTH__V1__LIST_GRANTS_RESPONSE__INIT;
    grant_row row;

    if (code != WM_OK) {
        rpc_fail(op->call, &query->tx.err);
        return;
    }
    const store_rows *rows = store_query_rows(query);
    size_t n = store_rows_len(rows);
    size_t n_shown = n > (size_t)op->page_size ? (size_t)op->page_size : n;
    reply.grants = WM_NEW_ARRAY(rpc_arena(op->call), grant_message *, n_shown);
    for (; reply.n_grants < n_shown; reply.n_grants++) {
        auth_store_read_grant(rows, reply.n_grants, &row);
        reply.grants[reply.n_grants] = grant_of_row(op->call, &row);
    }
    if (n > n_shown)
        reply.next_page_token = page_token_make(op, &row.id);
    waymark_auth_v1_auth_service_list_grants_reply(op->call, &reply);
}

static wm_code list_read(list_op *op, const Waymark__Auth__V1__ListGrantsRequest *request,
                         wm_err *err)
{
    const auth *auth = rpc_ctx(op->call);
    wm_arena *arena = rpc_arena(op->call);
    wm_code code = WM_OK;

    if (request->page_size < 0)
        return wm_fail_field(err, "page_size", "FIELD_INVALID", "page_size is negative");
    op->page_size = request->page_size == 0 ? PAGE_SIZE_DEFAULT : request->page_size;
    if (op->page_size > PAGE_SIZE_MAX)
        op->page_size = PAGE_SIZE_MAX;
    op->filter.limit = op->page_size + 1; /* one more tells whether there is a next page */

    if (request->member_case == WAYMARK__AUTH__V1__LIST_GRANTS_REQUEST__MEMBER_PRINCIPAL) {
        op->filter.kind = MEMBER_PRINCIPAL;
        code = member_read(auth, op->call, arena, "principal", request->principal,
                           &op->filter.member, err);
    } else if (request->member_case == WAYMARK__AUTH__V1__LIST_GRANTS_REQUEST__MEMBER_GROUP) {
        op->filter.kind = MEMBER_GROUP;
        code = member_read(auth, op->call, arena, "group", request->group, &op->filter.member, err);
    }
    if (code == WM_OK)
        code = role_read(request->role, false, err);
    op->filter.role = (int)request->role;
    return code == WM_OK ? page_token_read(op, request->page_token, err) : code;
}

static void list_called(rpc_call *call, const Waymark__Auth__V1__ListGrantsRequest *request)
{
    list_op *op = WM_NEW(rpc_arena(call), list_op);
    wm_err err = {0};

    op->call = call;
    if (list_read(op, request, &err) != WM_OK) {
        rpc_fail(call, &err);
        return;
    }
    auth_store_list_grants(lane_store(rpc_lane(call)), &op->query, rpc_arena(call),
                           rpc_namespace(call), &op->filter, list_done);
}

const waymark_auth_v1_auth_service_handlers auth_service_handlers = {
    .who_am_i = {.flags = RPC_INLINE, .request = who_am_i_called},
    .grant = {.request = grant_called},
    .revoke = {.request = revoke_called},
    .list_grants = {.request = list_called},
};
