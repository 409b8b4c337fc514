// Tokens: fetched once for all, renewed in time and after a refusal, and kept on this machine.
#include "tests/integration/client/fixture.h"

namespace waymark_test {
namespace {

// Answers when the test says so.
struct Issuer {
    std::mutex lock;
    waymark_token_request *open = nullptr;
    int asked = 0;

    static void Fetch(void *ctx, waymark_token_request *request)
    {
        auto *issuer = static_cast<Issuer *>(ctx);
        std::lock_guard<std::mutex> hold(issuer->lock);
        issuer->open = request;
        issuer->asked++;
    }

    int Asked()
    {
        std::lock_guard<std::mutex> hold(lock);
        return asked;
    }

    waymark_token_request *Take()
    {
        EXPECT_TRUE(Eventually([this] {
            std::lock_guard<std::mutex> hold(lock);
            return open != nullptr;
        }));
        std::lock_guard<std::mutex> hold(lock);
        return std::exchange(open, nullptr);
    }

    void Give(const char *token, int64_t lifetime_ms = 0)
    {
        waymark_token_give(Take(), token, lifetime_ms);
    }
};

class TokenTest : public SdkTest {
  protected:
    waymark_client *NewTokenClient(waymark_token_fetch fetch, void *ctx)
    {
        waymark_client_options options = {};
        waymark_credentials *credentials = waymark_credentials_callback(fetch, ctx);
        options.credentials = credentials;
        waymark_client *client = NewClient(options);
        waymark_credentials_free(credentials);
        return client;
    }
};

TEST_F(TokenTest, OneTokenForEver)
{
    waymark_client_options options = {};
    waymark_credentials *credentials = waymark_credentials_token("secret-1\n");
    options.credentials = credentials;
    waymark_client *client = NewClient(options);
    waymark_credentials_free(credentials);
    EXPECT_EQ(Echo(client).Get("seen-authorization"), "Bearer secret-1");
}

void WriteFile(const std::string &path, const std::string &text)
{
    FILE *out = std::fopen((path + ".new").c_str(), "w");
    ASSERT_NE(out, nullptr);
    std::fputs(text.c_str(), out);
    std::fclose(out);
    ASSERT_EQ(std::rename((path + ".new").c_str(), path.c_str()), 0);
}

TEST_F(TokenTest, AFileIsReadAgain)
{
    std::string path = dir_ + "/token";
    waymark_client_options options = {};
    waymark_credentials *credentials = waymark_credentials_file(path.c_str());
    options.credentials = credentials;
    waymark_client *client = NewClient(options);
    waymark_credentials_free(credentials);

    Ended ended = Echo(client);
    EXPECT_EQ(ended.code, WAYMARK_UNAUTHENTICATED);
    EXPECT_EQ(ended.reason, "TOKEN_FILE_UNREADABLE");
    WriteFile(path, "first\n");
    EXPECT_EQ(Echo(client).Get("seen-authorization"), "Bearer first");
    WriteFile(path, "second\n");
    EXPECT_TRUE(
        Eventually([&] { return Echo(client).Get("seen-authorization") == "Bearer second"; }));

    // A refusal makes it look at once, and the call is sent again with what it finds.
    WriteFile(path, "third\n");
    echo_server_require_token(server_, "third");
    EXPECT_EQ(Echo(client).Get("seen-authorization"), "Bearer third");
    // What does not change is not sent again.
    uint64_t before = echo_server_calls(server_);
    echo_server_require_token(server_, "fourth");
    EXPECT_EQ(Echo(client).code, WAYMARK_UNAUTHENTICATED);
    EXPECT_EQ(echo_server_calls(server_), before + 1);
}

TEST_F(TokenTest, OneFetchForManyWaitingCalls)
{
    Issuer issuer;
    Tally tally;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    for (int i = 0; i < 500; i++)
        StartEcho(client, &tally);
    EXPECT_EQ(issuer.Asked(), 1);
    EXPECT_EQ(echo_server_calls(server_), 0u);
    issuer.Give("t-1");
    ASSERT_TRUE(tally.Wait(500));
    EXPECT_EQ(tally.ok, 500);
    EXPECT_EQ(issuer.Asked(), 1);
}

TEST_F(TokenTest, GivenInsideFetch)
{
    waymark_client *client = NewTokenClient(
        [](void *, waymark_token_request *request) { waymark_token_give(request, "now", 60000); },
        nullptr);
    EXPECT_EQ(Echo(client).Get("seen-authorization"), "Bearer now");
    EXPECT_EQ(Echo(client).Get("seen-authorization"), "Bearer now");
}

TEST_F(TokenTest, RenewedBeforeItsEndWithoutWaiting)
{
    Issuer issuer;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    Tally tally;
    StartEcho(client, &tally);
    issuer.Give("t-1", 2000); // renewed from 1780 to 1800 ms on
    ASSERT_TRUE(tally.Wait());

    auto start = std::chrono::steady_clock::now();
    ASSERT_TRUE(Eventually([&] {
        EXPECT_EQ(Echo(client).Get("seen-authorization"), "Bearer t-1");
        return issuer.Asked() == 2;
    }));
    EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(1500));
    EXPECT_EQ(Echo(client).Get("seen-authorization"), "Bearer t-1"); // the old one serves still
    issuer.Give("t-2", 60000);
    EXPECT_EQ(Echo(client).Get("seen-authorization"), "Bearer t-2");
    EXPECT_EQ(issuer.Asked(), 2);
}

TEST_F(TokenTest, CallsWaitWhenTheOldOneHasEnded)
{
    Issuer issuer;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    Tally first, second;
    StartEcho(client, &first);
    issuer.Give("t-1", 50);
    ASSERT_TRUE(first.Wait());
    std::this_thread::sleep_for(std::chrono::milliseconds(60)); // the token's end
    uint64_t before = echo_server_calls(server_);
    StartEcho(client, &second);
    issuer.Give("t-2");
    ASSERT_TRUE(second.Wait());
    EXPECT_EQ(second.code, WAYMARK_OK);
    EXPECT_EQ(echo_server_calls(server_), before + 1);
    EXPECT_EQ(issuer.Asked(), 2);
}

TEST_F(TokenTest, ARefusedTokenIsRenewedOnceAndTheCallRepeated)
{
    Issuer issuer;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    Tally first, second;
    StartEcho(client, &first);
    issuer.Give("old");
    ASSERT_TRUE(first.Wait());

    echo_server_require_token(server_, "new");
    StartEcho(client, &second); // a write; it was refused before anything happened
    issuer.Give("new");
    ASSERT_TRUE(second.Wait());
    EXPECT_EQ(second.code, WAYMARK_OK);
    EXPECT_EQ(echo_server_calls(server_), 3u);
    EXPECT_EQ(Echo(client).Get("seen-authorization"), "Bearer new");
}

TEST_F(TokenTest, TheServerIsToldOfTheAttemptBefore)
{
    int asked = 0;
    waymark_client *client = NewTokenClient(
        [](void *ctx, waymark_token_request *request) {
            int n = ++*static_cast<int *>(ctx);
            waymark_token_give(request, n == 1 ? "old" : "new", 0);
        },
        &asked);
    echo_server_require_token(server_, "new");
    EXPECT_EQ(Echo(client).Get("seen-attempts"), "1");
    EXPECT_EQ(Echo(client).Get("seen-attempts"), "");
}

// A heap of deadlines: each call ends at its own, whatever the order in which they came.
TEST_F(TokenTest, ManyWaitingCallsEndAtTheirDeadlines)
{
    using Clock = std::chrono::steady_clock;
    struct One {
        Tally *tally;
        Clock::time_point due;
    };
    Issuer issuer;
    Tally tally;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    std::vector<One> all(2000);
    unsigned dice = 12345;
    for (One &one : all) {
        dice = dice * 1103515245u + 12345u;
        EchoRequest request = MakeEcho(1);
        waymark_call_options options = {};
        options.timeout_ms = 100 + (dice >> 8) % 900;
        one = {&tally, Clock::now() + std::chrono::milliseconds(options.timeout_ms)};
        waymark_testing_v1_echo_service_echo(
            client, &request, &options,
            [](void *ctx, const waymark_status *status, const EchoResponse *) {
                auto *one = static_cast<One *>(ctx);
                EXPECT_EQ(status->code, WAYMARK_DEADLINE_EXCEEDED);
                EXPECT_GE(Clock::now(), one->due - std::chrono::milliseconds(1));
                EXPECT_LT(Clock::now(), one->due + std::chrono::seconds(5));
                one->tally->End(status);
            },
            &one);
    }
    ASSERT_TRUE(tally.Wait(2000));
    issuer.Give("nobody wants it");
    EXPECT_EQ(echo_server_calls(server_), 0u);
}

TEST_F(TokenTest, TwoRefusedTokensAreTheEnd)
{
    Issuer issuer;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    Tally tally;
    echo_server_require_token(server_, "another");
    StartEcho(client, &tally);
    issuer.Give("one");
    issuer.Give("two");
    ASSERT_TRUE(tally.Wait());
    EXPECT_EQ(tally.code, WAYMARK_UNAUTHENTICATED);
    EXPECT_EQ(tally.reason, "TOKEN_EXPIRED"); // the server's
    EXPECT_EQ(echo_server_calls(server_), 2u);
    // And a server that refuses everything does not make us flood the issuer.
    for (int i = 0; i < 5; i++)
        EXPECT_EQ(Echo(client).code, WAYMARK_UNAUTHENTICATED);
    EXPECT_EQ(issuer.Asked(), 2);
}

// While it waits nothing can be written, and writable() tells when.
TEST_F(TokenTest, AStreamWaitsForItsToken)
{
    struct Talk {
        Tally tally;
        int written = 0, read = 0;
        static void Message(void *ctx, waymark_stream *stream,
                            const Waymark__Testing__V1__TalkResponse *)
        {
            auto *talk = static_cast<Talk *>(ctx);
            talk->read++;
            waymark_stream_close(stream);
            waymark_stream_read(stream);
        }
        static void Writable(void *ctx, waymark_stream *stream)
        {
            auto *talk = static_cast<Talk *>(ctx);
            Waymark__Testing__V1__TalkRequest message = WAYMARK__TESTING__V1__TALK_REQUEST__INIT;
            if (talk->written == 0)
                talk->written += waymark_testing_v1_echo_service_talk_write(stream, &message);
        }
        static void Ended(void *ctx, waymark_stream *, const waymark_status *status)
        {
            static_cast<Talk *>(ctx)->tally.End(status);
        }
    };
    const waymark_testing_v1_echo_service_talk_callbacks callbacks = {Talk::Message, Talk::Writable,
                                                                      Talk::Ended};
    Issuer issuer;
    Talk talk;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client, nullptr, &callbacks, &talk);
    waymark_stream_read(stream);
    Talk::Writable(&talk, stream); // refused, so that it will be told
    EXPECT_EQ(talk.written, 0);
    EXPECT_FALSE(waymark_stream_is_writable(stream));
    issuer.Give("t");
    ASSERT_TRUE(talk.tally.Wait());
    EXPECT_EQ(talk.tally.code, WAYMARK_OK);
    EXPECT_EQ(talk.read, 1);
    waymark_stream_free(stream);
}

TEST_F(TokenTest, AServerStreamIsRepeatedToo)
{
    int asked = 0;
    waymark_client *client = NewTokenClient(
        [](void *ctx, waymark_token_request *request) {
            int n = ++*static_cast<int *>(ctx);
            waymark_token_give(request, n == 1 ? "old" : "new", 0);
        },
        &asked);
    RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
    request.count = 5;
    echo_server_require_token(server_, "new");
    waymark_stream *stream =
        waymark_testing_v1_echo_service_repeat_open(client, &request, nullptr, nullptr, nullptr);
    int n = 0;
    while (waymark_testing_v1_echo_service_repeat_read_sync(stream) != nullptr)
        n++;
    EXPECT_EQ(n, 5);
    EXPECT_EQ(waymark_stream_status(stream)->code, WAYMARK_OK);
    waymark_stream_free(stream);
    EXPECT_EQ(echo_server_calls(server_), 2u);
}

TEST_F(TokenTest, FailuresReachTheWaitingCalls)
{
    Issuer issuer;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    Tally tally;
    for (int i = 0; i < 10; i++)
        StartEcho(client, &tally);
    waymark_token_unavailable(issuer.Take(), "the issuer is being restarted", 100000);
    ASSERT_TRUE(tally.Wait(10));
    EXPECT_EQ(tally.code, WAYMARK_UNAVAILABLE);
    EXPECT_EQ(tally.reason, "TOKEN_ISSUER_UNAVAILABLE");

    // Meanwhile nobody asks, and calls end the same way.
    Ended ended = Echo(client);
    EXPECT_EQ(ended.code, WAYMARK_UNAVAILABLE);
    EXPECT_EQ(ended.message, "the issuer is being restarted");
    EXPECT_GT(ended.retry_delay_ms, 90000);
    EXPECT_LE(ended.retry_delay_ms, 100000);
    EXPECT_EQ(issuer.Asked(), 1);
}

TEST_F(TokenTest, AfterAFailureItIsAskedAgainSoon)
{
    Issuer issuer;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    Tally tally;
    StartEcho(client, &tally);
    waymark_token_fail(issuer.Take(), "wrong secret");
    ASSERT_TRUE(tally.Wait());
    EXPECT_EQ(tally.code, WAYMARK_UNAUTHENTICATED);
    EXPECT_EQ(tally.reason, "TOKEN_FETCH_FAILED");

    std::thread answers([&] { issuer.Give("good"); });
    EXPECT_TRUE(Eventually([&] { return Echo(client).code == WAYMARK_OK; }));
    answers.join();
    EXPECT_EQ(issuer.Asked(), 2);
}

TEST_F(TokenTest, WhatIsNoTokenIsAFailure)
{
    Issuer issuer;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    Tally tally;
    StartEcho(client, &tally);
    issuer.Give("two\nlines");
    ASSERT_TRUE(tally.Wait());
    EXPECT_EQ(tally.code, WAYMARK_UNAUTHENTICATED);
    EXPECT_EQ(tally.reason, "TOKEN_FETCH_FAILED");

    waymark_client_options options = {};
    waymark_credentials *empty = waymark_credentials_token(" \n");
    options.credentials = empty;
    Ended ended = Echo(NewClient(options));
    EXPECT_EQ(ended.code, WAYMARK_UNAUTHENTICATED);
    EXPECT_EQ(ended.reason, "TOKEN_INVALID");
    waymark_credentials_free(empty);
}

TEST_F(TokenTest, DeadlinesAndCancelsEndTheWait)
{
    Issuer issuer;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    Tally late, cancelled, patient;
    waymark_call_options options = {};
    waymark_credentials *other = waymark_credentials_token("other");
    options.credentials = other; // one call that does not wait, after which the thread sleeps
    EXPECT_EQ(Echo(client, options).code, WAYMARK_OK);
    waymark_credentials_free(other);
    options.credentials = nullptr;
    options.timeout_ms = 100;
    auto start = std::chrono::steady_clock::now();
    StartEcho(client, &late, options);
    ASSERT_TRUE(late.Wait());
    EXPECT_EQ(late.code, WAYMARK_DEADLINE_EXCEEDED);
    EXPECT_EQ(late.reason, "DEADLINE_BEFORE_SENDING");
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(1500));

    waymark_call *call = nullptr;
    options.timeout_ms = 0;
    options.call = &call;
    StartEcho(client, &cancelled, options);
    waymark_call_cancel(call);
    ASSERT_TRUE(cancelled.Wait());
    EXPECT_EQ(cancelled.code, WAYMARK_CANCELLED);
    waymark_call_free(call);

    StartEcho(client, &patient);
    issuer.Give("t"); // only the patient one takes it
    ASSERT_TRUE(patient.Wait());
    EXPECT_EQ(patient.code, WAYMARK_OK);
    EXPECT_EQ(echo_server_calls(server_), 2u);
    EXPECT_EQ(issuer.Asked(), 1);
}

TEST_F(TokenTest, ARequestMayOutliveTheClient)
{
    Issuer issuer;
    Tally tally;
    waymark_client *client = NewTokenClient(Issuer::Fetch, &issuer);
    for (int i = 0; i < 10; i++)
        StartEcho(client, &tally);
    Free(client);
    EXPECT_EQ(tally.ended, 10);
    issuer.Give("late"); // nobody wants it any more
}

TEST_F(TokenTest, ACallMayHaveItsOwn)
{
    waymark_client_options options = {};
    waymark_credentials *ours = waymark_credentials_token("ours");
    waymark_credentials *its = waymark_credentials_token("its");
    options.credentials = ours;
    waymark_client *client = NewClient(options);
    waymark_client *bare = NewClient();
    waymark_call_options call = {};
    call.credentials = its;
    EXPECT_EQ(Echo(client, call).Get("seen-authorization"), "Bearer its");
    EXPECT_EQ(Echo(client).Get("seen-authorization"), "Bearer ours");
    EXPECT_EQ(Echo(bare, call).Get("seen-authorization"), "Bearer its");
    EXPECT_EQ(Echo(bare).Get("seen-authorization"), "");
    waymark_credentials_free(ours);
    waymark_credentials_free(its);
}

TEST_F(TokenTest, StaysOnThisMachineWithoutTls)
{
    waymark_credentials *token = waymark_credentials_token("secret");
    waymark_client_options options = {};
    options.credentials = token;
    options.address = "192.0.2.1:7654"; // of nobody (RFC 5737)
    EXPECT_NE(Refused(options).find("TLS"), std::string::npos);
    options.allow_plaintext_token = true;
    EXPECT_EQ(Refused(options), "");
    options.allow_plaintext_token = false;
    options.tls = true;
    EXPECT_EQ(Refused(options), "");
    options.tls = false;
    options.address = "localhost:7654";
    EXPECT_EQ(Refused(options), "");

    // Nor does a call's own.
    waymark_client_options bare = {};
    bare.address = "192.0.2.1:7654";
    waymark_client *client = NewClient(bare);
    waymark_call_options call = {};
    call.credentials = token;
    Ended ended = Echo(client, call);
    EXPECT_EQ(ended.code, WAYMARK_INVALID_ARGUMENT);
    EXPECT_EQ(ended.reason, "TOKEN_NEEDS_TLS");
    waymark_credentials_free(token);
}

} // namespace
} // namespace waymark_test
