/* server/main.c - waymarkd: reads the command, runs it, waits for the signal to stop.
 *
 * Must not know the parts of the server; app.c does.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "server/app.h"
#include "server/config.h"
#include "server/dev/dev.h"
#include "server/signals.h"
#include "server/store/migrate.h"
#include "server/version.h"

static void print_usage(void)
{
    printf(
        "waymarkd %s - workflows, geo tracks and permissions for things that move\n"
        "\n"
        "  waymarkd serve    [OPTIONS]  serve, with PostgreSQL, Redis and OIDC issuers of yours\n"
        "  waymarkd dev      [OPTIONS]  serve with a private PostgreSQL, Redis and token issuer\n"
        "  waymarkd migrate  [OPTIONS]  bring the database to this release's schema and exit\n"
        "  waymarkd version             print the version\n"
        "\n"
        "waymarkd COMMAND --help lists the options. Each can also be set in the environment\n"
        "(--log-level is WAYMARKD_LOG_LEVEL) or in the file that --config names.\n",
        WAYMARK_VERSION);
}

static int complain(const wm_err *err)
{
    fprintf(stderr, "waymarkd: %s\n", err->message);
    return err->code == WM_INVALID ? 2 : 1;
}

static int serve(const config *config)
{
    wm_err err = {0};
    app *app = NULL;
    if (app_start(config, &app, &err) != WM_OK)
        return complain(&err);
    while (!signals_wait(60000))
        continue;
    signals_release();
    wm_log(WM_LOG_INFO, "stopping");
    app_stop(app);
    return 0;
}

static int migrate(const config *config)
{
    wm_err err = {0};
    if (store_migrate(config->postgres, &err) != WM_OK)
        return complain(&err);
    return 0;
}

static int run(config_command command, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            config_print_help(command);
            return 0;
        }
    }
    config config;
    wm_err err = {0};
    config_init(&config, command);
    int rc = 0;
    if (config_read(&config, argc, argv, &err) != WM_OK) {
        rc = complain(&err);
    } else {
        wm_log_set_level(config.log_level);
        switch (command) {
        case CONFIG_SERVE:
            rc = serve(&config);
            break;
        case CONFIG_MIGRATE:
            rc = migrate(&config);
            break;
        case CONFIG_DEV:
            if (dev_run(&config, &err) != WM_OK)
                rc = complain(&err);
            break;
        }
    }
    config_free(&config);
    return rc;
}

int main(int argc, char **argv)
{
    signals_block();
    const char *command = argc > 1 ? argv[1] : "";
    if (strcmp(command, "serve") == 0)
        return run(CONFIG_SERVE, argc - 2, argv + 2);
    if (strcmp(command, "dev") == 0)
        return run(CONFIG_DEV, argc - 2, argv + 2);
    if (strcmp(command, "migrate") == 0)
        return run(CONFIG_MIGRATE, argc - 2, argv + 2);
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
        printf("waymarkd %s\n", WAYMARK_VERSION);
        return 0;
    }
    print_usage();
    if (strcmp(command, "--help") == 0 || strcmp(command, "help") == 0)
        return 0;
    fprintf(stderr, "\nwaymarkd: no command \"%s\"\n", command);
    return 2;
}
