/* tests/bench/histogram.c - a bucket for every 64th of a power of two. */
#include "tests/bench/histogram.h"

enum { SUB_BITS = 6, SUB = 1 << SUB_BITS };

static unsigned bucket_of(uint64_t ns)
{
    unsigned power;

    if (ns < SUB)
        return (unsigned)ns;
    power = 63u - (unsigned)__builtin_clzll(ns);
    return (power - SUB_BITS + 1) * SUB + (unsigned)((ns >> (power - SUB_BITS)) - SUB);
}

/* The middle of a bucket. */
static double bucket_ns(unsigned bucket)
{
    unsigned power = bucket / SUB, part = bucket % SUB;

    if (power == 0)
        return part;
    return ((double)(SUB + part) + 0.5) * (double)(UINT64_C(1) << (power - 1));
}

void histogram_add(histogram *histogram, int64_t ns)
{
    histogram->n++;
    histogram->buckets[bucket_of(ns > 0 ? (uint64_t)ns : 0)]++;
}

double histogram_us(const histogram *histogram, double share)
{
    uint64_t seen = 0, wanted = (uint64_t)(share * (double)histogram->n);

    for (unsigned i = 0; i < HISTOGRAM_SIZE; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted || (seen == histogram->n && seen > 0))
            return bucket_ns(i) / 1000;
    }
    return 0;
}
