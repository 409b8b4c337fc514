/* server/store/batch.c - many operations, one commit.
 *
 * A batch asks for a connection first and takes its operations when it has one: what
 * arrived meanwhile travels along. Then run() does the transaction, and store_batch_done()
 * decides:
 *
 *   OK ─────────────────────────────> every op gets its own code
 *   deadlock, serialization ────────> run again
 *   connection lost, not committed ─> run again
 *   a data error, several ops ──────> two halves, one after the other
 *   no connection came, none is up ─> every op fails with it, the queued ones too
 *   anything else ──────────────────> every op fails with it
 *
 * Halves stay in the slot of their batch and run in order, so that a kind with one batch
 * in flight never reorders its operations.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/store/internal.h"

enum { BATCH_RUNS_MAX = 10, BATCH_ARENA_MAX = 256 * 1024 * 1024 };

struct store_batcher {
    store *store;
    const store_batch_kind *kind;
    void *ctx;
    store_op *first, **tail;
    unsigned in_flight;
    store_batch *spare;
};

static void batch_ready(store_tx *tx, wm_code code);

store_batcher *store_batcher_new(store *store, const store_batch_kind *kind, void *ctx)
{
    store_batcher *batcher = calloc(1, sizeof(*batcher));

    if (batcher == NULL)
        abort();
    batcher->store = store;
    batcher->kind = kind;
    batcher->ctx = ctx;
    batcher->tail = &batcher->first;
    return batcher;
}

static void batch_delete(store_batch *batch)
{
    wm_arena_free(&batch->arena);
    free(batch);
}

void store_batcher_free(store_batcher *batcher)
{
    assert(batcher->first == NULL && batcher->in_flight == 0);
    if (batcher->spare != NULL)
        batch_delete(batcher->spare);
    free(batcher);
}

/* ---- a batch's life ---- */

static store_batch *batch_new(store_batcher *batcher)
{
    store_batch *batch = batcher->spare;

    if (batch != NULL) {
        batcher->spare = NULL;
    } else {
        batch = calloc(1, sizeof(*batch));
        if (batch == NULL)
            abort();
        wm_arena_init(&batch->arena, BATCH_ARENA_MAX);
    }
    batch->batcher = batcher;
    batch->kind_ctx = batcher->ctx;
    batch->ops = NULL;
    batch->n_ops = 0;
    batch->state = NULL;
    batch->next_batch = NULL;
    batch->runs = 0;
    batch->begun_us = 0;
    return batch;
}

static void batch_free(store_batch *batch)
{
    store_batcher *batcher = batch->batcher;

    if (batcher->spare != NULL) {
        batch_delete(batch);
        return;
    }
    wm_arena_reset(&batch->arena);
    batcher->spare = batch;
}

static void batch_begin(store_batch *batch)
{
    store_batcher *batcher = batch->batcher;

    wm_arena_reset(&batch->arena);
    batch->state = NULL;
    store_tx_begin(batcher->store, &batch->tx, &batch->arena, !batcher->kind->read_only,
                   batch_ready, batch);
}

static unsigned batcher_in_flight_max(const store_batcher *batcher)
{
    return batcher->kind->in_flight_max == 0 ? 1 : batcher->kind->in_flight_max;
}

static void batcher_start(store_batcher *batcher)
{
    batcher->in_flight++;
    batch_begin(batch_new(batcher));
}

/* ---- operations ---- */

static void ops_fail(store_op *ops, const wm_err *err)
{
    while (ops != NULL) {
        store_op *next = ops->next; /* the op may go in its callback */
        ops->code = err->code;
        ops->err = *err;
        ops->done(ops);
        ops = next;
    }
}

/* Removes the operations whose deadline has passed; returns them. */
static store_op *ops_take_expired(store_op **ops, size_t *n)
{
    int64_t now_us = wm_monotonic_us();
    store_op *expired = NULL, **expired_tail = &expired;

    while (*ops != NULL) {
        store_op *op = *ops;
        if (op->deadline_us > now_us) {
            ops = &op->next;
            continue;
        }
        *ops = op->next;
        op->next = NULL;
        *expired_tail = op;
        expired_tail = &op->next;
        --*n;
    }
    return expired;
}

static void ops_fail_expired(store_op *expired)
{
    wm_err err;

    if (expired == NULL)
        return;
    wm_fail(&err, WM_DEADLINE, "DEADLINE_PASSED", "the deadline passed before the work began");
    ops_fail(expired, &err);
}

/* Moves queued operations into the batch, up to weight_max but at least one. */
static void batch_take_ops(store_batch *batch)
{
    store_batcher *batcher = batch->batcher;
    store_op **tail = &batch->ops;
    size_t weight = 0;

    while (batcher->first != NULL) {
        store_op *op = batcher->first;
        if (batch->n_ops > 0 && weight + op->weight > batcher->kind->weight_max)
            break;
        weight += op->weight;
        batcher->first = op->next;
        op->next = NULL;
        *tail = op;
        tail = &op->next;
        batch->n_ops++;
        batcher->store->n_ops--;
    }
    if (batcher->first == NULL)
        batcher->tail = &batcher->first;
}

/* Adds everything that waits behind the batch to it: its other halves, then the queue. */
static void batch_take_all(store_batch *batch)
{
    store_batcher *batcher = batch->batcher;
    store_op **tail = &batch->ops;

    while (*tail != NULL)
        tail = &(*tail)->next;
    while (batch->next_batch != NULL) {
        store_batch *half = batch->next_batch;
        batch->next_batch = half->next_batch;
        batch->n_ops += half->n_ops;
        *tail = half->ops;
        while (*tail != NULL)
            tail = &(*tail)->next;
        batch_free(half);
    }
    *tail = batcher->first;
    for (store_op *op = batcher->first; op != NULL; op = op->next) {
        batch->n_ops++;
        batcher->store->n_ops--;
    }
    batcher->first = NULL;
    batcher->tail = &batcher->first;
}

bool store_batcher_add(store_batcher *batcher, store_op *op, wm_err *err)
{
    store *store = batcher->store;

    if (store->n_ops >= STORE_PENDING_MAX) {
        wm_fail(err, WM_EXHAUSTED, "STORE_BUSY", "%d operations are queued already",
                STORE_PENDING_MAX);
        if (err != NULL)
            err->retry_after_ms = 200;
        return false;
    }
    op->next = NULL;
    op->code = WM_OK;
    *batcher->tail = op;
    batcher->tail = &op->next;
    store->n_ops++;
    if (batcher->in_flight < batcher_in_flight_max(batcher))
        batcher_start(batcher);
    return true;
}

/* ---- running ---- */

/* The slot is free: its next half, or the next batch, or nothing. */
static void batch_leave(store_batch *batch, store_batch *next)
{
    store_batcher *batcher = batch->batcher;

    batch_free(batch);
    if (next != NULL) {
        batch_begin(next);
    } else if (batcher->first != NULL) {
        batch_begin(batch_new(batcher));
    } else {
        batcher->in_flight--;
    }
}

static void batch_rolled_back(store_tx *tx, wm_code code)
{
    store_batch *batch = tx->ctx;

    (void)code;
    batch_leave(batch, batch->next_batch);
}

static void batch_run(store_batch *batch)
{
    for (store_op *op = batch->ops; op != NULL; op = op->next) {
        op->code = WM_OK;
        op->err.code = WM_OK;
    }
    batch->runs++;
    batch->begun_us = wm_monotonic_us();
    batch->batcher->store->stats.batches++;
    batch->batcher->kind->run(batch);
}

static void batch_ready(store_tx *tx, wm_code code)
{
    store_batch *batch = tx->ctx;

    if (batch->ops == NULL)
        batch_take_ops(batch);
    if (code != WM_OK) {
        /* What waits behind this batch would each wait as long, and as much in vain. */
        if (code == WM_UNAVAILABLE && batch->batcher->store->n_up == 0)
            batch_take_all(batch);
        store_batch_done(batch, code);
        return;
    }
    ops_fail_expired(ops_take_expired(&batch->ops, &batch->n_ops));
    if (batch->ops == NULL)
        store_tx_rollback(tx, batch_rolled_back);
    else
        batch_run(batch);
}

/* ---- the end of a run ---- */

/* All went: each operation has its own code already. */
static void batch_succeed(store_batch *batch)
{
    store_op *op = batch->ops;

    batch->batcher->store->stats.batched_ops += batch->n_ops;
    while (op != NULL) {
        store_op *next = op->next;
        op->done(op);
        op = next;
    }
    batch_leave(batch, batch->next_batch);
}

static void batch_fail(store_batch *batch)
{
    wm_err err = batch->tx.err;

    ops_fail(batch->ops, &err);
    batch_leave(batch, batch->next_batch);
}

static void batch_split(store_batch *batch)
{
    store_batch *rest = batch_new(batch->batcher);
    store_op **link = &batch->ops;

    for (size_t i = 0; i < batch->n_ops / 2; i++)
        link = &(*link)->next;
    rest->ops = *link;
    *link = NULL;
    rest->n_ops = batch->n_ops - batch->n_ops / 2;
    batch->n_ops /= 2;
    rest->next_batch = batch->next_batch;
    batch->next_batch = rest;
    batch->runs = 0;
    batch_begin(batch);
}

static bool err_is_conflict(const wm_err *err)
{
    return strcmp(err->reason, "SQLSTATE_40001") == 0 || strcmp(err->reason, "SQLSTATE_40P01") == 0;
}

/* The statement itself, or the data in it: one of the operations may be the culprit. */
static bool err_is_of_data(const wm_err *err)
{
    return err->code != WM_UNAVAILABLE && err->code != WM_UNKNOWN && err->code != WM_EXHAUSTED &&
           strncmp(err->reason, "SQLSTATE_", 9) == 0;
}

void store_batch_done(store_batch *batch, wm_code code)
{
    store_tx *tx = &batch->tx;

    if (batch->begun_us != 0) /* not for one that never got a connection */
        batch->batcher->store->stats.batch_us += (uint64_t)(wm_monotonic_us() - batch->begun_us);
    batch->begun_us = 0;
    if (code == WM_OK) {
        batch_succeed(batch);
        return;
    }
    if ((tx->lost || err_is_conflict(&tx->err)) && batch->runs < BATCH_RUNS_MAX) {
        batch->batcher->store->stats.retries++;
        batch_begin(batch);
        return;
    }
    if (err_is_of_data(&tx->err) && batch->n_ops > 1) {
        batch_split(batch);
        return;
    }
    tx->err.code = code;
    batch_fail(batch);
}
