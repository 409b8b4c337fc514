// The checker: every diagnostic at once, and types that users can read.
#include <gtest/gtest.h>

#include "tests/unit/cel/support.h"

namespace {

std::vector<CelVariable> order()
{
    return {{"amount", "int", cel_of_int(7)},        {"name", "string", cel_of_string("ann", 3)},
            {"tags", "list(string)", cel_of_null()}, {"data", "map(string,dyn)", cel_of_null()},
            {"any", "dyn", cel_of_int(1)},           {"t", "timestamp", cel_of_timestamp(0, 0)}};
}

TEST(CelCheck, FindsAllMistakesAtOnce)
{
    Cel cel(order());

    ASSERT_FALSE(cel.compile("amuont > 3 && name.size() == 'a' && tags.all(x, x > 1) && foo(1)"));
    ASSERT_EQ(cel.issues.n, 4u);
    EXPECT_STREQ(cel.issues.issues[0].message, "undeclared variable 'amuont'");
    EXPECT_EQ(cel.issues.issues[0].column, 1u);
    EXPECT_STREQ(cel.issues.issues[1].message, "'==' does not take int and string");
    EXPECT_STREQ(cel.issues.issues[2].message, "'>' does not take string and int");
    EXPECT_STREQ(cel.issues.issues[3].message, "undeclared function 'foo'");
}

TEST(CelCheck, SaysWhatWouldFit)
{
    const std::pair<const char *, const char *> cases[] = {
        {"size(1)", "issue: no overload of 'size' takes (int); there is (string), (bytes), "
                    "(list(dyn)), (map(dyn,dyn))"},
        {"startsWith(name, 'a')",
         "issue: undeclared function 'startsWith'; it is called on a value, value.function(...)"},
        {"amount + 1.5", "issue: '+' does not take int and double; convert one with int(), uint() "
                         "or double()"},
        {"amount ? 1 : 2", "issue: a condition must be a bool, not a int"},
        {"name || true", "issue: '||' takes bools, not a string"},
        {"tags['a']", "issue: the index of a list must be an int, not a string"},
        {"tags.size", "issue: a field cannot be selected from a list(string)"},
        {"true ? 1 : 'a'", "issue: the branches have different types, int and string"},
        {"name.map(x, x)", "issue: a macro goes over a list or a map, not a string"},
        {"name.matches('(')", "issue: the pattern is wrong: missing ): ("},
    };

    for (const auto &[text, want] : cases)
        EXPECT_EQ(Cel(order()).run(text), want) << text;
}

TEST(CelCheck, FindsTypes)
{
    const std::pair<const char *, const char *> cases[] = {
        {"[1, 2].map(x, string(x))", "list(string)"},
        {"{'a': [1]}", "map(string,list(int))"},
        {"[1, 'a']", "list(dyn)"},
        {"[] + [1]", "list(int)"},
        {"[]", "list(dyn)"},
        {"data.a.b", "dyn"},
        {"any > 1", "bool"},
        {"t - t", "duration"},
        {"optional.of(1)", "optional_type(int)"},
        {"[1].first().optMap(x, [x])", "optional_type(list(int))"},
        {"{'a': 1}.?a", "optional_type(int)"},
        {"tags.transformMap(i, v, v)", "map(int,string)"},
        {"math.greatest(1, 2)", "int"},
        {"cel.bind(x, [1], x + x)", "list(int)"},
        {"data.map(k, k)", "list(string)"},
        {"type(1)", "type"},
    };

    for (const auto &[text, want] : cases) {
        Cel cel(order());

        ASSERT_TRUE(cel.compile(text)) << text << ": " << cel.issues.issues[0].message;
        EXPECT_STREQ(cel_program_type(cel.program), want) << text;
    }
}

TEST(CelCheck, WantsTheResultThatWasAskedFor)
{
    Cel cel(order());

    cel.options.result = "bool";
    EXPECT_EQ(cel.run("amount + 1"), "issue: the expression is a int, wanted is a bool");
    EXPECT_EQ(cel.run("amount > 1"), "true");
    EXPECT_EQ(cel.run("any"), "1");
}

TEST(CelCheck, LooksNamesUpFromTheContainerOutwards)
{
    Cel cel({{"a.b.x", "int", cel_of_int(1)},
             {"a.x", "int", cel_of_int(2)},
             {"a.y", "int", cel_of_int(3)},
             {"z", "int", cel_of_int(4)}},
            "a.b");

    EXPECT_EQ(cel.run("x"), "1");
    EXPECT_EQ(cel.run("y"), "3");
    EXPECT_EQ(cel.run("z"), "4");
    EXPECT_EQ(cel.run(".a.x"), "2");
    EXPECT_EQ(cel.run("[9].map(x, x)"), "[9]");
}

// Parsed only and checked alike.
static void run_both(Cel *cel, const std::string &text, const std::string &result)
{
    for (bool unchecked : {false, true}) {
        cel->options.unchecked = unchecked;
        EXPECT_EQ(cel->run(text), result) << text << (unchecked ? " parsed only" : " checked");
    }
    cel->options.unchecked = false;
}

TEST(CelCheck, LooksFunctionsUpFromTheContainerOutwards)
{
    Cel base64({}, "base64"), lists({}, "lists.x"), regex({}, "regex"), outside;

    run_both(&base64, "encode(b'a')", "\"YQ==\"");
    run_both(&base64, "base64.encode(b'a') + .base64.encode(b'a')", "\"YQ==YQ==\"");
    run_both(&base64, "size('abc') + .size('abc') + 'a'.size()", "7");
    run_both(&lists, "range(2)", "[0, 1]");
    run_both(&lists, "lists.range(2) + .lists.range(1)", "[0, 1, 0]");
    run_both(&lists, "[1].map(lists, lists.range(2))", "[[0, 1]]");
    run_both(&regex, "extract('a1', '\\\\d').value()", "\"1\"");
    run_both(&outside, ".size('a') + .lists.range(2)[1]", "2");
    EXPECT_EQ(base64.run(".encode(b'a')"), "issue: undeclared function 'encode'");
    EXPECT_EQ(lists.run("x.range(2)"), "issue: undeclared variable 'x'");
    EXPECT_EQ(regex.run("extract('a', '(')"), "issue: the pattern is wrong: missing ): (");
}

TEST(CelCheck, TypesThatDoubleDoNotGrow)
{
    std::string text = "cel.bind(a, [1], ", close = "a)";

    for (int i = 0; i < 60; i++) {
        text += "cel.bind(a, {'k': [a, a], 'l': [a]}, ";
        close += ")";
    }
    Cel cel;
    EXPECT_TRUE(cel.compile(text + close));
}

TEST(CelCheck, RefusesBadDeclarations)
{
    Cel cel;
    wm_err err;

    EXPECT_EQ(cel_env_add(cel.env, "1a", "int", &err), WM_INVALID);
    EXPECT_EQ(cel_env_add(cel.env, "a..b", "int", &err), WM_INVALID);
    EXPECT_EQ(cel_env_add(cel.env, "a", "integer", &err), WM_INVALID);
    EXPECT_EQ(cel_env_add(cel.env, "a", "map(string", &err), WM_INVALID);
    EXPECT_EQ(cel_env_add(cel.env, "a", "map(string, list(int))", &err), WM_OK);
    EXPECT_EQ(cel_env_add(cel.env, "a", "int", &err), WM_EXISTS);
}

} // namespace
