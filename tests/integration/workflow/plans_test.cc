// The statements of tasks, timers and bindings find their rows by key, also by plans that were
// made while PostgreSQL took the tables for empty; and also rows that another transaction moves
// while they wait for its locks. The rest of what they do is in workflow_test.py.
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <sstream>
#include <thread>

#include "server/workflow/store.h"
#include "tests/support/lane.h"
#include "tests/support/postgres.h"

using namespace waymark_test;

namespace {

using Lines = std::vector<std::string>;

const char *const tables[] = {"workflow_task", "workflow_timer", "workflow_binding"};

// Which columns each statement has to look up, by table.
struct Expected {
    const store_stmt *stmt;
    std::map<std::string, Lines> columns;
};

const Lines task_key = {"namespace_id", "instance_id", "task_id"};
const Lines timer_key = {"namespace_id", "instance_id", "timer_id"};

const Expected expected[] = {
    {&workflow_stmt_lock_bound, {{"workflow_binding", {"namespace_id", "entity_id"}}}},
    {&workflow_stmt_lock_tasks, {{"workflow_task", task_key}}},
    {&workflow_stmt_take_timers, {{"workflow_timer", timer_key}}},
    {&workflow_stmt_lock_ended, {{"workflow_task", {"namespace_id", "instance_id"}}}},
    {&workflow_stmt_end,
     {{"workflow_task", {"namespace_id", "instance_id"}},
      {"workflow_timer", {"namespace_id", "instance_id"}}}},
    {&workflow_stmt_unbind, {{"workflow_binding", {"namespace_id", "entity_id", "instance_id"}}}},
    {&workflow_stmt_delete_tasks, {{"workflow_task", task_key}}},
    {&workflow_stmt_retry_tasks, {{"workflow_task", task_key}}},
    {&workflow_stmt_delete_timers, {{"workflow_timer", timer_key}}},
    {&workflow_stmt_claim, {{"workflow_task", {"namespace_id", "queue", "available_at"}}}},
    {&workflow_stmt_heartbeat, {{"workflow_task", task_key}}},
    {&workflow_stmt_release, {{"workflow_task", task_key}}},
    {&workflow_stmt_due_timers, {{"workflow_timer", {"fire_at"}}}},
};

const char *const fill =
    "INSERT INTO waymark.workflow_task SELECT 1, 'i' || n, gen_random_uuid(), 'q' || n % 10,"
    "  now(), 0, 0, 1000, 'work', '' FROM generate_series(1, 20000) n;"
    "INSERT INTO waymark.workflow_timer SELECT 1, 'i' || n, 't', now(), 'e', NULL"
    "  FROM generate_series(1, 20000) n;"
    "INSERT INTO waymark.workflow_binding SELECT 1, 'e' || n, 'i' || n"
    "  FROM generate_series(1, 20000) n;";

// What the store sets on its connections, as SQL.
std::string store_settings(const TestPostgres &postgres)
{
    static const store_stmt stmt = {
        "settings", "SELECT string_agg(format('SET %I = %L;', name, setting), ' ')"
                    " FROM pg_settings WHERE source = 'client' AND context = 'user'"
                    " AND name NOT IN ('search_path', 'application_name', 'client_encoding')"};
    TestLane lane;
    lane.open_store(postgres.conninfo());
    return run_query(lane, stmt, {},
                     [](const store_rows *rows) { return std::string(store_text(rows, 0, 0)); })
        .text;
}

// EXECUTE with as many nulls as the statement has parameters: plans are generic.
std::string explain(const store_stmt &stmt)
{
    std::string sql = stmt.sql, nulls;
    int n = 0;

    while (sql.find("$" + std::to_string(n + 1) + "::") != std::string::npos)
        nulls += n++ == 0 ? "NULL" : ", NULL";
    return "EXPLAIN EXECUTE asked" + (n > 0 ? "(" + nulls + ")" : "") + ";";
}

std::string joined(const std::vector<std::vector<std::string>> &rows)
{
    std::string text;
    for (const auto &row : rows)
        text += row[0] + "\n";
    return text;
}

// Each scan of these tables looks up the columns that are expected, or goes by ctid.
void check(const Expected &want, const std::string &plan)
{
    static const std::regex scan("(Index|Tid|Seq|Bitmap)[A-Za-z ]* Scan.* on (workflow_[a-z]+)");
    std::map<std::string, int> found;
    std::istringstream lines(plan);
    std::string line, condition;

    EXPECT_EQ(plan.find("Seq Scan"), std::string::npos) << want.stmt->name << "\n" << plan;
    while (std::getline(lines, line)) {
        std::smatch match;
        if (!std::regex_search(line, match, scan) || want.columns.count(match[2]) == 0)
            continue;
        std::getline(lines, condition);
        if (match[1] == "Tid") {
            EXPECT_NE(condition.find("TID Cond: "), std::string::npos) << plan;
            continue;
        }
        found[match[2]]++;
        EXPECT_NE(condition.find("Index Cond: "), std::string::npos) << want.stmt->name << "\n"
                                                                     << plan;
        for (const std::string &column : want.columns.at(match[2]))
            EXPECT_NE(condition.find(column), std::string::npos)
                << want.stmt->name << " does not look up " << column << "\n"
                << plan;
    }
    for (const auto &table : want.columns)
        EXPECT_GT(found[table.first], 0) << want.stmt->name << "\n" << plan;
}

// Tables and their indexes as autovacuum leaves them when it found them empty.
void count_as_empty(TestPostgres *postgres)
{
    for (const std::string table : tables) {
        postgres->query("ANALYZE waymark." + table);
        postgres->query("UPDATE pg_class SET reltuples = 0, relpages = greatest(relpages, 1)"
                        " WHERE oid = 'waymark." +
                        table +
                        "'::regclass OR oid IN (SELECT"
                        " indexrelid FROM pg_index WHERE indrelid = 'waymark." +
                        table + "'::regclass)");
    }
}

TEST(Plans, LookUpByKeyWhenMadeOnEmptyTables)
{
    TestPostgres postgres;
    std::string settings = store_settings(postgres);
    ASSERT_NE(settings.find("force_generic_plan"), std::string::npos) << settings;
    for (const char *table : tables)
        postgres.query(std::string("ANALYZE waymark.") + table);
    for (const Expected &want : expected)
        check(want, joined(postgres.query(settings + "PREPARE asked AS " + want.stmt->sql + ";" +
                                          explain(*want.stmt))));
}

TEST(Plans, LookUpByKeyWhenTablesAreCountedAsEmpty)
{
    TestPostgres postgres;
    std::string settings = store_settings(postgres);
    postgres.query(fill);
    count_as_empty(&postgres);
    for (const Expected &want : expected)
        check(want, joined(postgres.query(settings + "PREPARE asked AS " + want.stmt->sql + ";" +
                                          explain(*want.stmt))));
}

const char *const task_id = "00000000-0000-7000-8000-000000000001";

// Runs `sql` while another transaction has moved the only task to another place, as a claim does;
// that one commits when `sql` waits for it.
std::vector<std::vector<std::string>> run_against_move(TestPostgres *postgres,
                                                       const std::string &sql)
{
    postgres->query(std::string("DELETE FROM waymark.workflow_task; INSERT INTO"
                                " waymark.workflow_task VALUES (1, 'i', '") +
                    task_id + "', 'q', now(), 1, 7, 1000, 'work', '')");
    std::thread other([&] {
        postgres->query(
            "BEGIN; UPDATE waymark.workflow_task SET available_at = now(); DO $$ BEGIN"
            " FOR i IN 1..500 LOOP EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE NOT granted);"
            "  PERFORM pg_sleep(0.01); END LOOP; END $$; COMMIT");
    });
    while (postgres->query_one("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a"
                               " USING (pid) WHERE l.relation = 'waymark.workflow_task'::regclass"
                               " AND l.mode = 'RowExclusiveLock' AND a.query LIKE 'BEGIN%'"
                               " AND a.wait_event = 'PgSleep'") == "0")
        std::this_thread::yield();
    auto rows = postgres->query(sql);
    other.join();
    return rows;
}

std::string execute(const store_stmt &stmt, const std::string &args)
{
    return "PREPARE " + std::string(stmt.name) + " AS " + stmt.sql + "; EXECUTE " + stmt.name +
           "(" + args + ");";
}

TEST(Statements, FindATaskThatMovesWhileItsLockIsAwaited)
{
    TestPostgres postgres;
    const std::string key = std::string("'{1}', '{i}', '{") + task_id + "}'";

    EXPECT_EQ(run_against_move(&postgres, execute(workflow_stmt_lock_tasks, key)).size(), 1u);
    EXPECT_EQ(run_against_move(&postgres, execute(workflow_stmt_heartbeat, key + ", '{7}'")).size(),
              1u);
    EXPECT_EQ(
        run_against_move(&postgres, execute(workflow_stmt_release, key + ", '{7}', '{1}'")).size(),
        1u);
    EXPECT_EQ(postgres.query_one("SELECT attempt || ' ' || lease FROM waymark.workflow_task"),
              "0 8");
    run_against_move(&postgres, execute(workflow_stmt_lock_ended, "'{1}', '{i}'") +
                                    execute(workflow_stmt_end, "'{1}', '{i}'"));
    EXPECT_EQ(postgres.query_one("SELECT count(*) FROM waymark.workflow_task"), "0");
}

} // namespace
