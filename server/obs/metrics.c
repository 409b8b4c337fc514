/* server/obs/metrics.c - the registry, and the text that it writes.
 *
 * Prometheus' text format 0.0.4 and OpenMetrics 1.0 differ, as far as we use them, in the name
 * on a counter's TYPE line, in the spelling of numbers that are whole, and in the last line.
 *
 * Must not know what is measured.
 */
#include "server/obs/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct obs_metrics {
    obs_source sources[OBS_SOURCES_MAX];
    size_t n;
};

struct obs_page {
    wm_buf *buf;
    obs_format format;
    const obs_family *family;
};

/* Upper bounds in microseconds, and as they are written, in seconds. */
static const struct {
    int64_t us;
    const char *text;
} bounds[OBS_BUCKETS - 1] = {
    {250, "0.00025"}, {500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"}, {5000, "0.005"},
    {10000, "0.01"},  {25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},  {250000, "0.25"},
    {500000, "0.5"},  {1000000, "1.0"}, {2500000, "2.5"}, {5000000, "5.0"}, {10000000, "10.0"},
};

obs_metrics *obs_metrics_new(void)
{
    obs_metrics *metrics = calloc(1, sizeof(*metrics));

    if (metrics == NULL)
        abort();
    return metrics;
}

void obs_metrics_free(obs_metrics *metrics)
{
    free(metrics);
}

void obs_metrics_add(obs_metrics *metrics, const obs_source *source)
{
    assert(metrics->n < OBS_SOURCES_MAX);
    metrics->sources[metrics->n++] = *source;
}

/* ---- lines ---- */

static void text_escaped(wm_buf *buf, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            wm_buf_text(buf, "\\n");
            continue;
        }
        if (*text == '"' || *text == '\\')
            wm_buf_char(buf, '\\');
        wm_buf_char(buf, *text);
    }
}

/* The name of a sample and its labels, up to the blank; `le` is a bucket's bound or NULL. */
static void sample_begin(obs_page *page, const char *ending, const obs_label *labels, size_t n,
                         const char *le)
{
    wm_buf *buf = page->buf;
    char separator = '{';

    assert(n <= OBS_LABELS_MAX);
    wm_buf_text(buf, page->family->name);
    wm_buf_text(buf, ending);
    for (size_t i = 0; i < n; i++) {
        wm_buf_char(buf, separator);
        wm_buf_text(buf, labels[i].name);
        wm_buf_text(buf, "=\"");
        text_escaped(buf, labels[i].value);
        wm_buf_char(buf, '"');
        separator = ',';
    }
    if (le != NULL) {
        wm_buf_printf(buf, "%cle=\"%s\"", separator, le);
        separator = ',';
    }
    if (separator == ',')
        wm_buf_char(buf, '}');
    wm_buf_char(buf, ' ');
}

static const char *ending_of(const obs_page *page)
{
    return page->family->kind == OBS_COUNTER ? "_total" : "";
}

void obs_sample(obs_page *page, const obs_label *labels, size_t n_labels, uint64_t value)
{
    sample_begin(page, ending_of(page), labels, n_labels, NULL);
    wm_buf_printf(page->buf, "%" PRIu64 "\n", value);
}

void obs_sample_real(obs_page *page, const obs_label *labels, size_t n_labels, double value)
{
    sample_begin(page, ending_of(page), labels, n_labels, NULL);
    if (isnan(value))
        wm_buf_text(page->buf, "NaN\n");
    else if (isinf(value))
        wm_buf_text(page->buf, value > 0 ? "+Inf\n" : "-Inf\n");
    else
        wm_buf_printf(page->buf, "%.15g\n", value);
}

static void sum_and_count(obs_page *page, const obs_label *labels, size_t n, uint64_t count,
                          uint64_t sum_us)
{
    sample_begin(page, "_sum", labels, n, NULL);
    wm_buf_printf(page->buf, "%.15g\n", (double)sum_us / 1e6);
    sample_begin(page, "_count", labels, n, NULL);
    wm_buf_printf(page->buf, "%" PRIu64 "\n", count);
}

void obs_sample_summary(obs_page *page, const obs_label *labels, size_t n_labels, uint64_t count,
                        uint64_t sum_us)
{
    assert(page->family->kind == OBS_SUMMARY);
    sum_and_count(page, labels, n_labels, count, sum_us);
}

/* ---- histograms ---- */

void obs_histogram_observe(obs_histogram *histogram, int64_t us)
{
    size_t i = 0;

    while (i < OBS_BUCKETS - 1 && us > bounds[i].us)
        i++;
    atomic_fetch_add_explicit(&histogram->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_us, us > 0 ? (uint64_t)us : 0, memory_order_relaxed);
}

void obs_histogram_add(obs_histogram_sum *sum, obs_histogram *histogram)
{
    for (size_t i = 0; i < OBS_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        sum->buckets[i] += n;
        sum->count += n;
    }
    sum->sum_us += atomic_load_explicit(&histogram->sum_us, memory_order_relaxed);
}

void obs_sample_histogram(obs_page *page, const obs_label *labels, size_t n_labels,
                          const obs_histogram_sum *sum)
{
    uint64_t up_to = 0;

    assert(page->family->kind == OBS_HISTOGRAM);
    for (size_t i = 0; i < OBS_BUCKETS; i++) {
        up_to += sum->buckets[i];
        sample_begin(page, "_bucket", labels, n_labels,
                     i < OBS_BUCKETS - 1 ? bounds[i].text : "+Inf");
        wm_buf_printf(page->buf, "%" PRIu64 "\n", up_to);
    }
    sum_and_count(page, labels, n_labels, sum->count, sum->sum_us);
}

/* ---- the page ---- */

static void family_begin(obs_page *page)
{
    static const char *const types[] = {
        [OBS_COUNTER] = "counter",
        [OBS_GAUGE] = "gauge",
        [OBS_HISTOGRAM] = "histogram",
        [OBS_SUMMARY] = "summary",
    };
    const obs_family *family = page->family;
    /* OpenMetrics names the family, the older format the samples. */
    const char *ending = page->format == OBS_PROMETHEUS ? ending_of(page) : "";

    wm_buf_printf(page->buf, "# HELP %s%s ", family->name, ending);
    text_escaped(page->buf, family->help);
    wm_buf_printf(page->buf, "\n# TYPE %s%s %s\n", family->name, ending, types[family->kind]);
}

void obs_metrics_write(obs_metrics *metrics, obs_format format, wm_buf *buf)
{
    obs_page page = {buf, format, NULL};

    for (size_t i = 0; i < metrics->n; i++) {
        const obs_source *source = &metrics->sources[i];
        if (source->read != NULL)
            source->read(source->ctx);
        for (size_t j = 0; j < source->n_families; j++) {
            page.family = &source->families[j];
            family_begin(&page);
            source->write(source->ctx, j, &page);
        }
    }
    if (format == OBS_OPENMETRICS)
        wm_buf_text(buf, "# EOF\n");
}
