/* tests/bench/histogram.h - latencies, to within 1.6 %.
 *
 * Threads: one at a time.
 */
#ifndef WAYMARK_BENCH_HISTOGRAM_H
#define WAYMARK_BENCH_HISTOGRAM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HISTOGRAM_SIZE = 64 * 64 };

typedef struct histogram {
    uint64_t n;
    uint64_t buckets[HISTOGRAM_SIZE];
} histogram;

void histogram_add(histogram *histogram, int64_t ns);
/* The latency that a share (0..1) of all do not exceed, in microseconds; 0 when there are none. */
double histogram_us(const histogram *histogram, double share);

#ifdef __cplusplus
}
#endif
#endif
