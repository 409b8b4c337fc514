/* Arenas and buffers: alignment, limits, reuse. */
#include "base/arena.h"
#include "base/buf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace {

class Arena : public testing::Test {
  protected:
    void TearDown() override
    {
        wm_arena_free(&arena);
    }
    wm_arena arena;
};

TEST_F(Arena, GivesAlignedPiecesThatDoNotOverlap)
{
    wm_arena_init(&arena, 0);
    char *last_end = nullptr;
    for (size_t size = 0; size < 3000; size += 7) {
        char *piece = static_cast<char *>(wm_arena_alloc(&arena, size));
        ASSERT_NE(piece, nullptr);
        ASSERT_EQ(reinterpret_cast<uintptr_t>(piece) % 16, 0u);
        memset(piece, static_cast<int>(size), size);
        last_end = piece + size;
    }
    EXPECT_NE(last_end, nullptr);
}

TEST_F(Arena, KeepsSmallThingsInsideTheStruct)
{
    wm_arena_init(&arena, 0);
    char *piece = static_cast<char *>(wm_arena_alloc(&arena, 100));
    EXPECT_GE(piece, arena.first);
    EXPECT_LT(piece, arena.first + WM_ARENA_INLINE_SIZE);
    EXPECT_EQ(wm_arena_used(&arena), static_cast<size_t>(WM_ARENA_INLINE_SIZE));
}

TEST_F(Arena, BigPieceDoesNotWasteTheChunkInUse)
{
    wm_arena_init(&arena, 0);
    wm_arena_alloc(&arena, WM_ARENA_INLINE_SIZE);
    char *before = static_cast<char *>(wm_arena_alloc(&arena, 16));
    wm_arena_alloc(&arena, 1024 * 1024);
    char *after = static_cast<char *>(wm_arena_alloc(&arena, 16));
    EXPECT_EQ(after, before + 16);
}

TEST_F(Arena, RefusesAboveItsLimit)
{
    wm_arena_init(&arena, 64 * 1024);
    EXPECT_EQ(wm_arena_try(&arena, 64 * 1024), nullptr);
    EXPECT_NE(wm_arena_try(&arena, 48 * 1024), nullptr);
    EXPECT_EQ(wm_arena_alloc(&arena, 48 * 1024), nullptr);
    size_t n = 0;
    while (wm_arena_try(&arena, 1000) != nullptr)
        ASSERT_LT(++n, 100u);
    EXPECT_LE(wm_arena_used(&arena), 64u * 1024);
}

TEST_F(Arena, RefusesSizesThatOverflow)
{
    wm_arena_init(&arena, 0);
    EXPECT_EQ(wm_arena_try(&arena, SIZE_MAX), nullptr);
    EXPECT_EQ(wm_arena_try(&arena, SIZE_MAX - 20), nullptr);
    EXPECT_EQ(wm_arena_array(&arena, SIZE_MAX / 2, 4), nullptr);
}

TEST_F(Arena, IsEmptyAfterReset)
{
    wm_arena_init(&arena, 128 * 1024);
    for (int round = 0; round < 10; round++) {
        ASSERT_NE(wm_arena_try(&arena, 100 * 1024), nullptr);
        wm_arena_reset(&arena);
        EXPECT_EQ(wm_arena_used(&arena), static_cast<size_t>(WM_ARENA_INLINE_SIZE));
    }
}

TEST_F(Arena, CopiesTexts)
{
    wm_arena_init(&arena, 0);
    EXPECT_STREQ(wm_arena_strdup(&arena, "vessel"), "vessel");
    EXPECT_STREQ(wm_arena_strndup(&arena, "vessel", 3), "ves");
    EXPECT_STREQ(wm_arena_printf(&arena, "%s-%d", "vessel", 7), "vessel-7");
    EXPECT_EQ(memcmp(wm_arena_memdup(&arena, "\0\1", 2), "\0\1", 2), 0);
    int *zeros = WM_NEW_ARRAY(&arena, int, 100);
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(zeros[i], 0);
}

TEST(Buf, IsAlwaysAString)
{
    wm_buf buf;
    wm_buf_init(&buf, 100);
    EXPECT_STREQ(buf.data, "");
    wm_buf_text(&buf, "one");
    wm_buf_char(&buf, ' ');
    wm_buf_printf(&buf, "%d", 2);
    EXPECT_STREQ(buf.data, "one 2");
    wm_buf_clear(&buf);
    EXPECT_STREQ(buf.data, "");
    wm_buf_free(&buf);
}

TEST(Buf, DropsWhatGoesBeyondItsLimit)
{
    wm_buf buf;
    wm_buf_init(&buf, 10);
    wm_buf_text(&buf, "0123456789");
    EXPECT_FALSE(buf.failed);
    wm_buf_char(&buf, 'x');
    EXPECT_TRUE(buf.failed);
    wm_buf_printf(&buf, "%s", "y");
    EXPECT_STREQ(buf.data, "0123456789");
    wm_buf_clear(&buf);
    EXPECT_FALSE(buf.failed);
    wm_buf_free(&buf);
}

TEST(Buf, GrowsToManyBytes)
{
    wm_buf buf;
    std::string expected;
    wm_buf_init(&buf, 1 << 20);
    for (int i = 0; i < 10000; i++) {
        wm_buf_printf(&buf, "%d,", i);
        expected += std::to_string(i) + ",";
    }
    EXPECT_EQ(std::string(buf.data, buf.size), expected);
    wm_buf_free(&buf);
}

} // namespace
