/* JSON text: what is read, what is refused and where, how values are written. */
#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

namespace {

class Json : public testing::Test {
  protected:
    void SetUp() override
    {
        wm_arena_init(&arena, 0);
    }
    void TearDown() override
    {
        wm_arena_free(&arena);
    }
    wm_code parse(const std::string &text)
    {
        return wm_json_parse(&arena, text.data(), text.size(), &json, &err);
    }
    wm_arena arena;
    wm_json *json = nullptr;
    wm_err err;
};

TEST_F(Json, ReadsEveryKind)
{
    ASSERT_EQ(parse(" {\"a\" : [1, -2.5e3 ,true,false,null], \"b\":{}, \"c\":\"x\" } "), WM_OK);
    ASSERT_EQ(json->kind, WM_JSON_OBJECT);
    ASSERT_EQ(json->len, 3u);
    const wm_json *a = wm_json_find(json, "a");
    ASSERT_EQ(a->len, 5u);
    EXPECT_EQ(a->first->number, 1);
    EXPECT_STREQ(a->first->next->text, "-2.5e3");
    EXPECT_EQ(a->first->next->number, -2500);
    EXPECT_TRUE(a->first->next->next->boolean);
    EXPECT_EQ(a->first->next->next->next->next->kind, WM_JSON_NULL);
    EXPECT_EQ(wm_json_find(json, "b")->kind, WM_JSON_OBJECT);
    EXPECT_STREQ(wm_json_find(json, "c")->text, "x");
    EXPECT_EQ(wm_json_find(json, "d"), nullptr);
    EXPECT_EQ(wm_json_find(a, "d"), nullptr);
}

TEST_F(Json, DecodesEscapes)
{
    ASSERT_EQ(parse("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u20ac\\uD83D\\uDEF0\\u0041\""), WM_OK);
    EXPECT_STREQ(json->text, "\"\\/\b\f\n\r\t\xe2\x82\xac\xf0\x9f\x9b\xb0"
                             "A");
    EXPECT_EQ(json->text_len, strlen(json->text));
}

TEST_F(Json, RefusesWhatIsNotJson)
{
    const char *const cases[] = {
        "",
        " ",
        "{",
        "[",
        "[1,]",
        "[1 2]",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "tru",
        "nul",
        "True",
        "NaN",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "-",
        "0x10",
        "1 2",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u0000\"",
        "\"\n\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "'a'",
        "[1]]",
        "{\"a\":1,\"a\":2}",
        "\"\xff\"",
        "\xef\xbb\xbf{}",
        "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"c\":1}",
    };
    for (const char *text : cases) {
        EXPECT_EQ(parse(text), WM_INVALID) << text;
        EXPECT_STREQ(err.reason, "FIELD_INVALID") << text;
        EXPECT_STRNE(err.message, "") << text;
    }
    EXPECT_EQ(parse(std::string("\"a\0b\"", 5)), WM_INVALID);
}

TEST_F(Json, SaysWhereTheErrorIs)
{
    EXPECT_EQ(parse("{\n  \"\xc3\xbc\": 1,\n  \"b\": ?\n}"), WM_INVALID);
    EXPECT_STREQ(err.message, "JSON line 3, column 8: a value was expected");
}

TEST_F(Json, StopsAtItsDepth)
{
    std::string good = std::string(64, '[') + std::string(64, ']');
    std::string bad = std::string(65, '[') + std::string(65, ']');
    EXPECT_EQ(parse(good), WM_OK);
    EXPECT_EQ(parse(bad), WM_INVALID);
    EXPECT_EQ(parse(std::string(100000, '[')), WM_INVALID);
}

TEST_F(Json, StopsAtTheArenasLimit)
{
    wm_arena_free(&arena);
    wm_arena_init(&arena, 16 * 1024);
    std::string text = "[";
    for (int i = 0; i < 5000; i++)
        text += "1,";
    EXPECT_EQ(parse(text + "1]"), WM_EXHAUSTED);
    EXPECT_EQ(parse("\"" + std::string(50000, 'x') + "\""), WM_EXHAUSTED);
}

std::string written(double number)
{
    wm_buf buf;
    wm_buf_init(&buf, 100);
    wm_json_write_double(&buf, number);
    std::string text(buf.data, buf.size);
    wm_buf_free(&buf);
    return text;
}

TEST(JsonWrite, NumbersAreShort)
{
    EXPECT_EQ(written(0), "0");
    EXPECT_EQ(written(-0.0), "-0");
    EXPECT_EQ(written(1), "1");
    EXPECT_EQ(written(0.1), "0.1");
    EXPECT_EQ(written(-74.006), "-74.006");
    EXPECT_EQ(written(1.0 / 3), "0.3333333333333333");
    EXPECT_EQ(written(1e300), "1e+300");
    EXPECT_EQ(written(NAN), "\"NaN\"");
    EXPECT_EQ(written(-INFINITY), "\"-Infinity\"");
}

TEST(JsonWrite, NumbersReadBackTheSame)
{
    std::mt19937_64 random(1);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = random();
        double number;
        memcpy(&number, &bits, sizeof(number));
        if (std::isfinite(number)) {
            ASSERT_EQ(strtod(written(number).c_str(), nullptr), number);
        }
    }
}

TEST(JsonWrite, StringsAreEscaped)
{
    wm_buf buf;
    wm_buf_init(&buf, 1000);
    wm_json_write_string(&buf, "a\"\\\n\x01\x1f\xe2\x82\xac/", 10);
    EXPECT_STREQ(buf.data, "\"a\\\"\\\\\\n\\u0001\\u001f\xe2\x82\xac/\"");
    wm_buf_free(&buf);
}

} // namespace
