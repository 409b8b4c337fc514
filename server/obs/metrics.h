/* server/obs/metrics.h - what Prometheus reads: families of samples, written when asked for.
 *
 * Nothing is stored here but a list of sources. A source names its families and writes their
 * samples; the numbers live where things happen, as atomics or behind a read-only accessor. Values
 * of labels come from sets that are fixed when the server starts (methods, codes, lanes, reasons),
 * so a peer cannot make the number of series grow.
 *
 * Every family is shown, also while it has no sample, and docs/operations.md explains each.
 *
 * Threads: obs_metrics_add() before the first write; obs_metrics_write() on one thread at a time.
 *          Counting (obs_histogram_observe) on any thread.
 * Memory:  sources are copied; what they point to outlives the registry.
 */
#ifndef WAYMARK_SERVER_OBS_METRICS_H
#define WAYMARK_SERVER_OBS_METRICS_H

#include "base/buf.h"
#include "base/code.h"

#ifdef __cplusplus
#include <atomic>
typedef std::atomic<unsigned long long> obs_cell;
extern "C" {
#else
#include <stdatomic.h>
typedef atomic_ullong obs_cell;
#endif

enum {
    OBS_SOURCES_MAX = 16,
    OBS_LABELS_MAX = 2,
    OBS_BUCKETS = 16, /* of a histogram, with the one for everything else */
    OBS_PAGE_SIZE_MAX = 4 * 1024 * 1024
};

typedef enum obs_kind {
    OBS_COUNTER, /* its samples get the ending _total */
    OBS_GAUGE,
    OBS_HISTOGRAM, /* seconds; _bucket, _sum, _count */
    OBS_SUMMARY    /* seconds; _sum, _count */
} obs_kind;

typedef struct obs_family {
    const char *name; /* with its unit: "waymark_rpc_call_seconds" */
    obs_kind kind;
    const char *help;
} obs_family;

typedef struct obs_label {
    const char *name;
    const char *value; /* UTF-8; escaped here */
} obs_label;

typedef struct obs_page obs_page;

typedef struct obs_source {
    const obs_family *families; /* static */
    size_t n_families;
    /* Before the first family: a moment to take a snapshot. May be NULL. */
    void (*read)(void *ctx);
    /* Writes all samples of families[family] with the functions below. */
    void (*write)(void *ctx, size_t family, obs_page *page);
    void *ctx;
} obs_source;

typedef struct obs_metrics obs_metrics;

obs_metrics *obs_metrics_new(void);
void obs_metrics_free(obs_metrics *metrics);
void obs_metrics_add(obs_metrics *metrics, const obs_source *source);

typedef enum obs_format { OBS_PROMETHEUS, OBS_OPENMETRICS } obs_format;
/* Appends the whole page; buf->failed when it does not fit. */
void obs_metrics_write(obs_metrics *metrics, obs_format format, wm_buf *buf);

/* ---- for a source's write() ---- */
void obs_sample(obs_page *page, const obs_label *labels, size_t n_labels, uint64_t value);
void obs_sample_real(obs_page *page, const obs_label *labels, size_t n_labels, double value);
void obs_sample_summary(obs_page *page, const obs_label *labels, size_t n_labels, uint64_t count,
                        uint64_t sum_us);

/* ---- histograms of times, from 250 us to 10 s ---- */
typedef struct obs_histogram {
    obs_cell buckets[OBS_BUCKETS]; /* each by itself, not yet summed up */
    obs_cell sum_us;
} obs_histogram;

void obs_histogram_observe(obs_histogram *histogram, int64_t us);
/* What several histograms have counted together; begin with zeros. */
typedef struct obs_histogram_sum {
    uint64_t buckets[OBS_BUCKETS], count, sum_us;
} obs_histogram_sum;
void obs_histogram_add(obs_histogram_sum *sum, obs_histogram *histogram);
void obs_sample_histogram(obs_page *page, const obs_label *labels, size_t n_labels,
                          const obs_histogram_sum *sum);

#ifdef __cplusplus
}
#endif
#endif
