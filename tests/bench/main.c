/* tests/bench/main.c - waymark_bench: the rows that docs/performance.md explains.
 *
 *     waymark_bench [--json] [--seconds N] [--warmup N] [ROW...]
 *
 * Needs a running server and an admin's token, as `./dev env` names them; `./dev bench` brings
 * both. CPU is per operation, in microseconds: the server's and PostgreSQL's together in
 * cpu_us_per_op, each alone and this program's beside it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"

typedef struct row {
    const char *name;
    void (*run)(bench *bench, const char *name, unsigned count);
    unsigned count; /* in flight, or fences */
} row;

static const row rows[] = {
    {"unary_empty_1", bench_unary, 1},
    {"unary_empty_64", bench_unary, 64},
    {"unary_empty_256", bench_unary, 256},
    {"positions_stream_100", bench_positions_stream, 0},
    {"positions_stream_100_fences_100", bench_positions_stream, 100},
    {"positions_unary_1_inflight_1", bench_positions_unary, 1},
    {"positions_unary_1_inflight_64", bench_positions_unary, 64},
    {"nearby_10_of_100k_64", bench_nearby, 64},
    {"workflow_task_1", bench_workflow_task, 1},
    {"workflow_task_256", bench_workflow_task, 256},
    {"send_event_1", bench_send_event, 1},
    {"send_event_256", bench_send_event, 256},
};

enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

static void usage_text(FILE *out)
{
    fprintf(out, "usage: waymark_bench [--json] [--seconds N] [--warmup N] [ROW...]\nrows:\n");
    for (int i = 0; i < N_ROWS; i++)
        fprintf(out, "  %s\n", rows[i].name);
}

static int usage_error(const char *what, const char *arg)
{
    fprintf(stderr, "waymark_bench: %s %s\n", what, arg);
    usage_text(stderr);
    return 2;
}

static const row *find_row(const char *name)
{
    for (int i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static int run(bench *bench, bool wanted[N_ROWS], bool all)
{
    waymark_problem problem;

    bench->client = waymark_client_new(NULL, &problem);
    if (bench->client == NULL) {
        fprintf(stderr, "waymark_bench: %s\n", problem.message);
        return 1;
    }
    bench->usage = usage_open(getenv("WAYMARK_STATE"));
    snprintf(bench->run, sizeof(bench->run), "bench-%lx", (unsigned long)time(NULL));
    for (int i = 0; i < N_ROWS; i++)
        if (all || wanted[i])
            rows[i].run(bench, rows[i].name, rows[i].count);
    usage_close(bench->usage);
    waymark_client_free(bench->client);
    return bench->failed > 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    bench bench = {.warmup_s = 1, .seconds = 5};
    bool wanted[N_ROWS] = {false}, all = true;

    for (int i = 1; i < argc; i++) {
        const row *found = find_row(argv[i]);

        if (strcmp(argv[i], "--json") == 0) {
            bench.json = true;
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            bench.seconds = atof(argv[++i]);
        } else if (strcmp(argv[i], "--warmup") == 0 && i + 1 < argc) {
            bench.warmup_s = atof(argv[++i]);
        } else if (strcmp(argv[i], "--help") == 0) {
            usage_text(stdout);
            return 0;
        } else if (found != NULL) {
            wanted[found - rows] = true;
            all = false;
        } else {
            return usage_error(argv[i][0] == '-' ? "unknown option" : "unknown row", argv[i]);
        }
    }
    if (!(bench.seconds > 0) || bench.warmup_s < 0)
        return usage_error("bad", "time");
    return run(&bench, wanted, all);
}
