// Conditions as WHERE fragments: what becomes SQL, what stays, and the limits.
// That they admit the right rows is shown by tests/integration/cel on a real PostgreSQL.
#include <gtest/gtest.h>

#include "server/cel/sql.h"
#include "tests/unit/cel/support.h"

namespace {

class CelSql : public testing::Test {
  protected:
    CelSql()
    {
        cel_.options.unchecked = true;
    }

    // "WHERE | parameters | residual", without what is empty.
    std::string sql(const std::string &text, size_t first = 1)
    {
        static const cel_sql_column columns[] = {
            {0, "owner", "t.owner", CEL_SQL_TEXT, CEL_SQL_NULL_MISSING},
            {0, "kind", "t.kind", CEL_SQL_TEXT, CEL_SQL_NOT_NULL},
            {0, "nick", "t.nick", CEL_SQL_TEXT, CEL_SQL_NULL_NULL},
            {0, "total", "t.total", CEL_SQL_INT, CEL_SQL_NOT_NULL},
            {0, "score", "t.score", CEL_SQL_FLOAT, CEL_SQL_NOT_NULL},
            {0, "tags", "t.tags", CEL_SQL_TEXTS, CEL_SQL_NOT_NULL},
            {0, "seen", "t.seen", CEL_SQL_TIME, CEL_SQL_NOT_NULL},
            {0, "attributes", "t.attributes", CEL_SQL_JSON, CEL_SQL_NOT_NULL},
        };
        std::string result;
        wm_err err;

        if (!cel_.compile(text))
            return cel_.issues.issues[0].message;
        if (cel_sql_make(cel_.program, columns, WM_ARRAY_LEN(columns), first, &cel_.arena, &made_,
                         &err) != WM_OK)
            return err.message;
        result = made_.where;
        for (size_t i = 0; i < made_.n_params; i++)
            result += std::string(i == 0 ? " | " : ", ") + made_.params[i];
        if (made_.residual)
            result +=
                " | " + Cel::take([&](wm_buf *buf) { cel_program_print(made_.residual, buf); });
        cel_program_free(made_.residual);
        return result;
    }

    cel_sql made_;
    Cel cel_{{{"r", "dyn", cel_of_null()}}};
};

TEST_F(CelSql, Translates)
{
    EXPECT_EQ(sql("r.owner == 'ann'"), "((t.owner) = $1::text) | ann");
    EXPECT_EQ(sql("r.owner == 'ann'", 7), "((t.owner) = $7::text) | ann");
    EXPECT_EQ(sql("r.total >= 3"), "((t.total) >= $1::text::int8) | 3");
    EXPECT_EQ(sql("r.total > 2.5"), "((t.total)::float8 > $1::text::float8) | 2.5");
    EXPECT_EQ(sql("r.score < 1"), "((t.score) < $1::text::float8 AND (t.score) <> 'NaN') | 1");
    EXPECT_EQ(sql("r.kind < 'm'"), "((t.kind) COLLATE \"C\" < $1::text) | m");
    EXPECT_EQ(sql("r.nick == null"), "(t.nick) IS NULL");
    EXPECT_EQ(sql("r.owner in ['a', 'b\"']"),
              "(t.owner) = ANY($1::text::text[]) | {\"a\",\"b\\\"\"}");
    EXPECT_EQ(sql("'vip' in r.tags"), "((t.tags) @> ARRAY[$1::text]) | vip");
    EXPECT_EQ(sql("r.owner == r.kind"), "((t.owner) = (t.kind) COLLATE \"C\")");
    EXPECT_EQ(sql("r.kind in r.tags"), "((t.tags) @> ARRAY[(t.kind) COLLATE \"C\"])");
    EXPECT_EQ(sql("r.kind.endsWith(r.owner)"),
              "(right((t.kind), char_length((t.owner))) = (t.owner) COLLATE \"C\")");
    EXPECT_EQ(sql("r.kind.startsWith('a')"), "starts_with((t.kind) COLLATE \"C\", $1::text) | a");
    EXPECT_EQ(sql("has(r.owner) && has(r.attributes.x)"),
              "((t.owner) IS NOT NULL AND ((t.attributes) -> $1::text) IS NOT NULL) | x");
    EXPECT_EQ(sql("!(r.owner == 'a') || r.attributes.on"),
              "(((t.owner) IS NOT NULL AND (((t.owner) = $1::text)) IS NOT TRUE) OR "
              "((t.attributes) -> $2::text) = 'true'::jsonb) | a, on");
    EXPECT_EQ(sql("r.seen < timestamp('2026-01-01T00:00:00.0000005Z')"),
              "((t.seen) <= $1::text::timestamptz) | 2026-01-01T00:00:00Z");
}

// A row's 9007199254740992 is no such key, but it is equal to the element of a list.
TEST_F(CelSql, FindsKeysOfMapsThatDoublesCanBe)
{
    EXPECT_EQ(sql("r.score in {9007199254740993: true, 2: true, 18446744073709551615u: true}"),
              "(t.score) = ANY($1::text::float8[]) | {2}");
    EXPECT_EQ(sql("r.score in {9007199254740993: true}"), "FALSE");
    EXPECT_EQ(sql("r.score in [9007199254740993]"),
              "(t.score) = ANY($1::text::float8[]) | {9007199254740993}");
    EXPECT_EQ(sql("r.total in {9007199254740993: true}"),
              "(t.total) = ANY($1::text::int8[]) | {9007199254740993}");
}

TEST_F(CelSql, KnowsWhatCanNeverBe)
{
    EXPECT_EQ(sql("r.kind == 1"), "FALSE");
    EXPECT_EQ(sql("r.kind < 1 || r.total == 1"), "((t.total) = $1::text::int8) | 1");
    EXPECT_EQ(sql("r.kind != 1"), "TRUE");
    EXPECT_EQ(sql("r.total && r.kind == 'a'"), "FALSE");
    EXPECT_EQ(sql("r.kind in []"), "FALSE");
}

TEST_F(CelSql, LeavesTheRestToTheRows)
{
    EXPECT_EQ(sql("r.kind == 'a' && r.total + 1 > 3"),
              "((t.kind) = $1::text) | a | r.total + 1 > 3");
    EXPECT_EQ(sql("r.kind.matches('a') || r.total == 1"),
              "TRUE | r.kind.matches(\"a\") || r.total == 1");
    EXPECT_EQ(sql("(r.kind.matches('a') && r.total == 1) || r.total == 2"),
              "(((t.total) = $1::text::int8) OR ((t.total) = $2::text::int8)) | 1, 2 | "
              "r.kind.matches(\"a\") && r.total == 1 || r.total == 2");
    EXPECT_EQ(sql("!(r.kind.matches('a') || r.total == 1)"),
              "(((t.total) = $1::text::int8)) IS NOT TRUE | 1 | "
              "!(r.kind.matches(\"a\") || r.total == 1)");
    EXPECT_EQ(sql("r.missing == 1 && r.kind == 'a'"), "((t.kind) = $1::text) | a | r.missing == 1");
    EXPECT_EQ(sql("r.kind < 'a\\x00'"), "TRUE | r.kind < \"a\\x00\"");
}

TEST_F(CelSql, KeepsItsLimits)
{
    std::string wide = "r.kind == 'a'";

    for (int i = 0; i < 1500; i++)
        wide += " || r.kind == 'b" + std::to_string(i) + "'";
    EXPECT_EQ(sql("r.total == 3 && (" + wide + ")").substr(0, 40),
              "((t.total) = $1::text::int8) | 3 | r.kin");
    EXPECT_LE(made_.n_params, static_cast<size_t>(CEL_SQL_PARAMS_MAX));
}

// The conditions of docs/cel.md, with the principal that it names.
TEST(CelLists, AreWhatTheDocsSay)
{
    static const cel_sql_column columns[] = {
        {1, "owner", "owner", CEL_SQL_TEXT, CEL_SQL_NOT_NULL},
        {1, "team", "team", CEL_SQL_TEXT, CEL_SQL_NOT_NULL},
        {1, "kind", "kind", CEL_SQL_TEXT, CEL_SQL_NOT_NULL},
        {1, "name", "name", CEL_SQL_TEXT, CEL_SQL_NOT_NULL},
        {1, "attributes", "attributes", CEL_SQL_JSON, CEL_SQL_NOT_NULL},
    };
    static const struct {
        const char *condition, *where, *residual;
    } cases[] = {
        {"resource.owner == principal.id || principal.admin", "((owner) = $1::text)", ""},
        {"principal.groups.exists(g, g == resource.team)",
         "(($1::text = (team)) OR ($2::text = (team)))", ""},
        {"resource.kind == 'truck' && resource.name.matches('^T')", "((kind) = $1::text)",
         "resource.name.matches(\"^T\")"},
    };
    cel_value groups[2] = {cel_of_string("red", 3), cel_of_string("blue", 4)};
    cel_list list = {2, groups};
    cel_entry entries[3] = {{cel_of_string("id", 2), cel_of_string("ann", 3)},
                            {cel_of_string("admin", 5), cel_of_bool(false)},
                            {cel_of_string("groups", 6), cel_of_list(&list)}};
    cel_map principal = {3, 0, entries, nullptr, nullptr, nullptr};
    Cel cel({{"principal", "dyn", cel_of_map(&principal)}, {"resource", "dyn", cel_of_null()}});
    cel_unknown path = {1, nullptr};
    cel_unknowns unknowns = {&path, 1, nullptr, 0};
    cel_vars vars = {cel.values.data(), 2, nullptr, nullptr};

    for (const auto &each : cases) {
        cel_sql sql;
        wm_err err;

        ASSERT_TRUE(cel.compile(each.condition));
        cel_partial rest = cel_eval_partial(cel.program, &vars, &unknowns, nullptr, &cel.arena);
        ASSERT_NE(rest.residual, nullptr);
        ASSERT_EQ(
            cel_sql_make(rest.residual, columns, WM_ARRAY_LEN(columns), 1, &cel.arena, &sql, &err),
            WM_OK);
        EXPECT_STREQ(sql.where, each.where);
        EXPECT_EQ(sql.residual
                      ? Cel::take([&](wm_buf *buf) { cel_program_print(sql.residual, buf); })
                      : "",
                  each.residual);
        cel_program_free(sql.residual);
        cel_program_free(rest.residual);
    }
    entries[1].value = cel_of_bool(true);
    ASSERT_TRUE(cel.compile(cases[0].condition));
    cel_partial admin = cel_eval_partial(cel.program, &vars, &unknowns, nullptr, &cel.arena);
    EXPECT_TRUE(admin.value.kind == CEL_BOOL && admin.value.as.boolean);
}

} // namespace
