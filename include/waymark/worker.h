/* waymark/worker.h - works on tasks: takes them from queues, gives back what came of them.
 *
 * A worker keeps one TaskService.WorkTasks stream open, and opens it again with backoff whenever
 * it breaks. It asks for as many tasks as it may have at once, keeps their leases alive by
 * heartbeats, and repeats an answer until the server has said what became of it, or has ended three
 * streams over it. A task may come more than once (delivery is at least once), but only one answer
 * counts; pass the task's fencing_number on to systems that should refuse a worker that lost its
 * lease.
 *
 * Threads: every function may be called from any thread; waymark_worker_stop() not from a callback.
 * Memory:  options are copied. A task lives from handle() to its one answer; after that, or
 *          after the worker's stop, it is gone. The client must outlive the worker.
 * Fork:    a worker belongs to the process that started it. In the child of a fork
 *          waymark_worker_start() on an older client returns NULL, stopping an older worker does
 *          nothing, and nothing else may be done with it or its tasks.
 */
#ifndef WAYMARK_WORKER_H
#define WAYMARK_WORKER_H

#include <waymark/client.h>

#include "waymark/workflow/v1/task.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct waymark_worker waymark_worker;
typedef struct waymark_task waymark_task;

/* What became of an answer. */
typedef struct waymark_task_outcome {
    const char *task_id;
    const char *instance_id;
    const char *name;
    waymark_code code;  /* OK: it counted */
    const char *reason; /* TASK_LEASE_LOST, TASK_NOT_FOUND ... or "" */
    const char *message;
} waymark_task_outcome;

typedef struct waymark_worker_options {
    const char *namespace_id;  /* NULL: "default" */
    const char *const *queues; /* none: the queue "default" */
    size_t n_queues;
    const char *name;     /* for people; NULL: the host's name and the process's id */
    unsigned concurrency; /* tasks at once, at most 10,000; 0: 16 */
    /* On how many threads of the worker handle() runs, where it may block. 0: it runs on the
     * client's thread and must not block, but may answer later from any thread. */
    unsigned threads;
    /* Works on a task: exactly one waymark_task_complete() or waymark_task_fail(), now or later. */
    void (*handle)(void *ctx, waymark_task *task);
    /* An answer was accepted or refused, or given up, with the status of the stream that ended
     * over it. May be NULL. On the client's thread. */
    void (*settled)(void *ctx, const waymark_task_outcome *outcome);
    /* The server has answered on the stream (status NULL), or the stream broke and will be
     * opened again. May be NULL. On the client's thread. */
    void (*connected)(void *ctx, const waymark_status *status);
    void *ctx;
} waymark_worker_options;

/* Starts at once; a server that is not there yet is waited for. NULL: no memory, no thread, or a
 * client that is older than a fork. */
WAYMARK_MUST_USE waymark_worker *waymark_worker_start(waymark_client *client,
                                                      const waymark_worker_options *options);
/* Takes no more tasks, waits until all in work are answered and up to `grace_ms` for what became
 * of the answers, and frees. NULL is fine. */
void waymark_worker_stop(waymark_worker *worker, int64_t grace_ms);

/* The task, until its answer. */
const Waymark__Workflow__V1__Task *waymark_task_get(const waymark_task *task);
/* True when the answer will not count any more (the lease is lost) or the worker is stopping:
 * a good moment to give up. */
bool waymark_task_is_cancelled(waymark_task *task);

/* `result` becomes the data of the event done.task.<name>; NULL is an empty one. Copied. One that
 * no server can read (more than 4 MiB, too deep, a text that is not UTF-8) fails the task for good.
 */
void waymark_task_complete(waymark_task *task, const Google__Protobuf__Struct *result);
/* The attempt failed. Of `message` the first 4,096 bytes count, and '?' for each byte that is not
 * UTF-8. `permanent`: trying again is of no use. `retry_delay_ms` >= 0 overrides the chart's wait
 * before the next attempt. */
void waymark_task_fail(waymark_task *task, const char *message, bool permanent,
                       int64_t retry_delay_ms);

#ifdef __cplusplus
}
#endif
#endif
