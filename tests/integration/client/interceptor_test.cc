// The chain of interceptors: its order, what each may do, and that each hears of the end once.
#include <cstring>

#include "tests/integration/client/fixture.h"

namespace waymark_test {
namespace {

// Notes what happens to it.
struct Recorder {
    std::mutex lock;
    std::vector<std::string> *log;
    std::string name;
    int started = 0, ended = 0;
    waymark_code code = WAYMARK_OK;
    std::string method, peer, permission;
    unsigned attempts = 0;
    uint64_t sent = 0, received = 0, bytes_received = 0;
    int64_t elapsed_us = 0, remaining_ms = 0;
    waymark_idempotency idempotency = WAYMARK_IDEMPOTENT;

    static void Start(void *ctx, waymark_context *call)
    {
        auto *self = static_cast<Recorder *>(ctx);
        std::lock_guard<std::mutex> hold(self->lock);
        self->started++;
        self->method = waymark_context_method(call);
        self->remaining_ms = waymark_context_remaining_ms(call);
        self->idempotency = waymark_context_idempotency(call);
        self->permission = waymark_context_permission(call);
        EXPECT_EQ(waymark_context_data(call), nullptr);
        EXPECT_STREQ(waymark_context_peer(call), "");
        waymark_context_set_data(call, self);
        if (self->log != nullptr)
            self->log->push_back("start " + self->name);
    }

    static void Attempted(void *ctx, waymark_context *call, const waymark_status *)
    {
        auto *self = static_cast<Recorder *>(ctx);
        std::lock_guard<std::mutex> hold(self->lock);
        EXPECT_EQ(waymark_context_data(call), self);
        if (self->log != nullptr)
            self->log->push_back("attempt " + std::to_string(waymark_context_attempts(call)) + " " +
                                 self->name);
    }

    static void End(void *ctx, waymark_context *call, const waymark_status *status)
    {
        auto *self = static_cast<Recorder *>(ctx);
        std::lock_guard<std::mutex> hold(self->lock);
        self->ended++;
        self->code = status->code;
        self->attempts = waymark_context_attempts(call);
        self->sent = waymark_context_messages_sent(call);
        self->received = waymark_context_messages_received(call);
        self->bytes_received = waymark_context_bytes_received(call);
        self->elapsed_us = waymark_context_elapsed_us(call);
        self->peer = waymark_context_peer(call);
        EXPECT_EQ(waymark_context_data(call), self);
        if (self->log != nullptr)
            self->log->push_back("end " + self->name);
    }

    waymark_interceptor Make()
    {
        waymark_interceptor interceptor = {};
        interceptor.ctx = this;
        interceptor.start = Start;
        interceptor.attempted = Attempted;
        interceptor.ended = End;
        return interceptor;
    }
};

class InterceptorTest : public SdkTest {
  protected:
    waymark_client *With(const std::vector<waymark_interceptor> &chain)
    {
        waymark_client_options options = {};
        options.interceptors = chain.data();
        options.n_interceptors = chain.size();
        return NewClient(options);
    }
};

TEST_F(InterceptorTest, AllInOrderAndBack)
{
    std::vector<std::string> log;
    Recorder a, b, c;
    a.log = b.log = c.log = &log;
    a.name = "a", b.name = "b", c.name = "c";
    waymark_client *client = With({a.Make(), b.Make(), c.Make()});
    echo_server_fail_next(server_, 1, WAYMARK_UNAVAILABLE, 0);
    EXPECT_EQ(CallNothing(client).code, WAYMARK_OK);
    std::vector<std::string> expected = {"start a",     "start b",     "start c",     "attempt 1 c",
                                         "attempt 1 b", "attempt 1 a", "attempt 2 c", "attempt 2 b",
                                         "attempt 2 a", "end c",       "end b",       "end a"};
    EXPECT_EQ(log, expected);
    EXPECT_EQ(a.attempts, 2u);
}

TEST_F(InterceptorTest, KnowsTheCall)
{
    Recorder recorder;
    recorder.log = nullptr;
    waymark_client *client = With({recorder.Make()});
    EXPECT_EQ(Echo(client, {}, 20).code, WAYMARK_OK);
    EXPECT_EQ(recorder.method, "/waymark.testing.v1.EchoService/Echo");
    EXPECT_EQ(recorder.idempotency, WAYMARK_IDEMPOTENCY_UNKNOWN);
    EXPECT_EQ(recorder.permission, "");
    EXPECT_GT(recorder.remaining_ms, 20000);
    EXPECT_LE(recorder.remaining_ms, 30000);
    EXPECT_GE(recorder.elapsed_us, 19000);
    EXPECT_EQ(recorder.sent, 1u);
    EXPECT_EQ(recorder.received, 1u);
    EXPECT_GT(recorder.bytes_received, 0u);
    EXPECT_EQ(recorder.peer, address_);

    EXPECT_EQ(CallNothing(client).code, WAYMARK_OK);
    EXPECT_EQ(recorder.idempotency, WAYMARK_NO_SIDE_EFFECTS);

    RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
    request.count = 7;
    waymark_stream *stream =
        waymark_testing_v1_echo_service_repeat_open(client, &request, nullptr, nullptr, nullptr);
    while (waymark_testing_v1_echo_service_repeat_read_sync(stream) != nullptr)
        ;
    waymark_stream_free(stream);
    EXPECT_EQ(recorder.received, 7u);
    EXPECT_EQ(recorder.remaining_ms, -1);
    EXPECT_EQ(recorder.started, 3);
    EXPECT_EQ(recorder.ended, 3);
}

TEST_F(InterceptorTest, AddsMetadataAndADeadline)
{
    waymark_interceptor adds = {};
    adds.start = [](void *, waymark_context *call) {
        waymark_context_add_metadata(call, "added", "by-chain", 8);
        waymark_context_set_timeout_ms(call, 100);
    };
    waymark_client *client = With({adds});
    EXPECT_EQ(Echo(client).Get("seen-added"), "by-chain");
    EXPECT_EQ(Echo(client, {}, 10000).code, WAYMARK_DEADLINE_EXCEEDED);

    adds.start = [](void *, waymark_context *call) {
        waymark_context_add_metadata(call, "Not Allowed", "x", 1);
    };
    Ended ended = Echo(With({adds}));
    EXPECT_EQ(ended.code, WAYMARK_INVALID_ARGUMENT);
    EXPECT_EQ(ended.reason, "METADATA_INVALID");
}

TEST_F(InterceptorTest, RefusesAndTheOnesBeforeHear)
{
    Recorder before, after;
    before.log = after.log = nullptr;
    waymark_interceptor refuses = {};
    refuses.start = [](void *, waymark_context *call) {
        waymark_context_refuse(call, WAYMARK_RESOURCE_EXHAUSTED, "TOO_MANY", "not now");
    };
    waymark_client *client = With({before.Make(), refuses, after.Make()});
    Ended ended = Echo(client);
    EXPECT_EQ(ended.code, WAYMARK_RESOURCE_EXHAUSTED);
    EXPECT_EQ(ended.reason, "TOO_MANY");
    EXPECT_EQ(ended.message, "not now");
    EXPECT_EQ(before.ended, 1);
    EXPECT_EQ(before.code, WAYMARK_RESOURCE_EXHAUSTED);
    EXPECT_EQ(before.attempts, 0u);
    EXPECT_EQ(after.started, 0);
    EXPECT_EQ(after.ended, 0);
    EXPECT_EQ(echo_server_calls(server_), 0u);
}

// Keeps calls until the test lets them go.
struct Gatekeeper {
    std::mutex lock;
    std::vector<waymark_suspension *> waiting;

    static void Start(void *ctx, waymark_context *call)
    {
        auto *self = static_cast<Gatekeeper *>(ctx);
        waymark_suspension *suspension = waymark_context_suspend(call);
        std::lock_guard<std::mutex> hold(self->lock);
        self->waiting.push_back(suspension);
    }

    size_t Count()
    {
        std::lock_guard<std::mutex> hold(lock);
        return waiting.size();
    }

    std::vector<waymark_suspension *> Take()
    {
        std::lock_guard<std::mutex> hold(lock);
        return std::exchange(waiting, {});
    }

    waymark_interceptor Make()
    {
        waymark_interceptor interceptor = {};
        interceptor.ctx = this;
        interceptor.start = Start;
        return interceptor;
    }
};

TEST_F(InterceptorTest, SuspendsAndResumesFromAnotherThread)
{
    Gatekeeper gatekeeper;
    Recorder after;
    after.log = nullptr;
    waymark_client *client = With({gatekeeper.Make(), after.Make()});
    std::thread opener([&] {
        ASSERT_TRUE(Eventually([&] { return gatekeeper.Count() == 1; }));
        waymark_metadata added = {"added", "late", 4};
        waymark_suspension_resume(gatekeeper.Take()[0], &added, 1);
    });
    EXPECT_EQ(Echo(client).Get("seen-added"), "late");
    opener.join();
    EXPECT_EQ(after.started, 1);
    EXPECT_EQ(after.ended, 1);
}

TEST_F(InterceptorTest, ResumedInsideStart)
{
    waymark_interceptor interceptor = {};
    interceptor.start = [](void *, waymark_context *call) {
        waymark_suspension_resume(waymark_context_suspend(call), nullptr, 0);
    };
    waymark_client *client = With({interceptor, interceptor});
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(Echo(client).code, WAYMARK_OK);
}

TEST_F(InterceptorTest, SuspendedCallsAreRefusedCancelledLateAndFreed)
{
    Gatekeeper gatekeeper;
    waymark_client *client = With({gatekeeper.Make()});
    Tally refused, cancelled, late, freed;

    StartEcho(client, &refused);
    waymark_suspension_refuse(gatekeeper.Take()[0], WAYMARK_PERMISSION_DENIED, "NO", "no");
    ASSERT_TRUE(refused.Wait());
    EXPECT_EQ(refused.code, WAYMARK_PERMISSION_DENIED);

    waymark_call *call = nullptr;
    waymark_call_options options = {};
    options.call = &call;
    StartEcho(client, &cancelled, options);
    waymark_call_cancel(call);
    ASSERT_TRUE(cancelled.Wait());
    EXPECT_EQ(cancelled.code, WAYMARK_CANCELLED);
    waymark_call_free(call);

    options.call = nullptr;
    options.timeout_ms = 50;
    StartEcho(client, &late, options);
    ASSERT_TRUE(late.Wait());
    EXPECT_EQ(late.code, WAYMARK_DEADLINE_EXCEEDED);
    EXPECT_EQ(late.reason, "DEADLINE_BEFORE_SENDING");

    StartEcho(client, &freed);
    Free(client);
    EXPECT_EQ(freed.ended, 1);
    EXPECT_EQ(freed.code, WAYMARK_CANCELLED);

    // Three holders come late, the last after the client is gone.
    auto waiting = gatekeeper.Take();
    ASSERT_EQ(waiting.size(), 3u);
    for (waymark_suspension *suspension : waiting)
        waymark_suspension_resume(suspension, nullptr, 0);
    EXPECT_EQ(echo_server_calls(server_), 0u);
}

TEST_F(InterceptorTest, AStreamWaitsAndGoesOn)
{
    Gatekeeper gatekeeper;
    waymark_client *client = With({gatekeeper.Make()});
    RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
    request.count = 4;
    waymark_stream *stream =
        waymark_testing_v1_echo_service_repeat_open(client, &request, nullptr, nullptr, nullptr);
    waymark_suspension_resume(gatekeeper.Take()[0], nullptr, 0);
    int n = 0;
    while (waymark_testing_v1_echo_service_repeat_read_sync(stream) != nullptr)
        n++;
    EXPECT_EQ(n, 4);
    waymark_stream_free(stream);
}

TEST_F(InterceptorTest, HearsOfTheEndBeforeWhoWaits)
{
    static std::atomic<bool> hears, seen, heard;
    waymark_interceptor interceptor = {};
    interceptor.ended = [](void *, waymark_context *, const waymark_status *) {
        hears = true;
        EXPECT_FALSE(Eventually([] { return seen.load(); }, 300)); // who waits does so still
        heard = true;
    };
    waymark_client *client = With({interceptor});
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client, nullptr, nullptr, nullptr);
    waymark_stream_cancel(stream);
    EXPECT_TRUE(Eventually([] { return hears.load(); }));
    EXPECT_EQ(waymark_testing_v1_echo_service_talk_read_sync(stream), nullptr);
    seen = true;
    EXPECT_TRUE(heard);
    waymark_stream_free(stream);
}

} // namespace
} // namespace waymark_test
