/* server/workflow/move.h - one instance moved on by a transaction: events in, rows out.
 *
 * Between the pure step and the SQL: takes events one after the other, with the events that
 * the instance sends itself, and gathers what must be written: history entries, tasks,
 * timers. No I/O; the ids of tasks are random.
 *
 * Memory:  all in the arena given; a move borrows its chart.
 */
#ifndef WAYMARK_SERVER_WORKFLOW_MOVE_H
#define WAYMARK_SERVER_WORKFLOW_MOVE_H

#include "base/random.h"
#include "server/workflow/step.h"
#include "waymark/workflow/v1/instance.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { MOVE_SENT_MAX = 100 }; /* events that one event may make an instance send itself */

/* A history entry to write. */
typedef struct move_entry move_entry;
struct move_entry {
    move_entry *next;
    int32_t kind; /* Waymark__Workflow__V1__HistoryKind */
    int64_t revision;
    bool handled;
    int64_t event_time_us; /* STORE_NULL_INT: none */
    const char *event;
    const char *data; /* JSON text, NULL: {} */
    const char *from, *to;
    const char *started;    /* task names, separated by spaces, or NULL */
    const char *logs;       /* a JSON array, or NULL */
    const char *request_id; /* or NULL */
    const char *failure;    /* or NULL */
};

/* A task to write. */
typedef struct move_task move_task;
struct move_task {
    move_task *next;
    wm_uuid id;
    const chart_action *action;
    const char *queue;  /* outlives the chart */
    const void *record; /* packed TaskRecord */
    size_t record_size;
    void *worker; /* the worker that it is leased to from the start, or NULL */
};

/* A timer to set or to delete; at most one per id. */
typedef struct move_timer move_timer;
struct move_timer {
    move_timer *next;
    const char *id;
    bool set;
    const char *event; /* empty: a task's timeout */
    const char *data;
    int64_t delay_ms;
};

typedef struct workflow_move {
    int32_t namespace_id;
    const char *instance_id, *entity_id; /* "" when unbound */
    const workflow_chart *chart;
    workflow_state state;
    int64_t revision;
    const char *configuration; /* of `state` */
    const char *data;          /* its text */
    const void *memory;        /* packed InstanceMemory, or NULL */
    size_t memory_size;
    int64_t create_time_us, update_time_us, end_time_us; /* end: STORE_NULL_INT while running */
    move_entry *entries, **entries_tail;
    move_task *tasks, **tasks_tail;
    move_timer *timers;
} workflow_move;

/* An event for an instance. */
typedef struct move_take {
    int32_t kind;
    const char *event;
    const wm_json *data;
    const char *data_text;  /* the same as text, where the caller has it; else NULL */
    const char *request_id; /* or NULL */
    int64_t event_time_us;
} move_take;

/* Identity and chart are set; sets the rest to nothing. */
void workflow_move_init(workflow_move *move);
/* Fills in an instance as it was stored. WM_DATA_LOSS when it does not fit its chart. */
WM_MUST_USE wm_code workflow_move_load(workflow_move *move, wm_arena *arena, const char *data,
                                       const void *memory, size_t memory_size, bool ended,
                                       wm_err *err);
/* The start, with `take->data` as the input. */
WM_MUST_USE wm_code workflow_move_start(workflow_move *move, wm_arena *arena, const move_take *take,
                                        wm_err *err);
/* One event. When it fails the move is as it was. */
WM_MUST_USE wm_code workflow_move_take(workflow_move *move, wm_arena *arena, const move_take *take,
                                       wm_err *err);
/* Writes an event that could not be taken into the history. */
void workflow_move_fail(workflow_move *move, wm_arena *arena, const move_take *take,
                        const wm_err *err);
/* Sets a timer; empty event: a task's timeout. */
void workflow_move_set_timer(workflow_move *move, wm_arena *arena, const char *id,
                             const char *event, const char *data, int64_t delay_ms);
/* Deletes a timer. */
void workflow_move_cancel_timer(workflow_move *move, wm_arena *arena, const char *id);
/* What this transaction did with the timer so far, or NULL. */
const move_timer *workflow_move_find_timer(const workflow_move *move, const char *id);
const move_entry *workflow_move_find_request(const workflow_move *move, const char *request_id);

/* The timer of a task's timeout. */
const char *workflow_task_timer_id(wm_arena *arena, const wm_uuid *task_id);
/* The task of such a timer; false when it is another kind of timer. */
bool workflow_task_of_timer(const char *timer_id, wm_uuid *task_id);

#ifdef __cplusplus
}
#endif
#endif
