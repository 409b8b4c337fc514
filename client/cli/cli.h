/* client/cli/cli.h - what the commands of `waymark` share.
 *
 * A command is a function that takes its arguments and returns the exit code. It parses them with
 * args_parse() (args.h), which also knows the options that all commands have, and talks through
 * the SDK. Results go to standard output, everything else to standard error.
 *
 * Threads: the main thread, unless a command says otherwise.
 * Memory:  what a command makes lives in cli->arena, until the process ends.
 */
#ifndef WAYMARK_CLIENT_CLI_CLI_H
#define WAYMARK_CLIENT_CLI_CLI_H

#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/struct.pb-c.h>
#include <google/protobuf/timestamp.pb-c.h>
#include <waymark/waymark.h>

#include "base/arena.h"
#include "base/json.h"

enum { CLI_TIME_SIZE = 32 };

enum {
    CLI_OK = 0,
    CLI_REFUSED = 1, /* the server said no, or could not be reached */
    CLI_USAGE = 2    /* the command line, or a file that it names, is wrong */
};

typedef struct cli cli;

typedef struct cli_command {
    const char *name;                            /* "geo import" */
    const char *parameters;                      /* "FILE.csv" */
    const char *summary;                         /* one line */
    const char *more;                            /* further lines of its help, or NULL */
    int (*run)(cli *cli, int argc, char **argv); /* without the command's own name */
} cli_command;

struct cli {
    const cli_command *command;
    const char *address, *token, *token_file, *namespace_name, *tls_ca;
    bool json;
    bool expression; /* the command's parameter is one, and may begin with a minus */
    double timeout_s;
    waymark_client *client;
    wm_arena arena;
};

/* Tables of commands, one a file, each ending with an empty one. */
extern const cli_command cli_health_commands[];
extern const cli_command cli_token_commands[];
extern const cli_command cli_auth_commands[];
extern const cli_command cli_workflow_commands[];
extern const cli_command cli_worker_commands[];
extern const cli_command cli_geo_commands[];
extern const cli_command cli_import_commands[];
extern const cli_command cli_fence_commands[];
extern const cli_command cli_cel_commands[];
extern const cli_command cli_demo_commands[];

/* The client, made at the first call from the options and the environment. NULL after saying
 * why not; the command then returns CLI_USAGE. */
waymark_client *cli_client(cli *cli);

/* ---- saying no: each prints, and returns the exit code ---- */
int cli_usage(const cli *cli, const char *fmt, ...) WM_PRINTF(2, 3);
int cli_refused(const cli *cli, const waymark_status *status);
/* The same of a call's reply, which it frees. */
int cli_refused_reply(const cli *cli, waymark_reply *reply);
/* The same of an error that did not come as a status. `what`: "FILE.csv:17", or NULL. */
int cli_failed(const cli *cli, const char *what, const wm_err *err);

/* ---- input ---- */
/* The whole file, or standard input for "-", NUL-terminated; NULL after saying why not. */
char *cli_read_file(cli *cli, const char *path, size_t *size);
/* JSON text to a message; NULL after saying why not. `what` is the name in the complaint. */
ProtobufCMessage *cli_read_message(cli *cli, const char *what, const char *text, size_t len,
                                   const ProtobufCMessageDescriptor *descriptor);
/* An option's value, "{...}" or "@FILE", as a Struct; NULL after saying why not. */
Google__Protobuf__Struct *cli_read_struct(cli *cli, const char *option, const char *value);
/* RFC 3339; NULL after saying why not. */
Google__Protobuf__Timestamp *cli_read_time(cli *cli, const char *option, const char *text);
Google__Protobuf__Duration *cli_duration(cli *cli, double seconds);

/* The end of a page of a list: frees its reply, and returns the token of the next page, which
 * `token` points to in that reply; "" after the last. */
char *cli_page_token(cli *cli, const char *token, waymark_reply *reply);

/* ---- output ---- */
/* "" for NULL. */
void cli_time_text(const Google__Protobuf__Timestamp *time, char text[CLI_TIME_SIZE]);
const char *cli_time(cli *cli, const Google__Protobuf__Timestamp *time);
const char *cli_join(cli *cli, char *const *texts, size_t n, const char *separator);
/* A message as a line of JSON. */
void cli_print_message(const cli *cli, const ProtobufCMessage *message);
/* A message as JSON for people, indented. */
void cli_print_pretty(cli *cli, const ProtobufCMessage *message);
/* A message as JSON in the arena. */
const char *cli_message_text(cli *cli, const ProtobufCMessage *message);

#endif
