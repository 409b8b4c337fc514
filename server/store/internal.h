/* server/store/internal.h - what the files of the store share; nobody else includes it.
 *
 * conn.c   a connection: connect, send, receive, lose; the only file that reads results
 * tx.c     transactions: waiting for a connection, steps, commit, rollback
 * resolve.c the fate of a commit whose answer was lost
 * batch.c  batches, above tx.c's public interface
 * args.c, rows.c  parameters and results in binary
 */
#ifndef WAYMARK_SERVER_STORE_INTERNAL_H
#define WAYMARK_SERVER_STORE_INTERNAL_H

#include <libpq-fe.h>

#include "server/store/store.h"

/* ---- results ---- */

/* Results of one step, in statement order. A store_rows is a PGresult. */
typedef struct store_results {
    PGresult **rows;
    size_t n, room;
    bool moved; /* store_tx_keep_rows() took them */
} store_results;

void store_results_add(store_results *results, PGresult *rows);
/* Frees the results; the room stays. */
void store_results_clear(store_results *results);
void store_results_free(store_results *results);

/* ---- connections ---- */

typedef enum conn_state {
    CONN_DOWN,       /* waits for its backoff timer */
    CONN_STARTING,   /* PQconnectStart on a worker thread, because it may ask DNS */
    CONN_CONNECTING, /* PQconnectPoll */
    CONN_SETUP,      /* connected; asks for the epoch */
    CONN_IDLE,       /* in the store's idle list */
    CONN_BUSY,       /* has a transaction, or is clearing up after one */
    CONN_CLOSED      /* the store goes away; freed when its handles are closed */
} conn_state;

/* What the server still owes us, in order. */
typedef enum expect_kind {
    EXPECT_SETUP,
    EXPECT_PREPARE,
    EXPECT_XID,
    EXPECT_ROWS,
    EXPECT_NOTHING, /* a result that nobody wants */
    EXPECT_SYNC
} expect_kind;

typedef struct conn_expect {
    expect_kind kind;
    const store_stmt *stmt; /* PREPARE: which */
} conn_expect;

/* A slot of the set of statements prepared on a connection. */
typedef struct conn_prepared {
    const store_stmt *stmt;
    unsigned number; /* part of its name on the server */
} conn_prepared;

typedef struct conn_poll conn_poll;
typedef struct store_resolving store_resolving;

/* For PQconnectStartParams, NULL at the end. Shared, as a worker thread may still read it
 * when the store is gone. */
typedef struct conn_params {
    unsigned refs; /* touched on the loop only */
    char **keywords, **values;
} conn_params;

/* NULL when libpq cannot read the connection string; err says what it said. */
conn_params *conn_params_new(const char *conninfo, wm_err *err);
void conn_params_unref(conn_params *params);

struct store_conn {
    store *store; /* NULL once closed */
    store_conn *next_idle;
    conn_state state;
    unsigned refs; /* the store, the timer, a running job */
    conn_params *params;
    PGconn *pg;
    conn_poll *poll; /* on pg's socket; its own allocation, as closing it takes a turn */
    int events;      /* what `poll` watches */
    uv_timer_t timer;
    lane_job job;
    unsigned backoff_ms;
    bool doomed; /* to be lost at the end of this event, or of this turn */

    conn_expect *expected; /* a ring */
    size_t expected_first, expected_n, expected_room;
    bool was_up;
    bool got_result; /* of the first expected one; its NULL is still to come */

    conn_prepared *prepared; /* open addressing, by address of the statement */
    size_t prepared_n, prepared_room;
    unsigned prepared_next;

    int64_t epoch; /* waymark.current_epoch(): crashes of the server are counted */
    store_tx *tx;
    store_results results; /* of the step in flight */
    store_results spare;   /* room for the next step's, while these are delivered */
    bool failed;           /* a statement failed; `err` says why */
    bool refused;          /* the server ended the session in the middle of a transaction */
    bool sync_sent;
    bool sync_flushed; /* every byte up to the sync is, or may be, with the kernel */
    wm_err err;
};

store_conn *store_conn_new(store *store, conn_params *params);
/* From the idle list to a transaction. */
void store_conn_take_tx(store_conn *conn, store_tx *tx);
/* Closes; frees itself when libuv is done with it. */
void store_conn_close(store_conn *conn);
/* Drops it, never inside a callback: the transaction's fate follows from how far it was. */
void store_conn_lose(store_conn *conn, const char *why);
/* Has it lost at the end of the turn. */
void store_conn_doom(store_conn *conn);
/* Blocks until something arrived or `timeout_ms` passed; for store_free() only. */
void store_conn_wait(store_conn *conn, int timeout_ms);

/* The sends never block; when one fails the connection is doomed. */
void store_conn_send(store_conn *conn, const store_stmt *stmt, const store_args *args,
                     expect_kind kind);
void store_conn_send_rollback(store_conn *conn);
void store_conn_send_flush(store_conn *conn);
void store_conn_send_sync(store_conn *conn);
/* Hands bytes to the kernel; watches for room when it takes only a part. */
void store_conn_flush(store_conn *conn);
/* The end of a transaction on this connection: to the idle list. */
void store_conn_release(store_conn *conn);

/* ---- transactions ---- */

typedef enum tx_state {
    TX_OVER,       /* the caller's */
    TX_WAITING,    /* in store->waiting, or store->urgent */
    TX_READY,      /* in store->deferred: has a connection, the caller does not know yet */
    TX_OPEN,       /* the caller may add */
    TX_STEPPING,   /* a step is in flight */
    TX_COMMITTING, /* the sync is sent */
    TX_ROLLING_BACK,
    TX_RESOLVING, /* the commit's answer was lost */
    TX_BROKEN,    /* lost its connection while the caller was at work; err says why */
    TX_EMPTY,     /* in store->deferred: committed, without anything in it */
    TX_ENDING     /* in store->deferred: err.code is to be delivered */
} tx_state;

struct store {
    lane *lane;
    store_conn **conns;
    unsigned n_conns, n_up;
    store_conn *idle;
    store_tx *waiting, **waiting_tail;
    store_tx *urgent, **urgent_tail; /* look-ups of lost commits: served first, wait longer */
    size_t n_waiting;
    store_tx *deferred, **deferred_tail;
    uv_idle_t turn; /* active while something is deferred or doomed */
    uv_timer_t wait_timer;
    unsigned handles_closed;
    size_t n_ops; /* queued in batchers */
    struct store_resolving *resolving;
    bool closing;
    bool told_down;
    bool any_doomed;
    store_stats stats;
};

/* Gives idle connections to waiting transactions. */
void store_assign(store *store);
/* Delivers what was deferred. */
void store_turn(store *store);
/* Has the turn run later in this loop iteration. */
void store_turn_soon(store *store);
/* A begin that goes before all others and waits until `wait_until_us`. */
void store_tx_begin_urgent(store *store, store_tx *tx, wm_arena *arena, int64_t wait_until_us,
                           store_tx_fn ready, void *ctx);
/* Ends with code and err set in tx->err, at the end of this turn. */
void store_tx_defer_end(store_tx *tx);

/* From conn.c, in order of the stream: a result came; the sync came; the connection went. */
void store_tx_on_result(store_conn *conn);
void store_tx_on_sync(store_conn *conn);
void store_tx_on_lost(store_conn *conn, const char *why);

/* Delivers `code`, frees results and kept. Hooks run when `committed`. */
void store_tx_deliver_end(store_tx *tx, wm_code code, store_results *results, bool committed);

/* ---- resolve.c ---- */

/* Looks up what became of tx (its xid is known) and ends it; takes the results over.
 * `complete`: all results had arrived before the connection went. */
void store_resolve(store_tx *tx, int64_t epoch, store_results *results, bool complete);
/* Ends all of them with WM_UNKNOWN; no question may be in flight. */
void store_resolve_stop(store *store);

/* ---- errors ---- */

/* Fills err from a failed result. The message names no data. */
void store_fail_result(wm_err *err, const PGresult *result);
wm_code store_fail_unavailable(wm_err *err, const char *why);

#endif
