// tests/support/proxy.h - stands between two parties and breaks what they say.
//
// It relays bytes both ways between who connects to it and a target, each by unix socket or
// TCP, and can hold, delay and cut. Of PostgreSQL's protocol it knows the frames, so that it can
// hold back exactly the answer to a commit.
#ifndef WAYMARK_TESTS_SUPPORT_PROXY_H
#define WAYMARK_TESTS_SUPPORT_PROXY_H

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace waymark_test {

class Proxy {
  public:
    // Addresses: "/path" of a unix socket, or "127.0.0.1:port"; port 0 to listen on takes a
    // free one.
    Proxy(const std::string &listen, const std::string &target);
    ~Proxy();
    Proxy(const Proxy &) = delete;
    Proxy &operator=(const Proxy &) = delete;

    int port() const
    {
        return port_;
    }
    // Closes every connection, in both directions, at once.
    void cut();
    // New connections are closed at once while this is on.
    void refuse(bool on)
    {
        refuse_ = on;
    }
    // Bytes from the target wait here (they are lost when the connection is cut).
    void hold_answers(bool on)
    {
        hold_answers_ = on;
    }
    // As above, but only from the next ReadyForQuery on: results pass, the commit's answer
    // does not.
    void hold_ready(bool on)
    {
        hold_ready_ = on;
    }
    // Each piece of bytes waits this long.
    void delay_ms(int ms)
    {
        delay_ms_ = ms;
    }
    int connections();

  private:
    struct Pair;
    void run();
    void accept_one();
    bool relay(Pair &pair);
    bool pass_answers(Pair &pair);

    std::string target_;
    int listen_fd_ = -1;
    int port_ = 0;
    std::atomic<bool> stop_{false}, refuse_{false}, hold_answers_{false}, hold_ready_{false};
    std::atomic<int> delay_ms_{0};
    std::mutex mutex_;
    std::vector<std::unique_ptr<Pair>> pairs_;
    std::thread thread_;
};

} // namespace waymark_test

#endif
