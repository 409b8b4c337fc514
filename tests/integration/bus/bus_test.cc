// The bus against a real Redis that comes and goes.
#include "server/bus/bus.h"

#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "tests/support/lane.h"
#include "tests/support/redis.h"

using namespace waymark_test;

namespace {

// Everything that a listener was told, in order.
class Ear {
  public:
    Ear(const TestRedis &redis, const char *password = nullptr)
    {
        bus_listener listener = {&Ear::entry, &Ear::message, &Ear::changed, this};
        lane.run(
            [&] { the_bus = bus_new(lane.get(), redis.address().c_str(), password, &listener); });
    }
    ~Ear()
    {
        lane.run([&] { bus_free(the_bus); });
    }
    bool hears(const std::string &what)
    {
        return wait_for([&] { return count(what) > 0; });
    }
    int count(const std::string &what)
    {
        std::lock_guard<std::mutex> guard(mutex);
        return (int)std::count(heard.begin(), heard.end(), what);
    }
    void append(const std::string &value)
    {
        lane.run([&] {
            bus_field field = {"v", value.data(), value.size()};
            bus_append(the_bus, "test:stream", 1000, &field, 1);
        });
    }
    // The tail has a connection of its own, which may be there later than bus_is_up() says: what
    // `from` appends before that is not for this ear.
    bool hears_repeated(Ear &from, const std::string &value)
    {
        return wait_for([&] {
            from.append(value);
            return count("entry " + value) > 0;
        });
    }
    bool up()
    {
        return wait_for([&] { return bus_is_up(the_bus); });
    }
    TestLane lane;
    bus *the_bus = nullptr;

  private:
    static void entry(void *ctx, const char *, const bus_field *fields, size_t n)
    {
        std::string value = n > 0 ? std::string((const char *)fields[0].value, fields[0].size) : "";
        static_cast<Ear *>(ctx)->add("entry " + value);
    }
    static void message(void *ctx, const char *channel, const void *bytes, size_t size)
    {
        static_cast<Ear *>(ctx)->add(std::string(channel) + " " +
                                     std::string((const char *)bytes, size));
    }
    static void changed(void *ctx, bool up)
    {
        static_cast<Ear *>(ctx)->add(up ? "up" : "down");
    }
    void add(const std::string &what)
    {
        std::lock_guard<std::mutex> guard(mutex);
        heard.push_back(what);
    }
    std::mutex mutex;
    std::vector<std::string> heard;
};

TEST(Bus, StreamAndMessages)
{
    TestRedis redis;
    Ear ear(redis);
    ear.lane.run([&] {
        bus_tail(ear.the_bus, "test:stream");
        bus_listen(ear.the_bus, "test:channel");
    });
    ASSERT_TRUE(ear.up());
    EXPECT_TRUE(ear.hears_repeated(ear, "first"));
    std::string binary("a\0b", 3);
    ear.append(binary);
    EXPECT_TRUE(ear.hears("entry " + binary));
    for (int i = 0; i < 1000; i++)
        ear.append(std::to_string(i));
    EXPECT_TRUE(ear.hears("entry 999"));
    for (int i = 0; i < 1000; i++)
        EXPECT_EQ(ear.count("entry " + std::to_string(i)), 1);
    // The subscription is made after the link is up, so the first messages may be missed.
    EXPECT_TRUE(wait_for([&] {
        ear.lane.run([&] { bus_publish(ear.the_bus, "test:channel", "hello", 5); });
        return ear.count("test:channel hello") > 0;
    }));
}

TEST(Bus, TailStartsAtThePresent)
{
    TestRedis redis;
    Ear first(redis);
    ASSERT_TRUE(first.up());
    first.append("old");
    Ear second(redis);
    ASSERT_TRUE(second.up());
    second.lane.run([&] { bus_tail(second.the_bus, "test:stream"); });
    ASSERT_TRUE(second.up());
    EXPECT_TRUE(second.hears_repeated(first, "new"));
    EXPECT_EQ(second.count("entry old"), 0);
}

TEST(Bus, ComesBackByItself)
{
    TestRedis redis;
    Ear ear(redis);
    ear.lane.run([&] { bus_tail(ear.the_bus, "test:stream"); });
    ASSERT_TRUE(ear.up());
    int ups = ear.count("up");
    redis.kill9();
    ASSERT_TRUE(ear.hears("down"));
    ear.append("lost");
    redis.start();
    ASSERT_TRUE(wait_for([&] { return ear.count("up") > ups; }));
    EXPECT_TRUE(ear.hears_repeated(ear, "after"));
    EXPECT_EQ(ear.count("entry lost"), 0);
}

TEST(Bus, SilenceIsNoticed)
{
    TestRedis redis;
    Ear ear(redis);
    ASSERT_TRUE(ear.up());
    redis.pause();
    ear.append("unanswered");
    EXPECT_TRUE(ear.hears("down"));
    int ups = ear.count("up");
    redis.resume();
    EXPECT_TRUE(wait_for([&] { return ear.count("up") > ups; }));
}

TEST(Bus, AnsweredCommandsLeaveNoTimer)
{
    TestRedis redis;
    Ear ear(redis);
    ASSERT_TRUE(ear.up());
    ear.append("answered");
    EXPECT_FALSE(wait_for([&] { return ear.count("down") > 0; }, 6000));
}

TEST(Bus, StartsWithoutRedis)
{
    TestRedis redis;
    redis.kill9();
    Ear ear(redis);
    ear.append("dropped");
    EXPECT_FALSE(bus_is_up(ear.the_bus));
    redis.start();
    EXPECT_TRUE(ear.up());
}

TEST(Bus, Password)
{
    TestRedis redis("geheim");
    Ear right(redis, "geheim");
    Ear wrong(redis, "falsch");
    Ear none(redis);
    EXPECT_TRUE(right.up());
    EXPECT_FALSE(bus_is_up(wrong.the_bus));
    EXPECT_FALSE(bus_is_up(none.the_bus));
}

} // namespace
