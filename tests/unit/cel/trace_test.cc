// The value of every part of an expression.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/cel/support.h"

namespace {

std::string shown(const cel_value &value)
{
    if (value.kind == CEL_ABSENT)
        return "not evaluated";
    return Cel::take([&](wm_buf *buf) { cel_value_print(buf, &value); });
}

// A line for each part: "  text = value (times)".
std::string traced(Cel &cel, const std::string &text)
{
    cel_vars vars = {cel.values.data(), cel.values.size(), nullptr, nullptr};
    std::string lines;

    EXPECT_TRUE(cel.compile(text));
    cel_trace trace = cel_eval_trace(cel.program, &vars, nullptr, &cel.arena);
    for (size_t i = 0; i < trace.n; i++) {
        const cel_step &step = trace.steps[i];

        lines += std::string(step.depth * 2, ' ') + step.text + " = " + shown(step.value) +
                 (step.times > 1 ? " (" + std::to_string(step.times) + ")" : "") + "\n";
    }
    EXPECT_EQ(trace.n > 0 ? shown(trace.steps[0].value) : "", shown(trace.value));
    return lines;
}

TEST(CelTrace, TellsWhatEachPartWas)
{
    Cel cel({{"x", "int", cel_of_int(5)}, {"y", "string", cel_of_string("b", 1)}});

    EXPECT_EQ(traced(cel, "x > 3 && y == 'a' && x < 9"), "x > 3 && y == \"a\" && x < 9 = false\n"
                                                         "  x > 3 = true\n"
                                                         "    x = 5\n"
                                                         "  y == \"a\" = false\n"
                                                         "    y = \"b\"\n"
                                                         "  x < 9 = not evaluated\n"
                                                         "    x = not evaluated\n");
    EXPECT_EQ(traced(cel, "x / 0 == 1 || 2 * 3 == x"),
              "x / 0 == 1 || 2 * 3 == x = error(division by zero)\n"
              "  x / 0 == 1 = error(division by zero)\n"
              "    x / 0 = error(division by zero)\n"
              "      x = 5\n"
              "  2 * 3 == x = false\n"
              "    2 * 3 = 6\n"
              "    x = 5\n");
    EXPECT_EQ(traced(cel, "[1, 5, 7].exists(i, i == x)"), "[1, 5, 7].exists(i, i == x) = true\n"
                                                          "  [1, 5, 7] = [1, 5, 7]\n"
                                                          "  i == x = true (2)\n"
                                                          "    i = 5 (2)\n"
                                                          "    x = 5 (2)\n");
}

TEST(CelTrace, GivesWhatEvaluationGives)
{
    const char *texts[] = {"x + 1",
                           "string(x).matches('^5$')",
                           "timestamp(x).getHours('Europe/Paris')",
                           "cel.bind(a, [x, x], a.map(v, v * 2).sort())",
                           "{'a': x}.?b.orValue(x)",
                           "1 / (x - 5)",
                           "x in [1, 2, 5]"};

    for (const char *text : texts) {
        Cel cel({{"x", "int", cel_of_int(5)}});
        cel_vars vars = {cel.values.data(), cel.values.size(), nullptr, nullptr};

        ASSERT_TRUE(cel.compile(text)) << text;
        cel_value value = cel.eval();
        EXPECT_EQ(shown(cel_eval_trace(cel.program, &vars, nullptr, &cel.arena).value),
                  shown(value))
            << text;
    }
}

TEST(CelTrace, IsBounded)
{
    std::string text = "x == '" + std::string(300, 'a') + "\xc3\xa9" + "'";
    Cel cel({{"x", "dyn", cel_of_int(5)}});
    cel_vars vars = {cel.values.data(), cel.values.size(), nullptr, nullptr};

    for (int i = 0; i < 3000; i++)
        text += " || x == " + std::to_string(i + 6);
    ASSERT_TRUE(cel.compile(text));
    cel_trace trace = cel_eval_trace(cel.program, &vars, nullptr, &cel.arena);
    EXPECT_EQ(trace.n, static_cast<size_t>(CEL_STEPS_SHOWN_MAX));
    EXPECT_EQ(trace.n + trace.dropped, 6003u);
    for (size_t i = 0; i < trace.n; i++)
        EXPECT_LE(strlen(trace.steps[i].text), CEL_STEP_TEXT_MAX + 3u);
}

} // namespace
