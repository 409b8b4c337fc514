// The SDK repeats calls that may be repeated, and no others.
#include "tests/integration/client/fixture.h"

namespace waymark_test {
namespace {

using RetryTest = SdkTest;

TEST_F(RetryTest, AReadIsRepeatedUntilItSucceeds)
{
    waymark_client *client = NewClient();
    echo_server_fail_next(server_, 2, WAYMARK_UNAVAILABLE, 0);
    EXPECT_EQ(CallNothing(client).code, WAYMARK_OK);
    EXPECT_EQ(echo_server_calls(server_), 3u);
}

TEST_F(RetryTest, NotMoreOftenThanAllowed)
{
    waymark_client *client = NewClient();
    echo_server_fail_next(server_, 100, WAYMARK_UNAVAILABLE, 0);
    EXPECT_EQ(CallNothing(client).code, WAYMARK_UNAVAILABLE);
    EXPECT_EQ(echo_server_calls(server_), 3u);
}

TEST_F(RetryTest, AWriteIsNot)
{
    waymark_client *client = NewClient();
    echo_server_fail_next(server_, 1, WAYMARK_UNAVAILABLE, 0);
    EXPECT_EQ(Echo(client).code, WAYMARK_UNAVAILABLE);
    EXPECT_EQ(echo_server_calls(server_), 1u);
}

TEST_F(RetryTest, NorOtherFailures)
{
    waymark_client *client = NewClient();
    for (int code : {WAYMARK_INTERNAL, WAYMARK_RESOURCE_EXHAUSTED, WAYMARK_ABORTED,
                     WAYMARK_NOT_FOUND, WAYMARK_UNAUTHENTICATED}) {
        uint64_t before = echo_server_calls(server_);
        echo_server_fail_next(server_, 1, code, 0);
        EXPECT_EQ(CallNothing(client).code, code);
        EXPECT_EQ(echo_server_calls(server_), before + 1);
    }
}

TEST_F(RetryTest, WaitsAsLongAsTheServerAsks)
{
    waymark_client *client = NewClient();
    echo_server_fail_next(server_, 1, WAYMARK_RESOURCE_EXHAUSTED, 400);
    auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(CallNothing(client).code, WAYMARK_OK);
    EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(400));
    EXPECT_EQ(echo_server_calls(server_), 2u);
}

TEST_F(RetryTest, NotBeyondTheDeadline)
{
    waymark_client *client = NewClient();
    waymark_call_options options = {};
    options.timeout_ms = 5000;
    echo_server_fail_next(server_, 1, WAYMARK_UNAVAILABLE, 60000);
    Ended ended = CallNothing(client, options);
    EXPECT_EQ(ended.code, WAYMARK_UNAVAILABLE); // at once, and it says when to come back
    EXPECT_EQ(ended.retry_delay_ms, 60000);
    EXPECT_EQ(echo_server_calls(server_), 1u);
}

TEST_F(RetryTest, ACallOrAClientMayTurnItOff)
{
    waymark_client *client = NewClient();
    waymark_call_options once = {};
    once.attempts_max = 1;
    echo_server_fail_next(server_, 1, WAYMARK_UNAVAILABLE, 0);
    EXPECT_EQ(CallNothing(client, once).code, WAYMARK_UNAVAILABLE);

    waymark_client_options options = {};
    options.retry.attempts_max = 1;
    waymark_client *other = NewClient(options);
    echo_server_fail_next(server_, 1, WAYMARK_UNAVAILABLE, 0);
    EXPECT_EQ(CallNothing(other).code, WAYMARK_UNAVAILABLE);

    waymark_call_options twice = {}; // and a call may turn it on again, but not for a write
    twice.attempts_max = 2;
    echo_server_fail_next(server_, 1, WAYMARK_UNAVAILABLE, 0);
    EXPECT_EQ(CallNothing(other, twice).code, WAYMARK_OK);
    echo_server_fail_next(server_, 1, WAYMARK_UNAVAILABLE, 0);
    EXPECT_EQ(Echo(other, twice).code, WAYMARK_UNAVAILABLE);
}

TEST_F(RetryTest, StopsWhileMostFails)
{
    waymark_client_options options = {};
    options.retry.backoff_ms = 1;
    waymark_client *client = NewClient(options);
    echo_server_fail_next(server_, 1000, WAYMARK_UNAVAILABLE, 0);
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(CallNothing(client).code, WAYMARK_UNAVAILABLE);
    EXPECT_LE(echo_server_calls(server_), 26u); // five repeated, and not fourty
}

TEST_F(RetryTest, ACancelEndsTheWait)
{
    Tally tally;
    waymark_client *client = NewClient();
    Nothing request = GOOGLE__PROTOBUF__EMPTY__INIT;
    waymark_call *call = nullptr;
    waymark_call_options options = {};
    options.call = &call;
    echo_server_fail_next(server_, 1, WAYMARK_UNAVAILABLE, 20000);
    waymark_testing_v1_echo_service_nothing(
        client, &request, &options,
        [](void *ctx, const waymark_status *status, const Nothing *) {
            static_cast<Tally *>(ctx)->End(status);
        },
        &tally);
    ASSERT_TRUE(Eventually([&] { return echo_server_calls(server_) == 1; }));
    waymark_call_cancel(call);
    ASSERT_TRUE(tally.Wait());
    EXPECT_EQ(tally.code, WAYMARK_CANCELLED);
    waymark_call_free(call);
}

TEST_F(RetryTest, FreeingTheClientEndsTheWait)
{
    Tally tally;
    waymark_client *client = NewClient();
    Nothing request = GOOGLE__PROTOBUF__EMPTY__INIT;
    echo_server_fail_next(server_, 10, WAYMARK_UNAVAILABLE, 20000);
    for (int i = 0; i < 3; i++)
        waymark_testing_v1_echo_service_nothing(
            client, &request, nullptr,
            [](void *ctx, const waymark_status *status, const Nothing *) {
                static_cast<Tally *>(ctx)->End(status);
            },
            &tally);
    ASSERT_TRUE(Eventually([&] { return echo_server_calls(server_) == 3; }));
    Free(client);
    EXPECT_EQ(tally.ended, 3);
}

TEST_F(RetryTest, SurvivesARestartOfTheServer)
{
    waymark_client_options options = {};
    options.retry = {5, 400, 2000};
    waymark_client *client = NewClient(options);
    EXPECT_EQ(CallNothing(client).code, WAYMARK_OK);
    StopServer();
    std::thread later([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        server_ = echo_server_start(address_.c_str());
    });
    EXPECT_EQ(CallNothing(client).code, WAYMARK_OK);
    later.join();
}

// ---- the core's own, by a service config ----

const char *const kEchoIsRetried = R"({"methodConfig": [{
    "name": [{"service": "waymark.testing.v1.EchoService"}],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.01s", "maxBackoff": "0.1s",
                    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE", "ABORTED"]}}]})";

TEST_F(RetryTest, ByServiceConfig)
{
    waymark_client_options options = {};
    options.service_config = kEchoIsRetried;
    waymark_client *client = NewClient(options);
    echo_server_fail_next(server_, 3, WAYMARK_ABORTED, 0);
    Ended ended = Echo(client);
    EXPECT_EQ(ended.code, WAYMARK_OK);
    EXPECT_EQ(ended.Get("seen-attempts"), "3");
    EXPECT_EQ(echo_server_calls(server_), 4u);

    // Ours is off then: what the config does not name is not repeated, and nothing twice.
    echo_server_fail_next(server_, 100, WAYMARK_UNAVAILABLE, 0);
    EXPECT_EQ(CallNothing(client).code, WAYMARK_UNAVAILABLE);
    EXPECT_EQ(echo_server_calls(server_), 8u);
}

TEST_F(RetryTest, ServiceConfigRepeatsStreams)
{
    waymark_client_options options = {};
    options.service_config = kEchoIsRetried;
    waymark_client *client = NewClient(options);
    RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
    request.count = 3;
    echo_server_fail_next(server_, 2, WAYMARK_UNAVAILABLE, 0);
    waymark_stream *stream =
        waymark_testing_v1_echo_service_repeat_open(client, &request, nullptr, nullptr, nullptr);
    int n = 0;
    while (waymark_testing_v1_echo_service_repeat_read_sync(stream) != nullptr)
        n++;
    EXPECT_EQ(n, 3);
    EXPECT_EQ(waymark_stream_status(stream)->code, WAYMARK_OK);
    waymark_stream_free(stream);
}

TEST_F(RetryTest, ServiceConfigTimeouts)
{
    waymark_client_options options = {};
    options.service_config = R"({"methodConfig": [{"name": [{}], "timeout": "0.1s"}]})";
    waymark_client *client = NewClient(options);
    EXPECT_EQ(Echo(client, {}, 10000).code, WAYMARK_DEADLINE_EXCEEDED);
}

TEST_F(RetryTest, ABadServiceConfigIsRefused)
{
    waymark_client_options options = {};
    options.address = address_.c_str();
    for (const char *bad :
         {"{", "[]", R"({"loadBalancingConfig": [{"no_such_policy": {}}]})",
          R"({"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 1}}]})"}) {
        options.service_config = bad;
        EXPECT_NE(Refused(options).find("service_config"), std::string::npos) << bad;
    }
    options.service_config = "{}";
    EXPECT_EQ(Refused(options), "");
}

} // namespace
} // namespace waymark_test
