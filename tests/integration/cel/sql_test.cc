// Conditions as WHERE fragments admit the rows that CEL admits, no more and no fewer.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/integration/cel/policies.h"
#include "tests/integration/cel/rows.h"
#include "tests/support/postgres.h"

namespace {

// With a hole, and borders on which rows lie.
const char area[] = "{\"type\":\"Polygon\",\"coordinates\":[[[-5,-5],[5,-5],[5,5],[-5,5],[-5,-5]],"
                    "[[0,0],[2.5,0],[2.5,2.5],[0,2.5],[0,0]]]}";

std::string printed(const cel_program *program)
{
    wm_buf buf;

    wm_buf_init(&buf, 1 << 20);
    cel_program_print(program, &buf);
    std::string text(buf.data, buf.size);
    wm_buf_free(&buf);
    return text;
}

class CelSql : public testing::Test {
  protected:
    static void SetUpTestSuite()
    {
        postgres = new waymark_test::TestPostgres(false);
        table = new Table(postgres->conninfo());
        table->fill(random(), 300);
    }
    static void TearDownTestSuite()
    {
        delete table;
        delete postgres;
    }

    static std::mt19937_64 &random()
    {
        static std::mt19937_64 it(20261124);

        return it;
    }

    CelSql()
    {
        wm_err err;

        wm_arena_init(&arena_, 0);
        env_ = cel_env_new(nullptr);
        EXPECT_EQ(cel_env_add(env_, "k", "dyn", &err), WM_OK);
        EXPECT_EQ(cel_env_add(env_, "r", "dyn", &err), WM_OK);
        names_[0] = cel_of_string("a", 1);
        names_[1] = cel_of_string("b", 1);
        known_[0] = {cel_of_string("name", 4), names_[0]};
        known_[1] = {cel_of_string("names", 5), cel_list_value(&arena_, names_, 2)};
        known_[2] = {cel_of_string("n", 1), cel_of_int(2)};
        known_[3] = {cel_of_string("now", 3), cel_of_timestamp(1780315200, 0)};
        known_[4] = {cel_of_string("zero", 4), cel_of_int(0)};
        known_[5] = {cel_of_string("area", 4), cel_of_string(area, strlen(area))};
        k_ = cel_map_value(&arena_, known_, 6);
    }
    ~CelSql() override
    {
        cel_env_free(env_);
        wm_arena_free(&arena_);
    }

    static bool admits(const cel_program *program, const cel_value &k, const cel_value &row)
    {
        cel_value values[2] = {k, row};
        cel_vars vars = {values, 2, nullptr, nullptr};
        wm_arena arena;

        wm_arena_init(&arena, 0);
        cel_value value = cel_eval(program, &vars, nullptr, &arena);
        bool is = value.kind == CEL_BOOL && value.as.boolean;
        wm_arena_free(&arena);
        return is;
    }

    // Says where the two ways differ; empty when they agree.
    std::string compare(const std::string &text)
    {
        cel_options options = {};
        cel_program *program;
        cel_issues issues;
        std::string wrong;

        options.unchecked = true;
        if (cel_compile(env_, text.data(), text.size(), &options, &program, &issues) != WM_OK)
            return text + ": " + issues.issues[0].message;
        wrong = compare(program);
        cel_program_free(program);
        return wrong.empty() ? "" : "\n" + text + wrong;
    }

    std::string compare(const cel_program *program)
    {
        cel_value values[2] = {k_, {CEL_ABSENT, 0, {0}}};
        cel_vars vars = {values, 2, nullptr, nullptr};
        cel_unknown path = {1, nullptr};
        cel_unknowns unknowns = {&path, 1, nullptr, 0};
        wm_arena arena;
        std::string wrong;

        wm_arena_init(&arena, 0);
        cel_partial partial = cel_eval_partial(program, &vars, &unknowns, nullptr, &arena);
        if (partial.residual) {
            wrong = compare(program, partial.residual, &arena);
            cel_program_free(partial.residual);
        } else {
            decided_++;
            bool is = partial.value.kind == CEL_BOOL && partial.value.as.boolean;

            for (const cel_value &row : table->rows())
                if (admits(program, k_, row) != is)
                    wrong = " is not decided";
        }
        wm_arena_free(&arena);
        return wrong;
    }

    std::string compare(const cel_program *program, const cel_program *residual, wm_arena *arena)
    {
        std::vector<cel_sql_column> columns = Table::columns();
        std::string wrong;
        std::set<long> ids;
        cel_sql sql;
        wm_err err;

        if (cel_sql_make(residual, columns.data(), columns.size(), 1, arena, &sql, &err) != WM_OK)
            return std::string(": ") + err.message;
        if (!sql.residual)
            exact_++;
        else if (strcmp(sql.where, "TRUE") == 0)
            none_++;
        else
            partly_++;
        ids = table->select(sql);
        for (size_t id = 0; wrong.empty() && id < table->rows().size(); id++) {
            const cel_value &row = table->rows()[id];
            bool selected = ids.count(static_cast<long>(id)) > 0;
            bool is = selected && (!sql.residual || admits(sql.residual, cel_of_null(), row));

            if (is != admits(program, k_, row))
                wrong = "\nWHERE " + std::string(sql.where) + "\nresidual " +
                        (sql.residual ? printed(sql.residual) : "none") + "\n" +
                        (is ? "admits" : "does not admit") + " row " + std::to_string(id);
            selected_ += is;
        }
        cel_program_free(sql.residual);
        return wrong;
    }

    static std::string number(double real)
    {
        char text[40];

        snprintf(text, sizeof text, "%.17g", real);
        return text;
    }

    // Compares the fragment with evaluation over "(id,point),..." and counts what both say.
    void border(const std::string &text, const std::string &points,
                const std::vector<std::pair<double, double>> &places,
                const std::vector<cel_sql_column> &columns, long *inside, long *outside)
    {
        cel_program *program;
        cel_issues issues;
        std::set<long> ids;
        cel_sql sql;
        wm_err err;

        ASSERT_EQ(cel_compile(env_, text.data(), text.size(), nullptr, &program, &issues), WM_OK)
            << issues.issues[0].message;
        ASSERT_EQ(cel_sql_make(program, columns.data(), columns.size(), 1, &arena_, &sql, &err),
                  WM_OK);
        ASSERT_EQ(sql.residual, nullptr);
        std::string where = sql.where, mark = "$1::text";
        for (size_t at; (at = where.find(mark)) != std::string::npos;)
            where.replace(at, mark.size(), std::string("'") + sql.params[0] + "'");
        for (auto &row : postgres->query("SELECT id FROM (VALUES " + points +
                                         ") AS t(id, position) WHERE " + where))
            ids.insert(atol(row[0].c_str()));
        for (size_t i = 0; i < places.size(); i++) {
            cel_entry at[2] = {{cel_of_string("lon_deg", 7), cel_of_double(places[i].first)},
                               {cel_of_string("lat_deg", 7), cel_of_double(places[i].second)}};
            cel_entry row = {cel_of_string("position", 8), cel_map_value(&arena_, at, 2)};
            bool is = admits(program, cel_of_null(), cel_map_value(&arena_, &row, 1));

            EXPECT_EQ(ids.count(static_cast<long>(i)) > 0, is) << text << " " << i;
            ++*(is ? inside : outside);
        }
        cel_program_free(program);
    }

    static waymark_test::TestPostgres *postgres;
    static Table *table;

    wm_arena arena_;
    cel_env *env_;
    cel_value names_[2], k_;
    cel_entry known_[6];
    long decided_ = 0, exact_ = 0, partly_ = 0, none_ = 0, selected_ = 0;
};

waymark_test::TestPostgres *CelSql::postgres;
Table *CelSql::table;

// WAYMARK_CEL_POLICIES=1000000 for a longer run.
TEST_F(CelSql, AdmitsTheRowsThatCelAdmits)
{
    const char *n = getenv("WAYMARK_CEL_POLICIES");
    Policies policies(random());

    for (long i = n ? atol(n) : 3000; i > 0; i--)
        ASSERT_EQ(compare(policies.condition(3)), "");
    printf("%ld decided, %ld in SQL, %ld in part, %ld not in SQL; %ld rows admitted\n", decided_,
           exact_, partly_, none_, selected_);
    EXPECT_GT(exact_, 100);
    EXPECT_GT(partly_, 100);
    EXPECT_GT(selected_, 1000);
}

TEST_F(CelSql, ColumnsOfDifferentCollationsCompare)
{
    for (const char *text :
         {"r.owner == r.kind", "r.owner != r.kind", "r.owner < r.kind", "r.kind.endsWith(r.owner)",
          "r.kind.startsWith(r.owner)", "r.kind.contains(r.owner)", "r.owner in r.tags",
          "!(r.kind in r.tags)", "r.kind == r.attributes.x"}) {
        EXPECT_EQ(compare(text), "");
        EXPECT_GT(selected_, 0) << text;
        selected_ = 0;
    }
}

TEST_F(CelSql, NumbersOfJsonBecomeTheSameDoubles)
{
    for (const char *text :
         {"r.attributes.x == 0", "r.attributes.x == 5e-324", "r.attributes.x == -5e-324",
          "r.attributes.x == 1.7976931348623157e308", "r.attributes.x == double('inf')",
          "r.attributes.x == double('-inf')"}) {
        EXPECT_EQ(compare(text), "");
        EXPECT_GT(selected_, 0) << text;
        selected_ = 0;
    }
}

// Points that lie on the border as nearly as doubles can: both sides must round alike.
TEST_F(CelSql, BordersAreWhereCelHasThem)
{
    std::uniform_real_distribution<double> unit(0, 1);
    std::vector<cel_sql_column> columns = Table::columns();
    long inside = 0, outside = 0;

    for (int round = 0; round < 40; round++) {
        std::vector<double> x, y;
        std::string ring, points;

        for (int i = 0; i < 7; i++) {
            double turn = (i + unit(random()) * 0.8) / 7 * 6.2831853, far = 1 + 4 * unit(random());

            x.push_back(far * cos(turn));
            y.push_back(far * sin(turn));
        }
        for (int i = 0; i < 8; i++)
            ring += (i ? ",[" : "[") + number(x[i % 7]) + "," + number(y[i % 7]) + "]";
        std::string text =
            "geo.within(r.position, '{\"type\":\"Polygon\",\"coordinates\":[[" + ring + "]]}')";
        std::vector<std::pair<double, double>> places;
        for (int i = 0; i < 200; i++) {
            int from = i % 7, to = (i + 1) % 7;
            double t = unit(random());

            places.push_back({x[from] + t * (x[to] - x[from]), y[from] + t * (y[to] - y[from])});
            points += (i ? ",(" : "(") + std::to_string(i) + ",ST_SetSRID(ST_MakePoint(" +
                      number(places[i].first) + "," + number(places[i].second) + "),4326))";
        }
        for (const char *sign : {"", "!"})
            border(sign + text, points, places, columns, &inside, &outside);
    }
    EXPECT_GT(inside, 1000);
    EXPECT_GT(outside, 1000);
}

} // namespace
