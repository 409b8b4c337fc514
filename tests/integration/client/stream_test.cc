// Streams of the C SDK against the real call runtime, by generated stubs on both sides.
#include "tests/integration/client/fixture.h"

namespace waymark_test {
namespace {

using SumResponse = Waymark__Testing__V1__SumResponse;
using TalkRequest = Waymark__Testing__V1__TalkRequest;
using TalkResponse = Waymark__Testing__V1__TalkResponse;

// A tally that keeps what came.
struct Outcome : Tally {
    int messages = 0;
    int64_t number = 0, sum = 0, count = 0;
};

class StreamTest : public SdkTest {
  protected:
    void SetUp() override
    {
        SdkTest::SetUp();
        client_ = NewClient();
    }

    waymark_client *client_ = nullptr;
};

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

TEST_F(StreamTest, ServerStreamDeliversAllThenEnds)
{
    Outcome outcome;
    Waymark__Testing__V1__RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
    request.count = 3000;
    waymark_stream *stream = waymark_testing_v1_echo_service_repeat_open(
        client_, &request, nullptr, &repeat_callbacks, &outcome);
    waymark_stream_read(stream);
    ASSERT_TRUE(outcome.Wait());
    EXPECT_EQ(outcome.code, WAYMARK_OK);
    EXPECT_EQ(outcome.messages, 3000);
    EXPECT_EQ(outcome.number, 3000);
    EXPECT_EQ(waymark_stream_status(stream)->code, WAYMARK_OK);
    waymark_stream_free(stream);
}

TEST_F(StreamTest, AReaderThatStopsStopsTheServer)
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
    ASSERT_TRUE(outcome.Wait());
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

TEST_F(StreamTest, ClientStreamWritesWhenWritable)
{
    SumRun run;
    waymark_stream *stream =
        waymark_testing_v1_echo_service_sum_open(client_, nullptr, &sum_callbacks, &run);
    // The first write may happen here, the rest on the client's thread.
    Waymark__Testing__V1__SumRequest first = WAYMARK__TESTING__V1__SUM_REQUEST__INIT;
    EXPECT_TRUE(waymark_testing_v1_echo_service_sum_write(stream, &first));
    SumMore(&run, stream);
    ASSERT_TRUE(run.outcome.Wait());
    EXPECT_EQ(run.outcome.code, WAYMARK_OK);
    EXPECT_EQ(run.outcome.count, 5001);
    EXPECT_EQ(run.outcome.sum, 5000 * 5001 / 2);
    EXPECT_GT(run.writable, 1);
    waymark_stream_free(stream);
}

struct TalkRun {
    Outcome outcome;
    std::mutex mutex;
    int64_t sent = 0;
    std::atomic<int64_t> received{0};
    int64_t last = 3000;
};

void TalkNext(TalkRun *run, waymark_stream *stream)
{
    TalkRequest message = WAYMARK__TESTING__V1__TALK_REQUEST__INIT;
    // The first time here, while the client's thread may already have the answer.
    std::lock_guard<std::mutex> guard(run->mutex);
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

TEST_F(StreamTest, BidiPingPong)
{
    TalkRun run;
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client_, nullptr, &talk_callbacks, &run);
    waymark_stream_read(stream);
    TalkNext(&run, stream);
    ASSERT_TRUE(run.outcome.Wait());
    EXPECT_EQ(run.outcome.code, WAYMARK_OK);
    EXPECT_EQ(run.received, run.last);
    waymark_stream_free(stream);
}

TEST_F(StreamTest, FreeingTheClientEndsStreams)
{
    TalkRun run;
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client_, nullptr, &talk_callbacks, &run);
    waymark_stream_read(stream);
    Free(client_);
    EXPECT_EQ(run.outcome.ended, 1);
    EXPECT_EQ(waymark_stream_status(stream)->code, WAYMARK_CANCELLED);
    waymark_stream_free(stream); // the handle may outlive the client
}

// ---- streams that wait ----

TEST_F(StreamTest, ServerStreamSync)
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

TEST_F(StreamTest, ClientStreamSync)
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

TEST_F(StreamTest, BidiSync)
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

TEST_F(StreamTest, SyncStreamsEndWhenTheServerGoes)
{
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client_, nullptr, nullptr, nullptr);
    TalkRequest message = WAYMARK__TESTING__V1__TALK_REQUEST__INIT;
    ASSERT_TRUE(waymark_testing_v1_echo_service_talk_write_sync(stream, &message));
    ASSERT_NE(waymark_testing_v1_echo_service_talk_read_sync(stream), nullptr);
    StopServer();
    EXPECT_EQ(waymark_testing_v1_echo_service_talk_read_sync(stream), nullptr);
    EXPECT_NE(waymark_stream_status(stream)->code, WAYMARK_OK);
    EXPECT_FALSE(waymark_testing_v1_echo_service_talk_write_sync(stream, &message));
    waymark_stream_free(stream);
}

} // namespace
} // namespace waymark_test
