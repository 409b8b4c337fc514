/* geo/ingest.c - one batch of reports, one transaction.
 *
 *   months ──> lock ──> (fences) ──> decide ──> (bindings ──> workflow) ──> write, commit
 *
 *   months    the partitions of the fixes' months exist, or are made in a transaction of their
 *             own, on another connection
 *   lock      entities that do not exist are made; all are locked in id order, and say where
 *             they were last; then, in a later snapshot, each namespace says its fence revision
 *   fences    what changed since the lane's set, where the set is older
 *   decide    in C: crossing.h for each entity, fix by fix
 *   bindings  which of the entities that crossed something are bound to instances, and the
 *             workflow's part of the transaction
 *   write     entities, history, events, outbox: one round trip, then the commit
 *
 * decide.c and write.c have the parts of that name. Each step is one round trip. An entity's fixes
 * are decided against what the database says under its lock, so crossings are exact with any number
 * of servers and across crashes. One batch at a time is in flight on a lane, so reports of one
 * stream commit in their order.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "server/geo/run.h"

enum { BATCH_WEIGHT_MAX = 2000 };

static void run_given_up(store_tx *tx, wm_code code)
{
    run *r = run_of(tx);

    (void)code; /* nothing is kept either way; what counts is why we gave up */
    tx->err = r->err;
    run_fail(r, r->err.code);
}

/* Ends the open transaction for a reason of our own. */
static void run_give_up(run *r, const wm_err *err)
{
    r->err = *err;
    store_tx_rollback(r->tx, run_given_up);
}

/* ---- the batch as sorted items, movers, places ---- */

static int item_compare(const void *a, const void *b)
{
    const item *left = a, *right = b;
    int order;

    if (left->report->namespace_id != right->report->namespace_id)
        return left->report->namespace_id < right->report->namespace_id ? -1 : 1;
    order = strcmp(left->entity_id, right->entity_id); /* bytes, as COLLATE "C" */
    if (order != 0)
        return order;
    if (left->report_order != right->report_order)
        return left->report_order < right->report_order ? -1 : 1;
    if (left->fix->time_us != right->fix->time_us)
        return left->fix->time_us < right->fix->time_us ? -1 : 1;
    return left->index < right->index ? -1 : 1;
}

/* A report behind a lost one would overtake it: the lost one, sent again, would be late. */
static void reports_refuse_overtaking(run *r)
{
    for (store_op *op = r->batch->ops; op != NULL; op = op->next) {
        const geo_report *report = wm_container_of(op, geo_report, op);

        if (report->lost != NULL && *report->lost)
            op->code = geo_fail_overtaking(&op->err);
    }
}

static void items_collect(run *r)
{
    size_t order = 0;
    item *at;

    for (store_op *op = r->batch->ops; op != NULL; op = op->next)
        r->n_items += op->code == WM_OK ? wm_container_of(op, geo_report, op)->n : 0;
    at = r->items = WM_NEW_ARRAY(r->arena, item, r->n_items);
    for (store_op *op = r->batch->ops; op != NULL; op = op->next, order++) {
        geo_report *report = wm_container_of(op, geo_report, op);

        for (size_t i = 0; op->code == WM_OK && i < report->n; i++)
            *at++ = (item){report, order, i, report->entity_ids[i], &report->fixes[i], 0};
    }
    qsort(r->items, r->n_items, sizeof(*r->items), item_compare);
}

static void movers_collect(run *r)
{
    mover *at = NULL;

    r->movers = WM_NEW_ARRAY(r->arena, mover, r->n_items);
    for (size_t i = 0; i < r->n_items; i++) {
        item *each = &r->items[i];

        if (at == NULL || at->namespace_id != each->report->namespace_id ||
            strcmp(at->entity_id, each->entity_id) != 0) {
            at = &r->movers[r->n_movers++];
            *at = (mover){.namespace_id = each->report->namespace_id,
                          .entity_id = each->entity_id,
                          .items = each};
        }
        at->n++;
    }
}

static void places_collect(run *r)
{
    place *at = NULL;

    r->places = WM_NEW_ARRAY(r->arena, place, r->n_movers);
    for (size_t i = 0; i < r->n_movers; i++) {
        mover *each = &r->movers[i];

        if (at == NULL || at->namespace_id != each->namespace_id) {
            at = &r->places[r->n_places++];
            *at = (place){.namespace_id = each->namespace_id, .movers = each};
            at->fences = geo_fence_sets_get(r->ingest->sets, each->namespace_id);
        }
        at->n++;
    }
}

void geo_run_keys_init(run *r, geo_entity_keys *keys, size_t room)
{
    keys->namespace_ids = WM_NEW_ARRAY(r->arena, int32_t, room);
    keys->entity_ids = WM_NEW_ARRAY(r->arena, const char *, room);
    keys->n = 0;
}

void geo_run_keys_add(geo_entity_keys *keys, const mover *m)
{
    keys->namespace_ids[keys->n] = m->namespace_id;
    keys->entity_ids[keys->n++] = m->entity_id;
}

/* ---- months ---- */

static int month_of(int64_t time_us)
{
    time_t seconds = time_us / 1000000;
    struct tm parts;

    gmtime_r(&seconds, &parts);
    return (parts.tm_year - 70) * 12 + parts.tm_mon;
}

static bool month_is_known(const geo_ingest *ingest, int month)
{
    return (ingest->months[month / 8] >> (month % 8)) & 1;
}

static void months_collect(run *r)
{
    uint8_t missing[GEO_MONTHS_MAX / 8] = {0};
    int64_t day = -1; /* fixes of a batch are mostly of one day */

    for (size_t i = 0; i < r->n_items; i++) {
        int64_t time_us = r->items[i].fix->time_us;
        int month;

        if (time_us / 86400000000 == day)
            continue;
        day = time_us / 86400000000;
        month = month_of(time_us);
        assert(month >= 0 && month < GEO_MONTHS_MAX); /* geo_fix_read() and our clock */
        if (month_is_known(r->ingest, month) || ((missing[month / 8] >> (month % 8)) & 1))
            continue;
        missing[month / 8] |= (uint8_t)(1u << (month % 8));
        if (r->months == NULL)
            r->months = WM_NEW_ARRAY(r->arena, int64_t, GEO_MONTHS_MAX);
        r->months[r->n_months++] = time_us;
    }
}

static void run_lock(run *r);

static void months_done(store_query *query, wm_code code)
{
    run *r = wm_container_of(query, run, months_query);

    if (code != WM_OK) {
        run_give_up(r, &query->tx.err);
        return;
    }
    for (size_t i = 0; i < r->n_months; i++) {
        int month = month_of(r->months[i]);

        r->ingest->months[month / 8] |= (uint8_t)(1u << (month % 8));
    }
    run_lock(r);
}

/* ---- lock ---- */

static void run_locked(store_tx *tx, wm_code code);

/* Entities that the live index does not know are most likely new. */
static void add_inserts(run *r)
{
    geo_entity_keys keys;

    geo_run_keys_init(r, &keys, r->n_movers);
    for (size_t p = 0; p < r->n_places; p++) {
        place *at = &r->places[p];
        geo_index *index = geo_live_index(r->ingest->live, at->namespace_id);

        for (size_t i = 0; i < at->n; i++) {
            if (r->locked_again || !geo_index_has(index, at->movers[i].entity_id))
                geo_run_keys_add(&keys, &at->movers[i]);
        }
    }
    if (keys.n > 0)
        geo_store_add_insert_entities(r->tx, r->arena, &keys);
}

static void run_lock(run *r)
{
    geo_entity_keys keys;
    int32_t *namespace_ids = WM_NEW_ARRAY(r->arena, int32_t, r->n_places);

    geo_run_keys_init(r, &keys, r->n_movers);
    for (size_t i = 0; i < r->n_movers; i++)
        geo_run_keys_add(&keys, &r->movers[i]);
    for (size_t i = 0; i < r->n_places; i++)
        namespace_ids[i] = r->places[i].namespace_id;
    add_inserts(r);
    r->lock_result = geo_store_add_lock_entities(r->tx, r->arena, &keys);
    r->revisions_result =
        geo_store_add_fence_revisions(r->tx, r->arena, namespace_ids, r->n_places);
    store_tx_step(r->tx, run_locked);
}

static void read_motions(run *r)
{
    const store_rows *rows = store_tx_rows(r->tx, r->lock_result);

    for (size_t row = 0; row < store_rows_len(rows); row++) {
        geo_motion motion;
        size_t at = geo_store_read_motion(rows, row, r->arena, &motion, &r->now_us);

        r->movers[at].before = motion;
    }
}

static void read_revisions(run *r)
{
    const store_rows *rows = store_tx_rows(r->tx, r->revisions_result);

    for (size_t row = 0; row < store_rows_len(rows); row++) {
        for (size_t p = 0; p < r->n_places; p++) {
            if (r->places[p].namespace_id == store_int32(rows, row, 0))
                r->places[p].revision = store_int64(rows, row, 1);
        }
    }
}

static void run_fences_changed(store_tx *tx, wm_code code);

static void run_locked(store_tx *tx, wm_code code)
{
    run *r = run_of(tx);
    bool stale = false;

    if (code != WM_OK) {
        run_fail(r, code);
        return;
    }
    if (store_rows_len(store_tx_rows(tx, r->lock_result)) < r->n_movers) {
        /* The index knew an entity that the table does not have. */
        assert(!r->locked_again);
        r->locked_again = true;
        run_lock(r);
        return;
    }
    read_motions(r);
    read_revisions(r);
    for (size_t i = 0; i < r->n_places; i++) {
        place *at = &r->places[i];

        if (at->revision <= at->fences->revision)
            continue;
        stale = true;
        at->changes =
            geo_store_add_fence_changes(tx, r->arena, at->namespace_id, at->fences->revision);
    }
    if (stale)
        store_tx_step(tx, run_fences_changed);
    else
        geo_run_decide(r);
}

/* ---- fences ---- */

static void run_fences_changed(store_tx *tx, wm_code code)
{
    run *r = run_of(tx);
    wm_err err;

    if (code != WM_OK) {
        run_fail(r, code);
        return;
    }
    for (size_t i = 0; i < r->n_places; i++) {
        place *at = &r->places[i];

        if (at->revision <= at->fences->revision)
            continue;
        code =
            geo_known_fences_apply(at->fences, store_tx_rows(tx, at->changes), at->revision, &err);
        if (code != WM_OK) {
            run_give_up(r, &err);
            return;
        }
    }
    geo_run_decide(r);
}

/* ---- life ---- */

static void batch_run(store_batch *batch)
{
    run *r = WM_NEW(&batch->arena, run);

    batch->state = r;
    r->ingest = batch->kind_ctx;
    r->batch = batch;
    r->tx = &batch->tx;
    r->arena = &batch->arena;
    reports_refuse_overtaking(r);
    items_collect(r);
    if (r->n_items == 0) {
        run_give_up(r, &batch->ops->err);
        return;
    }
    movers_collect(r);
    places_collect(r);
    months_collect(r);
    if (r->n_months > 0)
        geo_store_months_ensure(lane_store(r->ingest->lane), &r->months_query, r->arena, r->months,
                                r->n_months, months_done);
    else
        run_lock(r);
}

static const store_batch_kind batch_kind = {
    .name = "geo.positions", .weight_max = BATCH_WEIGHT_MAX, .in_flight_max = 1, .run = batch_run};

geo_ingest *geo_ingest_new(lane *lane, geo_live *live, event_hub *hub, workflow *wf)
{
    geo_ingest *ingest = calloc(1, sizeof(*ingest));

    if (ingest == NULL)
        abort();
    ingest->lane = lane;
    ingest->live = live;
    ingest->hub = hub;
    ingest->wf = wf;
    ingest->sets = geo_fence_sets_new();
    ingest->batcher = store_batcher_new(lane_store(lane), &batch_kind, ingest);
    return ingest;
}

void geo_ingest_free(geo_ingest *ingest)
{
    store_batcher_free(ingest->batcher);
    geo_fence_sets_free(ingest->sets);
    free(ingest);
}

/* ---- how much waits ---- */

bool geo_ingest_is_full(const geo_ingest *ingest)
{
    return ingest->n_pending >= GEO_PENDING_MAX;
}

void geo_ingest_room_wait(geo_ingest *ingest, geo_room_wait *wait)
{
    if (wait->waiting)
        return;
    wait->waiting = true;
    DL_APPEND(ingest->room_waits, wait);
}

void geo_ingest_room_cancel(geo_ingest *ingest, geo_room_wait *wait)
{
    if (!wait->waiting)
        return;
    wait->waiting = false;
    DL_DELETE(ingest->room_waits, wait);
}

static void report_op_done(store_op *op)
{
    geo_report *report = wm_container_of(op, geo_report, op);
    geo_ingest *ingest = report->ingest;

    ingest->n_pending -= report->n;
    report->done(report); /* which may be the end of it */
    while (ingest->room_waits != NULL && !geo_ingest_is_full(ingest)) {
        geo_room_wait *first = ingest->room_waits;

        geo_ingest_room_cancel(ingest, first);
        first->room(first);
    }
}

/* ---- reports ---- */

wm_code geo_fail_overtaking(wm_err *err)
{
    return wm_fail(err, WM_UNAVAILABLE, "STORE_UNAVAILABLE",
                   "an earlier message of this stream was lost; open a new stream and send again "
                   "from there");
}

bool geo_ingest_add(geo_ingest *ingest, geo_report *report, wm_err *err)
{
    assert(report->n > 0 && report->n <= GEO_REPORT_LEN_MAX);
    memset(&report->op, 0, sizeof(report->op));
    report->op.weight = report->n;
    report->op.deadline_us = report->deadline_us;
    report->op.done = report_op_done;
    report->ingest = ingest;
    if (!store_batcher_add(ingest->batcher, &report->op, err))
        return false;
    ingest->n_pending += report->n;
    return true;
}
