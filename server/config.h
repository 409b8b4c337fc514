/* server/config.h - what the operator says: flags, a file, the environment.
 *
 * Every option has one name. As a flag it is `--postgres TEXT`; in the file that
 * --config names, a line `postgres = TEXT`; in the environment WAYMARKD_POSTGRES (names
 * without the D are the client's). Flags win over the environment, which wins over the
 * file. An option that may be repeated adds up within one of them, and replaces what a
 * weaker one said.
 *
 * Threads: read once at start, then constant.
 * Memory:  texts live in the config's arena.
 */
#ifndef WAYMARK_SERVER_CONFIG_H
#define WAYMARK_SERVER_CONFIG_H

#include "base/arena.h"
#include "base/log.h"
#include "server/auth/auth.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CONFIG_LISTENERS_MAX = 8,
    CONFIG_ISSUERS_MAX = 16,
    CONFIG_ADMINS_MAX = 64,
    CONFIG_LANES_MAX = 64,
    CONFIG_OPTIONS_MAX = 64,
    CONFIG_FILE_SIZE_MAX = 256 * 1024
};

typedef enum config_command { CONFIG_SERVE, CONFIG_DEV, CONFIG_MIGRATE } config_command;

/* Where an option was set, weakest first. */
typedef enum config_source {
    CONFIG_UNSET,
    CONFIG_FILE,
    CONFIG_ENVIRONMENT,
    CONFIG_FLAGS
} config_source;

typedef struct config {
    config_command command;
    uint8_t set_by[CONFIG_OPTIONS_MAX]; /* config_source of each option */
    wm_arena arena;
    const char *listen[CONFIG_LISTENERS_MAX];
    size_t n_listen;
    const char *tls_cert, *tls_key, *tls_client_ca;
    const char *postgres;
    const char *redis; /* NULL: none */
    const char *redis_password;
    unsigned lanes;       /* 0: one per two cores */
    unsigned connections; /* to PostgreSQL, per lane */
    auth_issuer issuers[CONFIG_ISSUERS_MAX];
    size_t n_issuers;
    const char *admins[CONFIG_ADMINS_MAX];
    size_t n_admins;
    uint64_t drain_ms;
    size_t message_size_max, calls_max;
    wm_log_level log_level;
    /* Dev mode only. */
    const char *state_dir;
    const char *join_dir;
    const char *issuer_listen; /* NULL: 127.0.0.1, 1000 above the first listener */
    bool fresh;
} config;

void config_init(config *config, config_command command);
void config_free(config *config);

/* Reads flags (after the command), the environment and the file, then checks that
 * all fits together. WM_INVALID says which option and why. */
WM_MUST_USE wm_code config_read(config *config, int argc, char **argv, wm_err *err);

/* Prints the options of the command, one a line. */
void config_print_help(config_command command);

#ifdef __cplusplus
}
#endif
#endif
