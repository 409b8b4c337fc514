/* cel_go/speed.c - the speed of our evaluator beside cel-go's, in one run on one core.
 *
 *   speed --peer PROGRAM [--milliseconds N] [--rounds N] [--json]
 *
 * Both evaluate the same checked programs over the same values; rounds alternate, and the best
 * of each side counts. Heap allocations are counted by standing in for malloc. The exit status is
 * 1 when an expression is less than three times as fast as cel-go, or allocates.
 */
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/cel/cel.h"
#include "tests/cel_go/peer.h"

enum { ROUND = 1000, VARIABLES = 6 };
static const double ratio_wanted = 3.0;

/* ---- counting what the heap is asked for ---- */

static atomic_ulong allocations;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_realloc(old, size);
}

/* ---- what is evaluated ---- */

static const struct {
    const char *name, *text;
} expressions[] = {
    {"cel_simple", "x > 3 && y == \"a\""},
    {"cel_iam_10_terms",
     "user.role in ['admin', 'editor', 'owner'] && user.org == resource.org && "
     "resource.kind == 'doc' && !resource.locked && user.level >= 3 && resource.size < 1000000 && "
     "user.name != resource.owner && resource.path.startsWith('/docs/') && has(user.email) && "
     "user.email.endsWith('@example.com')"},
    {"cel_comprehension_100", "l.all(i, i < 1000 && i >= 0)"},
    {"cel_map_chain", "m.a.b.c.d.e == 'z'"},
};

static const struct {
    const char *type, *name, *value;
} variables[VARIABLES] = {
    {"int", "x", "5"},
    {"string", "y", "'a'"},
    {"map(string,dyn)", "user",
     "{'role': 'editor', 'org': 'acme', 'level': 5, 'name': 'ann', 'email': 'ann@example.com'}"},
    {"map(string,dyn)", "resource",
     "{'org': 'acme', 'kind': 'doc', 'locked': false, 'size': 1234, 'owner': 'bob', "
     "'path': '/docs/a/b'}"},
    {"list(int)", "l", "lists.range(100)"},
    {"map(string,dyn)", "m", "{'a': {'b': {'c': {'d': {'e': 'z'}}}}}"},
};

typedef struct figure {
    double nanoseconds, allocations;
} figure;

static cel_program *compile(const cel_env *env, const char *text)
{
    cel_program *program;
    cel_issues issues;

    if (cel_compile(env, text, strlen(text), NULL, &program, &issues) == WM_OK)
        return program;
    fprintf(stderr, "speed: %s: %s\n", text, issues.issues[0].message);
    exit(2);
}

static void tell_peer(peer *peer)
{
    for (size_t i = 0; i < VARIABLES; i++)
        fprintf(peer->to, "%s %s\n", variables[i].type, variables[i].name);
    fputc('\n', peer->to);
    for (size_t i = 0; i < VARIABLES; i++)
        fprintf(peer->to, "%s %s\n", variables[i].name, variables[i].value);
    fputs("\n\n", peer->to);
}

static figure measure_theirs(peer *peer, const char *text, long milliseconds)
{
    figure figure = {0, 0};

    fprintf(peer->to, "%ld %s\n", milliseconds, text);
    if (sscanf(peer_line(peer), "%lf %lf", &figure.nanoseconds, &figure.allocations) != 2) {
        fprintf(stderr, "speed: the peer answers otherwise\n");
        exit(2);
    }
    return figure;
}

/* The arena is emptied after each evaluation, as a call of the server does. */
static figure measure_ours(const cel_program *program, const cel_vars *vars, long milliseconds)
{
    int64_t start, now;
    unsigned long before, count = 0;
    wm_arena arena;

    wm_arena_init(&arena, 0);
    wm_arena_alloc(&arena, 1); /* its first block is the caller's cost */
    before = atomic_load(&allocations);
    start = now = wm_monotonic_us();
    while (now - start < (int64_t)milliseconds * 1000) {
        for (int i = 0; i < ROUND; i++) {
            cel_value value = cel_eval(program, vars, NULL, &arena);

            if (value.kind != CEL_BOOL || !value.as.boolean) {
                fprintf(stderr, "speed: an expression is not true\n");
                exit(2);
            }
            wm_arena_reset(&arena);
        }
        count += ROUND;
        now = wm_monotonic_us();
    }
    wm_arena_free(&arena);
    return (figure){(double)(now - start) * 1000.0 / (double)count,
                    (double)(atomic_load(&allocations) - before) / (double)count};
}

static void keep_best(figure *best, figure now)
{
    if (best->nanoseconds <= 0 || now.nanoseconds < best->nanoseconds)
        *best = now;
}

static bool report(const char *name, const figure *ours, const figure *theirs, bool json)
{
    double ratio = theirs->nanoseconds / ours->nanoseconds;
    bool good = ratio >= ratio_wanted && ours->allocations < 0.001;

    printf(json ? "{\"row\": \"%s\", \"ns\": %.1f, \"allocations\": %.3f, \"cel_go_ns\": %.1f, "
                  "\"cel_go_allocations\": %.1f, \"ratio\": %.2f}\n"
                : "%-24s %9.1f %12.3f %12.1f %12.1f %8.2f\n",
           name, ours->nanoseconds, ours->allocations, theirs->nanoseconds, theirs->allocations,
           ratio);
    fflush(stdout);
    return good;
}

/* One core for both, so that neither runs its collector beside. */
static void pin_to_one_core(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(sched_getcpu(), &set);
    sched_setaffinity(0, sizeof(set), &set);
    setenv("GOMAXPROCS", "1", 1);
}

static bool run(const char *program, long milliseconds, long rounds, bool json)
{
    cel_env *env = cel_env_new(NULL);
    cel_value values[VARIABLES];
    cel_vars vars = {values, VARIABLES, NULL, NULL};
    bool good = true;
    wm_arena arena;
    wm_err err;
    peer peer;

    wm_arena_init(&arena, 0);
    pin_to_one_core();
    peer_start(&peer, program, "speed");
    tell_peer(&peer);
    for (size_t i = 0; i < VARIABLES; i++) {
        values[i] = cel_eval(compile(env, variables[i].value), NULL, NULL, &arena);
        if (cel_env_add(env, variables[i].name, variables[i].type, &err) != WM_OK)
            exit(2);
    }
    if (!json)
        printf("%-24s %9s %12s %12s %12s %8s\n", "row", "ns", "allocations", "cel-go ns",
               "allocations", "ratio");
    for (size_t i = 0; i < WM_ARRAY_LEN(expressions); i++) {
        cel_program *code = compile(env, expressions[i].text);
        figure ours = {0, 0}, theirs = {0, 0};

        for (long round = 0; round < rounds; round++) {
            keep_best(&ours, measure_ours(code, &vars, milliseconds));
            keep_best(&theirs, measure_theirs(&peer, expressions[i].text, milliseconds));
        }
        good = report(expressions[i].name, &ours, &theirs, json) && good;
        cel_program_free(code);
    }
    peer_stop(&peer);
    return good;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"peer", required_argument, NULL, 'p'},
                                            {"milliseconds", required_argument, NULL, 'm'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"json", no_argument, NULL, 'j'},
                                            {NULL, 0, NULL, 0}};
    const char *program = NULL;
    long milliseconds = 300, rounds = 5;
    bool json = false, wrong = false;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'p':
            program = optarg;
            break;
        case 'm':
            milliseconds = strtol(optarg, NULL, 10);
            break;
        case 'r':
            rounds = strtol(optarg, NULL, 10);
            break;
        case 'j':
            json = true;
            break;
        default:
            wrong = true;
            break;
        }
    }
    if (wrong || program == NULL || optind != argc || milliseconds < 1 || rounds < 1) {
        fprintf(stderr, "usage: speed --peer PROGRAM [--milliseconds N] [--rounds N] [--json]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    return run(program, milliseconds, rounds, json) ? 0 : 1;
}
