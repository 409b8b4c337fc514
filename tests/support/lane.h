// tests/support/lane.h - a lane with a store, for tests that run work on its loop.
#ifndef WAYMARK_TESTS_SUPPORT_LANE_H
#define WAYMARK_TESTS_SUPPORT_LANE_H

#include <functional>
#include <future>
#include <stdexcept>
#include <string>

#include "server/store/store.h"

namespace waymark_test {

class TestLane {
  public:
    explicit TestLane(unsigned index = 0)
    {
        wm_err err;
        if (lane_new(index, &lane_, &err) != WM_OK)
            throw std::runtime_error(err.message);
    }
    ~TestLane()
    {
        close_store();
        lane_free(lane_);
    }
    TestLane(const TestLane &) = delete;
    TestLane &operator=(const TestLane &) = delete;

    lane *get() const
    {
        return lane_;
    }
    // Runs it on the loop and waits.
    void run(std::function<void()> work) const
    {
        lane_call(
            lane_, [](void *ctx) { (*static_cast<std::function<void()> *>(ctx))(); }, &work);
    }
    store *open_store(const std::string &conninfo, unsigned connections = 0)
    {
        run([&] {
            store_config config = {conninfo.c_str(), connections};
            store_ = store_new(lane_, &config);
            lane_set_store(lane_, store_);
        });
        return store_;
    }
    void close_store()
    {
        if (store_ != nullptr)
            run([&] { store_free(store_); });
        store_ = nullptr;
    }
    ::store *the_store() const
    {
        return store_;
    }

  private:
    lane *lane_ = nullptr;
    ::store *store_ = nullptr;
};

// One statement from a test thread: waits for its end, then reads the rows on the loop.
struct QueryResult {
    wm_code code;
    wm_err err;
    std::string text; // whatever `read` made of the rows
};

inline QueryResult run_query(const TestLane &lane, const store_stmt &stmt,
                             const std::function<void(store_args *)> &args = {},
                             const std::function<std::string(const store_rows *)> &read = {},
                             bool writes = true)
{
    struct Asked {
        std::promise<QueryResult> promise;
        std::function<std::string(const store_rows *)> read;
    } asked;
    struct Request {
        store_query query;
        Asked *asked;
    } request = {{}, &asked};
    wm_arena arena;
    asked.read = read;
    auto future = asked.promise.get_future();
    lane.run([&] {
        store_args built;
        wm_arena_init(&arena, 0);
        store_args_init(&built, &arena);
        if (args)
            args(&built);
        store_query_start(lane.the_store(), &request.query, &arena, &stmt, &built, writes,
                          [](store_query *query, wm_code code) {
                              Asked *self = wm_container_of(query, Request, query)->asked;
                              QueryResult result = {code, query->tx.err, ""};
                              if (code == WM_OK && self->read)
                                  result.text = self->read(store_query_rows(query));
                              self->promise.set_value(result);
                          });
    });
    QueryResult result = future.get();
    lane.run([&] { wm_arena_free(&arena); });
    return result;
}

} // namespace waymark_test

#endif
