// The bench's histogram must find percentiles to within 1.6 %, from nanoseconds to minutes.
#include "tests/bench/histogram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

namespace {

TEST(Histogram, FindsPercentiles)
{
    auto h = std::make_unique<histogram>();
    EXPECT_EQ(histogram_us(h.get(), 0.5), 0);
    for (int i = 1; i <= 100000; i++)
        histogram_add(h.get(), i * INT64_C(1000));
    EXPECT_NEAR(histogram_us(h.get(), 0.5), 50000, 50000 * 0.016);
    EXPECT_NEAR(histogram_us(h.get(), 0.99), 99000, 99000 * 0.016);
    EXPECT_NEAR(histogram_us(h.get(), 1), 100000, 100000 * 0.016);
}

TEST(Histogram, EveryMagnitude)
{
    for (double ns = 1; ns < 3e11; ns *= 1.37) {
        auto h = std::make_unique<histogram>();
        histogram_add(h.get(), static_cast<int64_t>(ns));
        EXPECT_NEAR(histogram_us(h.get(), 0.5), std::floor(ns) / 1000, ns / 1000 * 0.016) << ns;
    }
}

} // namespace
