// The C SDK against the real call runtime, by generated stubs on both sides.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <waymark/waymark.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "testing.client.h"
#include "tests/integration/client/echo_service.h"

namespace {

using EchoRequest = Waymark__Testing__V1__EchoRequest;
using EchoResponse = Waymark__Testing__V1__EchoResponse;
using RepeatResponse = Waymark__Testing__V1__RepeatResponse;
using SumResponse = Waymark__Testing__V1__SumResponse;
using TalkRequest = Waymark__Testing__V1__TalkRequest;
using TalkResponse = Waymark__Testing__V1__TalkResponse;

EchoRequest MakeEcho(int64_t number, int delay_ms = 0)
{
    EchoRequest request = WAYMARK__TESTING__V1__ECHO_REQUEST__INIT;
    request.number = number;
    request.delay_ms = delay_ms;
    return request;
}

// Waits until something holds; for what another thread brings about.
bool Eventually(const std::function<bool()> &holds, int ms = 10000)
{
    for (int i = 0; i < ms && !holds(); i++)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return holds();
}

// Counts completions and keeps what the last one said.
struct Outcome {
    std::mutex lock;
    std::condition_variable changed;
    int ended = 0;
    int ok = 0;
    int messages = 0;
    waymark_code code = WAYMARK_OK;
    std::string reason;
    int64_t number = 0, sum = 0, count = 0;

    void End(const waymark_status *status)
    {
        std::lock_guard<std::mutex> hold(lock);
        ended++;
        ok += status->code == WAYMARK_OK;
        code = status->code;
        reason = status->reason;
        changed.notify_all();
    }

    void Wait(int n = 1)
    {
        std::unique_lock<std::mutex> hold(lock);
        ASSERT_TRUE(changed.wait_for(hold, std::chrono::seconds(20), [&] { return ended >= n; }));
    }
};

void EchoDone(void *ctx, const waymark_status *status, const EchoResponse *response)
{
    auto *outcome = static_cast<Outcome *>(ctx);
    if (response != nullptr)
        outcome->number = response->number;
    outcome->End(status);
}

// For callbacks that several threads run.
void CountDone(void *ctx, const waymark_status *status, const EchoResponse *)
{
    static_cast<Outcome *>(ctx)->End(status);
}

class ClientTest : public testing::Test {
  protected:
    void SetUp() override
    {
        dir_ = "/tmp/wmcXXXXXX";
        ASSERT_NE(mkdtemp(dir_.data()), nullptr);
        address_ = "unix:" + dir_ + "/s";
        server_ = echo_server_start(address_.c_str());
        client_ = NewClient(nullptr);
    }

    void TearDown() override
    {
        waymark_client_free(client_);
        if (server_ != nullptr)
            echo_server_stop(server_);
        std::remove((dir_ + "/s").c_str());
        std::remove((dir_ + "/token").c_str());
        rmdir(dir_.c_str());
    }

    waymark_client *NewClient(waymark_credentials *credentials)
    {
        waymark_client_options options = {};
        waymark_problem problem = {};
        options.address = address_.c_str();
        options.credentials = credentials;
        options.own_connection = true;
        waymark_client *client = waymark_client_new(&options, &problem);
        EXPECT_NE(client, nullptr) << problem.message;
        waymark_credentials_free(credentials);
        return client;
    }

    // Echoes and tells which authorization the server saw.
    static std::string SeenToken(waymark_client *client, waymark_code *code, std::string *reason)
    {
        EchoRequest request = MakeEcho(1);
        waymark_call_options options = {};
        waymark_reply *reply;
        std::string seen;
        options.want_metadata = true;
        waymark_testing_v1_echo_service_echo_sync(client, &request, &options, &reply);
        const waymark_status *status = waymark_reply_status(reply);
        for (size_t i = 0; i < status->n_metadata; i++)
            if (std::string(status->metadata[i].key) == "seen-authorization")
                seen = status->metadata[i].value;
        *code = status->code;
        *reason = status->reason;
        waymark_reply_free(reply);
        return seen;
    }

    std::string dir_, address_;
    echo_server *server_ = nullptr;
    waymark_client *client_ = nullptr;
};

// ---- unary ----

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
    Outcome outcome;
    for (int i = 0; i < 2000; i++) {
        EchoRequest request = MakeEcho(i);
        waymark_testing_v1_echo_service_echo(client_, &request, nullptr, EchoDone, &outcome);
    }
    outcome.Wait(2000);
    waymark_client_free(client_);
    client_ = nullptr;
    EXPECT_EQ(outcome.ended, 2000);
    EXPECT_EQ(outcome.ok, 2000);
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
    Outcome outcome;
    uint64_t cancelled = echo_server_cancelled();
    EchoRequest request = MakeEcho(1, 10000);
    waymark_call *call = nullptr;
    waymark_call_options options = {};
    options.call = &call;
    waymark_testing_v1_echo_service_echo(client_, &request, &options, EchoDone, &outcome);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    waymark_call_cancel(call);
    outcome.Wait();
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
    Outcome outcome;
    for (int i = 0; i < 50; i++) {
        EchoRequest request = MakeEcho(i, 60000);
        waymark_testing_v1_echo_service_echo(client_, &request, nullptr, EchoDone, &outcome);
    }
    waymark_client_free(client_);
    client_ = nullptr;
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

    std::vector<std::unique_ptr<Outcome>> outcomes;
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; t++) {
        outcomes.push_back(std::make_unique<Outcome>());
        callers.emplace_back([client, outcome = outcomes.back().get()] {
            for (int i = 0; i < 300; i++) {
                EchoRequest request = MakeEcho(i);
                waymark_testing_v1_echo_service_echo(client, &request, nullptr, CountDone, outcome);
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
        outcome->Wait(300);
    waymark_client_free(client);
    for (auto &outcome : outcomes)
        EXPECT_EQ(outcome->ok, 300);
}

// A callback may start the next call.
struct Chain {
    waymark_client *client;
    Outcome outcome;
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
    chain.outcome.Wait();
    EXPECT_EQ(chain.outcome.code, WAYMARK_OK);
}

TEST_F(ClientTest, ReconnectsAfterTheServerCameBack)
{
    EchoRequest request = MakeEcho(7);
    waymark_reply *reply;
    echo_server_stop(server_);
    server_ = nullptr;
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

// ---- credentials ----

TEST_F(ClientTest, TokenIsSent)
{
    waymark_client *client = NewClient(waymark_credentials_token("secret-1\n"));
    waymark_code code;
    std::string reason;
    EXPECT_EQ(SeenToken(client, &code, &reason), "Bearer secret-1");
    EXPECT_EQ(code, WAYMARK_OK);
    waymark_client_free(client);
}

void WriteFile(const std::string &path, const std::string &text)
{
    FILE *out = std::fopen((path + ".new").c_str(), "w");
    ASSERT_NE(out, nullptr);
    std::fputs(text.c_str(), out);
    std::fclose(out);
    ASSERT_EQ(std::rename((path + ".new").c_str(), path.c_str()), 0);
}

TEST_F(ClientTest, TokenFileIsReadAgain)
{
    std::string path = dir_ + "/token", reason;
    waymark_code code;
    waymark_client *client = NewClient(waymark_credentials_file(path.c_str()));

    SeenToken(client, &code, &reason);
    EXPECT_EQ(code, WAYMARK_UNAUTHENTICATED);
    EXPECT_EQ(reason, "TOKEN_FILE_UNREADABLE");

    WriteFile(path, "first\n");
    EXPECT_EQ(SeenToken(client, &code, &reason), "Bearer first");
    WriteFile(path, "second\n");
    EXPECT_TRUE(Eventually([&] { return SeenToken(client, &code, &reason) == "Bearer second"; }));
    waymark_client_free(client);
}

// Answers later, from another thread.
struct TokenSource {
    std::atomic<int> asked{0};
    bool fails = false, never = false;
    std::vector<std::thread> threads;
};

void FetchToken(void *ctx, waymark_token_request *request)
{
    auto *source = static_cast<TokenSource *>(ctx);
    int n = ++source->asked;
    source->threads.emplace_back([=] {
        std::this_thread::sleep_for(std::chrono::milliseconds(source->never ? 1500 : 30));
        if (source->fails || source->never)
            waymark_token_fail(request, "the issuer is away");
        else
            waymark_token_give(request, ("token-" + std::to_string(n)).c_str(), 60000);
    });
}

TEST_F(ClientTest, TokenCallbackIsAskedOnceForAllThatWait)
{
    TokenSource source;
    Outcome outcome;
    waymark_client *client = NewClient(waymark_credentials_callback(FetchToken, &source));
    for (int i = 0; i < 20; i++) {
        EchoRequest request = MakeEcho(i);
        waymark_testing_v1_echo_service_echo(client, &request, nullptr, EchoDone, &outcome);
    }
    outcome.Wait(20);
    EXPECT_EQ(outcome.ok, 20);
    EXPECT_EQ(source.asked, 1);

    waymark_code code;
    std::string reason;
    EXPECT_EQ(SeenToken(client, &code, &reason), "Bearer token-1");
    waymark_client_free(client);
    for (auto &thread : source.threads)
        thread.join();
}

TEST_F(ClientTest, TokenIsFetchedAgainAfterARefusal)
{
    TokenSource source;
    waymark_client *client = NewClient(waymark_credentials_callback(FetchToken, &source));
    waymark_code code;
    std::string reason, text = "TOKEN_EXPIRED";
    EXPECT_EQ(SeenToken(client, &code, &reason), "Bearer token-1");

    Waymark__Testing__V1__FailRequest request = WAYMARK__TESTING__V1__FAIL_REQUEST__INIT;
    request.code = WAYMARK_UNAUTHENTICATED;
    request.reason = text.data();
    waymark_reply *reply;
    waymark_testing_v1_echo_service_fail_sync(client, &request, nullptr, &reply);
    EXPECT_STREQ(waymark_reply_status(reply)->reason, "TOKEN_EXPIRED");
    waymark_reply_free(reply);

    EXPECT_EQ(SeenToken(client, &code, &reason), "Bearer token-2");
    waymark_client_free(client);
    for (auto &thread : source.threads)
        thread.join();
}

TEST_F(ClientTest, TokenCallbackThatFailsEndsTheCalls)
{
    TokenSource source;
    source.fails = true;
    waymark_client *client = NewClient(waymark_credentials_callback(FetchToken, &source));
    waymark_code code;
    std::string reason;
    SeenToken(client, &code, &reason);
    EXPECT_EQ(code, WAYMARK_UNAUTHENTICATED);
    EXPECT_EQ(reason, "TOKEN_FETCH_FAILED");
    waymark_client_free(client);
    for (auto &thread : source.threads)
        thread.join();
}

TEST_F(ClientTest, ACallThatWaitsForATokenHasADeadline)
{
    TokenSource source;
    source.never = true;
    waymark_client *client = NewClient(waymark_credentials_callback(FetchToken, &source));
    EchoRequest request = MakeEcho(1);
    waymark_call_options options = {};
    waymark_reply *reply;
    options.timeout_ms = 100;
    waymark_testing_v1_echo_service_echo_sync(client, &request, &options, &reply);
    EXPECT_EQ(waymark_reply_status(reply)->code, WAYMARK_DEADLINE_EXCEEDED);
    waymark_reply_free(reply);

    Outcome outcome; // and free() does not wait for the token
    waymark_testing_v1_echo_service_echo(client, &request, nullptr, EchoDone, &outcome);
    waymark_client_free(client);
    EXPECT_EQ(outcome.code, WAYMARK_CANCELLED);
    for (auto &thread : source.threads)
        thread.join();
}

// ---- streams with callbacks ----

void RepeatMessage(void *ctx, waymark_stream *stream, const RepeatResponse *message)
{
    auto *outcome = static_cast<Outcome *>(ctx);
    outcome->messages++;
    outcome->number = message->number;
    waymark_stream_read(stream);
}

void StreamEnded(void *ctx, waymark_stream *, const waymark_status *status)
{
    static_cast<Outcome *>(ctx)->End(status);
}

const waymark_testing_v1_echo_service_repeat_callbacks repeat_callbacks = {RepeatMessage,
                                                                           StreamEnded};

TEST_F(ClientTest, ServerStreamDeliversAllThenEnds)
{
    Outcome outcome;
    Waymark__Testing__V1__RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
    request.count = 3000;
    waymark_stream *stream = waymark_testing_v1_echo_service_repeat_open(
        client_, &request, nullptr, &repeat_callbacks, &outcome);
    waymark_stream_read(stream);
    outcome.Wait();
    EXPECT_EQ(outcome.code, WAYMARK_OK);
    EXPECT_EQ(outcome.messages, 3000);
    EXPECT_EQ(outcome.number, 3000);
    EXPECT_EQ(waymark_stream_status(stream)->code, WAYMARK_OK);
    waymark_stream_free(stream);
}

TEST_F(ClientTest, AReaderThatStopsStopsTheServer)
{
    Outcome outcome;
    std::string payload(64 * 1024, 'x');
    Waymark__Testing__V1__RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
    request.payload.data = reinterpret_cast<uint8_t *>(payload.data());
    request.payload.len = payload.size();
    waymark_stream *stream = waymark_testing_v1_echo_service_repeat_open(
        client_, &request, nullptr, &repeat_callbacks, &outcome);

    uint64_t before, after = echo_server_repeated();
    do { // until nothing moves any more
        before = after;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        after = echo_server_repeated();
    } while (after != before);
    EXPECT_EQ(outcome.messages, 0);
    waymark_stream_read(stream);
    EXPECT_TRUE(Eventually([&] { return echo_server_repeated() > after + 500; }));

    waymark_stream_free(stream); // cancels
    outcome.Wait();
    EXPECT_EQ(outcome.code, WAYMARK_CANCELLED);
}

struct SumRun {
    Outcome outcome;
    int next = 1, last = 5000;
    int writable = 0;
};

void SumMore(void *ctx, waymark_stream *stream)
{
    auto *run = static_cast<SumRun *>(ctx);
    run->writable++;
    while (run->next <= run->last) {
        Waymark__Testing__V1__SumRequest message = WAYMARK__TESTING__V1__SUM_REQUEST__INIT;
        message.number = run->next;
        if (!waymark_testing_v1_echo_service_sum_write(stream, &message))
            return;
        run->next++;
    }
    waymark_stream_close(stream);
}

void SumEnded(void *ctx, waymark_stream *, const waymark_status *status,
              const SumResponse *response)
{
    auto *run = static_cast<SumRun *>(ctx);
    if (response != nullptr) {
        run->outcome.sum = response->sum;
        run->outcome.count = response->count;
    }
    run->outcome.End(status);
}

const waymark_testing_v1_echo_service_sum_callbacks sum_callbacks = {SumMore, SumEnded};

TEST_F(ClientTest, ClientStreamWritesWhenWritable)
{
    SumRun run;
    waymark_stream *stream =
        waymark_testing_v1_echo_service_sum_open(client_, nullptr, &sum_callbacks, &run);
    // The first write may happen here, the rest on the client's thread.
    Waymark__Testing__V1__SumRequest first = WAYMARK__TESTING__V1__SUM_REQUEST__INIT;
    EXPECT_TRUE(waymark_testing_v1_echo_service_sum_write(stream, &first));
    SumMore(&run, stream);
    run.outcome.Wait();
    EXPECT_EQ(run.outcome.code, WAYMARK_OK);
    EXPECT_EQ(run.outcome.count, 5001);
    EXPECT_EQ(run.outcome.sum, 5000 * 5001 / 2);
    EXPECT_GT(run.writable, 1);
    waymark_stream_free(stream);
}

struct TalkRun {
    Outcome outcome;
    std::atomic<int64_t> sent{0}, received{0};
    int64_t last = 3000;
};

void TalkNext(TalkRun *run, waymark_stream *stream)
{
    TalkRequest message = WAYMARK__TESTING__V1__TALK_REQUEST__INIT;
    message.number = run->sent + 1;
    if (run->sent == run->last)
        waymark_stream_close(stream);
    else if (waymark_testing_v1_echo_service_talk_write(stream, &message))
        run->sent++;
}

void TalkMessage(void *ctx, waymark_stream *stream, const TalkResponse *message)
{
    auto *run = static_cast<TalkRun *>(ctx);
    EXPECT_EQ(message->number, ++run->received);
    waymark_stream_read(stream);
    TalkNext(run, stream);
}

void TalkWritable(void *ctx, waymark_stream *stream)
{
    TalkNext(static_cast<TalkRun *>(ctx), stream);
}

void TalkEnded(void *ctx, waymark_stream *, const waymark_status *status)
{
    static_cast<TalkRun *>(ctx)->outcome.End(status);
}

const waymark_testing_v1_echo_service_talk_callbacks talk_callbacks = {TalkMessage, TalkWritable,
                                                                       TalkEnded};

TEST_F(ClientTest, BidiPingPong)
{
    TalkRun run;
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client_, nullptr, &talk_callbacks, &run);
    waymark_stream_read(stream);
    TalkNext(&run, stream);
    run.outcome.Wait();
    EXPECT_EQ(run.outcome.code, WAYMARK_OK);
    EXPECT_EQ(run.received, run.last);
    waymark_stream_free(stream);
}

TEST_F(ClientTest, AStreamWaitsForItsToken)
{
    TokenSource source;
    TalkRun run;
    run.last = 5;
    waymark_client *client = NewClient(waymark_credentials_callback(FetchToken, &source));
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client, nullptr, &talk_callbacks, &run);
    waymark_stream_read(stream);
    TalkNext(&run, stream); // answers false: writable() follows
    EXPECT_EQ(run.sent, 0);
    run.outcome.Wait();
    EXPECT_EQ(run.outcome.code, WAYMARK_OK);
    EXPECT_EQ(run.received, 5);
    waymark_stream_free(stream);
    waymark_client_free(client);
    for (auto &thread : source.threads)
        thread.join();
}

TEST_F(ClientTest, FreeingTheClientEndsStreams)
{
    TalkRun run;
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client_, nullptr, &talk_callbacks, &run);
    waymark_stream_read(stream);
    waymark_client_free(client_);
    client_ = nullptr;
    EXPECT_EQ(run.outcome.ended, 1);
    EXPECT_EQ(waymark_stream_status(stream)->code, WAYMARK_CANCELLED);
    waymark_stream_free(stream); // the handle may outlive the client
}

// ---- everything at once ----

void CountStream(void *ctx, waymark_stream *, const waymark_status *status)
{
    static_cast<Outcome *>(ctx)->End(status);
}

void ReadOn(void *, waymark_stream *stream, const RepeatResponse *)
{
    waymark_stream_read(stream);
}

const waymark_testing_v1_echo_service_repeat_callbacks count_callbacks = {ReadOn, CountStream};

// Starts a call or a stream, and cancels, frees or forgets it at a bad moment.
void StartSomething(waymark_client *client, Outcome *outcome, unsigned dice)
{
    if (dice % 3 == 0) {
        Waymark__Testing__V1__RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
        request.count = dice % 50; // 0 has no end
        waymark_stream *stream = waymark_testing_v1_echo_service_repeat_open(
            client, &request, nullptr, &count_callbacks, outcome);
        if (dice % 2 == 0)
            waymark_stream_read(stream);
        if (dice % 5 == 0)
            std::this_thread::sleep_for(std::chrono::microseconds(dice % 700));
        if (dice % 7 == 0)
            waymark_stream_cancel(stream);
        waymark_stream_free(stream);
        return;
    }
    EchoRequest request = MakeEcho(dice, static_cast<int>(dice % 4));
    waymark_call *call = nullptr;
    waymark_call_options options = {};
    options.timeout_ms = dice % 11 == 0 ? 1 : 20000;
    options.call = dice % 2 == 0 ? &call : nullptr;
    waymark_testing_v1_echo_service_echo(client, &request, &options, CountDone, outcome);
    if (call != nullptr && dice % 5 == 0)
        waymark_call_cancel(call);
    waymark_call_free(call);
}

TEST_F(ClientTest, WhateverHappensEachCallEndsOnce)
{
    for (unsigned round = 0; round < 6; round++) {
        TokenSource source;
        Outcome outcome;
        std::vector<std::thread> callers;
        waymark_client *client =
            NewClient(round % 2 == 0 ? nullptr : waymark_credentials_callback(FetchToken, &source));
        for (unsigned t = 0; t < 3; t++)
            callers.emplace_back([&, t] {
                unsigned dice = 7919 * (round + 1) + 104729 * t;
                for (int i = 0; i < 200; i++)
                    StartSomething(client, &outcome, dice = (dice * 1103515245u + 12345u) >> 1);
            });
        for (auto &caller : callers)
            caller.join();
        waymark_client_free(client); // with many still on their way
        EXPECT_EQ(outcome.ended, 600);
        for (auto &thread : source.threads)
            thread.join();
    }
}

// ---- streams that wait ----

TEST_F(ClientTest, ServerStreamSync)
{
    Waymark__Testing__V1__RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
    request.count = 1000;
    waymark_stream *stream =
        waymark_testing_v1_echo_service_repeat_open(client_, &request, nullptr, nullptr, nullptr);
    int64_t n = 0;
    while (const RepeatResponse *message = waymark_testing_v1_echo_service_repeat_read_sync(stream))
        EXPECT_EQ(message->number, ++n);
    EXPECT_EQ(n, 1000);
    EXPECT_EQ(waymark_stream_status(stream)->code, WAYMARK_OK);
    waymark_stream_free(stream);
}

TEST_F(ClientTest, ClientStreamSync)
{
    waymark_stream *stream =
        waymark_testing_v1_echo_service_sum_open(client_, nullptr, nullptr, nullptr);
    for (int i = 1; i <= 1000; i++) {
        Waymark__Testing__V1__SumRequest message = WAYMARK__TESTING__V1__SUM_REQUEST__INIT;
        message.number = i;
        ASSERT_TRUE(waymark_testing_v1_echo_service_sum_write_sync(stream, &message));
    }
    const SumResponse *response = waymark_testing_v1_echo_service_sum_finish_sync(stream);
    ASSERT_NE(response, nullptr);
    EXPECT_EQ(response->sum, 500500);
    waymark_stream_free(stream);
}

TEST_F(ClientTest, BidiSync)
{
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client_, nullptr, nullptr, nullptr);
    for (int i = 1; i <= 300; i++) {
        TalkRequest message = WAYMARK__TESTING__V1__TALK_REQUEST__INIT;
        message.number = i;
        ASSERT_TRUE(waymark_testing_v1_echo_service_talk_write_sync(stream, &message));
        const TalkResponse *answer = waymark_testing_v1_echo_service_talk_read_sync(stream);
        ASSERT_NE(answer, nullptr);
        EXPECT_EQ(answer->number, i);
    }
    waymark_stream_close(stream);
    EXPECT_EQ(waymark_testing_v1_echo_service_talk_read_sync(stream), nullptr);
    EXPECT_EQ(waymark_stream_status(stream)->code, WAYMARK_OK);
    waymark_stream_free(stream);
}

TEST_F(ClientTest, SyncStreamsEndWhenTheServerGoes)
{
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client_, nullptr, nullptr, nullptr);
    TalkRequest message = WAYMARK__TESTING__V1__TALK_REQUEST__INIT;
    ASSERT_TRUE(waymark_testing_v1_echo_service_talk_write_sync(stream, &message));
    ASSERT_NE(waymark_testing_v1_echo_service_talk_read_sync(stream), nullptr);
    echo_server_stop(server_);
    server_ = nullptr;
    EXPECT_EQ(waymark_testing_v1_echo_service_talk_read_sync(stream), nullptr);
    EXPECT_NE(waymark_stream_status(stream)->code, WAYMARK_OK);
    EXPECT_FALSE(waymark_testing_v1_echo_service_talk_write_sync(stream, &message));
    waymark_stream_free(stream);
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
