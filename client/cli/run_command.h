/* client/cli/run_command.h - runs a shell command with input, and takes what it prints.
 *
 * Threads: any number at once.
 */
#ifndef WAYMARK_CLIENT_CLI_RUN_COMMAND_H
#define WAYMARK_CLIENT_CLI_RUN_COMMAND_H

#include "base/buf.h"

typedef struct run_command {
    const char *command; /* for /bin/sh -c */
    const char *input;   /* its standard input */
    size_t input_size;
    char *const *environment;     /* NULL at the end */
    bool (*cancelled)(void *ctx); /* asked four times a second; true ends the command */
    void *ctx;
    /* What came out. `errors` keeps the last lines only. */
    wm_buf output, errors;
    int exit_code; /* 128 + N when signal N ended it */
    bool was_cancelled;
} run_command;

enum { RUN_OUTPUT_MAX = 1024 * 1024, RUN_ERRORS_MAX = 2048 };

/* Runs it to its end. False when it could not be started; then errno says why. The buffers are to
 * be freed with run_command_free() in any case. */
WM_MUST_USE bool run_command_do(run_command *run);
void run_command_free(run_command *run);

#endif
