// Batches against a real PostgreSQL: sharing commits, splitting, running again.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "server/store/store.h"
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
            " < 1000000), n bigint NOT NULL DEFAULT 1)");
    }
    void TearDown() override
    {
        delete postgres;
    }
};

const auto *environment = testing::AddGlobalTestEnvironment(new Environment);

const store_stmt put_items = {
    "test.put_items",
    "INSERT INTO item SELECT * FROM unnest($1::bigint[], $2::bigint[]) ON CONFLICT (id) DO UPDATE"
    " SET value = excluded.value, n = item.n + 1"};

struct PutOp {
    store_op op;
    int64_t id, value;
    void *test;
};

void put_committed(store_tx *tx, wm_code code)
{
    store_batch_done(static_cast<store_batch *>(tx->ctx), code);
}

std::atomic<int> runs;

// Note: tx->ctx is the batch.
void put_run(store_batch *batch)
{
    int64_t *ids = WM_NEW_ARRAY(&batch->arena, int64_t, batch->n_ops);
    int64_t *values = WM_NEW_ARRAY(&batch->arena, int64_t, batch->n_ops);
    store_args args;
    size_t n = 0;
    runs++;
    for (store_op *op = batch->ops; op != nullptr; op = op->next) {
        PutOp *put = wm_container_of(op, PutOp, op);
        if (put->value < 0) {
            op->code = wm_fail(&op->err, WM_INVALID, "NEGATIVE", "refused by run()");
            continue;
        }
        ids[n] = put->id;
        values[n++] = put->value;
    }
    store_args_init(&args, &batch->arena);
    store_arg_int64s(&args, ids, n);
    store_arg_int64s(&args, values, n);
    store_tx_add(&batch->tx, &put_items, &args);
    store_tx_commit(&batch->tx, put_committed);
}

const store_batch_kind put_kind = {"test.put", 64, 1, false, put_run};

class Batch : public testing::Test {
  protected:
    void SetUp() override
    {
        postgres->query("TRUNCATE item");
        runs = 0;
        lane.open_store(postgres->conninfo());
        lane.run([&] { batcher = store_batcher_new(lane.the_store(), &put_kind, this); });
    }
    void TearDown() override
    {
        lane.run([&] { store_batcher_free(batcher); });
    }
    PutOp *make(int64_t id, int64_t value)
    {
        ops.emplace_back(new PutOp{{}, id, value, this});
        PutOp *op = ops.back().get();
        op->op.weight = 1;
        op->op.deadline_us = wm_monotonic_us() + 10000000;
        op->op.done = [](store_op *op) {
            Batch *self = static_cast<Batch *>(wm_container_of(op, PutOp, op)->test);
            std::lock_guard<std::mutex> guard(self->mutex);
            self->n_done++;
            self->changed.notify_all();
        };
        return op;
    }
    void add(PutOp *op)
    {
        wm_err err;
        ASSERT_TRUE(store_batcher_add(batcher, &op->op, &err));
    }
    void wait_done(size_t n)
    {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return n_done >= n; });
    }
    TestLane lane;
    store_batcher *batcher = nullptr;
    std::vector<std::unique_ptr<PutOp>> ops;
    std::mutex mutex;
    std::condition_variable changed;
    size_t n_done = 0;
};

TEST_F(Batch, SharesCommits)
{
    lane.run([&] {
        for (int i = 0; i < 1000; i++)
            add(make(i, i));
    });
    wait_done(1000);
    for (auto &op : ops)
        EXPECT_EQ(op->op.code, WM_OK);
    EXPECT_EQ(postgres->query_one("SELECT count(*) FROM item WHERE n = 1"), "1000");
    EXPECT_EQ(runs, 16); // of 64
}

TEST_F(Batch, OneBadOperationFailsAlone)
{
    lane.run([&] {
        for (int i = 0; i < 40; i++)
            add(make(i, i == 17 ? 1000001 : i == 23 ? -1 : i));
    });
    wait_done(40);
    for (int i = 0; i < 40; i++)
        EXPECT_EQ(ops[i]->op.code, i == 17 || i == 23 ? WM_INVALID : WM_OK) << i;
    EXPECT_STREQ(ops[17]->op.err.reason, "SQLSTATE_23514");
    EXPECT_STREQ(ops[23]->op.err.reason, "NEGATIVE");
    EXPECT_EQ(postgres->query_one("SELECT count(*) FROM item WHERE n = 1"), "38");
}

TEST_F(Batch, ExpiredOperationsCostNothing)
{
    lane.run([&] {
        for (int i = 0; i < 10; i++) {
            PutOp *op = make(i, i);
            op->op.deadline_us = i < 5 ? wm_monotonic_us() - 1 : op->op.deadline_us;
            add(op);
        }
    });
    wait_done(10);
    for (int i = 0; i < 10; i++)
        EXPECT_EQ(ops[i]->op.code, i < 5 ? WM_DEADLINE : WM_OK);
    EXPECT_EQ(postgres->query_one("SELECT count(*) FROM item"), "5");
}

TEST_F(Batch, DeadlocksRunAgain)
{
    // Somebody else locks 1 and then wants 2; the batch locks 2 and then wants 1.
    postgres->query("INSERT INTO item VALUES (1, 0), (2, 0)");
    std::thread other([&] {
        try {
            postgres->query(
                "SET deadlock_timeout = '10s'; BEGIN; UPDATE item SET value = 1 WHERE id ="
                " 1; SELECT pg_sleep(0.3); UPDATE item SET value = 1 WHERE id = 2; COMMIT");
        } catch (const std::exception &) {
            ADD_FAILURE() << "the other one was chosen";
        }
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    lane.run([&] {
        add(make(2, 5));
        add(make(1, 5));
    });
    wait_done(2);
    other.join();
    EXPECT_EQ(ops[0]->op.code, WM_OK) << ops[0]->op.err.message;
    EXPECT_GE(runs, 2);
    EXPECT_EQ(postgres->query_one("SELECT count(*) FROM item WHERE value = 5"), "2");
}

TEST_F(Batch, FullQueueRefuses)
{
    wm_err err = {};
    size_t taken = 0;
    lane.run([&] {
        while (store_batcher_add(batcher, &make((int64_t)taken, 1)->op, &err))
            taken++;
    });
    EXPECT_EQ(taken, (size_t)STORE_PENDING_MAX);
    EXPECT_EQ(err.code, WM_EXHAUSTED);
    EXPECT_STREQ(err.reason, "STORE_BUSY");
    wait_done(taken);
}

TEST_F(Batch, RunsAgainAfterARestart)
{
    std::atomic<bool> stop{false};
    std::atomic<int> added{0};
    std::thread load([&] {
        while (!stop) {
            lane.run([&] { add(make(added++, 1)); });
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    postgres->restart();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    stop = true;
    load.join();
    wait_done((size_t)added);
    for (int i = 0; i < added; i++)
        EXPECT_EQ(ops[i]->op.code, WM_OK) << i << ops[i]->op.err.message;
    EXPECT_EQ(postgres->query_one("SELECT count(*) FROM item WHERE n = 1"), std::to_string(added));
}

TEST_F(Batch, QueueFailsTogetherWhilePostgresIsAway)
{
    const size_t n = 320; // 5 batches of 64, twice
    postgres->stop();
    int64_t start_us = wm_monotonic_us();
    lane.run([&] {
        for (size_t i = 0; i < n; i++)
            add(make((int64_t)i, 1));
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(STORE_WAIT_MS / 2));
    lane.run([&] {
        for (size_t i = n; i < 2 * n; i++)
            add(make((int64_t)i, 1));
    });
    wait_done(2 * n);
    int64_t took_ms = (wm_monotonic_us() - start_us) / 1000;
    postgres->start();
    EXPECT_LT(took_ms, 2 * STORE_WAIT_MS);
    for (auto &op : ops) {
        EXPECT_EQ(op->op.code, WM_UNAVAILABLE);
        EXPECT_STREQ(op->op.err.reason, "STORE_UNAVAILABLE");
        EXPECT_GT(op->op.err.retry_after_ms, 0u);
    }
    // The batcher works again as soon as a connection is back.
    EXPECT_TRUE(wait_for([&] {
        bool up = false;
        lane.run([&] { up = store_is_up(lane.the_store()); });
        return up;
    }));
    lane.run([&] { add(make(1, 1)); });
    wait_done(2 * n + 1);
    EXPECT_EQ(ops.back()->op.code, WM_OK) << ops.back()->op.err.message;
}

} // namespace
