/* geo/decide.c - what the fixes of a batch cross, and the workflow's part of the transaction.
 *
 * Overlapping fences can make any number of crossings out of one fix. A report whose reply would
 * be too big is refused, and so is the later half of a batch that crosses too much in all; then
 * everything is decided again without them, because what they moved they must not have moved.
 */
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "server/geo/run.h"

enum {
    BATCH_CROSSINGS_MAX = 100000,
    REPORT_CROSSINGS_SIZE_MAX = 3 * 1024 * 1024, /* about, in the reply */
    CROSSING_SIZE = 40,                          /* in the reply, beside the ids */
    RETRY_AFTER_MS = 100
};

/* ---- decide ---- */

static bool is_refused(const run *r, const item *it)
{
    return r->refused[it->report_order] || it->report_order >= r->n_admitted;
}

/* False when the batch has too many crossings. *refused is set when the item's report has. */
static bool mover_cross(run *r, mover *m, const item *by, const geo_crossing *crossings,
                        bool *refused)
{
    size_t *size = &r->crossings_sizes[by->report_order];

    for (; crossings != NULL; crossings = crossings->next) {
        crossed *made = WM_NEW(r->arena, crossed);

        *size += strlen(by->entity_id) + strlen(crossings->fence_id) + CROSSING_SIZE;
        if (*size > REPORT_CROSSINGS_SIZE_MAX) {
            *refused = r->refused[by->report_order] = true;
            return true;
        }
        if (++r->n_crossings > BATCH_CROSSINGS_MAX)
            return false;
        made->by = by;
        made->what = crossings;
        made->event_id = wm_uuid_new();
        *m->crossings_tail = made;
        m->crossings_tail = &made->next;
    }
    return true;
}

static bool mover_decide(run *r, mover *m, geo_fence_set *set, bool *refused)
{
    m->motion = m->before;
    m->last = NULL;
    m->crossings = NULL;
    m->crossings_tail = &m->crossings;
    for (size_t i = 0; i < m->n; i++) {
        item *each = &m->items[i];
        geo_crossing *crossings;

        each->outcome = 0;
        if (is_refused(r, each))
            continue;
        each->outcome = geo_motion_take(&m->motion, each->fix, set, r->arena, &crossings);
        if (!mover_cross(r, m, each, crossings, refused))
            return false;
        if (each->outcome == GEO_STORED) {
            m->last = each->fix;
            r->n_stored++;
        } else if (each->outcome == GEO_LATE) {
            r->n_late++;
        }
    }
    if (m->last != NULL)
        r->n_moved++;
    return true;
}

/* False: some reports have been refused, decide again. */
static bool decide_once(run *r)
{
    bool refused = false;

    r->n_stored = r->n_late = r->n_moved = r->n_crossings = 0;
    memset(r->crossings_sizes, 0, r->batch->n_ops * sizeof(*r->crossings_sizes));
    for (size_t p = 0; p < r->n_places; p++) {
        for (size_t i = 0; i < r->places[p].n; i++) {
            if (mover_decide(r, &r->places[p].movers[i], r->places[p].fences->set, &refused))
                continue;
            r->n_admitted /= 2;
            return false;
        }
    }
    return !refused;
}

static void refuse_reports(run *r)
{
    size_t order = 0;

    for (store_op *op = r->batch->ops; op != NULL; op = op->next, order++) {
        if (!r->refused[order] && order < r->n_admitted)
            continue;
        if (r->refused[order]) {
            op->code = wm_fail_field(&op->err, "positions", "TOO_MANY_CROSSINGS",
                                     "the fixes cross too many fences; send fewer at once");
        } else {
            op->code = wm_fail(&op->err, WM_EXHAUSTED, "TOO_MANY_CROSSINGS",
                               "the fixes that arrived together cross too many fences");
            op->err.retry_after_ms = RETRY_AFTER_MS;
        }
    }
}

static void run_bound(store_tx *tx, wm_code code);

void geo_run_decide(run *r)
{
    geo_entity_keys keys;

    r->crossings_sizes = WM_NEW_ARRAY(r->arena, size_t, r->batch->n_ops);
    r->refused = wm_arena_zalloc(r->arena, r->batch->n_ops * sizeof(*r->refused));
    r->n_admitted = r->batch->n_ops;
    while (!decide_once(r))
        ;
    refuse_reports(r);
    if (r->n_crossings == 0 || r->ingest->wf == NULL) {
        geo_run_write(r);
        return;
    }
    geo_run_keys_init(r, &keys, r->n_movers);
    for (size_t i = 0; i < r->n_movers; i++) {
        if (r->movers[i].crossings != NULL)
            geo_run_keys_add(&keys, &r->movers[i]);
    }
    r->bindings_result = geo_store_add_bindings(r->tx, r->arena, &keys);
    store_tx_step(r->tx, run_bound);
}

/* ---- workflow ---- */

/* {"fence":"a","entity":"b","time":"...","lon_deg":1,"lat_deg":2,"first_fix":false} */
static const char *event_data(run *r, const mover *m, const crossed *c)
{
    enum { DATA_SIZE_MAX = 1024 };
    char time[WM_TIME_TEXT_SIZE];
    const char *data;
    wm_buf buf;

    /* Ids are made of characters that JSON takes as they are. */
    wm_time_format(c->by->fix->time_us, time);
    wm_buf_init(&buf, DATA_SIZE_MAX);
    wm_buf_printf(&buf, "{\"fence\":\"%s\",\"entity\":\"%s\",\"time\":\"%s\",\"lon_deg\":",
                  c->what->fence_id, m->entity_id, time);
    wm_json_write_double(&buf, c->by->fix->lon_deg);
    wm_buf_text(&buf, ",\"lat_deg\":");
    wm_json_write_double(&buf, c->by->fix->lat_deg);
    wm_buf_printf(&buf, ",\"first_fix\":%s}", c->what->first_fix ? "true" : "false");
    data = wm_arena_strndup(r->arena, buf.data, buf.size);
    wm_buf_free(&buf);
    return data;
}

static size_t mover_events(run *r, const mover *m, workflow_event_in *events)
{
    size_t n = 0;

    for (const crossed *c = m->crossings; c != NULL; c = c->next) {
        events[n].namespace_id = m->namespace_id;
        events[n].entity_id = m->entity_id;
        events[n].name = c->what->kind == GEO_ENTER ? "fence.enter" : "fence.exit";
        events[n].data = event_data(r, m, c);
        events[n++].time_us = c->by->fix->time_us;
    }
    return n;
}

static void run_moved_on(void *ctx, store_tx *tx, wm_code code)
{
    run *r = ctx;

    (void)tx;
    if (code != WM_OK)
        run_fail(r, code);
    else
        geo_run_write(r);
}

static void run_bound(store_tx *tx, wm_code code)
{
    run *r = run_of(tx);
    const store_rows *rows;
    workflow_event_in *events;
    size_t n = 0, row = 0;
    int64_t at = 0; /* of the crossing movers, counted from 1 like the rows */

    if (code != WM_OK) {
        run_fail(r, code);
        return;
    }
    rows = store_tx_rows(tx, r->bindings_result);
    events = WM_NEW_ARRAY(r->arena, workflow_event_in, r->n_crossings);
    for (size_t i = 0; i < r->n_movers && row < store_rows_len(rows); i++) {
        if (r->movers[i].crossings == NULL || store_int64(rows, row, 0) != ++at)
            continue;
        n += mover_events(r, &r->movers[i], &events[n]);
        row++;
    }
    if (n == 0)
        geo_run_write(r);
    else
        workflow_events_in(r->ingest->wf, tx, r->arena, events, n, run_moved_on, r);
}
