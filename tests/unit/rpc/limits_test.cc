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

TEST(ConnectionSet, EachNumberByItsName)
{
    rpc_connection_config connection = {};
    wm_err err = {};
    const struct {
        const char *name;
        const uint32_t *number;
    } numbers[] = {
        {"keepalive-ms", &connection.keepalive_ms},
        {"keepalive-timeout-ms", &connection.keepalive_timeout_ms},
        {"client-ping-min-ms", &connection.client_ping_min_ms},
        {"ping-strikes-max", &connection.ping_strikes_max},
        {"idle-max-ms", &connection.idle_max_ms},
        {"age-max-ms", &connection.age_max_ms},
        {"age-grace-ms", &connection.age_grace_ms},
        {"streams-max", &connection.streams_max},
        {"metadata-size-max", &connection.metadata_size_max},
    };
    uint32_t value = 0;
    EXPECT_EQ(sizeof(connection), WM_ARRAY_LEN(numbers) * sizeof(uint32_t)) << "one is missing";
    for (const auto &each : numbers) {
        std::string text = std::string(each.name) + "=" + std::to_string(++value);
        EXPECT_EQ(rpc_connection_set(&connection, text.c_str(), &err), WM_OK) << err.message;
    }
    value = 0;
    for (const auto &each : numbers)
        EXPECT_EQ(*each.number, ++value) << each.name;
}

TEST(ConnectionSet, Refuses)
{
    rpc_connection_config connection = {};
    for (const char *text : {"", "=", "=1", "age", "age=1", "age-max-ms",
                             "age-max-ms=", "age-max-ms=x", "age-max-ms=-1", "age-max-ms=1x",
                             "age-max-ms=1000000000", "age-max-ms =1", "age-max-ms= 1"}) {
        wm_err err = {};
        EXPECT_EQ(rpc_connection_set(&connection, text, &err), WM_INVALID) << text;
        EXPECT_STREQ(err.reason, "OPTION_INVALID");
    }
    EXPECT_EQ(connection.age_max_ms, 0u);
}

} // namespace
