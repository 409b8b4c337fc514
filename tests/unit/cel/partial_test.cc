// Partial evaluation: what is decided, what remains, and that the rest decides the same.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/unit/cel/random.h"
#include "tests/unit/cel/support.h"

namespace {

class CelPartial : public testing::Test {
  protected:
    // With `k`, `n` and `tags` known, `r` unknown where `unknown` says so.
    std::string partial(const std::string &text, std::vector<std::string> unknown = {"r"})
    {
        std::vector<cel_unknown> paths;
        cel_partial got;

        if (!cel_.compile(text))
            return std::string("issue: ") + cel_.issues.issues[0].message;
        for (const std::string &name : unknown) {
            wm_err err;

            paths.push_back({0, nullptr});
            EXPECT_EQ(cel_unknown_parse(cel_.env, name.c_str(), &paths.back(), &err), WM_OK);
        }
        cel_unknowns unknowns = {paths.data(), paths.size(), nullptr, 0};
        cel_vars vars = {cel_.values.data(), cel_.values.size(), nullptr, nullptr};
        got = cel_eval_partial(cel_.program, &vars, &unknowns, nullptr, &cel_.arena);
        if (got.residual) {
            std::string printed =
                Cel::take([&](wm_buf *buf) { cel_program_print(got.residual, buf); });

            cel_program_free(got.residual);
            return printed;
        }
        if (got.value.kind == CEL_ERROR)
            return std::string("error: ") + got.value.as.error->message;
        return Cel::take([&](wm_buf *buf) { cel_value_print(buf, &got.value); });
    }

    cel_value absent_ = {CEL_ABSENT, 0, {0}};
    cel_value tags_[2] = {cel_of_string("a", 1), cel_of_string("b", 1)};
    cel_list list_ = {2, tags_};
    cel_entry entries_[1] = {{cel_of_string("kind", 4), cel_of_string("truck", 5)}};
    cel_map map_ = {1, 0, entries_, nullptr, nullptr, nullptr};
    Cel cel_{{{"r", "dyn", cel_of_map(&map_)},
              {"k", "bool", cel_of_bool(true)},
              {"n", "int", cel_of_int(0)},
              {"tags", "list(string)", cel_of_list(&list_)},
              {"gone", "int", absent_}}};
};

TEST_F(CelPartial, DecidesWhatItCan)
{
    EXPECT_EQ(partial("k || r.x == 1"), "true");
    EXPECT_EQ(partial("r.x == 1 || k"), "true");
    EXPECT_EQ(partial("r.x == 1 && !k"), "false");
    EXPECT_EQ(partial("n == 0 ? k : r.x"), "true");
    EXPECT_EQ(partial("r.x == 1 && 1 / n == 1 && !k"), "false");
    EXPECT_EQ(partial("tags.exists(t, t == 'b' || t == r.tag)"), "true");
    EXPECT_EQ(partial("tags.all(t, t == 'b' && t == r.tag)"), "false");
    EXPECT_EQ(partial("size(tags) + n"), "2");
    EXPECT_EQ(partial("optional.none()[r.x].hasValue()"), "false");
    EXPECT_EQ(partial("1 / n"), "error: division by zero");
    EXPECT_EQ(partial("r.x + 1 / n == 2"), "error: division by zero");
    EXPECT_EQ(partial("gone > 1"), "error: no value for 'gone'");
    EXPECT_EQ(partial("cel.bind(x, r.x, k)"), "true");
}

TEST_F(CelPartial, KeepsWhatItCannot)
{
    EXPECT_EQ(partial("k && r.x == n + 1"), "r.x == 1");
    EXPECT_EQ(partial("r.x == 1 || !k"), "r.x == 1");
    EXPECT_EQ(partial("r.x && k"), "r.x && true");
    EXPECT_EQ(partial("!(r.x == 1)"), "!(r.x == 1)");
    EXPECT_EQ(partial("r.x == 1 && 1 / n == 1"), "r.x == 1 && 1 / 0 == 1");
    EXPECT_EQ(partial("r.x == 1 || gone == 1"), "r.x == 1 || gone == 1");
    EXPECT_EQ(partial("k ? r.x in tags : false"), "r.x in [\"a\", \"b\"]");
    EXPECT_EQ(partial("r.x ? n + 1 : n + 2"), "r.x ? 1 : 2");
    EXPECT_EQ(partial("tags.exists(t, t == r.x)"), "\"a\" == r.x || \"b\" == r.x");
    EXPECT_EQ(partial("tags.exists(t, t == r.x || t == r.y)"),
              "\"a\" == r.x || \"a\" == r.y || \"b\" == r.x || \"b\" == r.y");
    EXPECT_EQ(partial("r.l.exists(x, x == n && k)"), "r.l.exists(x, x == 0)");
    EXPECT_EQ(partial("tags.map(t, t + r.x)[n]"), "[\"a\", \"b\"].map(t, t + r.x)[0]");
    EXPECT_EQ(partial("cel.bind(x, r.x, x == n || x == 2)"), "cel.bind(x, r.x, x == 0 || x == 2)");
    EXPECT_EQ(partial("cel.bind(x, n, r.x == x)"), "r.x == 0");
    EXPECT_EQ(partial("has(r.x) && k"), "has(r.x)");
    EXPECT_EQ(partial("r.?x.orValue(n)"), "r.?x.orValue(0)");
    EXPECT_EQ(partial("r.?x[1 / n].hasValue()"), "r.?x[1 / 0].hasValue()");
    EXPECT_EQ(partial("timestamp(n) < r.t"), "timestamp(\"1970-01-01T00:00:00Z\") < r.t");
}

TEST(CelPartialNames, MayBeQualified)
{
    Cel cel({{"a.b", "map(string, int)", cel_of_null()}}, "a");
    cel_unknown path = {0, nullptr};
    cel_unknowns unknowns = {&path, 1, nullptr, 0};
    cel_vars vars = {cel.values.data(), 1, nullptr, nullptr};

    ASSERT_TRUE(cel.compile("a.b.c == 1 && .a.b['d'] == 2 && b.e == 3"));
    cel_partial got = cel_eval_partial(cel.program, &vars, &unknowns, nullptr, &cel.arena);
    ASSERT_NE(got.residual, nullptr);
    EXPECT_EQ(Cel::take([&](wm_buf *buf) { cel_program_print(got.residual, buf); }),
              "a.b.c == 1 && .a.b[\"d\"] == 2 && b.e == 3");
    cel_program_free(got.residual);
}

TEST_F(CelPartial, KnowsPartsOfAVariable)
{
    EXPECT_EQ(partial("r.kind == 'truck' && r.color == 'red'", {"r.color"}), "r.color == \"red\"");
    EXPECT_EQ(partial("r['kind'] == 'truck'", {"r.color"}), "true");
    EXPECT_EQ(partial("r.kind == 'truck'", {"r.*"}), "r.kind == \"truck\"");
    EXPECT_EQ(partial("has(r.kind) && !has(r.other)", {"r.color"}), "true");
    EXPECT_EQ(partial("has(r.color)", {"r.color.name"}), "has(r.color)");
    EXPECT_EQ(partial("r.a.owner == 'x' || r.a.other == 1", {"r.*.owner"}),
              "r.a.owner == \"x\" || r.a.other == 1");
    EXPECT_EQ(partial("size(r) == 1", {"r.color"}), "size(r) == 1");
    EXPECT_EQ(partial("r.kind == 'truck'", {"r.kind.of.it"}), "r.kind == \"truck\"");
}

cel_value always(cel_call *, const cel_value *, size_t)
{
    return cel_of_bool(true);
}

TEST_F(CelPartial, FunctionsOfTheHostWaitWhenTold)
{
    static const cel_function functions[] = {{"In", false, true, "s", "b", always}};
    static const char *const waiting[] = {"In"};
    cel_unknowns none = {}, unknowns = {nullptr, 0, waiting, 1};
    cel_vars vars = {cel_.values.data(), cel_.values.size(), nullptr, nullptr};
    cel_partial got;

    cel_env_functions(cel_.env, functions, 1);
    ASSERT_TRUE(cel_.compile("k && In('open')"));
    got = cel_eval_partial(cel_.program, &vars, &none, nullptr, &cel_.arena);
    EXPECT_EQ(got.value.kind, static_cast<uint32_t>(CEL_BOOL));
    got = cel_eval_partial(cel_.program, &vars, &unknowns, nullptr, &cel_.arena);
    ASSERT_NE(got.residual, nullptr);
    EXPECT_EQ(Cel::take([&](wm_buf *buf) { cel_program_print(got.residual, buf); }),
              "In(\"open\")");
    cel_program_free(got.residual);
}

TEST_F(CelPartial, EndsWithinItsLimits)
{
    std::string text = "cel.bind(a, [1], ", close;
    cel_unknown path = {0, nullptr};
    cel_unknowns unknowns = {&path, 1, nullptr, 0};
    cel_vars vars = {cel_.values.data(), cel_.values.size(), nullptr, nullptr};

    for (int i = 0; i < 60; i++) {
        text += "cel.bind(a, [a, a], ";
        close += ")";
    }
    ASSERT_TRUE(cel_.compile(text + "a == r)" + close));
    cel_partial got = cel_eval_partial(cel_.program, &vars, &unknowns, nullptr, &cel_.arena);
    ASSERT_EQ(got.value.kind, static_cast<uint32_t>(CEL_ERROR));
    EXPECT_GE(got.value.as.error->code, CEL_ERROR_COST);

    ASSERT_TRUE(cel_.compile("lists.range(60).all(a, lists.range(60).all(b, lists.range(60).all(c, "
                             "lists.range(60).all(d, a + b + c + d == r))))"));
    got = cel_eval_partial(cel_.program, &vars, &unknowns, nullptr, &cel_.arena);
    EXPECT_TRUE(got.residual || got.value.kind == CEL_ERROR);
    cel_program_free(got.residual);
}

// Two results are the same: both errors, or equal as they print.
std::string outcome(const cel_value &value)
{
    if (value.kind == CEL_ERROR)
        return value.as.error->code >= CEL_ERROR_COST ? "limit" : "error";
    return Cel::take([&](wm_buf *buf) { cel_value_print(buf, &value); });
}

class Comparison {
  public:
    explicit Comparison(uint64_t seed) : random_(seed), cel_({{"k", "dyn", {}}, {"r", "dyn", {}}})
    {
        cel_.options.unchecked = true;
    }

    // The text and values of an expression where the two ways differ; empty when they agree.
    std::string run()
    {
        static const char *const unknown[] = {"", "", "", "s", "l", "*", "m.s"};
        std::string text = random_.condition(4);
        cel_unknown path = {1, unknown[random_.below(7)]};
        cel_unknowns unknowns = {&path, 1, nullptr, 0};

        wm_arena_reset(&cel_.arena);
        if (!cel_.compile(text))
            return "";
        cel_.values[0] = random_.members(&cel_.arena);
        cel_.values[1] = random_.members(&cel_.arena);
        cel_vars vars = {cel_.values.data(), 2, nullptr, nullptr};
        cel_partial got = cel_eval_partial(cel_.program, &vars, &unknowns, nullptr, &cel_.arena);
        std::string wrong = decided(text, path, got);
        cel_program_free(got.residual);
        return wrong;
    }

    size_t residuals = 0, values = 0;

  private:
    std::string decided(const std::string &text, const cel_unknown &path, const cel_partial &got)
    {
        for (int i = 0; i < 6; i++) {
            cel_value only[2] = {{CEL_ABSENT, 0, {0}}, cel_.values[1]};
            cel_vars rest = {only, 2, nullptr, nullptr};
            cel_value all = cel_.eval(), part = got.value;
            std::string again;

            if (got.residual) {
                part = cel_eval(got.residual, &rest, nullptr, &cel_.arena);
                again = reparsed(got.residual, &rest);
                residuals++;
            } else {
                again = outcome(part);
                values++;
            }
            if (outcome(all) != outcome(part) || outcome(all) != again)
                return "\n" + text + "\nk = " + outcome(cel_.values[0]) +
                       "\nr = " + outcome(cel_.values[1]) + "\nunknown r." + path.path + "\n" +
                       (got.residual
                            ? Cel::take([&](wm_buf *buf) { cel_program_print(got.residual, buf); })
                            : "") +
                       "\n" + outcome(all) + " " + outcome(part) + " " + again;
            /* What of `r` was known must stay as it was. */
            if (*path.path)
                break;
            cel_.values[1] = random_.members(&cel_.arena);
        }
        return "";
    }

    // What the printed residual gives when it is compiled again.
    std::string reparsed(const cel_program *residual, const cel_vars *vars)
    {
        std::string text = Cel::take([&](wm_buf *buf) { cel_program_print(residual, buf); });
        cel_options options = {};
        cel_program *program;
        cel_issues issues;

        options.unchecked = true;
        if (cel_compile(cel_.env, text.data(), text.size(), &options, &program, &issues) != WM_OK)
            return std::string("issue: ") + issues.issues[0].message;
        std::string got = outcome(cel_eval(program, vars, nullptr, &cel_.arena));
        cel_program_free(program);
        return got;
    }

    CelRandom random_;
    Cel cel_;
};

// WAYMARK_CEL_ROUNDS=1000000 for a longer run.
TEST(CelPartialRandom, TheRestDecidesTheSame)
{
    const char *rounds = getenv("WAYMARK_CEL_ROUNDS");
    Comparison comparison(20261124);

    for (long i = rounds ? atol(rounds) : 20000; i > 0; i--)
        ASSERT_EQ(comparison.run(), "");
    EXPECT_GT(comparison.residuals, 1000u);
    EXPECT_GT(comparison.values, 1000u);
}

} // namespace
