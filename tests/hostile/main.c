/* tests/hostile/main.c - waymark_hostile: plays one kind of hostile peer, or the good client.
 *
 *   waymark_hostile ATTACK --target HOST:PORT [OPTIONS]     one line of JSON at the end
 *   waymark_hostile good   --target HOST:PORT [OPTIONS]     one line for each call (good.c)
 *   waymark_hostile list                                    the attacks, one a line
 *
 * It is for servers of one's own: what it sends is meant to hurt.
 */
#include <getopt.h>
#include <netdb.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/hostile/attack.h"

static const attack *const lists[] = {stream_attacks, flood_attacks, slow_attacks, bomb_attacks,
                                      connection_attacks};

typedef struct options {
    const char *target, *source;
    bool tls;
    const char *path;
    attack_options attack;
    good_options good;
} options;

static int usage(void)
{
    fputs(
        "usage: waymark_hostile ATTACK|good|list --target HOST:PORT [--tls] [--source ADDRESS]\n"
        "           [--path /SERVICE/METHOD] [--seconds N] [--connections N]\n"
        "           [--reconnect-ms N (-1: never)] [--rate CALLS-PER-SECOND, of the good client]\n"
        "WAYMARK_TOKEN, where it is set, goes along as a bearer token.\n",
        stderr);
    return 2;
}

static bool options_read(int argc, char **argv, options *options)
{
    static const struct option names[] = {{"target", required_argument, NULL, 't'},
                                          {"tls", no_argument, NULL, 'T'},
                                          {"source", required_argument, NULL, 's'},
                                          {"path", required_argument, NULL, 'p'},
                                          {"seconds", required_argument, NULL, 'n'},
                                          {"connections", required_argument, NULL, 'c'},
                                          {"reconnect-ms", required_argument, NULL, 'r'},
                                          {"rate", required_argument, NULL, 'R'},
                                          {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 't':
            options->target = optarg;
            break;
        case 'T':
            options->tls = true;
            break;
        case 's':
            options->source = optarg;
            break;
        case 'p':
            options->path = optarg;
            break;
        case 'n':
            options->attack.seconds = options->good.seconds = atof(optarg);
            break;
        case 'c':
            options->attack.connections = (unsigned)atoi(optarg);
            break;
        case 'r':
            options->attack.reconnect_ms = atoi(optarg);
            break;
        case 'R':
            options->good.rate = atof(optarg);
            break;
        default:
            return false;
        }
    }
    return options->good.rate > 0 && options->attack.seconds > 0 && options->path[0] == '/';
}

/* ---- the target ---- */

static bool address_find(const char *host, const char *port, struct sockaddr_storage *address,
                         socklen_t *len)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;

    if (getaddrinfo(host, port, &hints, &found) != 0)
        return false;
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

/* No certificate is looked at: who the server is does not matter to an attacker. */
static SSL_CTX *tls_new(void)
{
    static const unsigned char alpn[] = "\x02h2";
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

    if (tls == NULL || SSL_CTX_set_alpn_protos(tls, alpn, sizeof(alpn) - 1) != 0)
        abort();
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return tls;
}

static bool target_init(target *target, const options *options)
{
    static char authorization[16384];
    const char *token = getenv("WAYMARK_TOKEN");
    char host[256];
    const char *colon = options->target != NULL ? strrchr(options->target, ':') : NULL;

    if (colon == NULL || (size_t)(colon - options->target) >= sizeof(host))
        return false;
    memcpy(host, options->target, (size_t)(colon - options->target));
    host[colon - options->target] = 0;
    if (!address_find(host, colon + 1, &target->address, &target->address_len))
        return false;
    if (options->source != NULL &&
        !address_find(options->source, "0", &target->source, &target->source_len))
        return false;
    target->name = options->target;
    target->path = options->path;
    if (token != NULL && token[0] != 0) {
        snprintf(authorization, sizeof(authorization), "Bearer %s", token);
        target->authorization = authorization;
    }
    if (options->tls)
        target->tls = tls_new();
    return true;
}

/* ---- attacks ---- */

static void attacks_print(void)
{
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        for (const attack *attack = lists[i]; attack->name != NULL; attack++)
            printf("%-26s%s%s\n", attack->name, attack->summary,
                   attack->needs_tls ? " (only with --tls)" : "");
}

static const attack *attack_find(const char *name)
{
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        for (const attack *attack = lists[i]; attack->name != NULL; attack++)
            if (strcmp(attack->name, name) == 0)
                return attack;
    return NULL;
}

static void report_print(const attack *attack, const attack_report *report)
{
    printf("{\"attack\": \"%s\", \"seconds\": %.2f, \"connections\": %u, \"opened\": %llu, ",
           attack->name, report->seconds, report->connections, (unsigned long long)report->opened);
    printf("\"refused\": %llu, \"held\": %llu, \"cut\": %llu, \"goaways\": %llu, ",
           (unsigned long long)report->refused, (unsigned long long)report->held,
           (unsigned long long)report->cut, (unsigned long long)report->goaways);
    printf("\"goaway_code\": %u, \"by_reset\": %llu, \"frames\": %llu, \"bytes\": %llu, ",
           report->goaway_code, (unsigned long long)report->by_reset,
           (unsigned long long)report->frames, (unsigned long long)report->bytes);
    printf("\"streams\": %llu, \"replies\": %llu, \"resets\": %llu, ",
           (unsigned long long)report->streams, (unsigned long long)report->replies,
           (unsigned long long)report->resets);
    printf("\"first_cut_ms\": %.2f, \"median_cut_ms\": %.2f, \"max_cut_ms\": %.2f}\n",
           report->first_cut_ms, report->median_cut_ms, report->max_cut_ms);
}

static void files_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    options options = {.path = "/grpc.health.v1.Health/Check",
                       .attack = {.seconds = 3, .reconnect_ms = 10},
                       .good = {.seconds = 3, .rate = 200}};
    const char *what = argc > 1 ? argv[1] : "";
    const attack *attack = attack_find(what);
    attack_report report;
    target target = {0};
    int status = 0;

    if (strcmp(what, "list") == 0) {
        attacks_print();
        return 0;
    }
    if ((attack == NULL && strcmp(what, "good") != 0) ||
        !options_read(argc - 1, argv + 1, &options) || !target_init(&target, &options))
        return usage();
    if (attack != NULL && attack->needs_tls && !options.tls) {
        fprintf(stderr, "waymark_hostile: %s needs --tls\n", attack->name);
        return 2;
    }
    files_raise();
    if (attack != NULL) {
        attack_run(attack, &target, &options.attack, &report);
        report_print(attack, &report);
    } else {
        status = good_run(&target, &options.good) ? 0 : 1;
    }
    SSL_CTX_free(target.tls);
    return status;
}
