/* tests/bench/bench.h - how a row of the bench is run.
 *
 * A row keeps a number of operations in flight: each one that ends starts the next, on the
 * client's thread. After a warm-up the counters are read, after the row's time again; what
 * happens between makes the figures.
 *
 * Threads: a row's callbacks run on the client's one thread; the rest on the main thread.
 */
#ifndef WAYMARK_BENCH_BENCH_H
#define WAYMARK_BENCH_BENCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <waymark/waymark.h>

#include "tests/bench/histogram.h"
#include "tests/bench/usage.h"

typedef struct bench {
    waymark_client *client;
    usage_source *usage;
    bool json;
    double warmup_s, seconds;
    char run[32]; /* part of every namespace, so that runs do not meet */
    int failed;
} bench;

/* One row while it runs. */
typedef struct bench_load {
    bench *bench;
    const char *name;
    char namespace_name[64];
    atomic_bool measuring, stopping;
    histogram latencies;
    uint64_t ops; /* while measuring */
    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned in_flight;
    char error[256]; /* the first */
} bench_load;

/* One of the operations that a row keeps in flight. */
typedef struct bench_slot bench_slot;
struct bench_slot {
    bench_load *load;
    unsigned index;
    int64_t started_ns;
    /* Starts one operation, which ends with bench_slot_done(). */
    void (*start)(bench_slot *slot);
    void *ctx;
};

/* What the row must reach; 0: nothing. */
typedef struct bench_target {
    double per_s, p50_us;
} bench_target;

int64_t bench_now_ns(void);

bench_load *bench_load_new(bench *bench, const char *name);
void bench_load_free(bench_load *load);
/* The first error counts; the row stops. */
void bench_load_fail(bench_load *load, const char *what, const waymark_status *status);

/* Counts `ops` operations that ended together, begun at `started_ns`. */
void bench_count(bench_load *load, int64_t started_ns, unsigned ops);
/* A status that is not OK fails the row. */
void bench_slot_done(bench_slot *slot, const waymark_status *status);

/* Warms up, measures, sets `stopping` and waits until nothing is in flight. The row's operations
 * are running already, `in_flight` of them. */
void bench_measure(bench_load *load, const bench_target *target);
/* Starts `n` slots, then the same. */
void bench_run_slots(bench_load *load, unsigned n, void (*start)(bench_slot *slot), void *ctx,
                     const bench_target *target);
/* One operation in flight ended for good. */
void bench_release(bench_load *load);

/* ---- the rows ---- */
void bench_unary(bench *bench, const char *name, unsigned in_flight);
void bench_positions_stream(bench *bench, const char *name, unsigned fences);
void bench_positions_unary(bench *bench, const char *name, unsigned in_flight);
void bench_nearby(bench *bench, const char *name, unsigned in_flight);
void bench_workflow_task(bench *bench, const char *name, unsigned in_flight);
void bench_send_event(bench *bench, const char *name, unsigned in_flight);

#endif
