/* tests/bench/usage.c - what the server, PostgreSQL and this program have used so far. */
#include "tests/bench/usage.h"

#include <dirent.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct usage_source {
    int server_pid;
    int postmaster_pid;
    PGconn *database;
};

/* Fields of /proc/PID/stat, behind the command's name. */
typedef struct process_stat {
    int parent;
    double self_ticks, children_ticks;
} process_stat;

static bool read_stat(int pid, process_stat *stat)
{
    unsigned long user, system;
    long child_user, child_system;
    char path[64], text[1024], *after_name;
    FILE *in;
    size_t size;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    in = fopen(path, "r");
    if (in == NULL)
        return false;
    size = fread(text, 1, sizeof(text) - 1, in);
    fclose(in);
    text[size] = 0;
    after_name = strrchr(text, ')');
    if (after_name == NULL ||
        sscanf(after_name + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld",
               &stat->parent, &user, &system, &child_user, &child_system) != 5)
        return false;
    stat->self_ticks = (double)(user + system);
    stat->children_ticks = (double)(child_user + child_system);
    return true;
}

static double ticks_to_us(double ticks)
{
    return ticks * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

/* A process with its children, also those that have ended. */
static double tree_cpu_us(int root)
{
    process_stat stat;
    double ticks = 0;
    DIR *proc = opendir("/proc");
    const struct dirent *entry;

    while (proc != NULL && (entry = readdir(proc)) != NULL) {
        int pid = atoi(entry->d_name);

        if (pid <= 0 || !read_stat(pid, &stat))
            continue;
        if (pid == root)
            ticks += stat.self_ticks + stat.children_ticks;
        else if (stat.parent == root)
            ticks += stat.self_ticks;
    }
    if (proc != NULL)
        closedir(proc);
    return ticks_to_us(ticks);
}

/* A "VmRSS:  123 kB" line of /proc/PID/status, in megabytes. */
static double status_mb(int pid, const char *name)
{
    char path[64], line[256];
    double kb = 0;
    FILE *in;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    in = fopen(path, "r");
    while (in != NULL && fgets(line, sizeof(line), in) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            kb = atof(line + strlen(name) + 1);
    if (in != NULL)
        fclose(in);
    return kb / 1024;
}

static int read_pid(const char *state, const char *name)
{
    char path[512];
    int pid = 0;
    FILE *in;

    snprintf(path, sizeof(path), "%s/%s.pid", state, name);
    in = fopen(path, "r");
    if (in == NULL)
        return 0;
    if (fscanf(in, "%d", &pid) != 1)
        pid = 0;
    fclose(in);
    return pid;
}

static PGconn *open_database(void)
{
    PGconn *database;

    if (getenv("PGHOST") == NULL)
        return NULL;
    database = PQconnectdb("application_name=waymark_bench");
    if (PQstatus(database) == CONNECTION_OK)
        return database;
    fprintf(stderr, "no figures of the database: %s", PQerrorMessage(database));
    PQfinish(database);
    return NULL;
}

usage_source *usage_open(const char *state)
{
    usage_source *source = calloc(1, sizeof(*source));
    process_stat stat;

    if (source == NULL)
        abort();
    if (state != NULL)
        source->server_pid = read_pid(state, "waymarkd");
    source->database = open_database();
    if (source->database != NULL && read_stat(PQbackendPID(source->database), &stat))
        source->postmaster_pid = stat.parent;
    return source;
}

void usage_close(usage_source *source)
{
    if (source->database != NULL)
        PQfinish(source->database);
    free(source);
}

bool usage_has_server(const usage_source *source)
{
    return source->server_pid > 0;
}

bool usage_has_database(const usage_source *source)
{
    return source->database != NULL;
}

static void read_database(PGconn *database, usage *usage)
{
    PGresult *result =
        PQexec(database, "SELECT xact_commit, tup_inserted + tup_updated + tup_deleted,"
                         " pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
                         " FROM pg_stat_database WHERE datname = current_database()");

    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
        usage->commits = atof(PQgetvalue(result, 0, 0));
        usage->rows = atof(PQgetvalue(result, 0, 1));
        usage->wal_bytes = atof(PQgetvalue(result, 0, 2));
    } else {
        fprintf(stderr, "the database's counters: %s", PQerrorMessage(database));
    }
    PQclear(result);
}

void usage_read(usage_source *source, usage *usage)
{
    struct rusage self;
    process_stat stat;

    memset(usage, 0, sizeof(*usage));
    getrusage(RUSAGE_SELF, &self);
    usage->client_cpu_us = (double)(self.ru_utime.tv_sec + self.ru_stime.tv_sec) * 1e6 +
                           (double)(self.ru_utime.tv_usec + self.ru_stime.tv_usec);
    if (source->server_pid > 0 && read_stat(source->server_pid, &stat)) {
        usage->server_cpu_us = ticks_to_us(stat.self_ticks);
        usage->server_rss_mb = status_mb(source->server_pid, "VmRSS");
        usage->server_peak_rss_mb = status_mb(source->server_pid, "VmHWM");
    }
    if (source->postmaster_pid > 0)
        usage->postgres_cpu_us = tree_cpu_us(source->postmaster_pid);
    if (source->database != NULL)
        read_database(source->database, usage);
}
