/* server/workflow/store.h - the statements of workflows, and rows in and out.
 *
 * Everything that belongs to one transition goes out in one step: the instances' rows, their
 * history, tasks, timers. Times are the database's: delays travel as milliseconds.
 *
 * Memory:  results are copied into the arena given; arguments are built there.
 */
#ifndef WAYMARK_SERVER_WORKFLOW_STORE_H
#define WAYMARK_SERVER_WORKFLOW_STORE_H

#include "server/store/store.h"
#include "server/workflow/move.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An instance to insert, if its id is free and (where asked) its chart's version the newest. */
typedef struct workflow_start {
    workflow_move *move;
    bool latest;
    const char *request_id; /* or NULL */
    uint8_t start_key[16];
} workflow_start;

/* Adds the inserts; the statement's rows name those that were made. */
size_t workflow_store_add_starts(store_tx *tx, wm_arena *arena, workflow_start *const *starts,
                                 size_t n);
/* Those of the result, by (namespace, id); `time_us` is the transaction's. */
typedef struct workflow_made {
    int32_t namespace_id;
    const char *instance_id;
    int64_t time_us;
} workflow_made;
workflow_made *workflow_store_read_made(const store_rows *rows, wm_arena *arena, size_t *n);

/* ---- reading and locking for a batch of events ---- */

typedef struct workflow_key {
    int32_t namespace_id;
    const char *id; /* of an instance or, where said, of an entity */
} workflow_key;
int workflow_key_compare(int32_t a_namespace, const char *a, int32_t b_namespace, const char *b);

/* Locks instances in id order. */
size_t workflow_store_add_lock(store_tx *tx, wm_arena *arena, const workflow_key *keys, size_t n);
/* The same for the running instances bound to entities. */
size_t workflow_store_add_lock_bound(store_tx *tx, wm_arena *arena, const workflow_key *entities,
                                     size_t n);
/* Their rows in id order, without what needs the chart. */
typedef struct workflow_row {
    workflow_move move; /* its chart is not set; memory, data, configuration are */
    const char *chart_id;
    int64_t chart_version;
    bool ended;
    const void *start_key; /* 16 bytes */
    int64_t now_us;        /* the transaction's time */
} workflow_row;
workflow_row *workflow_store_read_instances(const store_rows *rows, wm_arena *arena, size_t *n);

typedef struct workflow_task_key {
    int32_t namespace_id;
    const char *instance_id;
    wm_uuid task_id;
} workflow_task_key;

typedef struct workflow_task_row {
    workflow_task_key key;
    const char *queue, *name;
    int32_t attempt;
    int64_t lease, lease_ms, available_time_us;
    const void *record;
    size_t record_size;
    bool gone; /* decided in this batch */
} workflow_task_row;

/* Locks tasks; rows come in the order of task_id. After the instances' lock. */
size_t workflow_store_add_lock_tasks(store_tx *tx, wm_arena *arena, const workflow_task_key *keys,
                                     size_t n);
workflow_task_row *workflow_store_read_tasks(const store_rows *rows, wm_arena *arena, size_t *n);

typedef struct workflow_timer_key {
    int32_t namespace_id;
    const char *instance_id, *timer_id;
} workflow_timer_key;

typedef struct workflow_timer_row {
    workflow_timer_key key;
    const char *event, *data; /* data: NULL when empty */
} workflow_timer_row;

/* Deletes those that are due and returns them. After the instances' lock. */
size_t workflow_store_add_take_timers(store_tx *tx, wm_arena *arena, const workflow_timer_key *keys,
                                      size_t n);
workflow_timer_row *workflow_store_read_timers(const store_rows *rows, wm_arena *arena, size_t *n);

typedef struct workflow_request_row {
    int32_t namespace_id;
    const char *instance_id, *request_id, *configuration;
    int64_t revision;
    bool handled;
} workflow_request_row;

/* Looks request ids up (`timer_id` of the keys holds them). */
size_t workflow_store_add_requests(store_tx *tx, wm_arena *arena, const workflow_timer_key *keys,
                                   size_t n);
workflow_request_row *workflow_store_read_requests(const store_rows *rows, wm_arena *arena,
                                                   size_t *n);

/* ---- writing what a batch of events did ---- */

/* A failed attempt: the task waits, and its lease is over. */
typedef struct workflow_retry {
    const workflow_task_row *task;
    int64_t delay_ms;
} workflow_retry;

/* Those of `moves` that have entries; tasks in `done` go, those in `retries` wait. */
void workflow_store_add_moves(store_tx *tx, wm_arena *arena, workflow_move *const *moves, size_t n,
                              const workflow_task_row *const *done, size_t n_done,
                              const workflow_retry *retries, size_t n_retries);

/* ---- statements (statements.c) that only store.c uses ---- */
extern const store_stmt workflow_stmt_start;
extern const store_stmt workflow_stmt_tasks_made;
extern const store_stmt workflow_stmt_tasks;
extern const store_stmt workflow_stmt_timers_made;
extern const store_stmt workflow_stmt_timers;
extern const store_stmt workflow_stmt_lock;
extern const store_stmt workflow_stmt_lock_bound;
extern const store_stmt workflow_stmt_lock_tasks;
extern const store_stmt workflow_stmt_take_timers;
extern const store_stmt workflow_stmt_requests;
extern const store_stmt workflow_stmt_move;
extern const store_stmt workflow_stmt_lock_ended;
extern const store_stmt workflow_stmt_end;
extern const store_stmt workflow_stmt_unbind;
extern const store_stmt workflow_stmt_delete_tasks;
extern const store_stmt workflow_stmt_retry_tasks;
extern const store_stmt workflow_stmt_delete_timers;

/* ---- tasks of queues ---- */

extern const store_stmt workflow_stmt_claim; /* $1 namespace $2 queue $3 how many */
extern const store_stmt workflow_stmt_heartbeat, workflow_stmt_release;
/* For heartbeats ($1..$4 arrays: namespaces, instances, tasks, leases). */
void workflow_store_lease_args(store_args *args, wm_arena *arena, const workflow_task_key *keys,
                               const int64_t *leases, size_t n);

/* ---- single reads ---- */

extern const store_stmt workflow_stmt_get; /* $1 namespace $2 instance */
/* $1 namespace $2 instance $3 after $4 limit. A page is about 1 MiB at most; the last column is
 * the instance's revision. One row of nulls: nothing more. No row: no such instance. */
extern const store_stmt workflow_stmt_history;
extern const store_stmt workflow_stmt_put_chart;   /* $1 namespace $2 id $3 digest $4 definition */
extern const store_stmt workflow_stmt_get_chart;   /* $1 namespace $2 id $3 version or 0 */
extern const store_stmt workflow_stmt_list_charts; /* $1 namespace $2 after $3 limit */
extern const store_stmt workflow_stmt_due_timers;  /* $1 limit */
extern const store_stmt workflow_stmt_charts;      /* $1..$3 arrays: namespaces, ids, versions */

#ifdef __cplusplus
}
#endif
#endif
