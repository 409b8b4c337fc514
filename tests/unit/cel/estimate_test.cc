// What an expression will cost, without evaluating it.
#include <gtest/gtest.h>

#include "tests/unit/cel/random.h"
#include "tests/unit/cel/support.h"

namespace {

class CelCost : public testing::Test {
  protected:
    // "min..max".
    std::string cost(const std::string &text, std::vector<cel_size_hint> hints = {})
    {
        if (!cel_.compile(text))
            return cel_.issues.issues[0].message;
        cel_cost got = cel_program_cost(cel_.program, hints.data(), hints.size(), 0);
        return std::to_string(got.min) + ".." +
               (got.max == UINT64_MAX ? "" : std::to_string(got.max));
    }

    Cel cel_{{{"x", "int", cel_of_int(5)},
              {"r", "dyn", cel_of_null()},
              {"tags", "list(string)", cel_of_null()}}};
};

TEST_F(CelCost, IsKnownFromTheExpression)
{
    EXPECT_EQ(cost("1 + 2"), "0..0");
    EXPECT_EQ(cost("x > 3"), "2..2");
    EXPECT_EQ(cost("x > 3 && x < 9"), "3..5");
    EXPECT_EQ(cost("x > 3 ? x + 1 : 0"), "3..7");
    EXPECT_EQ(cost("[1, 2, 3].exists(i, i == x)"), "0..92");
}

TEST_F(CelCost, GrowsWithTheSizes)
{
    EXPECT_EQ(cost("tags.all(t, t != 'a')", {{2, "", 10}}), "1..299");
    EXPECT_EQ(cost("tags.all(t, t != 'a')", {{2, nullptr, 1000000}}), "1..29000009");
    EXPECT_EQ(cost("r.tags.all(t, t != 'a')", {{0, "tags", 10}, {1, "tags", 10}}), "2..551");
    EXPECT_EQ(cost("r.tags.all(t, t != 'a')", {{1, "", 8}, {1, "tags", 10}}), "2..303");
    EXPECT_EQ(cost("'a' in r.tags", {{1, "tags", 3}}).substr(0, 3), "3..");
    EXPECT_EQ(cost("lists.range(x).map(i, lists.range(x).map(j, lists.range(x))).size() > 0"),
              "4..5088005097005077");
}

TEST_F(CelCost, TakesNotLongForWhatNests)
{
    std::string nested = "x", lists = "x";

    for (int i = 0; i < 60; i++) {
        nested = "(" + nested + " > 0 || x > 1 ? 1 : 2)";
        lists = "[" + lists + ", 1]";
    }
    EXPECT_EQ(cost(nested).substr(0, 3), "181");
    EXPECT_EQ(cost("size(" + lists + ")").substr(0, 3), "62.");
}

// What an evaluation spends lies between, where nothing is an error.
TEST(CelCostRandom, HoldsWhatIsSpent)
{
    CelRandom random(20261126);
    Cel cel({{"k", "dyn", {}}, {"r", "dyn", {}}});
    int compared = 0, strict = 0;

    cel.options.unchecked = true;
    for (int i = 0; i < 8000; i++) {
        std::string text = random.condition(4);
        bool wrong = false;

        wm_arena_reset(&cel.arena);
        if (!cel.compile(text))
            continue;
        cel.values[0] = random.members(&cel.arena);
        cel.values[1] = random.members(&cel.arena);
        cel_vars vars = {cel.values.data(), 2, nullptr, nullptr};
        uint64_t spent = 0;
        cel_trace trace = cel_eval_trace(cel.program, &vars, &spent, &cel.arena);
        for (size_t s = 0; s < trace.n; s++)
            wrong |= trace.steps[s].value.kind == CEL_ERROR;
        if (wrong || trace.dropped)
            continue;
        // What || and its like absorbed does not show, but has cost its message.
        uint64_t slack = 0;
        for (const char *absorbs : {"||", "&&", ".all(", ".exists("})
            slack += text.find(absorbs) != std::string::npos ? 100 : 0;
        strict += slack == 0;
        cel_cost cost = cel_program_cost(cel.program, nullptr, 0, 6);
        ASSERT_LE(cost.min, spent) << text;
        ASSERT_GE(cost.max + slack, spent) << text;
        compared++;
    }
    EXPECT_GT(compared, 1000);
    EXPECT_GT(strict, 500);
}

} // namespace
