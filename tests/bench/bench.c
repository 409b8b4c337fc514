/* tests/bench/bench.c - running a row, and printing its figures. */
#include "tests/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void sleep_s(double seconds)
{
    struct timespec time = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

    nanosleep(&time, NULL);
}

bench_load *bench_load_new(bench *bench, const char *name)
{
    bench_load *load = calloc(1, sizeof(*load));

    if (load == NULL)
        abort();
    load->bench = bench;
    load->name = name;
    snprintf(load->namespace_name, sizeof(load->namespace_name), "%s-%s", bench->run, name);
    for (char *c = load->namespace_name; *c; c++)
        if (*c == '_')
            *c = '-';
    pthread_mutex_init(&load->lock, NULL);
    pthread_cond_init(&load->idle, NULL);
    return load;
}

void bench_load_free(bench_load *load)
{
    pthread_cond_destroy(&load->idle);
    pthread_mutex_destroy(&load->lock);
    free(load);
}

void bench_load_fail(bench_load *load, const char *what, const waymark_status *status)
{
    pthread_mutex_lock(&load->lock);
    if (load->error[0] == 0)
        snprintf(load->error, sizeof(load->error), "%s: %s %s: %s", what,
                 waymark_code_name(status->code), status->reason, status->message);
    pthread_mutex_unlock(&load->lock);
    atomic_store(&load->stopping, true);
}

void bench_count(bench_load *load, int64_t started_ns, unsigned ops)
{
    if (!atomic_load_explicit(&load->measuring, memory_order_relaxed))
        return;
    load->ops += ops;
    histogram_add(&load->latencies, bench_now_ns() - started_ns);
}

void bench_release(bench_load *load)
{
    pthread_mutex_lock(&load->lock);
    if (--load->in_flight == 0)
        pthread_cond_signal(&load->idle);
    pthread_mutex_unlock(&load->lock);
}

void bench_slot_done(bench_slot *slot, const waymark_status *status)
{
    bench_load *load = slot->load;

    if (status->code != WAYMARK_OK)
        bench_load_fail(load, "a call", status);
    else
        bench_count(load, slot->started_ns, 1);
    if (atomic_load_explicit(&load->stopping, memory_order_relaxed)) {
        bench_release(load);
        return;
    }
    slot->started_ns = bench_now_ns();
    slot->start(slot);
}

/* ---- figures ---- */

typedef struct figures {
    const char *name;
    double per_s, p50_us, p99_us;
    double server_us, postgres_us, client_us; /* CPU per operation */
    double commits, rows, wal_bytes;          /* per operation */
    double rss_mb, peak_rss_mb;
} figures;

static figures make_figures(const bench_load *load, double seconds, const usage *before,
                            const usage *after)
{
    double ops = load->ops > 0 ? (double)load->ops : 1;

    return (figures){
        .name = load->name,
        .per_s = (double)load->ops / seconds,
        .p50_us = histogram_us(&load->latencies, 0.5),
        .p99_us = histogram_us(&load->latencies, 0.99),
        .server_us = (after->server_cpu_us - before->server_cpu_us) / ops,
        .postgres_us = (after->postgres_cpu_us - before->postgres_cpu_us) / ops,
        .client_us = (after->client_cpu_us - before->client_cpu_us) / ops,
        .commits = (after->commits - before->commits) / ops,
        .rows = (after->rows - before->rows) / ops,
        .wal_bytes = (after->wal_bytes - before->wal_bytes) / ops,
        .rss_mb = after->server_rss_mb,
        .peak_rss_mb = after->server_peak_rss_mb,
    };
}

static void print_json(const bench *bench, const figures *f)
{
    printf("{\"name\": \"%s\", \"per_s\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f", f->name,
           f->per_s, f->p50_us, f->p99_us);
    printf(", \"cpu_us_per_op\": %.2f", f->server_us + f->postgres_us);
    printf(", \"cpu_server_us_per_op\": %.2f, \"cpu_postgres_us_per_op\": %.2f"
           ", \"cpu_client_us_per_op\": %.2f",
           f->server_us, f->postgres_us, f->client_us);
    if (usage_has_database(bench->usage))
        printf(", \"commits_per_op\": %.4f, \"rows_per_op\": %.3f, \"wal_bytes_per_op\": %.1f",
               f->commits, f->rows, f->wal_bytes);
    if (usage_has_server(bench->usage))
        printf(", \"server_rss_mb\": %.1f, \"server_peak_rss_mb\": %.1f", f->rss_mb,
               f->peak_rss_mb);
    printf("}\n");
}

static const char *verdict(const figures *f, const bench_target *target)
{
    bool fast = target->per_s == 0 || f->per_s >= target->per_s;
    bool quick = target->p50_us == 0 || f->p50_us <= target->p50_us;

    return target->per_s == 0 && target->p50_us == 0 ? "" : fast && quick ? "ok" : "below aim";
}

static void print_text(const figures *f, const bench_target *target)
{
    static bool has_head;

    if (!has_head)
        printf("%-33s %9s %8s %8s | %8s %8s %8s | %8s %6s %7s | %6s\n", "", "per s", "p50 us",
               "p99 us", "server", "postgres", "client", "commits", "rows", "WAL B", "RSS MB");
    has_head = true;
    printf("%-33s %9.0f %8.0f %8.0f | %8.1f %8.1f %8.1f | %8.4f %6.2f %7.0f | %6.0f  %s\n", f->name,
           f->per_s, f->p50_us, f->p99_us, f->server_us, f->postgres_us, f->client_us, f->commits,
           f->rows, f->wal_bytes, f->rss_mb, verdict(f, target));
}

/* ---- running ---- */

void bench_measure(bench_load *load, const bench_target *target)
{
    bench *bench = load->bench;
    usage before, after;
    int64_t begin_ns, end_ns;
    figures figures;

    sleep_s(load->error[0] == 0 ? bench->warmup_s : 0);
    usage_read(bench->usage, &before);
    begin_ns = bench_now_ns();
    atomic_store(&load->measuring, true);
    for (double left = bench->seconds; left > 0 && !atomic_load(&load->stopping); left -= 0.1)
        sleep_s(0.1);
    atomic_store(&load->measuring, false);
    end_ns = bench_now_ns();
    usage_read(bench->usage, &after);

    atomic_store(&load->stopping, true);
    pthread_mutex_lock(&load->lock);
    while (load->in_flight > 0)
        pthread_cond_wait(&load->idle, &load->lock);
    pthread_mutex_unlock(&load->lock);

    if (load->error[0] != 0) {
        fprintf(stderr, "%s failed: %s\n", load->name, load->error);
        bench->failed++;
        return;
    }
    figures = make_figures(load, (double)(end_ns - begin_ns) / 1e9, &before, &after);
    if (bench->json)
        print_json(bench, &figures);
    else
        print_text(&figures, target);
    fflush(stdout);
}

void bench_run_slots(bench_load *load, unsigned n, void (*start)(bench_slot *slot), void *ctx,
                     const bench_target *target)
{
    bench_slot *slots = calloc(n, sizeof(slots[0]));

    if (slots == NULL)
        abort();
    load->in_flight = n;
    for (unsigned i = 0; i < n; i++) {
        slots[i] = (bench_slot){
            .load = load, .index = i, .started_ns = bench_now_ns(), .start = start, .ctx = ctx};
        start(&slots[i]);
    }
    bench_measure(load, target);
    free(slots);
}
