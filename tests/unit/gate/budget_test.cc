// What a connection may do: each limit is reached exactly, honest traffic reaches none.
#include "server/gate/budget.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

namespace {

class GateBudget : public testing::Test {
  protected:
    void SetUp() override
    {
        gate_limits_init(&limits_);
    }
    void TearDown() override
    {
        gate_budget_free(&budget_);
    }
    gate_breach client(uint8_t type, uint8_t flags, uint32_t stream, uint32_t length)
    {
        gate_frame frame = {length, stream, type, flags};
        return gate_budget_client_frame(&budget_, &limits_, &frame, now_us_, &is_reset_);
    }
    gate_breach server(uint8_t type, uint8_t flags, uint32_t stream, uint32_t length)
    {
        gate_frame frame = {length, stream, type, flags};
        return gate_budget_server_frame(&budget_, &limits_, &frame, now_us_, &is_reset_);
    }
    gate_breach open(uint32_t stream)
    {
        return client(GATE_FRAME_HEADERS, GATE_FLAG_END_HEADERS, stream, 40);
    }
    gate_breach reset(uint32_t stream)
    {
        return client(GATE_FRAME_RST_STREAM, 0, stream, 4);
    }
    void answer(uint32_t stream)
    {
        ASSERT_EQ(GATE_FINE, server(GATE_FRAME_HEADERS, GATE_FLAG_END_HEADERS, stream, 10));
        ASSERT_EQ(GATE_FINE, server(GATE_FRAME_DATA, 0, stream, 10));
        ASSERT_EQ(GATE_FINE, server(GATE_FRAME_HEADERS,
                                    GATE_FLAG_END_HEADERS | GATE_FLAG_END_STREAM, stream, 10));
    }
    // How many times `frame` is fine at once.
    template <typename Frame> unsigned how_many(Frame frame, gate_breach expected)
    {
        unsigned n = 0;
        gate_breach breach;
        while ((breach = frame()) == GATE_FINE && n < 100000)
            n++;
        EXPECT_EQ(expected, breach) << gate_breach_name(breach);
        return n;
    }
    gate_limits limits_;
    gate_budget budget_ = {};
    int64_t now_us_ = 1000000;
    bool is_reset_ = false;
};

TEST_F(GateBudget, RapidResetIsCutAfterItsBurst)
{
    uint32_t stream = 1;
    EXPECT_EQ(limits_.resets.burst, how_many(
                                        [&] {
                                            EXPECT_EQ(GATE_FINE, open(stream));
                                            gate_breach breach = reset(stream);
                                            EXPECT_TRUE(is_reset_);
                                            stream += 2;
                                            return breach;
                                        },
                                        GATE_RESETS));
}

TEST_F(GateBudget, ResetsComeBackWithTime)
{
    limits_.resets = {10, 1};
    ASSERT_EQ(GATE_FINE, open(1));
    ASSERT_EQ(GATE_FINE, reset(1));
    ASSERT_EQ(GATE_FINE, open(3));
    now_us_ += 99999;
    ASSERT_EQ(GATE_RESETS, reset(3));
    ASSERT_EQ(GATE_FINE, open(5));
    now_us_ += 1;
    EXPECT_EQ(GATE_FINE, reset(5));
}

TEST_F(GateBudget, EndedCallsPayForHalfAsManyResets)
{
    uint32_t stream = 1;
    for (int round = 0; round < 20000; round++) {
        for (int i = 0; i < 2; i++, stream += 2) {
            ASSERT_EQ(GATE_FINE, open(stream));
            answer(stream);
        }
        ASSERT_EQ(GATE_FINE, open(stream));
        ASSERT_EQ(GATE_FINE, reset(stream)) << "round " << round;
        stream += 2;
    }
}

TEST_F(GateBudget, EndedCallsDoNotSaveUpResets)
{
    uint32_t stream = 1;
    for (int i = 0; i < 100000; i++, stream += 2) {
        ASSERT_EQ(GATE_FINE, open(stream));
        answer(stream);
    }
    EXPECT_EQ(limits_.resets.burst, how_many(
                                        [&] {
                                            EXPECT_EQ(GATE_FINE, open(stream += 2));
                                            return reset(stream);
                                        },
                                        GATE_RESETS));
}

TEST_F(GateBudget, ResetsThatTheServerIsMadeToSendCount)
{
    uint32_t stream = 1;
    EXPECT_EQ(limits_.resets.burst, how_many(
                                        [&] {
                                            EXPECT_EQ(GATE_FINE, open(stream));
                                            gate_breach breach =
                                                server(GATE_FRAME_RST_STREAM, 0, stream, 4);
                                            EXPECT_TRUE(is_reset_);
                                            stream += 2;
                                            return breach;
                                        },
                                        GATE_RESETS_PROVOKED));
}

TEST_F(GateBudget, AServerThatNeedsNoMoreOfARequestIsNotTheClientsFault)
{
    for (uint32_t stream = 1; stream < 20000; stream += 2) {
        ASSERT_EQ(GATE_FINE, open(stream));
        answer(stream);
        ASSERT_EQ(GATE_FINE, server(GATE_FRAME_RST_STREAM, 0, stream, 4));
        ASSERT_FALSE(is_reset_);
    }
}

TEST_F(GateBudget, ResetsOfEndedCallsAreNotRapidReset)
{
    for (uint32_t stream = 1; stream < 20000; stream += 2) {
        ASSERT_EQ(GATE_FINE, open(stream));
        answer(stream);
        ASSERT_EQ(GATE_FINE, reset(stream));
        ASSERT_FALSE(is_reset_);
    }
    // The last one was the first of these.
    EXPECT_EQ(limits_.other_frames.burst - 1,
              how_many([&] { return reset(1); }, GATE_OTHER_FRAMES));
}

TEST_F(GateBudget, OpenStreamsAreBoundedBeforeAnySettings)
{
    uint32_t stream = 1;
    EXPECT_EQ(limits_.streams, how_many(
                                   [&] {
                                       gate_breach breach = open(stream);
                                       stream += 2;
                                       return breach;
                                   },
                                   GATE_STREAMS));
    EXPECT_EQ(limits_.streams * 2 - 1, budget_.last_stream) << "the refused one was never opened";
    answer(1);
    EXPECT_EQ(GATE_FINE, open(stream));
}

TEST_F(GateBudget, ClientStreamsTakeDataUntilTheServerEnds)
{
    ASSERT_EQ(GATE_FINE, open(1));
    for (int i = 0; i < 100000; i++)
        ASSERT_EQ(GATE_FINE, client(GATE_FRAME_DATA, 0, 1, 16384));
    ASSERT_EQ(GATE_FINE, client(GATE_FRAME_DATA, GATE_FLAG_END_STREAM, 1, 0));
    EXPECT_EQ(1u, budget_.streams.n) << "half closed is open";
    answer(1);
    EXPECT_EQ(0u, budget_.streams.n);
}

TEST_F(GateBudget, HeaderBlocksAreBoundedInBytesAndFrames)
{
    ASSERT_EQ(GATE_FINE, client(GATE_FRAME_HEADERS, 0, 1, 1000));
    EXPECT_EQ(
        limits_.header_frames,
        how_many([&] { return client(GATE_FRAME_CONTINUATION, 0, 1, 0); }, GATE_HEADER_FRAMES));
    ASSERT_EQ(GATE_FINE, client(GATE_FRAME_HEADERS, 0, 3, limits_.header_bytes - 1000));
    EXPECT_EQ(GATE_FINE, client(GATE_FRAME_CONTINUATION, 0, 3, 1000));
    EXPECT_EQ(GATE_HEADER_BYTES, client(GATE_FRAME_CONTINUATION, 0, 3, 1));
    EXPECT_EQ(GATE_HEADER_BYTES,
              client(GATE_FRAME_HEADERS, GATE_FLAG_END_HEADERS, 5, limits_.header_bytes + 1));
}

TEST_F(GateBudget, FloodsOfControlFramesAreCutAfterTheirBurst)
{
    struct {
        uint8_t type;
        uint32_t length;
        gate_rate rate;
        gate_breach breach;
    } cases[] = {
        {GATE_FRAME_SETTINGS, 6, limits_.settings, GATE_SETTINGS},
        {GATE_FRAME_PING, 8, limits_.pings, GATE_PINGS},
        {GATE_FRAME_PRIORITY, 5, limits_.priorities, GATE_PRIORITIES},
        {GATE_FRAME_WINDOW_UPDATE, 4, limits_.window_updates, GATE_WINDOW_UPDATES},
        {GATE_FRAME_DATA, 0, limits_.empty_data, GATE_EMPTY_DATA},
        {GATE_FRAME_GOAWAY, 8, limits_.other_frames, GATE_OTHER_FRAMES},
        {0xfa, 20, limits_.other_frames, GATE_OTHER_FRAMES},
    };
    for (const auto &c : cases) {
        now_us_ += 3600 * 1000000LL;
        EXPECT_EQ(c.rate.burst, how_many([&] { return client(c.type, 0, 0, c.length); }, c.breach));
        now_us_ += 1000000;
        EXPECT_EQ(c.rate.per_s, how_many([&] { return client(c.type, 0, 0, c.length); }, c.breach));
    }
}

TEST_F(GateBudget, ControlFramesHaveTheirSizes)
{
    struct {
        uint8_t type;
        uint32_t length;
    } cases[] = {
        {GATE_FRAME_RST_STREAM, 5},    {GATE_FRAME_RST_STREAM, 16000000},
        {GATE_FRAME_SETTINGS, 6000},   {GATE_FRAME_PING, 7},
        {GATE_FRAME_PRIORITY, 6},      {GATE_FRAME_WINDOW_UPDATE, 0},
        {GATE_FRAME_GOAWAY, 16777215}, {0x80, 16777215},
    };
    for (const auto &c : cases)
        EXPECT_EQ(GATE_FRAME_SIZES, client(c.type, 0, 1, c.length)) << +c.type;
}

TEST_F(GateBudget, AReaderOfAStreamMayUpdateWindowsAndProbe)
{
    ASSERT_EQ(GATE_FINE, open(1));
    for (int i = 0; i < 100000; i++) {
        ASSERT_EQ(GATE_FINE, server(GATE_FRAME_DATA, 0, 1, 16384));
        ASSERT_EQ(GATE_FINE, client(GATE_FRAME_WINDOW_UPDATE, 0, 0, 4));
        ASSERT_EQ(GATE_FINE, client(GATE_FRAME_WINDOW_UPDATE, 0, 1, 4));
        ASSERT_EQ(GATE_FINE, client(GATE_FRAME_PING, 0, 0, 8));
    }
}

TEST_F(GateBudget, AnswersToTheServerAreFree)
{
    for (int i = 0; i < 10000; i++) {
        ASSERT_EQ(GATE_FINE, server(GATE_FRAME_PING, 0, 0, 8));
        ASSERT_EQ(GATE_FINE, client(GATE_FRAME_PING, GATE_FLAG_ACK, 0, 8));
        ASSERT_EQ(GATE_FINE, server(GATE_FRAME_SETTINGS, 0, 0, 6));
        ASSERT_EQ(GATE_FINE, client(GATE_FRAME_SETTINGS, GATE_FLAG_ACK, 0, 0));
    }
    EXPECT_TRUE(budget_.is_server_settled);
}

// What the budget takes for open is open; and whatever frames come, it holds no more than it may.
TEST_F(GateBudget, CountsOpenStreamsAsAModelDoes)
{
    for (unsigned seed = 0; seed < 20; seed++) {
        std::mt19937 random(seed);
        std::set<uint32_t> model;
        uint32_t last = 0;
        gate_budget_free(&budget_);
        budget_ = {};
        limits_.streams = 50;
        for (int i = 0; i < 20000; i++) {
            uint32_t stream = 1 + 2 * (random() % (last / 2 + 3));
            bool has = model.count(stream) > 0;
            now_us_ += 1000000;
            switch (random() % 4) {
            case 0:
                if (open(stream) == GATE_STREAMS)
                    ASSERT_EQ(50u, model.size());
                else if (stream > last)
                    model.insert(last = stream);
                break;
            case 1:
                (void)reset(stream);
                ASSERT_EQ(has, is_reset_) << "seed " << seed;
                model.erase(stream);
                break;
            case 2:
                (void)server(GATE_FRAME_DATA, random() % 2, stream, random() % 2);
                break;
            default:
                answer(stream);
                model.erase(stream);
            }
            for (auto it = model.begin(); it != model.end();)
                it = gate_streams_has(&budget_.streams, *it) ? std::next(it) : model.erase(it);
            ASSERT_EQ(model.size(), budget_.streams.n) << "seed " << seed;
        }
    }
}

// ---- the time ----

class GateTimes : public testing::Test {
  protected:
    void SetUp() override
    {
        gate_limits_init(&limits_);
    }
    gate_breach after(uint32_t ms)
    {
        return gate_times_check(&times_, &limits_, ms * 1000LL);
    }
    void expect(gate_breach breach, uint32_t limit_ms)
    {
        EXPECT_EQ(GATE_FINE, after(limit_ms));
        EXPECT_EQ(breach, after(limit_ms + 1)) << gate_breach_name(after(limit_ms + 1));
    }
    gate_limits limits_;
    gate_times times_ = {};
};

TEST_F(GateTimes, EachStageHasItsTime)
{
    times_.stage = GATE_AT_PROXY_HEADER;
    expect(GATE_HANDSHAKE_TIME, limits_.handshake_ms);
    times_.stage = GATE_AT_HANDSHAKE;
    expect(GATE_HANDSHAKE_TIME, limits_.handshake_ms);
    times_.stage = GATE_AT_PREFACE;
    expect(GATE_PREFACE_TIME, limits_.preface_ms);
    times_.stage = GATE_AT_END;
    EXPECT_EQ(GATE_FINE, after(1000000000));
}

TEST_F(GateTimes, AnIdleStreamIsLegal)
{
    times_.stage = GATE_AT_RELAY;
    times_.has_streams = true;
    EXPECT_EQ(GATE_FINE, after(1000000000));
}

TEST_F(GateTimes, AConnectionWithoutStreamsIsIdle)
{
    times_.stage = GATE_AT_RELAY;
    expect(GATE_IDLE, limits_.idle_ms);
    times_.is_busy = true;
    expect(GATE_IDLE, limits_.idle_busy_ms);
}

TEST_F(GateTimes, WhoBeginsHasToGoOn)
{
    times_.stage = GATE_AT_RELAY;
    times_.has_streams = true;
    times_.is_in_frame = true;
    expect(GATE_FRAME_STALLED, limits_.frame_stall_ms);
    times_.is_in_frame = false;
    times_.is_in_record = true;
    expect(GATE_FRAME_STALLED, limits_.frame_stall_ms);
    times_.is_in_headers = true;
    times_.received_us = 1000000000; // a byte now and then does not help
    expect(GATE_HEADER_TIME, limits_.header_ms);
}

TEST_F(GateTimes, ASlowReaderIsCutOnlyWhileBytesWait)
{
    times_.stage = GATE_AT_RELAY;
    times_.has_streams = true;
    times_.is_held = true;
    expect(GATE_SLOW_READER, limits_.slow_reader_ms);
}

TEST(GateBreach, EachHasAName)
{
    std::set<std::string> names;
    for (int i = 0; i < GATE_BREACHES_N; i++) {
        const char *name = gate_breach_name(static_cast<gate_breach>(i));
        ASSERT_NE(nullptr, name) << i;
        EXPECT_TRUE(names.insert(name).second) << name;
    }
}

} // namespace
