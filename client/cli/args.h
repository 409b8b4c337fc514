/* client/cli/args.h - reads the options and parameters of a command.
 *
 * Options may stand anywhere: "--limit 5", "--limit=5", "--json"; "--" ends them. Where an
 * expression is a parameter, what begins with a minus and is no --word is that.
 */
#ifndef WAYMARK_CLIENT_CLI_ARGS_H
#define WAYMARK_CLIENT_CLI_ARGS_H

#include "client/cli/cli.h"

typedef enum args_kind {
    ARGS_FLAG,    /* bool */
    ARGS_TEXT,    /* const char * */
    ARGS_INT,     /* int64_t, not negative */
    ARGS_REAL,    /* double */
    ARGS_SECONDS, /* double: "1.5", "90s", "2m", "1h", "7d" */
    ARGS_LIST     /* args_list: may be given several times */
} args_kind;

enum { ARGS_LIST_MAX = 64 };

typedef struct args_list {
    const char *items[ARGS_LIST_MAX];
    size_t n;
} args_list;

typedef struct args_option {
    const char *name; /* "--limit" */
    args_kind kind;
    void *to;          /* keeps its value when the option is not given */
    const char *value; /* "N"; NULL for a flag */
    const char *help;
} args_option;

enum { ARGS_GO_ON = -1 };

/* Fills the options and `min` to `max` parameters; those not given stay NULL. Returns ARGS_GO_ON,
 * or the exit code after having printed help or a complaint. */
int args_parse(cli *cli, int argc, char **argv, const args_option *options, size_t n_options,
               const char **parameters, size_t min, size_t max);

/* args_parse(), and then the client, for commands that have nothing more to check before they
 * call. Returns ARGS_GO_ON with cli->client set, or the exit code. */
int args_connect(cli *cli, int argc, char **argv, const args_option *options, size_t n_options,
                 const char **parameters, size_t min, size_t max);

/* Takes an option that all commands have from argv[*i]; then *i is its last word. Returns
 * ARGS_GO_ON, CLI_OK when it was no such option, or CLI_USAGE after a complaint. */
int args_take_global(cli *cli, int argc, char **argv, int *i);
void args_print_globals(void);

#endif
