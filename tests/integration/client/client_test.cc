// Unary calls of the C SDK against the real call runtime, by generated stubs on both sides.
#include <memory>

#include "tests/integration/client/fixture.h"

namespace waymark_test {
namespace {

class ClientTest : public SdkTest {
  protected:
    void SetUp() override
    {
        SdkTest::SetUp();
        client_ = NewClient();
    }

    waymark_client *client_ = nullptr;
};

TEST_F(ClientTest, UnaryWaitsAndKeepsTheResponse)
{
    std::string payload(100000, 'x'), text = "hällo";
    EchoRequest request = MakeEcho(42);
    request.payload.data = reinterpret_cast<uint8_t *>(payload.data());
    request.payload.len = payload.size();
    request.text = text.data();

    waymark_reply *reply;
    const EchoResponse *response =
        waymark_testing_v1_echo_service_echo_sync(client_, &request, nullptr, &reply);
    ASSERT_NE(response, nullptr) << waymark_reply_status(reply)->message;
    EXPECT_EQ(waymark_reply_status(reply)->code, WAYMARK_OK);
    EXPECT_EQ(response->number, 42);
    EXPECT_EQ(response->text, text);
    EXPECT_EQ(std::string(reinterpret_cast<char *>(response->payload.data), response->payload.len),
              payload);
    waymark_reply_free(reply);
}

TEST_F(ClientTest, UnaryCallsBackOnce)
{
    Tally outcome;
    for (int i = 0; i < 2000; i++) {
        EchoRequest request = MakeEcho(i);
        waymark_testing_v1_echo_service_echo(client_, &request, nullptr, TallyEcho, &outcome);
    }
    ASSERT_TRUE(outcome.Wait(2000));
    Free(client_);
    EXPECT_EQ(outcome.ended, 2000);
    EXPECT_EQ(outcome.ok, 2000) << outcome.failure;
}

TEST_F(ClientTest, StatusCarriesDetails)
{
    Waymark__Testing__V1__FailRequest request = WAYMARK__TESTING__V1__FAIL_REQUEST__INIT;
    std::string reason = "FIELD_INVALID", field = "positions[17].lon_deg";
    request.code = WAYMARK_INVALID_ARGUMENT;
    request.reason = reason.data();
    request.field = field.data();
    request.retry_after_ms = 1500;

    waymark_reply *reply;
    EXPECT_EQ(waymark_testing_v1_echo_service_fail_sync(client_, &request, nullptr, &reply),
              nullptr);
    const waymark_status *status = waymark_reply_status(reply);
    EXPECT_EQ(status->code, WAYMARK_INVALID_ARGUMENT);
    EXPECT_STREQ(status->reason, "FIELD_INVALID");
    EXPECT_STREQ(status->domain, "waymark");
    EXPECT_EQ(status->retry_delay_ms, 1500);
    ASSERT_EQ(status->n_violations, 1u);
    EXPECT_EQ(status->violations[0].field, field);
    EXPECT_STRNE(status->violations[0].description, "");
    EXPECT_STREQ(waymark_code_name(status->code), "INVALID_ARGUMENT");
    waymark_reply_free(reply);
}

TEST_F(ClientTest, AMethodWithoutHandlerIsUnimplemented)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    EchoRequest request = MakeEcho(1);
    waymark_reply *reply;
    EXPECT_EQ(waymark_testing_v1_echo_service_retire_sync(client_, &request, nullptr, &reply),
              nullptr);
    EXPECT_EQ(waymark_reply_status(reply)->code, WAYMARK_UNIMPLEMENTED);
    EXPECT_STREQ(waymark_reply_status(reply)->reason, "METHOD_UNKNOWN");
    waymark_reply_free(reply);
#pragma GCC diagnostic pop
}

TEST_F(ClientTest, DeadlineEndsTheCallOnBothSides)
{
    uint64_t cancelled = echo_server_cancelled();
    EchoRequest request = MakeEcho(1, 10000);
    waymark_call_options options = {};
    waymark_reply *reply;
    options.timeout_ms = 50;
    EXPECT_EQ(waymark_testing_v1_echo_service_echo_sync(client_, &request, &options, &reply),
              nullptr);
    EXPECT_EQ(waymark_reply_status(reply)->code, WAYMARK_DEADLINE_EXCEEDED);
    waymark_reply_free(reply);
    EXPECT_TRUE(Eventually([&] { return echo_server_cancelled() > cancelled; }));
}

TEST_F(ClientTest, CancelByHandle)
{
    Tally outcome;
    uint64_t cancelled = echo_server_cancelled();
    EchoRequest request = MakeEcho(1, 10000);
    waymark_call *call = nullptr;
    waymark_call_options options = {};
    options.call = &call;
    waymark_testing_v1_echo_service_echo(client_, &request, &options, TallyEcho, &outcome);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    waymark_call_cancel(call);
    ASSERT_TRUE(outcome.Wait());
    EXPECT_EQ(outcome.code, WAYMARK_CANCELLED);
    waymark_call_cancel(call); // after the end: nothing
    waymark_call_free(call);
    EXPECT_TRUE(Eventually([&] { return echo_server_cancelled() > cancelled; }));
}

TEST_F(ClientTest, BadMetadataIsRefusedHere)
{
    EchoRequest request = MakeEcho(1);
    waymark_metadata metadata = {"Bad Key", "x", 1};
    waymark_call_options options = {};
    waymark_reply *reply;
    options.metadata = &metadata;
    options.n_metadata = 1;
    EXPECT_EQ(waymark_testing_v1_echo_service_echo_sync(client_, &request, &options, &reply),
              nullptr);
    EXPECT_EQ(waymark_reply_status(reply)->code, WAYMARK_INVALID_ARGUMENT);
    EXPECT_STREQ(waymark_reply_status(reply)->reason, "METADATA_INVALID");
    EXPECT_STREQ(waymark_reply_status(reply)->domain, "waymark.client");
    waymark_reply_free(reply);
}

TEST_F(ClientTest, FreeCancelsAndWaits)
{
    Tally outcome;
    for (int i = 0; i < 50; i++) {
        EchoRequest request = MakeEcho(i, 60000);
        waymark_testing_v1_echo_service_echo(client_, &request, nullptr, TallyEcho, &outcome);
    }
    Free(client_);
    EXPECT_EQ(outcome.ended, 50); // all of them, and none later
    EXPECT_EQ(outcome.code, WAYMARK_CANCELLED);
}

TEST_F(ClientTest, SeveralThreadsRunCallbacks)
{
    waymark_client_options options = {};
    options.address = address_.c_str();
    options.threads = 3;
    waymark_client *client = waymark_client_new(&options, nullptr);
    ASSERT_NE(client, nullptr);

    std::vector<std::unique_ptr<Tally>> outcomes;
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; t++) {
        outcomes.push_back(std::make_unique<Tally>());
        callers.emplace_back([client, outcome = outcomes.back().get()] {
            for (int i = 0; i < 300; i++) {
                EchoRequest request = MakeEcho(i);
                waymark_testing_v1_echo_service_echo(client, &request, nullptr, TallyEcho, outcome);
            }
            for (int i = 0; i < 50; i++) {
                EchoRequest request = MakeEcho(i);
                waymark_reply *reply;
                const EchoResponse *response =
                    waymark_testing_v1_echo_service_echo_sync(client, &request, nullptr, &reply);
                EXPECT_TRUE(response != nullptr && response->number == i);
                waymark_reply_free(reply);
            }
        });
    }
    for (auto &caller : callers)
        caller.join();
    for (auto &outcome : outcomes)
        ASSERT_TRUE(outcome->Wait(300));
    waymark_client_free(client);
    for (auto &outcome : outcomes)
        EXPECT_EQ(outcome->ok, 300) << outcome->failure;
}

// A callback may start the next call.
struct Chain {
    waymark_client *client;
    Tally outcome;
    int left = 500;
};

void ChainDone(void *ctx, const waymark_status *status, const EchoResponse *)
{
    auto *chain = static_cast<Chain *>(ctx);
    if (--chain->left == 0) {
        chain->outcome.End(status);
        return;
    }
    EchoRequest request = MakeEcho(chain->left);
    waymark_testing_v1_echo_service_echo(chain->client, &request, nullptr, ChainDone, chain);
}

TEST_F(ClientTest, CallbacksMayCall)
{
    Chain chain;
    chain.client = client_;
    EchoRequest request = MakeEcho(0);
    waymark_testing_v1_echo_service_echo(client_, &request, nullptr, ChainDone, &chain);
    ASSERT_TRUE(chain.outcome.Wait());
    EXPECT_EQ(chain.outcome.code, WAYMARK_OK);
}

TEST_F(ClientTest, ReconnectsAfterTheServerCameBack)
{
    EchoRequest request = MakeEcho(7);
    waymark_reply *reply;
    StopServer();
    EXPECT_EQ(waymark_testing_v1_echo_service_echo_sync(client_, &request, nullptr, &reply),
              nullptr);
    EXPECT_EQ(waymark_reply_status(reply)->code, WAYMARK_UNAVAILABLE);
    waymark_reply_free(reply);

    server_ = echo_server_start(address_.c_str());
    waymark_call_options options = {};
    options.wait_for_ready = true;
    const EchoResponse *response =
        waymark_testing_v1_echo_service_echo_sync(client_, &request, &options, &reply);
    ASSERT_NE(response, nullptr) << waymark_reply_status(reply)->message;
    EXPECT_EQ(response->number, 7);
    waymark_reply_free(reply);
}

// ---- options ----

TEST(ClientOptions, WhatIsWrongIsSaid)
{
    waymark_client_options options = {};
    waymark_problem problem = {};
    EXPECT_EQ(waymark_client_new(&options, &problem), nullptr);
    EXPECT_EQ(problem.code, WAYMARK_INVALID_ARGUMENT);

    options.address = "127.0.0.1:1";
    options.tls = true;
    options.ca_file = "/nonexistent/ca.pem";
    EXPECT_EQ(waymark_client_new(&options, &problem), nullptr);
    EXPECT_NE(std::string(problem.message).find("/nonexistent/ca.pem"), std::string::npos);
}

TEST(ClientOptions, NobodyListens)
{
    waymark_client_options options = {};
    options.address = "127.0.0.1:1";
    waymark_client *client = waymark_client_new(&options, nullptr);
    ASSERT_NE(client, nullptr);
    EchoRequest request = MakeEcho(1);
    waymark_reply *reply;
    EXPECT_EQ(waymark_testing_v1_echo_service_echo_sync(client, &request, nullptr, &reply),
              nullptr);
    EXPECT_EQ(waymark_reply_status(reply)->code, WAYMARK_UNAVAILABLE);
    waymark_reply_free(reply);
    waymark_client_free(client);
}

} // namespace
} // namespace waymark_test
