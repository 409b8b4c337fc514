// The event hub when PostgreSQL and Redis are killed: every committed record is told, once, in
// order.
#include "server/event/hub.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "tests/support/lane.h"
#include "tests/support/postgres.h"
#include "tests/support/redis.h"

using namespace waymark_test;

namespace {

// A server process that remembers what its hub told.
class Server {
  public:
    Server(TestPostgres &postgres, const std::string &redis)
    {
        lane.open_store(postgres.conninfo());
        ::lane *lanes[1] = {lane.get()};
        wm_err err;
        if (event_hub_new(lanes, 1, redis.c_str(), nullptr, &hub, &err) != WM_OK)
            throw std::runtime_error(err.message);
        plain.self = this;
        plain.subscriber.topics = 1u << EVENT_INSTANCES;
        plain.subscriber.record = [](event_subscriber *self, const event_record *record) {
            Server *server = wm_container_of(self, Plain, subscriber)->self;
            std::lock_guard<std::mutex> guard(server->mutex);
            server->heard.emplace_back((const char *)record->payload, record->payload_size);
        };
        lane.run([&] { event_hub_subscribe(hub, lane.get(), &plain.subscriber, nullptr); });
    }
    ~Server()
    {
        lane.run([&] { event_hub_unsubscribe(&plain.subscriber); });
        event_hub_free(hub);
    }
    wm_code commit(const std::string &payload)
    {
        static const store_stmt add = {
            "test.outbox", "INSERT INTO waymark.outbox (topic, namespace_id, payload) VALUES (3, 1,"
                           " $1::bytea)"};
        wm_code code = run_query(lane, add, [&](store_args *args) {
                           store_arg_bytes(args, payload.data(), payload.size());
                       }).code;
        event_hub_wake(hub);
        return code;
    }
    std::vector<std::string> told()
    {
        std::lock_guard<std::mutex> guard(mutex);
        return heard;
    }
    TestLane lane;
    event_hub *hub = nullptr;

  private:
    struct Plain {
        event_subscriber subscriber;
        Server *self;
    } plain = {};
    std::mutex mutex;
    std::vector<std::string> heard;
};

std::vector<std::string> committed(TestPostgres &postgres)
{
    std::vector<std::string> payloads;
    for (const auto &row : postgres.query(
             "SELECT convert_from(payload, 'UTF8') FROM waymark.outbox ORDER BY xid, seq"))
        payloads.push_back(row[0]);
    return payloads;
}

TEST(KilledEverything, EveryCommittedRecordIsToldOnceInOrder)
{
    TestPostgres postgres;
    TestRedis redis;
    Server a(postgres, redis.address()), b(postgres, redis.address());
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (Server *server : {&a, &a, &b, &b})
        threads.emplace_back([&, server, me = threads.size()] {
            for (int i = 0; !stop; i++)
                (void)server->commit(std::to_string(me) + "/" + std::to_string(i));
        });
    for (int i = 0; i < 3; i++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
        redis.kill9();
        postgres.kill9();
        postgres.start();
        redis.start();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    stop = true;
    for (std::thread &thread : threads)
        thread.join();
    std::vector<std::string> all = committed(postgres);
    EXPECT_GT(all.size(), 100u);
    EXPECT_TRUE(wait_for([&] { return a.told().size() >= all.size(); }));
    EXPECT_TRUE(wait_for([&] { return b.told().size() >= all.size(); }));
    EXPECT_EQ(a.told(), all);
    EXPECT_EQ(b.told(), all);
}

// Ids that were assigned, but whose traces never reached the disk, are assigned again after a
// crash: a record of such a transaction is news, however low its id.
TEST(KilledPostgres, IdsThatWereSetBackAreNews)
{
    TestPostgres postgres;
    for (int i = 0; i < 50; i++)
        postgres.query("SELECT pg_current_xact_id()");
    Server server(postgres, "");
    postgres.kill9();
    postgres.start();
    ASSERT_TRUE(wait_for([&] { return server.commit("news") == WM_OK; }));
    EXPECT_TRUE(wait_for([&] { return !server.told().empty(); }, 3000));
}

} // namespace
