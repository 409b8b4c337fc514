/* server/event/replay.c - from an old cursor to the present, page by page.
 *
 * A page says, beside its rows, what xmin was before it was read: a page that is not full
 * holds every record below that xmin. If the lane's live cursor is below it too, the
 * replay has met the live records: rows up to that cursor are delivered now, later ones
 * will come live, and both happen on the lane's thread, so nothing falls in between.
 */
#include <stdlib.h>
#include <string.h>

#include "server/event/internal.h"

enum {
    PAGE_ROWS = 200,
    SCAN_ROWS = 50000, /* that a page looks through; see scan_end_stmt */
    AGAIN_MS = 20,     /* for room, or until the live records have come along */
    FAILED_AGAIN_MS = 200
};

static const store_stmt xmin_stmt = {"event.replay_xmin",
                                     "SELECT pg_snapshot_xmin(pg_current_snapshot())"};

static const store_stmt trimmed_stmt = {"event.trimmed",
                                        "SELECT xid, seq FROM waymark.outbox_trimmed WHERE id = 1"};

/* A day of records of other topics is more than a statement has time for. So a page ends after
 * so many, whatever they are, and the next one goes on from there. */
#define SCAN_END                                                                    \
    "SELECT xid, seq FROM waymark.outbox WHERE (xid, seq) > ($1::xid8, $2::bigint)" \
    " AND xid < pg_snapshot_xmin(pg_current_snapshot())"                            \
    " ORDER BY xid, seq OFFSET $3::bigint LIMIT 1"

/* $1 $2 after this position  $3 records. No row: the scan reaches the present. */
static const store_stmt scan_end_stmt = {"event.replay_scan_end", SCAN_END};

static const store_stmt page_stmt = {
    "event.replay_page",
    /* $1 $2 after this position  $3 records to look through  $4 topics  $5 namespace or 0
     * $6 rows at most. Its end is that of scan_end_stmt asked before, or a later one. */
    "WITH scan_end AS MATERIALIZED (" SCAN_END ")"
    " SELECT xid, seq, topic, namespace_id, create_time, payload FROM waymark.outbox"
    " WHERE (xid, seq) > ($1::xid8, $2::bigint) AND xid < pg_snapshot_xmin(pg_current_snapshot())"
    " AND (xid, seq) <= (coalesce((SELECT xid FROM scan_end), '9223372036854775807'::xid8),"
    "  coalesce((SELECT seq FROM scan_end), 9223372036854775807))"
    " AND topic = ANY ($4::int4[]) AND ($5::int4 = 0 OR namespace_id = $5::int4)"
    " ORDER BY xid, seq LIMIT $6::bigint"};

typedef struct event_replay {
    event_subscriber *subscriber; /* NULL: it left */
    hub_lane *lane;
    event_hub *hub; /* holds a reference */
    event_cursor after;
    store_tx tx;
    wm_arena arena;
    uv_timer_t timer;
} replay;

static void replay_ask(replay *replay);

static void replay_closed(uv_handle_t *handle)
{
    replay *gone = wm_container_of(handle, replay, timer);

    wm_arena_free(&gone->arena);
    hub_unref(gone->hub);
    free(gone);
}

static void replay_end(replay *replay)
{
    if (replay->subscriber != NULL)
        replay->subscriber->replay = NULL;
    replay->subscriber = NULL;
    uv_close((uv_handle_t *)&replay->timer, replay_closed);
}

static void replay_on_timer(uv_timer_t *timer)
{
    replay_ask(wm_container_of(timer, replay, timer));
}

static void replay_again(replay *replay, unsigned after_ms)
{
    uv_timer_start(&replay->timer, replay_on_timer, after_ms, 0);
}

static void replay_expired(replay *replay)
{
    event_subscriber *subscriber = replay->subscriber;
    wm_err err;

    wm_fail(&err, WM_OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED",
            "events are kept for %d hours; this position is older, or of another database",
            EVENT_RETENTION_HOURS);
    replay_end(replay);
    event_hub_unsubscribe(subscriber);
    if (subscriber->failed != NULL)
        subscriber->failed(subscriber, &err);
}

/* True when the replay has met the live records. `end`: where the scan stopped, if it did. */
static bool replay_deliver(replay *replay, const store_rows *rows, int64_t xmin,
                           const event_cursor *end)
{
    size_t n = store_rows_len(rows);
    event_cursor live = replay->lane->cursor;
    /* The live records may be behind, when the hub is: then they would come once more. */
    bool meets = n < PAGE_ROWS && end == NULL && live.xid < xmin &&
                 event_cursor_compare(live, replay->after) >= 0;

    for (size_t i = 0; i < n && replay->subscriber != NULL; i++) {
        event_record record = tail_read_row(rows, i);
        if (meets && event_cursor_compare(record.cursor, live) > 0)
            break;
        replay->after = record.cursor;
        replay->subscriber->record(replay->subscriber, &record);
    }
    if (end != NULL && n < PAGE_ROWS && event_cursor_compare(*end, replay->after) > 0)
        replay->after = *end;
    return meets;
}

static void replay_page(replay *replay)
{
    int64_t xmin = store_int64(store_tx_rows(&replay->tx, 0), 0, 0);
    const store_rows *scan_end = store_tx_rows(&replay->tx, 1);
    const store_rows *rows = store_tx_rows(&replay->tx, 2);
    const store_rows *trimmed = store_tx_rows(&replay->tx, 3);
    bool stopped = store_rows_len(scan_end) > 0;
    event_cursor end = {0, 0};
    event_cursor oldest = {store_int64(trimmed, 0, 0), store_int64(trimmed, 0, 1)};

    /* A position that was ever given out lies below xmin. */
    if (event_cursor_compare(replay->after, oldest) < 0 || replay->after.xid >= xmin) {
        replay_expired(replay);
        return;
    }
    if (stopped)
        end = (event_cursor){store_int64(scan_end, 0, 0), store_int64(scan_end, 0, 1)};
    bool met = replay_deliver(replay, rows, xmin, stopped ? &end : NULL);
    event_subscriber *subscriber = replay->subscriber;
    if (subscriber == NULL) {
        replay_end(replay);
    } else if (met) {
        replay_end(replay);
        if (subscriber->caught_up != NULL)
            subscriber->caught_up(subscriber);
    } else {
        replay_again(replay, store_rows_len(rows) < PAGE_ROWS && !stopped ? AGAIN_MS : 0);
    }
}

static void replay_done(store_tx *tx, wm_code code)
{
    replay *replay = tx->ctx;

    if (replay->subscriber == NULL)
        replay_end(replay);
    else if (code != WM_OK)
        replay_again(replay, FAILED_AGAIN_MS);
    else
        replay_page(replay);
}

static void replay_add_page(replay *replay)
{
    const event_subscriber *subscriber = replay->subscriber;
    int32_t topics[32];
    size_t n = 0;
    store_args args;

    for (int32_t topic = 0; topic < 32; topic++)
        if ((subscriber->topics & 1u << topic) != 0)
            topics[n++] = topic;
    store_args_init(&args, &replay->arena);
    store_arg_int64(&args, replay->after.xid);
    store_arg_int64(&args, replay->after.seq);
    store_arg_int64(&args, SCAN_ROWS);
    store_tx_add(&replay->tx, &scan_end_stmt, &args);
    store_arg_int32s(&args, topics, n);
    store_arg_int32(&args, subscriber->namespace_id);
    store_arg_int64(&args, PAGE_ROWS);
    store_tx_add(&replay->tx, &page_stmt, &args);
}

static void replay_ready(store_tx *tx, wm_code code)
{
    replay *replay = tx->ctx;

    if (code != WM_OK) {
        replay_done(tx, code);
        return;
    }
    if (replay->subscriber == NULL) {
        store_tx_rollback(tx, replay_done);
        return;
    }
    /* In this order: xmin before the page, or a record committed in between is missed; and what
     * was trimmed after it, or a partition dropped in between is. */
    store_tx_add(tx, &xmin_stmt, NULL);
    replay_add_page(replay);
    store_tx_add(tx, &trimmed_stmt, NULL);
    store_tx_commit(tx, replay_done);
}

static void replay_ask(replay *replay)
{
    event_subscriber *subscriber = replay->subscriber;

    if (subscriber == NULL) {
        replay_end(replay);
        return;
    }
    if (subscriber->has_room != NULL && !subscriber->has_room(subscriber)) {
        replay_again(replay, AGAIN_MS);
        return;
    }
    wm_arena_reset(&replay->arena);
    store_tx_begin(lane_store(replay->lane->lane), &replay->tx, &replay->arena, false, replay_ready,
                   replay);
}

void replay_start(event_subscriber *subscriber, hub_lane *lane, event_cursor after)
{
    replay *replay = calloc(1, sizeof(*replay));

    if (replay == NULL)
        abort();
    replay->subscriber = subscriber;
    replay->lane = lane;
    replay->hub = lane->hub;
    replay->after = after;
    hub_ref(lane->hub);
    wm_arena_init(&replay->arena, 0);
    uv_timer_init(lane_loop(lane->lane), &replay->timer);
    subscriber->replay = replay;
    replay_ask(replay);
}

void replay_orphan(replay *replay)
{
    replay->subscriber = NULL;
    /* If it waits for its timer, let that come now and end it. */
    if (uv_is_active((uv_handle_t *)&replay->timer))
        replay_again(replay, 0);
}
