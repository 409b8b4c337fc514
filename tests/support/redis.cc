#include "tests/support/redis.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <stdexcept>

namespace waymark_test {

namespace {

bool listens(const std::string &path)
{
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path.c_str());
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)) == 0;
    close(fd);
    return ok;
}

} // namespace

TestRedis::TestRedis(const std::string &password) : password_(password)
{
    signal(SIGPIPE, SIG_IGN); /* as the server does: hiredis writes to whoever is gone */
    start();
}

void TestRedis::start()
{
    std::vector<std::string> argv = {"redis-server", "--port", "0",        "--unixsocket",
                                     socket(),       "--save", "",         "--appendonly",
                                     "no",           "--dir",  dir_.path()};
    if (!password_.empty()) {
        argv.push_back("--requirepass");
        argv.push_back(password_);
    }
    std::string log = dir_.path() + "/log";
    unlink(socket().c_str());
    process_.start(argv, log);
    if (!wait_for([&] { return !process_.running() || listens(socket()); }) || !process_.running())
        throw std::runtime_error("Redis did not start: " + read_file(log));
}

void TestRedis::stop()
{
    process_.signal(SIGTERM);
    process_.wait();
}

void TestRedis::kill9()
{
    process_.signal(SIGKILL);
    process_.wait();
}

} // namespace waymark_test
