/* client/cli/worker.c - `waymark worker run`: does tasks by a shell command.
 *
 * Each task runs the command once, on a thread of the worker:
 *
 * - standard input: the task as JSON, {"taskId": ..., "name": ..., "input": {...}, ...}
 * - environment: WAYMARK_TASK_ID, _NAME, _QUEUE, _ATTEMPT, _FENCING, WAYMARK_INSTANCE_ID and
 *   WAYMARK_ENTITY_ID
 * - exit code 0: done; standard output is the result: a JSON object, or other text as
 *   {"output": text}
 * - exit code 100: failed, and trying again is of no use
 * - any other: failed; standard error's last lines are the message
 *
 * The command is ended when the lease is lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <waymark/worker.h>

#include "client/cli/args.h"
#include "client/cli/cli.h"
#include "client/cli/run_command.h"

extern char **environ;

enum { WORKER_PERMANENT = 100, WORKER_CONCURRENCY_MAX = 256, WORKER_VARIABLES = 7 };

/* How long a stopping worker waits for the server's word on its last answers. */
enum { WORKER_GRACE_MS = 5000 };

typedef struct worker_run {
    const cli *cli;
    const char *command;
    int64_t count; /* tasks after which it ends; 0: never */
    int64_t settled;
} worker_run;

/* ---- one task ---- */

/* The environment and, in front, what tells of the task. */
static char **worker_environment(wm_arena *arena, const Waymark__Workflow__V1__Task *task)
{
    size_t n = 0, k = 0;
    char **all;

    while (environ[n] != NULL)
        n++;
    all = WM_NEW_ARRAY(arena, char *, n + WORKER_VARIABLES + 1);
    all[k++] = wm_arena_printf(arena, "WAYMARK_TASK_ID=%s", task->task_id);
    all[k++] = wm_arena_printf(arena, "WAYMARK_TASK_NAME=%s", task->name);
    all[k++] = wm_arena_printf(arena, "WAYMARK_TASK_QUEUE=%s", task->queue);
    all[k++] = wm_arena_printf(arena, "WAYMARK_TASK_ATTEMPT=%" PRId32, task->attempt);
    all[k++] = wm_arena_printf(arena, "WAYMARK_TASK_FENCING=%" PRId64, task->fencing_number);
    all[k++] = wm_arena_printf(arena, "WAYMARK_INSTANCE_ID=%s", task->instance_id);
    all[k++] = wm_arena_printf(arena, "WAYMARK_ENTITY_ID=%s", task->entity_id);
    memcpy(all + k, environ, n * sizeof(*all));
    return all;
}

/* What the command printed: an object as it is, other text as {"output": text}, nothing as {}. */
static Google__Protobuf__Struct *worker_result(wm_arena *arena, const wm_buf *output)
{
    ProtobufCMessage *message;
    size_t len = output->size;
    wm_json *json;
    wm_buf wrapped;
    wm_err err;
    bool ok;

    while (len > 0 && (output->data[len - 1] == '\n' || output->data[len - 1] == '\r'))
        len--;
    if (len == 0)
        return NULL;
    if (wm_json_parse(arena, output->data, len, &json, &err) != WM_OK ||
        json->kind != WM_JSON_OBJECT) {
        wm_buf_init(&wrapped, 8 * RUN_OUTPUT_MAX);
        wm_buf_text(&wrapped, "{\"output\":");
        wm_json_write_string(&wrapped, output->data, len);
        wm_buf_char(&wrapped, '}');
        ok = wm_json_parse(arena, wrapped.data, wrapped.size, &json, &err) == WM_OK;
        wm_buf_free(&wrapped);
        if (!ok) /* not UTF-8 */
            return NULL;
    }
    if (wm_json_to_message(arena, json, &google__protobuf__struct__descriptor, &message, &err) !=
        WM_OK)
        return NULL;
    return (Google__Protobuf__Struct *)(void *)message;
}

/* What the command said on standard error; a NUL does not end it. */
static const char *worker_reason(wm_arena *arena, const wm_buf *errors)
{
    size_t len = errors->size;
    char *why;

    if (len == 0)
        return "no message";
    while (len > 0 && errors->data[len - 1] == '\n')
        len--;
    why = wm_arena_strndup(arena, errors->data, len);
    for (size_t i = 0; i < len; i++)
        if (why[i] == '\0')
            why[i] = '?';
    return why;
}

static void worker_answer(waymark_task *task, wm_arena *arena, const run_command *done)
{
    if (done->was_cancelled)
        waymark_task_fail(task, "the worker was stopped", false, -1);
    else if (done->exit_code == 0)
        waymark_task_complete(task, worker_result(arena, &done->output));
    else
        waymark_task_fail(task,
                          wm_arena_printf(arena, "exit code %d: %s", done->exit_code,
                                          worker_reason(arena, &done->errors)),
                          done->exit_code == WORKER_PERMANENT, -1);
}

static bool worker_cancelled(void *task)
{
    return waymark_task_is_cancelled(task);
}

static void worker_handle(void *ctx, waymark_task *task)
{
    const worker_run *worker = ctx;
    const Waymark__Workflow__V1__Task *about = waymark_task_get(task);
    run_command command = {.command = worker->command, .cancelled = worker_cancelled, .ctx = task};
    wm_arena arena;
    wm_buf input;

    wm_arena_init(&arena, 0);
    wm_buf_init(&input, 16 * RUN_OUTPUT_MAX);
    wm_json_from_message(&input, &about->base);
    wm_buf_char(&input, '\n');
    command.input = input.data;
    command.input_size = input.size;
    command.environment = worker_environment(&arena, about);
    if (run_command_do(&command))
        worker_answer(task, &arena, &command);
    else
        waymark_task_fail(task, wm_arena_printf(&arena, "cannot run sh: %s", strerror(errno)),
                          false, -1);
    run_command_free(&command);
    wm_buf_free(&input);
    wm_arena_free(&arena);
}

/* ---- what is seen of it ---- */

static void worker_print_json(const waymark_task_outcome *outcome)
{
    const struct {
        const char *name, *value;
    } members[] = {{"task", outcome->task_id},
                   {"instance", outcome->instance_id},
                   {"name", outcome->name},
                   {"code", waymark_code_name(outcome->code)},
                   {"reason", outcome->reason}};
    wm_buf line;

    wm_buf_init(&line, 16 * 1024);
    for (size_t i = 0; i < WM_ARRAY_LEN(members); i++) {
        wm_buf_text(&line, i == 0 ? "{" : ",");
        wm_json_write_string(&line, members[i].name, strlen(members[i].name));
        wm_buf_char(&line, ':');
        wm_json_write_string(&line, members[i].value, strlen(members[i].value));
    }
    wm_buf_text(&line, "}\n");
    fputs(line.data, stdout);
    wm_buf_free(&line);
}

static void worker_settled(void *ctx, const waymark_task_outcome *outcome)
{
    worker_run *worker = ctx;

    if (worker->cli->json)
        worker_print_json(outcome);
    else if (outcome->code == WAYMARK_OK)
        printf("%s of %s\n", outcome->name, outcome->instance_id);
    else
        printf("%s of %s did not count: %s\n", outcome->name, outcome->instance_id,
               outcome->message);
    fflush(stdout);
    if (++worker->settled == worker->count)
        kill(getpid(), SIGTERM); /* as main waits for signals */
}

static void worker_connected(void *ctx, const waymark_status *status)
{
    const worker_run *worker = ctx;

    if (status != NULL)
        cli_refused(worker->cli, status);
    else
        fprintf(stderr, "waymark: waiting for tasks\n");
}

/* ---- the command ---- */

static int worker_wait(cli *cli, waymark_worker_options *options)
{
    waymark_worker *worker;
    sigset_t stop;
    int number;

    /* Before the first thread is made, so that all of them leave these signals to this one. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    sigprocmask(SIG_BLOCK, &stop, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (cli_client(cli) == NULL)
        return CLI_USAGE;
    worker = waymark_worker_start(cli->client, options);
    if (worker == NULL) {
        fprintf(stderr, "waymark: cannot start threads\n");
        return CLI_REFUSED;
    }
    sigwait(&stop, &number);
    waymark_worker_stop(worker, WORKER_GRACE_MS);
    return CLI_OK;
}

static int worker_run_run(cli *cli, int argc, char **argv)
{
    static worker_run worker;
    args_list queues = {.n = 0};
    int64_t concurrency = 4;
    const char *name = NULL;
    const args_option known[] = {
        {"--exec", ARGS_TEXT, &worker.command, "CMD", "what sh runs for each task (required)"},
        {"--queue", ARGS_LIST, &queues, "NAME", "a queue to serve; may be repeated (else default)"},
        {"--concurrency", ARGS_INT, &concurrency, "N", "commands at once (else 4)"},
        {"--count", ARGS_INT, &worker.count, "N", "end after so many answers (else never)"},
        {"--name", ARGS_TEXT, &name, "TEXT", "a name of this worker, for people"},
    };
    waymark_worker_options options = {.handle = worker_handle,
                                      .settled = worker_settled,
                                      .connected = worker_connected,
                                      .ctx = &worker};
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), NULL, 0, 0);

    if (code != ARGS_GO_ON)
        return code;
    if (worker.command == NULL)
        return cli_usage(cli, "needs --exec CMD");
    if (concurrency < 1 || concurrency > WORKER_CONCURRENCY_MAX)
        return cli_usage(cli, "--concurrency is 1 to %d", WORKER_CONCURRENCY_MAX);
    worker.cli = cli;
    if (*cli->namespace_name != '\0')
        options.namespace_id = cli->namespace_name;
    options.queues = queues.items;
    options.n_queues = queues.n;
    options.name = name;
    options.concurrency = options.threads = (unsigned)concurrency;
    return worker_wait(cli, &options);
}

const cli_command cli_worker_commands[] = {
    {"worker run", "--exec CMD", "Does tasks: runs a command for each.",
     "The command gets the task as JSON on its standard input, and WAYMARK_TASK_ID, WAYMARK_TASK_NAME,\n"
     "WAYMARK_TASK_QUEUE, WAYMARK_TASK_ATTEMPT, WAYMARK_TASK_FENCING, WAYMARK_INSTANCE_ID,\n"
     "WAYMARK_ENTITY_ID in its environment. Exit code 0: done, what it printed is the\n"
     "result; 100: failed for good; any other: failed, try again.",
     worker_run_run},
    {0},
};
