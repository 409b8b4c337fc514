/* geo/write.c - everything a batch decided, written in one step; then results, to each report.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/geo/run.h"
#include "waymark/geo/v1/record.pb-c.h"

enum { RECORD_EVENTS_MAX = 10000 /* in one outbox record */ };

/* ---- write ---- */

static void fixes_init(run *r, geo_fix_columns *fixes, size_t room)
{
    geo_run_keys_init(r, &fixes->keys, room);
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

    geo_run_keys_add(&fixes->keys, m);
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

/* Entities that were made for reports that were refused then go again: one without a fix would
 * be found at 0, 0 by the next server that loads them. */
static void drop_blank_entities(run *r)
{
    geo_entity_keys keys;

    geo_run_keys_init(r, &keys, r->n_movers);
    for (size_t i = 0; i < r->n_movers; i++) {
        if (!r->movers[i].before.seen && r->movers[i].last == NULL)
            geo_run_keys_add(&keys, &r->movers[i]);
    }
    if (keys.n > 0)
        geo_store_add_delete_blank_entities(r->tx, r->arena, &keys);
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

    geo_run_keys_init(r, &events->keys, room);
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

            geo_run_keys_add(&events.keys, &r->movers[i]);
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

static void event_record_flush(run *r, const place *at, Waymark__Geo__V1__FenceEventRecord *record)
{
    if (record->n_events > 0)
        outbox_add(r, EVENT_FENCE_EVENTS, at->namespace_id, &record->base);
    record->n_events = 0;
}

static void write_event_records(run *r, const place *at)
{
    Waymark__Geo__V1__FenceEventRecord record = WAYMARK__GEO__V1__FENCE_EVENT_RECORD__INIT;

    record.events = WM_NEW_ARRAY(r->arena, Waymark__Geo__V1__FenceEvent *, RECORD_EVENTS_MAX);
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
            if (record.n_events == RECORD_EVENTS_MAX)
                event_record_flush(r, at, &record);
        }
    }
    event_record_flush(r, at, &record);
}

static void run_committed(store_tx *tx, wm_code code);

void geo_run_write(run *r)
{
    write_entities(r);
    drop_blank_entities(r);
    write_history(r);
    write_events(r);
    for (size_t i = 0; i < r->n_places; i++) {
        write_position_record(r, &r->places[i]);
        if (r->n_crossings > 0)
            write_event_records(r, &r->places[i]);
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

        if (op->code != WM_OK)
            continue;
        report->outcomes = WM_NEW_ARRAY(report->arena, geo_outcome, report->n);
        report->crossings = NULL;
        report->crossings_tail = &report->crossings;
        report->n_crossings = 0;
        geo_live_revision(r->ingest->live, r->tx->xid, report->revision);
    }
    for (size_t i = 0; i < r->n_items; i++) {
        const item *each = &r->items[i];

        if (each->report->op.code == WM_OK)
            each->report->outcomes[each->index] = each->outcome;
    }
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
