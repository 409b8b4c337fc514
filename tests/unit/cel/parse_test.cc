// Parsing: what is refused and where, and the canonical text.
#include <gtest/gtest.h>

#include "tests/unit/cel/support.h"

namespace {

TEST(CelParse, TellsLineColumnAndCaret)
{
    Cel cel;
    std::string text = "1 +\n  \xc3\xa9 + 2";

    ASSERT_FALSE(cel.compile(text));
    EXPECT_EQ(cel.issues.issues[0].line, 2u);
    EXPECT_EQ(cel.issues.issues[0].column, 3u);
    EXPECT_EQ(Cel::take([&](wm_buf *buf) {
                  cel_issues_print(&cel.issues, text.data(), text.size(), buf);
              }),
              "2:3: unexpected character\n      \xc3\xa9 + 2\n      ^\n");
}

TEST(CelParse, ExplainsCommonMistakes)
{
    const std::pair<const char *, const char *> cases[] = {
        {"a = 1", "issue: '=' compares nothing; use '=='"},
        {"true & false", "issue: '&' is no operator; use '&&'"},
        {"1 +", "issue: the expression ends here, expected an expression"},
        {"f(1, 2", "issue: the expression ends here, expected ',' or ')'"},
        {"'abc", "issue: the text does not end"},
        {"'\\q'", "issue: unknown escape sequence"},
        {"9223372036854775808", "issue: the number does not fit into an int"},
        {"for", "issue: 'for' is a reserved word"},
        {"has(a)", "issue: has() takes a field selection, has(a.b)"},
        {"[1].all(x.y, true)", "issue: the variable of a macro must be a simple name"},
        {"Point{x: 1}", "issue: messages cannot be made; use a map"},
        {"", "issue: the expression ends here, expected an expression"},
    };

    for (const auto &[text, want] : cases)
        EXPECT_EQ(Cel().run(text), want) << text;
}

TEST(CelParse, PrintsCanonicalText)
{
    const std::pair<const char *, const char *> cases[] = {
        {"1+2*3", "1 + 2 * 3"},
        {"(1+2)*3", "(1 + 2) * 3"},
        {"1-(2-3)", "1 - (2 - 3)"},
        {"true&&(false||true)", "true && (false || true)"},
        {"(true&&false)||true", "true && false || true"},
        {"-(1)", "-(1)"},
        {"-1", "-1"},
        {"'a'+\"b\"", "\"a\" + \"b\""},
        {"[1,2].map( x , x+1 )", "[1, 2].map(x, x + 1)"},
        {"{'a':1}.?a.orValue(0)", "{\"a\": 1}.?a.orValue(0)"},
        {"has({'a':1}.a)", "has({\"a\": 1}.a)"},
        {"cel.bind(x,1,x)", "cel.bind(x, 1, x)"},
        {"(true?1:2)==1?3:4", "(true ? 1 : 2) == 1 ? 3 : 4"},
        {"1.0", "1.0"},
        {"1e100", "1e+100"},
        {"b'\\xff'", "b\"\\xff\""},
        {"{'a b':1}.`a b`", "{\"a b\": 1}.`a b`"},
    };

    for (const auto &[text, want] : cases) {
        EXPECT_EQ(Cel().canonical(text), want) << text;
        EXPECT_EQ(Cel().canonical(want), want) << text;
    }
}

// Everything behind the parser recurses, so depth must end here, whatever it is made of.
TEST(CelParse, TakesACommaWithoutElements)
{
    Cel cel;

    EXPECT_EQ(cel.run("[,]"), "[]");
    EXPECT_EQ(cel.run("{,}"), "{}");
    EXPECT_EQ(cel.run("size([,]) + size({ , })"), "0");
    EXPECT_EQ(cel.run("[1,] == [1] && {1: 2,} == {1: 2}"), "true");
    EXPECT_EQ(cel.run("[,1]"), "issue: unexpected 1, expected ']'");
    EXPECT_EQ(cel.run("{,1: 2}"), "issue: unexpected 1, expected '}'");
    EXPECT_EQ(cel.run("[1,,]"), "issue: unexpected ,, expected an expression");
    EXPECT_EQ(cel.run("size(,)"), "issue: unexpected ,, expected an expression");
}

TEST(CelParse, EndsDepthOfEveryKind)
{
    const std::string n100k[] = {std::string(50000, '('), std::string(50000, '['),
                                 std::string(50000, '-') + "x", std::string(50000, '!') + "x"};
    std::string sums = "1", calls = "1", conditions, selects = "x";

    for (const std::string &text : n100k)
        EXPECT_NE(Cel().run(text).find("nested too deeply"), std::string::npos);
    for (int i = 0; i < 5000; i++) {
        sums += "+1";
        calls = "f(" + calls;
        conditions += "a?b:";
        selects += ".y";
    }
    for (const std::string &text : {sums, calls, conditions + "c", selects})
        EXPECT_NE(Cel().run(text).find("nested too deeply"), std::string::npos);
}

TEST(CelParse, EndsSize)
{
    std::string list = "[", chain = "true";

    EXPECT_EQ(Cel().run(std::string(1000000, ' ') + "1"), "issue: the expression is too long");
    for (int i = 0; i < 30000; i++)
        list += "1,";
    EXPECT_EQ(Cel().run(list + "]"), "issue: the expression has too many parts");
    // Long conditions are flat and therefore fine.
    for (int i = 0; i < 5000; i++)
        chain += "&&true";
    EXPECT_EQ(Cel().run(chain), "true");
}

TEST(CelParse, RefusesInvalidUtf8)
{
    EXPECT_EQ(Cel().run("'\xff'"), "issue: the expression is not valid UTF-8");
}

} // namespace
