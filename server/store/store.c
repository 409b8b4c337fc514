/* server/store/store.c - a lane's store: its connections, its turn, its end.
 *
 * The turn is a libuv idle handle that is active only while something waits for it: ends
 * and beginnings that must not be told from inside the call that caused them, and
 * connections that a failed send has doomed. It runs right after the socket events of the
 * same loop iteration.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/store/internal.h"

enum { STORE_CONNECTIONS = 3, STORE_CONNECTIONS_MAX = 64, STORE_DRAIN_MS = 5000 };

/* Session settings: see README.md for what was measured. Plans are made once and kept, often while
 * tables are still empty; seq scans and hash joins, right then, would stay when they have grown. */
static const char session_options[] =
    "-c search_path=waymark,public -c timezone=UTC -c datestyle=ISO -c jit=off"
    " -c default_transaction_isolation=read\\ committed -c synchronous_commit=on"
    " -c plan_cache_mode=force_generic_plan -c statement_timeout=60s"
    " -c enable_seqscan=off -c enable_bitmapscan=off -c random_page_cost=1.1";

/* ---- connection parameters ---- */

static const char *conninfo_options(const PQconninfoOption *options)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, "options") == 0 && options->val != NULL)
            return options->val;
    return "";
}

static char *text_copy(const char *text)
{
    char *copy = strdup(text);

    if (copy == NULL)
        abort();
    return copy;
}

/* What stands before the connection string gives way to it, what stands after overrides it. */
static void params_fill(conn_params *params, const char *conninfo, char *options)
{
    const char *const pairs[][2] = {
        {"fallback_application_name", "waymark"},
        {"tcp_user_timeout", "10000"},
        {"keepalives_idle", "10"},
        {"keepalives_interval", "5"},
        {"dbname", conninfo},
        {"client_encoding", "UTF8"},
        {"options", options},
    };
    size_t n = WM_ARRAY_LEN(pairs);

    params->keywords = calloc(n + 1, sizeof(*params->keywords));
    params->values = calloc(n + 1, sizeof(*params->values));
    if (params->keywords == NULL || params->values == NULL)
        abort();
    for (size_t i = 0; i < n; i++) {
        params->keywords[i] = text_copy(pairs[i][0]);
        params->values[i] = text_copy(pairs[i][1]);
    }
}

conn_params *conn_params_new(const char *conninfo, wm_err *err)
{
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &why);

    if (options == NULL) {
        /* libpq's text may quote the string, and with it a password. */
        PQfreemem(why);
        wm_fail(err, WM_INVALID, "FIELD_INVALID", "the PostgreSQL connection string is malformed");
        return NULL;
    }
    conn_params *params = calloc(1, sizeof(*params));
    const char *own = conninfo_options(options);
    size_t size = strlen(own) + sizeof(session_options) + 1;
    char *merged = malloc(size);
    if (params == NULL || merged == NULL)
        abort();
    snprintf(merged, size, "%s %s", own, session_options);
    params->refs = 1;
    params_fill(params, conninfo, merged);
    free(merged);
    PQconninfoFree(options);
    return params;
}

void conn_params_unref(conn_params *params)
{
    if (--params->refs > 0)
        return;
    for (size_t i = 0; params->keywords[i] != NULL; i++) {
        free(params->keywords[i]);
        free(params->values[i]);
    }
    free(params->keywords);
    free(params->values);
    free(params);
}

/* ---- the turn ---- */

static void store_lose_doomed(store *store)
{
    if (!store->any_doomed)
        return;
    store->any_doomed = false;
    for (unsigned i = 0; i < store->n_conns; i++)
        if (store->conns[i]->doomed)
            store_conn_lose(store->conns[i], "the connection failed");
}

static void store_on_turn(uv_idle_t *idle)
{
    store *store = wm_container_of(idle, struct store, turn);

    store_lose_doomed(store);
    store_turn(store);
    if (store->deferred == NULL && !store->any_doomed)
        uv_idle_stop(&store->turn);
}

void store_turn_soon(store *store)
{
    uv_idle_start(&store->turn, store_on_turn);
}

/* ---- life ---- */

store *store_new(lane *lane, const store_config *config)
{
    unsigned n = config->connections == 0 ? STORE_CONNECTIONS : config->connections;
    wm_err err;
    conn_params *params = conn_params_new(config->conninfo, &err);

    if (params == NULL) {
        wm_log(WM_LOG_ERROR, err.message);
        return NULL;
    }
    store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        abort();
    store->lane = lane;
    store->waiting_tail = &store->waiting;
    store->urgent_tail = &store->urgent;
    store->deferred_tail = &store->deferred;
    uv_idle_init(lane_loop(lane), &store->turn);
    uv_timer_init(lane_loop(lane), &store->wait_timer);
    store->n_conns = n > STORE_CONNECTIONS_MAX ? STORE_CONNECTIONS_MAX : n;
    store->conns = calloc(store->n_conns, sizeof(store_conn *));
    if (store->conns == NULL)
        abort();
    for (unsigned i = 0; i < store->n_conns; i++)
        store->conns[i] = store_conn_new(store, params);
    conn_params_unref(params);
    return store;
}

bool store_is_up(const store *store)
{
    return store->n_up > 0;
}

void store_get_stats(const store *store, store_stats *stats)
{
    *stats = store->stats;
    stats->queued_ops = store->n_ops;
    stats->waiting = store->n_waiting;
    stats->connections_up = store->n_up;
}

/* Everything that waits for a connection is told that none will come. */
static void store_fail_waiting(store *store)
{
    while (store->waiting != NULL) {
        store_tx *tx = store->waiting;
        store->waiting = tx->next;
        wm_fail(&tx->err, WM_UNAVAILABLE, "SHUTTING_DOWN", "the server is stopping");
        store_tx_defer_end(tx);
    }
    store->waiting_tail = &store->waiting;
    store->n_waiting = 0;
}

static bool store_is_busy(const store *store)
{
    for (unsigned i = 0; i < store->n_conns; i++)
        if (store->conns[i]->tx != NULL)
            return true;
    return store->deferred != NULL || (store->urgent != NULL && store->n_up > 0);
}

/* libuv cannot run inside a callback, so the sockets are served by hand. */
static void store_drain(store *store)
{
    int64_t until_us = wm_monotonic_us() + STORE_DRAIN_MS * INT64_C(1000);

    while (store_is_busy(store) && wm_monotonic_us() < until_us) {
        bool waited = false;
        store_on_turn(&store->turn);
        for (unsigned i = 0; i < store->n_conns; i++) {
            store_conn *conn = store->conns[i];
            if (conn->tx != NULL && conn->expected_n > 0) {
                store_conn_wait(conn, 5);
                waited = true;
            }
        }
        if (!waited)
            uv_sleep(1); /* an owner on another thread has the next move */
    }
    for (unsigned i = 0; i < store->n_conns; i++)
        if (store->conns[i]->tx != NULL)
            store_conn_lose(store->conns[i], "the server is stopping");
    store_resolve_stop(store);
    /* What those ends cause is refused at once, but must be told too. */
    while (store->deferred != NULL)
        store_on_turn(&store->turn);
}

static void store_handle_closed(uv_handle_t *handle)
{
    store *store = handle->data;

    if (++store->handles_closed < 2)
        return;
    free(store->conns);
    free(store);
}

void store_free(store *store)
{
    store->closing = true;
    store_fail_waiting(store);
    store_drain(store);
    for (unsigned i = 0; i < store->n_conns; i++)
        store_conn_close(store->conns[i]);
    store->turn.data = store->wait_timer.data = store;
    uv_close((uv_handle_t *)&store->turn, store_handle_closed);
    uv_close((uv_handle_t *)&store->wait_timer, store_handle_closed);
}
