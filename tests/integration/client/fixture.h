// tests/integration/client/fixture.h - a real echo server and clients of it, for tests of the SDK.
#ifndef WAYMARK_TESTS_CLIENT_FIXTURE_H
#define WAYMARK_TESTS_CLIENT_FIXTURE_H

#include <gtest/gtest.h>
#include <unistd.h>
#include <waymark/waymark.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "testing.client.h"
#include "tests/integration/client/echo_service.h"

namespace waymark_test {

using EchoRequest = Waymark__Testing__V1__EchoRequest;
using EchoResponse = Waymark__Testing__V1__EchoResponse;
using RepeatRequest = Waymark__Testing__V1__RepeatRequest;
using RepeatResponse = Waymark__Testing__V1__RepeatResponse;
using Nothing = Google__Protobuf__Empty;

inline EchoRequest MakeEcho(int64_t number, int delay_ms = 0)
{
    EchoRequest request = WAYMARK__TESTING__V1__ECHO_REQUEST__INIT;
    request.number = number;
    request.delay_ms = delay_ms;
    return request;
}

// Waits until something holds; for what another thread brings about.
inline bool Eventually(const std::function<bool()> &holds, int ms = 10000)
{
    for (int i = 0; i < ms && !holds(); i++)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return holds();
}

// What is left of a status after its call is gone.
struct Ended {
    waymark_code code = WAYMARK_OK;
    std::string reason, message;
    int64_t retry_delay_ms = -1;
    std::vector<std::pair<std::string, std::string>> metadata;

    explicit Ended(const waymark_status *status)
        : code(status->code), reason(status->reason), message(status->message),
          retry_delay_ms(status->retry_delay_ms)
    {
        for (size_t i = 0; i < status->n_metadata; i++)
            metadata.emplace_back(status->metadata[i].key,
                                  std::string(status->metadata[i].value, status->metadata[i].size));
    }

    std::string Get(const std::string &key) const
    {
        for (const auto &piece : metadata)
            if (piece.first == key)
                return piece.second;
        return "";
    }
};

// Calls Echo and waits.
inline Ended Echo(waymark_client *client, waymark_call_options options = {}, int delay_ms = 0)
{
    EchoRequest request = MakeEcho(1, delay_ms);
    waymark_reply *reply;
    options.want_metadata = true;
    waymark_testing_v1_echo_service_echo_sync(client, &request, &options, &reply);
    Ended ended(waymark_reply_status(reply));
    waymark_reply_free(reply);
    return ended;
}

// Calls Nothing, which may be repeated, and waits.
inline Ended CallNothing(waymark_client *client, waymark_call_options options = {})
{
    Nothing request = GOOGLE__PROTOBUF__EMPTY__INIT;
    waymark_reply *reply;
    waymark_testing_v1_echo_service_nothing_sync(client, &request, &options, &reply);
    Ended ended(waymark_reply_status(reply));
    waymark_reply_free(reply);
    return ended;
}

// Counts calls that end.
struct Tally {
    std::mutex lock;
    std::condition_variable changed;
    int ended = 0, ok = 0;
    waymark_code code = WAYMARK_OK;
    std::string reason, failure; // of the last that ended, and of the last that failed

    void End(const waymark_status *status)
    {
        std::lock_guard<std::mutex> hold(lock);
        ended++;
        ok += status->code == WAYMARK_OK;
        if (status->code != WAYMARK_OK)
            failure = std::string(waymark_code_name(status->code)) + " " + status->reason + ": " +
                      status->message;
        code = status->code;
        reason = status->reason;
        changed.notify_all();
    }

    bool Wait(int n = 1)
    {
        std::unique_lock<std::mutex> hold(lock);
        return changed.wait_for(hold, std::chrono::seconds(20), [&] { return ended >= n; });
    }
};

inline void TallyEcho(void *ctx, const waymark_status *status, const EchoResponse *)
{
    static_cast<Tally *>(ctx)->End(status);
}

inline void StartEcho(waymark_client *client, Tally *tally, waymark_call_options options = {},
                      int delay_ms = 0)
{
    EchoRequest request = MakeEcho(1, delay_ms);
    waymark_testing_v1_echo_service_echo(client, &request, &options, TallyEcho, tally);
}

class SdkTest : public testing::Test {
  protected:
    void SetUp() override
    {
        dir_ = "/tmp/wmcXXXXXX";
        ASSERT_NE(mkdtemp(dir_.data()), nullptr);
        address_ = "unix:" + dir_ + "/s";
        server_ = echo_server_start(address_.c_str());
    }

    void TearDown() override
    {
        for (waymark_client *client : clients_)
            waymark_client_free(client);
        StopServer();
        EXPECT_EQ(std::system(("rm -rf " + dir_).c_str()), 0);
    }

    void StopServer()
    {
        if (server_ != nullptr)
            echo_server_stop(server_);
        server_ = nullptr;
    }

    // Of the server, unless the options name an address or share one; freed with the test.
    waymark_client *NewClient(waymark_client_options options = {})
    {
        waymark_problem problem = {};
        if (options.address == nullptr && options.share == nullptr)
            options.address = address_.c_str();
        options.own_connection = options.share == nullptr;
        waymark_client *client = waymark_client_new(&options, &problem);
        EXPECT_NE(client, nullptr) << problem.message;
        clients_.push_back(client);
        return client;
    }

    void Free(waymark_client *client)
    {
        waymark_client_free(client);
        for (auto &kept : clients_)
            if (kept == client)
                kept = nullptr;
    }

    // Why such a client is refused; "" when it is not.
    static std::string Refused(waymark_client_options options)
    {
        waymark_problem problem = {};
        waymark_client *client = waymark_client_new(&options, &problem);
        if (client == nullptr)
            return problem.message;
        waymark_client_free(client);
        return "";
    }

    std::string dir_, address_;
    echo_server *server_ = nullptr;
    std::vector<waymark_client *> clients_;
};

} // namespace waymark_test

#endif
