// tests/support/redis.h - a private Redis on a unix socket for one test.
#ifndef WAYMARK_TESTS_SUPPORT_REDIS_H
#define WAYMARK_TESTS_SUPPORT_REDIS_H

#include <string>

#include "tests/support/process.h"

namespace waymark_test {

class TestRedis {
  public:
    // Started when the constructor returns.
    explicit TestRedis(const std::string &password = "");
    // "unix:/tmp/.../redis.sock"
    std::string address() const
    {
        return "unix:" + socket();
    }
    std::string socket() const
    {
        return dir_.path() + "/redis.sock";
    }
    void start();
    void stop();
    void kill9();
    // A peer that is there and says nothing, until resume().
    void pause()
    {
        process_.signal(SIGSTOP);
    }
    void resume()
    {
        process_.signal(SIGCONT);
    }

  private:
    TempDir dir_;
    std::string password_;
    Process process_;
};

} // namespace waymark_test

#endif
