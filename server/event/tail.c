/* server/event/tail.c - what was committed, in order, on lane 0.
 *
 * The position is the newest record taken. Its successors come either by a query (look)
 * or from Redis, each with the position before it: one that does not fit tells of a gap,
 * and the query repairs it. Both say only what PostgreSQL says, so it does not matter
 * which comes first, nor how many processes copy to Redis for a moment.
 *
 * A look that finds nothing after a wake-up may have come too early: an older transaction
 * was still open. So looks are repeated, at intervals that double up to EVENT_POLL_MS, or
 * to EVENT_CHECK_MS where Redis brings the records anyway.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/event/internal.h"

enum {
    LOOK_MIN_MS = 4, /* between two looks; what arrives meanwhile travels together */
    LOOK_ROWS = 256,
    EVENT_CHECK_MS = 1000,
    BATCHES_MAX = 32, /* on their way to lanes: more stop the looks */
    /* Bytes on their way to lanes: more stop the looks, and what Redis brings is left to a
     * later look. The last one to go out may exceed it by its own size. */
    BATCHES_SIZE_MAX = 32 * 1024 * 1024,
    START_TRIES_MAX = 10 /* of STORE_WAIT_MS each */
};

static const store_stmt look_stmt = {
    "event.look",
    /* $1 $2 the position  $3 rows at most */
    "SELECT xid, seq, topic, namespace_id, create_time, payload FROM waymark.outbox"
    " WHERE (xid, seq) > ($1::xid8, $2::bigint) AND xid < pg_snapshot_xmin(pg_current_snapshot())"
    " ORDER BY xid, seq LIMIT $3::bigint"};

static const store_stmt present_stmt = {
    "event.present",
    /* The newest record there ever was, (0, 0) when there was none. Not xmin: a crash may
     * set the transaction ids back behind it, and only a committed one is past for good. */
    "SELECT xid, seq FROM ((SELECT xid, seq FROM waymark.outbox"
    " WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid DESC, seq DESC LIMIT 1)"
    " UNION ALL SELECT xid, seq FROM waymark.outbox_trimmed) AS newest"
    " ORDER BY xid DESC, seq DESC LIMIT 1"};

static void look_done(store_query *query, wm_code code);
static void present_ask(event_hub *hub);

event_record tail_read_row(const store_rows *rows, size_t row)
{
    event_record record = {
        .cursor = {store_int64(rows, row, 0), store_int64(rows, row, 1)},
        .topic = (event_topic)store_int32(rows, row, 2),
        .namespace_id = store_int32(rows, row, 3),
        .commit_time_us = store_time(rows, row, 4),
    };

    record.payload = store_bytes(rows, row, 5, &record.payload_size);
    return record;
}

/* ---- looking ---- */

static void look(event_hub *hub)
{
    store_args args;

    hub->polling = true;
    hub->poll_again = false;
    hub->polled_us = wm_monotonic_us();
    wm_arena_reset(&hub->poll_arena);
    store_args_init(&args, &hub->poll_arena);
    store_arg_int64(&args, hub->position.xid);
    store_arg_int64(&args, hub->position.seq);
    store_arg_int64(&args, LOOK_ROWS);
    hub_ref(hub);
    store_query_start(lane_store(hub->lanes[0].lane), &hub->poll, &hub->poll_arena, &look_stmt,
                      &args, false, look_done);
}

/* The lanes hold as many bytes as they may. */
static bool lanes_are_full(event_hub *hub)
{
    return atomic_load(&hub->batches_size) >= BATCHES_SIZE_MAX;
}

static void look_on_timer(uv_timer_t *timer)
{
    event_hub *hub = wm_container_of(timer, event_hub, poll_timer);

    if (hub->polling)
        return;
    if (!hub->positioned)
        present_ask(hub);
    else if (atomic_load(&hub->n_batches) >= BATCHES_MAX || lanes_are_full(hub))
        uv_timer_start(&hub->poll_timer, look_on_timer, LOOK_MIN_MS, 0);
    else
        look(hub);
}

/* The next look: at once if someone asked meanwhile, else after the interval. */
static void look_schedule(event_hub *hub)
{
    bool redis = hub->bus != NULL && bus_is_up(hub->bus) && !relay_leads(hub);
    unsigned max_ms = redis ? EVENT_CHECK_MS : EVENT_POLL_MS;
    int64_t since_ms = (wm_monotonic_us() - hub->polled_us) / 1000;
    unsigned after_ms = hub->poll_again ? LOOK_MIN_MS : hub->poll_interval_ms;

    if (after_ms > max_ms)
        after_ms = max_ms;
    uv_timer_start(&hub->poll_timer, look_on_timer,
                   since_ms >= after_ms ? 0 : (uint64_t)(after_ms - since_ms), 0);
}

void tail_look(event_hub *hub)
{
    if (!hub->positioned || hub->stopping)
        return;
    hub->poll_interval_ms = LOOK_MIN_MS;
    hub->poll_again = true;
    if (!hub->polling)
        look_schedule(hub);
}

/* Rows may repeat what Redis brought while the query ran. */
static void look_take(event_hub *hub, const store_rows *rows)
{
    size_t n = store_rows_len(rows), kept = 0;
    event_record *records = WM_NEW_ARRAY(&hub->poll_arena, event_record, n + 1);
    event_cursor previous = hub->position;

    for (size_t i = 0; i < n; i++) {
        records[kept] = tail_read_row(rows, i);
        kept += event_cursor_compare(records[kept].cursor, previous) > 0;
    }
    if (kept > 0) {
        relay_copy(hub, previous, records, kept);
        hub_deliver(hub, records, kept, records[kept - 1].cursor);
    }
    hub->poll_again = hub->poll_again || n == LOOK_ROWS;
    if (n > 0)
        hub->poll_interval_ms = LOOK_MIN_MS;
    else if (hub->poll_interval_ms < EVENT_CHECK_MS)
        hub->poll_interval_ms *= 2;
}

static void look_done(store_query *query, wm_code code)
{
    event_hub *hub = wm_container_of(query, event_hub, poll);

    hub->polling = false;
    if (!hub->stopping) {
        if (code == WM_OK)
            look_take(hub, store_query_rows(query));
        else
            hub->poll_interval_ms = EVENT_POLL_MS;
        look_schedule(hub);
    }
    hub_unref(hub);
}

/* ---- from Redis ---- */

void tail_take_entry(event_hub *hub, event_cursor previous, const event_record *record)
{
    if (!hub->positioned || event_cursor_compare(record->cursor, hub->position) <= 0)
        return;
    /* Something before it is missing, or there is no room: a query brings it in time. */
    if (event_cursor_compare(previous, hub->position) > 0 || lanes_are_full(hub))
        tail_look(hub);
    else
        hub_deliver(hub, record, 1, record->cursor);
}

/* ---- the start ---- */

static void started(event_hub *hub, wm_code code)
{
    hub->start_code = code;
    uv_sem_post(&hub->started);
}

static void present_done(store_query *query, wm_code code)
{
    event_hub *hub = wm_container_of(query, event_hub, poll);

    hub->polling = false;
    if (hub->stopping) {
        hub_unref(hub);
        return;
    }
    if (code == WM_OK) {
        const store_rows *rows = store_query_rows(query);
        event_cursor end = {store_int64(rows, 0, 0), store_int64(rows, 0, 1)};
        hub_deliver(hub, NULL, 0, end);
        hub->positioned = true;
        hub->poll_interval_ms = LOOK_MIN_MS;
        started(hub, WM_OK);
        look_schedule(hub);
    } else if (++hub->poll_interval_ms < START_TRIES_MAX) {
        uv_timer_start(&hub->poll_timer, look_on_timer, LOOK_MIN_MS, 0);
    } else {
        started(hub, code);
    }
    hub_unref(hub);
}

static void present_ask(event_hub *hub)
{
    hub->polling = true;
    hub_ref(hub);
    store_query_start(lane_store(hub->lanes[0].lane), &hub->poll, &hub->poll_arena, &present_stmt,
                      NULL, false, present_done);
}

void tail_start(event_hub *hub)
{
    uv_timer_init(lane_loop(hub->lanes[0].lane), &hub->poll_timer);
    hub_ref(hub); /* the timer */
    hub->poll_interval_ms = 0;
    present_ask(hub);
}

static void timer_closed(uv_handle_t *handle)
{
    hub_unref(wm_container_of(handle, event_hub, poll_timer));
}

void tail_stop(event_hub *hub)
{
    uv_close((uv_handle_t *)&hub->poll_timer, timer_closed);
}
