// Names and numbers of limits; what they do is in tests/integration/rpc/limits_test.py.
#include <gtest/gtest.h>

#include <string>

#include "server/rpc/rpc.h"

namespace {

struct Parsed {
    explicit Parsed(const std::string &text)
    {
        code = rpc_limit_parse(text.c_str(), &limit, name, &err);
    }
    rpc_limit limit = {};
    char name[RPC_LIMIT_NAME_SIZE];
    wm_err err = {};
    wm_code code;
};

TEST(LimitParse, OneTwoAndThreeNumbers)
{
    Parsed one("waymark.geo.v1.TrackService/SearchNearby=200");
    ASSERT_EQ(one.code, WM_OK) << one.err.message;
    EXPECT_STREQ(one.limit.method, "waymark.geo.v1.TrackService/SearchNearby");
    EXPECT_EQ(one.limit.in_flight_max, 200u);
    EXPECT_EQ(one.limit.waiting_max, 0u);
    Parsed two("*=1:50");
    ASSERT_EQ(two.code, WM_OK);
    EXPECT_EQ(two.limit.waiting_max, 50u);
    EXPECT_EQ(two.limit.wait_max_ms, 0u) << "the default";
    Parsed three("a*=1:0:1000000");
    ASSERT_EQ(three.code, WM_OK);
    EXPECT_EQ(three.limit.wait_max_ms, 1000000u);
}

TEST(LimitParse, Refuses)
{
    for (const char *text : {"", "=", "=1", "a", "a=", "a=0", "a=-1", "a=+1", "a= 1", "a=1 ",
                             "a=1:", "a=1:x", "a=1:2:", "a=1:2:0", "a=1:2:3:", "a=1:2:3:4",
                             "a=1000001", "a=99999999999999999999999", "a=1.5"}) {
        Parsed parsed(text);
        EXPECT_EQ(parsed.code, WM_INVALID) << text;
        EXPECT_STREQ(parsed.err.reason, "OPTION_INVALID");
    }
    EXPECT_EQ(Parsed(std::string(RPC_LIMIT_NAME_SIZE, 'a') + "=1").code, WM_INVALID);
    EXPECT_EQ(Parsed(std::string(RPC_LIMIT_NAME_SIZE - 1, 'a') + "=1").code, WM_OK);
}

} // namespace
