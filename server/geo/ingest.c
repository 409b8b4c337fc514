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
 * Each step is one round trip. An entity's fixes are decided against what the database says
 * under its lock, so crossings are exact with any number of servers and across crashes. One batch
 * at a time is in flight on a lane, so reports of one stream commit in their order.
 */
#include "server/geo/ingest.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "server/geo/sets.h"
#include "waymark/geo/v1/record.pb-c.h"

enum {
    BATCH_WEIGHT_MAX = 2000,
    MONTHS_MAX = 12 * 230 /* 1970 to 2199 */
};

struct geo_ingest {
    lane *lane;
    geo_live *live;
    event_hub *hub;
    workflow *wf;
    store_batcher *batcher;
    geo_fence_sets *sets;
    uint8_t months[MONTHS_MAX / 8]; /* whose partition is known to exist */
};

/* One fix of the batch. */
typedef struct item {
    geo_report *report;
    size_t report_order;
    size_t index; /* in the report */
    const char *entity_id;
    const geo_fix *fix;
    geo_outcome outcome;
} item;

typedef struct crossed crossed;
struct crossed {
    crossed *next;
    const item *by;
    const geo_crossing *what;
    wm_uuid event_id;
};

/* One entity of the batch: a run of items. */
typedef struct mover {
    int32_t namespace_id;
    const char *entity_id;
    item *items;
    size_t n;
    geo_motion motion;
    const geo_fix *last; /* its newest fix, when this batch moved it */
    crossed *crossings, **crossings_tail;
} mover;

/* A namespace of the batch: a run of movers. */
typedef struct place {
    int32_t namespace_id;
    mover *movers;
    size_t n;
    geo_known_fences *fences;
    int64_t revision;
    size_t changes; /* result index, while loading */
} place;

/* One try to run a batch. */
typedef struct run {
    geo_ingest *ingest;
    store_batch *batch;
    store_tx *tx;
    wm_arena *arena;
    item *items;
    size_t n_items;
    mover *movers;
    size_t n_movers;
    place *places;
    size_t n_places;
    store_query months_query;
    int64_t *months; /* a time in each month to be made */
    size_t n_months;
    bool locked_again;
    size_t lock_result, revisions_result, bindings_result, late_result;
    int64_t now_us; /* the transaction's */
    wm_err err;     /* why we gave up */
    size_t n_stored, n_late, n_moved, n_crossings;
} run;

static run *run_of(store_tx *tx)
{
    return wm_container_of(tx, store_batch, tx)->state;
}

/* The step or commit that failed has ended the transaction. */
static void run_fail(run *r, wm_code code)
{
    store_batch_done(r->batch, code);
}

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
            at->crossings_tail = &at->crossings;
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

static void keys_init(run *r, geo_entity_keys *keys, size_t room)
{
    keys->namespace_ids = WM_NEW_ARRAY(r->arena, int32_t, room);
    keys->entity_ids = WM_NEW_ARRAY(r->arena, const char *, room);
    keys->n = 0;
}

static void keys_add(geo_entity_keys *keys, const mover *m)
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
    uint8_t missing[MONTHS_MAX / 8] = {0};
    int64_t day = -1; /* fixes of a batch are mostly of one day */

    for (size_t i = 0; i < r->n_items; i++) {
        int64_t time_us = r->items[i].fix->time_us;
        int month;

        if (time_us / 86400000000 == day)
            continue;
        day = time_us / 86400000000;
        month = month_of(time_us);
        assert(month >= 0 && month < MONTHS_MAX); /* geo_fix_read() and our clock */
        if (month_is_known(r->ingest, month) || ((missing[month / 8] >> (month % 8)) & 1))
            continue;
        missing[month / 8] |= (uint8_t)(1u << (month % 8));
        if (r->months == NULL)
            r->months = WM_NEW_ARRAY(r->arena, int64_t, MONTHS_MAX);
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

    keys_init(r, &keys, r->n_movers);
    for (size_t p = 0; p < r->n_places; p++) {
        place *at = &r->places[p];
        geo_index *index = geo_live_index(r->ingest->live, at->namespace_id);

        for (size_t i = 0; i < at->n; i++) {
            if (r->locked_again || !geo_index_has(index, at->movers[i].entity_id))
                keys_add(&keys, &at->movers[i]);
        }
    }
    if (keys.n > 0)
        geo_store_add_insert_entities(r->tx, r->arena, &keys);
}

static void run_lock(run *r)
{
    geo_entity_keys keys;
    int32_t *namespace_ids = WM_NEW_ARRAY(r->arena, int32_t, r->n_places);

    keys_init(r, &keys, r->n_movers);
    for (size_t i = 0; i < r->n_movers; i++)
        keys_add(&keys, &r->movers[i]);
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

        r->movers[at].motion = motion;
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
static void run_decide(run *r);

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
        run_decide(r);
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
    run_decide(r);
}

/* ---- decide ---- */

static void mover_cross(run *r, mover *m, const item *by, const geo_crossing *crossings)
{
    for (; crossings != NULL; crossings = crossings->next) {
        crossed *made = WM_NEW(r->arena, crossed);

        made->by = by;
        made->what = crossings;
        made->event_id = wm_uuid_new();
        *m->crossings_tail = made;
        m->crossings_tail = &made->next;
        r->n_crossings++;
    }
}

static void mover_decide(run *r, mover *m, geo_fence_set *set)
{
    for (size_t i = 0; i < m->n; i++) {
        item *each = &m->items[i];
        geo_crossing *crossings;

        each->outcome = geo_motion_take(&m->motion, each->fix, set, r->arena, &crossings);
        mover_cross(r, m, each, crossings);
        if (each->outcome == GEO_STORED) {
            m->last = each->fix;
            r->n_stored++;
        } else if (each->outcome == GEO_LATE) {
            r->n_late++;
        }
    }
    if (m->last != NULL)
        r->n_moved++;
}

static void run_write(run *r);
static void run_bound(store_tx *tx, wm_code code);

static void run_decide(run *r)
{
    geo_entity_keys keys;

    for (size_t p = 0; p < r->n_places; p++) {
        for (size_t i = 0; i < r->places[p].n; i++)
            mover_decide(r, &r->places[p].movers[i], r->places[p].fences->set);
    }
    if (r->n_crossings == 0 || r->ingest->wf == NULL) {
        run_write(r);
        return;
    }
    keys_init(r, &keys, r->n_movers);
    for (size_t i = 0; i < r->n_movers; i++) {
        if (r->movers[i].crossings != NULL)
            keys_add(&keys, &r->movers[i]);
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
        run_write(r);
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
        run_write(r);
    else
        workflow_events_in(r->ingest->wf, tx, r->arena, events, n, run_moved_on, r);
}

/* ---- write ---- */

static void fixes_init(run *r, geo_fix_columns *fixes, size_t room)
{
    keys_init(r, &fixes->keys, room);
    fixes->times_us = WM_NEW_ARRAY(r->arena, int64_t, room);
    fixes->lon_deg = WM_NEW_ARRAY(r->arena, double, room);
    fixes->lat_deg = WM_NEW_ARRAY(r->arena, double, room);
    fixes->alt_m = WM_NEW_ARRAY(r->arena, double, room);
    fixes->speed_mps = WM_NEW_ARRAY(r->arena, double, room);
    fixes->heading_deg = WM_NEW_ARRAY(r->arena, double, room);
    fixes->fence_keys = WM_NEW_ARRAY(r->arena, const char *, room);
}

static void fixes_add(geo_fix_columns *fixes, const mover *m, const geo_fix *fix,
                      const char *fence_keys)
{
    size_t at = fixes->keys.n;

    keys_add(&fixes->keys, m);
    fixes->times_us[at] = fix->time_us;
    fixes->lon_deg[at] = fix->lon_deg;
    fixes->lat_deg[at] = fix->lat_deg;
    fixes->alt_m[at] = fix->alt_m;
    fixes->speed_mps[at] = fix->speed_mps;
    fixes->heading_deg[at] = fix->heading_deg;
    fixes->fence_keys[at] = fence_keys;
}

/* "{1,2}", or NULL when nothing changed. */
static const char *membership_text(run *r, const geo_motion *motion)
{
    enum { KEY_SIZE = 21 };
    char *text;
    size_t len = 0;

    if (!motion->keys_changed)
        return NULL;
    text = wm_arena_alloc(r->arena, motion->n_keys * KEY_SIZE + 3);
    text[len++] = '{';
    for (size_t i = 0; i < motion->n_keys; i++)
        len += (size_t)sprintf(text + len, "%s%" PRId64, i == 0 ? "" : ",", motion->keys[i]);
    text[len++] = '}';
    text[len] = '\0';
    return text;
}

static void write_entities(run *r)
{
    geo_fix_columns fixes;

    if (r->n_moved == 0)
        return;
    fixes_init(r, &fixes, r->n_moved);
    for (size_t i = 0; i < r->n_movers; i++) {
        const mover *m = &r->movers[i];

        if (m->last != NULL)
            fixes_add(&fixes, m, m->last, membership_text(r, &m->motion));
    }
    geo_store_add_update_entities(r->tx, r->arena, &fixes);
}

/* The fixes of one outcome, in the order of the items. */
static void collect_outcome(run *r, geo_outcome outcome, size_t n, geo_fix_columns *fixes)
{
    fixes_init(r, fixes, n);
    for (size_t i = 0; i < r->n_movers; i++) {
        const mover *m = &r->movers[i];

        for (size_t j = 0; j < m->n; j++) {
            if (m->items[j].outcome == outcome)
                fixes_add(fixes, m, m->items[j].fix, NULL);
        }
    }
}

/* Newer fixes cannot be there yet; of late ones the database says which were not. They go second,
 * so that one that repeats a newer fix of this batch finds it. */
static void write_history(run *r)
{
    geo_fix_columns fixes;

    if (r->n_stored > 0) {
        collect_outcome(r, GEO_STORED, r->n_stored, &fixes);
        geo_store_add_insert_positions(r->tx, r->arena, &fixes);
    }
    if (r->n_late > 0) {
        collect_outcome(r, GEO_LATE, r->n_late, &fixes);
        r->late_result = geo_store_add_insert_late_positions(r->tx, r->arena, &fixes);
    }
}

static void events_init(run *r, geo_event_columns *events)
{
    size_t room = r->n_crossings;

    keys_init(r, &events->keys, room);
    events->times_us = WM_NEW_ARRAY(r->arena, int64_t, room);
    events->fence_keys = WM_NEW_ARRAY(r->arena, int64_t, room);
    events->kinds = WM_NEW_ARRAY(r->arena, int32_t, room);
    events->event_ids = WM_NEW_ARRAY(r->arena, wm_uuid, room);
    events->fence_ids = WM_NEW_ARRAY(r->arena, const char *, room);
    events->lon_deg = WM_NEW_ARRAY(r->arena, double, room);
    events->lat_deg = WM_NEW_ARRAY(r->arena, double, room);
    events->first_fixes = WM_NEW_ARRAY(r->arena, bool, room);
}

static void write_events(run *r)
{
    geo_event_columns events;

    if (r->n_crossings == 0)
        return;
    events_init(r, &events);
    for (size_t i = 0; i < r->n_movers; i++) {
        for (const crossed *c = r->movers[i].crossings; c != NULL; c = c->next) {
            size_t at = events.keys.n;

            keys_add(&events.keys, &r->movers[i]);
            events.times_us[at] = c->by->fix->time_us;
            events.fence_keys[at] = c->what->fence_key;
            events.kinds[at] = (int32_t)c->what->kind;
            events.event_ids[at] = c->event_id;
            events.fence_ids[at] = c->what->fence_id;
            events.lon_deg[at] = c->by->fix->lon_deg;
            events.lat_deg[at] = c->by->fix->lat_deg;
            events.first_fixes[at] = c->what->first_fix;
        }
    }
    geo_store_add_insert_events(r->tx, r->arena, &events);
}

static void outbox_add(run *r, event_topic topic, int32_t namespace_id,
                       const ProtobufCMessage *record)
{
    size_t size = protobuf_c_message_get_packed_size(record);
    uint8_t *bytes = wm_arena_alloc(r->arena, size);

    protobuf_c_message_pack(record, bytes);
    event_outbox_add(r->tx, topic, namespace_id, bytes, size);
}

/* Also when nothing moved: whoever waits for this transaction's revision waits for its record. */
static void write_position_record(run *r, const place *at)
{
    Waymark__Geo__V1__PositionRecord record = WAYMARK__GEO__V1__POSITION_RECORD__INIT;

    record.positions = WM_NEW_ARRAY(r->arena, Waymark__Geo__V1__Position *, at->n);
    for (size_t i = 0; i < at->n; i++) {
        const mover *m = &at->movers[i];

        if (m->last != NULL)
            record.positions[record.n_positions++] =
                geo_position_write(r->arena, m->entity_id, m->last);
    }
    outbox_add(r, EVENT_POSITIONS, at->namespace_id, &record.base);
}

static void write_event_record(run *r, const place *at)
{
    Waymark__Geo__V1__FenceEventRecord record = WAYMARK__GEO__V1__FENCE_EVENT_RECORD__INIT;

    record.events = WM_NEW_ARRAY(r->arena, Waymark__Geo__V1__FenceEvent *, r->n_crossings);
    for (size_t i = 0; i < at->n; i++) {
        for (const crossed *c = at->movers[i].crossings; c != NULL; c = c->next) {
            geo_event event = {.event_id = c->event_id,
                               .entity_id = at->movers[i].entity_id,
                               .fence_id = c->what->fence_id,
                               .kind = c->what->kind,
                               .time_us = c->by->fix->time_us,
                               .lon_deg = c->by->fix->lon_deg,
                               .lat_deg = c->by->fix->lat_deg,
                               .first_fix = c->what->first_fix,
                               .record_time_us = r->now_us};

            record.events[record.n_events++] = geo_event_write(r->arena, &event);
        }
    }
    if (record.n_events > 0)
        outbox_add(r, EVENT_FENCE_EVENTS, at->namespace_id, &record.base);
}

static void run_committed(store_tx *tx, wm_code code);

static void run_write(run *r)
{
    write_entities(r);
    write_history(r);
    write_events(r);
    for (size_t i = 0; i < r->n_places; i++) {
        write_position_record(r, &r->places[i]);
        if (r->n_crossings > 0)
            write_event_record(r, &r->places[i]);
    }
    store_tx_commit(r->tx, run_committed);
}

/* ---- committed ---- */

/* Rows are the late fixes that were stored, in the order of the items; the others were there. */
static void read_late(run *r)
{
    const store_rows *rows = store_tx_rows(r->tx, r->late_result);
    size_t row = 0, len = store_rows_len(rows);

    for (size_t i = 0; i < r->n_items; i++) {
        item *each = &r->items[i];

        if (each->outcome != GEO_LATE)
            continue;
        if (row < len && store_int32(rows, row, 0) == each->report->namespace_id &&
            store_time(rows, row, 2) == each->fix->time_us &&
            strcmp(store_text(rows, row, 1), each->entity_id) == 0)
            row++;
        else
            each->outcome = GEO_DUPLICATE;
    }
}

static void apply_to_live(run *r)
{
    geo_index_update *updates = WM_NEW_ARRAY(r->arena, geo_index_update, r->n_moved);

    for (size_t p = 0; p < r->n_places; p++) {
        place *at = &r->places[p];
        size_t n = 0;

        for (size_t i = 0; i < at->n; i++) {
            if (at->movers[i].last != NULL)
                updates[n++] = (geo_index_update){at->movers[i].entity_id, *at->movers[i].last};
        }
        geo_index_apply(geo_live_index(r->ingest->live, at->namespace_id), updates, n);
    }
}

static void report_results(run *r)
{
    for (store_op *op = r->batch->ops; op != NULL; op = op->next) {
        geo_report *report = wm_container_of(op, geo_report, op);

        report->outcomes = WM_NEW_ARRAY(report->arena, geo_outcome, report->n);
        report->crossings = NULL;
        report->crossings_tail = &report->crossings;
        report->n_crossings = 0;
        geo_live_revision(r->ingest->live, r->tx->xid, report->revision);
    }
    for (size_t i = 0; i < r->n_items; i++)
        r->items[i].report->outcomes[r->items[i].index] = r->items[i].outcome;
}

static void report_crossing(const crossed *c)
{
    geo_report *report = c->by->report;
    geo_report_crossing *made = WM_NEW(report->arena, geo_report_crossing);

    made->entity_id = c->by->entity_id; /* the report's own, not that of another report */
    made->fence_id = wm_arena_strdup(report->arena, c->what->fence_id);
    made->kind = c->what->kind;
    made->time_us = c->by->fix->time_us;
    *report->crossings_tail = made;
    report->crossings_tail = &made->next;
    report->n_crossings++;
}

static void run_committed(store_tx *tx, wm_code code)
{
    run *r = run_of(tx);

    if (code != WM_OK) {
        run_fail(r, code);
        return;
    }
    if (r->n_late > 0)
        read_late(r);
    apply_to_live(r);
    report_results(r);
    for (size_t i = 0; i < r->n_movers; i++) {
        for (const crossed *c = r->movers[i].crossings; c != NULL; c = c->next)
            report_crossing(c);
    }
    event_hub_wake(r->ingest->hub);
    store_batch_done(r->batch, WM_OK);
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

static void report_op_done(store_op *op)
{
    geo_report *report = wm_container_of(op, geo_report, op);

    report->done(report);
}

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
    return store_batcher_add(ingest->batcher, &report->op, err);
}
