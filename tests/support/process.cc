#include "tests/support/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace waymark_test {

namespace {

const passwd *user_entry(const std::string &user)
{
    const passwd *entry = getpwnam(user.c_str());
    if (entry == nullptr)
        throw std::runtime_error("no user " + user);
    return entry;
}

// After fork: only what is safe there.
void become(const passwd *entry)
{
    if (entry != nullptr &&
        (setgroups(0, nullptr) != 0 || setgid(entry->pw_gid) != 0 || setuid(entry->pw_uid) != 0))
        _exit(126);
}

} // namespace

TempDir::TempDir(const std::string &user)
{
    char pattern[] = "/tmp/wmt-XXXXXX";
    if (mkdtemp(pattern) == nullptr)
        throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
    if (!user.empty() && geteuid() == 0) {
        const passwd *entry = user_entry(user);
        if (chown(pattern, entry->pw_uid, entry->pw_gid) != 0)
            throw std::runtime_error("chown failed");
        // Sockets inside are for the test, which may not be the owner.
        if (chmod(pattern, 0755) != 0)
            throw std::runtime_error("chmod failed");
    }
}

TempDir::~TempDir()
{
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

Process::~Process()
{
    if (running()) {
        signal(SIGKILL);
        wait();
    }
}

void Process::start(const std::vector<std::string> &argv, const std::string &log,
                    const std::string &user, int death_signal, const std::vector<std::string> &env)
{
    if (running())
        throw std::runtime_error(argv[0] + " runs already");
    std::vector<char *> args;
    for (const std::string &arg : argv)
        args.push_back(const_cast<char *>(arg.c_str()));
    args.push_back(nullptr);
    const passwd *entry = !user.empty() && geteuid() == 0 ? user_entry(user) : nullptr;
    int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (out < 0)
        throw std::runtime_error("cannot open " + log);
    pid_t parent = getpid();
    pid_ = fork();
    if (pid_ == 0) {
        dup2(out, 1);
        dup2(out, 2);
        for (const std::string &pair : env)
            putenv(const_cast<char *>(pair.c_str()));
        become(entry);
        // A change of user clears it, so it comes after.
        prctl(PR_SET_PDEATHSIG, death_signal);
        if (getppid() != parent)
            _exit(125);
        execvp(args[0], args.data());
        _exit(127);
    }
    close(out);
    if (pid_ < 0)
        throw std::runtime_error("fork failed");
}

bool Process::running()
{
    if (pid_ <= 0)
        return false;
    if (waitpid(pid_, &status_, WNOHANG) == 0)
        return true;
    pid_ = -1;
    return false;
}

void Process::signal(int sig)
{
    if (pid_ > 0)
        kill(pid_, sig);
}

int Process::wait(int timeout_ms)
{
    return wait_for([this] { return !running(); }, timeout_ms) ? status_ : -1;
}

bool wait_for(const std::function<bool()> &condition, int timeout_ms)
{
    auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end)
            return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
    return true;
}

void run_command(const std::vector<std::string> &argv, const std::string &user)
{
    TempDir dir;
    std::string log = dir.path() + "/log";
    Process process;
    process.start(argv, log, user);
    int status = process.wait(120000);
    if (status != 0)
        throw std::runtime_error(argv[0] + " failed: " + read_file(log));
}

std::string read_file(const std::string &path)
{
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

} // namespace waymark_test
