// The set of open streams against std::set.
#include "server/gate/streams.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace {

TEST(GateStreams, DoesWhatASetDoes)
{
    for (unsigned seed = 0; seed < 20; seed++) {
        std::mt19937 random(seed);
        std::set<uint32_t> expected;
        gate_streams streams = {};
        // Few numbers, so that they collide and are added again after they were removed.
        for (int i = 0; i < 5000; i++) {
            uint32_t id = 1 + 2 * (random() % (seed % 2 ? 40 : 3000)) * (seed % 3 ? 1 : 1024);
            if (random() % 2) {
                if (expected.insert(id).second)
                    gate_streams_add(&streams, id);
            } else {
                ASSERT_EQ(expected.erase(id) == 1, gate_streams_remove(&streams, id))
                    << "seed " << seed;
            }
            ASSERT_EQ(expected.size(), streams.n);
            uint32_t other = 1 + 2 * (random() % 3000);
            ASSERT_EQ(expected.count(other) == 1, gate_streams_has(&streams, other))
                << "seed " << seed;
        }
        for (uint32_t id : expected)
            ASSERT_TRUE(gate_streams_has(&streams, id)) << "seed " << seed;
        gate_streams_free(&streams);
    }
}

TEST(GateStreams, KnowsNothingWhenEmpty)
{
    gate_streams streams = {};
    EXPECT_FALSE(gate_streams_has(&streams, 1));
    EXPECT_FALSE(gate_streams_remove(&streams, 1));
    gate_streams_add(&streams, 1);
    EXPECT_FALSE(gate_streams_has(&streams, 0));
    gate_streams_free(&streams);
}

TEST(GateStreams, RoomFollowsTheMostThatWereOpenAtATime)
{
    gate_streams streams = {};
    for (uint32_t id = 1; id < 2000001; id += 2) {
        gate_streams_add(&streams, id);
        if (id > 200) {
            ASSERT_TRUE(gate_streams_remove(&streams, id - 200));
        }
    }
    EXPECT_LE(streams.room, 512u);
    gate_streams_free(&streams);
}

} // namespace
