/* server/event/hub.c - subscribers on every lane, and how records reach them.
 *
 * Lane 0 finds out what was committed (tail.c) and hands batches of records to all
 * lanes; each lane walks its own subscribers. Batches on their way are bounded: while
 * too many are unread, lane 0 does not look for more.
 */
#include "server/event/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { START_TIMEOUT_MS = 30000 };

static const store_stmt outbox_stmt = {"event.outbox_add",
                                       /* $1 topic  $2 namespace  $3 payload */
                                       "INSERT INTO waymark.outbox (topic, namespace_id, payload)"
                                       " VALUES ($1::int4::smallint, $2::int4, $3::bytea)"};

void event_outbox_add(store_tx *tx, event_topic topic, int32_t namespace_id, const void *payload,
                      size_t size)
{
    store_args args;

    assert(size <= EVENT_PAYLOAD_SIZE_MAX);
    store_args_init(&args, tx->arena);
    store_arg_int32(&args, (int32_t)topic);
    store_arg_int32(&args, namespace_id);
    store_arg_bytes(&args, payload, size);
    store_tx_add(tx, &outbox_stmt, &args);
}

/* ---- life ---- */

void hub_ref(event_hub *hub)
{
    atomic_fetch_add_explicit(&hub->refs, 1, memory_order_relaxed);
}

void hub_unref(event_hub *hub)
{
    if (atomic_fetch_sub_explicit(&hub->refs, 1, memory_order_acq_rel) > 1)
        return;
    wm_arena_free(&hub->poll_arena);
    wm_arena_free(&hub->lease_arena);
    wm_arena_free(&hub->maintain_arena);
    uv_sem_destroy(&hub->started);
    free(hub->lanes);
    free(hub);
}

static void wake_run(lane_msg *msg)
{
    event_hub *hub = wm_container_of(msg, event_hub, wake_msg);

    /* Cleared first: who commits from now on posts again. */
    atomic_store(&hub->wake_posted, false);
    if (!hub->stopping) {
        relay_wake(hub);
        if (relay_leads(hub) || hub->bus == NULL || !bus_is_up(hub->bus))
            tail_look(hub);
    }
    hub_unref(hub);
}

void event_hub_wake(event_hub *hub)
{
    if (atomic_exchange(&hub->wake_posted, true))
        return;
    hub_ref(hub);
    lane_post(hub->lanes[0].lane, &hub->wake_msg);
}

typedef struct hub_start {
    event_hub *hub;
    const char *redis, *password;
} hub_start;

static void start_on_lane(void *ctx)
{
    hub_start *start = ctx;

    tail_start(start->hub);
    relay_start(start->hub, start->redis, start->password);
}

static event_hub *hub_make(lane **lanes, size_t n_lanes)
{
    event_hub *hub = calloc(1, sizeof(*hub));

    if (hub == NULL || (hub->lanes = calloc(n_lanes, sizeof(*hub->lanes))) == NULL)
        abort();
    hub->n_lanes = n_lanes;
    for (size_t i = 0; i < n_lanes; i++) {
        hub->lanes[i].hub = hub;
        hub->lanes[i].lane = lanes[i];
    }
    atomic_init(&hub->refs, 1);
    atomic_init(&hub->n_batches, 0);
    atomic_init(&hub->batches_size, 0);
    atomic_init(&hub->wake_posted, false);
    hub->wake_msg.run = wake_run;
    uv_sem_init(&hub->started, 0);
    wm_arena_init(&hub->poll_arena, 0);
    wm_arena_init(&hub->lease_arena, 0);
    wm_arena_init(&hub->maintain_arena, 0);
    return hub;
}

wm_code event_hub_new(lane **lanes, size_t n_lanes, const char *redis, const char *password,
                      event_hub **made, wm_err *err)
{
    event_hub *hub = hub_make(lanes, n_lanes);
    hub_start start = {hub, redis, password};

    lane_call(lanes[0], start_on_lane, &start);
    uv_sem_wait(&hub->started); /* tail.c posts in any case */
    if (hub->start_code != WM_OK) {
        event_hub_free(hub);
        return wm_fail(err, WM_UNAVAILABLE, "STORE_UNAVAILABLE",
                       "the outbox could not be read at start");
    }
    *made = hub;
    return WM_OK;
}

static void stop_on_lane(void *ctx)
{
    event_hub *hub = ctx;

    hub->stopping = true;
    tail_stop(hub);
    relay_stop(hub);
}

void event_hub_free(event_hub *hub)
{
    lane_call(hub->lanes[0].lane, stop_on_lane, hub);
    hub_unref(hub);
}

/* ---- delivery on a lane ---- */

bool subscriber_wants(const event_subscriber *subscriber, const event_record *record)
{
    return (unsigned)record->topic < 32 && (subscriber->topics & 1u << record->topic) != 0 &&
           (subscriber->namespace_id == 0 || subscriber->namespace_id == record->namespace_id);
}

static void lane_deliver_record(hub_lane *lane, const event_record *record)
{
    lane->next = lane->first;
    while (lane->next != NULL) {
        event_subscriber *subscriber = lane->next;
        lane->next = subscriber->next;
        /* One that replays gets this from its replay. */
        if (subscriber->replay == NULL && subscriber_wants(subscriber, record))
            subscriber->record(subscriber, record);
    }
    lane->cursor = record->cursor;
}

static void batch_unref(event_batch *batch)
{
    event_hub *hub = batch->hub;

    if (atomic_fetch_sub_explicit(&batch->refs, 1, memory_order_acq_rel) > 1)
        return;
    atomic_fetch_sub(&hub->batches_size, batch->size);
    free(batch);
    atomic_fetch_sub(&hub->n_batches, 1);
    hub_unref(hub);
}

static void batch_run(lane_msg *msg)
{
    struct event_batch_msg *part = wm_container_of(msg, struct event_batch_msg, msg);
    event_batch *batch = part->batch;
    hub_lane *lane = &batch->hub->lanes[part->lane];

    for (size_t i = 0; i < batch->n; i++)
        lane_deliver_record(lane, &batch->records[i]);
    lane->cursor = batch->end;
    batch_unref(batch);
}

static event_batch *batch_new(event_hub *hub, const event_record *records, size_t n)
{
    size_t payload = 0;

    for (size_t i = 0; i < n; i++)
        payload += records[i].payload_size;
    size_t msgs_size = hub->n_lanes * sizeof(struct event_batch_msg);
    size_t records_size = n * sizeof(event_record);
    size_t size = sizeof(event_batch) + msgs_size + records_size + payload;
    event_batch *batch = malloc(size);
    if (batch == NULL)
        abort();
    batch->size = size;
    batch->msgs = (struct event_batch_msg *)(batch + 1);
    batch->records = (event_record *)(void *)((char *)batch->msgs + msgs_size);
    char *bytes = (char *)batch->records + records_size;
    for (size_t i = 0; i < n; i++) {
        batch->records[i] = records[i];
        batch->records[i].payload = bytes;
        if (records[i].payload_size > 0)
            memcpy(bytes, records[i].payload, records[i].payload_size);
        bytes += records[i].payload_size;
    }
    batch->n = n;
    return batch;
}

void hub_deliver(event_hub *hub, const event_record *records, size_t n, event_cursor end)
{
    event_batch *batch = batch_new(hub, records, n);

    hub_ref(hub);
    atomic_fetch_add(&hub->n_batches, 1);
    atomic_fetch_add(&hub->batches_size, batch->size);
    batch->hub = hub;
    batch->end = end;
    atomic_init(&batch->refs, (unsigned)hub->n_lanes);
    hub->position = end;
    for (size_t i = 0; i < hub->n_lanes; i++) {
        batch->msgs[i].msg.run = batch_run;
        batch->msgs[i].batch = batch;
        batch->msgs[i].lane = i;
    }
    for (size_t i = 1; i < hub->n_lanes; i++)
        lane_post(hub->lanes[i].lane, &batch->msgs[i].msg);
    batch_run(&batch->msgs[0].msg); /* last: it may free the batch */
}

/* ---- subscribers ---- */

static hub_lane *hub_find_lane(event_hub *hub, const lane *lane)
{
    for (size_t i = 0; i < hub->n_lanes; i++)
        if (hub->lanes[i].lane == lane)
            return &hub->lanes[i];
    assert(!"not one of the hub's lanes");
    return NULL;
}

void event_hub_subscribe(event_hub *hub, lane *lane, event_subscriber *subscriber,
                         const event_cursor *after)
{
    hub_lane *mine = hub_find_lane(hub, lane);

    assert(lane_is_here(lane));
    subscriber->hub = hub;
    subscriber->lane = lane;
    subscriber->replay = NULL;
    subscriber->prev = NULL;
    subscriber->next = mine->first;
    if (mine->first != NULL)
        mine->first->prev = subscriber;
    mine->first = subscriber;
    if (after != NULL)
        replay_start(subscriber, mine, *after);
}

void event_hub_unsubscribe(event_subscriber *subscriber)
{
    if (subscriber->hub == NULL)
        return;
    hub_lane *mine = hub_find_lane(subscriber->hub, subscriber->lane);
    assert(lane_is_here(subscriber->lane));
    if (subscriber->replay != NULL)
        replay_orphan(subscriber->replay);
    subscriber->replay = NULL;
    if (mine->next == subscriber)
        mine->next = subscriber->next;
    if (subscriber->prev != NULL)
        subscriber->prev->next = subscriber->next;
    else
        mine->first = subscriber->next;
    if (subscriber->next != NULL)
        subscriber->next->prev = subscriber->prev;
    subscriber->next = subscriber->prev = NULL;
    subscriber->hub = NULL;
}

event_cursor event_hub_cursor(const event_hub *hub, lane *lane)
{
    return hub_find_lane((event_hub *)(uintptr_t)hub, lane)->cursor;
}
