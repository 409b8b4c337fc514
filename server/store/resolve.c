/* server/store/resolve.c - what became of a commit whose answer was lost.
 *
 * The xid names the transaction, and the epoch says in which life of the server it got
 * that xid: after a crash the server hands out again the ids whose traces were lost, and
 * then pg_xact_status() would tell of somebody else. waymark.commit_fate() knows both.
 *
 * While the old backend still works on it (only our connection went), the question is
 * asked again; a backend that does not end by itself is terminated, because until it ends
 * nobody can know.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/store/internal.h"

enum {
    RESOLVE_MAX_MS = 30000, /* then the answer is WM_UNKNOWN */
    RESOLVE_AGAIN_MS = 20,
    RESOLVE_PATIENCE = 25 /* questions before the backend is ended */
};

static const store_stmt fate_stmt = {
    "store.commit_fate",
    /* $1 the lost xid  $2 the epoch of its connection  $3 end the backend that has it */
    "SELECT waymark.commit_fate($1::xid8, $2::bigint),"
    " CASE WHEN $3::boolean THEN (SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE backend_xid = xid($1::xid8)) END"};

struct store_resolving {
    store_tx tx; /* asks */
    store_resolving *next;
    store_tx *lost;
    store *store;
    wm_arena arena;
    uv_timer_t timer;
    store_results results; /* of the lost one */
    bool complete;
    int64_t epoch, until_us;
    int asked;
};

static void resolve_ask(store_resolving *resolve);

static void resolve_closed(uv_handle_t *handle)
{
    store_resolving *gone = wm_container_of(handle, store_resolving, timer);

    wm_arena_free(&gone->arena);
    store_results_free(&gone->results);
    free(gone);
}

static void resolve_end(store_resolving *resolve, bool committed)
{
    store_tx *lost = resolve->lost;
    wm_code code = committed ? WM_OK : lost->err.code;

    store_resolving **link = &resolve->store->resolving;

    while (*link != resolve)
        link = &(*link)->next;
    *link = resolve->next;
    resolve->store->stats.retries++;
    wm_log(WM_LOG_WARN, "a commit's answer was lost", wm_log_i("xid", lost->xid),
           wm_log_s("found", committed    ? "committed"
                             : lost->lost ? "aborted"
                                          : "unknown"));
    store_tx_deliver_end(lost, code, &resolve->results, committed);
    uv_close((uv_handle_t *)&resolve->timer, resolve_closed);
}

static void resolve_unknown(store_resolving *resolve, const char *why)
{
    wm_fail(&resolve->lost->err, WM_UNKNOWN, "COMMIT_UNKNOWN",
            "the answer to a commit was lost and %s", why);
    resolve_end(resolve, false);
}

static void resolve_on_timer(uv_timer_t *timer)
{
    resolve_ask(wm_container_of(timer, store_resolving, timer));
}

static void resolve_again(store_resolving *resolve)
{
    if (wm_monotonic_us() >= resolve->until_us)
        resolve_unknown(resolve, "could not be looked up in time");
    else
        uv_timer_start(&resolve->timer, resolve_on_timer, RESOLVE_AGAIN_MS, 0);
}

static void resolve_found(store_resolving *resolve, const char *fate)
{
    if (strcmp(fate, "committed") == 0) {
        if (resolve->complete)
            resolve_end(resolve, true);
        else
            resolve_unknown(resolve, "so were its results; it was committed");
    } else if (strcmp(fate, "aborted") == 0) {
        store_fail_unavailable(&resolve->lost->err, "the connection was lost");
        resolve->lost->lost = true;
        resolve_end(resolve, false);
    } else if (strcmp(fate, "in progress") == 0) {
        resolve_again(resolve);
    } else {
        resolve_unknown(resolve, "is too long ago to look up");
    }
}

static void resolve_asked(store_tx *tx, wm_code code)
{
    store_resolving *resolve = tx->ctx;

    if (code == WM_OK)
        resolve_found(resolve, store_text(store_tx_rows(tx, 0), 0, 0));
    else
        resolve_again(resolve);
}

static void resolve_ready(store_tx *tx, wm_code code)
{
    store_resolving *resolve = tx->ctx;
    store_args args;

    if (code != WM_OK) {
        resolve_again(resolve);
        return;
    }
    wm_arena_reset(&resolve->arena);
    store_args_init(&args, &resolve->arena);
    store_arg_int64(&args, resolve->lost->xid);
    store_arg_int64(&args, resolve->epoch);
    store_arg_bool(&args, ++resolve->asked > RESOLVE_PATIENCE);
    store_tx_add(tx, &fate_stmt, &args);
    store_tx_commit(tx, resolve_asked);
}

static void resolve_ask(store_resolving *resolve)
{
    store_tx_begin_urgent(resolve->store, &resolve->tx, &resolve->arena, resolve->until_us,
                          resolve_ready, resolve);
}

void store_resolve(store_tx *tx, int64_t epoch, store_results *results, bool complete)
{
    store_resolving *resolve = calloc(1, sizeof(*resolve));

    if (resolve == NULL)
        abort();
    resolve->lost = tx;
    resolve->store = tx->store;
    resolve->results = *results;
    resolve->complete = complete;
    resolve->epoch = epoch;
    resolve->until_us = wm_monotonic_us() + RESOLVE_MAX_MS * INT64_C(1000);
    resolve->next = resolve->store->resolving;
    resolve->store->resolving = resolve;
    wm_arena_init(&resolve->arena, 0);
    uv_timer_init(lane_loop(resolve->store->lane), &resolve->timer);
    resolve_ask(resolve);
}

void store_resolve_stop(store *store)
{
    store->urgent = NULL; /* only questions wait there */
    store->urgent_tail = &store->urgent;
    while (store->resolving != NULL)
        resolve_unknown(store->resolving, "the server is stopping");
}
