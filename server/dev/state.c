/* server/dev/state.c - directories, ownership, the lock and the small files of dev mode.
 *
 * Must not start or stop anything.
 */
#include "server/dev/state.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* sun_path has 108 bytes; PostgreSQL adds "/.s.PGSQL.5432.lock". */
enum { SOCKET_DIR_LEN_MAX = 80, TREE_FDS_MAX = 32 };

static wm_code fail_path(wm_err *err, const char *path)
{
    return wm_fail(err, WM_PRECONDITION, "DEV_STATE", "%s: %s", path, strerror(errno));
}

static void join(char path[STATE_PATH_SIZE], const char *dir, const char *name)
{
    int len = snprintf(path, STATE_PATH_SIZE, "%s/%s", dir, name);
    if (len >= STATE_PATH_SIZE)
        path[0] = '\0'; /* opening it then fails and says so */
}

void dev_state_path(const dev_state *state, const char *name, char path[STATE_PATH_SIZE])
{
    join(path, state->dir, name);
}

void dev_state_data_path(const dev_state *state, const char *name, char path[STATE_PATH_SIZE])
{
    join(path, state->data, name);
}

/* Root may not run PostgreSQL: Debian's `postgres` user does, or else `nobody`. */
static wm_code choose_user(child_user *user, wm_err *err)
{
    *user = (child_user){false, getuid(), getgid()};
    if (getuid() != 0)
        return WM_OK;
    const struct passwd *entry = getpwnam("postgres");
    if (entry == NULL)
        entry = getpwnam("nobody");
    if (entry == NULL)
        return wm_fail(err, WM_PRECONDITION, "DEV_USER",
                       "there is neither a user postgres nor nobody to run PostgreSQL as");
    *user = (child_user){true, entry->pw_uid, entry->pw_gid};
    return WM_OK;
}

/* Asks the kernel, as that user, in a process of its own. */
static bool can_reach(const child_user *user, const char *dir)
{
    if (!user->drop)
        return true;
    pid_t pid = fork();
    if (pid == 0) {
        bool reached = setgid(user->gid) == 0 && setuid(user->uid) == 0 && access(dir, X_OK) == 0;
        _exit(reached ? 0 : 1);
    }
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static uint32_t path_hash(const char *path)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *path; path++)
        hash = (hash ^ (unsigned char)*path) * 16777619u;
    return hash;
}

static wm_code make_dir(const char *path, mode_t mode, wm_err *err)
{
    if (mkdir(path, mode) != 0 && errno != EEXIST)
        return fail_path(err, path);
    struct stat info;
    if (lstat(path, &info) != 0)
        return fail_path(err, path);
    if (!S_ISDIR(info.st_mode) || (info.st_uid != getuid() && getuid() != 0))
        return wm_fail(err, WM_PRECONDITION, "DEV_STATE", "%s is not a directory of this user",
                       path);
    return WM_OK;
}

static wm_code choose_data_dir(dev_state *state, wm_err *err)
{
    join(state->data, state->dir, "data");
    if (strlen(state->data) > SOCKET_DIR_LEN_MAX || !can_reach(&state->user, state->dir))
        snprintf(state->data, sizeof(state->data), "/var/tmp/waymark-%u-%08x", getuid(),
                 path_hash(state->dir));
    join(state->run, state->data, "run");
    return make_dir(state->data, 0711, err);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static wm_code remove_tree(const char *path, wm_err *err)
{
    if (nftw(path, remove_one, TREE_FDS_MAX, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return fail_path(err, path);
    return WM_OK;
}

static wm_code take_lock(dev_state *state, wm_err *err)
{
    char path[STATE_PATH_SIZE];
    dev_state_path(state, "lock", path);
    state->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (state->lock_fd < 0)
        return fail_path(err, path);
    if (flock(state->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return WM_OK;
    return wm_fail(err, WM_EXISTS, "DEV_RUNNING",
                   "waymarkd dev runs in %s already (./dev down stops it)", state->dir);
}

wm_code dev_state_open(dev_state *state, const char *dir, bool fresh, wm_err *err)
{
    memset(state, 0, sizeof(*state));
    state->lock_fd = -1;
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return fail_path(err, dir);
    char absolute[PATH_MAX];
    if (realpath(dir, absolute) == NULL || strlen(absolute) + 32 > STATE_PATH_SIZE)
        return fail_path(err, dir);
    memcpy(state->dir, absolute, strlen(absolute) + 1);

    wm_code code = choose_user(&state->user, err);
    if (code == WM_OK)
        code = take_lock(state, err);
    if (code == WM_OK)
        code = choose_data_dir(state, err);
    if (code == WM_OK && fresh) {
        static const char *const kept[] = {"postgres", "redis", "run"};
        for (size_t i = 0; i < WM_ARRAY_LEN(kept) && code == WM_OK; i++) {
            char path[STATE_PATH_SIZE];
            dev_state_data_path(state, kept[i], path);
            code = remove_tree(path, err);
        }
    }
    if (code == WM_OK)
        code = dev_state_make_data_dir(state, "run", err);
    return code;
}

void dev_state_close(dev_state *state)
{
    if (state->lock_fd >= 0)
        close(state->lock_fd);
    state->lock_fd = -1;
}

wm_code dev_state_make_data_dir(const dev_state *state, const char *name, wm_err *err)
{
    char path[STATE_PATH_SIZE];
    dev_state_data_path(state, name, path);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return fail_path(err, path);
    if (state->user.drop && lchown(path, state->user.uid, state->user.gid) != 0)
        return fail_path(err, path);
    return WM_OK;
}

wm_code dev_state_write_file(const dev_state *state, const char *name, const char *text,
                             wm_err *err)
{
    char path[STATE_PATH_SIZE], part[STATE_PATH_SIZE + 8];
    dev_state_path(state, name, path);
    snprintf(part, sizeof(part), "%s.part", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail_path(err, part);
    size_t size = strlen(text);
    bool written = write(fd, text, size) == (ssize_t)size;
    if (close(fd) != 0 || !written || rename(part, path) != 0)
        return fail_path(err, path);
    return WM_OK;
}

void dev_state_write_pid(const dev_state *state, const char *name, pid_t pid)
{
    char text[32];
    wm_err err;
    snprintf(text, sizeof(text), "%ld\n", (long)pid);
    if (dev_state_write_file(state, name, text, &err) != WM_OK)
        fprintf(stderr, "waymarkd: %s\n", err.message);
}

bool dev_state_read_env(const char *dir, const char *key, char *value, size_t size)
{
    char path[STATE_PATH_SIZE], line[STATE_PATH_SIZE];
    bool found = false;
    join(path, dir, "dev.env");
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t len = strlen(key);
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        found = strncmp(line, key, len) == 0 && line[len] == '=';
    }
    fclose(file);
    if (found)
        snprintf(value, size, "%s", line + len + 1);
    return found;
}
