/* RFC 3339 both ways. */
#include "base/clock.h"

#include <gtest/gtest.h>

#include <cstring>
#include <ctime>
#include <string>

namespace {

std::string format(int64_t time_us)
{
    char text[WM_TIME_TEXT_SIZE];
    wm_time_format(time_us, text);
    return text;
}

TEST(Clock, FormatsTimes)
{
    const struct {
        int64_t time_us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {500000, "1970-01-01T00:00:00.5Z"},
        {INT64_C(1533099600000000), "2018-08-01T05:00:00Z"},
        {INT64_C(951782400000000), "2000-02-29T00:00:00Z"},
        {INT64_C(-2203891200000000), "1900-03-01T00:00:00Z"},
        {INT64_C(-62135596800000000), "0001-01-01T00:00:00Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999999Z"},
    };
    for (const auto &c : cases) {
        EXPECT_EQ(format(c.time_us), c.text);
        int64_t back;
        ASSERT_TRUE(wm_time_parse(c.text, strlen(c.text), &back)) << c.text;
        EXPECT_EQ(back, c.time_us) << c.text;
    }
}

TEST(Clock, ClampsWhatHasNoText)
{
    EXPECT_EQ(format(INT64_MIN).substr(0, 10), "0001-01-01");
    EXPECT_EQ(format(INT64_MAX).substr(0, 10), "9999-12-31");
}

TEST(Clock, ParsesOffsetsAndFractions)
{
    const struct {
        const char *text, *same;
    } cases[] = {
        {"2018-08-01T07:00:00+02:00", "2018-08-01T05:00:00Z"},
        {"2018-07-31T21:30:00-07:30", "2018-08-01T05:00:00Z"},
        {"2018-08-01t05:00:00z", "2018-08-01T05:00:00Z"},
        {"2018-08-01 05:00:00Z", "2018-08-01T05:00:00Z"},
        {"2018-08-01T05:00:00.123456789123Z", "2018-08-01T05:00:00.123456Z"},
        {"2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"},
    };
    for (const auto &c : cases) {
        int64_t time_us;
        ASSERT_TRUE(wm_time_parse(c.text, strlen(c.text), &time_us)) << c.text;
        EXPECT_EQ(format(time_us), c.same) << c.text;
    }
}

TEST(Clock, RefusesWhatIsNotATime)
{
    const char *const cases[] = {
        "",
        "2018",
        "2018-08-01",
        "2018-08-01T05:00:00",
        "2018-08-01T05:00Z",
        "2018-8-1T05:00:00Z",
        "2018-13-01T05:00:00Z",
        "2018-00-01T05:00:00Z",
        "2018-02-29T05:00:00Z",
        "1900-02-29T05:00:00Z",
        "2018-04-31T05:00:00Z",
        "2018-08-01T24:00:00Z",
        "2018-08-01T05:60:00Z",
        "2018-08-01T05:00:61Z",
        "2018-08-01T05:00:00.Z",
        "2018-08-01T05:00:00+2:00",
        "2018-08-01T05:00:00+24:00",
        "2018-08-01T05:00:00Zx",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        " 2018-08-01T05:00:00Z",
        "2018-08-01T05:00:00Z ",
    };
    for (const char *text : cases) {
        int64_t time_us;
        EXPECT_FALSE(wm_time_parse(text, strlen(text), &time_us)) << text;
    }
}

TEST(Clock, AgreesWithTheSystemsCalendar)
{
    for (int64_t day = -200000; day < 200000; day += 37) {
        time_t seconds = day * 86400 + 12345;
        struct tm tm;
        char expected[40];
        gmtime_r(&seconds, &tm);
        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%SZ", &tm);
        ASSERT_EQ(format(seconds * 1000000), expected);
    }
}

TEST(Clock, MonotonicGoesForward)
{
    int64_t before = wm_monotonic_us();
    EXPECT_GE(wm_monotonic_us(), before);
    EXPECT_GT(wm_now_us(), INT64_C(1600000000000000));
}

} // namespace
