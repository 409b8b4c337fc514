/* server/workflow/wait.c - who waits for an instance, and a lane's alarms.
 *
 * Waiters of all lanes are in one table under a mutex, which a commit only touches when
 * anybody waits at all. A waiter is taken off the list under the mutex by whoever wakes it,
 * so it is woken once; it learns of it by a message to its own lane. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "server/workflow/internal.h"

enum { WAIT_BUCKETS = 1024 };

struct workflow_waiters {
    pthread_mutex_t mutex;
    atomic_size_t n;
    workflow_waiter *buckets[WAIT_BUCKETS];
};

workflow_waiters *workflow_waiters_new(void)
{
    workflow_waiters *waiters = (workflow_waiters *)calloc(1, sizeof *waiters);

    if (!waiters)
        abort();
    pthread_mutex_init(&waiters->mutex, NULL);
    return waiters;
}

void workflow_waiters_free(workflow_waiters *waiters)
{
    pthread_mutex_destroy(&waiters->mutex);
    free(waiters);
}

/* FNV-1a; the table is small and a bad spread only costs time. */
static workflow_waiter **bucket_of(workflow_waiters *waiters, int32_t namespace_id,
                                   const char *instance_id)
{
    uint32_t hash = 2166136261u ^ (uint32_t)namespace_id;

    for (const char *at = instance_id; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 16777619u;
    return &waiters->buckets[hash % WAIT_BUCKETS];
}

static void waiter_run(lane_msg *msg)
{
    workflow_waiter *waiter = wm_container_of(msg, workflow_waiter, msg);
    void *bytes = waiter->bytes;

    waiter->bytes = NULL;
    waiter->woken(waiter, bytes, waiter->size);
    free(bytes);
}

void workflow_wait_add(workflow_waiters *waiters, workflow_waiter *waiter)
{
    workflow_waiter **bucket = bucket_of(waiters, waiter->namespace_id, waiter->instance_id);

    waiter->msg.run = waiter_run;
    waiter->bytes = NULL;
    waiter->size = 0;
    pthread_mutex_lock(&waiters->mutex);
    waiter->listed = true;
    DL_APPEND(*bucket, waiter);
    atomic_fetch_add(&waiters->n, 1);
    pthread_mutex_unlock(&waiters->mutex);
}

/* Under the mutex. */
static void unlist(workflow_waiters *waiters, workflow_waiter **bucket, workflow_waiter *waiter)
{
    DL_DELETE(*bucket, waiter);
    waiter->listed = false;
    atomic_fetch_sub(&waiters->n, 1);
}

bool workflow_wait_any(const workflow_waiters *waiters)
{
    return atomic_load(&waiters->n) > 0;
}

bool workflow_wait_remove(workflow_waiters *waiters, workflow_waiter *waiter)
{
    workflow_waiter **bucket = bucket_of(waiters, waiter->namespace_id, waiter->instance_id);
    bool listed;

    pthread_mutex_lock(&waiters->mutex);
    listed = waiter->listed;
    if (listed)
        unlist(waiters, bucket, waiter);
    pthread_mutex_unlock(&waiters->mutex);
    return listed;
}

/* Packs into the heap: the waiter's lane frees it. */
static void pack_row(workflow_waiter *waiter, const workflow_row *row)
{
    wm_arena arena;
    Waymark__Workflow__V1__Instance *message;

    wm_arena_init(&arena, 0);
    message = workflow_instance_message(&arena, row);
    if (message) {
        waiter->size = waymark__workflow__v1__instance__get_packed_size(message);
        waiter->bytes = malloc(waiter->size + 1);
        if (!waiter->bytes)
            abort();
        waymark__workflow__v1__instance__pack(message, (uint8_t *)waiter->bytes);
    }
    wm_arena_free(&arena);
}

static void notify(workflow_waiters *waiters, int32_t namespace_id, const char *instance_id,
                   int64_t revision, bool ended, const workflow_row *row)
{
    workflow_waiter **bucket, *waiter, *next;

    if (atomic_load(&waiters->n) == 0)
        return;
    bucket = bucket_of(waiters, namespace_id, instance_id);
    pthread_mutex_lock(&waiters->mutex);
    DL_FOREACH_SAFE (*bucket, waiter, next) {
        if (waiter->namespace_id != namespace_id || strcmp(waiter->instance_id, instance_id) != 0 ||
            (revision <= waiter->after_revision && !ended))
            continue;
        unlist(waiters, bucket, waiter);
        if (row)
            pack_row(waiter, row);
        lane_post(waiter->lane, &waiter->msg);
    }
    pthread_mutex_unlock(&waiters->mutex);
}

void workflow_wait_notify(workflow_waiters *waiters, const workflow_row *row)
{
    notify(waiters, row->move.namespace_id, row->move.instance_id, row->move.revision, row->ended,
           row);
}

void workflow_wait_notify_remote(workflow_waiters *waiters, int32_t namespace_id,
                                 const char *instance_id, int64_t revision, bool ended)
{
    notify(waiters, namespace_id, instance_id, revision, ended, NULL);
}

/* ---- alarms ----
 *
 * A ring without order, walked once a tick while it is not empty: setting and clearing,
 * which every long poll does, cost nothing. */

static void alarms_tick(uv_timer_t *timer)
{
    workflow_lane *wl = (workflow_lane *)timer->data;
    int64_t now_us = wm_monotonic_us();
    workflow_alarm due, *alarm, *next;

    /* What rings may set and clear others: move those that are due to a ring of their own. */
    due.next = due.prev = &due;
    for (alarm = wl->alarms.next; alarm != &wl->alarms; alarm = next) {
        next = alarm->next;
        if (alarm->due_us > now_us)
            continue;
        workflow_alarm_clear(alarm);
        alarm->prev = due.prev;
        alarm->next = &due;
        due.prev->next = alarm;
        due.prev = alarm;
    }
    while (due.next != &due) {
        alarm = due.next;
        workflow_alarm_clear(alarm);
        alarm->rang(alarm);
    }
    if (wl->alarms.next == &wl->alarms) {
        uv_timer_stop(&wl->alarm_timer);
        wl->alarm_timer_on = false;
    }
}

void workflow_alarms_init(workflow_lane *wl)
{
    wl->alarms.next = wl->alarms.prev = &wl->alarms;
    uv_timer_init(lane_loop(wl->lane), &wl->alarm_timer);
    wl->alarm_timer.data = wl;
}

void workflow_alarms_stop(workflow_lane *wl)
{
    uv_close((uv_handle_t *)&wl->alarm_timer, NULL);
}

void workflow_alarm_set(workflow_lane *wl, workflow_alarm *alarm, int64_t in_ms)
{
    alarm->due_us = wm_monotonic_us() + in_ms * 1000;
    alarm->prev = wl->alarms.prev;
    alarm->next = &wl->alarms;
    wl->alarms.prev->next = alarm;
    wl->alarms.prev = alarm;
    if (!wl->alarm_timer_on)
        uv_timer_start(&wl->alarm_timer, alarms_tick, WORKFLOW_ALARM_TICK_MS,
                       WORKFLOW_ALARM_TICK_MS);
    wl->alarm_timer_on = true;
}

void workflow_alarm_clear(workflow_alarm *alarm)
{
    if (!alarm->next)
        return;
    alarm->next->prev = alarm->prev;
    alarm->prev->next = alarm->next;
    alarm->next = alarm->prev = NULL;
}
