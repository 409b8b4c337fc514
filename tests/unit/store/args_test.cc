// Parameters as bytes on the wire: PostgreSQL's binary formats.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "server/store/store.h"

namespace {

class Args : public testing::Test {
  protected:
    void SetUp() override
    {
        wm_arena_init(&arena, 0);
        store_args_init(&args, &arena);
    }
    void TearDown() override
    {
        wm_arena_free(&arena);
    }
    // The last argument in hexadecimal, "null" without one.
    std::string last()
    {
        static const char digits[] = "0123456789abcdef";
        const char *value = args.values[args.n - 1];
        std::string hex;
        if (value == nullptr)
            return "null";
        for (int i = 0; i < args.sizes[args.n - 1]; i++) {
            hex += digits[(unsigned char)value[i] >> 4];
            hex += digits[(unsigned char)value[i] & 15];
        }
        return hex;
    }
    wm_arena arena;
    store_args args;
};

TEST_F(Args, Scalars)
{
    store_arg_null(&args);
    EXPECT_EQ(last(), "null");
    store_arg_bool(&args, true);
    EXPECT_EQ(last(), "01");
    store_arg_int32(&args, -2);
    EXPECT_EQ(last(), "fffffffe");
    store_arg_int64(&args, 0x0102030405060708);
    EXPECT_EQ(last(), "0102030405060708");
    store_arg_float8(&args, 1.0);
    EXPECT_EQ(last(), "3ff0000000000000");
    store_arg_text(&args, "hé");
    EXPECT_EQ(last(), "68c3a9");
    store_arg_text(&args, nullptr);
    EXPECT_EQ(last(), "null");
    store_arg_bytes(&args, "a\0b", 3);
    EXPECT_EQ(last(), "610062");
    store_arg_json(&args, "{}");
    EXPECT_EQ(last(), "017b7d");
    EXPECT_EQ(args.n, 9);
}

TEST_F(Args, EmptyIsNotNull)
{
    store_arg_text(&args, "");
    EXPECT_EQ(last(), "");
    EXPECT_NE(args.values[0], nullptr);
    store_arg_bytes(&args, nullptr, 0);
    EXPECT_NE(args.values[1], nullptr);
}

TEST_F(Args, TimesCountFromTheYear2000)
{
    store_arg_time(&args, INT64_C(946684800000000));
    EXPECT_EQ(last(), "0000000000000000");
    store_arg_time(&args, INT64_C(946684800000000) - 1);
    EXPECT_EQ(last(), "ffffffffffffffff");
}

TEST_F(Args, Arrays)
{
    const int64_t longs[] = {1, STORE_NULL_INT};
    store_arg_int64s(&args, longs, 2);
    EXPECT_EQ(last(), "00000001"
                      "00000001"
                      "00000014"
                      "00000002"
                      "00000001"
                      "00000008"
                      "0000000000000001"
                      "ffffffff");
    const char *texts[] = {"ab", nullptr};
    store_arg_texts(&args, texts, 2);
    EXPECT_EQ(last(), "00000001"
                      "00000001"
                      "00000019"
                      "00000002"
                      "00000001"
                      "00000002"
                      "6162"
                      "ffffffff");
    const double doubles[] = {NAN};
    store_arg_float8s(&args, doubles, 1, true);
    EXPECT_EQ(last(), "00000001"
                      "00000001"
                      "000002bd"
                      "00000001"
                      "00000001"
                      "ffffffff");
    store_arg_int64s(&args, nullptr, 0);
    EXPECT_EQ(last(), "00000000"
                      "00000001"
                      "00000014");
}

TEST_F(Args, AreCopies)
{
    std::string text = "before";
    store_arg_text(&args, text.c_str());
    text = "after!";
    EXPECT_EQ(last(), "6265666f7265");
}

} // namespace
