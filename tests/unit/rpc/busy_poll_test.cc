/* When a queue thread looks instead of sleeping. */
#include "server/rpc/busy_poll.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace {

class BusyPoll : public testing::Test {
  protected:
    BusyPoll()
    {
        rpc_busy_poll_init(&poll_, 50);
    }

    void callAndWait(int64_t wait_us)
    {
        rpc_busy_poll_called(&poll_);
        rpc_busy_poll_waited(&poll_, wait_us);
    }

    /* So many short waits, asleep, until it would look; at most `n`. */
    unsigned shortWaits(unsigned n)
    {
        for (unsigned i = 0; i < n; i++) {
            if (rpc_busy_poll_is_due(&poll_))
                return i;
            callAndWait(30);
        }
        return n;
    }

    /* A look in vain, and the sleep after it. */
    void lookInVain()
    {
        ASSERT_TRUE(rpc_busy_poll_is_due(&poll_));
        rpc_busy_poll_failed(&poll_);
        rpc_busy_poll_waited(&poll_, 5000);
    }

    rpc_busy_poll poll_;
};

TEST_F(BusyPoll, TakesAFewShortWaitsInARow)
{
    EXPECT_FALSE(rpc_busy_poll_is_due(&poll_));
    EXPECT_EQ(shortWaits(100), RPC_BUSY_POLL_AFTER);
    EXPECT_TRUE(rpc_busy_poll_is_due(&poll_));
}

TEST_F(BusyPoll, ALongWaitBeginsAnew)
{
    shortWaits(RPC_BUSY_POLL_AFTER - 1);
    rpc_busy_poll_waited(&poll_, 101);
    EXPECT_EQ(shortWaits(100), RPC_BUSY_POLL_AFTER);
}

TEST_F(BusyPoll, WakingUpMayTakeAsLongAsTheWindow)
{
    for (unsigned i = 0; i < RPC_BUSY_POLL_AFTER; i++)
        callAndWait(100);
    EXPECT_TRUE(rpc_busy_poll_is_due(&poll_));
}

TEST_F(BusyPoll, GoesOnWhileItFinds)
{
    shortWaits(100);
    for (int i = 0; i < 1000; i++) {
        callAndWait(20);
        ASSERT_TRUE(rpc_busy_poll_is_due(&poll_));
    }
}

TEST_F(BusyPoll, WhatWasThereIsNoWait)
{
    for (int i = 0; i < 100; i++)
        rpc_busy_poll_waited(&poll_, RPC_BUSY_POLL_WAIT_US);
    EXPECT_FALSE(rpc_busy_poll_is_due(&poll_));
    EXPECT_EQ(shortWaits(100), RPC_BUSY_POLL_AFTER);
    for (int i = 0; i < 100; i++)
        rpc_busy_poll_waited(&poll_, RPC_BUSY_POLL_WAIT_US);
    EXPECT_TRUE(rpc_busy_poll_is_due(&poll_));
}

TEST_F(BusyPoll, ManyCallsBetweenTwoWaitsBeginAnew)
{
    shortWaits(100);
    for (int i = 0; i < RPC_BUSY_POLL_CALLS_MAX; i++)
        rpc_busy_poll_called(&poll_);
    rpc_busy_poll_waited(&poll_, 20);
    EXPECT_TRUE(rpc_busy_poll_is_due(&poll_));
    for (int i = 0; i < RPC_BUSY_POLL_CALLS_MAX + 1; i++) {
        rpc_busy_poll_waited(&poll_, 1); /* it was there */
        rpc_busy_poll_called(&poll_);
    }
    rpc_busy_poll_waited(&poll_, 20);
    EXPECT_EQ(shortWaits(100), RPC_BUSY_POLL_AFTER);
}

TEST_F(BusyPoll, WorkOfOthersBeginsAnew)
{
    shortWaits(100);
    rpc_busy_poll_reset(&poll_);
    EXPECT_FALSE(rpc_busy_poll_is_due(&poll_));
    EXPECT_EQ(shortWaits(100), RPC_BUSY_POLL_AFTER);
}

TEST_F(BusyPoll, EachLookInVainTakesTwiceAsManyWaitsBeforeTheNext)
{
    constexpr unsigned most = RPC_BUSY_POLL_AFTER_MAX;

    for (unsigned after = RPC_BUSY_POLL_AFTER; after < 4 * most; after *= 2) {
        EXPECT_EQ(shortWaits(5000), std::min(after, most));
        lookInVain();
    }
}

TEST_F(BusyPoll, OneThatFindsForgetsThoseInVain)
{
    for (int i = 0; i < 5; i++) {
        shortWaits(5000);
        lookInVain();
    }
    shortWaits(5000);
    rpc_busy_poll_waited(&poll_, 20); /* found */
    rpc_busy_poll_reset(&poll_);
    EXPECT_EQ(shortWaits(5000), RPC_BUSY_POLL_AFTER);
}

TEST_F(BusyPoll, NeverWithoutAWindow)
{
    rpc_busy_poll_init(&poll_, 0);
    for (int i = 0; i < 1000; i++) {
        rpc_busy_poll_waited(&poll_, 0);
        ASSERT_FALSE(rpc_busy_poll_is_due(&poll_));
    }
}

} // namespace
