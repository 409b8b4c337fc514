/* client/cli/main.c - `waymark`: finds the command and runs it.
 *
 * Exit codes: 0 done; 1 the server said no or could not be reached; 2 the command line is wrong.
 */
#include <stdio.h>
#include <string.h>

#include "client/cli/args.h"
#include "client/cli/cli.h"

static const cli_command *const tables[] = {
    cli_health_commands, cli_token_commands,  cli_auth_commands, cli_workflow_commands,
    cli_worker_commands, cli_import_commands, cli_geo_commands,  cli_fence_commands,
    cli_cel_commands,    cli_demo_commands,
};

static void print_help(void)
{
    puts("waymark COMMAND [OPTIONS] - positions, fences and workflows of a waymark server\n");
    for (size_t i = 0; i < WM_ARRAY_LEN(tables); i++) {
        for (const cli_command *command = tables[i]; command->name != NULL; command++) {
            char left[96];

            snprintf(left, sizeof(left), "%s %s", command->name, command->parameters);
            printf("  %-36s %s\n", left, command->summary);
        }
    }
    puts("\nwaymark COMMAND --help says more.  Options of all commands:");
    args_print_globals();
    puts("\nExit codes: 0 done, 1 the server said no or could not be reached, 2 wrong usage.");
}

/* How many words of argv are the command's name; 0 when it is another one. */
static int match(const cli_command *command, int argc, char **argv)
{
    char two[128];

    if (argc >= 1 && strcmp(command->name, argv[0]) == 0)
        return 1;
    if (argc < 2 || snprintf(two, sizeof(two), "%s %s", argv[0], argv[1]) >= (int)sizeof(two))
        return 0;
    return strcmp(command->name, two) == 0 ? 2 : 0;
}

static const cli_command *find(int argc, char **argv, int *words)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(tables); i++) {
        for (const cli_command *command = tables[i]; command->name != NULL; command++) {
            *words = match(command, argc, argv);
            if (*words > 0)
                return command;
        }
    }
    return NULL;
}

/* "geo" alone, or "geo nonsense": what there is of it. */
static int unknown(int argc, char **argv)
{
    size_t len = strlen(argv[0]);
    bool any = false;

    fprintf(stderr, "waymark: there is no command \"%s%s%s\"\n", argv[0], argc > 1 ? " " : "",
            argc > 1 ? argv[1] : "");
    for (size_t i = 0; i < WM_ARRAY_LEN(tables); i++) {
        for (const cli_command *command = tables[i]; command->name != NULL; command++) {
            if (strncmp(command->name, argv[0], len) != 0 || command->name[len] != ' ')
                continue;
            fprintf(stderr, "  waymark %s %s\n", command->name, command->parameters);
            any = true;
        }
    }
    if (!any)
        fprintf(stderr, "Try: waymark --help\n");
    return CLI_USAGE;
}

static int run(cli *cli, int argc, char **argv)
{
    int i = 1, words = 0;

    for (; i < argc && argv[i][0] == '-'; i++) {
        int code;

        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help();
            return CLI_OK;
        }
        code = args_take_global(cli, argc, argv, &i);
        if (code == CLI_OK)
            code = cli_usage(cli, "unknown option %s", argv[i]);
        if (code != ARGS_GO_ON)
            return code;
    }
    if (i == argc || strcmp(argv[i], "help") == 0) {
        print_help();
        return i == argc ? CLI_USAGE : CLI_OK;
    }
    cli->command = find(argc - i, argv + i, &words);
    if (cli->command == NULL)
        return unknown(argc - i, argv + i);
    return cli->command->run(cli, argc - i - words, argv + i + words);
}

int main(int argc, char **argv)
{
    static cli cli = {.namespace_name = ""};
    int code;

    wm_arena_init(&cli.arena, (size_t)4 * 1024 * 1024 * 1024);
    code = run(&cli, argc, argv);
    waymark_client_free(cli.client);
    wm_arena_free(&cli.arena);
    if (fflush(stdout) != 0 && code == CLI_OK) {
        perror("waymark: standard output");
        code = CLI_REFUSED;
    }
    return code;
}
