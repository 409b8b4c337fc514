/* Randomness and UUIDv7. */
#include "base/clock.h"
#include "base/random.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

std::string text_of(const wm_uuid &uuid)
{
    char text[WM_UUID_TEXT_SIZE];
    wm_uuid_format(&uuid, text);
    return text;
}

TEST(Random, BytesDiffer)
{
    std::set<std::string> seen;
    for (int i = 0; i < 1000; i++) {
        char bytes[16];
        wm_random_bytes(bytes, sizeof(bytes));
        EXPECT_TRUE(seen.emplace(bytes, sizeof(bytes)).second);
    }
    char big[5000] = {0};
    wm_random_bytes(big, sizeof(big));
    EXPECT_NE(std::string(big + 4990, 10), std::string(10, '\0'));
}

TEST(Random, BelowStaysBelowAndReachesAll)
{
    std::set<uint64_t> seen;
    for (int i = 0; i < 1000; i++) {
        uint64_t number = wm_random_below(7);
        ASSERT_LT(number, 7u);
        seen.insert(number);
    }
    EXPECT_EQ(seen.size(), 7u);
    EXPECT_EQ(wm_random_below(0), 0u);
    EXPECT_EQ(wm_random_below(1), 0u);
}

TEST(Uuid, IsVersionSevenAndOrdered)
{
    std::string last;
    for (int i = 0; i < 20000; i++) {
        std::string text = text_of(wm_uuid_new());
        ASSERT_LT(last, text);
        ASSERT_EQ(text[14], '7');
        ASSERT_NE(strchr("89ab", text[19]), nullptr);
        last = text;
    }
}

TEST(Uuid, CarriesTheTime)
{
    wm_uuid uuid = wm_uuid_new();
    int64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | uuid.bytes[i];
    EXPECT_NEAR(static_cast<double>(ms), static_cast<double>(wm_now_us()) / 1000, 2000);
}

TEST(Uuid, ThreadsDoNotCollide)
{
    std::vector<std::vector<std::string>> made(4);
    std::vector<std::thread> threads;
    for (auto &list : made)
        threads.emplace_back([&list] {
            for (int i = 0; i < 5000; i++)
                list.push_back(text_of(wm_uuid_new()));
        });
    for (auto &thread : threads)
        thread.join();
    std::set<std::string> all;
    for (auto &list : made)
        all.insert(list.begin(), list.end());
    EXPECT_EQ(all.size(), 20000u);
}

TEST(Uuid, ReadsWhatItWrites)
{
    wm_uuid uuid = wm_uuid_new(), back;
    ASSERT_TRUE(wm_uuid_parse(text_of(uuid).c_str(), &back));
    EXPECT_EQ(memcmp(&uuid, &back, sizeof(uuid)), 0);
    ASSERT_TRUE(wm_uuid_parse("0190B6A0-0000-7ABC-8DEF-0123456789AB", &back));
    EXPECT_EQ(text_of(back), "0190b6a0-0000-7abc-8def-0123456789ab");
    const char *const bad[] = {"",
                               "0190b6a0",
                               "0190b6a0-0000-7abc-8def-0123456789a",
                               "0190b6a0-0000-7abc-8def-0123456789abc",
                               "0190b6a000007abc8def0123456789ab",
                               "0190b6a0-0000-7abc-8def-0123456789ag"};
    for (const char *text : bad)
        EXPECT_FALSE(wm_uuid_parse(text, &back)) << text;
}

} // namespace
