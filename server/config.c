/* server/config.c - one table of options; flags, environment and file are read through it.
 *
 * Must not open anything but the file that --config names and the password files.
 */
#include "server/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ON_SERVE = 1u << CONFIG_SERVE,
    ON_DEV = 1u << CONFIG_DEV,
    ON_MIGRATE = 1u << CONFIG_MIGRATE
};

typedef struct option option;
struct option {
    const char *name;
    const char *argument; /* NULL: a switch */
    unsigned commands;
    wm_code (*set)(config *config, const option *option, const char *value, wm_err *err);
    size_t offset; /* of the member that set_text ... write; of the count of a list */
    const char *help;
};

static wm_code refuse(const option *option, wm_err *err, const char *why)
{
    return wm_fail(err, WM_INVALID, "OPTION_INVALID", "--%s: %s", option->name, why);
}

static void *member(config *config, const option *option)
{
    return (char *)config + option->offset;
}

static wm_code set_text(config *config, const option *option, const char *value, wm_err *err)
{
    if (*value == '\0')
        return refuse(option, err, "is empty");
    *(const char **)member(config, option) = wm_arena_strdup(&config->arena, value);
    return WM_OK;
}

static wm_code parse_number(const option *option, const char *value, uint64_t *number, wm_err *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long long parsed = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end != '\0' || errno != 0)
        return refuse(option, err, "is not a whole number");
    *number = parsed;
    return WM_OK;
}

static wm_code set_unsigned(config *config, const option *option, const char *value, wm_err *err)
{
    uint64_t number = 0;
    if (parse_number(option, value, &number, err) != WM_OK)
        return WM_INVALID;
    if (number > CONFIG_LANES_MAX)
        return refuse(option, err, "is more than 64");
    *(unsigned *)member(config, option) = (unsigned)number;
    return WM_OK;
}

/* One is never enough: a batch that needs a partition for a new month makes it on another. */
static wm_code set_connections(config *config, const option *option, const char *value, wm_err *err)
{
    if (set_unsigned(config, option, value, err) != WM_OK)
        return WM_INVALID;
    if (config->connections == 1)
        return refuse(option, err, "is less than 2");
    return WM_OK;
}

static wm_code set_size(config *config, const option *option, const char *value, wm_err *err)
{
    uint64_t number = 0;
    if (parse_number(option, value, &number, err) != WM_OK)
        return WM_INVALID;
    *(uint64_t *)member(config, option) = number;
    return WM_OK;
}

static wm_code set_busy_poll(config *config, const option *option, const char *value, wm_err *err)
{
    uint64_t number = 0;
    if (parse_number(option, value, &number, err) != WM_OK)
        return WM_INVALID;
    if (number > RPC_BUSY_POLL_US_MAX)
        return refuse(option, err, "is more than 1000");
    *(int *)member(config, option) = (int)number;
    return WM_OK;
}

static wm_code set_switch(config *config, const option *option, const char *value, wm_err *err)
{
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return refuse(option, err, "is neither true nor false");
    *(bool *)member(config, option) = strcmp(value, "true") == 0;
    return WM_OK;
}

static wm_code set_level(config *config, const option *option, const char *value, wm_err *err)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (size_t i = 0; i < WM_ARRAY_LEN(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            config->log_level = (wm_log_level)i;
            return WM_OK;
        }
    }
    return refuse(option, err, "is not one of debug, info, warn, error");
}

static wm_code add_method_limit(config *config, const option *option, const char *value,
                                wm_err *err)
{
    char name[RPC_LIMIT_NAME_SIZE];
    rpc_limit *limit = &config->method_limits[config->n_method_limits];
    wm_err why = {0};
    if (config->n_method_limits == CONFIG_METHOD_LIMITS_MAX)
        return refuse(option, err, "more than 64 limits");
    if (rpc_limit_parse(value, limit, name, &why) != WM_OK)
        return refuse(option, err, why.message);
    limit->method = wm_arena_strdup(&config->arena, name);
    config->n_method_limits++;
    return WM_OK;
}

static wm_code add_compressed(config *config, const option *option, const char *value, wm_err *err)
{
    if (config->n_compressed == CONFIG_COMPRESSED_MAX)
        return refuse(option, err, "more than 64 names");
    if (*value == '\0')
        return refuse(option, err, "is empty");
    config->compressed[config->n_compressed++] = wm_arena_strdup(&config->arena, value);
    return WM_OK;
}

static wm_code set_connection(config *config, const option *option, const char *value, wm_err *err)
{
    wm_err why = {0};
    if (rpc_connection_set(&config->connection, value, &why) != WM_OK)
        return refuse(option, err, why.message);
    return WM_OK;
}

static wm_code parse_gate(const option *option, const char *value, config_gate *gate, wm_err *err)
{
    static const char *const names[] = {"auto", "always", "never"};
    for (size_t i = 0; i < WM_ARRAY_LEN(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *gate = (config_gate)i;
            return WM_OK;
        }
    }
    return refuse(option, err, "the gate is not one of auto, always, never");
}

static wm_code set_gate(config *config, const option *option, const char *value, wm_err *err)
{
    return parse_gate(option, value, &config->gate, err);
}

/* One of the settings that follow a listener's address: "cert=FILE", "plaintext". */
static wm_code set_of_listener(config_listener *listener, const option *option, char *setting,
                               wm_err *err)
{
    char *value = strchr(setting, '=');
    if (strcmp(setting, "plaintext") == 0) {
        listener->is_plaintext = true;
        return WM_OK;
    }
    if (value == NULL || value[1] == '\0')
        return refuse(option, err, "a setting after the address has no value");
    *value++ = '\0';
    if (strcmp(setting, "cert") == 0) {
        listener->tls_cert = value;
    } else if (strcmp(setting, "key") == 0) {
        listener->tls_key = value;
    } else if (strcmp(setting, "client-ca") == 0) {
        listener->tls_client_ca = value;
    } else if (strcmp(setting, "gate") == 0) {
        listener->has_gate = true;
        return parse_gate(option, value, &listener->gate, err);
    } else {
        return refuse(
            option, err,
            "a setting after the address is not cert=, key=, client-ca=, gate=, plaintext");
    }
    return WM_OK;
}

static wm_code add_listener(config *config, const option *option, const char *value, wm_err *err)
{
    if (config->n_listen == CONFIG_LISTENERS_MAX)
        return refuse(option, err, "more than 8 addresses");
    char *rest = wm_arena_strdup(&config->arena, value);
    char *address = strsep(&rest, ",");
    if (strchr(address, ':') == NULL)
        return refuse(option, err, "is neither HOST:PORT nor unix:PATH");
    config_listener listener = {0};
    for (char *setting; (setting = strsep(&rest, ",")) != NULL;) {
        wm_code code = set_of_listener(&listener, option, setting, err);
        if (code != WM_OK)
            return code;
    }
    config->listeners[config->n_listen] = listener;
    config->listen[config->n_listen++] = address;
    return WM_OK;
}

static wm_code add_proxy(config *config, const option *option, const char *value, wm_err *err)
{
    if (config->n_proxies == CONFIG_PROXIES_MAX)
        return refuse(option, err, "more than 32 blocks of addresses");
    if (gate_cidr_parse(value, &config->proxies[config->n_proxies], err) != WM_OK)
        return refuse(option, err, "is neither ADDRESS nor ADDRESS/BITS");
    config->n_proxies++;
    return WM_OK;
}

static wm_code set_gate_limit(config *config, const option *option, const char *value, wm_err *err)
{
    wm_err why = {0};
    if (gate_limits_set(&config->gate_limits, value, &why) != WM_OK)
        return refuse(option, err, why.message);
    return WM_OK;
}

static wm_code add_issuer(config *config, const option *option, const char *value, wm_err *err)
{
    if (config->n_issuers == CONFIG_ISSUERS_MAX)
        return refuse(option, err, "more than 16 issuers");
    config->issuers[config->n_issuers++] =
        (auth_issuer){.issuer = wm_arena_strdup(&config->arena, value)};
    return WM_OK;
}

/* The issuer that --issuer named last; the options after it are about it. */
static auth_issuer *last_issuer(config *config)
{
    return config->n_issuers == 0 ? NULL : &config->issuers[config->n_issuers - 1];
}

static wm_code set_of_issuer(config *config, const option *option, const char *value, wm_err *err)
{
    auth_issuer *issuer = last_issuer(config);
    if (issuer == NULL)
        return refuse(option, err, "comes before the --issuer that it is about");
    *(const char **)(void *)((char *)issuer + option->offset) =
        wm_arena_strdup(&config->arena, value);
    return WM_OK;
}

static wm_code add_admin(config *config, const option *option, const char *value, wm_err *err)
{
    if (config->n_admins == CONFIG_ADMINS_MAX)
        return refuse(option, err, "more than 64 admins");
    if (strchr(value, '#') == NULL)
        return refuse(option, err, "is not ISSUER#SUBJECT");
    config->admins[config->n_admins++] = wm_arena_strdup(&config->arena, value);
    return WM_OK;
}

static wm_code read_all(const char *path, size_t max, char *bytes, size_t *size, wm_err *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return wm_fail(err, WM_INVALID, "FILE_UNREADABLE", "%s: %s", path, strerror(errno));
    *size = fread(bytes, 1, max, file);
    bool whole = feof(file) != 0;
    fclose(file);
    if (!whole)
        return wm_fail(err, WM_INVALID, "FILE_TOO_LONG", "%s: more than %zu bytes", path, max);
    bytes[*size] = '\0';
    return WM_OK;
}

static wm_code set_password_file(config *config, const option *option, const char *value,
                                 wm_err *err)
{
    char bytes[1024 + 1];
    size_t size = 0;
    wm_code code = read_all(value, sizeof(bytes) - 1, bytes, &size, err);
    if (code != WM_OK)
        return code;
    bytes[strcspn(bytes, "\r\n")] = '\0';
    *(const char **)member(config, option) = wm_arena_strdup(&config->arena, bytes);
    return WM_OK;
}

static wm_code read_file(config *config, const option *option, const char *value, wm_err *err);

#define AT(name) offsetof(config, name)
#define OF_ISSUER(name) offsetof(auth_issuer, name)
static const option options[] = {
    {"config", "FILE", ON_SERVE | ON_MIGRATE, read_file, 0,
     "read options from FILE, lines of `name = value`"},
    {"listen", "ADDRESS[,...]", ON_SERVE | ON_DEV, add_listener, AT(n_listen),
     "serve on HOST:PORT or unix:PATH; with cert=, key=, client-ca=, gate=, plaintext of its own "
     "(repeatable; 127.0.0.1:7654)"},
    {"tls-cert", "FILE", ON_SERVE, set_text, AT(tls_cert),
     "certificate chain, PEM; TLS on every HOST:PORT"},
    {"tls-key", "FILE", ON_SERVE, set_text, AT(tls_key), "its private key, PEM"},
    {"tls-client-ca", "FILE", ON_SERVE, set_text, AT(tls_client_ca),
     "demand client certificates of these CAs"},
    {"gate", "WHEN", ON_SERVE | ON_DEV, set_gate, 0,
     "auto, always or never: stand between clients and gRPC (auto: not on loopback)"},
    {"gate-threads", "N", ON_SERVE | ON_DEV, set_unsigned, AT(gate_threads),
     "of the gate's own (0: it works on the lanes' threads)"},
    {"gate-limit", "NAME=VALUE", ON_SERVE | ON_DEV, set_gate_limit, 0,
     "change a limit of the gate (repeatable; docs/operations.md)"},
    {"proxy-protocol", "CIDR", ON_SERVE | ON_DEV, add_proxy, AT(n_proxies),
     "connections from there begin with a PROXY header, version 2 (repeatable)"},
    {"postgres", "CONNINFO", ON_SERVE | ON_MIGRATE, set_text, AT(postgres),
     "libpq connection string, for example \"host=db dbname=waymark\""},
    {"connections", "N", ON_SERVE | ON_DEV, set_connections, AT(connections),
     "to PostgreSQL, per lane, 2 or more (3)"},
    {"redis", "ADDRESS", ON_SERVE, set_text, AT(redis),
     "HOST:PORT or unix:PATH (none: fan-out by PostgreSQL)"},
    {"redis-password-file", "FILE", ON_SERVE, set_password_file, AT(redis_password),
     "first line is the password"},
    {"issuer", "URL", ON_SERVE, add_issuer, AT(n_issuers),
     "trust the tokens of this OIDC issuer (repeatable)"},
    {"audience", "TEXT", ON_SERVE, set_of_issuer, OF_ISSUER(audience),
     "that its tokens must name (waymark)"},
    {"issuer-discovery", "URL", ON_SERVE, set_of_issuer, OF_ISSUER(discovery_url),
     "its metadata (URL/.well-known/openid-configuration)"},
    {"issuer-ca", "FILE", ON_SERVE, set_of_issuer, OF_ISSUER(ca_file),
     "CAs of its HTTPS server (the system's)"},
    {"admin", "ISSUER#SUBJECT", ON_SERVE, add_admin, AT(n_admins),
     "is admin in every namespace (repeatable)"},
    {"lanes", "N", ON_SERVE | ON_DEV, set_unsigned, AT(lanes),
     "pairs of threads (one per two cores)"},
    {"drain-ms", "N", ON_SERVE | ON_DEV, set_size, AT(drain_ms),
     "how long calls in flight may take after SIGTERM (10000)"},
    {"message-size-max", "BYTES", ON_SERVE | ON_DEV, set_size, AT(message_size_max),
     "of a message (4194304)"},
    {"calls-max", "N", ON_SERVE | ON_DEV, set_size, AT(calls_max),
     "calls at work per lane (10000)"},
    {"open-calls-max", "N", ON_SERVE | ON_DEV, set_size, AT(open_calls_max),
     "streams of health and reflection per lane, a fourth of them of one address (4000)"},
    {"answer-ms", "N", ON_SERVE | ON_DEV, set_size, AT(answer_ms),
     "in which a client has to take an answer, and a second for each 16 KiB (60000)"},
    {"busy-poll-us", "N", ON_SERVE | ON_DEV, set_busy_poll, AT(busy_poll_us),
     "microseconds of looking for the next call before a sleep, while they come fast; 0: none (100)"},
    {"method-limit", "LIMIT", ON_SERVE | ON_DEV, add_method_limit, AT(n_method_limits),
     "METHOD=IN_FLIGHT[:WAITING[:WAIT_MS]], calls at once (repeatable; docs/operations.md)"},
    {"connection-limit", "NAME=VALUE", ON_SERVE | ON_DEV, set_connection, 0,
     "change a number of connections (repeatable; docs/operations.md)"},
    {"compress", "METHOD", ON_SERVE | ON_DEV, add_compressed, AT(n_compressed),
     "compress its replies for clients that accept it (repeatable; `*` at the end)"},
    {"compressed-requests", NULL, ON_SERVE | ON_DEV, set_switch, AT(takes_compressed),
     "take compressed requests, which may be bombs: from trusted clients only"},
    {"metrics-listen", "HOST:PORT", ON_SERVE | ON_DEV, set_text, AT(metrics_listen),
     "show /metrics, /healthz and /readyz there, in plaintext (nowhere)"},
    {"log-level", "LEVEL", ON_SERVE | ON_DEV | ON_MIGRATE, set_level, 0,
     "debug, info, warn or error (info)"},
    {"state", "DIR", ON_DEV, set_text, AT(state_dir),
     "where database, keys and logs live (.waymark)"},
    {"issuer-listen", "HOST:PORT", ON_DEV, set_text, AT(issuer_listen),
     "of the development token issuer (127.0.0.1, 1000 above the first --listen)"},
    {"fresh", NULL, ON_DEV, set_switch, AT(fresh), "start from an empty state"},
    {"join", "DIR", ON_DEV, set_text, AT(join_dir),
     "be a second server on the database, Redis and issuer of the dev mode that runs in DIR"},
};

_Static_assert(WM_ARRAY_LEN(options) <= CONFIG_OPTIONS_MAX, "room for every option's source");

static bool is_list(const option *option)
{
    return option->set == add_listener || option->set == add_issuer || option->set == add_admin ||
           option->set == add_proxy || option->set == add_method_limit ||
           option->set == add_compressed;
}

/* Sets an option; a list begins anew with the first word of a stronger source. */
static wm_code apply(config *config, const option *option, config_source source, const char *value,
                     wm_err *err)
{
    uint8_t *set_by = &config->set_by[option - options];

    if (is_list(option) && *set_by != source)
        *(size_t *)member(config, option) = 0;
    *set_by = (uint8_t)source;
    return option->set(config, option, value, err);
}

void config_init(config *config, config_command command)
{
    memset(config, 0, sizeof(*config));
    wm_arena_init(&config->arena, 0);
    gate_limits_init(&config->gate_limits);
    config->drain_ms = 10000;
    config->busy_poll_us = RPC_BUSY_POLL_US_DEFAULT;
    config->log_level = WM_LOG_INFO;
    config->state_dir = ".waymark";
    config->command = command;
}

void config_free(config *config)
{
    wm_arena_free(&config->arena);
}

static const option *find_option(const char *name, size_t len)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(options); i++) {
        if (strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return &options[i];
    }
    return NULL;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t len = strlen(text);
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        text[--len] = '\0';
    return text;
}

static wm_code read_line(config *config, char *line, wm_err *err)
{
    line = trim(line);
    if (*line == '\0' || *line == '#')
        return WM_OK;
    char *equals = strchr(line, '=');
    if (equals == NULL)
        return wm_fail(err, WM_INVALID, "OPTION_INVALID", "\"%s\" has no `=`", line);
    *equals = '\0';
    const char *name = trim(line);
    const option *option = find_option(name, strlen(name));
    if (option == NULL || option->set == read_file)
        return wm_fail(err, WM_INVALID, "OPTION_UNKNOWN", "\"%s\" is not an option; see --help",
                       name);
    return apply(config, option, CONFIG_FILE, trim(equals + 1), err);
}

static wm_code read_file(config *config, const option *option, const char *value, wm_err *err)
{
    (void)option;
    char *bytes = wm_arena_alloc(&config->arena, CONFIG_FILE_SIZE_MAX + 1);
    size_t size = 0;
    wm_code code = read_all(value, CONFIG_FILE_SIZE_MAX, bytes, &size, err);
    if (code != WM_OK)
        return code;
    char *rest = bytes;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        code = read_line(config, line, err);
        if (code != WM_OK)
            return code;
    }
    return WM_OK;
}

static wm_code read_environment(config *config, unsigned on, wm_err *err)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(options); i++) {
        char name[64];
        int len = snprintf(name, sizeof(name), "WAYMARKD_%s", options[i].name);
        for (int c = 0; c < len; c++)
            name[c] = name[c] == '-' ? '_' : (char)toupper((unsigned char)name[c]);
        const char *value = getenv(name);
        if (value == NULL || !(options[i].commands & on))
            continue;
        wm_code code = apply(config, &options[i], CONFIG_ENVIRONMENT, value, err);
        if (code != WM_OK)
            return code;
    }
    return WM_OK;
}

/* One flag: "--name value", "--name=value", or "--name" for a switch. */
static wm_code parse_flag(unsigned on, int argc, char **argv, int *i, const option **found,
                          const char **value, wm_err *err)
{
    const char *flag = argv[*i];
    size_t len = strcspn(flag, "=");
    const option *option = strncmp(flag, "--", 2) == 0 ? find_option(flag + 2, len - 2) : NULL;
    if (option == NULL || !(option->commands & on))
        return wm_fail(err, WM_INVALID, "OPTION_UNKNOWN",
                       "\"%s\" is not an option here; see --help", flag);
    *found = option;
    if (flag[len] == '=')
        *value = flag + len + 1;
    else if (option->argument == NULL)
        *value = "true";
    else if (*i + 1 < argc)
        *value = argv[++*i];
    else
        return refuse(option, err, "needs a value");
    return WM_OK;
}

/* `files`: only --config, or only the others; the file must be read before what overrides it. */
static wm_code read_flags(config *config, unsigned on, int argc, char **argv, bool files,
                          wm_err *err)
{
    for (int i = 0; i < argc; i++) {
        const option *option = NULL;
        const char *value = NULL;
        wm_code code = parse_flag(on, argc, argv, &i, &option, &value, err);
        if (code == WM_OK && (option->set == read_file) == files)
            code = apply(config, option, CONFIG_FLAGS, value, err);
        if (code != WM_OK)
            return code;
    }
    return WM_OK;
}

/* A lane is two threads, and the core's queues wake each other: one lane for two cores was
 * faster than two, above all at one call in flight (docs/performance.md). */
static unsigned default_lanes(void)
{
    long lanes = (sysconf(_SC_NPROCESSORS_ONLN) + 1) / 2;

    if (lanes < 1)
        return 1;
    return lanes > CONFIG_LANES_MAX ? CONFIG_LANES_MAX : (unsigned)lanes;
}

static wm_code check(config *config, unsigned on, wm_err *err)
{
    if ((on & (ON_SERVE | ON_MIGRATE)) && config->postgres == NULL)
        return wm_fail(err, WM_INVALID, "OPTION_MISSING", "--postgres is missing");
    if ((on & ON_SERVE) && config->n_issuers == 0)
        return wm_fail(err, WM_INVALID, "OPTION_MISSING",
                       "--issuer is missing: nobody could call (for a laptop: waymarkd dev)");
    if ((config->tls_cert == NULL) != (config->tls_key == NULL))
        return wm_fail(err, WM_INVALID, "OPTION_MISSING", "--tls-cert and --tls-key go together");
    if (config->tls_client_ca != NULL && config->tls_cert == NULL)
        return wm_fail(err, WM_INVALID, "OPTION_MISSING", "--tls-client-ca needs --tls-cert");
    for (size_t i = 0; i < config->n_listen; i++) {
        const config_listener *listener = &config->listeners[i];
        if ((listener->tls_cert == NULL) != (listener->tls_key == NULL))
            return wm_fail(err, WM_INVALID, "OPTION_MISSING",
                           "--listen %s: cert= and key= go together", config->listen[i]);
        if (listener->tls_client_ca != NULL && listener->tls_cert == NULL &&
            config->tls_cert == NULL)
            return wm_fail(err, WM_INVALID, "OPTION_MISSING",
                           "--listen %s: client-ca= needs a certificate", config->listen[i]);
    }
    for (size_t i = 0; i < config->n_issuers; i++) {
        if (config->issuers[i].audience == NULL)
            config->issuers[i].audience = "waymark";
    }
    if (config->n_listen == 0)
        config->listen[config->n_listen++] = "127.0.0.1:7654";
    if (config->lanes == 0)
        config->lanes = default_lanes();
    return WM_OK;
}

wm_code config_read(config *config, int argc, char **argv, wm_err *err)
{
    unsigned on = 1u << config->command;
    wm_code code = read_flags(config, on, argc, argv, true, err);
    if (code == WM_OK)
        code = read_environment(config, on, err);
    if (code == WM_OK)
        code = read_flags(config, on, argc, argv, false, err);
    if (code == WM_OK)
        code = check(config, on, err);
    return code;
}

void config_print_help(config_command command)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(options); i++) {
        if (!(options[i].commands & (1u << command)))
            continue;
        char flag[48];
        snprintf(flag, sizeof(flag), "--%s %s", options[i].name,
                 options[i].argument ? options[i].argument : "");
        printf("  %-30s %s\n", flag, options[i].help);
    }
}
