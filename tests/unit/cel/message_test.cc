// Views of protobuf-c messages: fields by name, the well-known types as what they mean.
#include <gtest/gtest.h>

#include <cstring>

#include "sample.pb-c.h"
#include "tests/unit/cel/support.h"

namespace {

class CelMessage : public ::testing::Test {
  protected:
    // Reads a Sample from its JSON and evaluates over it.
    std::string over(const char *json_text, const std::string &expression)
    {
        Cel cel({{"m", "dyn", cel_of_null()}});
        ProtobufCMessage *message;
        wm_json *json;
        wm_err err;

        if (wm_json_parse(&cel.arena, json_text, strlen(json_text), &json, &err) != WM_OK ||
            wm_json_to_message(&cel.arena, json, &waymark__sample__v1__sample__descriptor, &message,
                               &err) != WM_OK)
            return std::string("bad message: ") + err.message;
        cel.values[0] = cel_message_view(&cel.arena, message);
        return cel.run(expression);
    }
};

TEST_F(CelMessage, HasItsFields)
{
    const char *json = R"({"int32Field": -5, "uint64Field": "18446744073709551615", "text": "hé",
        "doubleField": 0.5, "boolField": true, "color": "COLOR_BLUE", "raw": "aGk=",
        "inner": {"name": "ann", "number": 3}, "numbers": [1, 2, 3], "texts": ["a", "b"],
        "inners": [{"name": "x"}, {"name": "y"}], "stringLabels": {"k": "v"},
        "byNumber": {"4": {"name": "four"}}, "byFlag": {"true": "9"}, "choiceNumber": 6})";
    const std::pair<const char *, const char *> cases[] = {
        {"m.int32_field", "-5"},
        {"m.uint64_field", "18446744073709551615u"},
        {"m.text", "\"h\xc3\xa9\""},
        {"m.double_field", "0.5"},
        {"m.bool_field", "true"},
        {"m.color", "7"},
        {"m.raw", "b\"hi\""},
        {"m.inner.name + string(m.inner.number)", "\"ann3\""},
        {"m.numbers.map(x, x * 2)", "[2, 4, 6]"},
        {"m.texts", "[\"a\", \"b\"]"},
        {"m.inners.exists(i, i.name == 'y')", "true"},
        {"m.int64_field", "0"},
        {"has(m.deeper)", "false"},
        {"has(m.inner) && !has(m.nothing)", "true"},
        {"m.deeper", "error: no such key: deeper"},
        {"m.exists(k, v, k == 'text' && v == 'hé')", "true"},
        {"m.string_labels.k + m.by_number[4].name", "\"vfour\""},
        {"m.by_flag", "{true: 9}"},
        {"m.choice_number == 6 && !has(m.choice_text)", "true"},
        {"m == m", "true"},
    };

    for (const auto &[expression, want] : cases)
        EXPECT_EQ(over(json, expression), want) << expression;
}

TEST_F(CelMessage, ReadsTheWellKnownTypes)
{
    const char *json = R"({"payload": {"a": 1, "b": ["x", null, true], "c": {"d": "e"}},
        "value": {"n": 2}, "list": [1, "a"], "atTime": "2026-01-02T03:04:05.500Z", "waitTime": "1.500s",
        "stringValue": "w", "int64Value": "5", "boolValue": false})";
    const std::pair<const char *, const char *> cases[] = {
        {"m.payload.a", "1.0"},
        {"m.payload.b", "[\"x\", null, true]"},
        {"m.payload.c.d == 'e' && !has(m.payload.z)", "true"},
        {"m.payload.map(k, k).sort()", "[\"a\", \"b\", \"c\"]"},
        {"size(m.payload)", "3"},
        {"m.payload == {'a': 1, 'b': ['x', null, true], 'c': {'d': 'e'}}", "true"},
        {"m.value.n", "2.0"},
        {"m.at_time", "timestamp(\"2026-01-02T03:04:05.5Z\")"},
        {"m.wait_time", "duration(\"1.5s\")"},
        {"m.list", "[1.0, \"a\"]"},
        {"m.string_value + string(m.int64_value)", "\"w5\""},
        {"m.bool_value", "false"},
        {"has(m.double_value)", "false"},
        {"m.payload.z", "error: no such key: z"},
    };

    for (const auto &[expression, want] : cases)
        EXPECT_EQ(over(json, expression), want) << expression;
}

} // namespace
