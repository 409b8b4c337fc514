/* server/store/store.h - PostgreSQL for one lane; the only home of PQ*.
 *
 * A store is a few non-blocking connections in pipeline mode on a lane's loop.
 * Work comes as transactions, and nearly always as batches of equal operations
 * (see the second half). A transaction is a run of steps:
 *
 *   store_tx_begin ──> add, add ── store_tx_step ──> results ──> add ── store_tx_commit ──> results
 *                       (one network round trip each)
 *
 * The statements of a step travel together. No BEGIN or COMMIT is sent: a pipeline is
 * one implicit transaction up to its Sync (PostgreSQL docs 34.5.1), so a transaction
 * of one step costs one round trip. Isolation is READ COMMITTED.
 *
 * A commit whose answer is lost is looked up, never guessed: each writing
 * transaction learns its xid before the commit is sent, and after reconnecting
 * pg_xact_status() says what became of it. Where even the xid was not received,
 * the transaction fails with WM_UNKNOWN.
 *
 * Threads: everything here on the lane's loop.
 * Memory:  a store_tx is embedded by the caller and stays put until its last
 *          callback. Arguments are copied at add. Rows live until the callback that
 *          delivers them returns, or, after store_rows_keep(), with the transaction.
 * Failure: PostgreSQL away: WM_UNAVAILABLE with reason STORE_UNAVAILABLE (work waits at
 *          most STORE_WAIT_MS for a connection). Too much queued: WM_EXHAUSTED, STORE_BUSY.
 *          Constraint and data errors carry the SQLSTATE as reason ("SQLSTATE_23505").
 */
#ifndef WAYMARK_SERVER_STORE_STORE_H
#define WAYMARK_SERVER_STORE_STORE_H

#include "base/arena.h"
#include "base/code.h"
#include "base/random.h"
#include "server/lane.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    STORE_WAIT_MS = 2000,     /* how long work waits for a connection before UNAVAILABLE */
    STORE_PENDING_MAX = 20000 /* operations queued per lane */
};

typedef struct store_config {
    const char *conninfo; /* libpq connection string */
    unsigned connections; /* per lane; 0: 3 */
} store_config;

/* Connects in the background; reconnects with backoff 50 ms to 2 s for ever. */
store *store_new(lane *lane, const store_config *config);
/* Fails what is queued with UNAVAILABLE, waits for what is in flight. Through lane_call(). */
void store_free(store *store);
bool store_is_up(const store *store);

/* ---- statements and their arguments ---- */

/* Static data. Prepared once per connection, on first use; each parameter's type
 * is stated in the SQL ("$1::bigint"). */
typedef struct store_stmt {
    const char *name;
    const char *sql;
} store_stmt;

enum { STORE_ARGS_MAX = 24 };

/* Arguments in PostgreSQL's binary format, built in an arena. In call order: the
 * first store_arg_* is $1. */
typedef struct store_args {
    wm_arena *arena;
    int n;
    const char *values[STORE_ARGS_MAX];
    int sizes[STORE_ARGS_MAX];
} store_args;

void store_args_init(store_args *args, wm_arena *arena);
void store_arg_null(store_args *args);
void store_arg_bool(store_args *args, bool value);                      /* boolean */
void store_arg_int32(store_args *args, int32_t value);                  /* int4 */
void store_arg_int64(store_args *args, int64_t value);                  /* int8, also xid8 */
void store_arg_float8(store_args *args, double value);                  /* float8; NaN stays NaN */
void store_arg_text(store_args *args, const char *value);               /* text; NULL: SQL null */
void store_arg_bytes(store_args *args, const void *bytes, size_t size); /* bytea */
void store_arg_json(store_args *args, const char *json);                /* jsonb */
void store_arg_time(store_args *args, int64_t time_us);                 /* timestamptz */
void store_arg_uuid(store_args *args, const wm_uuid *uuid);             /* uuid; NULL: SQL null */
/* Arrays, one dimension, for unnest(). A NULL text or bytes element is SQL null; so are
 * elements equal to STORE_NULL_INT and NaN where `nan_is_null`. */
#define STORE_NULL_INT INT64_MIN
void store_arg_bools(store_args *args, const bool *values, size_t n);
void store_arg_int32s(store_args *args, const int32_t *values, size_t n);
void store_arg_int64s(store_args *args, const int64_t *values, size_t n);
void store_arg_float8s(store_args *args, const double *values, size_t n, bool nan_is_null);
void store_arg_texts(store_args *args, const char *const *values, size_t n);
void store_arg_bytess(store_args *args, const void *const *bytes, const size_t *sizes, size_t n);
void store_arg_times(store_args *args, const int64_t *times_us, size_t n);
void store_arg_uuids(store_args *args, const wm_uuid *uuids, size_t n);

/* ---- results, binary, checked by type at the door ---- */
typedef struct store_rows store_rows;

size_t store_rows_len(const store_rows *rows);
/* Rows touched by an INSERT, UPDATE or DELETE without RETURNING. */
int64_t store_rows_affected(const store_rows *rows);
bool store_is_null(const store_rows *rows, size_t row, int column);
bool store_bool(const store_rows *rows, size_t row, int column);
int32_t store_int32(const store_rows *rows, size_t row, int column);
int64_t store_int64(const store_rows *rows, size_t row, int column); /* int8, int4, xid8 */
double store_float8(const store_rows *rows, size_t row, int column);
const char *store_text(const store_rows *rows, size_t row, int column); /* text, NUL-terminated */
const void *store_bytes(const store_rows *rows, size_t row, int column, size_t *size);
/* jsonb as text: select it as `x::text` and use store_text(). */
int64_t store_time(const store_rows *rows, size_t row, int column); /* microseconds since 1970 */
wm_uuid store_uuid(const store_rows *rows, size_t row, int column);
/* bigint[] into the arena; a null array has length 0. */
const int64_t *store_int64s(const store_rows *rows, size_t row, int column, wm_arena *arena,
                            size_t *n);

/* ---- transactions ---- */
typedef struct store_tx store_tx;
typedef struct store_conn store_conn;
typedef void (*store_tx_fn)(store_tx *tx, wm_code code);

/* Runs after the commit is known to have happened, in the order added, before the
 * commit's own callback. Embedded by the caller. */
typedef struct store_hook store_hook;
struct store_hook {
    store_hook *next;
    void (*committed)(store_hook *hook);
};

/* Embedded; fields are private but for `ctx` and `err`. */
struct store_tx {
    void *ctx;
    wm_err err; /* why, when a callback's code is not WM_OK */
    store *store;
    store_conn *conn; /* NULL while it waits, and once the connection is lost */
    wm_arena *arena;  /* the caller's */
    store_tx *next;   /* in the one list that the state says */
    store_tx_fn done;
    store_hook *hooks, **hooks_tail;
    struct store_results *results; /* of the step that is being delivered */
    struct store_results *kept;
    size_t n_added; /* statements of the step being built or run */
    int64_t xid;    /* 0: not known */
    int64_t wait_until_us;
    unsigned state;
    bool writes;
    bool sent; /* a step has been done */
    bool lost; /* failed with the connection, and certainly not committed */
};

/* Waits for a connection; `ready` gets WM_OK, or why not. Never calls back from inside.
 * `writes`: the transaction will want to know its fate (see above). */
void store_tx_begin(store *store, store_tx *tx, wm_arena *arena, bool writes, store_tx_fn ready,
                    void *ctx);
/* Adds a statement to the step; the index of its result in this step. */
size_t store_tx_add(store_tx *tx, const store_stmt *stmt, const store_args *args);
/* Sends the step; `done` has its results. When the code is not WM_OK the transaction is
 * over and rolled back, and `tx` is the caller's again. */
void store_tx_step(store_tx *tx, store_tx_fn done);
/* Sends what was added, commits; `done` has the results. The transaction is over. */
void store_tx_commit(store_tx *tx, store_tx_fn done);
/* Gives up; `done` comes when the connection is clean again. */
void store_tx_rollback(store_tx *tx, store_tx_fn done);
/* The result of statement i of the step that just came back. */
const store_rows *store_tx_rows(const store_tx *tx, size_t i);
/* Keeps the rows of the last step until the transaction ends. */
void store_tx_keep_rows(store_tx *tx);
void store_tx_add_hook(store_tx *tx, store_hook *hook);

/* One statement, its own transaction; for reads and rare writes. Runs again when its
 * connection is lost and it certainly was not committed. */
typedef struct store_query store_query;
struct store_query {
    store_tx tx;
    const store_stmt *stmt;
    store_args args;
    int runs;
    void (*done)(store_query *query, wm_code code); /* rows: store_query_rows() */
};
/* `args` must have been built in `arena`. `query` is embedded by the caller. */
void store_query_start(store *store, store_query *query, wm_arena *arena, const store_stmt *stmt,
                       const store_args *args, bool writes,
                       void (*done)(store_query *query, wm_code code));
const store_rows *store_query_rows(const store_query *query);

/* ---- batches ----
 *
 * Operations of one kind that arrive while a batch of that kind is in flight travel
 * together in the next one: an idle server adds no delay, a busy one shares its
 * commits. One bad operation must not fail its neighbours: run() sets op->err and
 * op->code for those that fail on their own, and a batch that fails as a whole
 * with a data error is split in halves until the culprit stands alone. Serialization
 * failures and deadlocks run again. When the connection was lost the batch runs again
 * if it is known not to have committed, as long as its operations have time left.
 *
 * Therefore run() may be called several times with the same op: it must not keep
 * results in ops of a run that did not commit (start from op inputs each time).
 */
typedef struct store_op store_op;
struct store_op {
    store_op *next;      /* in the queue, then in the batch */
    size_t weight;       /* of this op towards weight_max (positions in a request); >= 1 */
    int64_t deadline_us; /* monotonic; past it the op fails before it costs a statement */
    wm_code code;        /* the result; WM_OK unless run() or the batcher says otherwise */
    wm_err err;
    void (*done)(store_op *op); /* on the loop, once, never from inside store_batcher_add() */
};

typedef struct store_batcher store_batcher;
typedef struct store_batch store_batch;
struct store_batch {
    store_tx tx;    /* begun; run() adds, steps and commits it */
    wm_arena arena; /* dies with the batch */
    store_op *ops;  /* list by next */
    size_t n_ops;
    void *kind_ctx; /* store_batcher_new's ctx */
    void *state;    /* run()'s own */
    /* private */
    store_batcher *batcher;
    store_batch *next_batch;
    int64_t begun_us;
    int runs;
};

typedef struct store_batch_kind {
    const char *name;       /* in logs and metrics */
    size_t weight_max;      /* operations of this total weight travel together */
    unsigned in_flight_max; /* batches at once per lane; 0: 1 */
    bool read_only;         /* run() never writes: nothing to look up after a lost commit */
    /* The transaction is begun. Ends with store_batch_done(), directly from the
     * commit's callback or when a step failed. */
    void (*run)(store_batch *batch);
} store_batch_kind;

store_batcher *store_batcher_new(store *store, const store_batch_kind *kind, void *ctx);
void store_batcher_free(store_batcher *batcher); /* nothing may be queued */
/* False: full (STORE_PENDING_MAX); the op is the caller's, err says RESOURCE_EXHAUSTED. */
WM_MUST_USE bool store_batcher_add(store_batcher *batcher, store_op *op, wm_err *err);
/* `code` is what the last step or commit said; tx.err has the why. */
void store_batch_done(store_batch *batch, wm_code code);

/* ---- counters for bench and metrics, this lane; cumulative but for the last line ---- */
typedef struct store_stats {
    uint64_t commits, statements, rows, batches, batched_ops, retries, reconnects;
    uint64_t batch_us; /* time of all batches, each from run() to its end */
    uint64_t queued_ops, waiting, connections_up; /* now: operations, transactions */
} store_stats;
void store_get_stats(const store *store, store_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
