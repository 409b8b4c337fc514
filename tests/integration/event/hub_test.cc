// The event hub: order, completeness, replay, and Redis that comes and goes.
#include "server/event/hub.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "tests/support/lane.h"
#include "tests/support/postgres.h"
#include "tests/support/redis.h"

using namespace waymark_test;

namespace {

TestPostgres *postgres;

class Environment : public testing::Environment {
    void SetUp() override
    {
        postgres = new TestPostgres();
    }
    void TearDown() override
    {
        delete postgres;
    }
};

const auto *environment = testing::AddGlobalTestEnvironment(new Environment);

// One server process: two lanes and a hub.
class Server {
  public:
    explicit Server(const std::string &redis = "")
    {
        lane *pair[2];
        for (int i = 0; i < 2; i++) {
            lanes.emplace_back(new TestLane((unsigned)i));
            lanes[i]->open_store(postgres->conninfo());
            pair[i] = lanes[i]->get();
        }
        wm_err err;
        if (event_hub_new(pair, 2, redis.c_str(), nullptr, &hub, &err) != WM_OK)
            throw std::runtime_error(err.message);
    }
    ~Server()
    {
        event_hub_free(hub);
    }
    // One transaction with a record; waits for its commit.
    void commit(event_topic topic, int32_t namespace_id, const std::string &payload)
    {
        struct Work {
            store_tx tx;
            wm_arena arena;
            std::promise<wm_code> *done;
            event_topic topic;
            int32_t namespace_id;
            const std::string *payload;
        };
        std::promise<wm_code> done;
        Work work = {};
        work.done = &done;
        work.topic = topic;
        work.namespace_id = namespace_id;
        work.payload = &payload;
        lanes[1]->run([&] {
            wm_arena_init(&work.arena, 0);
            store_tx_begin(
                lanes[1]->the_store(), &work.tx, &work.arena, true,
                [](store_tx *tx, wm_code) {
                    Work *self = static_cast<Work *>(tx->ctx);
                    event_outbox_add(tx, self->topic, self->namespace_id, self->payload->data(),
                                     self->payload->size());
                    store_tx_commit(tx, [](store_tx *tx, wm_code code) {
                        static_cast<Work *>(tx->ctx)->done->set_value(code);
                    });
                },
                &work);
        });
        EXPECT_EQ(done.get_future().get(), WM_OK);
        event_hub_wake(hub);
        lanes[1]->run([&] { wm_arena_free(&work.arena); });
    }
    std::vector<std::unique_ptr<TestLane>> lanes;
    event_hub *hub = nullptr;
};

class Listener {
  public:
    Listener(Server &server, int lane, uint32_t topics, int32_t namespace_id = 0,
             const event_cursor *after = nullptr)
        : server_(server), lane_(lane)
    {
        plain_.self = this;
        event_subscriber *subscriber = &plain_.subscriber;
        subscriber->topics = topics;
        subscriber->namespace_id = namespace_id;
        subscriber->record = [](event_subscriber *self, const event_record *record) {
            wm_container_of(self, Plain, subscriber)->self->take(record);
        };
        subscriber->caught_up = [](event_subscriber *self) {
            wm_container_of(self, Plain, subscriber)->self->caught_up = true;
        };
        subscriber->failed = [](event_subscriber *self, const wm_err *err) {
            wm_container_of(self, Plain, subscriber)->self->failed = err->code;
        };
        server_.lanes[lane]->run([&] {
            event_hub_subscribe(server_.hub, server_.lanes[lane_]->get(), subscriber, after);
        });
    }
    ~Listener()
    {
        server_.lanes[lane_]->run([&] { event_hub_unsubscribe(&plain_.subscriber); });
    }
    bool has(const std::string &payload)
    {
        return wait_for([&] {
            std::lock_guard<std::mutex> guard(mutex_);
            return std::count(payloads_.begin(), payloads_.end(), payload) > 0;
        });
    }
    bool has_n(size_t n)
    {
        return wait_for([&] { return payloads().size() >= n; });
    }
    std::vector<std::string> payloads()
    {
        std::lock_guard<std::mutex> guard(mutex_);
        return payloads_;
    }
    std::vector<event_cursor> cursors()
    {
        std::lock_guard<std::mutex> guard(mutex_);
        return cursors_;
    }
    std::atomic<bool> caught_up{false};
    std::atomic<wm_code> failed{WM_OK};

  private:
    struct Plain {
        event_subscriber subscriber;
        Listener *self;
    } plain_ = {};
    void take(const event_record *record)
    {
        std::lock_guard<std::mutex> guard(mutex_);
        if (!cursors_.empty()) {
            EXPECT_LT(event_cursor_compare(cursors_.back(), record->cursor), 0);
        }
        cursors_.push_back(record->cursor);
        payloads_.emplace_back((const char *)record->payload, record->payload_size);
    }
    Server &server_;
    int lane_;
    std::mutex mutex_;
    std::vector<std::string> payloads_;
    std::vector<event_cursor> cursors_;
};

constexpr uint32_t positions = 1u << EVENT_POSITIONS;
constexpr uint32_t grants = 1u << EVENT_GRANTS;

TEST(Cursor, Text)
{
    char text[EVENT_CURSOR_TEXT_SIZE];
    event_cursor cursor = {INT64_MAX, INT64_MAX}, back = {0, 0};
    event_cursor_format(cursor, text);
    ASSERT_TRUE(event_cursor_parse(text, &back));
    EXPECT_EQ(event_cursor_compare(cursor, back), 0);
    for (const char *bad : {"", "-", "1", "1-", "-1", "1--1", "01-1", "1-1 ", " 1-1", "1-x", "+1-1",
                            "9223372036854775808-0", "1-99999999999999999999"})
        EXPECT_FALSE(event_cursor_parse(bad, &back)) << bad;
    EXPECT_LT(event_cursor_compare({1, 9}, {2, 0}), 0);
    EXPECT_GT(event_cursor_compare({2, 1}, {2, 0}), 0);
}

TEST(Hub, EveryLaneHearsWhatItAskedFor)
{
    Server server;
    Listener zero(server, 0, positions | grants);
    Listener one(server, 1, positions, 7);
    server.commit(EVENT_POSITIONS, 7, "p7");
    server.commit(EVENT_POSITIONS, 8, "p8");
    server.commit(EVENT_GRANTS, 7, std::string("g\0g", 3));
    server.commit(EVENT_POSITIONS, 7, "last");
    EXPECT_TRUE(zero.has("last"));
    EXPECT_TRUE(one.has("last"));
    EXPECT_EQ(zero.payloads(),
              (std::vector<std::string>{"p7", "p8", std::string("g\0g", 3), "last"}));
    EXPECT_EQ(one.payloads(), (std::vector<std::string>{"p7", "last"}));
}

TEST(Hub, WakesAtOnce)
{
    Server server;
    Listener listener(server, 1, positions);
    server.commit(EVENT_POSITIONS, 1, "first");
    ASSERT_TRUE(listener.has("first"));
    std::this_thread::sleep_for(std::chrono::milliseconds(600)); // idle interval reached
    int64_t best_us = INT64_MAX;
    for (int i = 0; i < 5; i++) {
        int64_t start_us = wm_monotonic_us();
        server.commit(EVENT_POSITIONS, 1, "wake" + std::to_string(i));
        ASSERT_TRUE(listener.has("wake" + std::to_string(i)));
        best_us = std::min(best_us, wm_monotonic_us() - start_us);
    }
    EXPECT_LT(best_us, 50000);
}

TEST(Hub, DoesNotPassAnOpenTransaction)
{
    Server server;
    Listener listener(server, 0, positions);
    std::thread slow([&] {
        postgres->query(
            "BEGIN; INSERT INTO waymark.outbox (topic, namespace_id, payload) VALUES (1,"
            " 1, 'slow'); SELECT pg_sleep(0.4); COMMIT");
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    server.commit(EVENT_POSITIONS, 1, "quick");
    EXPECT_TRUE(listener.has("quick"));
    slow.join();
    EXPECT_EQ(listener.payloads(), (std::vector<std::string>{"slow", "quick"}));
}

TEST(Hub, ReplaysFromACursorAndGoesOnLive)
{
    Server server;
    Listener first(server, 0, positions);
    for (int i = 0; i < 450; i++)
        server.commit(i % 3 == 2 ? EVENT_GRANTS : EVENT_POSITIONS, 1 + i % 2, std::to_string(i));
    ASSERT_TRUE(first.has("448"));
    event_cursor tenth = first.cursors()[10];
    std::atomic<bool> stop{false};
    std::thread load([&] {
        for (int i = 450; !stop; i++)
            server.commit(EVENT_POSITIONS, 1, std::to_string(i));
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    Listener again(server, 1, positions, 0, &tenth);
    EXPECT_TRUE(wait_for([&] { return again.caught_up.load(); }));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop = true;
    load.join();
    server.commit(EVENT_POSITIONS, 1, "end");
    ASSERT_TRUE(first.has("end"));
    ASSERT_TRUE(again.has("end"));
    std::vector<std::string> all = first.payloads();
    EXPECT_EQ(again.payloads(), std::vector<std::string>(all.begin() + 11, all.end()));
}

TEST(Hub, ReplaysPastManyRecordsOfOtherTopics)
{
    Server server;
    Listener first(server, 0, positions);
    const std::string others = "INSERT INTO waymark.outbox (topic, namespace_id, payload)"
                               " SELECT 5, 1, '' FROM generate_series(1, 60000)";
    server.commit(EVENT_POSITIONS, 1, "a");
    ASSERT_TRUE(first.has("a"));
    postgres->query(others);
    server.commit(EVENT_POSITIONS, 1, "b");
    postgres->query(others);
    server.commit(EVENT_POSITIONS, 1, "c");
    event_cursor a = first.cursors()[0];
    Listener again(server, 1, positions, 0, &a);
    EXPECT_TRUE(again.has("c"));
    EXPECT_TRUE(wait_for([&] { return again.caught_up.load(); }));
    server.commit(EVENT_POSITIONS, 1, "d");
    EXPECT_TRUE(again.has("d"));
    EXPECT_EQ(again.payloads(), (std::vector<std::string>{"b", "c", "d"}));
}

TEST(Hub, ALaneThatStandsHoldsBackWhatIsLarge)
{
    // Two looks of 256 records; the first alone is more than may be on its way.
    const size_t n = 400;
    Server server;
    Listener listener(server, 0, positions);
    server.commit(EVENT_POSITIONS, 1, "first");
    ASSERT_TRUE(listener.has("first"));
    std::atomic<bool> go_on{false};
    std::thread stands([&] {
        server.lanes[1]->run([&] {
            while (!go_on)
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
        });
    });
    postgres->query("INSERT INTO waymark.outbox (topic, namespace_id, payload) SELECT " +
                    std::to_string(EVENT_POSITIONS) +
                    ", 1, convert_to(repeat('x', 150000), 'UTF8') FROM generate_series(1, " +
                    std::to_string(n) + ")");
    EXPECT_TRUE(listener.has_n(1 + 256));
    std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    EXPECT_EQ(listener.payloads().size(), 1u + 256);
    go_on = true;
    stands.join();
    EXPECT_TRUE(listener.has_n(1 + n));
}

TEST(Hub, RefusesACursorThatRetentionHasPassed)
{
    Server server;
    Listener first(server, 0, positions);
    server.commit(EVENT_POSITIONS, 1, "old");
    server.commit(EVENT_POSITIONS, 1, "older");
    ASSERT_TRUE(first.has("older"));
    event_cursor old = first.cursors()[0];
    // Nothing of the past is kept; the partitions of the present go too.
    postgres->query("SELECT waymark.outbox_maintain('-20 hours')");
    Listener late(server, 1, positions, 0, &old);
    EXPECT_TRUE(wait_for([&] { return late.failed == WM_OUT_OF_RANGE; }));
    postgres->query("SELECT waymark.outbox_maintain('24 hours')");
    server.commit(EVENT_POSITIONS, 1, "goes on");
    EXPECT_TRUE(first.has("goes on"));
}

TEST(Hub, RefusesACursorFromTheFuture)
{
    Server server;
    event_cursor future = {INT64_C(1) << 40, 1};
    Listener listener(server, 1, positions, 0, &future);
    EXPECT_TRUE(wait_for([&] { return listener.failed == WM_OUT_OF_RANGE; }));
}

TEST(Hub, UnsubscribesInsideItsCallback)
{
    Server server;
    struct Once {
        event_subscriber subscriber;
        std::atomic<int> n;
    } once = {};
    once.subscriber.topics = positions;
    once.subscriber.record = [](event_subscriber *self, const event_record *) {
        wm_container_of(self, Once, subscriber)->n++;
        event_hub_unsubscribe(self);
    };
    Listener before(server, 1, positions);
    server.lanes[1]->run([&] {
        event_hub_subscribe(server.hub, server.lanes[1]->get(), &once.subscriber, nullptr);
    });
    Listener after(server, 1, positions);
    server.commit(EVENT_POSITIONS, 1, "a");
    server.commit(EVENT_POSITIONS, 1, "b");
    EXPECT_TRUE(before.has("b"));
    EXPECT_TRUE(after.has("b"));
    EXPECT_EQ(once.n, 1);
}

void expect_all_in_order(Listener &listener, size_t n)
{
    ASSERT_TRUE(listener.has_n(n));
    std::vector<std::string> payloads = listener.payloads();
    ASSERT_EQ(payloads.size(), n);
    for (size_t i = 0; i < n; i++)
        EXPECT_EQ(payloads[i], std::to_string(i));
}

TEST(HubWithRedis, ProcessesFollowEachOther)
{
    TestRedis redis;
    Server a(redis.address()), b(redis.address());
    Listener at_a(a, 1, positions), at_b(b, 0, positions);
    size_t n = 0;
    for (; n < 600; n++)
        (n % 2 == 0 ? a : b).commit(EVENT_POSITIONS, 1, std::to_string(n));
    expect_all_in_order(at_a, n);
    expect_all_in_order(at_b, n);
    // How fast, from either side to the other?
    int64_t worst_us = 0;
    for (int i = 0; i < 20; i++, n++) {
        int64_t start_us = wm_monotonic_us();
        (n % 2 == 0 ? a : b).commit(EVENT_POSITIONS, 1, std::to_string(n));
        ASSERT_TRUE((n % 2 == 0 ? at_b : at_a).has(std::to_string(n)));
        worst_us = std::max(worst_us, wm_monotonic_us() - start_us);
    }
    printf("worst of 20 from process to process: %.1f ms\n", (double)worst_us / 1e3);
}

TEST(HubWithRedis, NothingIsLostWhenRedisGoes)
{
    TestRedis redis;
    Server a(redis.address()), b(redis.address());
    Listener at_a(a, 0, positions), at_b(b, 1, positions);
    std::atomic<bool> stop{false};
    size_t n = 0;
    std::thread load([&] {
        for (; !stop; n++)
            (n % 2 == 0 ? a : b).commit(EVENT_POSITIONS, 1, std::to_string(n));
    });
    for (int i = 0; i < 3; i++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        redis.kill9();
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        redis.start();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    stop = true;
    load.join();
    expect_all_in_order(at_a, n);
    expect_all_in_order(at_b, n);
}

TEST(HubWithRedis, AnotherTakesOverWhenTheLeaderEnds)
{
    TestRedis redis;
    auto a = std::make_unique<Server>(redis.address());
    auto b = std::make_unique<Server>(redis.address());
    Listener at_b(*b, 0, positions);
    b->commit(EVENT_POSITIONS, 1, "0");
    EXPECT_TRUE(at_b.has("0"));
    a.reset();
    b->commit(EVENT_POSITIONS, 1, "1");
    EXPECT_TRUE(at_b.has("1"));
    EXPECT_TRUE(wait_for([&] {
        return postgres->query_one("SELECT count(*) FROM waymark.relay_lease WHERE expire_time > "
                                   "now()") == "1";
    }));
}

} // namespace
