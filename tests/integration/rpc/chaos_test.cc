// Calls of all kinds that end in all ways, from four clients to two servers that come and go; for
// as long as asked:
//
//     chaos_test [--seconds N] [--seed N]
//
// One server is reached directly, the other through a proxy that cuts all its connections now and
// then. Every operation that a client starts completes exactly once, every call that a handler
// opens ends exactly once, clients and servers can be freed at any time, and a sanitizer finds
// nothing.
#include <gtest/gtest.h>
#include <unistd.h>
#include <waymark/waymark.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <memory>

#include "testing.client.h"
#include "tests/integration/rpc/chaos_service.h"
#include "tests/support/proxy.h"

namespace {

using chaos::below;
using chaos::chance;
using Clock = std::chrono::steady_clock;

int seconds = 20;
uint64_t the_seed = static_cast<uint64_t>(time(nullptr));

constexpr int kClients = 4;
constexpr size_t kOpenMax = 60;      // operations of one client at a time
constexpr size_t kAfterlife = 20000; // completed ones kept, to notice a second completion

enum Kind { kEcho, kNothing, kFail, kRepeat, kSum, kTalk, kKinds };

struct Totals {
    std::atomic<uint64_t> started[kKinds]{}, completed{0}, codes[17]{}, lives{0}, cuts{0},
        clients{0};
} totals;

// One operation of a client. The driver owns it; callbacks touch only atomics.
struct Op {
    Kind kind;
    std::atomic<int> completions{0};
    std::atomic<bool> is_done{false};
    waymark_call *call = nullptr;
    waymark_stream *stream = nullptr;
    bool is_freed = false;
    Clock::time_point give_up;
    // Nothing may be written after the close, and callbacks and the driver do both.
    std::mutex write_mutex;
    bool is_closed = false;

    void close(waymark_stream *stream)
    {
        std::lock_guard<std::mutex> hold(write_mutex);
        is_closed = true;
        waymark_stream_close(stream);
    }

    void complete(const waymark_status *status)
    {
        if (completions.fetch_add(1) != 0) {
            fprintf(stderr, "an operation of kind %d completed twice\n", kind);
            abort();
        }
        totals.completed++;
        totals.codes[status->code <= 16 ? status->code : 2]++;
        is_done.store(true, std::memory_order_release);
    }
};

template <class Response>
void unary_done(void *ctx, const waymark_status *status, const Response *response)
{
    if ((response != nullptr) != (status->code == WAYMARK_OK))
        abort();
    static_cast<Op *>(ctx)->complete(status);
}

// What a stream does when something happens: read on, pause (the driver reads later), or leave.
void stream_step(Op *op, waymark_stream *stream)
{
    if (chance(85))
        waymark_stream_read(stream);
    else if (chance(10))
        waymark_stream_cancel(stream);
    else if (chance(10) && op->kind == kTalk)
        op->close(stream);
}

template <class Message> void on_message(void *ctx, waymark_stream *stream, const Message *message)
{
    if (static_cast<Op *>(ctx)->is_done || message == nullptr)
        abort(); // a message after the end
    stream_step(static_cast<Op *>(ctx), stream);
}

bool write_sum(waymark_stream *stream)
{
    Waymark__Testing__V1__SumRequest message = WAYMARK__TESTING__V1__SUM_REQUEST__INIT;
    message.number = static_cast<int64_t>(below(100));
    return waymark_testing_v1_echo_service_sum_write(stream, &message);
}

bool write_talk(waymark_stream *stream)
{
    static uint8_t bytes[70 * 1024];
    Waymark__Testing__V1__TalkRequest message = WAYMARK__TESTING__V1__TALK_REQUEST__INIT;
    message.payload.data = bytes;
    message.payload.len = below(chance(2) ? sizeof(bytes) : 500);
    return waymark_testing_v1_echo_service_talk_write(stream, &message);
}

void write_some(Op *op, waymark_stream *stream)
{
    for (uint64_t i = below(10); i > 0; i--) {
        std::lock_guard<std::mutex> hold(op->write_mutex);
        if (op->is_closed || !(op->kind == kSum ? write_sum(stream) : write_talk(stream)))
            return;
    }
    if (chance(20))
        op->close(stream);
}

void on_writable(void *ctx, waymark_stream *stream)
{
    write_some(static_cast<Op *>(ctx), stream);
}

void stream_ended(void *ctx, waymark_stream *stream, const waymark_status *status)
{
    (void)stream;
    static_cast<Op *>(ctx)->complete(status);
}

void sum_ended(void *ctx, waymark_stream *stream, const waymark_status *status,
               const Waymark__Testing__V1__SumResponse *response)
{
    if ((response != nullptr) != (status->code == WAYMARK_OK))
        abort();
    stream_ended(ctx, stream, status);
}

const waymark_testing_v1_echo_service_repeat_callbacks repeat_callbacks = {
    on_message<Waymark__Testing__V1__RepeatResponse>, stream_ended};
const waymark_testing_v1_echo_service_sum_callbacks sum_callbacks = {on_writable, sum_ended};
const waymark_testing_v1_echo_service_talk_callbacks talk_callbacks = {
    on_message<Waymark__Testing__V1__TalkResponse>, on_writable, stream_ended};

// One client and the thread that drives it.
class Driver {
  public:
    explicit Driver(std::string address) : address_(std::move(address))
    {
    }
    void run(Clock::time_point until)
    {
        while (Clock::now() < until) {
            live(std::min(until, Clock::now() + std::chrono::milliseconds(500 + below(4000))));
        }
    }

  private:
    // One life of the client; what is open at its end is ended by its free.
    void live(Clock::time_point until)
    {
        waymark_client_options options = {};
        waymark_problem problem = {};
        options.address = address_.c_str();
        options.own_connection = true;
        options.threads = 1 + static_cast<unsigned>(below(3));
        options.reconnect_max_ms = 100;
        options.compression = chance(50);
        client_ = waymark_client_new(&options, &problem);
        ASSERT_NE(client_, nullptr) << problem.message;
        totals.clients++;
        while (Clock::now() < until) {
            if (open_.size() < kOpenMax)
                start();
            for (auto i = open_.begin(); i != open_.end();)
                i = tend(**i) ? retire(i) : std::next(i);
            usleep(static_cast<useconds_t>(below(1000)));
        }
        finish();
    }

    void finish()
    {
        bool frees_first = chance(50);
        for (auto &op : open_)
            if (frees_first)
                free_handle(*op);
        waymark_client_free(client_);
        for (auto &op : open_) {
            EXPECT_EQ(op->completions, 1) << "kind " << op->kind;
            free_handle(*op);
        }
        past_.splice(past_.end(), open_);
        for (auto *ops : {&past_, &buried_})
            for (auto &op : *ops)
                EXPECT_EQ(op->completions, 1) << "kind " << op->kind;
        // Until the end of the next life: nothing may come after the client is freed.
        buried_.swap(past_);
        past_.clear();
    }

    std::list<std::unique_ptr<Op>>::iterator retire(std::list<std::unique_ptr<Op>>::iterator i)
    {
        past_.splice(past_.end(), open_, i++);
        if (past_.size() > kAfterlife) {
            EXPECT_EQ(past_.front()->completions, 1);
            past_.pop_front();
        }
        return i;
    }

    static void free_handle(Op &op)
    {
        if (!op.is_freed && op.call != nullptr)
            waymark_call_free(op.call);
        if (!op.is_freed && op.stream != nullptr)
            waymark_stream_free(op.stream);
        op.is_freed = true;
    }

    // True when the operation has completed and its handle is free.
    static bool tend(Op &op)
    {
        if (op.is_done.load(std::memory_order_acquire)) {
            free_handle(op);
            return true;
        }
        if (op.is_freed)
            return false;
        if (Clock::now() > op.give_up || below(1000) < 2) {
            if (op.call != nullptr)
                waymark_call_cancel(op.call);
            if (op.stream != nullptr)
                waymark_stream_cancel(op.stream);
            if (chance(30) || op.call == nullptr)
                free_handle(op);
        } else if (op.stream != nullptr && op.kind != kSum && chance(20)) {
            waymark_stream_read(op.stream); // a slow reader
        } else if (op.stream != nullptr && op.kind != kRepeat && chance(10) &&
                   waymark_stream_is_writable(op.stream)) {
            write_some(&op, op.stream);
        }
        return false;
    }

    void start()
    {
        static const int64_t timeouts[] = {1, 5, 20, 100, 1000, -1, 0};
        auto op = std::make_unique<Op>();
        waymark_call_options options = {};
        op->kind = static_cast<Kind>(below(kKinds));
        op->give_up = Clock::now() + std::chrono::milliseconds(below(1500));
        options.timeout_ms = timeouts[below(WM_ARRAY_LEN(timeouts))];
        options.wait_for_ready = chance(90);
        options.want_metadata = chance(10);
        if (op->kind <= kFail)
            options.call = &op->call;
        totals.started[op->kind]++;
        begin(*op, options);
        open_.push_back(std::move(op));
    }

    void begin(Op &op, const waymark_call_options &options)
    {
        Waymark__Testing__V1__EchoRequest echo = WAYMARK__TESTING__V1__ECHO_REQUEST__INIT;
        Waymark__Testing__V1__FailRequest fail = WAYMARK__TESTING__V1__FAIL_REQUEST__INIT;
        Waymark__Testing__V1__RepeatRequest repeat = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
        Google__Protobuf__Empty nothing = GOOGLE__PROTOBUF__EMPTY__INIT;

        switch (op.kind) {
        case kEcho:
            echo.number = 7;
            waymark_testing_v1_echo_service_echo(
                client_, &echo, &options, unary_done<Waymark__Testing__V1__EchoResponse>, &op);
            return;
        case kNothing:
            waymark_testing_v1_echo_service_nothing(client_, &nothing, &options,
                                                    unary_done<Google__Protobuf__Empty>, &op);
            return;
        case kFail:
            waymark_testing_v1_echo_service_fail(
                client_, &fail, &options, unary_done<Waymark__Testing__V1__FailResponse>, &op);
            return;
        case kRepeat:
            repeat.count = static_cast<int64_t>(below(chance(10) ? 2000 : 30));
            op.stream = waymark_testing_v1_echo_service_repeat_open(client_, &repeat, &options,
                                                                    &repeat_callbacks, &op);
            waymark_stream_read(op.stream);
            return;
        case kSum:
            op.stream =
                waymark_testing_v1_echo_service_sum_open(client_, &options, &sum_callbacks, &op);
            write_some(&op, op.stream);
            return;
        default:
            op.stream =
                waymark_testing_v1_echo_service_talk_open(client_, &options, &talk_callbacks, &op);
            waymark_stream_read(op.stream);
            write_some(&op, op.stream);
        }
    }

    std::string address_;
    waymark_client *client_ = nullptr;
    std::list<std::unique_ptr<Op>> open_, past_, buried_;
};

// A server that lives for moments, on the same address each time.
void keep_serving(chaos::Service *service, const std::string &address, Clock::time_point until)
{
    static const uint64_t graces_ms[] = {0, 0, 20, 100, 500};
    while (Clock::now() < until) {
        if (!service->start(address)) {
            usleep(1000);
            continue;
        }
        totals.lives++;
        usleep(static_cast<useconds_t>(100000 + below(2500000)));
        service->stop(graces_ms[below(WM_ARRAY_LEN(graces_ms))]);
    }
}

class Lanes {
  public:
    explicit Lanes(unsigned first)
    {
        wm_err err = {};
        for (unsigned i = 0; i < all.size(); i++)
            if (lane_new(first + i, &all[i], &err) != WM_OK)
                abort();
    }
    ~Lanes()
    {
        for (lane *lane : all)
            lane_free(lane);
    }
    std::vector<lane *> all = std::vector<lane *>(2);
};

TEST(Chaos, EverythingCompletesExactlyOnce)
{
    char directory[] = "/tmp/waymark-chaos-XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    const std::string path = std::string(directory) + "/socket";
    printf("seed %llu, %d s\n", static_cast<unsigned long long>(the_seed), seconds);
    fflush(stdout);
    chaos::seed(the_seed);
    {
        Lanes near_lanes(0), far_lanes(2);
        chaos::Service near(near_lanes.all), far(far_lanes.all);
        waymark_test::Proxy proxy("127.0.0.1:0", path);
        const std::string far_address = "127.0.0.1:" + std::to_string(proxy.port());
        const std::string near_address = "unix:" + std::string(directory) + "/near";
        const auto until = Clock::now() + std::chrono::seconds(seconds);
        std::vector<std::thread> threads;
        threads.emplace_back([&] { keep_serving(&near, near_address, until); });
        threads.emplace_back([&] { keep_serving(&far, "unix:" + path, until); });
        threads.emplace_back([&] {
            while (Clock::now() < until) {
                usleep(static_cast<useconds_t>(50000 + below(400000)));
                proxy.cut();
                totals.cuts++;
            }
        });
        for (int i = 0; i < kClients; i++)
            threads.emplace_back(
                [&, i] { Driver(i % 2 == 0 ? near_address : far_address).run(until); });
        for (auto &thread : threads)
            thread.join();
        EXPECT_GT(near.counts.ended, 100u);
        EXPECT_GT(far.counts.ended, 100u);
        printf("servers: %llu lives; calls finished %llu, opened and ended %llu, cancelled %llu, "
               "aborted %llu; cuts %llu\n",
               static_cast<unsigned long long>(totals.lives),
               static_cast<unsigned long long>(near.counts.finished + far.counts.finished),
               static_cast<unsigned long long>(near.counts.ended + far.counts.ended),
               static_cast<unsigned long long>(near.counts.cancelled + far.counts.cancelled),
               static_cast<unsigned long long>(near.counts.aborted + far.counts.aborted),
               static_cast<unsigned long long>(totals.cuts));
    }
    uint64_t started = 0;
    for (const auto &n : totals.started) {
        EXPECT_GT(n, 20u);
        started += n;
    }
    EXPECT_EQ(started, totals.completed);
    printf("clients: %llu lives; operations started and completed %llu; by code:",
           static_cast<unsigned long long>(totals.clients),
           static_cast<unsigned long long>(started));
    for (int i = 0; i <= 16; i++)
        printf(" %s %llu", waymark_code_name(static_cast<waymark_code>(i)),
               static_cast<unsigned long long>(totals.codes[i]));
    printf("\n");
    EXPECT_GT(totals.codes[WAYMARK_OK], 100u);
    unlink(path.c_str());
    unlink((std::string(directory) + "/near").c_str());
    rmdir(directory);
}

} // namespace

int main(int argc, char **argv)
{
    testing::InitGoogleTest(&argc, argv);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seconds") == 0)
            seconds = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--seed") == 0)
            the_seed = strtoull(argv[i + 1], nullptr, 10);
    }
    return RUN_ALL_TESTS();
}
