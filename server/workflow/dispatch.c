/* server/workflow/dispatch.c - workers of this process, and tasks that wait for one.
 *
 * A worker (a stream, or a poll with one credit) is subscribed to some queues. While it has
 * credits its subscriptions are in the queues' rings of ready workers. A transaction that
 * makes a task reserves a ready worker's credit and writes the task already leased; after the
 * commit the task goes to the worker's lane as a message. Where no worker is ready the task
 * waits in PostgreSQL, and a claim (FOR UPDATE SKIP LOCKED) fetches it when there is credit:
 *
 *   queue.waiting   tasks may wait: told by a local commit, by the hub for other processes,
 *                   by the poll each second (leases that ran out, retries that are due)
 *   queue.claiming  one claim per queue is in flight
 *
 * Locks: one mutex over all of it, held for short list work only; lane_post() under it.
 * Lives: a worker is referenced by its opener, by each reservation and by each delivery under
 * way; whoever drops the last reference frees it.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>
#include <utlist.h>

#include "base/codec.h"
#include "base/log.h"
#include "server/workflow/internal.h"
#include "waymark/workflow/v1/record.pb-c.h"

enum { CLAIM_MAX = 256, QUEUE_KEY_SIZE = CHART_NAME_MAX + 16 };

typedef struct queue_entry queue_entry;

struct workflow_subscription {
    workflow_subscription *next, *prev; /* in the queue's ring of ready ones */
    workflow_worker *worker;
    queue_entry *queue;
};

struct queue_entry {
    UT_hash_handle hh;
    int32_t namespace_id;
    size_t n_subscriptions;
    workflow_subscription *ready;
    bool waiting, claiming;
    uint64_t told; /* rises whenever `waiting` is set */
    size_t key_len;
    char key[QUEUE_KEY_SIZE]; /* "namespace/queue" */
    const char *name;         /* in key */
};

struct workflow_dispatch {
    workflow *wf;
    pthread_mutex_t mutex;
    queue_entry *queues;
    /* On lane 0. */
    uv_timer_t poll_timer, due_timer;
    lane_msg due_msg;
    bool due_posted;   /* under the mutex */
    int64_t due_in_ms; /* under the mutex: the least one told */
    atomic_int n_busy; /* claims, releases and asks of our own under way */
};

/* One claim in flight; on the lane of its first worker. */
typedef struct claim {
    lane_msg msg;
    workflow_dispatch *dispatch;
    queue_entry *queue;
    uint64_t told;
    size_t n_workers;
    workflow_worker *workers[CLAIM_MAX]; /* one credit each */
    wm_arena arena;
    store_query query;
} claim;

static void kick(workflow_dispatch *d, queue_entry *queue);

/* ---- queues and rings; all under the mutex ---- */

static queue_entry *queue_find(workflow_dispatch *d, int32_t namespace_id, const char *name,
                               bool make)
{
    char key[QUEUE_KEY_SIZE];
    size_t len = (size_t)snprintf(key, sizeof key, "%d/%s", namespace_id, name);
    queue_entry *queue;

    HASH_FIND(hh, d->queues, key, len, queue);
    if (queue || !make)
        return queue;
    queue = (queue_entry *)calloc(1, sizeof *queue);
    if (!queue)
        abort();
    queue->namespace_id = namespace_id;
    queue->key_len = len;
    memcpy(queue->key, key, len + 1);
    queue->name = strchr(queue->key, '/') + 1;
    HASH_ADD(hh, d->queues, key, len, queue);
    return queue;
}

/* Queues without workers are forgotten: who subscribes looks for waiting tasks anyway. */
static void queue_drop_unused(workflow_dispatch *d, queue_entry *queue)
{
    if (queue->n_subscriptions > 0 || queue->claiming)
        return;
    HASH_DEL(d->queues, queue);
    free(queue);
}

static void set_ready(workflow_worker *worker, bool ready)
{
    for (size_t i = 0; i < worker->n_subscriptions; i++) {
        workflow_subscription *s = &worker->subscriptions[i];

        if (ready)
            DL_APPEND(s->queue->ready, s);
        else
            DL_DELETE(s->queue->ready, s);
    }
}

static void give_credits(workflow_worker *worker, uint32_t n)
{
    if (n == 0 || worker->closed)
        return;
    if (worker->credits == 0)
        set_ready(worker, true);
    worker->credits += n;
}

/* Takes one credit; the next reservation goes to the next worker. */
static workflow_worker *take_credit(queue_entry *queue)
{
    workflow_subscription *first = queue->ready;
    workflow_worker *worker;

    if (!first)
        return NULL;
    worker = first->worker;
    worker->references++;
    if (--worker->credits == 0) {
        set_ready(worker, false);
    } else {
        DL_DELETE(queue->ready, first);
        DL_APPEND(queue->ready, first);
    }
    return worker;
}

/* True: the caller must call freed(), after unlocking. */
static bool drop_reference(workflow_worker *worker)
{
    assert(worker->references > 0);
    return --worker->references == 0;
}

static void unreference(workflow_dispatch *d, workflow_worker *worker)
{
    bool last;

    pthread_mutex_lock(&d->mutex);
    last = drop_reference(worker);
    pthread_mutex_unlock(&d->mutex);
    if (last)
        worker->freed(worker);
}

/* ---- workers ---- */

void workflow_worker_open(workflow_dispatch *d, workflow_worker *worker, const char *const *queues,
                          size_t n)
{
    worker->credits = 0;
    worker->closed = false;
    worker->references = 1;
    worker->subscriptions = (workflow_subscription *)calloc(n, sizeof *worker->subscriptions);
    if (!worker->subscriptions)
        abort();
    worker->n_subscriptions = n;
    pthread_mutex_lock(&d->mutex);
    for (size_t i = 0; i < n; i++) {
        queue_entry *queue = queue_find(d, worker->namespace_id, queues[i], true);

        if (queue->n_subscriptions++ == 0)
            queue->waiting = true;
        worker->subscriptions[i].worker = worker;
        worker->subscriptions[i].queue = queue;
    }
    pthread_mutex_unlock(&d->mutex);
}

void workflow_worker_add_credits(workflow_dispatch *d, workflow_worker *worker, uint32_t n)
{
    pthread_mutex_lock(&d->mutex);
    give_credits(worker, n);
    for (size_t i = 0; i < worker->n_subscriptions; i++)
        kick(d, worker->subscriptions[i].queue);
    pthread_mutex_unlock(&d->mutex);
}

uint32_t workflow_worker_take_credits(workflow_dispatch *d, workflow_worker *worker)
{
    uint32_t n;

    pthread_mutex_lock(&d->mutex);
    n = worker->credits;
    if (n > 0)
        set_ready(worker, false);
    worker->credits = 0;
    pthread_mutex_unlock(&d->mutex);
    return n;
}

void workflow_worker_close(workflow_dispatch *d, workflow_worker *worker)
{
    workflow_subscription *subscriptions;
    bool last;

    pthread_mutex_lock(&d->mutex);
    if (worker->credits > 0)
        set_ready(worker, false);
    worker->credits = 0;
    worker->closed = true;
    for (size_t i = 0; i < worker->n_subscriptions; i++) {
        queue_entry *queue = worker->subscriptions[i].queue;

        queue->n_subscriptions--;
        queue_drop_unused(d, queue);
    }
    subscriptions = worker->subscriptions;
    worker->subscriptions = NULL;
    worker->n_subscriptions = 0;
    last = drop_reference(worker);
    pthread_mutex_unlock(&d->mutex);
    free(subscriptions);
    if (last)
        worker->freed(worker);
}

workflow_worker *workflow_dispatch_reserve(workflow_dispatch *d, int32_t namespace_id,
                                           const char *name)
{
    workflow_worker *worker = NULL;
    queue_entry *queue;

    pthread_mutex_lock(&d->mutex);
    queue = queue_find(d, namespace_id, name, false);
    if (queue)
        worker = take_credit(queue);
    pthread_mutex_unlock(&d->mutex);
    return worker;
}

void workflow_dispatch_return(workflow_dispatch *d, workflow_worker *worker)
{
    bool last;

    pthread_mutex_lock(&d->mutex);
    give_credits(worker, 1);
    for (size_t i = 0; i < worker->n_subscriptions; i++)
        kick(d, worker->subscriptions[i].queue);
    last = drop_reference(worker);
    pthread_mutex_unlock(&d->mutex);
    if (last)
        worker->freed(worker);
}

/* ---- deliveries ---- */

static void delivery_run(lane_msg *msg)
{
    workflow_delivery *delivery = wm_container_of(msg, workflow_delivery, msg);
    workflow_worker *worker = delivery->worker;
    workflow *wf = delivery->wf;

    /* `closed` is only set on this lane. */
    if (worker->closed) {
        workflow_dispatch_release(workflow_lane_of(wf, worker->lane), &delivery->row, true);
        free(delivery);
    } else {
        worker->deliver(worker, delivery);
    }
    unreference(wf->dispatch, worker);
}

static char *put_text(char **at, const char *text)
{
    size_t size = strlen(text) + 1;
    char *put = *at;

    memcpy(put, text, size);
    *at += size;
    return put;
}

void workflow_dispatch_deliver(workflow_dispatch *d, workflow_worker *worker,
                               const workflow_task_row *row)
{
    size_t size = sizeof(workflow_delivery) + row->record_size + strlen(row->key.instance_id) +
                  strlen(row->queue) + strlen(row->name) + 3;
    workflow_delivery *delivery = (workflow_delivery *)malloc(size);
    char *at = (char *)(delivery + 1);

    if (!delivery)
        abort();
    delivery->msg.run = delivery_run;
    delivery->next = NULL;
    delivery->wf = d->wf;
    delivery->worker = worker;
    delivery->row = *row;
    memcpy(at, row->record, row->record_size);
    delivery->row.record = at;
    at += row->record_size;
    delivery->row.key.instance_id = put_text(&at, row->key.instance_id);
    delivery->row.queue = put_text(&at, row->queue);
    delivery->row.name = put_text(&at, row->name);
    lane_post(worker->lane, &delivery->msg);
}

/* ---- releasing a lease ---- */

typedef struct release {
    wm_arena arena;
    store_query query;
    workflow_dispatch *dispatch;
} release;

static void release_done(store_query *query, wm_code code)
{
    release *r = wm_container_of(query, release, query);

    if (code == WM_OK && store_rows_len(store_query_rows(query)) > 0)
        workflow_dispatch_waiting(r->dispatch, store_int32(store_query_rows(query), 0, 0),
                                  store_text(store_query_rows(query), 0, 1));
    atomic_fetch_sub(&r->dispatch->n_busy, 1);
    wm_arena_free(&r->arena);
    free(r);
}

void workflow_dispatch_release(workflow_lane *wl, const workflow_task_row *row, bool unbegun)
{
    release *r = (release *)calloc(1, sizeof *r);
    int32_t n_unbegun = unbegun;
    store_args args;

    if (!r)
        abort();
    wm_arena_init(&r->arena, 0);
    r->dispatch = wl->wf->dispatch;
    atomic_fetch_add(&r->dispatch->n_busy, 1);
    workflow_store_lease_args(&args, &r->arena, &row->key, &row->lease, 1);
    store_arg_int32s(&args, &n_unbegun, 1);
    store_query_start(wl->store, &r->query, &r->arena, &workflow_stmt_release, &args, true,
                      release_done);
}

/* ---- claims ---- */

/* The last attempt's lease ran out: the task fails, by an ask of our own. */
typedef struct exhausted {
    workflow_apply_op op;
    workflow_dispatch *dispatch;
    char instance_id[CHART_NAME_MAX + 1];
} exhausted;

static void exhausted_done(store_op *op)
{
    exhausted *e = wm_container_of(wm_container_of(op, workflow_apply_op, op), exhausted, op);

    atomic_fetch_sub(&e->dispatch->n_busy, 1);
    free(e);
}

static void fail_exhausted(workflow_lane *wl, const workflow_task_row *row)
{
    exhausted *e = (exhausted *)calloc(1, sizeof *e);
    wm_err err;

    if (!e)
        abort();
    snprintf(e->instance_id, sizeof e->instance_id, "%s", row->key.instance_id);
    e->op.ask.kind = APPLY_FAIL;
    e->op.ask.namespace_id = row->key.namespace_id;
    e->op.ask.instance_id = e->instance_id;
    e->op.ask.task_id = row->key.task_id;
    e->op.ask.lease = row->lease;
    e->op.ask.permanent = true;
    e->op.ask.message = "the lease of the last attempt ran out";
    e->op.ask.reason = "LEASE_LOST";
    e->op.op.weight = 1;
    e->op.op.deadline_us = INT64_MAX;
    e->op.op.done = exhausted_done;
    /* When the queue is full the lease that the claim took runs out, and it comes again. */
    e->dispatch = wl->wf->dispatch;
    atomic_fetch_add(&e->dispatch->n_busy, 1);
    if (!store_batcher_add(wl->applies, &e->op.op, &err))
        exhausted_done(&e->op.op);
}

static bool is_exhausted(wm_arena *arena, const workflow_task_row *row)
{
    ProtobufCMessage *message;
    const Waymark__Workflow__V1__TaskRecord *record;
    wm_err err;

    if (wm_codec_unpack(arena, &waymark__workflow__v1__task_record__descriptor, row->record,
                        row->record_size, &message, &err) != WM_OK)
        return false;
    record = (const Waymark__Workflow__V1__TaskRecord *)message;
    return record->retry && record->retry->max_attempts >= 0 &&
           row->attempt > record->retry->max_attempts;
}

static void claim_done(store_query *query, wm_code code)
{
    claim *c = wm_container_of(query, claim, query);
    workflow_dispatch *d = c->dispatch;
    workflow_lane *wl = workflow_lane_of(d->wf, c->workers[0]->lane);
    workflow_task_row *rows = NULL;
    size_t n = 0, used = 0;

    if (code == WM_OK)
        rows = workflow_store_read_tasks(store_query_rows(query), &c->arena, &n);
    for (size_t i = 0; i < n; i++) {
        if (is_exhausted(&c->arena, &rows[i]))
            fail_exhausted(wl, &rows[i]);
        else
            workflow_dispatch_deliver(d, c->workers[used++], &rows[i]);
    }
    pthread_mutex_lock(&d->mutex);
    c->queue->claiming = false;
    /* After a failure the store is away: the poll asks again. */
    if (code != WM_OK || (n < c->n_workers && c->told == c->queue->told))
        c->queue->waiting = false;
    kick(d, c->queue);
    queue_drop_unused(d, c->queue);
    pthread_mutex_unlock(&d->mutex);
    while (used < c->n_workers)
        workflow_dispatch_return(d, c->workers[used++]);
    wm_arena_free(&c->arena);
    free(c);
    atomic_fetch_sub(&d->n_busy, 1);
}

static void claim_run(lane_msg *msg)
{
    claim *c = wm_container_of(msg, claim, msg);
    workflow_lane *wl = workflow_lane_of(c->dispatch->wf, c->workers[0]->lane);
    store_args args;

    store_args_init(&args, &c->arena);
    store_arg_int32(&args, c->queue->namespace_id);
    store_arg_text(&args, c->queue->name);
    store_arg_int32(&args, (int32_t)c->n_workers);
    store_query_start(wl->store, &c->query, &c->arena, &workflow_stmt_claim, &args, true,
                      claim_done);
}

/* Starts a claim where tasks may wait and a worker has credit. Under the mutex. */
static void kick(workflow_dispatch *d, queue_entry *queue)
{
    claim *c;

    if (!queue->waiting || queue->claiming || !queue->ready)
        return;
    c = (claim *)calloc(1, sizeof *c);
    if (!c)
        abort();
    wm_arena_init(&c->arena, 0);
    c->dispatch = d;
    c->queue = queue;
    c->told = queue->told;
    while (c->n_workers < CLAIM_MAX && queue->ready)
        c->workers[c->n_workers++] = take_credit(queue);
    queue->claiming = true;
    atomic_fetch_add(&d->n_busy, 1);
    c->msg.run = claim_run;
    lane_post(c->workers[0]->lane, &c->msg);
}

void workflow_dispatch_waiting(workflow_dispatch *d, int32_t namespace_id, const char *name)
{
    queue_entry *queue;

    pthread_mutex_lock(&d->mutex);
    queue = queue_find(d, namespace_id, name, false);
    if (queue) {
        queue->waiting = true;
        queue->told++;
        kick(d, queue);
    }
    pthread_mutex_unlock(&d->mutex);
}

static void look_everywhere(workflow_dispatch *d)
{
    queue_entry *queue, *next;

    pthread_mutex_lock(&d->mutex);
    HASH_ITER (hh, d->queues, queue, next) {
        queue->waiting = true;
        queue->told++;
        kick(d, queue);
    }
    pthread_mutex_unlock(&d->mutex);
}

/* ---- time ---- */

static void poll_tick(uv_timer_t *timer)
{
    look_everywhere((workflow_dispatch *)timer->data);
}

static void due_run(lane_msg *msg)
{
    workflow_dispatch *d = wm_container_of(msg, workflow_dispatch, due_msg);
    int64_t in_ms;

    pthread_mutex_lock(&d->mutex);
    in_ms = d->due_in_ms;
    d->due_posted = false;
    pthread_mutex_unlock(&d->mutex);
    /* A later one that is lost here is found by the poll. */
    if (!uv_is_active((uv_handle_t *)&d->due_timer) ||
        uv_timer_get_due_in(&d->due_timer) > (uint64_t)in_ms)
        uv_timer_start(&d->due_timer, poll_tick, (uint64_t)in_ms + 1, 0);
}

void workflow_dispatch_due(workflow_dispatch *d, int64_t delay_ms)
{
    if (delay_ms >= WORKFLOW_POLL_MS)
        return;
    pthread_mutex_lock(&d->mutex);
    if (!d->due_posted || delay_ms < d->due_in_ms)
        d->due_in_ms = delay_ms;
    if (!d->due_posted) {
        d->due_posted = true;
        lane_post(d->wf->lanes[0].lane, &d->due_msg);
    }
    pthread_mutex_unlock(&d->mutex);
}

static void start_timers(void *ctx)
{
    workflow_dispatch *d = (workflow_dispatch *)ctx;
    uv_loop_t *loop = lane_loop(d->wf->lanes[0].lane);

    uv_timer_init(loop, &d->poll_timer);
    uv_timer_init(loop, &d->due_timer);
    d->poll_timer.data = d->due_timer.data = d;
    uv_timer_start(&d->poll_timer, poll_tick, WORKFLOW_POLL_MS, WORKFLOW_POLL_MS);
}

static void stop_timers(void *ctx)
{
    workflow_dispatch *d = (workflow_dispatch *)ctx;

    uv_close((uv_handle_t *)&d->poll_timer, NULL);
    uv_close((uv_handle_t *)&d->due_timer, NULL);
}

workflow_dispatch *workflow_dispatch_new(workflow *wf)
{
    workflow_dispatch *d = (workflow_dispatch *)calloc(1, sizeof *d);

    if (!d)
        abort();
    d->wf = wf;
    d->due_msg.run = due_run;
    pthread_mutex_init(&d->mutex, NULL);
    lane_call(wf->lanes[0].lane, start_timers, d);
    return d;
}

/* The handles close in the loop's next turn: wait for it before the memory goes. */
static void nothing(void *ctx)
{
    (void)ctx;
}

void workflow_dispatch_free(workflow_dispatch *d)
{
    const struct timespec pause = {0, 2000000};
    queue_entry *queue, *next;

    lane_call(d->wf->lanes[0].lane, stop_timers, d);
    /* Queries end by themselves, with PostgreSQL away too. */
    do
        lane_call(d->wf->lanes[0].lane, nothing, NULL);
    while (atomic_load(&d->n_busy) > 0 && nanosleep(&pause, NULL) == 0);
    HASH_ITER (hh, d->queues, queue, next) {
        HASH_DEL(d->queues, queue);
        free(queue);
    }
    pthread_mutex_destroy(&d->mutex);
    free(d);
}
