#include "tests/support/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace waymark_test {

struct Proxy::Pair {
    int client = -1, target = -1;
    std::string answers;   // from the target, not passed on yet
    size_t frame_left = 0; // of the frame that `answers` starts in
    bool at_ready = false; // everything from here on is held
    ~Pair()
    {
        close(client);
        close(target);
    }
};

namespace {

union Address {
    sockaddr any;
    sockaddr_un local;
    sockaddr_in inet;
};

socklen_t parse(const std::string &text, Address *address)
{
    memset(address, 0, sizeof(*address));
    if (text[0] == '/') {
        address->local.sun_family = AF_UNIX;
        snprintf(address->local.sun_path, sizeof(address->local.sun_path), "%s", text.c_str());
        return sizeof(address->local);
    }
    size_t colon = text.rfind(':');
    address->inet.sin_family = AF_INET;
    address->inet.sin_port = htons((uint16_t)atoi(text.c_str() + colon + 1));
    inet_pton(AF_INET, text.substr(0, colon).c_str(), &address->inet.sin_addr);
    return sizeof(address->inet);
}

bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

} // namespace

Proxy::Proxy(const std::string &listen_on, const std::string &target) : target_(target)
{
    Address address;
    socklen_t size = parse(listen_on, &address);
    listen_fd_ = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listen_on[0] == '/')
        unlink(listen_on.c_str());
    if (bind(listen_fd_, &address.any, size) != 0 || listen(listen_fd_, 64) != 0)
        throw std::runtime_error("cannot listen on " + listen_on);
    if (address.any.sa_family == AF_INET) {
        getsockname(listen_fd_, &address.any, &size);
        port_ = ntohs(address.inet.sin_port);
    }
    thread_ = std::thread([this] { run(); });
}

Proxy::~Proxy()
{
    stop_ = true;
    thread_.join();
    close(listen_fd_);
}

void Proxy::cut()
{
    std::lock_guard<std::mutex> guard(mutex_);
    pairs_.clear();
}

int Proxy::connections()
{
    std::lock_guard<std::mutex> guard(mutex_);
    return (int)pairs_.size();
}

void Proxy::accept_one()
{
    Address address;
    socklen_t size = parse(target_, &address);
    auto pair = std::make_unique<Pair>();
    pair->client = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
    pair->target = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (pair->client < 0 || refuse_ || connect(pair->target, &address.any, size) != 0)
        return;
    pairs_.push_back(std::move(pair));
}

// Passes on what may pass; false: the client is gone.
bool Proxy::pass_answers(Pair &pair)
{
    if (hold_answers_)
        return true;
    if (!hold_ready_)
        pair.at_ready = false;
    size_t pass = 0;
    while (!pair.at_ready && pass < pair.answers.size()) {
        if (pair.frame_left == 0) {
            // A frame: its type, then its length, which does not count the type.
            if (pair.answers.size() - pass < 5)
                break;
            uint32_t length;
            memcpy(&length, pair.answers.data() + pass + 1, sizeof(length));
            if (hold_ready_ && pair.answers[pass] == 'Z') {
                pair.at_ready = true;
                break;
            }
            pair.frame_left = ntohl(length) + 1;
        }
        size_t part = std::min(pair.frame_left, pair.answers.size() - pass);
        pair.frame_left -= part;
        pass += part;
    }
    bool ok = pass == 0 || write_all(pair.client, pair.answers.data(), pass);
    pair.answers.erase(0, pass);
    return ok;
}

bool Proxy::relay(Pair &pair)
{
    char bytes[65536];
    pollfd fds[2] = {{pair.client, POLLIN, 0}, {pair.target, POLLIN, 0}};
    if (poll(fds, 2, 0) > 0 && delay_ms_ > 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms_));
    if (fds[0].revents != 0) {
        ssize_t n = recv(pair.client, bytes, sizeof(bytes), 0);
        if (n <= 0 || !write_all(pair.target, bytes, (size_t)n))
            return false;
    }
    if (fds[1].revents != 0) {
        ssize_t n = recv(pair.target, bytes, sizeof(bytes), 0);
        if (n <= 0) {
            // The end comes after what was said before it, unless that is held.
            return (hold_answers_ || pair.at_ready) ? true : (pass_answers(pair), false);
        }
        pair.answers.append(bytes, (size_t)n);
    }
    return pass_answers(pair);
}

void Proxy::run()
{
    while (!stop_) {
        std::vector<pollfd> fds = {{listen_fd_, POLLIN, 0}};
        {
            std::lock_guard<std::mutex> guard(mutex_);
            for (auto &pair : pairs_) {
                fds.push_back({pair->client, POLLIN, 0});
                fds.push_back({pair->target, POLLIN, 0});
            }
        }
        poll(fds.data(), fds.size(), 5);
        std::lock_guard<std::mutex> guard(mutex_);
        if ((fds[0].revents & POLLIN) != 0)
            accept_one();
        for (size_t i = 0; i < pairs_.size();) {
            if (relay(*pairs_[i]))
                i++;
            else
                pairs_.erase(pairs_.begin() + (long)i);
        }
    }
}

} // namespace waymark_test
