// Each call ends once, and none after the client is freed, whatever happens at the same time.
#include <memory>
#include <utility>

#include "tests/integration/client/fixture.h"

namespace waymark_test {
namespace {

// Counts starts and ends, and notices an end after the client was freed.
struct Books {
    std::atomic<int> started{0}, ended{0}, late{0};
    std::atomic<bool> freed{false};

    void End()
    {
        late += freed;
        ended++;
    }
};

void EchoEnded(void *ctx, const waymark_status *, const EchoResponse *)
{
    static_cast<Books *>(ctx)->End();
}

void StreamEnded(void *ctx, waymark_stream *, const waymark_status *)
{
    static_cast<Books *>(ctx)->End();
}

void StreamMessage(void *, waymark_stream *stream, const RepeatResponse *)
{
    waymark_stream_read(stream);
}

const waymark_testing_v1_echo_service_repeat_callbacks kCallbacks = {StreamMessage, StreamEnded};

// Suspends every third call, and lets it go on from a thread of its own, sooner or later.
struct Delayer {
    std::mutex lock;
    std::vector<waymark_suspension *> waiting;
    std::atomic<unsigned> n{0};
    std::atomic<bool> stop{false};
    std::atomic<int> started{0}, ended{0};
    std::thread thread{[this] {
        while (!stop)
            Release();
    }};

    void Release()
    {
        std::vector<waymark_suspension *> taken;
        {
            std::lock_guard<std::mutex> hold(lock);
            taken.swap(waiting);
        }
        for (waymark_suspension *suspension : taken)
            waymark_suspension_resume(suspension, nullptr, 0);
        std::this_thread::yield();
    }

    ~Delayer()
    {
        stop = true;
        thread.join();
        Release();
    }

    static void Start(void *ctx, waymark_context *call)
    {
        auto *self = static_cast<Delayer *>(ctx);
        self->started++;
        if (self->n++ % 3 != 0)
            return;
        waymark_suspension *suspension = waymark_context_suspend(call);
        std::lock_guard<std::mutex> hold(self->lock);
        self->waiting.push_back(suspension);
    }

    static void End(void *ctx, waymark_context *, const waymark_status *)
    {
        static_cast<Delayer *>(ctx)->ended++;
    }
};

// A token from another thread, often refused, sometimes none.
struct Issuer {
    std::mutex lock;
    std::vector<std::thread> threads;
    std::atomic<int> n{0};

    static void Fetch(void *ctx, waymark_token_request *request)
    {
        auto *self = static_cast<Issuer *>(ctx);
        int n = self->n++;
        std::lock_guard<std::mutex> hold(self->lock);
        self->threads.emplace_back([=] {
            if (n % 5 == 4)
                waymark_token_unavailable(request, "away", 0);
            else
                waymark_token_give(request, n % 2 == 0 ? "good" : "bad", n % 3 == 0 ? 5 : 1000);
        });
    }

    ~Issuer()
    {
        for (auto &thread : threads)
            thread.join();
    }
};

class EndingTest : public SdkTest {
  protected:
    void StartOne(waymark_client *client, Books *books, unsigned dice)
    {
        books->started++;
        if (dice % 4 == 0) {
            RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
            request.count = dice % 40; // 0 has no end
            waymark_stream *stream = waymark_testing_v1_echo_service_repeat_open(
                client, &request, nullptr, &kCallbacks, books);
            if (dice % 3 != 0)
                waymark_stream_read(stream);
            if (dice % 5 == 0)
                std::this_thread::yield();
            if (dice % 7 == 0)
                waymark_stream_cancel(stream);
            waymark_stream_free(stream);
            return;
        }
        EchoRequest request = MakeEcho(dice, static_cast<int>(dice % 5));
        waymark_call *call = nullptr;
        waymark_call_options options = {};
        options.timeout_ms = dice % 9 == 0 ? 1 : dice % 11 == 0 ? -1 : 0;
        options.call = dice % 2 == 0 ? &call : nullptr;
        waymark_testing_v1_echo_service_echo(client, &request, &options, EchoEnded, books);
        if (call != nullptr && dice % 6 == 0)
            waymark_call_cancel(call);
        waymark_call_free(call);
    }
};

TEST_F(EndingTest, OnceAndNeverAfterFree)
{
    for (unsigned round = 0; round < 8; round++) {
        Books books;
        Issuer issuer;
        Delayer delayer;
        waymark_interceptor interceptor = {};
        interceptor.ctx = &delayer;
        interceptor.start = Delayer::Start;
        interceptor.ended = Delayer::End;
        waymark_client_options options = {};
        waymark_credentials *credentials =
            round % 2 == 0 ? nullptr : waymark_credentials_callback(Issuer::Fetch, &issuer);
        options.credentials = credentials;
        options.threads = 1 + round % 3;
        options.retry.backoff_ms = 1;
        options.interceptors = &interceptor;
        options.n_interceptors = round % 4 < 2 ? 0 : 1;
        echo_server_require_token(server_, round % 2 == 0 ? nullptr : "good");
        echo_server_fail_next(server_, 100, WAYMARK_UNAVAILABLE, 1);
        waymark_client *client = NewClient(options);
        waymark_credentials_free(credentials);

        std::vector<std::thread> callers;
        for (unsigned t = 0; t < 3; t++)
            callers.emplace_back([&, t] {
                unsigned dice = 7919 * (round + 1) + 104729 * t;
                for (int i = 0; i < 300; i++)
                    StartOne(client, &books, dice = (dice * 1103515245u + 12345u) >> 1);
            });
        for (auto &caller : callers)
            caller.join();
        Free(client); // with many on their way, waiting, suspended, backing off
        books.freed = true;
        EXPECT_EQ(books.ended, books.started) << "round " << round;
        EXPECT_EQ(delayer.ended, delayer.started) << "round " << round;
        EXPECT_EQ(books.late, 0);
    }
}

// A client that is freed while the server stops under it.
TEST_F(EndingTest, WhileTheServerGoes)
{
    for (int round = 0; round < 5; round++) {
        Books books;
        waymark_client *client = NewClient();
        for (unsigned i = 0; i < 200; i++)
            StartOne(client, &books, 7919 * (i + 1));
        std::thread stops([&] { StopServer(); });
        Free(client);
        books.freed = true;
        EXPECT_EQ(books.ended, books.started);
        stops.join();
        server_ = echo_server_start(address_.c_str());
    }
}

// Watches come and go on several threads while the server does the same.
TEST_F(EndingTest, WatchesAndTheirCallbacks)
{
    struct Heard {
        std::atomic<int> n{0};
        std::atomic<bool> freed{false};
    };
    waymark_client *client = NewClient();
    std::atomic<bool> stop{false};
    std::atomic<int> late{0};
    std::vector<std::thread> watchers;
    for (int t = 0; t < 3; t++)
        watchers.emplace_back([&] {
            while (!stop) {
                auto heard = std::make_unique<std::pair<Heard, std::atomic<int> *>>();
                heard->second = &late;
                waymark_watch *watch = waymark_client_watch(
                    client,
                    [](void *ctx, waymark_state) {
                        auto *heard = static_cast<std::pair<Heard, std::atomic<int> *> *>(ctx);
                        *heard->second += heard->first.freed;
                        heard->first.n++;
                    },
                    heard.get());
                (void)waymark_client_wait_ready(client, 5);
                waymark_watch_free(watch);
                heard->first.freed = true;
            }
        });
    for (int round = 0; round < 5; round++) {
        StopServer();
        server_ = echo_server_start(address_.c_str());
        EXPECT_TRUE(waymark_client_wait_ready(client, 20000));
        EXPECT_EQ(Echo(client).code, WAYMARK_OK);
    }
    stop = true;
    for (auto &watcher : watchers)
        watcher.join();
    EXPECT_EQ(late, 0);
}

} // namespace
} // namespace waymark_test
