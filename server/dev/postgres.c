/* server/dev/postgres.c - initdb, start, watch and stop of dev mode's PostgreSQL.
 *
 * Talks to it only through PostgreSQL's own programs; queries are store/'s business.
 */
#include "server/dev/postgres.h"

#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    INIT_MS = 120000,
    START_MS = 60000,
    PROGRAM_MS = 20000,
    STOP_MS = 20000,
    HANDOVER_MS = 2000 /* pg_ctl restart: the new server follows the old one within this */
};

/* The newest version installed, where Debian puts it, or what PATH says elsewhere. */
static wm_code find_bin(dev_postgres *postgres, wm_err *err)
{
    glob_t found;
    int rc = glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found);
    if (rc == 0) {
        snprintf(postgres->bin, sizeof(postgres->bin), "%s", found.gl_pathv[found.gl_pathc - 1]);
        *strrchr(postgres->bin, '/') = '\0';
    }
    globfree(&found);
    if (rc == 0)
        return WM_OK;
    return wm_fail(
        err, WM_PRECONDITION, "DEV_POSTGRES",
        "PostgreSQL is not installed: apt-get install postgresql-15 postgresql-15-postgis-3");
}

/* Runs one of PostgreSQL's programs to its end; true when it exits with 0. */
static bool run(const dev_postgres *postgres, const char *program, const char *const *arguments,
                unsigned timeout_ms)
{
    char path[STATE_PATH_SIZE + 32], log[STATE_PATH_SIZE];
    const char *argv[16] = {path};
    size_t n = 1;
    snprintf(path, sizeof(path), "%s/%s", postgres->bin, program);
    while (*arguments != NULL && n < WM_ARRAY_LEN(argv) - 1)
        argv[n++] = *arguments++;
    dev_state_path(postgres->state, "postgres.log", log);
    child_spec spec = {argv, &postgres->state->user, log, postgres->state->data, SIGKILL};
    return child_run(&spec, timeout_ms) == 0;
}

static wm_code init_data(const dev_postgres *postgres, wm_err *err)
{
    if (access(postgres->data, F_OK) == 0)
        return WM_OK;
    wm_log(WM_LOG_INFO, "creating the database cluster", wm_log_s("directory", postgres->data));
    char part[STATE_PATH_SIZE];
    dev_state_data_path(postgres->state, "run/postgres.new", part);
    const char *arguments[] = {"-D",
                               part,
                               "-U",
                               "waymark",
                               "--auth=trust",
                               "-E",
                               "UTF8",
                               "--locale=C.UTF-8",
                               "--no-instructions",
                               NULL};
    const char *clean[] = {"-rf", part, NULL};
    const char *argv[] = {"/bin/rm", clean[0], clean[1], NULL};
    child_spec remove = {argv, &postgres->state->user, NULL, NULL, 0};
    child_run(&remove, PROGRAM_MS);
    if (!run(postgres, "initdb", arguments, INIT_MS))
        return wm_fail(err, WM_UNAVAILABLE, "DEV_POSTGRES", "initdb failed; see %s/postgres.log",
                       postgres->state->dir);
    if (rename(part, postgres->data) != 0)
        return wm_fail(err, WM_UNAVAILABLE, "DEV_POSTGRES", "%s: %s", postgres->data,
                       strerror(errno));
    return WM_OK;
}

/* The postmaster's id as its lock file says, 0 when there is none alive. */
static pid_t running_pid(const dev_postgres *postgres)
{
    char path[STATE_PATH_SIZE + 32];
    long pid = 0;
    snprintf(path, sizeof(path), "%s/postmaster.pid", postgres->data);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%ld", &pid) != 1)
        pid = 0;
    fclose(file);
    return child_exists((pid_t)pid) ? (pid_t)pid : 0;
}

static bool is_ready(const dev_postgres *postgres)
{
    const char *arguments[] = {"-q", "-h", postgres->state->run, "-t", "1", NULL};
    return run(postgres, "pg_isready", arguments, PROGRAM_MS);
}

static wm_code launch(dev_postgres *postgres, wm_err *err)
{
    char program[STATE_PATH_SIZE + 32], sockets[STATE_PATH_SIZE + 64], log[STATE_PATH_SIZE];
    snprintf(program, sizeof(program), "%s/postgres", postgres->bin);
    snprintf(sockets, sizeof(sockets), "unix_socket_directories=%s", postgres->state->run);
    dev_state_path(postgres->state, "postgres.log", log);
    /* fsync and synchronous_commit stay on: acknowledged means committed, on a laptop too. */
    const char *argv[] = {program,
                          "-D",
                          postgres->data,
                          "-c",
                          sockets,
                          "-c",
                          "listen_addresses=",
                          "-c",
                          "unix_socket_permissions=0700",
                          "-c",
                          "max_connections=200",
                          "-c",
                          "shared_buffers=128MB",
                          "-c",
                          "max_wal_size=2GB",
                          "-c",
                          "checkpoint_timeout=15min",
                          "-c",
                          "jit=off",
                          NULL};
    child_spec spec = {argv, &postgres->state->user, log, postgres->state->data, SIGINT};
    postgres->pid = child_start(&spec, err);
    postgres->is_child = true;
    if (postgres->pid < 0)
        return WM_UNAVAILABLE;
    dev_state_write_pid(postgres->state, "postgres.pid", postgres->pid);
    return WM_OK;
}

static wm_code wait_ready(dev_postgres *postgres, wm_err *err)
{
    int64_t end_us = wm_monotonic_us() + (int64_t)START_MS * 1000;
    while (!is_ready(postgres)) {
        if (child_has_ended(postgres->pid) || wm_monotonic_us() > end_us) {
            return wm_fail(err, WM_UNAVAILABLE, "DEV_POSTGRES",
                           "PostgreSQL does not start; see %s/postgres.log", postgres->state->dir);
        }
        child_nap_ms(50);
    }
    return WM_OK;
}

static wm_code ensure_database(const dev_postgres *postgres, wm_err *err)
{
    const char *run_dir = postgres->state->run;
    const char *probe[] = {"-qAt", "-h",      run_dir, "-U",       "waymark",
                           "-d",   "waymark", "-c",    "select 1", NULL};
    const char *create[] = {"-h", run_dir, "-U", "waymark", "waymark", NULL};
    if (run(postgres, "psql", probe, PROGRAM_MS) || run(postgres, "createdb", create, PROGRAM_MS))
        return WM_OK;
    return wm_fail(err, WM_UNAVAILABLE, "DEV_POSTGRES", "createdb failed; see %s/postgres.log",
                   postgres->state->dir);
}

wm_code dev_postgres_start(dev_postgres *postgres, const dev_state *state, wm_err *err)
{
    memset(postgres, 0, sizeof(*postgres));
    postgres->state = state;
    dev_state_data_path(state, "postgres", postgres->data);
    snprintf(postgres->conninfo, sizeof(postgres->conninfo), "host=%s user=waymark dbname=waymark",
             state->run);
    wm_code code = find_bin(postgres, err);
    if (code == WM_OK)
        code = init_data(postgres, err);
    /* One that a killed waymarkd left behind is on its way down; help it. */
    pid_t left = code == WM_OK ? running_pid(postgres) : 0;
    if (left != 0)
        child_stop(left, SIGINT, STOP_MS);
    if (code == WM_OK)
        code = launch(postgres, err);
    if (code == WM_OK)
        code = wait_ready(postgres, err);
    if (code == WM_OK)
        code = ensure_database(postgres, err);
    return code;
}

void dev_postgres_watch(dev_postgres *postgres)
{
    bool ended = postgres->is_child ? child_has_ended(postgres->pid) : !child_exists(postgres->pid);
    if (!ended)
        return;
    wm_log(WM_LOG_WARN, "PostgreSQL ended", wm_log_i("pid", postgres->pid));
    int64_t end_us = wm_monotonic_us() + (int64_t)HANDOVER_MS * 1000;
    while (running_pid(postgres) == 0 && wm_monotonic_us() < end_us)
        child_nap_ms(50);
    pid_t successor = running_pid(postgres);
    if (successor != 0) {
        postgres->pid = successor;
        postgres->is_child = false;
        dev_state_write_pid(postgres->state, "postgres.pid", successor);
        return;
    }
    wm_err err;
    if (launch(postgres, &err) != WM_OK)
        wm_log(WM_LOG_ERROR, "PostgreSQL does not start", wm_log_s("why", err.message));
}

void dev_postgres_stop(dev_postgres *postgres)
{
    if (postgres->pid > 0)
        child_stop(postgres->pid, SIGINT, STOP_MS);
    postgres->pid = 0;
}
