/* client/cli/args.c - reads the options and parameters of a command; see args.h. */
#include "client/cli/args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GLOBALS_N = 7 };

static void args_globals(cli *cli, args_option options[GLOBALS_N])
{
    const args_option globals[GLOBALS_N] = {
        {"--address", ARGS_TEXT, &cli->address, "HOST:PORT",
         "the server (WAYMARK_ADDRESS; else 127.0.0.1:7654)"},
        {"--token", ARGS_TEXT, &cli->token, "TOKEN", "the access token (WAYMARK_TOKEN)"},
        {"--token-file", ARGS_TEXT, &cli->token_file, "FILE",
         "a file that holds it (WAYMARK_TOKEN_FILE)"},
        {"--namespace", ARGS_TEXT, &cli->namespace_name, "NAME", "the namespace (else default)"},
        {"--tls-ca", ARGS_TEXT, &cli->tls_ca, "FILE",
         "use TLS and trust these authorities (WAYMARK_CA_FILE)"},
        {"--timeout", ARGS_SECONDS, &cli->timeout_s, "TIME", "how long a call may take (else 30s)"},
        {"--json", ARGS_FLAG, &cli->json, NULL, "print JSON, one object a line"},
    };

    memcpy(options, globals, sizeof(globals));
}

static bool args_read_seconds(const char *text, double *seconds)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"", 1}, {"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    char *end;

    errno = 0;
    *seconds = strtod(text, &end);
    if (end == text || errno != 0 || !isfinite(*seconds) || *seconds < 0)
        return false;
    for (size_t i = 0; i < WM_ARRAY_LEN(units); i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *seconds *= units[i].seconds;
            return true;
        }
    }
    return false;
}

static bool args_read_int(const char *text, int64_t *number)
{
    char *end;

    errno = 0;
    *number = strtoll(text, &end, 10);
    return end != text && *end == '\0' && errno == 0 && *number >= 0;
}

static bool args_read_real(const char *text, double *number)
{
    char *end;

    errno = 0;
    *number = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0 && isfinite(*number);
}

static int args_set(const cli *cli, const args_option *option, const char *value)
{
    args_list *list;

    switch (option->kind) {
    case ARGS_FLAG:
        *(bool *)option->to = true;
        return ARGS_GO_ON;
    case ARGS_TEXT:
        *(const char **)option->to = value;
        return ARGS_GO_ON;
    case ARGS_INT:
        if (args_read_int(value, option->to))
            return ARGS_GO_ON;
        return cli_usage(cli, "%s takes a whole number, not \"%s\"", option->name, value);
    case ARGS_REAL:
        if (args_read_real(value, option->to))
            return ARGS_GO_ON;
        return cli_usage(cli, "%s takes a number, not \"%s\"", option->name, value);
    case ARGS_SECONDS:
        if (args_read_seconds(value, option->to))
            return ARGS_GO_ON;
        return cli_usage(cli, "%s takes a time like 90, 1.5s, 2m or 1h, not \"%s\"", option->name,
                         value);
    case ARGS_LIST:
        break;
    }
    list = option->to;
    if (list->n == ARGS_LIST_MAX)
        return cli_usage(cli, "%s may be given %d times at most", option->name, ARGS_LIST_MAX);
    list->items[list->n++] = value;
    return ARGS_GO_ON;
}

/* Takes argv[*i] when it is one of the options: ARGS_GO_ON. CLI_OK: it is none of them. */
static int args_take(const cli *cli, int argc, char **argv, int *i, const args_option *options,
                     size_t n)
{
    const char *word = argv[*i], *equals = strchr(word, '=');
    size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);

    for (size_t k = 0; k < n; k++) {
        const args_option *option = &options[k];

        if (strncmp(option->name, word, len) != 0 || option->name[len] != '\0')
            continue;
        if (option->kind == ARGS_FLAG)
            return equals == NULL ? args_set(cli, option, NULL)
                                  : cli_usage(cli, "%s takes no value", option->name);
        if (equals != NULL)
            return args_set(cli, option, equals + 1);
        if (*i + 1 >= argc)
            return cli_usage(cli, "%s needs a value", option->name);
        return args_set(cli, option, argv[++*i]);
    }
    return CLI_OK;
}

int args_take_global(cli *cli, int argc, char **argv, int *i)
{
    args_option globals[GLOBALS_N];

    args_globals(cli, globals);
    return args_take(cli, argc, argv, i, globals, GLOBALS_N);
}

static void args_print_options(const args_option *options, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char left[64];

        snprintf(left, sizeof(left), "%s%s%s", options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "");
        printf("  %-24s %s\n", left, options[i].help);
    }
}

void args_print_globals(void)
{
    cli nobody = {0};
    args_option globals[GLOBALS_N];

    args_globals(&nobody, globals);
    args_print_options(globals, GLOBALS_N);
}

static void args_print_help(const cli *cli, const args_option *options, size_t n)
{
    const cli_command *command = cli->command;

    printf("waymark %s%s%s\n\n%s\n", command->name, *command->parameters ? " " : "",
           command->parameters, command->summary);
    if (command->more != NULL)
        printf("%s\n", command->more);
    if (n > 0) {
        printf("\nOptions:\n");
        args_print_options(options, n);
    }
    printf("\nOptions of all commands:\n");
    args_print_globals();
}

static bool args_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A word that is to be an option: not "-" alone, and not a negative number or expression. */
static bool args_is_option(const cli *cli, const char *word)
{
    if (cli->expression)
        return strcmp(word, "-h") == 0 || (strncmp(word, "--", 2) == 0 && args_is_letter(word[2]));
    return word[0] == '-' && word[1] != '\0' && !(word[1] >= '0' && word[1] <= '9') &&
           word[1] != '.';
}

static int args_take_option(cli *cli, int argc, char **argv, int *i, const args_option *options,
                            size_t n)
{
    int code;

    if (strcmp(argv[*i], "--help") == 0 || strcmp(argv[*i], "-h") == 0) {
        args_print_help(cli, options, n);
        return CLI_OK;
    }
    code = args_take(cli, argc, argv, i, options, n);
    if (code == CLI_OK)
        code = args_take_global(cli, argc, argv, i);
    if (code == CLI_OK)
        code = cli_usage(cli, "unknown option %s%s", argv[*i],
                         cli->expression ? "; put -- before an expression that begins so" : "");
    return code;
}

int args_parse(cli *cli, int argc, char **argv, const args_option *options, size_t n_options,
               const char **parameters, size_t min, size_t max)
{
    bool only_parameters = false;
    size_t n = 0;

    for (int i = 0; i < argc; i++) {
        if (!only_parameters && strcmp(argv[i], "--") == 0) {
            only_parameters = true;
        } else if (!only_parameters && args_is_option(cli, argv[i])) {
            int code = args_take_option(cli, argc, argv, &i, options, n_options);

            if (code != ARGS_GO_ON)
                return code;
        } else if (n == max) {
            return cli_usage(cli, "\"%s\" is one parameter too many", argv[i]);
        } else {
            parameters[n++] = argv[i];
        }
    }
    if (n < min)
        return cli_usage(cli, "needs %s", cli->command->parameters);
    return ARGS_GO_ON;
}

int args_connect(cli *cli, int argc, char **argv, const args_option *options, size_t n_options,
                 const char **parameters, size_t min, size_t max)
{
    int code = args_parse(cli, argc, argv, options, n_options, parameters, min, max);

    return code == ARGS_GO_ON && cli_client(cli) == NULL ? CLI_USAGE : code;
}
