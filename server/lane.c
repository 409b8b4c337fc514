/* server/lane.c - the loop thread of a lane and its mailbox.
 *
 * The mailbox is a stack of messages that senders push with one compare-and-swap
 * and the loop takes whole with one exchange, then turns around. Only the sender
 * who finds it empty wakes the loop, so a burst costs one wake-up. Order between
 * any two posts that happen one after the other, from whichever threads, is kept.
 *
 * The wake-up is an eventfd and not a uv_async_t: libuv's loop spins, and then yields,
 * for as long as the sender has not returned from its wake-up, and on a busy machine the
 * sender is off its CPU just then (7 % of the server's time in the bench).
 */
#include "server/lane.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct lane {
    uv_loop_t loop;
    uv_poll_t wake;
    uv_prepare_t turn_end;
    void (*at_turn_end)(void);
    int wake_fd;
    atomic_uint senders; /* inside lane_post(), which may still use wake_fd */
    uv_thread_t thread;
    _Atomic(lane_msg *) posted; /* newest first */
    store *store;
    unsigned index;
};

static _Thread_local lane *lane_current;

static lane_msg *posted_take(lane *lane)
{
    lane_msg *newest = atomic_exchange_explicit(&lane->posted, NULL, memory_order_acquire);
    lane_msg *oldest = NULL;

    while (newest != NULL) {
        lane_msg *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

/* Runs what is posted now; what that posts comes with the next wake-up. */
static bool posted_run(lane *lane)
{
    lane_msg *msg = posted_take(lane);
    bool any = msg != NULL;

    while (msg != NULL) {
        lane_msg *next = msg->next; /* run() may free the message */
        msg->run(msg);
        msg = next;
    }
    return any;
}

static void lane_woken(uv_poll_t *wake, int status, int events)
{
    lane *lane = wake->data;
    uint64_t count;

    (void)status;
    (void)events;
    /* Before the mailbox is emptied: who finds it empty after that wakes us again. */
    if (read(lane->wake_fd, &count, sizeof(count)) < 0)
        assert(errno == EAGAIN || errno == EINTR);
    posted_run(lane);
}

static void lane_wake(lane *lane)
{
    const uint64_t one = 1;

    while (write(lane->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void lane_turn_ends(uv_prepare_t *turn_end)
{
    const lane *lane = turn_end->data;
    lane->at_turn_end();
}

static void lane_close_handles(lane *lane)
{
    uv_close((uv_handle_t *)&lane->wake, NULL);
    uv_close((uv_handle_t *)&lane->turn_end, NULL);
    uv_run(&lane->loop, UV_RUN_DEFAULT);
}

static void lane_main(void *arg)
{
    lane *lane = arg;

    lane_current = lane;
    uv_run(&lane->loop, UV_RUN_DEFAULT);
    /* lane_stop() let go of the wake-up handle, so nothing else is left on the loop; the last
     * things to end may have posted something. */
    while (posted_run(lane))
        uv_run(&lane->loop, UV_RUN_DEFAULT);
    lane_close_handles(lane);
}

wm_code lane_new(unsigned index, lane **made, wm_err *err)
{
    lane *lane = calloc(1, sizeof(*lane));
    int rc;

    if (lane == NULL)
        return wm_fail(err, WM_EXHAUSTED, "INTERNAL", "no memory for a lane");
    lane->index = index;
    atomic_init(&lane->posted, NULL);
    rc = uv_loop_init(&lane->loop);
    if (rc != 0)
        goto fail_loop;
    lane->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (lane->wake_fd < 0) {
        rc = uv_translate_sys_error(errno);
        goto fail_eventfd;
    }
    rc = uv_poll_init(&lane->loop, &lane->wake, lane->wake_fd);
    if (rc != 0)
        goto fail_poll;
    lane->wake.data = lane;
    uv_prepare_init(&lane->loop, &lane->turn_end); /* cannot fail */
    lane->turn_end.data = lane;
    rc = uv_poll_start(&lane->wake, UV_READABLE, lane_woken);
    if (rc != 0)
        goto fail_thread;
    rc = uv_thread_create(&lane->thread, lane_main, lane);
    if (rc != 0)
        goto fail_thread;
    *made = lane;
    return WM_OK;

fail_thread:
    lane_close_handles(lane);
fail_poll:
    close(lane->wake_fd);
fail_eventfd:
    uv_loop_close(&lane->loop);
fail_loop:
    free(lane);
    return wm_fail(err, WM_EXHAUSTED, "INTERNAL", "cannot start lane %u: %s", index,
                   uv_strerror(rc));
}

static void lane_stop(void *ctx)
{
    lane *lane = ctx;
    uv_unref((uv_handle_t *)&lane->wake);
}

void lane_free(lane *lane)
{
    if (lane == NULL)
        return;
    lane_call(lane, lane_stop, lane);
    uv_thread_join(&lane->thread);
    int rc = uv_loop_close(&lane->loop);
    assert(rc == 0);
    (void)rc;
    /* A sender's message may have run, and led here, before its wake-up. */
    while (atomic_load_explicit(&lane->senders, memory_order_acquire) > 0)
        sched_yield();
    close(lane->wake_fd);
    free(lane);
}

unsigned lane_index(const lane *lane)
{
    return lane->index;
}

uv_loop_t *lane_loop(lane *lane)
{
    return &lane->loop;
}

bool lane_is_here(const lane *lane)
{
    return lane_current == lane;
}

void lane_post(lane *lane, lane_msg *msg)
{
    lane_msg *head;

    atomic_fetch_add_explicit(&lane->senders, 1, memory_order_relaxed);
    head = atomic_load_explicit(&lane->posted, memory_order_relaxed);
    do {
        msg->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&lane->posted, &head, msg, memory_order_release,
                                                    memory_order_relaxed));
    if (head == NULL)
        lane_wake(lane);
    atomic_fetch_sub_explicit(&lane->senders, 1, memory_order_release);
}

typedef struct lane_calling {
    lane_msg msg;
    void (*fn)(void *ctx);
    void *ctx;
    uv_sem_t done;
} lane_calling;

static void lane_call_run(lane_msg *msg)
{
    lane_calling *calling = wm_container_of(msg, lane_calling, msg);

    calling->fn(calling->ctx);
    uv_sem_post(&calling->done);
}

void lane_call(lane *lane, void (*fn)(void *ctx), void *ctx)
{
    lane_calling calling = {.msg.run = lane_call_run, .fn = fn, .ctx = ctx};

    assert(lane_current == NULL);
    if (uv_sem_init(&calling.done, 0) != 0)
        abort();
    lane_post(lane, &calling.msg);
    uv_sem_wait(&calling.done);
    uv_sem_destroy(&calling.done);
}

static void lane_job_run(uv_work_t *work)
{
    lane_job *job = wm_container_of(work, lane_job, work);
    job->run(job);
}

static void lane_job_done(uv_work_t *work, int status)
{
    lane_job *job = wm_container_of(work, lane_job, work);
    (void)status; /* nobody cancels jobs */
    job->done(job);
}

void lane_work(lane *lane, lane_job *job)
{
    assert(lane_is_here(lane));
    job->lane = lane;
    uv_queue_work(&lane->loop, &job->work, lane_job_run, lane_job_done);
}

void lane_at_turn_end(lane *lane, void (*fn)(void))
{
    assert(lane_is_here(lane));
    lane->at_turn_end = fn;
    uv_prepare_start(&lane->turn_end, lane_turn_ends);
    uv_unref((uv_handle_t *)&lane->turn_end); /* it keeps no loop alive */
}

store *lane_store(lane *lane)
{
    return lane->store;
}

void lane_set_store(lane *lane, store *store)
{
    lane->store = store;
}
