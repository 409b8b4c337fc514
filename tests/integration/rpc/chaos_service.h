// tests/integration/rpc/chaos_service.h - a server of waymark.testing.v1.EchoService whose handlers
// and interceptors do at random everything that the call runtime allows.
//
// What they promise is counted: each call that was opened is ended exactly once, and each operation
// that was handed to another thread came back.
#ifndef WAYMARK_TESTS_INTEGRATION_RPC_CHAOS_SERVICE_H
#define WAYMARK_TESTS_INTEGRATION_RPC_CHAOS_SERVICE_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/rpc/rpc.h"

namespace chaos {

// Random numbers of the calling thread, from the one seed; threads differ.
void seed(uint64_t seed);
uint64_t below(uint64_t limit);
bool chance(unsigned percent);

// Runs what it is given after a moment, on a thread that is no lane's.
class Elsewhere {
  public:
    Elsewhere();
    ~Elsewhere(); // runs what is left
    Elsewhere(const Elsewhere &) = delete;
    Elsewhere &operator=(const Elsewhere &) = delete;
    void post(std::function<void()> work);

  private:
    void main();
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> queue_;
    bool stop_ = false;
    std::thread thread_;
};

struct Counts {
    std::atomic<uint64_t> opened{0}, ended{0}, finished{0}, cancelled{0}, aborted{0};
};

// One server on an address; may be started and stopped again and again.
class Service {
  public:
    explicit Service(std::vector<lane *> lanes) : lanes_(std::move(lanes))
    {
    }
    // False: the address is not free yet.
    bool start(const std::string &address);
    // Drains and frees it; every call must have ended exactly once by then.
    void stop(uint64_t grace_ms);
    int port() const
    {
        return port_;
    }
    Counts counts;
    Elsewhere elsewhere;

  private:
    std::vector<lane *> lanes_;
    rpc_server *server_ = nullptr;
    std::vector<rpc_handler> storage_;
    rpc_interceptor interceptor_ = {};
    int port_ = 0;
};

} // namespace chaos

#endif
