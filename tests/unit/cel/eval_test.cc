// Evaluation: errors as values, limits, lazy variables, views, functions of the host.
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "tests/unit/cel/support.h"

namespace {

TEST(CelEval, AbsorbsErrorsWhereAnotherOperandDecides)
{
    Cel cel({{"zero", "int", cel_of_int(0)}});

    EXPECT_EQ(cel.run("1 / zero > 0 || true"), "true");
    EXPECT_EQ(cel.run("true || 1 / zero > 0"), "true");
    EXPECT_EQ(cel.run("1 / zero > 0 && false"), "false");
    EXPECT_EQ(cel.run("1 / zero > 0 && true"), "error: division by zero");
    EXPECT_EQ(cel.run("[0, 1].exists(x, 1 / x > 0)"), "true");
    EXPECT_EQ(cel.run("[0, 1].all(x, 1 / x > 0)"), "error: division by zero");
    EXPECT_EQ(cel.run("zero == 0 ? 'none' : string(1 / zero)"), "\"none\"");
}

TEST(CelEval, ErrorsTellWhere)
{
    Cel cel({{"zero", "int", cel_of_int(0)}});

    ASSERT_TRUE(cel.compile("1 + 2 / zero"));
    cel_value value = cel.eval();
    ASSERT_EQ(value.kind, static_cast<uint32_t>(CEL_ERROR));
    EXPECT_EQ(value.as.error->code, CEL_ERROR_ZERO);
    EXPECT_EQ(value.as.error->pos, 6u);
}

TEST(CelEval, StopsAtTheCostLimit)
{
    const char *loops[] = {
        "lists.range(1000).all(a, lists.range(1000).all(b, lists.range(1000).all(c, true)))",
        "lists.range(1000000000).size() > 0",
        ("[1,2,3,4,5,6,7,8,9].map(a, [1,2,3,4,5,6,7,8,9].map(b, [1,2,3,4,5,6,7,8,9].map(c, "
         "[1,2,3,4,5,6,7,8,9].map(d, [1,2,3,4,5,6,7,8,9].map(e, [1,2,3,4,5,6,7,8,9].map(f, "
         "[1,2,3,4,5,6,7,8,9].map(g, [1,2,3,4,5,6,7,8,9]))))))).size() > 0 || true"),
        "lists.range(100000).distinct().size() > 0",
        "lists.range(10000).all(i, !string(i).matches('x{1000}' + string(i)))",
        ("cel.bind(t, lists.range(3000).map(i, 'aaaaaaaaaa').join(), "
         "t.lastIndexOf('b' + t.substring(0, 15000)) == 0)"),
    };

    for (const char *text : loops) {
        Cel cel;

        cel.limit = 100000;
        EXPECT_EQ(cel.run(text), "error: the cost limit is reached") << text;
        EXPECT_LT(cel.spent, UINT64_C(2000000000)) << text;
    }
}

TEST(CelEval, Base64OfUrls)
{
    Cel cel;

    EXPECT_EQ(cel.run("base64.encodeUrl(b'\\xff')"), "\"_w==\"");
    EXPECT_EQ(cel.run("base64.encodeUrl(b'\\xff\\xff\\xff')"), "\"____\"");
    EXPECT_EQ(cel.run("base64.encodeUrl(b'')"), "\"\"");
    EXPECT_EQ(cel.run("base64.decodeUrl('_-8=') == b'\\xff\\xef'"), "true");
    EXPECT_EQ(cel.run("base64.decodeUrl('_-8') == b'\\xff\\xef'"), "true");
    EXPECT_EQ(cel.run("base64.decodeUrl('/+8=')"), "error: the text is not base64");
    EXPECT_EQ(cel.run("base64.decodeUrl('_-8==')"), "error: the text is not base64");
    EXPECT_EQ(cel.run("base64.decode('_-8=')"), "error: the text is not base64");
}

// As cel-go reads them.
TEST(CelEval, ReadsTheTextsOfTimes)
{
    Cel cel;

    cel.options.unchecked = true;
    for (const char *refused :
         {"timestamp('2009-02-13 23:31:30Z')", "timestamp('2009-02-13t23:31:30Z')",
          "timestamp('2009-02-13T23:31:30z')", "timestamp('2009-02-13T23:31:60Z')",
          "timestamp('2016-12-31T23:59:60Z')", "timestamp('2009-02-13T24:00:00Z')",
          "timestamp('2009-02-13T23:31:30.Z')", "timestamp('2009-02-13T23:31:30')",
          "timestamp('2009-02-13T23:31:30+24:00')", "timestamp('2009-02-13')", "timestamp('')",
          "duration('9223372036854775808ns')", "duration('2562047h47m16.854775808s')",
          "duration('-9223372036854775809ns')", "duration('-2562047h47m16.854775809s')",
          "duration('18446744073709551616ns')", "duration('9223372036s9223372036s9223372036s')",
          "duration('-')", "duration('')"})
        EXPECT_EQ(cel.run(refused).substr(0, 7), "error: ") << refused;
    EXPECT_EQ(cel.run("timestamp('2009-02-13T23:31:06.5+23:59') == timestamp(1234481526) - "
                      "duration('-0.5s')"),
              "true");
    EXPECT_EQ(cel.run("duration('-9223372036854775808ns')"),
              "duration(\"-9223372036.854775808s\")");
    EXPECT_EQ(
        cel.run("duration('-2562047h47m16.854775808s') == duration('-9223372036854775808ns')"),
        "true");
    EXPECT_EQ(cel.run("duration('9223372036854775807ns') > duration('0s')"), "true");
}

TEST(CelEval, ReadsTheTextsOfNumbers)
{
    Cel cel;

    for (const char *refused : {"0x10", "0x1.8", "0xp1", "0x1p", "+NaN", "-nan", "nan(1)", "1_0",
                                "infi", "1e", ".", "", " 1", "0x1p1024", "1e400"})
        EXPECT_EQ(cel.run(std::string("double('") + refused + "')").substr(0, 7), "error: ")
            << refused;
    EXPECT_EQ(cel.run("double('0x1p4') + double('0x1.8P+1') + double('-0X.8p1')"), "18.0");
    EXPECT_EQ(cel.run("math.isNaN(double('nan')) && math.isNaN(double('NaN'))"), "true");
    EXPECT_EQ(cel.run("double('+inf') == double('Infinity') && double('-INF') < 0.0"), "true");
}

// Dots are for the networks that embed IPv4, except the one that stands for IPv4.
TEST(CelEval, ReadsTheTextsOfAddresses)
{
    Cel cel;

    for (const char *ip : {"64:ff9b::192.0.2.33", "::1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "::ffff:1:2",
                           "::fffe:1.2.3.4", "1::ffff:1.2.3.4"})
        EXPECT_EQ(cel.run(std::string("isIP('") + ip + "')"), "true") << ip;
    for (const char *none :
         {"::ffff:1.2.3.4", "0:0:0:0:0:ffff:1.2.3.4", "::1.2.3.04", "::1.2.3",
          "1:2:3:4:5:6:7:1.2.3.4", "1::1.2.3.4:5", "::ffff:1.2.3.4%eth0", "1.2.3.4::"})
        EXPECT_EQ(cel.run(std::string("isIP('") + none + "')"), "false") << none;
    EXPECT_EQ(cel.run("string(ip('64:ff9b::1.2.3.4'))"), "\"64:ff9b::102:304\"");
    EXPECT_EQ(cel.run("cidr('::1.2.3.4/96')"), "cidr(\"::102:304/96\")");
    EXPECT_EQ(cel.run("ip.isCanonical('::1.2.3.4') || isCIDR('::ffff:1.2.3.4/96')"), "false");
}

TEST(CelEval, MasksHaveNoHostBits)
{
    Cel cel;

    for (const char *mask : {"10.0.0.0/8", "0.0.0.0/0", "10.0.0.1/32", "2001:db8::/32"})
        EXPECT_EQ(cel.run(std::string("cidr('") + mask + "').isMask()"), "true") << mask;
    for (const char *other : {"10.0.0.1/8", "10.128.0.0/8", "2001:db8::1/127", "::1/0"})
        EXPECT_EQ(cel.run(std::string("cidr('") + other + "').isMask()"), "false") << other;
}

TEST(CelEval, ListsAsSets)
{
    Cel cel;

    EXPECT_EQ(cel.run("[1, 1, 2].hasOnly([1, 2, 3]) && [].hasOnly([1])"), "true");
    EXPECT_EQ(cel.run("[1, 4].hasOnly([1, 2, 3]) || [1].hasOnly([])"), "false");
    EXPECT_EQ(cel.run("[1, 2, 3].hasAll([2, 3]) && [1].hasAll([])"), "true");
    EXPECT_EQ(cel.run("[1, 2].hasAll([2, 4])"), "false");
    EXPECT_EQ(cel.run("[1, 2, 3].hasAny([3, 4]) && [dyn(1u)].hasAny([1.0])"), "true");
    EXPECT_EQ(cel.run("[1].hasAny([]) || [].hasAny([])"), "false");
    EXPECT_EQ(cel.run("[1].hasExactly([1, 1]) && [].hasExactly([])"), "true");
    EXPECT_EQ(cel.run("[1, 2].hasExactly([1, 2, 3])"), "false");
}

// Small to make, endless to compare.
TEST(CelEval, ListsThatShareEndToo)
{
    std::string text = "cel.bind(a, [1], ", close;
    Cel cel;

    for (int i = 0; i < 60; i++) {
        text += "cel.bind(a, [a, a], ";
        close += ")";
    }
    EXPECT_EQ(cel.run(text + "a == a)" + close), "error: the cost limit is reached");
    EXPECT_EQ(cel.run(text + "a in [a] || true)" + close), "error: the cost limit is reached");
    EXPECT_EQ(cel.run(text + "[a, a].distinct().size() == 1)" + close),
              "error: the cost limit is reached");
    EXPECT_EQ(cel.run(text + "size('%s'.format([a])) > 0)" + close),
              "error: the cost limit is reached");
}

TEST(CelEval, StopsWhenTheArenaIsFull)
{
    std::string text = "cel.bind(a, '0123456789', ", close = "a)";
    Cel cel;

    for (int i = 0; i < 40; i++) {
        text += "cel.bind(a, a + a, ";
        close += ")";
    }
    wm_arena_free(&cel.arena);
    wm_arena_init(&cel.arena, 1 << 20);
    cel.limit = UINT64_C(1) << 40;
    EXPECT_EQ(cel.run(text + close), "error: out of memory");
    EXPECT_EQ(cel.run("(" + text + close + " == '') || true"), "error: out of memory");
}

TEST(CelEval, PatternBombsEnd)
{
    Cel cel({{"s", "string", cel_of_string("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", 34)}});

    EXPECT_EQ(cel.run("s.matches('(a*)*c')"), "false");
    EXPECT_EQ(cel.run("s.matches('((a{1,100}){1,100}){1,100}')").substr(0, 29),
              "issue: the pattern is wrong: ");
}

TEST(CelEval, MatchesEndBetweenCharacters)
{
    Cel cel({{"s", "string", cel_of_string("a\xc3\xa9\xf0\x9f\x90\xb1", 7)}});

    EXPECT_EQ(cel.run("s.matches('\\\\C')"),
              "issue: the pattern is wrong: invalid escape sequence: \\C");
    EXPECT_EQ(cel.run("s.matches('\\\\Q\\\\C\\\\E')"), "false");
    EXPECT_EQ(cel.run("regex.replace(s, '\\\\B', '-') == 'a\u00e9-\U0001F431-'"), "true");
    EXPECT_EQ(cel.run("'a\u00e9b'.matches('\\\\B')"), "false");
    EXPECT_EQ(cel.run("regex.extractAll('\u00e9\u00e9', '\\\\B')"), "[\"\", \"\", \"\"]");
    EXPECT_EQ(cel.run("regex.replace(s, '', '-') == '-a-\u00e9-\U0001F431-'"), "true");
}

TEST(CelEval, EmptyMatchesBehindOthersAreNone)
{
    Cel cel;

    EXPECT_EQ(cel.run("regex.replace('baaac', 'a*', 'x')"), "\"xbxcx\"");
    EXPECT_EQ(cel.run("regex.replace('aaa', 'a*', 'x')"), "\"x\"");
    EXPECT_EQ(cel.run("regex.replace('baaac', 'a*', 'x', 2)"), "\"xbxc\"");
    EXPECT_EQ(cel.run("regex.extractAll('baaac', 'a*')"), "[\"\", \"aaa\", \"\"]");
}

struct Counted {
    int asked[2] = {0, 0};
};

bool resolve(const cel_vars *vars, size_t place, wm_arena *, cel_value *value)
{
    static_cast<Counted *>(vars->data)->asked[place]++;
    *value = cel_of_bool(place == 0);
    return true;
}

TEST(CelEval, AsksOnlyForWhatItNeeds)
{
    Cel cel({{"a", "bool", cel_of_null()}, {"b", "bool", cel_of_null()}});
    Counted counted;
    cel_vars vars = {nullptr, 0, resolve, &counted};

    ASSERT_TRUE(cel.compile("a || b"));
    cel_value value = cel_eval(cel.program, &vars, nullptr, &cel.arena);
    EXPECT_EQ(value.kind, static_cast<uint32_t>(CEL_BOOL));
    EXPECT_EQ(counted.asked[0], 1);
    EXPECT_EQ(counted.asked[1], 0);
}

TEST(CelEval, AVariableWithoutAValueIsAnError)
{
    cel_value absent = cel_of_null();

    absent.kind = CEL_ABSENT;
    Cel cel({{"a", "bool", absent}});

    EXPECT_EQ(cel.run("a"), "error: no value for 'a'");
    EXPECT_EQ(cel.run("a || true"), "true");
}

TEST(CelEval, UsesOnlyTheArena)
{
    Cel cel({{"x", "int", cel_of_int(5)}, {"y", "string", cel_of_string("a", 1)}});

    ASSERT_TRUE(cel.compile("x > 3 && y == 'a' && x in [1, 2, 5] && y.matches('^a$')"));
    size_t before = wm_arena_used(&cel.arena);
    cel_value value = cel.eval();
    EXPECT_TRUE(value.as.boolean);
    EXPECT_EQ(wm_arena_used(&cel.arena), before);
}

TEST(CelEval, ViewsJson)
{
    const char text[] =
        "{\"user\":{\"name\":\"ann\",\"age\":30,\"tags\":[\"a\",\"b\"]},\"none\":null}";
    Cel cel({{"v", "dyn", cel_of_null()}});
    wm_json *json;
    wm_err err;

    ASSERT_EQ(wm_json_parse(&cel.arena, text, sizeof text - 1, &json, &err), WM_OK);
    cel.values[0] = cel_json_view(&cel.arena, json);
    EXPECT_EQ(cel.run("v.user.name == 'ann' && v.user.age > 18 && 'b' in v.user.tags"), "true");
    EXPECT_EQ(cel.run("has(v.user.phone) || v.none != null"), "false");
    EXPECT_EQ(cel.run("v.user.map(k, k)"), "[\"name\", \"age\", \"tags\"]");
    EXPECT_EQ(
        cel.run("v == {'user': {'age': 30, 'name': 'ann', 'tags': ['a', 'b']}, 'none': null}"),
        "true");
    EXPECT_EQ(cel.run("v.user.phone"), "error: no such key: phone");
    EXPECT_EQ(cel.run("v.user.age"), "30.0");
}

TEST(CelEval, WritesJson)
{
    Cel cel;

    ASSERT_TRUE(cel.compile("{'a': [1, 2.5, true, null], 'b': b'hi', 3: duration('90s')}"));
    cel_value value = cel.eval();
    EXPECT_EQ(Cel::take([&](wm_buf *buf) { cel_value_json(buf, &value); }),
              "{\"a\":[1,2.5,true,null],\"b\":\"aGk=\",\"3\":\"90s\"}");
}

cel_value in_state(cel_call *call, const cel_value *args, size_t)
{
    const char *active = static_cast<const char *>(cel_call_data(call));

    return cel_of_bool(std::strlen(active) == args->len &&
                       std::memcmp(active, args->as.text, args->len) == 0);
}

TEST(CelEval, CallsTheHost)
{
    static const cel_function functions[] = {{"In", false, true, "s", "b", in_state}};
    Cel cel;
    char active[] = "open";
    cel_vars vars = {nullptr, 0, nullptr, active};

    cel_env_functions(cel.env, functions, 1);
    ASSERT_TRUE(cel.compile("In('open') && !In('shut')"));
    cel_value value = cel_eval(cel.program, &vars, nullptr, &cel.arena);
    EXPECT_EQ(value.kind, static_cast<uint32_t>(CEL_BOOL));
    EXPECT_TRUE(value.as.boolean);
    EXPECT_EQ(cel.run("In(1)").substr(0, 32), "issue: no overload of 'In' takes");
}

TEST(CelEval, AProgramIsSharedByThreads)
{
    Cel cel({{"x", "int", cel_of_int(5)}});
    std::vector<std::thread> threads;

    ASSERT_TRUE(
        cel.compile("timestamp(x).getHours('Europe/Paris') == 1 && string(x).matches('5') && "
                    "[3, 1, 2].sort().map(v, v * x) == [5, 10, 15]"));
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&] {
            cel_vars vars = {cel.values.data(), 1, nullptr, nullptr};

            for (int n = 0; n < 200; n++) {
                wm_arena arena;

                wm_arena_init(&arena, 0);
                cel_value value = cel_eval(cel.program, &vars, nullptr, &arena);
                EXPECT_TRUE(value.kind == CEL_BOOL && value.as.boolean);
                wm_arena_free(&arena);
            }
        });
    for (std::thread &thread : threads)
        thread.join();
}

TEST(CelEval, LargeMapsFindTheirKeys)
{
    Cel cel;

    EXPECT_EQ(cel.run("cel.bind(m, lists.range(5000).transformMap(i, v, v * 2), "
                      "m[4999] + m[dyn(0u)] + m[dyn(77.0)])"),
              "10152");
    EXPECT_EQ(cel.run("lists.range(50).transformMapEntry(i, v, {v / 2: v})"),
              "error: a key comes twice");
}

} // namespace
