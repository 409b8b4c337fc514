// Views over JSON text: the same values as those of a parsed tree, and only what is asked for.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>

#include "tests/unit/cel/support.h"

namespace {

std::string shown(const cel_value &value)
{
    return Cel::take([&](wm_buf *buf) { cel_value_print(buf, &value); });
}

std::string text_value(const std::string &text)
{
    Cel cel;

    return shown(cel_json_text(&cel.arena, text.data(), text.size()));
}

std::string tree_value(const std::string &text)
{
    Cel cel;
    wm_json *json;
    wm_err err;

    EXPECT_EQ(wm_json_parse(&cel.arena, text.data(), text.size(), &json, &err), WM_OK) << text;
    return shown(cel_json_view(&cel.arena, json));
}

TEST(CelText, ViewsWhatATreeViews)
{
    const char *texts[] = {
        "null",
        "true",
        " false ",
        "-1.5e3",
        "1e400",
        "\"\"",
        "\"a\\n\\\"\\\\\\/\\u00e9\\ud83d\\udc31\\tb\"",
        "\"\xc3\xa9\"",
        "[]",
        "{}",
        "[1, \"a,]}\", {\"b\": [2]}, [], null]",
        "{\"a\": {\"b\": {\"c\": [1, {\"d\": \"}\"}]}}, \"e\": \"\\\\\", \"f\": 0}",
        "{ \"a\\u0062\" : [ [ ] , [ [ 1 ] ] ] , \"\": -0 }"};

    for (const char *text : texts)
        EXPECT_EQ(text_value(text), tree_value(text)) << text;
    EXPECT_EQ(text_value(std::string(300, '9')), tree_value(std::string(300, '9')));
}

TEST(CelText, FindsNames)
{
    const std::string text =
        "{\"skip\": [{\"x\": \"}\"}], \"a\": {\"b\": [1, {\"c\": \"d\"}]}, \"\\u0065\": true}";
    Cel cel({{"v", "dyn", cel_of_null()}});

    cel.values[0] = cel_json_text(&cel.arena, text.data(), text.size());
    EXPECT_EQ(cel.run("v.a.b[1].c == 'd' && v.e && !has(v.x) && has(v.a.b)"), "true");
    EXPECT_EQ(cel.run("v.x"), "error: no such key: x");
    EXPECT_EQ(cel.run("size(v) == 3 && size(v.a) == 1 && 'skip' in v"), "true");
    EXPECT_EQ(cel.run("v.map(k, k)"), "[\"skip\", \"a\", \"e\"]");
    EXPECT_EQ(cel.run("v == {'skip': [{'x': '}'}], 'a': {'b': [1, {'c': 'd'}]}, 'e': true}"),
              "true");
}

TEST(CelText, DecodesOnlyWhatIsAskedFor)
{
    std::string text = "{\"large\": {";
    Cel cel({{"v", "dyn", cel_of_null()}});

    for (int i = 0; i < 10000; i++)
        text += (i ? ",\"k" : "\"k") + std::to_string(i) + "\": [\"\\n\", 1, 2, {\"x\": 1}]";
    text += "}, \"kind\": \"truck\"}";
    cel.values[0] = cel_json_text(&cel.arena, text.data(), text.size());
    ASSERT_TRUE(cel.compile("v.kind == 'truck' && v.large.k9999[1] == 1"));
    cel_value value = cel.eval();
    EXPECT_TRUE(value.kind == CEL_BOOL && value.as.boolean);
    EXPECT_LT(wm_arena_used(&cel.arena), 4096u);
}

std::string random_json(std::mt19937 &random, int depth)
{
    static const char *const scalars[] = {"0",    "-1.25", "1e-3",        "true",   "false",
                                          "null", "\"\"",  "\"\\u00e9\"", "\"ab\"", "\"\\\\\\\"\""};
    std::string made;
    size_t n = random() % 4;

    if (depth == 0 || random() % 3 == 0)
        return scalars[random() % 10];
    if (random() % 2) {
        for (size_t i = 0; i < n; i++)
            made += (i ? ", " : "") + random_json(random, depth - 1);
        return "[" + made + "]";
    }
    for (size_t i = 0; i < n; i++)
        made += (i ? ", \"m" : "\"m") + std::to_string(i) + "\": " + random_json(random, depth - 1);
    return "{" + made + "}";
}

TEST(CelText, RandomDocumentsAreTheSame)
{
    std::mt19937 random(20261124);

    for (int i = 0; i < 2000; i++) {
        std::string text = random_json(random, 5);

        ASSERT_EQ(text_value(text), tree_value(text)) << text;
    }
}

// Valid texts are asked for; of others nothing may be read behind the end.
TEST(CelText, StaysInsideOfBrokenTexts)
{
    std::mt19937 random(20261125);

    for (int i = 0; i < 500; i++) {
        std::string text = random_json(random, 5);

        for (size_t len = 0; len <= text.size(); len++) {
            // On the heap, where a sanitizer sees its end.
            std::unique_ptr<char[]> part(new char[len]);

            memcpy(part.get(), text.data(), len);
            if (len > 0 && random() % 2)
                part[random() % len] = "{}[],:\"\\u0"[random() % 10];
            text_value(std::string(part.get(), len));
            wm_arena arena;
            wm_arena_init(&arena, 0);
            shown(cel_json_text(&arena, part.get(), len));
            wm_arena_free(&arena);
        }
    }
    EXPECT_EQ(text_value(std::string(100000, '[')).substr(0, 3), "[[[");
    EXPECT_EQ(text_value(std::string(100000, '{')), "{}");
}

} // namespace
