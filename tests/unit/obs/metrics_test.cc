// The text that Prometheus reads.
#include <gtest/gtest.h>

#include <string>

#include "server/obs/metrics.h"
#include "server/obs/process_metrics.h"

namespace {

const obs_family kFamilies[] = {
    {"test_calls", OBS_COUNTER, "Calls.\nOf \"all\" kinds, with a \\."},
    {"test_open", OBS_GAUGE, "Open."},
    {"test_seconds", OBS_HISTOGRAM, "Time."},
    {"test_batch_seconds", OBS_SUMMARY, "Batches."},
    {"test_none", OBS_GAUGE, "Never seen."},
};

struct Numbers {
    int reads = 0;
    obs_histogram times = {};
};

void write_numbers(void *ctx, size_t family, obs_page *page)
{
    auto *numbers = static_cast<Numbers *>(ctx);
    const obs_label labels[] = {{"method", "/a/\"b\"\\\n"}, {"code", "OK"}};
    obs_histogram_sum sum = {};

    switch (family) {
    case 0:
        obs_sample(page, labels, 2, 18446744073709551615u);
        break;
    case 1:
        obs_sample_real(page, nullptr, 0, 0.5);
        break;
    case 2:
        obs_histogram_add(&sum, &numbers->times);
        obs_histogram_add(&sum, &numbers->times);
        obs_sample_histogram(page, labels + 1, 1, &sum);
        break;
    case 3:
        obs_sample_summary(page, nullptr, 0, 3, 1500000);
        break;
    default:
        break;
    }
}

class Metrics : public testing::Test {
  protected:
    void SetUp() override
    {
        obs_source source = {};
        source.families = kFamilies;
        source.n_families = WM_ARRAY_LEN(kFamilies);
        source.read = [](void *ctx) { static_cast<Numbers *>(ctx)->reads++; };
        source.write = write_numbers;
        source.ctx = &numbers_;
        obs_metrics_add(metrics_, &source);
    }
    void TearDown() override
    {
        obs_metrics_free(metrics_);
    }
    std::string page(obs_format format = OBS_PROMETHEUS)
    {
        wm_buf buf;
        wm_buf_init(&buf, OBS_PAGE_SIZE_MAX);
        obs_metrics_write(metrics_, format, &buf);
        EXPECT_FALSE(buf.failed);
        std::string text(buf.data, buf.size);
        wm_buf_free(&buf);
        return text;
    }
    bool has(const std::string &line, obs_format format = OBS_PROMETHEUS)
    {
        return ("\n" + page(format)).find("\n" + line + "\n") != std::string::npos;
    }
    obs_metrics *metrics_ = obs_metrics_new();
    Numbers numbers_;
};

TEST_F(Metrics, EscapesHelpAndLabels)
{
    EXPECT_TRUE(has("# HELP test_calls_total Calls.\\nOf \\\"all\\\" kinds, with a \\\\."))
        << page();
    EXPECT_TRUE(
        has("test_calls_total{method=\"/a/\\\"b\\\"\\\\\\n\",code=\"OK\"} 18446744073709551615"));
    EXPECT_TRUE(has("test_open 0.5"));
}

TEST_F(Metrics, ReadsOncePerPageAndShowsFamiliesWithoutSamples)
{
    EXPECT_TRUE(has("# TYPE test_none gauge"));
    EXPECT_EQ(numbers_.reads, 1);
}

TEST_F(Metrics, OpenMetricsNamesTheFamilyAndEnds)
{
    EXPECT_TRUE(has("# TYPE test_calls_total counter"));
    EXPECT_TRUE(has("# TYPE test_calls counter", OBS_OPENMETRICS));
    EXPECT_TRUE(
        has("test_calls_total{method=\"/a/\\\"b\\\"\\\\\\n\",code=\"OK\"} 18446744073709551615",
            OBS_OPENMETRICS));
    std::string text = page(OBS_OPENMETRICS);
    EXPECT_EQ(text.substr(text.size() - 6), "# EOF\n");
    EXPECT_EQ(page().find("# EOF"), std::string::npos);
}

TEST_F(Metrics, HistogramsSumUp)
{
    for (int64_t us : {0, 250, 251, 1000, 1001, 10000000, 10000001, 999999999})
        obs_histogram_observe(&numbers_.times, us);
    EXPECT_TRUE(has("test_seconds_bucket{code=\"OK\",le=\"0.00025\"} 4")) << page();
    EXPECT_TRUE(has("test_seconds_bucket{code=\"OK\",le=\"0.0005\"} 6"));
    EXPECT_TRUE(has("test_seconds_bucket{code=\"OK\",le=\"0.001\"} 8"));
    EXPECT_TRUE(has("test_seconds_bucket{code=\"OK\",le=\"0.0025\"} 10"));
    EXPECT_TRUE(has("test_seconds_bucket{code=\"OK\",le=\"10.0\"} 12"));
    EXPECT_TRUE(has("test_seconds_bucket{code=\"OK\",le=\"+Inf\"} 16"));
    EXPECT_TRUE(has("test_seconds_count{code=\"OK\"} 16"));
    EXPECT_TRUE(has("test_seconds_sum{code=\"OK\"} 2040.005004"));
    EXPECT_TRUE(has("test_batch_seconds_sum 1.5"));
    EXPECT_TRUE(has("test_batch_seconds_count 3"));
}

TEST_F(Metrics, TimesBeforeZeroCountAsZero)
{
    obs_histogram_observe(&numbers_.times, -5);
    EXPECT_TRUE(has("test_seconds_sum{code=\"OK\"} 0"));
    EXPECT_TRUE(has("test_seconds_count{code=\"OK\"} 2"));
}

TEST_F(Metrics, APageThatIsTooBigFails)
{
    wm_buf buf;
    wm_buf_init(&buf, 100);
    obs_metrics_write(metrics_, OBS_PROMETHEUS, &buf);
    EXPECT_TRUE(buf.failed);
    wm_buf_free(&buf);
}

double value_of(const std::string &page, const std::string &name)
{
    size_t at = ("\n" + page).find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(page.substr(at + name.size()));
}

TEST_F(Metrics, TheProcessIsSeen)
{
    obs_process_add(metrics_, "1.2.3");
    std::string text = page();
    EXPECT_TRUE(has("waymark_build_info{version=\"1.2.3\"} 1"));
    EXPECT_GT(value_of(text, "process_resident_memory_bytes"), 1e6) << text;
    EXPECT_GT(value_of(text, "process_virtual_memory_bytes"),
              value_of(text, "process_resident_memory_bytes"));
    EXPECT_GE(value_of(text, "process_open_fds"), 3);
    EXPECT_GE(value_of(text, "process_max_fds"), value_of(text, "process_open_fds"));
    EXPECT_GE(value_of(text, "process_cpu_seconds_total"), 0);
    EXPECT_GE(value_of(text, "process_threads"), 1);
    EXPECT_LT(value_of(text, "process_threads"), 100);
    EXPECT_NEAR(value_of(text, "process_start_time_seconds"), static_cast<double>(time(nullptr)),
                300);
}

} // namespace
