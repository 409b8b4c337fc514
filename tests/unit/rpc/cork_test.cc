/* Writes between rpc_cork_open() and the end of a turn, on real sockets. */
#include "server/rpc/cork.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <vector>

namespace {

constexpr unsigned WRITES_MAX = 12;

class Pair {
  public:
    explicit Pair(int family = AF_INET)
    {
        int ends[2];

        if (family == AF_UNIX) {
            EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
            writer = ends[0], reader = ends[1];
            return;
        }
        struct sockaddr_in address = {};
        socklen_t size = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(bind(listener, (struct sockaddr *)&address, size), 0);
        EXPECT_EQ(listen(listener, 1), 0);
        EXPECT_EQ(getsockname(listener, (struct sockaddr *)&address, &size), 0);
        reader = socket(AF_INET, SOCK_STREAM, 0);
        EXPECT_EQ(connect(reader, (struct sockaddr *)&address, size), 0);
        writer = accept(listener, nullptr, nullptr);
        /* As the core sets it. */
        EXPECT_EQ(setsockopt(writer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
        close(listener);
    }
    Pair(const Pair &) = delete;
    Pair &operator=(const Pair &) = delete;
    Pair(Pair &&other) noexcept : writer(other.writer), reader(other.reader)
    {
        other.writer = other.reader = -1;
    }
    ~Pair()
    {
        if (writer >= 0) {
            close(writer);
            close(reader);
        }
    }

    /* As the core writes: by the name that the dynamic linker finds first. */
    void write(char c) const
    {
        using send_function = ssize_t (*)(int, const struct msghdr *, int);
        static const auto found = (send_function)dlsym(RTLD_DEFAULT, "sendmsg");
        struct iovec part = {&c, 1};
        struct msghdr message = {};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        EXPECT_EQ(found(writer, &message, MSG_NOSIGNAL), 1);
    }

    /* The same while a batch is being started. */
    void reply(char c) const
    {
        rpc_cork_open();
        write(c);
        rpc_cork_close();
    }

    /* What has come within a moment. */
    std::string read() const
    {
        struct pollfd polled = {reader, POLLIN, 0};
        char bytes[1024];

        if (poll(&polled, 1, 20) == 0)
            return "";
        ssize_t n = recv(reader, bytes, sizeof(bytes), 0);
        return {bytes, n > 0 ? (size_t)n : 0};
    }

    int writer = -1, reader = -1;
};

/* Each case in a thread of its own, since all state is the thread's. */
template <class Case> void on_thread(Case &&run, unsigned gain_min = 2)
{
    std::thread thread([&] {
        rpc_cork_promise(gain_min, WRITES_MAX);
        run();
        rpc_cork_release();
    });
    thread.join();
}

TEST(Cork, TheCoreFindsOurFunctionFirst)
{
    EXPECT_EQ(dlsym(RTLD_DEFAULT, "sendmsg"), (void *)sendmsg);
    EXPECT_NE(dlsym(RTLD_NEXT, "sendmsg"), (void *)sendmsg);
}

TEST(Cork, HoldsUntilTheTurnEnds)
{
    on_thread([] {
        Pair pair;
        pair.reply('a');
        pair.reply('b');
        EXPECT_TRUE(rpc_cork_is_holding());
        EXPECT_EQ(pair.read(), "");
        rpc_cork_release();
        EXPECT_FALSE(rpc_cork_is_holding());
        EXPECT_EQ(pair.read(), "ab");
    });
}

TEST(Cork, HoldsAgainInTheNextTurn)
{
    on_thread([] {
        Pair pair;
        for (int turn = 0; turn < 3; turn++) {
            pair.reply('a');
            pair.reply('b');
            EXPECT_EQ(pair.read(), "") << turn;
            rpc_cork_release();
            EXPECT_EQ(pair.read(), "ab") << turn;
        }
    });
}

TEST(Cork, LetsThreadsAloneThatPromisedNothing)
{
    std::thread thread([] {
        Pair pair;
        pair.reply('a');
        EXPECT_FALSE(rpc_cork_is_holding());
        EXPECT_EQ(pair.read(), "a");
    });
    thread.join();
}

TEST(Cork, LetsWritesAloneThatAreNoReplies)
{
    on_thread([] {
        Pair pair;
        pair.write('a');
        EXPECT_FALSE(rpc_cork_is_holding());
        EXPECT_EQ(pair.read(), "a");
    });
}

TEST(Cork, LetsGoWhenEnoughIsHeld)
{
    on_thread([] {
        Pair pair;
        for (unsigned i = 0; i < WRITES_MAX; i++)
            pair.reply('a');
        EXPECT_FALSE(rpc_cork_is_holding());
        EXPECT_EQ(pair.read(), std::string(WRITES_MAX, 'a'));
        pair.reply('b'); /* the turn goes on */
        EXPECT_EQ(pair.read(), "");
    });
}

TEST(Cork, LetsGoWhenTheTurnDoesNotEnd)
{
    on_thread([] {
        Pair pair;
        for (int i = 0; i < RPC_CORK_EVENTS_MAX; i++)
            rpc_cork_event(); /* before there is anything they do not count */
        pair.reply('a');
        for (int i = 1; i < RPC_CORK_EVENTS_MAX; i++)
            rpc_cork_event();
        EXPECT_EQ(pair.read(), "");
        rpc_cork_event();
        EXPECT_EQ(pair.read(), "a");
    });
}

TEST(Cork, LetsGoOfEachSocket)
{
    on_thread([] {
        std::vector<Pair> pairs(5);
        for (int i = 0; i < 3; i++)
            for (const Pair &pair : pairs)
                pair.reply((char)('a' + i));
        rpc_cork_release();
        for (const Pair &pair : pairs)
            EXPECT_EQ(pair.read(), "abc");
    });
}

TEST(Cork, TakesMoreSocketsThanItCorks)
{
    on_thread([] {
        std::vector<Pair> pairs(2 * RPC_CORK_SOCKETS_MAX + 3);
        for (const Pair &pair : pairs)
            pair.reply('a');
        rpc_cork_release();
        for (const Pair &pair : pairs)
            EXPECT_EQ(pair.read(), "a");
    });
}

/* Turns of one write, until a write goes straight out; how many were held. */
int held_turns(const Pair &pair, int writes)
{
    int held = 0;

    for (int i = 0; i < writes; i++) {
        pair.reply('a');
        held += rpc_cork_is_holding();
        rpc_cork_release();
    }
    return held;
}

TEST(Cork, HoldsLessAndLessWhatIsAlone)
{
    on_thread([] {
        Pair pair;
        /* After 1, 3, 7, ... 255 writes that went straight out it tries again. */
        EXPECT_EQ(held_turns(pair, 10), 3);
        EXPECT_EQ(held_turns(pair, 500), 5);
        EXPECT_EQ(held_turns(pair, 5 * (RPC_CORK_PAUSE_MAX + 1)), 5);
    });
}

TEST(Cork, HoldsAgainOnceThereIsCompany)
{
    on_thread([] {
        Pair pair;
        held_turns(pair, 600);
        /* One turn with so many writes that the last ones are held together. */
        for (int i = 0; i < 2 * RPC_CORK_PAUSE_MAX; i++)
            pair.reply('a');
        rpc_cork_release();
        while (!pair.read().empty())
            continue;
        pair.reply('b');
        EXPECT_EQ(pair.read(), "");
        rpc_cork_release();
        EXPECT_EQ(pair.read(), "b");
    });
}

TEST(Cork, HoldsNothingBackOnUnixSockets)
{
    on_thread([] {
        Pair pair(AF_UNIX);
        pair.reply('a');
        EXPECT_EQ(pair.read(), "a");
        rpc_cork_release();
        pair.reply('b');
        rpc_cork_release();
        EXPECT_EQ(pair.read(), "b");
    });
}

/* Turns of `size` writes, until so many writes have been; how many turns held anything. */
int held_turns_of(const Pair &pair, int size, int writes, bool has_slept)
{
    int held = 0;

    for (int i = 0; i < writes; i += size) {
        bool is_holding = false;
        for (int j = 0; j < size; j++) {
            pair.reply('a');
            is_holding |= rpc_cork_is_holding();
        }
        held += is_holding;
        rpc_cork_release();
        rpc_cork_waited(has_slept);
    }
    return held;
}

TEST(Cork, TurnsWithFewWritesGainNothingWhenASleepFollows)
{
    const auto turns = [](int size, bool has_slept) {
        int held = 0;
        on_thread(
            [&] {
                Pair pair;
                held = held_turns_of(pair, size, 4000, has_slept);
            },
            5);
        return held;
    };

    EXPECT_LE(turns(4, true), 50);
    EXPECT_EQ(turns(4, false), 1000);
    EXPECT_EQ(turns(5, true), 800);
}

TEST(Cork, FewWritesGainWhenMoreClientsThanThatWait)
{
    on_thread(
        [] {
            std::vector<Pair> pairs(RPC_CORK_RECENT + 1);
            for (int i = 0; i < 100; i++)
                for (const Pair &pair : pairs)
                    ASSERT_EQ(held_turns_of(pair, 2, 2, true), 1) << i;
        },
        5);
}

TEST(Cork, HoldsAgainOnceNoSleepFollows)
{
    on_thread(
        [] {
            Pair pair;
            held_turns_of(pair, 4, 2000, true);
            EXPECT_GE(held_turns_of(pair, 4, 2000, false), 400);
        },
        5);
}

TEST(Cork, SurvivesASocketThatIsGone)
{
    on_thread([] {
        Pair pair;
        {
            Pair gone;
            gone.reply('a');
            gone.reply('b');
        }
        pair.reply('c');
        rpc_cork_release();
        EXPECT_EQ(pair.read(), "c");
    });
}

} // namespace
