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

std::string evaluate(const std::string &text)
{
    Arena arena;
    const workflow_expr *expr = nullptr;
    const char *why = nullptr;
    wm_err err;
    if (workflow_expr_compile(arena, text.c_str(), &expr, &err) != WM_OK)
        return std::string("invalid ") + err.message;
    workflow_env env = {};
    env.data = parse(arena, R"({"n": 2, "s": "ab", "list": [1, "x", null], "o": {"k": true},
                                "a b": 7, "no": null})");
    env.event_name = "fence.enter";
    env.event_data = parse(arena, R"({"fence": "harbour"})");
    env.instance_id = "i-1";
    env.entity_id = "ship-1";
    env.in_state = in_some_state;
    const wm_json *value = workflow_expr_eval(expr, arena, &env, &why);
    return value == nullptr ? std::string("error ") + why : text_of(arena, value);
}

struct Case {
    const char *text, *value;
};

TEST(Expr, Values)
{
    static const Case cases[] = {
        {"1", "1"},
        {"1.5e3", "1500"},
        {"-data.n", "-2"},
        {"'a' + \"b\"", "\"ab\""},
        {"'it\\'s \\u00e9\\n'", "\"it's \303\251\\n\""},
        {"true", "true"},
        {"null", "null"},
        {"[1, 'a', [true]]", "[1,\"a\",[true]]"},
        {"[]", "[]"},
        {"[1] + [2]", "[1,2]"},
        {"1 + 2 * 3 - 4 / 2", "5"},
        {"(1 + 2) * 3", "9"},
        {"7 % 4", "3"},
        {"10 - 4 - 3", "3"},
        {"data.s", "\"ab\""},
        {"data.o.k", "true"},
        {"data['a b']", "7"},
        {"data.list[1]", "\"x\""},
        {"event.name", "\"fence.enter\""},
        {"event.data.fence == 'harbour'", "true"},
        {"instance.id + '/' + instance.entity_id", "\"i-1/ship-1\""},
        {"size(data.s) + size(data.list) + size('\303\251')", "6"},
        {"has(data.n)", "true"},
        {"has(data.zzz)", "false"},
        {"in_state('on')", "true"},
        {"in_state('off')", "false"},
        {"data.n > 1 ? 'more' : 'less'", "\"more\""},
        {"false ? 1 : true ? 2 : 3", "2"},
    };
    for (const Case &c : cases)
        EXPECT_EQ(evaluate(c.text), c.value) << c.text;
}

TEST(Expr, ComparesAsCelDoes)
{
    static const Case cases[] = {
        {"1 == 1.0", "true"},
        {"1 == '1'", "false"},
        {"null == data.no", "true"},
        {"[1, 2] == [1, 2]", "true"},
        {"data.o != data.list", "true"},
        {"2 <= 2 && 2 >= 2 && 1 < 2 && !(1 > 2)", "true"},
        {"'a' < 'b'", "true"},
        {"1 < 'b'", "error < <= > >= take two numbers or two strings"},
        {"'x' in data.list", "true"},
        {"3 in data.list", "false"},
        {"'k' in data.o", "true"},
        {"1 in 2", "error in takes a list or an object on its right"},
    };
    for (const Case &c : cases)
        EXPECT_EQ(evaluate(c.text), c.value) << c.text;
}

TEST(Expr, LogicSwallowsErrorsThatDoNotMatter)
{
    static const Case cases[] = {
        {"data.zzz || true", "true"},
        {"true || data.zzz", "true"},
        {"data.zzz && false", "false"},
        {"data.zzz || false", "error no member zzz"},
        {"data.zzz && true", "error no member zzz"},
        {"1 || true", "true"},
        {"1 || false", "error && and || take booleans"},
    };
    for (const Case &c : cases)
        EXPECT_EQ(evaluate(c.text), c.value) << c.text;
}

TEST(Expr, ErrorsSayWhy)
{
    static const Case cases[] = {
        {"data.zzz", "error no member zzz"},
        {"data.n.x", "error no member x in what is no object"},
        {"data.list[3]", "error no such element"},
        {"data.list[0.5]", "error no such element"},
        {"1 / 0", "error division by zero"},
        {"1e308 * 10", "error a number overflows"},
        {"1 + 'a'", "error + takes two numbers, two strings or two lists"},
        {"!1", "error ! takes a boolean"},
        {"1 ? 2 : 3", "error ? takes a boolean"},
    };
    for (const Case &c : cases)
        EXPECT_EQ(evaluate(c.text), c.value) << c.text;
}

TEST(Expr, RefusesWithThePlace)
{
    static const Case cases[] = {
        {"", "invalid at character 1: the expression ends too early"},
        {"1 +", "invalid at character 4: the expression ends too early"},
        {"1 2", "invalid at character 3: expected an operator or the end"},
        {"(1", "invalid at character 3: expected )"},
        {"'abc", "invalid at character 5: a string without its end"},
        {"'\\q'", "invalid at character 3: an escape that is not known"},
        {"'\\u0000'", "invalid at character 3: an escape that is not known"},
        {"1x", "invalid at character 1: a number that cannot be read"},
        {"data.", "invalid at character 6: expected a name after ."},
        {"a == 1",
         "invalid at character 1: a name that is not known (data, event, instance, has, size, "
         "in_state)"},
        {"event == 1", "invalid at character 11: event and instance are read by their members"},
        {"event.time", "invalid at character 11: known are event.name, event.data, instance.id and "
                       "instance.entity_id"},
        {"has(1)", "invalid at character 7: has() takes a path such as data.a"},
        {"in_state(data.s)", "invalid at character 17: in_state() takes a string"},
        {"data.n = 1", "invalid at character 8: expected an operator or the end"},
    };
    for (const Case &c : cases)
        EXPECT_EQ(evaluate(c.text), c.value) << c.text;
}

TEST(Expr, IsBoundedInDepthAndSize)
{
    EXPECT_EQ(evaluate(std::string(2000, '(') + "1").substr(0, 7), "invalid");
    EXPECT_EQ(evaluate(std::string(2000, '!') + "true").substr(0, 7), "invalid");
    EXPECT_EQ(evaluate(std::string(2000, '[')).substr(0, 7), "invalid");
    EXPECT_EQ(evaluate(std::string(5000, ' ') + "1"), "invalid longer than 4096 bytes");
    std::string sum = "1";
    for (int i = 0; i < 400; i++)
        sum += "+1";
    EXPECT_EQ(evaluate(sum), "401");
    std::string doubled = "'" + std::string(3000, 'x') + "'";
    EXPECT_EQ(evaluate(doubled).size(), 3002u);
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
