/* examples/worker.c - works on tasks of a queue until it has done COUNT of them.
 *
 *     ./worker inspections 10
 *
 * Handlers run on two threads, so they may block. A task whose name is "fail" fails once and is
 * tried again.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <waymark/waymark.h>
#include <waymark/worker.h>

typedef struct progress {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    long done, wanted;
} progress;

static void handle(void *ctx, waymark_task *task)
{
    const Waymark__Workflow__V1__Task *message = waymark_task_get(task);
    Google__Protobuf__Struct result = GOOGLE__PROTOBUF__STRUCT__INIT;
    Google__Protobuf__Struct__FieldsEntry field = GOOGLE__PROTOBUF__STRUCT__FIELDS_ENTRY__INIT;
    Google__Protobuf__Struct__FieldsEntry *fields[] = {&field};
    Google__Protobuf__Value value = GOOGLE__PROTOBUF__VALUE__INIT;

    (void)ctx;
    printf("%s of %s, attempt %d\n", message->name, message->instance_id, message->attempt);
    if (strcmp(message->name, "fail") == 0 && message->attempt == 1) {
        waymark_task_fail(task, "not this time", false, 100);
        return;
    }

    /* {"worker": "example"} becomes the data of the event done.task.<name>. */
    value.kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
    value.string_value = (char *)"example";
    field.key = (char *)"worker";
    field.value = &value;
    result.fields = fields;
    result.n_fields = 1;
    waymark_task_complete(task, &result);
}

static void settled(void *ctx, const waymark_task_outcome *outcome)
{
    progress *progress = ctx;

    if (outcome->code != WAYMARK_OK)
        fprintf(stderr, "%s did not count: %s\n", outcome->task_id, outcome->reason);
    pthread_mutex_lock(&progress->lock);
    progress->done++;
    pthread_cond_signal(&progress->changed);
    pthread_mutex_unlock(&progress->lock);
}

static void connected(void *ctx, const waymark_status *status)
{
    (void)ctx;
    if (status != NULL)
        fprintf(stderr, "the stream broke (%s), trying again\n", status->message);
}

int main(int argc, char **argv)
{
    progress progress = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    const char *queues[1];
    waymark_worker_options options = {.queues = queues,
                                      .n_queues = 1,
                                      .concurrency = 8,
                                      .threads = 2,
                                      .handle = handle,
                                      .settled = settled,
                                      .connected = connected,
                                      .ctx = &progress};
    waymark_problem problem;
    waymark_client *client;
    waymark_worker *worker;

    if (argc != 3) {
        fprintf(stderr, "usage: %s QUEUE COUNT\n", argv[0]);
        return 2;
    }
    queues[0] = argv[1];
    progress.wanted = atol(argv[2]);
    client = waymark_client_new(NULL, &problem);
    if (client == NULL) {
        fprintf(stderr, "%s\n", problem.message);
        return 1;
    }
    worker = waymark_worker_start(client, &options);
    if (worker == NULL)
        return 1;

    pthread_mutex_lock(&progress.lock);
    while (progress.done < progress.wanted)
        pthread_cond_wait(&progress.changed, &progress.lock);
    pthread_mutex_unlock(&progress.lock);
    waymark_worker_stop(worker, 5000);
    waymark_client_free(client);
    return 0;
}
