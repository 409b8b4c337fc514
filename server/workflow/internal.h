/* server/workflow/internal.h - what the files of this folder that talk to the world share.
 *
 *   service.c, chart_service.c, task.c   handlers
 *   instance.c                           operations and their batches (the hot path)
 *   apply.c                              events for locked instances, in any transaction
 *   dispatch.c                           workers, their credits, and tasks that wait
 *   timers.c                             durable timers
 *   wait.c                               who waits for an instance; alarms
 */
#ifndef WAYMARK_SERVER_WORKFLOW_INTERNAL_H
#define WAYMARK_SERVER_WORKFLOW_INTERNAL_H

#include "server/workflow/cache.h"
#include "server/workflow/store.h"
#include "server/workflow/workflow.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WORKFLOW_WAIT_MS_MAX = 60000,
    WORKFLOW_WAIT_MS = 30000,     /* when a long poll names no time */
    WORKFLOW_ALARM_TICK_MS = 20,  /* how late an alarm may be */
    WORKFLOW_POLL_MS = 1000,      /* looks for tasks and timers that nobody told of */
    WORKFLOW_REQUEST_ID_MAX = 128 /* bytes */
};

typedef struct workflow_waiters workflow_waiters;
typedef struct workflow_dispatch workflow_dispatch;
typedef struct workflow_timers workflow_timers;

/* ---- alarms: wait timeouts of a lane, on its loop, a tick late at most ---- */
typedef struct workflow_alarm workflow_alarm;
struct workflow_alarm {
    workflow_alarm *next, *prev; /* private; next is NULL when it is not set */
    int64_t due_us;              /* monotonic */
    void (*rang)(workflow_alarm *alarm);
};

typedef struct workflow_lane {
    workflow *wf;
    lane *lane;
    store *store;
    store_batcher *starts, *applies, *beats;
    workflow_alarm alarms; /* head of a ring */
    uv_timer_t alarm_timer;
    bool alarm_timer_on;
} workflow_lane;

struct workflow {
    size_t n_lanes;
    workflow_lane *lanes;
    event_hub *hub;
    event_subscriber subscriber; /* on lane 0: other processes' instances and tasks */
    workflow_cache *cache;
    workflow_waiters *waiters;
    workflow_dispatch *dispatch;
    workflow_timers *timers;
    rpc_handler chart_handlers[4], instance_handlers[6], task_handlers[5];
};

workflow_lane *workflow_lane_of(workflow *wf, lane *lane);
void workflow_alarms_init(workflow_lane *wl);
void workflow_alarms_stop(workflow_lane *wl);
void workflow_alarm_set(workflow_lane *wl, workflow_alarm *alarm, int64_t in_ms);
/* Fine when it is not set. */
void workflow_alarm_clear(workflow_alarm *alarm);

/* ---- waiting for an instance (wait.c) ---- */

/* Embedded by who waits; woken() comes once, on its lane. */
typedef struct workflow_waiter workflow_waiter;
struct workflow_waiter {
    lane_msg msg;
    lane *lane;
    int32_t namespace_id;
    const char *instance_id;
    int64_t after_revision; /* INT64_MAX: until it has ended */
    /* `bytes`: a packed Instance that fulfils the wait; NULL: something changed elsewhere,
     * look. */
    void (*woken)(workflow_waiter *waiter, const void *bytes, size_t size);
    /* private */
    workflow_waiter *next, *prev;
    void *bytes;
    size_t size;
    bool listed;
};

workflow_waiters *workflow_waiters_new(void);
void workflow_waiters_free(workflow_waiters *waiters);
void workflow_wait_add(workflow_waiters *waiters, workflow_waiter *waiter);
/* False: woken() is on its way. */
bool workflow_wait_remove(workflow_waiters *waiters, workflow_waiter *waiter);
/* Whether anybody waits at all. */
bool workflow_wait_any(const workflow_waiters *waiters);
/* The instance is committed here as `row` says; any lane. */
void workflow_wait_notify(workflow_waiters *waiters, const workflow_row *row);
/* Another process may have committed this. */
void workflow_wait_notify_remote(workflow_waiters *waiters, int32_t namespace_id,
                                 const char *instance_id, int64_t revision, bool ended);

/* ---- operations (instance.c) ---- */

typedef struct workflow_start_op {
    store_op op;
    workflow_start start;
    workflow_move move;
    bool made;       /* result: the instance is new */
    int64_t time_us; /* result */
} workflow_start_op;

typedef enum workflow_apply_kind {
    APPLY_EVENT,
    APPLY_ENTITY,
    APPLY_COMPLETE,
    APPLY_FAIL,
    APPLY_TIMER
} workflow_apply_kind;

/* What is asked of an instance, and what became of it. */
typedef struct workflow_ask {
    workflow_apply_kind kind;
    int32_t namespace_id;
    const char *instance_id; /* ENTITY: the entity */
    const char *event;       /* EVENT, ENTITY */
    const wm_json *data;     /* EVENT, ENTITY, COMPLETE: result */
    const char *data_text;
    const char *request_id; /* EVENT; or NULL */
    int64_t event_time_us;  /* ENTITY */
    wm_uuid task_id;        /* COMPLETE, FAIL */
    int64_t lease;
    const char *message, *reason; /* FAIL */
    bool permanent;
    int64_t retry_delay_ms; /* FAIL; < 0: as the chart says */
    const char *timer_id;   /* TIMER */
    /* results */
    wm_code code;
    wm_err err;
    const char *configuration; /* EVENT; in the batch's arena: copy it in done() */
    int64_t revision;
    bool ended, handled, repeated;
    bool retried; /* FAIL */
} workflow_ask;

typedef struct workflow_apply_op {
    store_op op; /* done() comes with op.code and op.err as the ask says */
    workflow_ask ask;
} workflow_apply_op;

typedef struct workflow_beat_op {
    store_op op;
    workflow_task_key key;
    int64_t lease;
    int64_t expire_time_us; /* result */
} workflow_beat_op;

extern const store_batch_kind workflow_start_kind, workflow_apply_kind_of_batch, workflow_beat_kind;

/* ---- events for locked instances (apply.c) ---- */

typedef struct workflow_apply workflow_apply;
struct workflow_apply {
    workflow *wf;
    store_tx *tx;
    wm_arena *arena;
    workflow_ask **asks;
    size_t n_asks;
    bool may_push; /* tasks may be leased to workers right away */
    void (*ready)(workflow_apply *apply, wm_code code);
    void *ctx;
    /* What the lock statements answered. */
    size_t lock_index, bound_index, tasks_index, timers_index, requests_index;
    bool has_lock, has_bound, has_tasks, has_timers, has_requests;
    workflow_row *rows;
    size_t n_rows;
    workflow_task_row *tasks;
    size_t n_tasks;
    workflow_timer_row *timers;
    size_t n_timers;
    workflow_request_row *requests;
    size_t n_requests;
    workflow_chart **charts; /* of rows, referenced; NULL: none */
    wm_code *row_codes;      /* an instance that cannot be read fails alone */
    bool *row_loaded;
    workflow_row **by_entity; /* ENTITY: rows by (namespace, entity) */
    /* What is written. */
    const workflow_task_row **done;
    size_t n_done;
    workflow_retry *retries;
    size_t n_retries;
};

/* Locks, decides, adds the writes to the transaction's next step, then ready(). */
void workflow_apply_start(workflow_apply *apply);
/* After the commit, or after it came to nothing; also gives the charts back. */
void workflow_apply_committed(workflow_apply *apply);
void workflow_apply_dropped(workflow_apply *apply);
/* Gives the charts back early: nothing of the chart may be used from then on. */
void workflow_apply_release(workflow_apply *apply);

/* Reserves workers for a move's tasks; then hands them over, or gives the credits back. */
void workflow_push_reserve(workflow *wf, workflow_move *move);
void workflow_push_send(workflow *wf, workflow_move *move, int64_t now_us);
void workflow_push_return(workflow *wf, workflow_move *move);
/* Wakes timers and queues for what a committed move left behind. */
void workflow_move_wake(workflow *wf, const workflow_move *move);
/* Adds the outbox records of moves: instances, and queues with waiting tasks. */
void workflow_add_records(store_tx *tx, wm_arena *arena, workflow_move *const *moves, size_t n);

/* ---- workers and waiting tasks (dispatch.c) ---- */

typedef struct workflow_worker workflow_worker;

/* A task on its way to a worker; one allocation. */
typedef struct workflow_delivery workflow_delivery;
struct workflow_delivery {
    lane_msg msg;
    workflow_delivery *next;
    workflow *wf;
    workflow_worker *worker;
    workflow_task_row row; /* its texts and bytes follow in the same allocation */
};

typedef struct workflow_subscription workflow_subscription;

/* Embedded in a stream or a poll on the heap. Created by its lane. */
struct workflow_worker {
    lane *lane;
    int32_t namespace_id;
    /* On the lane. Owns the delivery; the credit is used up. */
    void (*deliver)(workflow_worker *worker, workflow_delivery *delivery);
    /* Any thread: the last user is gone. */
    void (*freed)(workflow_worker *worker);
    /* private, under the dispatch's mutex */
    uint32_t credits;
    int references;
    bool closed;
    workflow_subscription *subscriptions;
    size_t n_subscriptions;
};

workflow_dispatch *workflow_dispatch_new(workflow *wf);
void workflow_dispatch_free(workflow_dispatch *dispatch);
void workflow_worker_open(workflow_dispatch *dispatch, workflow_worker *worker,
                          const char *const *queues, size_t n);
void workflow_worker_add_credits(workflow_dispatch *dispatch, workflow_worker *worker, uint32_t n);
/* Takes all credits back that are not used; how many they were. */
uint32_t workflow_worker_take_credits(workflow_dispatch *dispatch, workflow_worker *worker);
/* Nothing is delivered from then on; what is on its way is released. Gives the opener's
 * reference back. */
void workflow_worker_close(workflow_dispatch *dispatch, workflow_worker *worker);
/* Takes a credit of some worker of this queue, or NULL. */
workflow_worker *workflow_dispatch_reserve(workflow_dispatch *dispatch, int32_t namespace_id,
                                           const char *queue);
void workflow_dispatch_return(workflow_dispatch *dispatch, workflow_worker *worker);
/* Copies the row and sends it to the reserved worker. */
void workflow_dispatch_deliver(workflow_dispatch *dispatch, workflow_worker *worker,
                               const workflow_task_row *row);
/* Tasks of this queue may be waiting. Any thread. */
void workflow_dispatch_waiting(workflow_dispatch *dispatch, int32_t namespace_id,
                               const char *queue);
/* Some task becomes available after this time. Any thread. */
void workflow_dispatch_due(workflow_dispatch *dispatch, int64_t delay_ms);
/* Gives a lease back, best effort; on the lane. `unbegun`: the worker never saw the task. */
void workflow_dispatch_release(workflow_lane *wl, const workflow_task_row *row, bool unbegun);

/* ---- timers (timers.c) ---- */

workflow_timers *workflow_timers_new(workflow *wf);
void workflow_timers_free(workflow_timers *timers);
/* A timer fires this much later. Any thread. */
void workflow_timers_due(workflow_timers *timers, int64_t delay_ms);

/* ---- messages (convert.c) ---- */

/* Points into the row and the arena. */
Waymark__Workflow__V1__Instance *workflow_instance_message(wm_arena *arena,
                                                           const workflow_row *row);
Google__Protobuf__Timestamp *workflow_timestamp(wm_arena *arena, int64_t time_us);
/* The words of a text that spaces separate. */
char **workflow_words(wm_arena *arena, const char *text, size_t *n);
/* {} for NULL; NULL when the stored text cannot be read. */
Google__Protobuf__Struct *workflow_struct_of_text(wm_arena *arena, const char *json);
/* A row as it is after the commit of a move. */
void workflow_row_of_move(workflow_row *row, const workflow_move *move, int64_t now_us);

#ifdef __cplusplus
}
#endif
#endif
