// The store against a real PostgreSQL: transactions, errors, batches.
#include "server/store/store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>

#include "base/clock.h"
#include "server/store/migrate.h"
#include "tests/support/lane.h"
#include "tests/support/postgres.h"

using namespace waymark_test;

namespace {

TestPostgres *postgres;

class Environment : public testing::Environment {
    void SetUp() override
    {
        postgres = new TestPostgres();
        postgres->query(
            "CREATE TABLE item (id bigint PRIMARY KEY, value bigint NOT NULL CHECK (value"
            " < 1000000))");
    }
    void TearDown() override
    {
        delete postgres;
    }
};

const auto *environment = testing::AddGlobalTestEnvironment(new Environment);

const store_stmt select_value = {"test.select", "SELECT value FROM item WHERE id = $1::bigint"};
const store_stmt lock_value = {"test.lock",
                               "SELECT value FROM item WHERE id = $1::bigint FOR UPDATE"};
const store_stmt set_value = {
    "test.set", "INSERT INTO item VALUES ($1::bigint, $2::bigint) ON CONFLICT (id) DO UPDATE SET"
                " value = excluded.value"};
const store_stmt insert_value = {"test.insert", "INSERT INTO item VALUES ($1::bigint, $2::bigint)"};
const store_stmt increment = {"test.increment",
                              "UPDATE item SET value = value + 1 WHERE id = $1::bigint"};

std::string first_int(const store_rows *rows)
{
    return store_rows_len(rows) == 0 ? "none" : std::to_string(store_int64(rows, 0, 0));
}

class Store : public testing::Test {
  protected:
    void SetUp() override
    {
        lane.open_store(postgres->conninfo());
    }
    QueryResult set(int64_t id, int64_t value)
    {
        return run_query(lane, set_value, [=](store_args *args) {
            store_arg_int64(args, id);
            store_arg_int64(args, value);
        });
    }
    std::string get(int64_t id)
    {
        QueryResult result = run_query(
            lane, select_value, [=](store_args *args) { store_arg_int64(args, id); }, first_int);
        return result.code == WM_OK ? result.text : result.err.reason;
    }
    TestLane lane;
};

// A transaction that a test leads by hand; every call waits for its callback.
class Tx {
  public:
    Tx(TestLane &lane, bool writes) : lane_(lane)
    {
        wm_arena_init(&arena_, 0);
        begin_code =
            wait([&] { store_tx_begin(lane_.the_store(), &tx, &arena_, writes, &Tx::done, this); });
    }
    ~Tx()
    {
        wm_arena_free(&arena_);
    }
    void add(const store_stmt &stmt, std::initializer_list<int64_t> args)
    {
        lane_.run([&] {
            store_args built;
            store_args_init(&built, &arena_);
            for (int64_t arg : args)
                store_arg_int64(&built, arg);
            store_tx_add(&tx, &stmt, &built);
        });
    }
    wm_code step()
    {
        return wait([&] { store_tx_step(&tx, &Tx::done); });
    }
    wm_code commit()
    {
        return wait([&] { store_tx_commit(&tx, &Tx::done); });
    }
    wm_code rollback()
    {
        return wait([&] { store_tx_rollback(&tx, &Tx::done); });
    }
    store_tx tx = {};
    std::string first; // of the first result of the last step
    wm_code begin_code;

  private:
    wm_code wait(const std::function<void()> &call)
    {
        promise_ = std::promise<wm_code>();
        auto future = promise_.get_future();
        lane_.run(call);
        return future.get();
    }
    static void done(store_tx *tx, wm_code code)
    {
        Tx *self = static_cast<Tx *>(tx->ctx);
        if (code == WM_OK && tx->results != nullptr)
            self->first = first_int(store_tx_rows(tx, 0));
        self->promise_.set_value(code);
    }
    TestLane &lane_;
    wm_arena arena_ = {};
    std::promise<wm_code> promise_;
};

TEST_F(Store, WritesAndReads)
{
    EXPECT_EQ(set(1, 42).code, WM_OK);
    EXPECT_EQ(get(1), "42");
    EXPECT_EQ(get(404), "none");
}

TEST_F(Store, StepsAreOneTransactionWithoutBegin)
{
    ASSERT_EQ(set(10, 1).code, WM_OK);
    Tx tx(lane, true);
    tx.add(lock_value, {10});
    ASSERT_EQ(tx.step(), WM_OK);
    EXPECT_EQ(tx.first, "1");
    tx.add(set_value, {10, 2});
    ASSERT_EQ(tx.step(), WM_OK);
    // Neither visible nor free to others between the steps.
    EXPECT_EQ(get(10), "1");
    EXPECT_EQ(postgres->query_one("SELECT count(*) FROM (SELECT FROM item WHERE id = 10 FOR UPDATE "
                                  "SKIP LOCKED) AS free"),
              "0");
    tx.add(select_value, {10});
    ASSERT_EQ(tx.commit(), WM_OK);
    EXPECT_EQ(tx.first, "2");
    EXPECT_EQ(get(10), "2");
}

TEST_F(Store, ErrorRollsAllStepsBack)
{
    ASSERT_EQ(set(11, 1).code, WM_OK);
    Tx tx(lane, true);
    tx.add(set_value, {11, 2});
    ASSERT_EQ(tx.step(), WM_OK);
    tx.add(insert_value, {11, 3});
    tx.add(set_value, {12, 3});
    EXPECT_EQ(tx.step(), WM_EXISTS);
    EXPECT_STREQ(tx.tx.err.reason, "SQLSTATE_23505");
    EXPECT_EQ(get(11), "1");
    EXPECT_EQ(get(12), "none");
}

TEST_F(Store, ErrorInCommitStep)
{
    Tx tx(lane, true);
    tx.add(set_value, {13, 1});
    tx.add(set_value, {14, 1000001});
    EXPECT_EQ(tx.commit(), WM_INVALID);
    EXPECT_STREQ(tx.tx.err.reason, "SQLSTATE_23514");
    EXPECT_EQ(get(13), "none");
    // The statement that was prepared in the failed pipeline works afterwards.
    EXPECT_EQ(set(13, 5).code, WM_OK);
}

TEST_F(Store, RollbackUndoes)
{
    ASSERT_EQ(set(15, 1).code, WM_OK);
    Tx tx(lane, true);
    tx.add(set_value, {15, 2});
    ASSERT_EQ(tx.step(), WM_OK);
    EXPECT_EQ(tx.rollback(), WM_OK);
    EXPECT_EQ(get(15), "1");
    Tx unused(lane, true);
    EXPECT_EQ(unused.rollback(), WM_OK);
    Tx added(lane, true);
    added.add(set_value, {15, 3});
    EXPECT_EQ(added.rollback(), WM_OK);
    EXPECT_EQ(get(15), "1");
}

const store_stmt one = {"test.one", "SELECT 1"};

TEST_F(Store, ErrorWhileOwnerStillAdds)
{
    Tx tx(lane, true);
    tx.add(insert_value, {16, 1000001});
    lane.run([&] { store_tx_add(&tx.tx, &one, nullptr); });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(tx.step(), WM_INVALID);
    EXPECT_EQ(get(16), "none");
}

TEST_F(Store, StatementThatCannotBePrepared)
{
    static const store_stmt bad = {"test.bad", "SELECT nothing_like_this"};
    for (int i = 0; i < 3; i++) {
        QueryResult result = run_query(lane, bad);
        EXPECT_EQ(result.code, WM_INTERNAL);
        EXPECT_STREQ(result.err.reason, "SQLSTATE_42703");
    }
    EXPECT_EQ(set(17, 1).code, WM_OK);
}

TEST_F(Store, AllTypesThereAndBack)
{
    static const store_stmt scalars = {
        "test.scalars",
        "SELECT $1::boolean, $2::int4, $3::bigint, $4::float8, $5::text, $6::bytea, $7::jsonb::text,"
        " $8::timestamptz, $9::uuid, $10::text, $8::timestamptz::text"};
    wm_uuid uuid = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
    QueryResult result = run_query(
        lane, scalars,
        [&](store_args *args) {
            store_arg_bool(args, true);
            store_arg_int32(args, -7);
            store_arg_int64(args, INT64_MIN + 1);
            store_arg_float8(args, -0.1);
            store_arg_text(args, "Grüße");
            store_arg_bytes(args, "a\0b", 3);
            store_arg_json(args, "{\"a\": [1, 2]}");
            store_arg_time(args, INT64_C(1700000000123456));
            store_arg_uuid(args, &uuid);
            store_arg_text(args, nullptr);
        },
        [&](const store_rows *rows) {
            size_t size = 0;
            EXPECT_TRUE(store_bool(rows, 0, 0));
            EXPECT_EQ(store_int32(rows, 0, 1), -7);
            EXPECT_EQ(store_int64(rows, 0, 2), INT64_MIN + 1);
            EXPECT_EQ(store_float8(rows, 0, 3), -0.1);
            EXPECT_STREQ(store_text(rows, 0, 4), "Grüße");
            EXPECT_EQ(memcmp(store_bytes(rows, 0, 5, &size), "a\0b", 3), 0);
            EXPECT_EQ(size, 3u);
            EXPECT_STREQ(store_text(rows, 0, 6), "{\"a\": [1, 2]}");
            EXPECT_EQ(store_time(rows, 0, 7), INT64_C(1700000000123456));
            wm_uuid back = store_uuid(rows, 0, 8);
            EXPECT_EQ(memcmp(&back, &uuid, sizeof(uuid)), 0);
            EXPECT_TRUE(store_is_null(rows, 0, 9));
            EXPECT_STREQ(store_text(rows, 0, 10), "2023-11-14 22:13:20.123456+00");
            return "";
        });
    EXPECT_EQ(result.code, WM_OK) << result.err.message;
}

TEST_F(Store, ArraysThereAndBack)
{
    static const store_stmt arrays = {
        "test.arrays",
        "SELECT array_to_string($1::bigint[], ',', '-') || ';' || array_to_string($2::int4[], ',')"
        " || ';' || array_to_string($3::float8[], ',', '-') || ';' || array_to_string($4::text[],"
        " ',', '-') || ';' || array_to_string($5::bytea[], ',', '-') || ';' ||"
        " array_to_string($6::timestamptz[], ',', '-') || ';' || array_to_string($7::uuid[], ',')"
        " || ';' || array_to_string($8::boolean[], ',') || ';' || cardinality($9::text[]),"
        " $1::bigint[], $9::bigint[]"};
    wm_arena arena;
    wm_arena_init(&arena, 0);
    int64_t longs[] = {1, STORE_NULL_INT, -3};
    int32_t ints[] = {4, -5};
    double doubles[] = {0.5, NAN};
    const char *texts[] = {"a", nullptr, ""};
    const void *bytes[] = {"xy", nullptr};
    size_t sizes[] = {2, 0};
    int64_t times[] = {0, STORE_NULL_INT};
    wm_uuid uuids[] = {{{255}}};
    bool bools[] = {true, false};
    QueryResult result = run_query(
        lane, arrays,
        [&](store_args *args) {
            store_arg_int64s(args, longs, 3);
            store_arg_int32s(args, ints, 2);
            store_arg_float8s(args, doubles, 2, true);
            store_arg_texts(args, texts, 3);
            store_arg_bytess(args, bytes, sizes, 2);
            store_arg_times(args, times, 2);
            store_arg_uuids(args, uuids, 1);
            store_arg_bools(args, bools, 2);
            store_arg_texts(args, nullptr, 0);
        },
        [&](const store_rows *rows) {
            size_t n = 0;
            const int64_t *back = store_int64s(rows, 0, 1, &arena, &n);
            EXPECT_EQ(n, 3u);
            EXPECT_EQ(back[1], STORE_NULL_INT);
            EXPECT_EQ(back[2], -3);
            return std::string(store_text(rows, 0, 0));
        });
    EXPECT_EQ(result.text, "1,-,-3;4,-5;0.5,-;a,-,;\\x7879,-;1970-01-01 00:00:00+00,-;"
                           "ff000000-0000-0000-0000-000000000000;t,f;0")
        << result.err.message;
    wm_arena_free(&arena);
}

TEST_F(Store, MoreTransactionsThanConnections)
{
    ASSERT_EQ(set(20, 0).code, WM_OK);
    std::vector<std::thread> threads;
    for (int i = 0; i < 16; i++)
        threads.emplace_back([this] {
            for (int j = 0; j < 20; j++)
                EXPECT_EQ(
                    run_query(lane, increment, [](store_args *args) { store_arg_int64(args, 20); })
                        .code,
                    WM_OK);
        });
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(get(20), "320");
}

TEST_F(Store, BigStatementBothWays)
{
    static const store_stmt echo = {"test.echo", "SELECT $1::bytea, $1::bytea"};
    std::string big(8 << 20, 'x');
    QueryResult result = run_query(
        lane, echo, [&](store_args *args) { store_arg_bytes(args, big.data(), big.size()); },
        [&](const store_rows *rows) {
            size_t size = 0;
            store_bytes(rows, 0, 1, &size);
            return std::to_string(size);
        });
    EXPECT_EQ(result.text, std::to_string(big.size()));
}

TEST_F(Store, PlansThatNoLongerFitAreMadeAnew)
{
    static const store_stmt everything = {"test.everything", "SELECT * FROM widening"};
    postgres->query("CREATE TABLE widening (a int)");
    EXPECT_EQ(run_query(lane, everything).code, WM_OK);
    postgres->query("ALTER TABLE widening ADD COLUMN b int");
    for (int i = 0; i < 5; i++) {
        QueryResult result = run_query(lane, everything);
        EXPECT_EQ(result.code, WM_OK) << result.err.message;
    }
    // A statement that PostgreSQL does not support is an error, not a reason to connect again.
    static const store_stmt unsupported = {"test.unsupported",
                                           "SELECT count(DISTINCT a) OVER () FROM widening"};
    EXPECT_STREQ(run_query(lane, unsupported).err.reason, "SQLSTATE_0A000");
}

TEST_F(Store, QueriesSurviveARestart)
{
    ASSERT_EQ(set(40, 1).code, WM_OK);
    postgres->restart();
    EXPECT_EQ(get(40), "1");
    EXPECT_EQ(set(40, 2).code, WM_OK);
}

TEST_F(Store, UnavailableAfterTheWait)
{
    TestLane other(1);
    other.open_store("host=/nowhere dbname=x");
    int64_t start_us = wm_monotonic_us();
    QueryResult result =
        run_query(other, increment, [](store_args *args) { store_arg_int64(args, 1); });
    EXPECT_EQ(result.code, WM_UNAVAILABLE);
    EXPECT_STREQ(result.err.reason, "STORE_UNAVAILABLE");
    EXPECT_GT(result.err.retry_after_ms, 0u);
    EXPECT_NEAR((wm_monotonic_us() - start_us) / 1e3, STORE_WAIT_MS, 500);
}

TEST_F(Store, HooksRunAfterTheCommitOnly)
{
    struct Hook {
        store_hook hook;
        int ran;
    } hook = {};
    hook.hook.committed = [](store_hook *self) { wm_container_of(self, Hook, hook)->ran++; };
    Tx tx(lane, true);
    lane.run([&] { store_tx_add_hook(&tx.tx, &hook.hook); });
    tx.add(set_value, {30, 1});
    ASSERT_EQ(tx.step(), WM_OK);
    EXPECT_EQ(hook.ran, 0);
    tx.add(set_value, {30, 2});
    ASSERT_EQ(tx.commit(), WM_OK);
    EXPECT_EQ(hook.ran, 1);

    Tx failing(lane, true);
    lane.run([&] { store_tx_add_hook(&failing.tx, &hook.hook); });
    failing.add(insert_value, {30, 2});
    EXPECT_EQ(failing.commit(), WM_EXISTS);
    EXPECT_EQ(hook.ran, 1);
}

TEST_F(Store, NamesTheTransactionBeforeItsCommit)
{
    Tx tx(lane, true);
    tx.add(set_value, {31, 1});
    ASSERT_EQ(tx.commit(), WM_OK);
    EXPECT_GT(tx.tx.xid, 0);
    EXPECT_EQ(postgres->query_one("SELECT waymark.commit_fate('" + std::to_string(tx.tx.xid) +
                                  "', waymark.current_epoch())"),
              "committed");
}

// A promoted standby does not know where its ids begin (0005_failover.sql).
TEST_F(Store, DoesNotGuessWhatAPromotionLeft)
{
    std::string epoch = postgres->query_one("SELECT waymark.current_epoch()");
    std::string lost = postgres->query_one("SELECT pg_current_xact_id()");
    std::string ahead = "18446744073709551615";
    auto fate = [&](const std::string &xid) {
        return postgres->query_one("SELECT waymark.commit_fate('" + xid + "', " + epoch + ")");
    };
    EXPECT_EQ(fate(lost), "committed");
    postgres->query("INSERT INTO waymark.boot (next_xid, certain) VALUES ('" + lost + "', false)");
    EXPECT_EQ(fate(lost), "unknown");
    EXPECT_EQ(fate(ahead), "aborted");
    postgres->query("UPDATE waymark.boot SET certain = true WHERE epoch > " + epoch);
    EXPECT_EQ(fate(lost), "aborted");
    postgres->query("DELETE FROM waymark.boot WHERE epoch > " + epoch);
}

TEST(Migrate, RunsOnceAndRefusesANewerSchema)
{
    wm_err err;
    ASSERT_EQ(store_migrate(postgres->conninfo().c_str(), &err), WM_OK) << err.message;
    postgres->query("INSERT INTO waymark.schema_migration (version, name) VALUES (9999, 'future')");
    EXPECT_EQ(store_migrate(postgres->conninfo().c_str(), &err), WM_PRECONDITION);
    EXPECT_STREQ(err.reason, "SCHEMA_NEWER");
    postgres->query("DELETE FROM waymark.schema_migration WHERE version = 9999");
}

TEST(Migrate, ManyAtOnce)
{
    TestPostgres fresh(false);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&] {
            wm_err err;
            EXPECT_EQ(store_migrate(fresh.conninfo().c_str(), &err), WM_OK) << err.message;
        });
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(fresh.query_one("SELECT count(*) = max(version) FROM waymark.schema_migration"), "t");
}

} // namespace
