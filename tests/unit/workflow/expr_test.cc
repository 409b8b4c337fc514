// Expressions: what they mean, what they refuse, and that their size is bounded.
#include "tests/unit/workflow/chart_support.h"

using workflow_test::Arena;
using workflow_test::parse;
using workflow_test::text_of;

namespace {

bool in_some_state(const void *, const char *id)
{
    return std::strcmp(id, "on") == 0;
}

struct Evaluation {
    std::string data = R"({"n": 2, "s": "ab", "list": [1, "x", null], "o": {"k": true},
                           "a b": 7, "no": null})";
    const char *event = "fence.enter";
    workflow_expr_use use = EXPR_VALUE;
};

std::string evaluate(const std::string &text, const Evaluation &with = {})
{
    Arena arena;
    workflow_expr *expr = nullptr;
    const char *why = nullptr;
    cel_issues issues;
    if (workflow_expr_compile(text.c_str(), with.use, &expr, &issues) != WM_OK)
        return "invalid " + std::to_string(issues.issues[0].column) + " " +
               issues.issues[0].message;
    workflow_env env = {};
    env.data = parse(arena, with.data.c_str());
    env.event_name = with.event;
    env.event_data = parse(arena, R"({"fence": "harbour"})");
    env.instance_id = "i-1";
    env.entity_id = "ship-1";
    env.in_state = in_some_state;
    const wm_json *value = workflow_expr_eval(expr, arena, &env, &why);
    workflow_expr_free(expr);
    return value == nullptr ? std::string("error ") + why : text_of(arena, value);
}

struct Case {
    const char *text, *value;
};

void expect(std::initializer_list<Case> cases)
{
    for (const Case &c : cases)
        EXPECT_EQ(evaluate(c.text), c.value) << c.text;
}

TEST(Expr, ReadsTheInstanceAndItsEvent)
{
    expect({
        {"data.s", "\"ab\""},
        {"data.o.k", "true"},
        {"data['a b']", "7"},
        {"data.list[1]", "\"x\""},
        {"event.name", "\"fence.enter\""},
        {"event.data.fence == 'harbour'", "true"},
        {"instance.id + '/' + instance.entity_id", "\"i-1/ship-1\""},
        {"has(data.n) && !has(data.zzz) && has(event.data.fence)", "true"},
        {"In('on')", "true"},
        {"In('o' + 'ff')", "false"},
        {"data.n > 1 ? 'more' : 'less'", "\"more\""},
        {"data.list.exists(x, x == 'x')", "true"},
    });
}

TEST(Expr, WithoutAnEventThereIsNone)
{
    Evaluation without;
    without.event = nullptr;
    EXPECT_EQ(evaluate("event.name", without), "error no value for 'event.name'");
    EXPECT_EQ(evaluate("event.data.fence", without), "error no value for 'event.data'");
    EXPECT_EQ(evaluate("data.n == 2 || event.name == 'x'", without), "true");
}

// JSON knows doubles only; charts compute with whole numbers all the same.
TEST(Expr, NumbersOfAllKindsMeet)
{
    expect({
        {"data.n + 1", "3"},
        {"1 - data.n", "-1"},
        {"data.n * 3u", "6"},
        {"data.n / 4", "0.5"},
        {"7 % data.n", "1"},
        {"data.n % 2 == 0", "true"},
        {"data.n % 0", "error modulus by zero"},
        {"size(data.list) * 1.5", "4.5"},
        {"size(data.s) + data.n + 1 == 5", "true"},
        {"data.list[data.n - 1]", "\"x\""},
        {"-data.n", "-2"},
        {"7 / 2", "3"},
        {"data.n + 'a'", "error no such overload: double + string"},
    });
}

TEST(Expr, ValuesBecomeJson)
{
    expect({
        {"1.5e3", "1500"},
        {"null", "null"},
        {"[1, 'a', [true]]", "[1,\"a\",[true]]"},
        {"{'a': data.o, 'b': [data.no]}", "{\"a\":{\"k\":true},\"b\":[null]}"},
        {"data.o", "{\"k\":true}"},
        {"18014398509481984", "error an integer is beyond 2^53: make it a double or a string"},
        {"1e308 * 10.0", "error a number overflows"},
        {"b'abc'", "\"YWJj\""},
        {"timestamp('2026-01-02T03:04:05Z') + duration('1s')", "\"2026-01-02T03:04:06Z\""},
        {"duration('1m')", "\"60s\""},
        {"int", "error a value that JSON does not have: a type, an optional, an address"},
        {"{1: 2}", "error a key is no string"},
        {"'a\\u0000'", "error a string holds NUL"},
    });
}

TEST(Expr, ErrorsSayWhy)
{
    expect({
        {"data.zzz", "error no such key: zzz"},
        {"data.n.x", "error no such field: x of a double"},
        {"data.list[3]", "error index out of bounds: 3"},
        {"1 / 0", "error division by zero"},
        {"data.zzz || true", "true"},
        {"data.zzz && true", "error no such key: zzz"},
    });
}

TEST(Expr, RefusesWithThePlace)
{
    expect({
        {"1 2", "invalid 3 unexpected 2, expected an operator or the end"},
        {"data.n == 1 && zzz", "invalid 16 undeclared variable 'zzz'"},
        {"event.time", "invalid 1 undeclared variable 'event'"},
        {"In(1)", "invalid 1 no overload of 'In' takes (int); there is (string)"},
    });
}

TEST(Expr, GuardsAreBools)
{
    Evaluation guard;
    guard.use = EXPR_GUARD;
    EXPECT_EQ(evaluate("data.n == 2", guard), "true");
    EXPECT_EQ(evaluate("data.o.k", guard), "true"); // known only when it is evaluated
    EXPECT_EQ(evaluate("1", guard), "invalid 1 the expression is a int, wanted is a bool");
    EXPECT_EQ(evaluate("size(data.s)", guard),
              "invalid 1 the expression is a int, wanted is a bool");
}

TEST(Expr, FindsTheStatesItNames)
{
    workflow_expr *expr = nullptr;
    cel_issues issues;
    std::string found;
    ASSERT_EQ(workflow_expr_compile("In('a') || data.l.all(x, In('b') && In(x))", EXPR_GUARD, &expr,
                                    &issues),
              WM_OK);
    workflow_expr_each_state(
        expr,
        [](void *ctx, const char *id) {
            *static_cast<std::string *>(ctx) += std::string(id) + ";";
        },
        &found);
    workflow_expr_free(expr);
    EXPECT_EQ(found, "a;b;");
}

TEST(Expr, IsBoundedInSizeWorkAndMemory)
{
    EXPECT_EQ(evaluate(std::string(2000, '(') + "1").substr(0, 7), "invalid");
    EXPECT_EQ(evaluate(std::string(2000, '!') + "true").substr(0, 7), "invalid");
    EXPECT_EQ(evaluate(std::string(5000, ' ') + "1"),
              "invalid 1 the expression is longer than 4096 bytes");
    EXPECT_EQ(evaluate("lists.range(1000).all(x, lists.range(1000).all(y, true))"),
              "error the cost limit is reached");
    Evaluation large;
    large.data = "{\"s\":\"" + std::string(100000, 'x') + "\"}";
    EXPECT_EQ(evaluate("data.s + data.s", large).size(), 200002u);
    EXPECT_EQ(evaluate("data.s + data.s + data.s", large), "error a value would be too long");
}

TEST(Value, SetsPathsWithoutChangingWhatWasThere)
{
    Arena arena;
    const wm_json *before = parse(arena, R"({"a":{"b":1,"c":2},"d":3})");
    const wm_json *after = workflow_value_set(arena, before, "a.b", workflow_value_bool(true));
    EXPECT_EQ(text_of(arena, after), R"({"a":{"b":true,"c":2},"d":3})");
    EXPECT_EQ(text_of(arena, before), R"({"a":{"b":1,"c":2},"d":3})");
    after = workflow_value_set(arena, before, "d.e.f", workflow_value_null());
    EXPECT_EQ(text_of(arena, after), R"({"a":{"b":1,"c":2},"d":{"e":{"f":null}}})");
    after = workflow_value_set(arena, before, "new", workflow_value_null());
    EXPECT_EQ(text_of(arena, after), R"({"a":{"b":1,"c":2},"d":3,"new":null})");
}

TEST(Value, ThatSharesItselfDoesNotExplode)
{
    Arena arena;
    const wm_json *value = workflow_value_string(arena, "x", 1);
    for (int i = 0; i < 40; i++) {
        workflow_builder list;
        workflow_build(&list, arena, WM_JSON_ARRAY);
        workflow_build_add(&list, nullptr, value);
        workflow_build_add(&list, nullptr, value);
        value = list.value;
    }
    EXPECT_EQ(workflow_value_text(arena, value), nullptr);
    for (int i = 0; i < 60; i++)
        value = workflow_value_set(arena, workflow_value_empty(), "in", value);
    EXPECT_EQ(workflow_value_text(arena, value), nullptr);
}

TEST(Value, StructsGoInAndOut)
{
    Arena arena;
    const wm_json *value = parse(arena, R"({"a":[1,{"b":null}],"s":"t","z":{"y":false}})");
    Google__Protobuf__Struct *made = workflow_value_to_struct(arena, value);
    const wm_json *back = nullptr;
    wm_err err;
    ASSERT_EQ(workflow_value_from_struct(arena, made, "data", &back, &err), WM_OK);
    EXPECT_TRUE(workflow_value_equal(value, back));
    EXPECT_EQ(text_of(arena, back), text_of(arena, value));
    // The last of equal keys counts, as in any map.
    std::swap(made->fields[0]->value, made->fields[1]->value);
    made->fields[0]->key = made->fields[1]->key;
    ASSERT_EQ(workflow_value_from_struct(arena, made, "data", &back, &err), WM_OK);
    EXPECT_EQ(back->len, 2u);
}

TEST(Value, StructsThatAreTooDeepAreRefused)
{
    Arena arena;
    const wm_json *value = workflow_value_empty();
    for (int i = 0; i < 40; i++)
        value = workflow_value_set(arena, workflow_value_empty(), "in", value);
    const wm_json *back = nullptr;
    wm_err err;
    EXPECT_EQ(workflow_value_from_struct(arena, workflow_value_to_struct(arena, value), "data",
                                         &back, &err),
              WM_INVALID);
    EXPECT_STREQ(err.reason, "WIRE_TOO_DEEP");
}

} // namespace
