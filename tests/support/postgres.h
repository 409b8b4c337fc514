// tests/support/postgres.h - a private PostgreSQL 15 with PostGIS for one test.
//
// It listens on a unix socket in a directory of its own and has a database and superuser
// "waymark". fsync is on, so that kill9() tests what it says. The cluster is copied from a
// template that the first test on the machine makes and others share.
#ifndef WAYMARK_TESTS_SUPPORT_POSTGRES_H
#define WAYMARK_TESTS_SUPPORT_POSTGRES_H

#include <string>
#include <vector>

#include "tests/support/process.h"

namespace waymark_test {

class TestPostgres {
  public:
    // Started when the constructor returns; throws when it cannot be.
    // `migrated`: with this program's schema (store_migrate).
    explicit TestPostgres(bool migrated = true);
    ~TestPostgres();

    // "host=/tmp/... dbname=waymark user=waymark"
    std::string conninfo() const;
    const std::string &socket_dir() const
    {
        return dir_.path();
    }

    void start();
    // Fast shutdown: open transactions are rolled back, the rest is kept.
    void stop();
    void restart();
    // SIGKILL to the server and all its processes, as when the power goes.
    void kill9();
    bool running()
    {
        return process_.running();
    }

    // Runs SQL on a connection of its own; the rows as text. Throws on error.
    std::vector<std::vector<std::string>> query(const std::string &sql);
    // The first column of the first row, "" without one.
    std::string query_one(const std::string &sql);
    std::string log() const;

  private:
    TempDir dir_;
    Process process_;
};

} // namespace waymark_test

#endif
