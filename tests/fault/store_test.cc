// The store when PostgreSQL is killed and answers are cut: what was acknowledged is there once,
// what failed is not there, and only what says "unknown" may be either.
#include "server/store/store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "base/clock.h"
#include "tests/support/lane.h"
#include "tests/support/postgres.h"
#include "tests/support/proxy.h"

using namespace waymark_test;

namespace {

TestPostgres *postgres;

class Environment : public testing::Environment {
    void SetUp() override
    {
        postgres = new TestPostgres();
        postgres->query("CREATE TABLE item (id bigint PRIMARY KEY)");
        postgres->query("CREATE TABLE other (n bigint)");
    }
    void TearDown() override
    {
        delete postgres;
    }
};

const auto *environment = testing::AddGlobalTestEnvironment(new Environment);

// No ON CONFLICT: an operation that is done twice fails loudly.
const store_stmt insert_items = {"test.insert_items",
                                 "INSERT INTO item SELECT * FROM unnest($1::bigint[])"};
const store_stmt slow_insert = {"test.slow_insert",
                                "WITH i AS (INSERT INTO item SELECT * FROM unnest($1::bigint[])"
                                " RETURNING id) SELECT count(*), pg_sleep(0.4) FROM i"};

// ---- one transaction through the proxy ----

class LostAnswer : public testing::Test {
  protected:
    void SetUp() override
    {
        postgres->query("TRUNCATE item");
        lane.open_store("host=" + dir.path() + " dbname=waymark user=waymark", 2);
        wm_arena_init(&arena, 0);
    }
    void TearDown() override
    {
        lane.close_store();
        wm_arena_free(&arena);
    }
    static void done(store_tx *tx, wm_code code)
    {
        static_cast<LostAnswer *>(tx->ctx)->promise.set_value(code);
    }
    wm_code call(const std::function<void()> &work)
    {
        start(work);
        return future.get();
    }
    void start(const std::function<void()> &work)
    {
        promise = std::promise<wm_code>();
        future = promise.get_future();
        lane.run(work);
    }
    void begin()
    {
        ASSERT_EQ(call([&] { store_tx_begin(lane.the_store(), &tx, &arena, true, done, this); }),
                  WM_OK);
    }
    void add(const store_stmt &stmt, int64_t id)
    {
        lane.run([&] {
            store_args args;
            store_args_init(&args, &arena);
            store_arg_int64s(&args, &id, 1);
            store_tx_add(&tx, &stmt, &args);
        });
    }
    void start_commit()
    {
        start([&] { store_tx_commit(&tx, done); });
    }
    bool stored(int64_t id)
    {
        return postgres->query_one("SELECT count(*) FROM item WHERE id = " + std::to_string(id)) ==
               "1";
    }
    std::string backend_pid()
    {
        return postgres->query_one(
            "SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> "
            "pg_backend_pid() AND application_name = 'waymark'");
    }
    TempDir dir;
    Proxy proxy{dir.path() + "/.s.PGSQL.5432", postgres->socket_dir() + "/.s.PGSQL.5432"};
    TestLane lane;
    wm_arena arena;
    store_tx tx = {};
    std::promise<wm_code> promise;
    std::future<wm_code> future;
};

TEST_F(LostAnswer, CommittedWithItsResultsIsASuccess)
{
    struct Hook {
        store_hook hook;
        int ran;
    } hook = {};
    hook.hook.committed = [](store_hook *self) { wm_container_of(self, Hook, hook)->ran++; };
    begin();
    lane.run([&] { store_tx_add_hook(&tx, &hook.hook); });
    add(insert_items, 1);
    proxy.hold_ready(true);
    start_commit();
    ASSERT_TRUE(wait_for([&] { return stored(1); }));
    proxy.hold_ready(false);
    proxy.cut();
    EXPECT_EQ(future.get(), WM_OK);
    EXPECT_EQ(hook.ran, 1);
}

TEST_F(LostAnswer, CommittedWithoutItsResultsIsUnknown)
{
    begin();
    add(insert_items, 2);
    ASSERT_EQ(call([&] { store_tx_step(&tx, done); }), WM_OK);
    add(insert_items, 3);
    proxy.hold_answers(true);
    start_commit();
    ASSERT_TRUE(wait_for([&] { return stored(3); }));
    proxy.cut();
    proxy.hold_answers(false);
    EXPECT_EQ(future.get(), WM_UNKNOWN);
    EXPECT_STREQ(tx.err.reason, "COMMIT_UNKNOWN");
}

TEST_F(LostAnswer, WaitsForATransactionThatIsStillAtWork)
{
    begin();
    add(insert_items, 4);
    ASSERT_EQ(call([&] { store_tx_step(&tx, done); }), WM_OK);
    add(slow_insert, 5);
    start_commit();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    proxy.cut();
    // The backend finds nobody to give the results to, ahead of its commit, and gives up.
    EXPECT_EQ(future.get(), WM_UNAVAILABLE);
    EXPECT_TRUE(tx.lost);
    EXPECT_FALSE(stored(5));
}

TEST_F(LostAnswer, AbortedIsFoundOut)
{
    begin();
    add(insert_items, 6);
    ASSERT_EQ(call([&] { store_tx_step(&tx, done); }), WM_OK);
    add(slow_insert, 7);
    proxy.hold_answers(true);
    start_commit();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    postgres->query("SELECT pg_terminate_backend(" + backend_pid() + ")");
    ASSERT_TRUE(wait_for([&] { return backend_pid().empty(); }));
    proxy.cut();
    proxy.hold_answers(false);
    EXPECT_EQ(future.get(), WM_UNAVAILABLE);
    EXPECT_TRUE(tx.lost);
    EXPECT_FALSE(stored(6));
    EXPECT_FALSE(stored(7));
}

TEST_F(LostAnswer, BetweenStepsNothingWasCommitted)
{
    begin();
    add(insert_items, 8);
    ASSERT_EQ(call([&] { store_tx_step(&tx, done); }), WM_OK);
    proxy.cut();
    ASSERT_TRUE(wait_for([&] { return proxy.connections() > 0; }));
    add(insert_items, 9);
    EXPECT_EQ(call([&] { store_tx_commit(&tx, done); }), WM_UNAVAILABLE);
    EXPECT_FALSE(stored(8));
}

TEST_F(LostAnswer, TheStoreMayGoMeanwhile)
{
    begin();
    add(insert_items, 12);
    ASSERT_EQ(call([&] { store_tx_step(&tx, done); }), WM_OK);
    add(insert_items, 13);
    proxy.hold_answers(true);
    start_commit();
    ASSERT_TRUE(wait_for([&] { return stored(13); }));
    proxy.refuse(true);
    proxy.cut();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    lane.close_store();
    EXPECT_EQ(future.get(), WM_UNKNOWN);
}

// A transaction id that crash recovery hands out again must not pass for the lost one.
TEST_F(LostAnswer, AReusedTransactionIdIsNotOurs)
{
    std::string epoch = postgres->query_one("SELECT waymark.current_epoch()");
    begin();
    add(insert_items, 10);
    ASSERT_EQ(call([&] { store_tx_step(&tx, done); }), WM_OK);
    std::string lost = std::to_string(tx.xid);
    postgres->kill9();
    postgres->start();
    add(insert_items, 11);
    EXPECT_EQ(call([&] { store_tx_commit(&tx, done); }), WM_UNAVAILABLE);
    // Somebody uses up ids until the lost one has been used again, and commits.
    ASSERT_TRUE(wait_for([&] {
        return postgres->query_one(
                   "INSERT INTO other VALUES (1) RETURNING pg_current_xact_id() > '" + lost +
                   "'") == "t";
    }));
    EXPECT_EQ(postgres->query_one("SELECT waymark.commit_fate('" + lost + "', " + epoch + ")"),
              "aborted");
    EXPECT_FALSE(stored(10));
}

// ---- load ----

struct LoadOp {
    store_op op;
    int64_t id;
    void *load;
};

void load_committed(store_tx *tx, wm_code code)
{
    store_batch_done(static_cast<store_batch *>(tx->ctx), code);
}

void load_add(store_batch *batch)
{
    int64_t *ids = WM_NEW_ARRAY(&batch->arena, int64_t, batch->n_ops);
    size_t n = 0;
    for (store_op *op = batch->ops; op != nullptr; op = op->next)
        ids[n++] = wm_container_of(op, LoadOp, op)->id;
    store_args args;
    store_args_init(&args, &batch->arena);
    store_arg_int64s(&args, ids, n);
    store_tx_add(&batch->tx, &insert_items, &args);
}

void load_run(store_batch *batch)
{
    load_add(batch);
    store_tx_commit(&batch->tx, load_committed);
}

// The same in two steps, as handlers that read before they write do.
void load_run_steps(store_batch *batch)
{
    static const store_stmt look = {"test.look", "SELECT count(*) FROM item WHERE id < 0"};
    store_tx_add(&batch->tx, &look, nullptr);
    store_tx_step(&batch->tx, [](store_tx *tx, wm_code code) {
        store_batch *batch = static_cast<store_batch *>(tx->ctx);
        if (code != WM_OK) {
            store_batch_done(batch, code);
            return;
        }
        load_run(batch);
    });
}

// A number of callers, each with one operation at a time, until told to stop.
class Load {
  public:
    Load(TestLane &lane, const store_batch_kind &kind, int64_t first_id)
        : lane_(lane), next_(first_id)
    {
        lane_.run([&] {
            batcher_ = store_batcher_new(lane_.the_store(), &kind, this);
            for (int i = 0; i < 32; i++)
                add();
        });
    }
    void finish()
    {
        stop_ = true;
        ASSERT_TRUE(wait_for([&] { return in_flight_ == 0; }, 60000));
        lane_.run([&] { store_batcher_free(batcher_); });
    }
    std::map<int64_t, wm_code> results; // read after finish()
    std::atomic<int> n_ok{0};

  private:
    void add()
    {
        LoadOp *op = new LoadOp{{}, next_++, this};
        op->op.weight = 1;
        op->op.deadline_us = wm_monotonic_us() + 20000000;
        op->op.done = [](store_op *op) {
            LoadOp *self = wm_container_of(op, LoadOp, op);
            static_cast<Load *>(self->load)->done(self);
        };
        wm_err err;
        in_flight_++;
        ASSERT_TRUE(store_batcher_add(batcher_, &op->op, &err));
    }
    void done(LoadOp *op)
    {
        results[op->id] = op->op.code;
        n_ok += op->op.code == WM_OK;
        delete op;
        if (!stop_)
            add();
        in_flight_--;
    }
    TestLane &lane_;
    store_batcher *batcher_ = nullptr;
    int64_t next_;
    std::atomic<bool> stop_{false};
    std::atomic<int> in_flight_{0};
};

void check_results(const Load &load)
{
    std::set<int64_t> stored;
    std::map<wm_code, int> codes;
    for (const auto &row : postgres->query("SELECT id FROM item"))
        stored.insert(std::stoll(row[0]));
    for (const auto &[id, code] : load.results) {
        codes[code]++;
        if (code == WM_OK) {
            EXPECT_EQ(stored.count(id), 1u) << "acknowledged and lost: " << id;
        } else if (code == WM_UNAVAILABLE) {
            EXPECT_EQ(stored.count(id), 0u) << "refused and stored: " << id;
        } else {
            EXPECT_EQ(code, WM_UNKNOWN) << id; // a duplicate key would be WM_EXISTS
        }
    }
    printf("%d acknowledged, %d unavailable, %d unknown\n", codes[WM_OK], codes[WM_UNAVAILABLE],
           codes[WM_UNKNOWN]);
}

void run_kills(const store_batch_kind &kind, int times, const std::function<void()> &kill_it)
{
    postgres->query("TRUNCATE item");
    TestLane lane;
    lane.open_store(postgres->conninfo());
    Load load(lane, kind, 1);
    for (int i = 0; i < times; i++) {
        int before = load.n_ok;
        ASSERT_TRUE(wait_for([&] { return load.n_ok > before + 500; }, 30000));
        kill_it();
    }
    int before = load.n_ok;
    EXPECT_TRUE(wait_for([&] { return load.n_ok > before + 500; }, 30000));
    load.finish();
    check_results(load);
}

const store_batch_kind one_step = {"test.one_step", 16, 2, false, load_run};
const store_batch_kind two_steps = {"test.two_steps", 16, 2, false, load_run_steps};

TEST(KilledPostgres, OneStepBatches)
{
    run_kills(one_step, 3, [] {
        postgres->kill9();
        postgres->start();
    });
}

TEST(KilledPostgres, TwoStepBatches)
{
    run_kills(two_steps, 3, [] {
        postgres->kill9();
        postgres->start();
    });
}

TEST(KilledPostgres, BackendsTerminated)
{
    run_kills(one_step, 20, [] {
        postgres->query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name"
            " = 'waymark'");
    });
}

TEST(KilledPostgres, RestartUnderLoad)
{
    run_kills(two_steps, 2, [] { postgres->restart(); });
}

TEST(CutConnections, UnderLoad)
{
    postgres->query("TRUNCATE item");
    TempDir dir;
    Proxy proxy(dir.path() + "/.s.PGSQL.5432", postgres->socket_dir() + "/.s.PGSQL.5432");
    TestLane lane;
    lane.open_store("host=" + dir.path() + " dbname=waymark user=waymark");
    Load load(lane, one_step, 1);
    for (int i = 0; i < 20; i++) {
        int before = load.n_ok;
        ASSERT_TRUE(wait_for([&] { return load.n_ok > before + 100; }, 30000));
        proxy.hold_ready(i % 2 == 0);
        std::this_thread::sleep_for(std::chrono::milliseconds(i % 5));
        proxy.cut();
        proxy.hold_ready(false);
    }
    load.finish();
    check_results(load);
}

} // namespace
