/* server/event/hub.h - what was committed, told to whoever listens.
 *
 * A transaction that changes something others follow adds a record to the outbox
 * table (event_outbox_add), in the same commit. The hub of each process tails the
 * outbox and hands every record, in one order for all processes, to the
 * subscribers on every lane:
 *
 *   outbox rows ──(relay: one process at a time)──> Redis Stream ──> hub ──> lanes ──> subscribers
 *        └───────────(no Redis, or a gap in the stream)──────────────^
 *
 * Order: by (xid, seq), and only records whose xid is below every transaction still
 * open (pg_snapshot_xmin), because sequence numbers do not commit in order. The pair
 * is a record's position and, as text, the token from which a stream resumes.
 * Each record in Redis names the position before it, so that a gap is seen and
 * repaired from PostgreSQL. Without Redis the hub polls PostgreSQL, at once after a
 * local commit (event_hub_wake) and every EVENT_POLL_MS otherwise.
 *
 * One record holds one transaction's changes of one topic and namespace: a batch of
 * positions is one row, so that the outbox costs little.
 *
 * Threads: subscribe/unsubscribe and callbacks on the subscriber's lane;
 *          event_hub_wake from any thread.
 * Memory:  record payloads are shared by all lanes and live until the callback returns.
 */
#ifndef WAYMARK_SERVER_EVENT_HUB_H
#define WAYMARK_SERVER_EVENT_HUB_H

#include "server/store/store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    EVENT_POLL_MS = 200,         /* without Redis */
    EVENT_CURSOR_TEXT_SIZE = 48, /* "xid-seq" with its NUL */
    EVENT_RETENTION_HOURS = 24,  /* how old a cursor may be */
    EVENT_PAYLOAD_SIZE_MAX = 8 * 1024 * 1024
};

typedef struct event_hub event_hub;

typedef struct event_cursor {
    int64_t xid, seq;
} event_cursor;

typedef enum event_topic {
    EVENT_POSITIONS = 1,    /* payload: waymark.geo.v1.PositionRecord (geo/) */
    EVENT_FENCE_EVENTS = 2, /* payload: waymark.geo.v1.FenceEventRecord */
    EVENT_INSTANCES = 3,    /* payload: waymark.workflow.v1.InstanceRecord */
    EVENT_TASKS = 4,        /* payload: queue names with new tasks */
    EVENT_GRANTS = 5,       /* payload: subjects whose grants changed; empty: all */
    EVENT_FENCES = 6        /* payload: empty; the namespace's fence set changed */
} event_topic;

typedef struct event_record {
    event_cursor cursor;
    event_topic topic;
    int32_t namespace_id; /* 0: none */
    const void *payload;
    size_t payload_size;
    int64_t commit_time_us; /* when the transaction began, by PostgreSQL's clock */
} event_record;

/* Adds one record to the transaction's current step (it takes the next result index), with its
 * arguments in the transaction's arena. Call event_hub_wake() once it is committed. */
void event_outbox_add(store_tx *tx, event_topic topic, int32_t namespace_id, const void *payload,
                      size_t size);

/* Embedded by the subscriber. `record` runs on the lane; it may unsubscribe.
 * `caught_up` (optional) runs once when a replay from an old cursor has reached the present.
 * `failed` (optional): the cursor is older than the outbox keeps, WM_OUT_OF_RANGE; the
 * subscriber is unsubscribed by then. Unsubscribing twice does no harm. */
typedef struct event_subscriber event_subscriber;
struct event_subscriber {
    uint32_t topics;      /* bit (1u << topic) */
    int32_t namespace_id; /* 0: all */
    void (*record)(event_subscriber *self, const event_record *record);
    void (*caught_up)(event_subscriber *self);
    void (*failed)(event_subscriber *self, const wm_err *err);
    /* Optional: asked before each page of a replay; false: ask again a little later. */
    bool (*has_room)(event_subscriber *self);
    event_subscriber *next, *prev; /* private */
    lane *lane;
    event_hub *hub;
    struct event_replay *replay;
};

/* `redis`: an address as in bus.h; NULL or "": none. Lane 0 tails; all lanes deliver. Their
 * stores must be set. Waits until the hub knows where the present is, so that what is
 * committed after this returns reaches those who subscribe: WM_UNAVAILABLE when it cannot. */
WM_MUST_USE wm_code event_hub_new(lane **lanes, size_t n_lanes, const char *redis,
                                  const char *password, event_hub **made, wm_err *err);
/* Before the stores go, after all subscribers are gone. */
void event_hub_free(event_hub *hub);
/* From now, or, with `after`, first everything committed after that position. */
void event_hub_subscribe(event_hub *hub, lane *lane, event_subscriber *subscriber,
                         const event_cursor *after);
void event_hub_unsubscribe(event_subscriber *subscriber);
/* The newest position delivered on this lane. */
event_cursor event_hub_cursor(const event_hub *hub, lane *lane);
/* Something was committed here: look now. */
void event_hub_wake(event_hub *hub);

void event_cursor_format(event_cursor cursor, char text[EVENT_CURSOR_TEXT_SIZE]);
WM_MUST_USE bool event_cursor_parse(const char *text, event_cursor *cursor);
int event_cursor_compare(event_cursor a, event_cursor b);

#ifdef __cplusplus
}
#endif
#endif
