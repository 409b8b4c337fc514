/* A log line is one JSON object. */
#include "base/json.h"
#include "base/log.h"

#include <gtest/gtest.h>

#include <string>

namespace {

class Log : public testing::Test {
  protected:
    void SetUp() override
    {
        wm_arena_init(&arena, 0);
    }
    void TearDown() override
    {
        wm_log_set_level(WM_LOG_INFO);
        wm_arena_free(&arena);
    }
    const wm_json *parse(const std::string &line)
    {
        wm_json *json = nullptr;
        wm_err err;
        if (line.empty() || line.back() != '\n')
            return nullptr;
        EXPECT_EQ(wm_json_parse(&arena, line.data(), line.size(), &json, &err), WM_OK) << line;
        return json;
    }
    wm_arena arena;
};

TEST_F(Log, WritesOneObjectALine)
{
    testing::internal::CaptureStderr();
    wm_log(WM_LOG_WARN, "serving \"now\"", wm_log_s("address", "[::]:1\n"), wm_log_i("lanes", 2),
           wm_log_f("load", 0.25), wm_log_s("nothing", nullptr));
    const wm_json *json = parse(testing::internal::GetCapturedStderr());
    ASSERT_NE(json, nullptr);
    EXPECT_STREQ(wm_json_find(json, "level")->text, "warn");
    EXPECT_STREQ(wm_json_find(json, "msg")->text, "serving \"now\"");
    EXPECT_STREQ(wm_json_find(json, "address")->text, "[::]:1\n");
    EXPECT_EQ(wm_json_find(json, "lanes")->number, 2);
    EXPECT_EQ(wm_json_find(json, "load")->number, 0.25);
    EXPECT_EQ(wm_json_find(json, "nothing")->kind, WM_JSON_NULL);
    EXPECT_NE(wm_json_find(json, "time"), nullptr);
}

TEST_F(Log, LeavesOutWhatIsBelowTheLevel)
{
    testing::internal::CaptureStderr();
    wm_log(WM_LOG_DEBUG, "not seen");
    wm_log_set_level(WM_LOG_ERROR);
    wm_log(WM_LOG_WARN, "not seen");
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_F(Log, CutsALineThatIsTooLong)
{
    std::string big(20000, 'x');
    testing::internal::CaptureStderr();
    wm_log(WM_LOG_ERROR, "big", wm_log_s("text", big.c_str()));
    const wm_json *json = parse(testing::internal::GetCapturedStderr());
    ASSERT_NE(json, nullptr);
    EXPECT_TRUE(wm_json_find(json, "cut")->boolean);
}

} // namespace
