// Frame headers are found however the bytes are cut.
#include "server/gate/frame.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace {

std::string frame_bytes(uint8_t type, uint8_t flags, uint32_t stream, size_t length)
{
    std::string bytes;
    for (int shift = 16; shift >= 0; shift -= 8)
        bytes += static_cast<char>(length >> shift);
    bytes += static_cast<char>(type);
    bytes += static_cast<char>(flags);
    for (int shift = 24; shift >= 0; shift -= 8)
        bytes += static_cast<char>(stream >> shift);
    return bytes + std::string(length, 'x');
}

struct Seen {
    uint32_t length, stream;
    uint8_t type, flags;
    bool operator==(const Seen &other) const
    {
        return length == other.length && stream == other.stream && type == other.type &&
               flags == other.flags;
    }
};

void feed(gate_scan *scan, const std::string &bytes, std::vector<Seen> *seen)
{
    for (size_t at = 0; at < bytes.size();) {
        gate_frame frame;
        bool is_frame;
        size_t taken = gate_scan_next(scan, reinterpret_cast<const uint8_t *>(bytes.data()) + at,
                                      bytes.size() - at, &frame, &is_frame);
        ASSERT_GT(taken, 0u);
        at += taken;
        if (is_frame)
            seen->push_back({frame.length, frame.stream, frame.type, frame.flags});
    }
}

TEST(GateFrame, FindsTheSameHeadersHoweverTheBytesAreCut)
{
    std::mt19937 random(7);
    for (int round = 0; round < 200; round++) {
        std::string all;
        std::vector<Seen> expected, seen;
        for (int i = 0; i < 20; i++) {
            uint8_t type = static_cast<uint8_t>(random() % 12);
            uint8_t flags = static_cast<uint8_t>(random());
            uint32_t stream = random() & 0x7fffffff;
            uint32_t length = random() % 4 == 0 ? 0 : random() % 3000;
            expected.push_back({length, stream, type, flags});
            all += frame_bytes(type, flags, stream, length);
        }
        gate_scan scan = {};
        for (size_t at = 0; at < all.size();) {
            size_t part = 1 + random() % (random() % 2 ? 4 : 5000);
            feed(&scan, all.substr(at, part), &seen);
            at += part;
        }
        ASSERT_EQ(expected.size(), seen.size()) << "round " << round;
        EXPECT_TRUE(expected == seen) << "round " << round;
    }
}

TEST(GateFrame, ForgetsTheReservedBitOfTheStream)
{
    std::vector<Seen> seen;
    gate_scan scan = {};
    feed(&scan, frame_bytes(GATE_FRAME_DATA, 0, 0x80000003, 0), &seen);
    EXPECT_EQ(3u, seen.at(0).stream);
}

TEST(GateFrame, IsBetweenFramesOnlyOutsideOfHeaderBlocks)
{
    std::vector<Seen> seen;
    gate_scan scan = {};
    EXPECT_TRUE(gate_scan_is_between(&scan));
    std::string headers = frame_bytes(GATE_FRAME_HEADERS, 0, 1, 5);
    feed(&scan, headers.substr(0, 4), &seen);
    EXPECT_FALSE(gate_scan_is_between(&scan));
    EXPECT_EQ(5u, gate_scan_missing(&scan));
    feed(&scan, headers.substr(4, 7), &seen);
    EXPECT_EQ(3u, gate_scan_missing(&scan));
    feed(&scan, headers.substr(11), &seen);
    EXPECT_EQ(0u, gate_scan_missing(&scan));
    EXPECT_FALSE(gate_scan_is_between(&scan)) << "CONTINUATION has to follow";
    feed(&scan, frame_bytes(GATE_FRAME_CONTINUATION, GATE_FLAG_END_HEADERS, 1, 2), &seen);
    EXPECT_TRUE(gate_scan_is_between(&scan));
}

TEST(GateFrame, WritesFramesThatItCanRead)
{
    uint8_t bytes[GATE_FRAME_HEADER_SIZE + GATE_GOAWAY_SIZE];
    size_t size = gate_write_settings(bytes);
    size += gate_write_goaway(bytes + size, 0x01020304, GATE_ENHANCE_YOUR_CALM);
    ASSERT_EQ(sizeof(bytes), size);
    std::vector<Seen> seen;
    gate_scan scan = {};
    feed(&scan, std::string(reinterpret_cast<char *>(bytes), size), &seen);
    ASSERT_EQ(2u, seen.size());
    EXPECT_TRUE((Seen{0, 0, GATE_FRAME_SETTINGS, 0}) == seen[0]);
    EXPECT_TRUE((Seen{8, 0, GATE_FRAME_GOAWAY, 0}) == seen[1]);
    EXPECT_EQ(std::string("\x01\x02\x03\x04\0\0\0\x0b", 8),
              std::string(reinterpret_cast<char *>(bytes) + 18, 8));
    EXPECT_TRUE(gate_scan_is_between(&scan));
}

} // namespace
