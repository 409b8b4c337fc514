// Limits by name, and the table of them in docs/operations.md.
#include "server/gate/limits.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

namespace {

TEST(GateLimits, AreSetByName)
{
    gate_limits limits;
    wm_err err;
    gate_limits_init(&limits);
    EXPECT_EQ(WM_OK, gate_limits_set(&limits, "resets=7:9", &err));
    EXPECT_EQ(7u, limits.resets.per_s);
    EXPECT_EQ(9u, limits.resets.burst);
    EXPECT_EQ(WM_OK, gate_limits_set(&limits, "header-bytes=4096", &err));
    EXPECT_EQ(4096u, limits.header_bytes);
}

TEST(GateLimits, RefuseWhatMeansNothing)
{
    const char *texts[] = {
        "",           "resets",     "resets=",     "resets=7",    "resets=7:",
        "resets=0:1", "resets=1:0", "resets=7:9x", "resets=-1:2", "nothing=1",
        "streams=",   "streams=x",  "streams=1:2", "streams=0",   "streams=4294967296",
        "streams= 5"};
    for (const char *text : texts) {
        gate_limits limits;
        wm_err err;
        gate_limits_init(&limits);
        EXPECT_EQ(WM_INVALID, gate_limits_set(&limits, text, &err)) << text;
    }
}

TEST(GateLimits, HaveAMostForRates)
{
    gate_limits limits;
    wm_err err;
    gate_limits_init(&limits);
    EXPECT_EQ(WM_OK, gate_limits_set(&limits, "address-opens=1000000:512", &err));
    EXPECT_EQ(WM_INVALID, gate_limits_set(&limits, "address-opens=1000001:512", &err));
    EXPECT_STREQ("address-opens: 1000001 a second is more than 1000000, which is the most",
                 err.message);
    EXPECT_EQ(1000000u, limits.address_opens.per_s);
}

TEST(GateLimits, DescribesEachAndTakesItsOwnDescription)
{
    gate_limits limits, again;
    gate_limits_init(&limits);
    memset(&again, 0, sizeof(again));
    const char *name;
    char value[64];
    size_t n = 0;
    for (; gate_limits_describe(&limits, n, &name, value, sizeof(value)); n++) {
        wm_err err;
        EXPECT_EQ(WM_OK, gate_limits_set(&again, (std::string(name) + "=" + value).c_str(), &err))
            << err.message;
    }
    EXPECT_GT(n, 10u);
    EXPECT_EQ(0, memcmp(&limits, &again, sizeof(limits)));
}

TEST(GateLimits, AreDocumented)
{
    std::ifstream file("docs/operations.md");
    ASSERT_TRUE(file.good());
    std::stringstream text;
    text << file.rdbuf();
    gate_limits limits;
    gate_limits_init(&limits);
    const char *name;
    char value[64];
    for (size_t i = 0; gate_limits_describe(&limits, i, &name, value, sizeof(value)); i++) {
        std::string row = std::string("| `") + name + "` | " + value + " |";
        EXPECT_NE(std::string::npos, text.str().find(row)) << row;
    }
}

} // namespace
