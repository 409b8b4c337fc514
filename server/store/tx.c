/* server/store/tx.c - transactions: the wait for a connection, steps, the end.
 *
 *   WAITING ──> READY ──> OPEN <──> STEPPING
 *                          │ │          │ error
 *                          │ └─> COMMITTING ──> (RESOLVING) ──> over
 *                          └──> ROLLING_BACK ──> over
 *
 * Statements go out as they are added; libpq buffers them until the step. The first one of
 * a writing transaction is preceded by a question for its xid, and that by itself is
 * flushed: so the xid is known before anything can have been committed, unless the
 * connection goes within that first round trip.
 *
 * The end of a transaction that is found out inside a call of its owner is delivered in
 * the store's turn, never from inside.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/store/internal.h"

static const store_stmt xid_stmt = {"store.xid", "SELECT pg_current_xact_id()"};

static const store_stmt nothing_stmt = {"store.nothing", "SELECT"};

/* ---- lists ---- */

static void tx_append(store_tx ***tail, store_tx *tx)
{
    tx->next = NULL;
    **tail = tx;
    *tail = &tx->next;
}

static store_tx *tx_take_first(store_tx **list, store_tx ***tail)
{
    store_tx *tx = *list;

    *list = tx->next;
    if (*list == NULL)
        *tail = list;
    tx->next = NULL;
    return tx;
}

static void tx_defer(store_tx *tx, tx_state state)
{
    store *store = tx->store;

    tx->state = state;
    tx_append(&store->deferred_tail, tx);
    store_turn_soon(store);
}

void store_tx_defer_end(store_tx *tx)
{
    tx_defer(tx, TX_ENDING);
}

/* ---- waiting ---- */

static void wait_timer_set(store *store);

static void wait_on_timer(uv_timer_t *timer)
{
    store *store = wm_container_of(timer, struct store, wait_timer);
    int64_t now_us = wm_monotonic_us();

    while (store->waiting != NULL && store->waiting->wait_until_us <= now_us) {
        store_tx *tx = tx_take_first(&store->waiting, &store->waiting_tail);
        store->n_waiting--;
        store_fail_unavailable(&tx->err, store->n_up == 0 ? "cannot be reached" : "is busy");
        tx_defer(tx, TX_ENDING);
    }
    while (store->urgent != NULL && store->urgent->wait_until_us <= now_us) {
        store_tx *tx = tx_take_first(&store->urgent, &store->urgent_tail);
        store_fail_unavailable(&tx->err, "cannot be reached");
        tx_defer(tx, TX_ENDING);
    }
    wait_timer_set(store);
}

/* Both lists are in the order in which their waits end. */
static void wait_timer_set(store *store)
{
    int64_t until_us = INT64_MAX;

    if (store->waiting != NULL)
        until_us = store->waiting->wait_until_us;
    if (store->urgent != NULL && store->urgent->wait_until_us < until_us)
        until_us = store->urgent->wait_until_us;
    if (until_us == INT64_MAX) {
        uv_timer_stop(&store->wait_timer);
        return;
    }
    int64_t left_us = until_us - wm_monotonic_us();
    uv_timer_start(&store->wait_timer, wait_on_timer,
                   left_us <= 0 ? 0 : (uint64_t)left_us / 1000 + 1, 0);
}

void store_assign(store *store)
{
    while (store->idle != NULL && (store->urgent != NULL || store->waiting != NULL)) {
        store_tx *tx;

        if (store->urgent != NULL) {
            tx = tx_take_first(&store->urgent, &store->urgent_tail);
        } else {
            tx = tx_take_first(&store->waiting, &store->waiting_tail);
            store->n_waiting--;
        }
        store_conn_take_tx(store->idle, tx);
        tx_defer(tx, TX_READY);
    }
}

static void tx_init(store *store, store_tx *tx, wm_arena *arena, bool writes, store_tx_fn ready,
                    void *ctx)
{
    memset(tx, 0, sizeof(*tx));
    tx->ctx = ctx;
    tx->store = store;
    tx->arena = arena;
    tx->done = ready;
    tx->hooks_tail = &tx->hooks;
    tx->writes = writes;
}

/* True when the transaction waits; else err says why not. */
static bool tx_wait(store *store, store_tx *tx)
{
    if (store->closing) {
        wm_fail(&tx->err, WM_UNAVAILABLE, "SHUTTING_DOWN", "the server is stopping");
        return false;
    }
    if (store->n_waiting >= STORE_PENDING_MAX) {
        wm_fail(&tx->err, WM_EXHAUSTED, "STORE_BUSY", "%d transactions wait already",
                STORE_PENDING_MAX);
        tx->err.retry_after_ms = 200;
        return false;
    }
    tx->state = TX_WAITING;
    tx->wait_until_us = wm_monotonic_us() + STORE_WAIT_MS * INT64_C(1000);
    tx_append(&store->waiting_tail, tx);
    if (store->n_waiting++ == 0)
        wait_timer_set(store);
    return true;
}

void store_tx_begin(store *store, store_tx *tx, wm_arena *arena, bool writes, store_tx_fn ready,
                    void *ctx)
{
    tx_init(store, tx, arena, writes, ready, ctx);
    if (store->idle != NULL && store->waiting == NULL && !store->closing) {
        store_conn_take_tx(store->idle, tx);
        tx_defer(tx, TX_READY);
    } else if (!tx_wait(store, tx)) {
        tx_defer(tx, TX_ENDING);
    }
}

void store_tx_begin_urgent(store *store, store_tx *tx, wm_arena *arena, int64_t wait_until_us,
                           store_tx_fn ready, void *ctx)
{
    tx_init(store, tx, arena, false, ready, ctx);
    tx->wait_until_us = wait_until_us;
    tx->state = TX_WAITING;
    store_tx **link = &store->urgent;
    while (*link != NULL && (*link)->wait_until_us <= wait_until_us)
        link = &(*link)->next;
    tx->next = *link;
    *link = tx;
    if (tx->next == NULL)
        store->urgent_tail = &tx->next;
    wait_timer_set(store);
    store_assign(store);
}

/* ---- delivering ---- */

static void tx_run_hooks(store_tx *tx)
{
    store_hook *hook = tx->hooks;

    while (hook != NULL) {
        store_hook *next = hook->next; /* the hook may go with what embeds it */
        hook->committed(hook);
        hook = next;
    }
}

void store_tx_deliver_end(store_tx *tx, wm_code code, store_results *results, bool committed)
{
    store_results *kept = tx->kept;
    store_tx_fn done = tx->done;

    tx->results = results;
    tx->conn = NULL;
    tx->state = TX_OVER;
    if (committed) {
        tx->store->stats.commits++;
        tx_run_hooks(tx);
    }
    done(tx, code); /* tx may be gone, or begun again, after this */
    if (results != NULL)
        store_results_clear(results);
    if (kept != NULL) {
        store_results_free(kept);
        free(kept);
    }
}

static void tx_deliver_ready(store_tx *tx)
{
    if (tx->conn != NULL) {
        tx->state = TX_OPEN;
        tx->done(tx, WM_OK);
        return;
    }
    /* The connection went before the owner heard of it: nothing has happened yet. */
    if (tx_wait(tx->store, tx))
        store_assign(tx->store);
    else
        store_tx_deliver_end(tx, tx->err.code, NULL, false);
}

void store_turn(store *store)
{
    /* Only what is here now: what callbacks defer comes next turn, so that sockets are
     * served in between. */
    store_tx *tx = store->deferred;

    store->deferred = NULL;
    store->deferred_tail = &store->deferred;
    while (tx != NULL) {
        store_tx *next = tx->next;
        if (tx->state == TX_READY)
            tx_deliver_ready(tx);
        else
            store_tx_deliver_end(tx, tx->err.code, NULL, tx->state == TX_EMPTY);
        tx = next;
    }
}

/* ---- steps ---- */

size_t store_tx_add(store_tx *tx, const store_stmt *stmt, const store_args *args)
{
    store_conn *conn = tx->conn;

    assert(tx->state == TX_OPEN || tx->state == TX_BROKEN);
    if (tx->state == TX_OPEN && !conn->failed) {
        if (tx->writes && tx->xid == 0 && tx->n_added == 0) {
            store_conn_send(conn, &xid_stmt, NULL, EXPECT_XID);
            store_conn_send_flush(conn);
        }
        store_conn_send(conn, stmt, args, EXPECT_ROWS);
    }
    return tx->n_added++;
}

/* The end of a transaction that broke while its owner was at work. */
static void tx_end_broken(store_tx *tx, store_tx_fn done)
{
    tx->done = done;
    tx_defer(tx, TX_ENDING);
}

void store_tx_step(store_tx *tx, store_tx_fn done)
{
    if (tx->state == TX_BROKEN) {
        tx_end_broken(tx, done);
        return;
    }
    assert(tx->state == TX_OPEN && tx->n_added > 0);
    tx->done = done;
    tx->state = TX_STEPPING;
    if (!tx->conn->failed) {
        /* All answers may be here already, when the owner took its time between adding and
         * this; then something has to tell us so. */
        if (tx->conn->expected_n == 0)
            store_conn_send(tx->conn, &nothing_stmt, NULL, EXPECT_NOTHING);
        store_conn_send_flush(tx->conn);
        store_conn_flush(tx->conn);
    }
}

/* Over without anything to tell the server; TX_EMPTY: a commit. */
static void tx_end_empty(store_tx *tx, tx_state state)
{
    store_conn *conn = tx->conn;

    tx->conn = NULL;
    tx->err.code = WM_OK;
    tx_defer(tx, state);
    store_conn_release(conn);
}

void store_tx_commit(store_tx *tx, store_tx_fn done)
{
    if (tx->state == TX_BROKEN) {
        tx_end_broken(tx, done);
        return;
    }
    assert(tx->state == TX_OPEN);
    tx->done = done;
    if (tx->n_added == 0 && tx->xid == 0 && !tx->sent) {
        tx_end_empty(tx, TX_EMPTY);
        return;
    }
    tx->state = TX_COMMITTING;
    if (tx->conn->failed)
        return; /* the sync is on its way already */
    /* With the results flushed ahead of the commit, a commit whose answer is lost can still
     * be told with its results. */
    if (tx->writes)
        store_conn_send_flush(tx->conn);
    store_conn_send_sync(tx->conn);
}

void store_tx_rollback(store_tx *tx, store_tx_fn done)
{
    if (tx->state == TX_BROKEN) {
        tx->err.code = WM_OK;
        tx_end_broken(tx, done);
        return;
    }
    assert(tx->state == TX_OPEN);
    tx->done = done;
    if (tx->n_added == 0 && tx->xid == 0 && !tx->sent) {
        tx_end_empty(tx, TX_ENDING);
        return;
    }
    tx->state = TX_ROLLING_BACK;
    if (tx->conn->failed)
        return;
    if (tx->writes)
        store_conn_send_rollback(tx->conn);
    store_conn_send_sync(tx->conn);
}

const store_rows *store_tx_rows(const store_tx *tx, size_t i)
{
    assert(tx->results != NULL && i < tx->results->n);
    return (const store_rows *)(const void *)tx->results->rows[i];
}

void store_tx_keep_rows(store_tx *tx)
{
    store_results *from = tx->results;

    assert(from != NULL && !from->moved);
    if (tx->kept == NULL)
        tx->kept = calloc(1, sizeof(*tx->kept));
    if (tx->kept == NULL)
        abort();
    for (size_t i = 0; i < from->n; i++)
        store_results_add(tx->kept, from->rows[i]);
    from->moved = true;
}

void store_tx_add_hook(store_tx *tx, store_hook *hook)
{
    hook->next = NULL;
    *tx->hooks_tail = hook;
    tx->hooks_tail = &hook->next;
}

/* ---- what the connection tells ---- */

/* Lends the room of `spare` to the step to come, and returns these results. */
static store_results conn_swap_results(store_conn *conn)
{
    store_results results = conn->results;

    conn->results = conn->spare;
    conn->spare = (store_results){0};
    return results;
}

static void conn_return_results(store_conn *conn, store_results *results)
{
    store_results_clear(results);
    if (conn->spare.room == 0 && conn->store != NULL)
        conn->spare = *results;
    else
        store_results_free(results);
}

void store_tx_on_result(store_conn *conn)
{
    store_tx *tx = conn->tx;

    if (tx->state != TX_STEPPING || conn->failed || conn->doomed || conn->expected_n > 0)
        return;
    assert(conn->results.n == tx->n_added);
    store_results results = conn_swap_results(conn);
    tx->state = TX_OPEN;
    tx->sent = true;
    tx->n_added = 0;
    tx->results = &results;
    tx->done(tx, WM_OK);
    /* The owner may have ended the transaction; `kept` is what keep_rows() took. */
    conn_return_results(conn, &results);
}

void store_tx_on_sync(store_conn *conn)
{
    store_tx *tx = conn->tx;
    store_results results = conn_swap_results(conn);
    bool failed = conn->failed;
    wm_err err = conn->err;

    assert(tx != NULL);
    if (tx->state == TX_OPEN) {
        /* An early statement failed while the owner is still adding. */
        tx->state = TX_BROKEN;
        tx->err = err;
        tx->conn = NULL;
        conn_return_results(conn, &results);
        store_conn_release(conn);
        return;
    }
    tx->conn = NULL;
    bool rolled_back = tx->state == TX_ROLLING_BACK;
    assert(rolled_back || failed || tx->state == TX_COMMITTING);
    if (failed && !rolled_back)
        tx->err = err;
    /* First the connection, so that what the owner starts now finds it. */
    store_conn_release(conn);
    if (failed || rolled_back)
        store_tx_deliver_end(tx, rolled_back ? WM_OK : err.code, NULL, false);
    else
        store_tx_deliver_end(tx, WM_OK, &results, true);
    conn_return_results(conn, &results);
}

/* The sync may have reached the server: look, or say that nobody knows. */
static void tx_lost_commit(store_tx *tx, store_conn *conn)
{
    if (tx->xid != 0) {
        bool complete = conn->results.n == tx->n_added;
        store_results results = conn_swap_results(conn);
        tx->state = TX_RESOLVING;
        store_resolve(tx, conn->epoch, &results, complete);
        return;
    }
    wm_fail(&tx->err, WM_UNKNOWN, "COMMIT_UNKNOWN",
            "the answer to a commit was lost before its transaction could be named");
    tx_defer(tx, TX_ENDING);
}

void store_tx_on_lost(store_conn *conn, const char *why)
{
    store_tx *tx = conn->tx;

    tx->conn = NULL;
    if (conn->failed) {
        tx->err = conn->err; /* it was rolled back, and this is why */
    } else {
        store_fail_unavailable(&tx->err, why);
        tx->lost = true;
    }
    switch ((tx_state)tx->state) {
    case TX_READY: /* deferred already: it will wait again */
        memset(&tx->err, 0, sizeof(tx->err));
        tx->lost = false;
        return;
    case TX_OPEN:
        tx->state = TX_BROKEN;
        return;
    case TX_STEPPING:
        tx_defer(tx, TX_ENDING);
        return;
    case TX_ROLLING_BACK:
        tx->err.code = WM_OK;
        tx_defer(tx, TX_ENDING);
        return;
    case TX_COMMITTING:
        if (tx->writes && conn->sync_flushed && !conn->failed && !conn->refused) {
            tx->lost = false;
            tx_lost_commit(tx, conn);
        } else {
            tx_defer(tx, TX_ENDING);
        }
        return;
    case TX_OVER:
    case TX_WAITING:
    case TX_RESOLVING:
    case TX_BROKEN:
    case TX_EMPTY:
    case TX_ENDING:
        break;
    }
    assert(!"a transaction without a connection lost one");
}

/* ---- one statement ---- */

enum { QUERY_RUNS_MAX = 3 };

static void query_ready(store_tx *tx, wm_code code);

static void query_done(store_tx *tx, wm_code code)
{
    store_query *query = wm_container_of(tx, store_query, tx);

    if (code != WM_OK && tx->lost && query->runs < QUERY_RUNS_MAX) {
        tx->store->stats.retries++;
        store_tx_begin(tx->store, tx, tx->arena, tx->writes, query_ready, query);
        return;
    }
    query->done(query, code);
}

static void query_ready(store_tx *tx, wm_code code)
{
    store_query *query = wm_container_of(tx, store_query, tx);

    if (code != WM_OK) {
        query->done(query, code);
        return;
    }
    query->runs++;
    store_tx_add(tx, query->stmt, &query->args);
    store_tx_commit(tx, query_done);
}

void store_query_start(store *store, store_query *query, wm_arena *arena, const store_stmt *stmt,
                       const store_args *args, bool writes,
                       void (*done)(store_query *query, wm_code code))
{
    query->stmt = stmt;
    query->done = done;
    query->runs = 0;
    if (args != NULL)
        query->args = *args;
    else
        store_args_init(&query->args, arena);
    if (store->idle == NULL || store->waiting != NULL || store->closing) {
        store_tx_begin(store, &query->tx, arena, writes, query_ready, query);
        return;
    }
    /* An idle connection: nothing to tell the caller in between, so it is sent at once. */
    tx_init(store, &query->tx, arena, writes, query_ready, query);
    store_conn_take_tx(store->idle, &query->tx);
    query->tx.state = TX_OPEN;
    query_ready(&query->tx, WM_OK);
}

const store_rows *store_query_rows(const store_query *query)
{
    return store_tx_rows(&query->tx, 0);
}
