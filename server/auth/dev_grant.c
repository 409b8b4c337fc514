/* server/auth/dev_grant.c - makes a grant on behalf of the development issuer; see dev_grant.h.
 *
 *   caller ──lane_post──> loop: BEGIN -> NAMESPACE -> WRITE ──> caller goes on
 *
 * Must not be reachable by a call: it asks nobody for permission.
 */
#include "server/auth/dev_grant.h"

#include <stdlib.h>
#include <strings.h>

#include "server/auth/internal.h"

typedef struct dev_op {
    lane_msg msg;
    store_tx tx;
    wm_arena arena;
    auth *auth;
    lane *lane;
    const char *namespace_name;
    int32_t namespace_id;
    grant_row grant;
    size_t result;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool has_ended;
    wm_code code;
    wm_err err;
} dev_op;

/* The op may be gone as soon as the lock is free. */
static void dev_end(dev_op *op, wm_code code)
{
    pthread_mutex_lock(&op->lock);
    op->code = code;
    if (code != WM_OK)
        op->err = op->tx.err;
    op->has_ended = true;
    pthread_cond_signal(&op->ended);
    pthread_mutex_unlock(&op->lock);
}

static void dev_committed(store_tx *tx, wm_code code)
{
    dev_op *op = tx->ctx;

    if (code == WM_OK)
        auth_apply_change(op->auth, op->lane, "");
    dev_end(op, code);
}

static void dev_found(store_tx *tx, wm_code code)
{
    dev_op *op = tx->ctx;

    if (code != WM_OK) {
        dev_end(op, code);
        return;
    }
    op->namespace_id = store_int32(store_tx_rows(tx, op->result), 0, 0);
    auth_store_add_grant(tx, &op->arena, op->namespace_id, &op->grant);
    /* A namespace may be new, too: what is known of anybody is void. */
    auth_add_change(op->auth, tx, op->namespace_id, "");
    store_tx_commit(tx, dev_committed);
}

static void dev_ready(store_tx *tx, wm_code code)
{
    dev_op *op = tx->ctx;

    if (code != WM_OK) {
        dev_end(op, code);
        return;
    }
    auth_store_add_namespace(tx, &op->arena, op->namespace_name);
    op->result = auth_store_find_namespace(tx, &op->arena, op->namespace_name);
    store_tx_step(tx, dev_found);
}

static void dev_begin(lane_msg *msg)
{
    dev_op *op = wm_container_of(msg, dev_op, msg);

    store_tx_begin(lane_store(op->lane), &op->tx, &op->arena, true, dev_ready, op);
}

wm_code auth_dev_grant(void *ctx, const char *namespace_name, const char *principal, auth_role role,
                       wm_err *err)
{
    auth *auth = ctx;

    if (!namespace_name_is_valid(namespace_name))
        return wm_fail_field(err, "namespace", "FIELD_INVALID",
                             "a namespace is 1 to 63 of a-z, 0-9 and -, and does not begin with -");
    dev_op *op = calloc(1, sizeof(*op));
    if (!op)
        abort();
    wm_arena_init(&op->arena, 0);
    pthread_mutex_init(&op->lock, NULL);
    pthread_cond_init(&op->ended, NULL);
    op->auth = auth;
    op->lane = auth->lanes[0];
    op->namespace_name = namespace_name;
    op->grant = (grant_row){.id = wm_uuid_new(),
                            .kind = MEMBER_PRINCIPAL,
                            .member = principal,
                            .role = ffs((int)role),
                            .creator = "waymarkd dev"};
    op->msg.run = dev_begin;
    lane_post(op->lane, &op->msg);

    pthread_mutex_lock(&op->lock);
    while (!op->has_ended)
        pthread_cond_wait(&op->ended, &op->lock);
    pthread_mutex_unlock(&op->lock);
    wm_code code = op->code;
    if (code != WM_OK && err)
        *err = op->err;
    pthread_cond_destroy(&op->ended);
    pthread_mutex_destroy(&op->lock);
    wm_arena_free(&op->arena);
    free(op);
    return code;
}
