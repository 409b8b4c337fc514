/* client/worker.c - the worker loop over TaskService.WorkTasks.
 *
 * A task is in one list at a time:
 *
 *   message() ──> waiting ──> in_work ──complete/fail──> to_send ──write──> sent ──ack──> gone
 *                (threads)                                  ^                │
 *                                                           └─ broken stream, or "try again"
 *
 * An answer that the server cannot read ends the stream. What was on its way when a stream ended
 * for such a reason is suspect, and is sent again alone, so that the next end tells who it was;
 * after BLAMED_MAX of them the answer is given up.
 *
 * Credits: the first message of a stream asks for `concurrency` tasks less those still unanswered.
 * Whoever was unanswered then, or came on the stream, holds a credit (owes_credit), which its
 * answer gives back. So the server never sends more than we may have.
 *
 * Threads: callbacks of the stream come on the client's thread, answers from anywhere, and the
 *          clock thread does what takes time: heartbeats, backoff, the stop. worker.lock guards
 *          everything; stream functions are called with it held (they call nothing back), but
 *          for the opening, in which interceptors run; handlers are not.
 */
#include "include/waymark/worker.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/codec.h"
#include "base/random.h"
#include "base/utf8.h"
#include "waymark/workflow/v1/task_service.client.h"

enum {
    CONCURRENCY_DEFAULT = 16,
    CONCURRENCY_MAX = 10000,
    CLOCK_TICK_MS = 200,
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 5000,
    STEADY_MS = 5000,    /* a stream that lived so long is opened again soon */
    BLAMED_MAX = 3,      /* streams that may end over an answer */
    AGAIN_MS = 500,      /* before an answer that was refused with "try again" is repeated */
    LEASE_MIN_MS = 1000, /* what a lease is taken for when our clock says otherwise */
    LEASE_MAX_MS = 3600 * 1000,
    FAILURE_MESSAGE_MAX = 4096 /* bytes, of the contract */
};

/* A longer grace is no different: ten years. */
#define GRACE_MAX_MS INT64_C(315360000000)

typedef Waymark__Workflow__V1__Task task_message;
typedef Waymark__Workflow__V1__WorkTasksRequest work_request;
typedef Waymark__Workflow__V1__WorkTasksResponse work_response;
typedef Waymark__Workflow__V1__TaskAck task_ack;

typedef enum task_state { TASK_WAITING, TASK_IN_WORK, TASK_TO_SEND, TASK_SENT } task_state;

struct waymark_task {
    waymark_task *prev, *next;
    waymark_worker *worker;
    task_state state;
    bool owes_credit;
    bool lost; /* a heartbeat found the lease gone */
    bool heartbeat_due;
    int64_t heartbeat_us, heartbeat_every_us;
    int64_t again_us; /* TO_SEND: not before this */
    unsigned blamed;  /* streams that ended over a message with this answer on its way */
    const task_message *task;
    bool failed;
    Waymark__Workflow__V1__TaskResult result;
    Waymark__Workflow__V1__TaskFailure failure;
    wm_arena arena;
};

struct waymark_worker {
    waymark_client *client;
    waymark_worker_options options; /* texts point into the arena */
    unsigned concurrency;
    wm_arena arena;

    pthread_mutex_t lock;
    pthread_cond_t clock_wakes, task_waits;
    pthread_t clock;
    pthread_t *threads;
    unsigned n_threads;

    waymark_stream *stream; /* NULL: to be opened at open_us */
    bool open_sent;         /* its first message */
    bool stream_over;       /* it has had its last callback, and its handle is to be freed */
    bool was_reported;      /* connected() said that it is open */
    bool closing;           /* nothing more will be written to it */
    int64_t open_us;        /* when it is, or was, opened */
    unsigned backoff_ms;

    waymark_task *waiting, *in_work, *to_send, *sent; /* utlist, by prev and next */
    unsigned n_unanswered;                            /* waiting and in_work */
    bool heartbeats_due;                              /* of some of them */
    bool stopping, stopped;
    int64_t stop_us; /* when the stop gives up on acknowledgements */
};

/* ---- tasks; the lock is held ---- */

static waymark_task **list_of(waymark_worker *worker, task_state state)
{
    switch (state) {
    case TASK_WAITING:
        return &worker->waiting;
    case TASK_IN_WORK:
        return &worker->in_work;
    case TASK_TO_SEND:
        return &worker->to_send;
    case TASK_SENT:
        return &worker->sent;
    }
    abort();
}

/* The only place where a task changes its list. */
static void task_move(waymark_task *task, task_state state)
{
    waymark_worker *worker = task->worker;
    waymark_task **from = list_of(worker, task->state), **to = list_of(worker, state);

    DL_DELETE(*from, task);
    task->state = state;
    DL_APPEND(*to, task);
}

static void task_free(waymark_task *task)
{
    waymark_task **list = list_of(task->worker, task->state);

    DL_DELETE(*list, task);
    wm_arena_free(&task->arena);
    free(task);
}

/* A message's copy in an arena. */
static ProtobufCMessage *copy_message(wm_arena *arena, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = wm_arena_alloc(arena, size + 1);

    protobuf_c_message_pack(message, bytes);
    return protobuf_c_message_unpack(message->descriptor, wm_arena_protobuf(arena), size, bytes);
}

static int64_t lease_ms(const task_message *task)
{
    int64_t left_ms = LEASE_MIN_MS;

    if (task->lease_expire_time != NULL)
        left_ms = task->lease_expire_time->seconds * 1000 +
                  task->lease_expire_time->nanos / 1000000 - wm_now_us() / 1000;
    /* Clocks differ: never trust ours to say that there is no time, or for ever. */
    return left_ms < LEASE_MIN_MS ? LEASE_MIN_MS : left_ms > LEASE_MAX_MS ? LEASE_MAX_MS : left_ms;
}

static waymark_task *task_new(waymark_worker *worker, const task_message *from)
{
    waymark_task *task = malloc(sizeof(*task));

    if (task == NULL)
        abort();
    memset(task, 0, offsetof(waymark_task, arena));
    wm_arena_init(&task->arena, 0);
    task->worker = worker;
    task->owes_credit = true;
    task->task = (const task_message *)(const void *)copy_message(&task->arena, &from->base);
    task->heartbeat_every_us = lease_ms(from) * 1000 / 3;
    task->heartbeat_us = wm_monotonic_us() + task->heartbeat_every_us;
    task->state = worker->n_threads > 0 ? TASK_WAITING : TASK_IN_WORK;
    DL_APPEND(*list_of(worker, task->state), task);
    worker->n_unanswered++;
    return task;
}

/* ---- writing; the lock is held ---- */

static bool write_open(waymark_worker *worker)
{
    Waymark__Workflow__V1__OpenWorker open = WAYMARK__WORKFLOW__V1__OPEN_WORKER__INIT;
    work_request request = WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__INIT;

    request.namespace_ = (char *)worker->options.namespace_id;
    open.queues = (char **)worker->options.queues;
    open.n_queues = worker->options.n_queues;
    open.worker = (char *)worker->options.name;
    open.credits = worker->stopping || worker->n_unanswered >= worker->concurrency
                       ? 0
                       : (int32_t)(worker->concurrency - worker->n_unanswered);
    request.kind_case = WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_OPEN;
    request.open = &open;
    return waymark_workflow_v1_task_service_work_tasks_write(worker->stream, &request);
}

static bool write_answer(waymark_worker *worker, waymark_task *task)
{
    work_request request = WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__INIT;
    bool add_credit = task->owes_credit && !worker->stopping;

    if (task->failed) {
        task->failure.add_credit = add_credit;
        request.kind_case = WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_FAILURE;
        request.failure = &task->failure;
    } else {
        task->result.add_credit = add_credit;
        request.kind_case = WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_RESULT;
        request.result = &task->result;
    }
    if (!waymark_workflow_v1_task_service_work_tasks_write(worker->stream, &request))
        return false;
    task->owes_credit = false;
    task_move(task, TASK_SENT);
    return true;
}

static bool write_heartbeat(waymark_worker *worker, waymark_task *task)
{
    Waymark__Workflow__V1__TaskHeartbeat heartbeat = WAYMARK__WORKFLOW__V1__TASK_HEARTBEAT__INIT;
    work_request request = WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__INIT;

    heartbeat.lease_token = task->task->lease_token;
    request.kind_case = WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_HEARTBEAT;
    request.heartbeat = &heartbeat;
    if (!waymark_workflow_v1_task_service_work_tasks_write(worker->stream, &request))
        return false;
    task->heartbeat_due = false;
    return true;
}

static bool write_heartbeats(waymark_worker *worker, waymark_task *tasks)
{
    waymark_task *task;

    DL_FOREACH (tasks, task) {
        if (task->heartbeat_due && !write_heartbeat(worker, task))
            return false;
    }
    return true;
}

/* The stream is asked for tasks: who is unanswered now gives a credit back later. */
static void count_credits(waymark_worker *worker)
{
    waymark_task *task;

    DL_FOREACH (worker->in_work, task)
        task->owes_credit = true;
    DL_FOREACH (worker->waiting, task)
        task->owes_credit = true;
    DL_FOREACH (worker->to_send, task)
        task->owes_credit = false;
}

/* A suspect goes alone. */
static bool may_answer(const waymark_worker *worker, const waymark_task *task)
{
    return worker->sent == NULL || (task->blamed == 0 && worker->sent->blamed == 0);
}

/* Writes what there is until the stream says no; writable() goes on. */
static void write_more(waymark_worker *worker)
{
    waymark_task *task, *next;
    int64_t now_us = wm_monotonic_us();

    if (worker->stream == NULL || worker->stream_over || worker->closing)
        return;
    if (!worker->open_sent) {
        worker->open_sent = write_open(worker);
        if (!worker->open_sent)
            return;
        count_credits(worker);
    }
    if (worker->heartbeats_due) {
        if (!write_heartbeats(worker, worker->in_work) ||
            !write_heartbeats(worker, worker->waiting))
            return;
        worker->heartbeats_due = false;
    }
    DL_FOREACH_SAFE (worker->to_send, task, next) {
        if (task->again_us <= now_us && (!may_answer(worker, task) || !write_answer(worker, task)))
            return;
    }
    if (worker->stopping && worker->n_unanswered == 0 && worker->to_send == NULL) {
        worker->closing = true;
        waymark_stream_close(worker->stream);
    }
}

/* ---- acknowledgements ---- */

static waymark_task *find_task(waymark_task *list, const char *lease_token)
{
    waymark_task *task;

    DL_FOREACH (list, task) {
        if (strcmp(task->task->lease_token, lease_token) == 0)
            return task;
    }
    return NULL;
}

static bool is_temporary(int32_t code)
{
    return code == WAYMARK_UNAVAILABLE || code == WAYMARK_RESOURCE_EXHAUSTED ||
           code == WAYMARK_DEADLINE_EXCEEDED;
}

/* Of a heartbeat: the lock is held. */
static void heartbeat_acked(waymark_worker *worker, const task_ack *ack)
{
    waymark_task *task = find_task(worker->in_work, ack->lease_token);

    if (task == NULL)
        task = find_task(worker->waiting, ack->lease_token);
    if (task != NULL && ack->code != WAYMARK_OK && !is_temporary(ack->code))
        task->lost = true;
}

static void settle(waymark_worker *worker, waymark_task *task, waymark_code code,
                   const char *reason, const char *message)
{
    waymark_task_outcome outcome = {
        .task_id = task->task->task_id,
        .instance_id = task->task->instance_id,
        .name = task->task->name,
        .code = code,
        .reason = reason,
        .message = message,
    };

    if (worker->options.settled != NULL)
        worker->options.settled(worker->options.ctx, &outcome);
}

static void ack_came(waymark_worker *worker, const task_ack *ack)
{
    waymark_task *task;

    pthread_mutex_lock(&worker->lock);
    task = find_task(worker->sent, ack->lease_token);
    if (task == NULL) {
        heartbeat_acked(worker, ack);
    } else if (is_temporary(ack->code)) {
        task->blamed = 0;
        task->again_us = wm_monotonic_us() + AGAIN_MS * 1000;
        task_move(task, TASK_TO_SEND);
        task = NULL;
    }
    pthread_mutex_unlock(&worker->lock);
    if (task == NULL)
        return;

    /* Only the stream's callbacks, all on this thread, end a sent task. */
    settle(worker, task, (waymark_code)ack->code, ack->reason, ack->message);
    pthread_mutex_lock(&worker->lock);
    task_free(task);
    pthread_cond_signal(&worker->clock_wakes);
    pthread_mutex_unlock(&worker->lock);
}

/* ---- the stream ---- */

static void task_came(waymark_worker *worker, const task_message *message)
{
    waymark_task *task = NULL;

    pthread_mutex_lock(&worker->lock);
    /* While stopping, what still comes is left to other workers: the stream's end returns it. */
    if (!worker->stopping) {
        task = task_new(worker, message);
        if (worker->n_threads > 0) {
            pthread_cond_signal(&worker->task_waits);
            task = NULL;
        }
    }
    pthread_mutex_unlock(&worker->lock);
    if (task != NULL)
        worker->options.handle(worker->options.ctx, task);
}

/* The first message, or the first sign of life, makes the stream count as open. */
static void report_open(waymark_worker *worker)
{
    bool report;

    pthread_mutex_lock(&worker->lock);
    report = !worker->was_reported;
    worker->was_reported = true;
    worker->backoff_ms = BACKOFF_MIN_MS;
    pthread_mutex_unlock(&worker->lock);
    if (report && worker->options.connected != NULL)
        worker->options.connected(worker->options.ctx, NULL);
}

static void on_message(void *ctx, waymark_stream *stream, const work_response *message)
{
    waymark_worker *worker = ctx;

    report_open(worker);
    for (size_t i = 0; i < message->n_acks; i++)
        ack_came(worker, message->acks[i]);
    for (size_t i = 0; i < message->n_tasks; i++)
        task_came(worker, message->tasks[i]);
    waymark_stream_read(stream);
}

static void on_writable(void *ctx, waymark_stream *stream)
{
    waymark_worker *worker = ctx;

    (void)stream;
    pthread_mutex_lock(&worker->lock);
    write_more(worker);
    pthread_mutex_unlock(&worker->lock);
}

/* Did the stream end over what we sent? A message that is too large has the server's reason, or the
 * core's code and none; other reasons and delays tell of a server that has too much to do. */
static bool blames_message(const waymark_status *status)
{
    if (status->code == WAYMARK_RESOURCE_EXHAUSTED)
        return status->retry_delay_ms < 0 && (strcmp(status->reason, "MESSAGE_TOO_LARGE") == 0 ||
                                              strcmp(status->reason, "") == 0);
    return status->code == WAYMARK_INVALID_ARGUMENT || status->code == WAYMARK_INTERNAL;
}

/* The fate of what was sent is unknown: ask again. Whom too many ends are blamed on stays. The lock
 * is held. */
static void put_back(waymark_worker *worker, const waymark_status *status)
{
    bool blame = blames_message(status);
    waymark_task *task, *next;

    DL_FOREACH_SAFE (worker->sent, task, next) {
        if (blame)
            task->blamed++;
        if (task->blamed < BLAMED_MAX)
            task_move(task, TASK_TO_SEND);
    }
}

/* Those that put_back() has left; nothing is sent meanwhile. */
static void give_up(waymark_worker *worker, const waymark_status *status)
{
    waymark_task *task;

    pthread_mutex_lock(&worker->lock);
    while ((task = worker->sent) != NULL) {
        pthread_mutex_unlock(&worker->lock);
        settle(worker, task, status->code, status->reason, status->message);
        pthread_mutex_lock(&worker->lock);
        task_free(task);
    }
    pthread_mutex_unlock(&worker->lock);
}

static void on_ended(void *ctx, waymark_stream *stream, const waymark_status *status)
{
    waymark_worker *worker = ctx;
    int64_t now_us = wm_monotonic_us();
    bool report;

    (void)stream;
    pthread_mutex_lock(&worker->lock);
    worker->closing = true;
    put_back(worker, status);
    if (now_us - worker->open_us > STEADY_MS * INT64_C(1000))
        worker->backoff_ms = BACKOFF_MIN_MS;
    worker->open_us =
        now_us + (int64_t)(worker->backoff_ms + wm_random_below(worker->backoff_ms)) * 1000;
    worker->backoff_ms *= 2;
    if (worker->backoff_ms > BACKOFF_MAX_MS)
        worker->backoff_ms = BACKOFF_MAX_MS;
    report = !worker->stopping;
    pthread_mutex_unlock(&worker->lock);

    give_up(worker, status);
    if (report && worker->options.connected != NULL)
        worker->options.connected(worker->options.ctx, status);
    pthread_mutex_lock(&worker->lock);
    worker->was_reported = false;
    worker->stream_over = true; /* last: a worker that stops may be gone after this */
    pthread_cond_signal(&worker->clock_wakes);
    pthread_mutex_unlock(&worker->lock);
}

static const waymark_workflow_v1_task_service_work_tasks_callbacks callbacks = {
    .message = on_message,
    .writable = on_writable,
    .ended = on_ended,
};

/* The lock is held, but not while the stream is opened: the user's interceptors and fetch() run in
 * there. The stream may be over when it is back. The clock thread. */
static void open_stream(waymark_worker *worker)
{
    waymark_stream *stream;

    worker->stream_over = worker->open_sent = worker->closing = false;
    worker->open_us = wm_monotonic_us();
    pthread_mutex_unlock(&worker->lock);
    stream =
        waymark_workflow_v1_task_service_work_tasks_open(worker->client, NULL, &callbacks, worker);
    pthread_mutex_lock(&worker->lock);
    worker->stream = stream;
    waymark_stream_read(worker->stream);
    write_more(worker);
}

/* ---- the clock ---- */

static void due_heartbeats(waymark_worker *worker, waymark_task *tasks, int64_t now_us)
{
    waymark_task *task;

    DL_FOREACH (tasks, task) {
        if (task->heartbeat_us > now_us || task->lost)
            continue;
        task->heartbeat_due = worker->heartbeats_due = true;
        task->heartbeat_us = now_us + task->heartbeat_every_us;
    }
}

/* The lock is held. True: the worker may go. */
static bool tick(waymark_worker *worker)
{
    int64_t now_us = wm_monotonic_us();
    bool answered = worker->n_unanswered == 0, open = worker->stream != NULL;

    if (open && worker->stream_over) {
        waymark_stream_free(worker->stream);
        worker->stream = NULL;
        open = false;
    }
    if (worker->stopping && answered && worker->stop_us == 0)
        worker->stop_us = now_us; /* no grace was given */
    if (worker->stopping && answered && (now_us >= worker->stop_us || worker->to_send == NULL)) {
        if (!open)
            return true;
        if (now_us >= worker->stop_us)
            waymark_stream_cancel(worker->stream);
    }
    if (!open && now_us >= worker->open_us)
        open_stream(worker);
    due_heartbeats(worker, worker->in_work, now_us);
    due_heartbeats(worker, worker->waiting, now_us);
    write_more(worker);
    return false;
}

static void *clock_thread(void *arg)
{
    waymark_worker *worker = arg;

    pthread_mutex_lock(&worker->lock);
    while (!tick(worker)) {
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += CLOCK_TICK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&worker->clock_wakes, &worker->lock, &until);
    }
    worker->stopped = true;
    pthread_cond_broadcast(&worker->task_waits);
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

/* ---- threads that may block ---- */

static void *handler_thread(void *arg)
{
    waymark_worker *worker = arg;

    pthread_mutex_lock(&worker->lock);
    for (;;) {
        waymark_task *task = worker->waiting;

        if (task == NULL) {
            if (worker->stopped)
                break;
            pthread_cond_wait(&worker->task_waits, &worker->lock);
            continue;
        }
        task_move(task, TASK_IN_WORK);
        pthread_mutex_unlock(&worker->lock);
        worker->options.handle(worker->options.ctx, task);
        pthread_mutex_lock(&worker->lock);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

/* ---- starting and stopping ---- */

static void copy_options(waymark_worker *worker, const waymark_worker_options *options)
{
    waymark_worker_options *copy = &worker->options;
    char **queues = WM_NEW_ARRAY(&worker->arena, char *, options->n_queues + 1);
    char host[64] = "";

    *copy = *options;
    copy->namespace_id =
        wm_arena_strdup(&worker->arena, options->namespace_id != NULL ? options->namespace_id : "");
    for (size_t i = 0; i < options->n_queues; i++)
        queues[i] = wm_arena_strdup(&worker->arena, options->queues[i]);
    copy->queues = (const char *const *)queues;
    if (options->name != NULL) {
        copy->name = wm_arena_strdup(&worker->arena, options->name);
    } else {
        gethostname(host, sizeof(host) - 1);
        copy->name = wm_arena_printf(&worker->arena, "%s-%d", host, (int)getpid());
    }
    worker->concurrency = options->concurrency == 0                ? CONCURRENCY_DEFAULT
                          : options->concurrency > CONCURRENCY_MAX ? CONCURRENCY_MAX
                                                                   : options->concurrency;
}

static void worker_free(waymark_worker *worker)
{
    waymark_task *task, *next;

    for (unsigned i = 0; i < worker->n_threads; i++)
        pthread_join(worker->threads[i], NULL);
    free(worker->threads);
    DL_FOREACH_SAFE (worker->to_send, task, next)
        task_free(task); /* answers whose fate nobody waited for */
    pthread_cond_destroy(&worker->clock_wakes);
    pthread_cond_destroy(&worker->task_waits);
    pthread_mutex_destroy(&worker->lock);
    wm_arena_free(&worker->arena);
    free(worker);
}

static void init_conditions(waymark_worker *worker)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->clock_wakes, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&worker->task_waits, NULL);
    pthread_mutex_init(&worker->lock, NULL);
}

/* A client that is older than this process has no threads to call back on. */
static bool is_forked(waymark_client *client)
{
    return waymark_client_state(client, false) == WAYMARK_STATE_SHUTDOWN;
}

waymark_worker *waymark_worker_start(waymark_client *client, const waymark_worker_options *options)
{
    waymark_worker *worker = is_forked(client) ? NULL : malloc(sizeof(*worker));

    assert(options->handle != NULL && "a worker handles tasks");
    if (worker == NULL)
        return NULL;
    memset(worker, 0, sizeof(*worker));
    wm_arena_init(&worker->arena, 0);
    worker->client = client;
    worker->backoff_ms = BACKOFF_MIN_MS;
    copy_options(worker, options);
    init_conditions(worker);

    worker->threads = calloc(options->threads + 1, sizeof(worker->threads[0]));
    while (worker->threads != NULL && worker->n_threads < options->threads &&
           pthread_create(&worker->threads[worker->n_threads], NULL, handler_thread, worker) == 0)
        worker->n_threads++;
    if (worker->threads == NULL || worker->n_threads < options->threads ||
        pthread_create(&worker->clock, NULL, clock_thread, worker) != 0) {
        pthread_mutex_lock(&worker->lock);
        worker->stopped = true;
        pthread_cond_broadcast(&worker->task_waits);
        pthread_mutex_unlock(&worker->lock);
        worker_free(worker);
        return NULL;
    }
    return worker;
}

void waymark_worker_stop(waymark_worker *worker, int64_t grace_ms)
{
    if (worker == NULL || is_forked(worker->client))
        return;
    pthread_mutex_lock(&worker->lock);
    worker->stopping = true;
    if (grace_ms > GRACE_MAX_MS)
        grace_ms = GRACE_MAX_MS;
    worker->stop_us = grace_ms > 0 ? wm_monotonic_us() + grace_ms * 1000 : 0;
    pthread_cond_signal(&worker->clock_wakes);
    pthread_mutex_unlock(&worker->lock);

    pthread_join(worker->clock, NULL);
    worker_free(worker);
}

/* ---- what handlers do ---- */

const Waymark__Workflow__V1__Task *waymark_task_get(const waymark_task *task)
{
    return task->task;
}

bool waymark_task_is_cancelled(waymark_task *task)
{
    bool cancelled;

    pthread_mutex_lock(&task->worker->lock);
    cancelled = task->lost || task->worker->stopping;
    pthread_mutex_unlock(&task->worker->lock);
    return cancelled;
}

/* The task may be gone after this. */
static void answered(waymark_task *task)
{
    waymark_worker *worker = task->worker;

    pthread_mutex_lock(&worker->lock);
    assert(task->state == TASK_IN_WORK && "a task is answered once");
    worker->n_unanswered--;
    task_move(task, TASK_TO_SEND);
    write_more(worker);
    if (worker->stopping)
        pthread_cond_signal(&worker->clock_wakes);
    pthread_mutex_unlock(&worker->lock);
}

/* Would the server read it? A message that it cannot read ends the stream, and nobody hears whose
 * fault it was. */
static wm_code check_result(waymark_task *task, wm_err *err)
{
    work_request request = WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__INIT;
    uint8_t *bytes;
    size_t size;

    task->result.add_credit = true;
    request.kind_case = WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_RESULT;
    request.result = &task->result;
    size = protobuf_c_message_get_packed_size(&request.base);
    if (size > WM_WIRE_SIZE_MAX)
        return wm_fail(err, WM_INVALID, "MESSAGE_TOO_LARGE", "it has %zu bytes", size);
    bytes = wm_arena_alloc(&task->arena, size);
    protobuf_c_message_pack(&request.base, bytes);
    return wm_codec_check(request.base.descriptor, bytes, size, err);
}

static bool copy_result(waymark_task *task, const Google__Protobuf__Struct *result, wm_err *err)
{
    task->result.result = (Google__Protobuf__Struct *)(uintptr_t)result;
    if (check_result(task, err) != WM_OK)
        return false;
    task->result.result =
        (Google__Protobuf__Struct *)(void *)copy_message(&task->arena, &result->base);
    if (task->result.result == NULL)
        wm_fail(err, WM_INVALID, "MESSAGE_TOO_LARGE", "it takes too much memory");
    return task->result.result != NULL;
}

void waymark_task_complete(waymark_task *task, const Google__Protobuf__Struct *result)
{
    wm_err err;

    waymark__workflow__v1__task_result__init(&task->result);
    task->result.lease_token = task->task->lease_token;
    if (result != NULL && !copy_result(task, result, &err)) {
        waymark_task_fail(
            task, wm_arena_printf(&task->arena, "the result cannot be sent: %s", err.message), true,
            -1);
        return;
    }
    answered(task);
}

/* How many bytes the character at `at` has; 0: it is none. */
static size_t character_size(const char *at, size_t left)
{
    for (size_t size = 1; size <= 4 && size <= left; size++)
        if (wm_utf8_check(at, size) == WM_UTF8_OK)
            return size;
    return 0;
}

/* As much as the contract takes, in whole characters; '?' for bytes that are none. */
static char *failure_text(wm_arena *arena, const char *message)
{
    size_t len = strnlen(message, FAILURE_MESSAGE_MAX + 3), at = 0; /* a character's rest */
    char *text = wm_arena_strndup(arena, message, len);

    while (at < len) {
        size_t size = character_size(text + at, len - at);

        if (size == 0) {
            text[at] = '?';
            size = 1;
        }
        if (at + size > FAILURE_MESSAGE_MAX)
            break;
        at += size;
    }
    text[at] = '\0';
    return text;
}

void waymark_task_fail(waymark_task *task, const char *message, bool permanent,
                       int64_t retry_delay_ms)
{
    Google__Protobuf__Duration *delay;

    task->failed = true;
    waymark__workflow__v1__task_failure__init(&task->failure);
    task->failure.lease_token = task->task->lease_token;
    task->failure.message = failure_text(&task->arena, message);
    task->failure.permanent = permanent;
    if (retry_delay_ms >= 0) {
        delay = WM_NEW(&task->arena, Google__Protobuf__Duration);
        google__protobuf__duration__init(delay);
        delay->seconds = retry_delay_ms / 1000;
        delay->nanos = (int32_t)(retry_delay_ms % 1000) * 1000000;
        task->failure.retry_delay = delay;
    }
    answered(task);
}
