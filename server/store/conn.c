/* server/store/conn.c - one connection to PostgreSQL, non-blocking and in pipeline mode.
 *
 *   DOWN ─timer─> STARTING ─worker─> CONNECTING ──> SETUP ──> IDLE <──> BUSY
 *    ^                │                  │            │         │        │
 *    └────────────────┴──────────────────┴────────────┴─────────┴────────┘  conn_set_state()
 *
 * Every command sent puts down what the server will answer (`expected`); results are
 * matched to it in order. libpq gives, per command, its result and then NULL; for a sync,
 * one PGRES_PIPELINE_SYNC and no NULL. After an error everything up to the sync answers
 * PGRES_PIPELINE_ABORTED, a PREPARE among it was not done, and no sync comes that was not
 * asked for: so the first error sends one.
 *
 * A connection is lost (store_conn_lose) in three places only: at the end of its own
 * socket event, in its own timer, and in the store's turn. Whatever fails elsewhere, in a
 * send inside a callback for example, only dooms it.
 */
#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/store/internal.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, CONNECT_TIMEOUT_MS = 5000, STMT_NAME_SIZE = 64 };

struct conn_poll {
    uv_poll_t handle;
    store_conn *conn; /* NULL: let go, waits for its close */
    int fd;           /* a duplicate of libpq's */
};

static const char setup_sql[] = "SELECT waymark.current_epoch()";

static void conn_on_timer(uv_timer_t *timer);
static void conn_on_event(uv_poll_t *handle, int status, int events);

/* ---- states ---- */

static bool state_is_up(conn_state state)
{
    return state == CONN_IDLE || state == CONN_BUSY;
}

static void conn_told(store_conn *conn, const char *why)
{
    store *store = conn->store;

    if (store->n_up == 0 && !store->told_down && !store->closing) {
        store->told_down = true;
        wm_log(WM_LOG_WARN, "PostgreSQL is away", wm_log_i("lane", lane_index(store->lane)),
               wm_log_s("why", why));
    } else if (store->n_up > 0 && store->told_down) {
        store->told_down = false;
        wm_log(WM_LOG_INFO, "PostgreSQL is back", wm_log_i("lane", lane_index(store->lane)));
    }
}

static void conn_set_state(store_conn *conn, conn_state to)
{
    store *store = conn->store;
    conn_state from = conn->state;

    assert(from != to && from != CONN_CLOSED);
    assert(to != CONN_IDLE || (from == CONN_SETUP || from == CONN_BUSY));
    assert(to != CONN_BUSY || from == CONN_IDLE);
    if (from == CONN_IDLE) {
        store_conn **link = &store->idle;
        while (*link != conn)
            link = &(*link)->next_idle;
        *link = conn->next_idle;
    }
    if (to == CONN_IDLE) {
        conn->next_idle = store->idle;
        store->idle = conn;
    }
    store->n_up += state_is_up(to);
    store->n_up -= state_is_up(from);
    conn->state = to;
}

static void conn_unref(store_conn *conn)
{
    if (--conn->refs > 0)
        return;
    conn_params_unref(conn->params);
    store_results_free(&conn->results);
    store_results_free(&conn->spare);
    free(conn->expected);
    free(conn->prepared);
    free(conn);
}

void store_conn_doom(store_conn *conn)
{
    conn->doomed = true;
    conn->store->any_doomed = true;
    store_turn_soon(conn->store);
}

/* ---- the socket ---- */

static void poll_closed(uv_handle_t *handle)
{
    conn_poll *poll = wm_container_of(handle, conn_poll, handle);

    close(poll->fd);
    free(poll);
}

static void conn_unwatch(store_conn *conn)
{
    if (conn->poll == NULL)
        return;
    uv_poll_stop(&conn->poll->handle);
    conn->poll->conn = NULL;
    uv_close((uv_handle_t *)&conn->poll->handle, poll_closed);
    conn->poll = NULL;
    conn->events = 0;
}

/* libpq closes its socket as soon as it meets the end, while libuv still watches: so libuv
 * gets a descriptor of its own. */
static conn_poll *poll_new(store_conn *conn)
{
    conn_poll *poll = calloc(1, sizeof(*poll));

    if (poll == NULL)
        abort();
    poll->conn = conn;
    poll->fd = fcntl(PQsocket(conn->pg), F_DUPFD_CLOEXEC, 0);
    if (poll->fd >= 0 && uv_poll_init(lane_loop(conn->store->lane), &poll->handle, poll->fd) == 0)
        return poll;
    if (poll->fd >= 0)
        close(poll->fd);
    free(poll);
    return NULL;
}

static void conn_watch(store_conn *conn, int events)
{
    if (conn->poll == NULL)
        conn->poll = poll_new(conn);
    if (conn->poll == NULL) {
        store_conn_doom(conn); /* no descriptors left */
    } else if (conn->events != events) {
        conn->events = events;
        uv_poll_start(&conn->poll->handle, events, conn_on_event);
    }
}

void store_conn_flush(store_conn *conn)
{
    int rc = conn->doomed ? -1 : PQflush(conn->pg);

    if (rc < 0) {
        store_conn_doom(conn);
        return;
    }
    conn_watch(conn, rc == 0 ? UV_READABLE : UV_READABLE | UV_WRITABLE);
    if (rc == 0 && conn->sync_sent)
        conn->sync_flushed = true;
}

/* ---- what the server owes ---- */

static void conn_expect_add(store_conn *conn, expect_kind kind, const store_stmt *stmt)
{
    if (conn->expected_n == conn->expected_room) {
        size_t room = conn->expected_room == 0 ? 16 : conn->expected_room * 2;
        conn_expect *bigger = malloc(room * sizeof(*bigger));

        if (bigger == NULL)
            abort();
        for (size_t i = 0; i < conn->expected_n; i++)
            bigger[i] = conn->expected[(conn->expected_first + i) % conn->expected_room];
        free(conn->expected);
        conn->expected = bigger;
        conn->expected_first = 0;
        conn->expected_room = room;
    }
    size_t at = (conn->expected_first + conn->expected_n++) % conn->expected_room;
    conn->expected[at] = (conn_expect){kind, stmt};
}

static conn_expect conn_expect_pop(store_conn *conn)
{
    conn_expect head = conn->expected[conn->expected_first];

    conn->expected_first = (conn->expected_first + 1) % conn->expected_room;
    conn->expected_n--;
    conn->got_result = false;
    return head;
}

/* ---- prepared statements ---- */

/* The slot of stmt, or the free one where it belongs; there is always a free one. */
static conn_prepared *prepared_slot(const store_conn *conn, const store_stmt *stmt)
{
    size_t mask = conn->prepared_room - 1;
    size_t at = ((uintptr_t)stmt >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 32 & mask;

    while (conn->prepared[at].stmt != NULL && conn->prepared[at].stmt != stmt)
        at = (at + 1) & mask;
    return &conn->prepared[at];
}

static void prepared_grow(store_conn *conn)
{
    conn_prepared *old = conn->prepared;
    size_t old_room = conn->prepared_room;

    if (conn->prepared_n * 2 < conn->prepared_room)
        return;
    conn->prepared_room = old_room == 0 ? 64 : old_room * 2;
    conn->prepared = calloc(conn->prepared_room, sizeof(*conn->prepared));
    if (conn->prepared == NULL)
        abort();
    for (size_t i = 0; i < old_room; i++)
        if (old[i].stmt != NULL)
            *prepared_slot(conn, old[i].stmt) = old[i];
    free(old);
}

/* 0: unknown or not prepared. A slot stays when a PREPARE did not happen. */
static unsigned prepared_number(const store_conn *conn, const store_stmt *stmt)
{
    return conn->prepared_room == 0 ? 0 : prepared_slot(conn, stmt)->number;
}

static void prepared_set(store_conn *conn, const store_stmt *stmt, unsigned number)
{
    prepared_grow(conn);
    conn_prepared *slot = prepared_slot(conn, stmt);
    conn->prepared_n += slot->stmt == NULL;
    slot->stmt = stmt;
    slot->number = number;
}

/* ---- sending ---- */

void store_conn_send(store_conn *conn, const store_stmt *stmt, const store_args *args,
                     expect_kind kind)
{
    static const int binary[STORE_ARGS_MAX] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                               1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    char name[STMT_NAME_SIZE];
    unsigned number = prepared_number(conn, stmt);

    if (conn->doomed)
        return;
    if (number == 0) {
        number = ++conn->prepared_next;
        snprintf(name, sizeof(name), "%.40s.%u", stmt->name, number);
        if (PQsendPrepare(conn->pg, name, stmt->sql, 0, NULL) == 0) {
            store_conn_doom(conn);
            return;
        }
        prepared_set(conn, stmt, number);
        conn_expect_add(conn, EXPECT_PREPARE, stmt);
    } else {
        snprintf(name, sizeof(name), "%.40s.%u", stmt->name, number);
    }
    if (PQsendQueryPrepared(conn->pg, name, args != NULL ? args->n : 0,
                            args != NULL ? args->values : NULL, args != NULL ? args->sizes : NULL,
                            binary, 1) == 0) {
        store_conn_doom(conn);
        return;
    }
    conn_expect_add(conn, kind, stmt);
    conn->store->stats.statements++;
}

void store_conn_send_rollback(store_conn *conn)
{
    if (conn->doomed)
        return;
    if (PQsendQueryParams(conn->pg, "ROLLBACK", 0, NULL, NULL, NULL, NULL, 1) == 0)
        store_conn_doom(conn);
    else
        conn_expect_add(conn, EXPECT_NOTHING, NULL);
}

void store_conn_send_flush(store_conn *conn)
{
    if (!conn->doomed && PQsendFlushRequest(conn->pg) == 0)
        store_conn_doom(conn);
}

void store_conn_send_sync(store_conn *conn)
{
    conn->sync_sent = true;
    if (conn->doomed)
        return;
    if (PQpipelineSync(conn->pg) == 0)
        store_conn_doom(conn);
    else
        conn_expect_add(conn, EXPECT_SYNC, NULL);
    store_conn_flush(conn);
}

/* ---- receiving ---- */

/* Errors after which the session is over, or no longer with a server that can write. */
static bool result_is_loss(const store_conn *conn, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (sqlstate == NULL || PQstatus(conn->pg) == CONNECTION_BAD)
        return true;
    return strncmp(sqlstate, "57P0", 4) == 0 || strncmp(sqlstate, "08", 2) == 0 ||
           strcmp(sqlstate, "25006") == 0;
}

/* A prepared plan that no longer fits the tables: a new connection has none. */
static bool result_is_stale_plan(const PGresult *result)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    return function != NULL && strcmp(function, "RevalidateCachedQuery") == 0;
}

static void conn_take_error(store_conn *conn, conn_expect head, const PGresult *result)
{
    if (result_is_loss(conn, result) || result_is_stale_plan(result)) {
        /* The server itself gave up on a statement ahead of the commit. */
        conn->refused =
            head.kind != EXPECT_SYNC && PQresultErrorField(result, PG_DIAG_SQLSTATE) != NULL;
        store_conn_doom(conn);
        return;
    }
    if (head.kind == EXPECT_PREPARE)
        prepared_set(conn, head.stmt, 0);
    if (!conn->failed) {
        conn->failed = true;
        store_fail_result(&conn->err, result);
        if (conn->err.code == WM_INTERNAL && head.stmt != NULL)
            wm_log(WM_LOG_ERROR, "the failed statement", wm_log_s("name", head.stmt->name));
    }
    if (!conn->sync_sent)
        store_conn_send_sync(conn);
}

static void conn_take_rows(store_conn *conn, expect_kind kind, PGresult *result)
{
    const store_rows *rows = (const store_rows *)(const void *)result;

    switch (kind) {
    case EXPECT_ROWS:
        conn->store->stats.rows += (uint64_t)PQntuples(result);
        store_results_add(&conn->results, result);
        return;
    case EXPECT_XID:
        conn->tx->xid = store_int64(rows, 0, 0);
        break;
    case EXPECT_SETUP:
        conn->epoch = store_int64(rows, 0, 0);
        break;
    case EXPECT_PREPARE:
    case EXPECT_NOTHING:
    case EXPECT_SYNC:
        break;
    }
    PQclear(result);
}

static void conn_setup_end(store_conn *conn)
{
    if (conn->failed || conn->epoch == 0) {
        store_conn_doom(conn);
        return;
    }
    uv_timer_stop(&conn->timer);
    conn->backoff_ms = 0;
    conn->store->stats.reconnects += conn->was_up;
    conn->was_up = true;
    conn_set_state(conn, CONN_IDLE);
    conn_told(conn, "");
    store_assign(conn->store);
}

static void conn_take_sync(store_conn *conn)
{
    conn_expect head = conn_expect_pop(conn);

    if (head.kind != EXPECT_SYNC) {
        store_conn_doom(conn);
        return;
    }
    conn->sync_sent = false;
    if (conn->state == CONN_SETUP)
        conn_setup_end(conn);
    else
        store_tx_on_sync(conn);
}

static void conn_take(store_conn *conn, PGresult *result)
{
    conn_expect head = conn->expected[conn->expected_first];

    switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC:
        PQclear(result);
        conn_take_sync(conn);
        return;
    case PGRES_PIPELINE_ABORTED:
        if (head.kind == EXPECT_PREPARE)
            prepared_set(conn, head.stmt, 0);
        PQclear(result);
        break;
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        conn_take_rows(conn, head.kind, result);
        break;
    default:
        conn_take_error(conn, head, result);
        PQclear(result);
        break;
    }
    /* A commit that fails answers in the place of the sync, which still comes. */
    conn->got_result = head.kind != EXPECT_SYNC;
}

static void conn_process(store_conn *conn)
{
    int empty = 0;

    while (conn->expected_n > 0 && !PQisBusy(conn->pg)) {
        PGresult *result = PQgetResult(conn->pg);

        if (result != NULL) {
            empty = 0;
            conn_take(conn, result);
        } else if (conn->got_result) {
            conn_expect_pop(conn);
            if (conn->tx != NULL)
                store_tx_on_result(conn);
        } else if (++empty > 2) {
            break; /* libpq has no more to say, or the connection is gone */
        }
    }
}

static void conn_on_readable(store_conn *conn)
{
    /* It writes what waits too: the end of the sync may leave here, and so a commit. */
    conn->sync_flushed |= conn->sync_sent && !conn->doomed;
    bool alive = PQconsumeInput(conn->pg) != 0;

    /* What had arrived before the end still counts: it may hold the commit's answer. */
    conn_process(conn);
    if (!alive || conn->doomed || PQstatus(conn->pg) == CONNECTION_BAD)
        store_conn_lose(conn, "the connection was lost");
}

/* ---- connecting ---- */

static void conn_setup(store_conn *conn)
{
    conn_set_state(conn, CONN_SETUP);
    if (PQsetnonblocking(conn->pg, 1) != 0 || PQenterPipelineMode(conn->pg) == 0 ||
        PQsendQueryParams(conn->pg, setup_sql, 0, NULL, NULL, NULL, NULL, 1) == 0) {
        store_conn_doom(conn);
        return;
    }
    conn_expect_add(conn, EXPECT_SETUP, NULL);
    store_conn_send_sync(conn);
}

static void conn_connect(store_conn *conn)
{
    /* The next of several hosts has another socket, perhaps under the same number. */
    conn_unwatch(conn);
    switch (PQconnectPoll(conn->pg)) {
    case PGRES_POLLING_READING:
        conn_watch(conn, UV_READABLE);
        return;
    case PGRES_POLLING_WRITING:
        conn_watch(conn, UV_WRITABLE);
        return;
    case PGRES_POLLING_OK:
        conn_setup(conn);
        return;
    default:
        store_conn_lose(conn, "cannot connect");
        return;
    }
}

static void ignore_notice(void *ctx, const PGresult *result)
{
    (void)ctx;
    (void)result;
}

static void conn_job_run(lane_job *job)
{
    store_conn *conn = wm_container_of(job, store_conn, job);

    conn->pg = PQconnectStartParams((const char *const *)conn->params->keywords,
                                    (const char *const *)conn->params->values, 1);
}

static void conn_job_done(lane_job *job)
{
    store_conn *conn = wm_container_of(job, store_conn, job);

    if (conn->store == NULL) {
        PQfinish(conn->pg);
    } else if (conn->pg == NULL || PQstatus(conn->pg) == CONNECTION_BAD) {
        store_conn_lose(conn, "cannot connect");
    } else {
        PQsetNoticeReceiver(conn->pg, ignore_notice, NULL);
        conn_set_state(conn, CONN_CONNECTING);
        conn_watch(conn, UV_WRITABLE);
    }
    conn_unref(conn);
}

static void conn_start(store_conn *conn)
{
    conn_set_state(conn, CONN_STARTING);
    uv_timer_start(&conn->timer, conn_on_timer, CONNECT_TIMEOUT_MS, 0);
    conn->job.run = conn_job_run;
    conn->job.done = conn_job_done;
    conn->refs++;
    lane_work(conn->store->lane, &conn->job);
}

static void conn_on_timer(uv_timer_t *timer)
{
    store_conn *conn = wm_container_of(timer, store_conn, timer);

    if (conn->state == CONN_DOWN)
        conn_start(conn);
    else if (conn->state != CONN_STARTING) /* the worker ends by itself */
        store_conn_lose(conn, "connecting takes too long");
}

static void conn_on_event(uv_poll_t *handle, int status, int events)
{
    store_conn *conn = wm_container_of(handle, conn_poll, handle)->conn;

    if (conn == NULL)
        return;
    if (conn->state == CONN_CONNECTING) {
        conn_connect(conn);
        return;
    }
    if (status == 0 && (events & UV_WRITABLE) != 0)
        store_conn_flush(conn);
    if (status < 0 || (events & UV_READABLE) != 0 || conn->doomed)
        conn_on_readable(conn);
}

void store_conn_wait(store_conn *conn, int timeout_ms)
{
    struct pollfd pfd = {conn->poll != NULL ? conn->poll->fd : -1, POLLIN, 0};

    if ((conn->events & UV_WRITABLE) != 0)
        pfd.events |= POLLOUT;
    if (conn->poll != NULL && poll(&pfd, 1, timeout_ms) > 0)
        conn_on_event(&conn->poll->handle, 0,
                      UV_READABLE | ((pfd.revents & POLLOUT) != 0 ? UV_WRITABLE : 0));
}

/* ---- life ---- */

static void conn_forget(store_conn *conn)
{
    conn_unwatch(conn);
    PQfinish(conn->pg);
    conn->pg = NULL;
    conn->expected_n = conn->expected_first = 0;
    conn->prepared_n = 0;
    if (conn->prepared_room > 0)
        memset(conn->prepared, 0, conn->prepared_room * sizeof(*conn->prepared));
    store_results_clear(&conn->results);
    conn->got_result = conn->failed = conn->refused = conn->doomed = false;
    conn->sync_sent = conn->sync_flushed = false;
    conn->epoch = 0;
}

static unsigned conn_backoff_ms(store_conn *conn)
{
    unsigned ms = conn->backoff_ms == 0 ? BACKOFF_MIN_MS : conn->backoff_ms * 2;

    conn->backoff_ms = ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : ms;
    /* Spread, so that many connections do not come back in step. */
    return conn->backoff_ms / 2 + (unsigned)wm_random_below(conn->backoff_ms / 2 + 1);
}

void store_conn_lose(store_conn *conn, const char *why)
{
    if (conn->tx != NULL)
        store_tx_on_lost(conn, why);
    conn->tx = NULL;
    conn_set_state(conn, CONN_DOWN);
    conn_told(conn, why);
    conn_forget(conn);
    uv_timer_start(&conn->timer, conn_on_timer, conn_backoff_ms(conn), 0);
}

void store_conn_release(store_conn *conn)
{
    conn->tx = NULL;
    conn->failed = false;
    conn->sync_flushed = false;
    if (conn->doomed)
        return; /* busy without a transaction until it is lost */
    conn_set_state(conn, CONN_IDLE);
    store_assign(conn->store);
}

void store_conn_take_tx(store_conn *conn, store_tx *tx)
{
    conn_set_state(conn, CONN_BUSY);
    conn->tx = tx;
    tx->conn = conn;
}

store_conn *store_conn_new(store *store, conn_params *params)
{
    store_conn *conn = calloc(1, sizeof(*conn));

    if (conn == NULL)
        abort();
    conn->store = store;
    conn->params = params;
    params->refs++;
    conn->refs = 2; /* the store and the timer */
    uv_timer_init(lane_loop(store->lane), &conn->timer);
    conn_start(conn);
    return conn;
}

static void conn_timer_closed(uv_handle_t *handle)
{
    conn_unref(wm_container_of(handle, store_conn, timer));
}

void store_conn_close(store_conn *conn)
{
    bool starting = conn->state == CONN_STARTING;

    assert(conn->tx == NULL);
    conn_set_state(conn, CONN_CLOSED);
    if (!starting) /* else the worker has it */
        conn_forget(conn);
    conn->store = NULL;
    uv_close((uv_handle_t *)&conn->timer, conn_timer_closed);
    conn_unref(conn);
}
