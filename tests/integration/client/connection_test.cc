// Where a client connects, to how many, in which state it is, and what it sends along.
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "tests/integration/client/fixture.h"
#include "tests/support/proxy.h"

namespace waymark_test {
namespace {

using ConnectionTest = SdkTest;

std::string Port(const echo_server *server)
{
    return std::to_string(echo_server_port(server));
}

// ---- addresses ----

TEST_F(ConnectionTest, AddressesOfAllKinds)
{
    echo_server *v4 = echo_server_start("127.0.0.1:0");
    for (const std::string &address :
         {"127.0.0.1:" + Port(v4), "ipv4:127.0.0.1:" + Port(v4), "dns:///127.0.0.1:" + Port(v4),
          "unix:" + dir_ + "/s", "unix://" + dir_ + "/s"}) {
        waymark_client_options options = {};
        options.address = address.c_str();
        waymark_client *client = NewClient(options);
        EXPECT_EQ(Echo(client).code, WAYMARK_OK) << address;
        Free(client);
    }
    echo_server_stop(v4);
}

#if !defined(__SANITIZE_ADDRESS__) // looking up a name leaks ten bytes in libcares
TEST_F(ConnectionTest, ANameIsLookedUp)
{
    echo_server *server = echo_server_start("127.0.0.1:0");
    for (const std::string &address :
         {"localhost:" + Port(server), "dns:///localhost:" + Port(server)}) {
        waymark_client_options options = {};
        options.address = address.c_str();
        waymark_client *client = NewClient(options);
        EXPECT_EQ(Echo(client).code, WAYMARK_OK) << address;
        Free(client);
    }
    echo_server_stop(server);
}
#endif

bool HasIpv6()
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0 && access("/proc/net/if_inet6", R_OK) == 0;
}

TEST_F(ConnectionTest, Ipv6)
{
    if (!HasIpv6())
        GTEST_SKIP() << "this machine has no IPv6";
    echo_server *v6 = echo_server_start("[::1]:0");
    for (const std::string &address : {"[::1]:" + Port(v6), "ipv6:[::1]:" + Port(v6)}) {
        waymark_client_options options = {};
        options.address = address.c_str();
        waymark_client *client = NewClient(options);
        EXPECT_EQ(Echo(client).code, WAYMARK_OK) << address;
        Free(client);
    }
    echo_server_stop(v6);
}

// ---- several servers ----

class TwoServers : public SdkTest {
  protected:
    void SetUp() override
    {
        SdkTest::SetUp();
        one_ = echo_server_start("127.0.0.1:0");
        two_ = echo_server_start("127.0.0.1:0");
        both_ = "ipv4:127.0.0.1:" + Port(one_) + ",127.0.0.1:" + Port(two_);
    }

    void TearDown() override
    {
        for (auto &client : clients_) {
            waymark_client_free(client);
            client = nullptr;
        }
        for (echo_server *server : {one_, two_})
            if (server != nullptr)
                echo_server_stop(server);
        SdkTest::TearDown();
    }

    waymark_client *Both(waymark_client_options options = {})
    {
        options.address = both_.c_str();
        return NewClient(options);
    }

    echo_server *one_ = nullptr, *two_ = nullptr;
    std::string both_;
};

TEST_F(TwoServers, PickFirstStaysWithOne)
{
    waymark_client *client = Both();
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(Echo(client).code, WAYMARK_OK);
    EXPECT_EQ(std::max(echo_server_calls(one_), echo_server_calls(two_)), 20u);
}

TEST_F(TwoServers, RoundRobinUsesBoth)
{
    waymark_client_options options = {};
    options.load_balancing = "round_robin";
    waymark_client_options by_config = {};
    by_config.service_config = R"({"loadBalancingConfig": [{"round_robin": {}}]})";
    for (const auto &kind : {options, by_config}) {
        waymark_client *client = Both(kind);
        uint64_t one = echo_server_calls(one_), two = echo_server_calls(two_);
        // Until both are connected, and then in turn.
        EXPECT_TRUE(Eventually([&] {
            EXPECT_EQ(Echo(client).code, WAYMARK_OK);
            return echo_server_calls(one_) > one && echo_server_calls(two_) > two;
        }));
        one = echo_server_calls(one_), two = echo_server_calls(two_);
        for (int i = 0; i < 20; i++)
            EXPECT_EQ(Echo(client).code, WAYMARK_OK);
        EXPECT_EQ(echo_server_calls(one_) - one, 10u);
        EXPECT_EQ(echo_server_calls(two_) - two, 10u);
    }
}

// One of two dies in the middle of the work; what may be repeated does not fail.
TEST_F(TwoServers, CallsGoOnWhenOneDies)
{
    for (const char *policy : {"round_robin", "pick_first"}) {
        if (one_ == nullptr)
            one_ = echo_server_start("127.0.0.1:0"),
            both_ = "ipv4:127.0.0.1:" + Port(one_) + ",127.0.0.1:" + Port(two_);
        waymark_client_options options = {};
        options.load_balancing = policy;
        waymark_client *client = Both(options);
        std::atomic<int> done{0}, failed{0};
        std::atomic<bool> stop{false};
        std::vector<std::thread> callers;
        for (int t = 0; t < 3; t++)
            callers.emplace_back([&] {
                while (!stop) {
                    failed += CallNothing(client).code != WAYMARK_OK;
                    done++;
                }
            });
        EXPECT_TRUE(Eventually([&] { return done > 200; }));
        echo_server_stop(one_);
        one_ = nullptr;
        int then = done;
        EXPECT_TRUE(Eventually([&] { return done > then + 200; }));
        stop = true;
        for (auto &caller : callers)
            caller.join();
        EXPECT_EQ(failed, 0) << policy;
        Free(client);
    }
}

// ---- the state ----

TEST_F(ConnectionTest, StateAndConnect)
{
    waymark_client *client = NewClient();
    EXPECT_EQ(waymark_client_state(client, false), WAYMARK_STATE_IDLE);
    EXPECT_TRUE(waymark_client_wait_ready(client, 10000));
    EXPECT_EQ(waymark_client_state(client, false), WAYMARK_STATE_READY);
    EXPECT_TRUE(waymark_client_wait_ready(client, 0));
    EXPECT_STREQ(waymark_state_name(WAYMARK_STATE_READY), "READY");
    EXPECT_STREQ(waymark_state_name(static_cast<waymark_state>(17)), "UNKNOWN");
}

TEST_F(ConnectionTest, WaitReadyHasADeadline)
{
    waymark_client_options options = {};
    options.address = "127.0.0.1:1";
    waymark_client *client = NewClient(options);
    auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(waymark_client_wait_ready(client, 150));
    EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(150));
    EXPECT_NE(waymark_client_state(client, false), WAYMARK_STATE_READY);
}

TEST_F(ConnectionTest, WaitReadyWaitsForTheServer)
{
    StopServer();
    waymark_client *client = NewClient();
    std::thread later([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        server_ = echo_server_start(address_.c_str());
    });
    EXPECT_TRUE(waymark_client_wait_ready(client, 20000));
    later.join();
    EXPECT_EQ(Echo(client).code, WAYMARK_OK);
}

struct Watcher {
    std::mutex lock;
    std::vector<waymark_state> states;
    waymark_watch *watch = nullptr;
    bool free_at_once = false;

    static void Changed(void *ctx, waymark_state state)
    {
        auto *self = static_cast<Watcher *>(ctx);
        std::lock_guard<std::mutex> hold(self->lock);
        self->states.push_back(state);
        if (self->free_at_once)
            waymark_watch_free(std::exchange(self->watch, nullptr));
    }

    bool Saw(waymark_state state)
    {
        return Eventually([&] {
            std::lock_guard<std::mutex> hold(lock);
            return !states.empty() && states.back() == state;
        });
    }

    bool Left(waymark_state state)
    {
        return Eventually([&] {
            std::lock_guard<std::mutex> hold(lock);
            return !states.empty() && states.back() != state;
        });
    }

    size_t Count()
    {
        std::lock_guard<std::mutex> hold(lock);
        return states.size();
    }
};

TEST_F(ConnectionTest, AWatchFollowsTheConnection)
{
    Watcher watcher, second;
    waymark_client *client = NewClient();
    watcher.watch = waymark_client_watch(client, Watcher::Changed, &watcher);
    EXPECT_TRUE(watcher.Saw(WAYMARK_STATE_IDLE));
    EXPECT_EQ(Echo(client).code, WAYMARK_OK);
    EXPECT_TRUE(watcher.Saw(WAYMARK_STATE_READY));
    second.watch = waymark_client_watch(client, Watcher::Changed, &second);
    EXPECT_TRUE(second.Saw(WAYMARK_STATE_READY));

    StopServer();
    EXPECT_TRUE(
        Eventually([&] { return waymark_client_state(client, false) != WAYMARK_STATE_READY; }));
    EXPECT_TRUE(watcher.Left(WAYMARK_STATE_READY));
    waymark_watch_free(second.watch);
    size_t heard = second.Count();
    server_ = echo_server_start(address_.c_str());
    EXPECT_TRUE(waymark_client_wait_ready(client, 20000));
    EXPECT_TRUE(watcher.Saw(WAYMARK_STATE_READY));
    EXPECT_EQ(second.Count(), heard);
    waymark_watch_free(watcher.watch);
}

TEST_F(ConnectionTest, AWatchMayFreeItselfAndAClientFreesTheRest)
{
    Watcher once, kept;
    waymark_client *client = NewClient();
    once.free_at_once = true;
    {
        std::lock_guard<std::mutex> hold(once.lock);
        once.watch = waymark_client_watch(client, Watcher::Changed, &once);
    }
    EXPECT_TRUE(once.Saw(WAYMARK_STATE_IDLE));
    (void)!waymark_client_watch(client, Watcher::Changed, &kept);
    EXPECT_TRUE(kept.Saw(WAYMARK_STATE_IDLE));
    EXPECT_TRUE(waymark_client_wait_ready(client, 10000));
    EXPECT_TRUE(kept.Saw(WAYMARK_STATE_READY));
    Free(client);
    EXPECT_EQ(once.Count(), 1u);
}

TEST_F(ConnectionTest, WaitForReadyOfACallOrAClient)
{
    StopServer();
    waymark_client_options options = {};
    options.wait_for_ready = true;
    waymark_client *patient = NewClient(options), *hasty = NewClient();
    waymark_call_options wait = {}, fail_fast = {};
    wait.wait_for_ready = true;
    wait.timeout_ms = fail_fast.timeout_ms = 200;
    fail_fast.fail_fast = true;
    EXPECT_EQ(Echo(hasty).code, WAYMARK_UNAVAILABLE);
    EXPECT_EQ(Echo(hasty, wait).code, WAYMARK_DEADLINE_EXCEEDED);
    EXPECT_EQ(Echo(patient, fail_fast).code, WAYMARK_UNAVAILABLE);

    Tally tally;
    StartEcho(patient, &tally);
    server_ = echo_server_start(address_.c_str());
    ASSERT_TRUE(tally.Wait());
    EXPECT_EQ(tally.code, WAYMARK_OK);
}

// ---- peers that say nothing ----

TEST_F(ConnectionTest, ASilentPeerIsGivenUp)
{
    Proxy proxy("127.0.0.1:0", dir_ + "/s");
    std::string address = "127.0.0.1:" + std::to_string(proxy.port());
    waymark_client_options options = {};
    options.address = address.c_str();
    options.keepalive_ms = 1000;
    options.keepalive_timeout_ms = 500;
    waymark_client *client = NewClient(options);
    EXPECT_EQ(Echo(client).code, WAYMARK_OK);
    proxy.hold_answers(true);
    auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(Echo(client).code, WAYMARK_UNAVAILABLE); // long before its deadline
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
    proxy.hold_answers(false);
    EXPECT_TRUE(Eventually([&] { return Echo(client).code == WAYMARK_OK; }));
}

// ---- sharing ----

TEST_F(ConnectionTest, ClientsShareAConnection)
{
    waymark_credentials *one = waymark_credentials_token("one");
    waymark_credentials *two = waymark_credentials_token("two");
    waymark_client_options options = {}, sharing = {};
    options.credentials = one;
    waymark_client *first = NewClient(options);
    EXPECT_EQ(Echo(first).Get("seen-authorization"), "Bearer one");
    sharing.share = first;
    sharing.credentials = two;
    waymark_client *second = NewClient(sharing);
    EXPECT_EQ(waymark_client_state(second, false), WAYMARK_STATE_READY); // that of the first
    EXPECT_EQ(Echo(second).Get("seen-authorization"), "Bearer two");

    Watcher watcher;
    (void)!waymark_client_watch(first, Watcher::Changed, &watcher);
    EXPECT_TRUE(watcher.Saw(WAYMARK_STATE_READY));
    auto start = std::chrono::steady_clock::now();
    Free(first); // with a watch that the channel outlives
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    EXPECT_EQ(Echo(second).Get("seen-authorization"), "Bearer two");
    waymark_credentials_free(one);
    waymark_credentials_free(two);
}

TEST_F(ConnectionTest, ASharingClientHasNoConnectionOptions)
{
    waymark_client_options options = {};
    options.share = NewClient();
    EXPECT_EQ(Refused(options), "");
    options.address = "127.0.0.1:1";
    EXPECT_NE(Refused(options).find("shares"), std::string::npos);
}

// ---- what is sent along ----

TEST_F(ConnectionTest, UserAgent)
{
    EXPECT_EQ(Echo(NewClient()).Get("seen-user-agent").find("waymark-c/"), 0u);
    waymark_client_options options = {};
    options.user_agent = "ship/1.2";
    EXPECT_EQ(Echo(NewClient(options)).Get("seen-user-agent").find("ship/1.2 waymark-c/"), 0u);
}

TEST_F(ConnectionTest, BinaryMetadataBothWays)
{
    const char bytes[] = {0, 1, '\n', 0, static_cast<char>(0xff), 0};
    waymark_metadata metadata = {"echo-bin", bytes, sizeof(bytes)};
    waymark_call_options options = {};
    options.metadata = &metadata;
    options.n_metadata = 1;
    EXPECT_EQ(Echo(NewClient(), options).Get("echoed-bin"), std::string(bytes, sizeof(bytes)));
    metadata.size = 0;
    EXPECT_EQ(Echo(NewClient(), options).code, WAYMARK_OK);
}

TEST_F(ConnectionTest, ManyPiecesOfMetadataAndNotOneMore)
{
    std::vector<waymark_metadata> metadata(64, {"added", "x", 1});
    waymark_call_options options = {};
    waymark_credentials *token = waymark_credentials_token("t");
    waymark_client *client = NewClient();
    options.credentials = token; // comes on top
    options.metadata = metadata.data();
    options.n_metadata = metadata.size();
    EXPECT_EQ(Echo(client, options).Get("seen-authorization"), "Bearer t");
    metadata.push_back({"added", "x", 1});
    options.metadata = metadata.data();
    options.n_metadata = metadata.size();
    EXPECT_EQ(Echo(client, options).reason, "METADATA_INVALID");
    waymark_credentials_free(token);
}

waymark_code EchoOfSize(waymark_client *client, size_t size)
{
    std::string payload(size, 'x');
    EchoRequest request = MakeEcho(1);
    waymark_reply *reply;
    request.payload.data = reinterpret_cast<uint8_t *>(payload.data());
    request.payload.len = payload.size();
    waymark_testing_v1_echo_service_echo_sync(client, &request, nullptr, &reply);
    waymark_code code = waymark_reply_status(reply)->code;
    waymark_reply_free(reply);
    return code;
}

TEST_F(ConnectionTest, SizesHaveLimitsBothWays)
{
    waymark_client_options sends = {}, takes = {};
    sends.send_size_max = 1000;
    takes.message_size_max = 1000;
    waymark_client *sender = NewClient(sends), *taker = NewClient(takes);
    EXPECT_EQ(EchoOfSize(sender, 900), WAYMARK_OK);
    EXPECT_EQ(EchoOfSize(sender, 1100), WAYMARK_RESOURCE_EXHAUSTED);
    EXPECT_EQ(EchoOfSize(taker, 900), WAYMARK_OK);
    EXPECT_EQ(EchoOfSize(taker, 1100), WAYMARK_RESOURCE_EXHAUSTED);
}

TEST_F(ConnectionTest, CompressionIsByChoice)
{
    waymark_client_options on = {};
    on.compression = true;
    waymark_call_options gzip = {}, deflate = {};
    gzip.compression = WAYMARK_COMPRESSION_GZIP;
    deflate.compression = WAYMARK_COMPRESSION_DEFLATE;

    Ended ended = Echo(NewClient(), gzip);
    EXPECT_EQ(ended.code, WAYMARK_INVALID_ARGUMENT);
    EXPECT_EQ(ended.reason, "COMPRESSION_OFF");
    // A server that takes none says so, which shows that it was compressed.
    EXPECT_EQ(Echo(NewClient(on), gzip).code, WAYMARK_UNIMPLEMENTED);

    std::string path = "unix:" + dir_ + "/z";
    echo_server *takes = echo_server_start_compressing(path.c_str(), true);
    on.address = path.c_str();
    waymark_client *client = NewClient(on);
    EXPECT_EQ(Echo(client, gzip).code, WAYMARK_OK);
    EXPECT_EQ(Echo(client, deflate).code, WAYMARK_OK);
    EXPECT_EQ(EchoOfSize(client, 100000), WAYMARK_OK); // its answer is compressed
    waymark_client_options off = {};
    off.address = path.c_str();
    EXPECT_EQ(EchoOfSize(NewClient(off), 100000), WAYMARK_OK); // and this one's is not
    for (auto &kept : clients_) {
        waymark_client_free(kept);
        kept = nullptr;
    }
    echo_server_stop(takes);
}

TEST_F(ConnectionTest, DeadlinesOfAllSizes)
{
    waymark_client *client = NewClient();
    waymark_call_options options = {};
    for (int64_t timeout_ms :
         {INT64_C(-1), INT64_MIN, INT64_MAX, INT64_C(1000000000000), INT64_C(315360000000)}) {
        options.timeout_ms = timeout_ms;
        EXPECT_EQ(Echo(client, options, 1).code, WAYMARK_OK) << timeout_ms;
    }
    options.timeout_ms = 1;
    EXPECT_EQ(Echo(client, options, 5000).code, WAYMARK_DEADLINE_EXCEEDED);
}

TEST_F(ConnectionTest, ACallThatAnotherThreadWaitsForMayBeCancelled)
{
    std::atomic<waymark_call *> call{nullptr};
    waymark_client *client = NewClient();
    std::thread waits([&] {
        EchoRequest request = MakeEcho(1, 60000);
        waymark_call *handle = nullptr;
        waymark_reply *reply;
        waymark_call_options options = {};
        options.call = &handle;
        std::thread tells([&] { // the handle is there before the server has the call
            ASSERT_TRUE(Eventually([&] { return echo_server_calls(server_) == 1; }));
            call = handle;
        });
        waymark_testing_v1_echo_service_echo_sync(client, &request, &options, &reply);
        EXPECT_EQ(waymark_reply_status(reply)->code, WAYMARK_CANCELLED);
        waymark_reply_free(reply);
        tells.join();
    });
    ASSERT_TRUE(Eventually([&] { return call != nullptr; }));
    waymark_call_cancel(call);
    waits.join();
    waymark_call_cancel(call); // after the reply is gone
    waymark_call_free(call);
}

TEST_F(ConnectionTest, StatusDetailsInFull)
{
    Waymark__Testing__V1__FailRequest request = WAYMARK__TESTING__V1__FAIL_REQUEST__INIT;
    std::string reason = "SOME_REASON";
    request.code = WAYMARK_FAILED_PRECONDITION;
    request.reason = reason.data();
    waymark_reply *reply;
    waymark_testing_v1_echo_service_fail_sync(NewClient(), &request, nullptr, &reply);
    const waymark_status *status = waymark_reply_status(reply);
    EXPECT_STREQ(status->reason, "SOME_REASON");
    ASSERT_GT(status->details_size, reason.size());
    EXPECT_NE(std::string(reinterpret_cast<const char *>(status->details), status->details_size)
                  .find(reason),
              std::string::npos);
    EXPECT_EQ(waymark_status_info(status, "no-such-key"), nullptr);
    EXPECT_EQ(waymark_status_metadata(status, "no-such-key", nullptr), nullptr);
    waymark_reply_free(reply);
}

// ---- options ----

TEST_F(ConnectionTest, OptionsThatAreWrongAreNamed)
{
    waymark_client_options good = {}, options;
    good.address = "127.0.0.1:1";
    EXPECT_EQ(Refused(good), "");

    options = good, options.load_balancing = "luck";
    EXPECT_NE(Refused(options).find("load_balancing"), std::string::npos);
    options = good, options.user_agent = "two\nlines";
    EXPECT_NE(Refused(options).find("user_agent"), std::string::npos);
    options = good, options.keepalive_ms = 999;
    EXPECT_NE(Refused(options).find("keepalive_ms"), std::string::npos);
    options = good, options.reconnect_max_ms = 1;
    EXPECT_NE(Refused(options).find("reconnect_max_ms"), std::string::npos);
    options = good, options.retry.attempts_max = 6;
    EXPECT_NE(Refused(options).find("retry"), std::string::npos);
    options = good, options.threads = 65;
    EXPECT_NE(Refused(options).find("threads"), std::string::npos);
    options = good, options.n_interceptors = 17;
    EXPECT_NE(Refused(options).find("interceptors"), std::string::npos);
    options = good, options.send_size_max = size_t{1} << 31;
    EXPECT_NE(Refused(options).find("size"), std::string::npos);
    options = good, options.reserved[7] = &options;
    EXPECT_NE(Refused(options).find("reserved"), std::string::npos);
    options = good, options.keepalive_ms = -1, options.keepalive_timeout_ms = 1000;
    EXPECT_EQ(Refused(options), "");
}

// A watch that ends itself while the client, and so the watch, is being freed.
TEST_F(SdkTest, AWatchMayFreeItselfToTheLast)
{
    struct Once {
        waymark_watch *watch = nullptr;
        std::atomic<bool> watched{false}, running{false}, freed{false}, over{false};
    } once;
    waymark_client *client = NewClient();
    once.watch = waymark_client_watch(
        client,
        [](void *ctx, waymark_state) {
            auto *self = static_cast<Once *>(ctx);
            Eventually([&] { return self->watched.load(); });
            self->running = true;
            EXPECT_FALSE(Eventually([&] { return self->freed.load(); }, 300)); // it waits for us
            waymark_watch_free(self->watch);
            self->over = true;
        },
        &once);
    once.watched = true;
    EXPECT_TRUE(Eventually([&] { return once.running.load(); }));
    Free(client);
    once.freed = true;
    EXPECT_TRUE(once.over);
}

} // namespace
} // namespace waymark_test
