/* server/event/internal.h - what the files of the hub share; nobody else includes it.
 *
 * hub.c    lanes and subscribers; start and stop
 * tail.c   on lane 0: where the records come from, in order
 * relay.c  on lane 0: the lease, Redis, retention
 * replay.c a subscriber's way from an old cursor to the present
 */
#ifndef WAYMARK_SERVER_EVENT_INTERNAL_H
#define WAYMARK_SERVER_EVENT_INTERNAL_H

#include <stdatomic.h>

#include "server/bus/bus.h"
#include "server/event/hub.h"

typedef struct event_batch event_batch;

/* What one lane has of the hub; touched on that lane only. */
typedef struct hub_lane {
    event_hub *hub;
    lane *lane;
    event_subscriber *first;
    event_subscriber *next; /* whom the running delivery comes to next */
    event_cursor cursor;    /* newest delivered here */
} hub_lane;

/* Records on their way to the lanes; one allocation, freed by the last lane. */
struct event_batch {
    event_hub *hub;
    atomic_uint refs;
    size_t size; /* of the allocation */
    size_t n;
    event_record *records;
    event_cursor end; /* the lane's cursor afterwards */
    struct event_batch_msg {
        lane_msg msg;
        event_batch *batch;
        size_t lane;
    } * msgs;
};

struct event_hub {
    hub_lane *lanes;
    size_t n_lanes;
    atomic_uint refs;           /* the owner, queries in flight, handles, batches, replays */
    atomic_uint n_batches;      /* not yet freed */
    atomic_size_t batches_size; /* their bytes */
    atomic_bool wake_posted;
    lane_msg wake_msg;

    /* ---- lane 0 only ---- */
    bool stopping;
    bool positioned;
    event_cursor position; /* newest taken; its successors are in PostgreSQL */
    wm_code start_code;
    uv_sem_t started;

    store_query poll; /* tail.c */
    wm_arena poll_arena;
    bool polling, poll_again;
    unsigned poll_interval_ms; /* doubles while nothing comes */
    int64_t polled_us;
    uv_timer_t poll_timer;

    bus *bus; /* relay.c; NULL: no Redis */
    wm_uuid self;
    bool leading;
    int64_t lease_asked_us, lease_until_us; /* monotonic */
    store_query lease;
    wm_arena lease_arena;
    bool leasing;
    uv_timer_t lease_timer;
    store_query maintain;
    wm_arena maintain_arena;
    bool maintaining;
    uv_timer_t maintain_timer;
};

void hub_ref(event_hub *hub);
void hub_unref(event_hub *hub);

/* On lane 0: takes a copy of records (in order, all after hub->position) to every lane.
 * `end`: the position afterwards. */
void hub_deliver(event_hub *hub, const event_record *records, size_t n, event_cursor end);

/* ---- tail.c ---- */
void tail_start(event_hub *hub);
void tail_stop(event_hub *hub);
/* Look into PostgreSQL soon: something is there, or may be. */
void tail_look(event_hub *hub);
/* A record from Redis, the one after `previous`. */
void tail_take_entry(event_hub *hub, event_cursor previous, const event_record *record);
/* Reads a row of xid, seq, topic, namespace_id, create_time, payload. */
event_record tail_read_row(const store_rows *rows, size_t row);

/* ---- relay.c ---- */
void relay_start(event_hub *hub, const char *redis, const char *password);
void relay_stop(event_hub *hub);
/* Is it this process that copies to Redis now? */
bool relay_leads(const event_hub *hub);
/* Copies records, the first of which follows `previous`. */
void relay_copy(event_hub *hub, event_cursor previous, const event_record *records, size_t n);
/* Has the leader look, when that is another process. */
void relay_wake(event_hub *hub);

/* ---- replay.c ---- */
void replay_start(event_subscriber *subscriber, hub_lane *lane, event_cursor after);
/* The subscriber leaves; the replay ends by itself. */
void replay_orphan(struct event_replay *replay);

bool subscriber_wants(const event_subscriber *subscriber, const event_record *record);

#endif
