#include "tests/support/postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "server/store/migrate.h"

namespace waymark_test {

namespace {

// PostgreSQL refuses to run as root.
const char *const postgres_user = "postgres";
const char *const bin = "/usr/lib/postgresql/15/bin/";

std::vector<std::string> server_argv(const std::string &data, const std::string &socket_dir)
{
    return {std::string(bin) + "postgres", "-D", data, "-k", socket_dir, "-c",
            "listen_addresses=", "-c", "fsync=on", "-c", "max_connections=80", "-c",
            "shared_buffers=64MB", "-c", "dynamic_shared_memory_type=posix", "-c",
            "log_min_messages=warning",
            // Else a start after a kill opens and syncs every file, which takes seconds.
            "-c", "recovery_init_sync_method=syncfs"};
}

std::string conninfo_of(const std::string &socket_dir, const std::string &database)
{
    return "host=" + socket_dir + " dbname=" + database + " user=waymark";
}

std::vector<std::vector<std::string>> query_on(const std::string &conninfo, const std::string &sql)
{
    PGconn *pg = PQconnectdb(conninfo.c_str());
    PGresult *result = PQexec(pg, sql.c_str());
    ExecStatusType status = PQresultStatus(result);
    std::vector<std::vector<std::string>> rows;
    std::string error;
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY)
        error = PQerrorMessage(pg);
    for (int i = 0; i < PQntuples(result); i++) {
        rows.emplace_back();
        for (int j = 0; j < PQnfields(result); j++)
            rows.back().push_back(PQgetvalue(result, i, j));
    }
    PQclear(result);
    PQfinish(pg);
    if (!error.empty())
        throw std::runtime_error(error);
    return rows;
}

bool answers(const std::string &conninfo)
{
    return PQping(conninfo.c_str()) == PQPING_OK;
}

void start_server(Process &process, const std::string &data, const std::string &socket_dir)
{
    std::string log = socket_dir + "/log";
    process.start(server_argv(data, socket_dir), log, postgres_user, SIGINT);
    if (!wait_for(
            [&] { return !process.running() || answers(conninfo_of(socket_dir, "postgres")); },
            60000) ||
        !process.running())
        throw std::runtime_error("PostgreSQL did not start: " + read_file(log));
}

void make_template(const std::string &path)
{
    TempDir dir(postgres_user);
    std::string data = dir.path() + "/data";
    run_command({std::string(bin) + "initdb", "-D", data, "-A", "trust", "-U", "waymark", "-E",
                 "UTF8", "--locale=C", "--no-sync"},
                postgres_user);
    {
        Process process;
        start_server(process, data, dir.path());
        query_on(conninfo_of(dir.path(), "postgres"), "CREATE DATABASE waymark");
        query_on(conninfo_of(dir.path(), "waymark"), "CREATE EXTENSION postgis");
        process.signal(SIGINT);
        process.wait(60000);
    }
    run_command({"cp", "-a", data, path + ".new"}, postgres_user);
    std::filesystem::rename(path + ".new", path);
}

// One per user and machine; the lock lets one test make it while others wait.
std::string template_path()
{
    std::string home = "/tmp/waymark-test-template-" + std::to_string(geteuid());
    TempDir probe(postgres_user); // has the right owner
    struct stat owner;
    if (mkdir(home.c_str(), 0755) == 0 && stat(probe.path().c_str(), &owner) == 0 &&
        chown(home.c_str(), owner.st_uid, owner.st_gid) != 0)
        throw std::runtime_error("chown failed");
    int lock = open((home + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock < 0 || flock(lock, LOCK_EX) != 0)
        throw std::runtime_error("cannot lock " + home);
    std::string path = home + "/15";
    if (!std::filesystem::exists(path)) {
        std::filesystem::remove_all(path + ".new");
        make_template(path);
    }
    close(lock);
    return path;
}

std::vector<pid_t> children_of(pid_t parent)
{
    std::vector<pid_t> children;
    for (const auto &entry : std::filesystem::directory_iterator("/proc")) {
        std::string name = entry.path().filename();
        if (name.empty() || name[0] < '0' || name[0] > '9')
            continue;
        std::string stat = read_file(entry.path().string() + "/stat");
        size_t after_name = stat.rfind(')');
        int ppid = 0;
        if (after_name != std::string::npos &&
            sscanf(stat.c_str() + after_name + 1, " %*c %d", &ppid) == 1 && ppid == parent)
            children.push_back(atoi(name.c_str()));
    }
    return children;
}

} // namespace

TestPostgres::TestPostgres(bool migrated) : dir_(postgres_user)
{
    run_command({"cp", "-a", template_path(), dir_.path() + "/data"}, postgres_user);
    start();
    wm_err err;
    if (migrated && store_migrate(conninfo().c_str(), &err) != WM_OK)
        throw std::runtime_error(err.message);
}

TestPostgres::~TestPostgres()
{
    kill9();
}

std::string TestPostgres::conninfo() const
{
    return conninfo_of(dir_.path(), "waymark");
}

void TestPostgres::start()
{
    start_server(process_, dir_.path() + "/data", dir_.path());
}

void TestPostgres::stop()
{
    process_.signal(SIGINT);
    process_.wait(60000);
}

void TestPostgres::restart()
{
    stop();
    start();
}

void TestPostgres::kill9()
{
    if (!process_.running())
        return;
    // Stopped first, so that it starts no process between the look and the kill.
    pid_t postmaster = process_.pid();
    process_.signal(SIGSTOP);
    std::vector<pid_t> children = children_of(postmaster);
    for (pid_t child : children)
        kill(child, SIGKILL);
    process_.signal(SIGKILL);
    process_.wait();
    wait_for([&] {
        for (pid_t child : children)
            if (kill(child, 0) == 0)
                return false;
        return true;
    });
}

std::vector<std::vector<std::string>> TestPostgres::query(const std::string &sql)
{
    return query_on(conninfo(), sql);
}

std::string TestPostgres::query_one(const std::string &sql)
{
    auto rows = query(sql);
    return rows.empty() || rows[0].empty() ? "" : rows[0][0];
}

std::string TestPostgres::log() const
{
    return read_file(dir_.path() + "/log");
}

} // namespace waymark_test
