/* server/auth/interceptor.c - the door: token, namespace, permission, for each call.
 *
 *   started()    token in the cache? ── yes ──────────────────────────> next
 *                   └── no ──> loop ──> worker: token_verify ──> loop ──> next or refused
 *                                          └─ parked behind a key fetch ─> again
 *   requested()  roles known? ── yes ──> permission? ──> next or refused
 *                   └── no ──> grants_ask waits for the query ──^
 *                a configured admin's first write makes the namespace before that
 *   checked()    open streams: token expired, or role gone ──> abort
 *
 * Both waits keep what they need in the call's arena: the call cannot go before it was
 * answered. Must not block: started() and requested() run on the queue thread.
 */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "server/auth/internal.h"

static auth *auth_of(const rpc_interceptor *interceptor)
{
    return interceptor->self;
}

static void refuse(rpc_call *call, wm_code code, const char *reason, const char *what)
{
    wm_err err = {0};

    wm_fail(&err, code, reason, "%s", what);
    rpc_fail(call, &err);
}

/* The call keeps the principal, and with it the text. */
static void principal_set(rpc_call *call, principal *who)
{
    rpc_set_principal(call, who, principal_release);
    rpc_set_subject(call, who->seen.subject);
}

/* ---- the token ---- */

/* One token being verified. */
typedef struct verify {
    lane_job job;
    lane_msg msg; /* to the loop: first to begin, then to go on after being parked */
    token_waiter waiter;
    auth *auth;
    rpc_call *call;
    const char *token;
    size_t token_len;
    uint8_t digest[PRINCIPAL_DIGEST_SIZE];
    token_outcome outcome;
    unsigned parts; /* of being parked: the job is back, the fetch has ended */
    wm_code code;
    principal *made;
    wm_err err;
} verify;

static void verify_run(lane_job *job)
{
    verify *verify = wm_container_of(job, struct verify, job);

    verify->outcome = token_verify(verify->auth->verifier, verify->token, verify->token_len,
                                   &verify->waiter, &verify->code, &verify->made, &verify->err);
}

/* The job may be given out again only when it has come back and the fetch has ended: in
 * which order these two reach the loop is not known. */
static void verify_part(verify *verify)
{
    if (++verify->parts < 2)
        return;
    verify->parts = 0;
    lane_work(verify->job.lane, &verify->job);
}

static void verify_resumed(lane_msg *msg)
{
    verify_part(wm_container_of(msg, verify, msg));
}

static void verify_resume(token_waiter *waiter)
{
    verify *verify = wm_container_of(waiter, struct verify, waiter);

    verify->msg.run = verify_resumed;
    lane_post(verify->job.lane, &verify->msg);
}

static void verify_done(lane_job *job)
{
    verify *verify = wm_container_of(job, struct verify, job);

    if (verify->outcome == TOKEN_PARKED) {
        verify_part(verify);
        return;
    }
    if (verify->code != WM_OK) {
        rpc_fail(verify->call, &verify->err);
        return;
    }
    token_cache_put(verify->auth->cache, verify->digest, verify->made);
    principal_set(verify->call, verify->made);
    rpc_next(verify->call);
}

static void verify_begin(lane_msg *msg)
{
    verify *verify = wm_container_of(msg, struct verify, msg);

    lane_work(verify->job.lane, &verify->job);
}

static void verify_start(auth *auth, rpc_call *call, const char *token, size_t len,
                         const uint8_t *digest)
{
    verify *verify = WM_NEW(rpc_arena(call), struct verify);

    verify->job.lane = rpc_lane(call);
    verify->job.run = verify_run;
    verify->job.done = verify_done;
    verify->msg.run = verify_begin;
    verify->waiter.resume = verify_resume;
    verify->auth = auth;
    verify->call = call;
    verify->token = token;
    verify->token_len = len;
    memcpy(verify->digest, digest, sizeof(verify->digest));
    lane_post(verify->job.lane, &verify->msg);
}

/* RFC 6750, 2.1. The scheme's case does not matter; more than one blank does. */
static const char *bearer_of(const rpc_call *call, size_t *len)
{
    const char *value = rpc_metadata(call, "authorization", len);

    if (!value || *len <= 7 || strncasecmp(value, "Bearer ", 7) != 0)
        return NULL;
    *len -= 7;
    return value + 7;
}

static void on_started(rpc_interceptor *self, rpc_call *call)
{
    auth *auth = auth_of(self);
    const permission_row *row = permission_find(rpc_method(call)->path);
    uint8_t digest[PRINCIPAL_DIGEST_SIZE];
    size_t len;

    if (!row) {
        refuse(call, WM_DENIED, "PERMISSION_MISSING", "no permission is known for this method");
        return;
    }
    if (row->rule == PERMISSION_NO_TOKEN) {
        rpc_next(call);
        return;
    }
    const char *token = bearer_of(call, &len);
    if (!token) {
        refuse(call, WM_UNAUTHENTICATED, "TOKEN_MISSING",
               "the call has no metadata \"authorization: Bearer TOKEN\"");
        return;
    }
    principal_sha256(token, len, digest);
    principal *found = token_cache_find(auth->cache, digest, wm_now_us());
    if (!found) {
        verify_start(auth, call, token, len, digest);
        return;
    }
    principal_set(call, found);
    rpc_next(call);
}

/* ---- the namespace ---- */

bool namespace_name_is_valid(const char *name)
{
    size_t len = strlen(name);

    return len >= 1 && len <= NAMESPACE_NAME_MAX && name[0] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static const char *text_field(const ProtobufCMessage *message, const char *name)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);

    if (!field || field->type != PROTOBUF_C_TYPE_STRING ||
        field->label == PROTOBUF_C_LABEL_REPEATED)
        return NULL;
    return *(char *const *)(const void *)((const char *)message + field->offset);
}

/* The message of a oneof that is set: streams open with one (WorkTasksRequest.open). */
static const ProtobufCMessage *chosen_message(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;

    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const char *base = (const char *)message;

        if (field->type != PROTOBUF_C_TYPE_MESSAGE || !(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
            continue;
        if (*(const uint32_t *)(const void *)(base + field->quantifier_offset) == field->id)
            return *(ProtobufCMessage *const *)(const void *)(base + field->offset);
    }
    return NULL;
}

/* "default" for requests that name none. */
static const char *namespace_of(const ProtobufCMessage *request)
{
    const char *name = text_field(request, "namespace");

    if (!name) {
        const ProtobufCMessage *chosen = chosen_message(request);
        if (chosen)
            name = text_field(chosen, "namespace");
    }
    return name && name[0] != '\0' ? name : "default";
}

/* ---- the permission ---- */

/* One call whose roles are being looked for. */
typedef struct decision {
    grants_waiter waiter;
    auth *auth;
    rpc_call *call;
    const permission_row *row;
    const char *namespace_name;
    lane_msg msg;
    store_query query; /* makes the namespace */
} decision;

static principal *principal_of(const rpc_call *call)
{
    return rpc_principal(call);
}

static unsigned roles_of(const principal *who, const grants_view *view)
{
    return view->roles | (who->is_admin ? (unsigned)AUTH_ADMIN : 0);
}

static void deny(rpc_call *call, const permission_row *row, const char *namespace_name)
{
    char roles[64];
    wm_err err = {0};

    auth_roles_describe(row->permission->roles, roles, sizeof(roles));
    wm_fail(&err, WM_DENIED, "PERMISSION_MISSING",
            "the permission %s in namespace %s is needed: a grant of the role %s",
            row->permission->name, namespace_name, roles);
    rpc_fail(call, &err);
}

static void pass(rpc_call *call, const grants_view *view, const char *namespace_name)
{
    rpc_set_namespace(call, view->namespace_id, namespace_name);
    rpc_next(call);
}

static void make_namespace(auth *auth, rpc_call *call, const permission_row *row,
                           const char *namespace_name);

static void decide(auth *auth, rpc_call *call, const permission_row *row,
                   const char *namespace_name, const grants_view *view)
{
    if (row->rule == PERMISSION_ANY_TOKEN) {
        rpc_set_data(call, wm_arena_memdup(rpc_arena(call), view, sizeof(*view)));
        pass(call, view, namespace_name);
        return;
    }
    if (!(roles_of(principal_of(call), view) & row->permission->roles)) {
        deny(call, row, namespace_name);
        return;
    }
    if (view->namespace_id != 0) {
        pass(call, view, namespace_name);
        return;
    }
    /* Only a configured admin has a role where there is no namespace. */
    if (row->makes_namespace)
        make_namespace(auth, call, row, namespace_name);
    else
        refuse(call, WM_NOT_FOUND, "NAMESPACE_NOT_FOUND",
               "there is no such namespace; an admin's first write makes it");
}

static void decision_ready(grants_waiter *waiter, wm_code code, const grants_view *view,
                           const wm_err *err)
{
    decision *decision = wm_container_of(waiter, struct decision, waiter);

    if (code == WM_OK)
        decide(decision->auth, decision->call, decision->row, decision->namespace_name, view);
    else
        rpc_fail(decision->call, err);
}

static decision *decision_new(auth *auth, rpc_call *call, const permission_row *row,
                              const char *namespace_name)
{
    decision *decision = wm_arena_alloc(rpc_arena(call), sizeof(*decision));

    decision->waiter.ready = decision_ready;
    decision->auth = auth;
    decision->call = call;
    decision->row = row;
    decision->namespace_name = namespace_name;
    return decision;
}

static void ask(auth *auth, rpc_call *call, const permission_row *row, const char *namespace_name)
{
    decision *decision = decision_new(auth, call, row, namespace_name);
    grants_view view;

    if (grants_ask(auth->grants, rpc_lane(call), principal_of(call), namespace_name, &view,
                   &decision->waiter))
        decide(auth, call, row, namespace_name, &view);
}

static void namespace_made(store_query *query, wm_code code)
{
    decision *decision = wm_container_of(query, struct decision, query);
    rpc_call *call = decision->call;

    if (code != WM_OK) {
        rpc_fail(call, &query->tx.err);
        return;
    }
    /* What was known of the namespace, that it is not there, is void for everybody. */
    grants_changed(decision->auth->grants, rpc_lane(call), "");
    ask(decision->auth, call, decision->row, decision->namespace_name);
}

static void make_namespace_on_loop(lane_msg *msg)
{
    decision *decision = wm_container_of(msg, struct decision, msg);
    rpc_call *call = decision->call;

    auth_store_make_namespace(lane_store(rpc_lane(call)), &decision->query, rpc_arena(call),
                              decision->namespace_name, namespace_made);
}

static void make_namespace(auth *auth, rpc_call *call, const permission_row *row,
                           const char *namespace_name)
{
    decision *decision = decision_new(auth, call, row, namespace_name);

    decision->msg.run = make_namespace_on_loop;
    lane_post(rpc_lane(call), &decision->msg);
}

static void on_requested(rpc_interceptor *self, rpc_call *call, const ProtobufCMessage *request)
{
    const permission_row *row = permission_find(rpc_method(call)->path);
    const char *name;

    assert(row); /* started() has let it pass */
    if (row->rule == PERMISSION_NO_TOKEN) {
        rpc_next(call);
        return;
    }
    name = namespace_of(request);
    if (!namespace_name_is_valid(name)) {
        wm_err err = {0};
        wm_fail_field(&err, "namespace", "FIELD_INVALID",
                      "a namespace is 1 to 63 of a-z, 0-9 and -, and does not begin with -");
        rpc_fail(call, &err);
        return;
    }
    ask(auth_of(self), call, row, name);
}

const grants_view *interceptor_view(const rpc_call *call)
{
    return rpc_data(call);
}

/* ---- open streams ---- */

static void end_stream(rpc_call *call, wm_code code, const char *reason, const char *what)
{
    wm_err err = {0};

    wm_fail(&err, code, reason, "%s", what);
    rpc_abort(call, &err);
}

static void on_checked(rpc_interceptor *self, rpc_call *call)
{
    auth *auth = auth_of(self);
    principal *who = principal_of(call);
    const permission_row *row = permission_find(rpc_method(call)->path);
    grants_view view;

    if (!who || !row || row->rule == PERMISSION_NO_TOKEN)
        return;
    if (who->seen.expire_time_us <= wm_now_us()) {
        end_stream(call, WM_UNAUTHENTICATED, "ACCESS_ENDED", "the stream's token has expired");
        return;
    }
    if (row->rule == PERMISSION_ANY_TOKEN)
        return;
    switch (grants_watch(auth->grants, rpc_lane(call), who, rpc_namespace_name(call), &view)) {
    case GRANTS_NOT_NOW:
        return;
    case GRANTS_TOO_OLD:
        end_stream(call, WM_UNAVAILABLE, "STORE_UNAVAILABLE",
                   "the stream's permission could not be checked for a minute");
        return;
    case GRANTS_KNOWN:
        break;
    }
    if (!(roles_of(who, &view) & row->permission->roles))
        end_stream(call, WM_DENIED, "ACCESS_ENDED", "the grant that allowed the stream is gone");
}

void interceptor_setup(auth *auth)
{
    auth->interceptor = (rpc_interceptor){
        .name = "auth",
        .self = auth,
        .started = on_started,
        .requested = on_requested,
        .checked = on_checked,
    };
}
