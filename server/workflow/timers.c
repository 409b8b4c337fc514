/* server/workflow/timers.c - durable timers.
 *
 * Each process looks, on lane 0, at the timers of the next second: what is due becomes an
 * operation (apply.c deletes the timer and takes its event in one commit, so that of several
 * processes one applies it), what is soon sets the next look. Local commits tell of timers
 * sooner than that; those of other processes are found within a second, like the ones that
 * a dead process left.
 *
 *   ASLEEP -> LOOKING -> FIRING -> ASLEEP      (FIRING -> LOOKING when there were many)
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "server/workflow/internal.h"

enum { TIMERS_MAX = 500, TIMER_ID_SIZE = 2 * CHART_NAME_MAX + 32 };

typedef enum timers_state { TIMERS_ASLEEP, TIMERS_LOOKING, TIMERS_FIRING } timers_state;

/* A timer that is due. */
typedef struct timer_op {
    workflow_apply_op op;
    workflow_timers *timers;
    char instance_id[CHART_NAME_MAX + 1];
    char timer_id[TIMER_ID_SIZE];
} timer_op;

struct workflow_timers {
    workflow *wf;
    /* On lane 0. */
    timers_state state;
    uv_timer_t timer;
    bool stopping;
    int64_t soon_ms; /* the next look, as of the last one */
    size_t n_firing;
    bool more;       /* the last look found as many as it may */
    int64_t told_ms; /* told while not asleep: the least delay; INT64_MAX: none */
    wm_arena arena;
    store_query query;
    /* Told by other threads. */
    pthread_mutex_t mutex;
    lane_msg told_msg;
    bool posted;
    int64_t posted_ms;
};

static void look(workflow_timers *t);

static void timer_ring(uv_timer_t *timer)
{
    look((workflow_timers *)timer->data);
}

static void sleep_for(workflow_timers *t, int64_t ms)
{
    t->state = TIMERS_ASLEEP;
    if (t->stopping)
        return;
    if (t->told_ms < ms)
        ms = t->told_ms;
    t->told_ms = INT64_MAX;
    uv_timer_start(&t->timer, timer_ring, (uint64_t)(ms < 0 ? 0 : ms), 0);
}

static void fired(workflow_timers *t)
{
    if (--t->n_firing > 0)
        return;
    if (t->more && !t->stopping)
        look(t);
    else
        sleep_for(t, t->soon_ms);
}

static void timer_done(store_op *op)
{
    timer_op *fire = wm_container_of(wm_container_of(op, workflow_apply_op, op), timer_op, op);
    workflow_timers *t = fire->timers;

    /* When the store is away the timer is still there: the next look finds it. */
    if (op->code != WM_OK && op->code != WM_NOT_FOUND)
        t->more = false;
    free(fire);
    fired(t);
}

static void fire(workflow_timers *t, const store_rows *rows, size_t i)
{
    timer_op *op = (timer_op *)calloc(1, sizeof *op);
    wm_err err;

    if (!op)
        abort();
    op->timers = t;
    snprintf(op->instance_id, sizeof op->instance_id, "%s", store_text(rows, i, 1));
    snprintf(op->timer_id, sizeof op->timer_id, "%s", store_text(rows, i, 2));
    op->op.ask.kind = APPLY_TIMER;
    op->op.ask.namespace_id = store_int32(rows, i, 0);
    op->op.ask.instance_id = op->instance_id;
    op->op.ask.timer_id = op->timer_id;
    op->op.op.weight = 1;
    op->op.op.deadline_us = INT64_MAX;
    op->op.op.done = timer_done;
    if (store_batcher_add(t->wf->lanes[0].applies, &op->op.op, &err)) {
        t->n_firing++;
    } else {
        free(op);
        t->more = false;
    }
}

static void looked(store_query *query, wm_code code)
{
    workflow_timers *t = wm_container_of(query, workflow_timers, query);
    const store_rows *rows;
    size_t n;

    t->soon_ms = WORKFLOW_POLL_MS;
    t->state = TIMERS_FIRING;
    t->n_firing = 1; /* this look itself, so that nothing ends before all are started */
    t->more = false;
    if (code == WM_OK && !t->stopping) {
        rows = store_query_rows(query);
        n = store_rows_len(rows);
        t->more = n == TIMERS_MAX;
        for (size_t i = 0; i < n; i++) {
            int64_t in_us = store_time(rows, i, 3) - store_time(rows, i, 4);

            if (in_us > 0) {
                /* Rows come in order; the rest is later. */
                t->soon_ms = in_us / 1000 + 1;
                t->more = false;
                break;
            }
            fire(t, rows, i);
        }
    }
    wm_arena_reset(&t->arena);
    fired(t);
}

static void look(workflow_timers *t)
{
    store_args args;

    t->state = TIMERS_LOOKING;
    store_args_init(&args, &t->arena);
    store_arg_int32(&args, TIMERS_MAX);
    store_query_start(t->wf->lanes[0].store, &t->query, &t->arena, &workflow_stmt_due_timers, &args,
                      false, looked);
}

static void told_run(lane_msg *msg)
{
    workflow_timers *t = wm_container_of(msg, workflow_timers, told_msg);
    int64_t ms;

    pthread_mutex_lock(&t->mutex);
    ms = t->posted_ms;
    t->posted = false;
    pthread_mutex_unlock(&t->mutex);
    if (t->stopping)
        return;
    if (t->state != TIMERS_ASLEEP) {
        if (ms < t->told_ms)
            t->told_ms = ms;
    } else if (uv_timer_get_due_in(&t->timer) > (uint64_t)ms) {
        uv_timer_start(&t->timer, timer_ring, (uint64_t)ms + 1, 0);
    }
}

void workflow_timers_due(workflow_timers *t, int64_t delay_ms)
{
    if (delay_ms >= WORKFLOW_POLL_MS)
        return; /* a look comes before */
    pthread_mutex_lock(&t->mutex);
    if (!t->posted || delay_ms < t->posted_ms)
        t->posted_ms = delay_ms;
    if (!t->posted) {
        t->posted = true;
        lane_post(t->wf->lanes[0].lane, &t->told_msg);
    }
    pthread_mutex_unlock(&t->mutex);
}

/* ---- start and stop ---- */

static void timers_start(void *ctx)
{
    workflow_timers *t = (workflow_timers *)ctx;

    uv_timer_init(lane_loop(t->wf->lanes[0].lane), &t->timer);
    t->timer.data = t;
    look(t);
}

workflow_timers *workflow_timers_new(workflow *wf)
{
    workflow_timers *t = (workflow_timers *)calloc(1, sizeof *t);

    if (!t)
        abort();
    t->wf = wf;
    t->told_ms = INT64_MAX;
    t->told_msg.run = told_run;
    pthread_mutex_init(&t->mutex, NULL);
    wm_arena_init(&t->arena, 0);
    lane_call(wf->lanes[0].lane, timers_start, t);
    return t;
}

static void timers_stop(void *ctx)
{
    workflow_timers *t = (workflow_timers *)ctx;

    t->stopping = true;
    if (!uv_is_closing((uv_handle_t *)&t->timer))
        uv_close((uv_handle_t *)&t->timer, NULL);
}

static void timers_is_asleep(void *ctx)
{
    workflow_timers **t = (workflow_timers **)ctx;

    if ((*t)->state == TIMERS_ASLEEP)
        *t = NULL;
}

void workflow_timers_free(workflow_timers *t)
{
    lane *lane = t->wf->lanes[0].lane;

    lane_call(lane, timers_stop, t);
    for (workflow_timers *busy = t; busy;) {
        struct timespec pause = {0, 2000000};

        busy = t;
        lane_call(lane, timers_is_asleep, &busy);
        if (busy)
            nanosleep(&pause, NULL);
    }
    wm_arena_free(&t->arena);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}
