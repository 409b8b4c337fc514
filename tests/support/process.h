// tests/support/process.h - child processes and temporary directories of a test.
//
// Children get a signal when the test dies, so that nothing outlives a crashed test.
#ifndef WAYMARK_TESTS_SUPPORT_PROCESS_H
#define WAYMARK_TESTS_SUPPORT_PROCESS_H

#include <sys/types.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

namespace waymark_test {

// A short path under /tmp (unix socket paths end at 107 bytes); removed with the object.
class TempDir {
  public:
    // `user`: who owns it, when the test runs as root; "" keeps it.
    explicit TempDir(const std::string &user = "");
    ~TempDir();
    TempDir(const TempDir &) = delete;
    TempDir &operator=(const TempDir &) = delete;
    const std::string &path() const
    {
        return path_;
    }

  private:
    std::string path_;
};

class Process {
  public:
    Process() = default;
    ~Process();
    Process(const Process &) = delete;
    Process &operator=(const Process &) = delete;
    // Output goes to `log` (appended). `user`: whom to run as, when the test runs as root.
    // `env`: NAME=VALUE, added to the environment.
    void start(const std::vector<std::string> &argv, const std::string &log,
               const std::string &user = "", int death_signal = SIGKILL,
               const std::vector<std::string> &env = {});
    bool running();
    void signal(int sig);
    // The exit status as by waitpid; -1 when it still runs after `timeout_ms`.
    int wait(int timeout_ms = 10000);
    pid_t pid() const
    {
        return pid_;
    }

  private:
    pid_t pid_ = -1;
    int status_ = 0;
};

// Asks again every few milliseconds; false after `timeout_ms`.
bool wait_for(const std::function<bool()> &condition, int timeout_ms = 10000);

// Runs a command to its end; throws with its output when it fails.
void run_command(const std::vector<std::string> &argv, const std::string &user = "");

std::string read_file(const std::string &path);

} // namespace waymark_test

#endif
