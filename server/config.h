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
#include "server/gate/address.h"
#include "server/gate/limits.h"
#include "server/rpc/rpc.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CONFIG_LISTENERS_MAX = 8,
    CONFIG_ISSUERS_MAX = 16,
    CONFIG_ADMINS_MAX = 64,
    CONFIG_PROXIES_MAX = 32,
    CONFIG_LANES_MAX = 64,
    CONFIG_OPTIONS_MAX = 64,
    CONFIG_METHOD_LIMITS_MAX = 64,
    CONFIG_COMPRESSED_MAX = 64,
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

/* Whether the gate accepts in the core's place: `auto` means unless the address is loopback's or a
 * unix socket. */
typedef enum config_gate { CONFIG_GATE_AUTO, CONFIG_GATE_ALWAYS, CONFIG_GATE_NEVER } config_gate;

/* What a --listen says beyond its address. NULL and `has_gate` false: as the other options say. */
typedef struct config_listener {
    const char *tls_cert, *tls_key, *tls_client_ca;
    bool is_plaintext;
    bool has_gate;
    config_gate gate;
} config_listener;

typedef struct config {
    config_command command;
    uint8_t set_by[CONFIG_OPTIONS_MAX]; /* config_source of each option */
    wm_arena arena;
    const char *listen[CONFIG_LISTENERS_MAX];
    config_listener listeners[CONFIG_LISTENERS_MAX]; /* of listen[] */
    size_t n_listen;
    const char *tls_cert, *tls_key, *tls_client_ca;
    config_gate gate;
    unsigned gate_threads;
    gate_limits gate_limits;
    gate_cidr proxies[CONFIG_PROXIES_MAX];
    size_t n_proxies;
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
    size_t message_size_max, calls_max, open_calls_max;
    uint64_t answer_ms;
    int busy_poll_us; /* 0: never */
    rpc_limit method_limits[CONFIG_METHOD_LIMITS_MAX];
    size_t n_method_limits;
    const char *compressed[CONFIG_COMPRESSED_MAX]; /* methods whose replies are compressed */
    size_t n_compressed;
    bool takes_compressed;
    rpc_connection_config connection;
    const char *metrics_listen; /* NULL: nowhere */
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
