/* client/cli/run_command.c - runs a shell command; see run_command.h.
 *
 * Three pipes, served by one poll(2) loop: input goes out as fast as the command reads it, so that
 * a command that prints much before it reads cannot lock up. The command has a process group of
 * its own, so that cancelling ends its children as well.
 */
#include "client/cli/run_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    RUN_CHUNK = 16 * 1024,
    RUN_TICK_MS = 250,
    RUN_KILL_AFTER_US = 5000000,
    RUN_LEAVE_AFTER_US = 7000000
};

typedef struct run_pipes {
    int in[2], out[2], err[2]; /* read end, write end; -1 when closed */
} run_pipes;

static void run_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void run_close_all(run_pipes *pipes)
{
    for (int i = 0; i < 2; i++) {
        run_close(&pipes->in[i]);
        run_close(&pipes->out[i]);
        run_close(&pipes->err[i]);
    }
}

static bool run_open(run_pipes *pipes)
{
    memset(pipes, 0xFF, sizeof(*pipes)); /* -1 */
    return pipe2(pipes->in, O_CLOEXEC) == 0 && pipe2(pipes->out, O_CLOEXEC) == 0 &&
           pipe2(pipes->err, O_CLOEXEC) == 0;
}

/* The command gets the usual signals back, which waymark itself blocks or ignores. */
static int run_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, defaults;

    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGTERM);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &defaults);
    posix_spawnattr_setpgroup(attributes, 0);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                    POSIX_SPAWN_SETPGROUP);
}

static int run_spawn(const run_command *run, const run_pipes *pipes, pid_t *pid)
{
    char *const argv[] = {"sh", "-c", (char *)(uintptr_t)run->command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int rc;

    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, pipes->in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, pipes->out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, pipes->err[1], STDERR_FILENO);
    rc = run_attributes(&attributes);
    if (rc == 0)
        rc = posix_spawn(pid, "/bin/sh", &actions, &attributes, argv, run->environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return rc;
}

/* Forgets the first bytes, and what they leave of a UTF-8 character. */
static void run_forget(wm_buf *errors, size_t size)
{
    for (int i = 0; i < 3 && size < errors->size && (errors->data[size] & 0xC0) == 0x80; i++)
        size++;
    errors->size -= size;
    memmove(errors->data, errors->data + size, errors->size + 1); /* and the NUL at the end */
}

/* Keeps about the last RUN_ERRORS_MAX / 2 bytes, or more. */
static void run_keep_errors(wm_buf *errors, const char *bytes, size_t size)
{
    wm_buf_add(errors, bytes, size);
    if (errors->size > RUN_ERRORS_MAX)
        run_forget(errors, errors->size - RUN_ERRORS_MAX / 2);
}

/* Reads what is there; closes the pipe at its end. */
static void run_read(int *fd, wm_buf *to, bool is_errors)
{
    char chunk[RUN_CHUNK];
    ssize_t got = read(*fd, chunk, sizeof(chunk));

    if (got > 0 && is_errors) {
        if (write(STDERR_FILENO, chunk, (size_t)got) < 0)
            errno = 0; /* nobody looks; the command goes on */
        run_keep_errors(to, chunk, (size_t)got);
    } else if (got > 0) {
        wm_buf_add(to, chunk, (size_t)got);
    } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
        run_close(fd);
    }
}

static void run_write(int *fd, const char **at, size_t *left)
{
    ssize_t sent = *left > 0 ? write(*fd, *at, *left) : 0;

    if (sent > 0) {
        *at += sent;
        *left -= (size_t)sent;
    }
    /* Done, or the command does not read its input, which is its own business. */
    if (*left == 0 || (sent < 0 && errno != EINTR && errno != EAGAIN))
        run_close(fd);
}

/* Asks the whole group to end, and then makes it. False when even that has not closed the pipes:
 * something that left the group has them, and is left behind. */
static bool run_cancel(run_command *run, pid_t pid, int64_t *since_us)
{
    int64_t now_us = wm_monotonic_us();

    if (!run->was_cancelled) {
        run->was_cancelled = true;
        *since_us = now_us;
        kill(-pid, SIGTERM);
    } else if (now_us - *since_us > RUN_KILL_AFTER_US) {
        kill(-pid, SIGKILL);
    }
    return now_us - *since_us < RUN_LEAVE_AFTER_US;
}

static void run_serve(run_command *run, run_pipes *pipes, pid_t pid)
{
    const char *at = run->input;
    size_t left = run->input_size;
    int64_t cancelled_us = 0;

    fcntl(pipes->in[1], F_SETFL, O_NONBLOCK);
    while (pipes->out[0] >= 0 || pipes->err[0] >= 0) {
        struct pollfd fds[] = {{.fd = pipes->in[1], .events = POLLOUT},
                               {.fd = pipes->out[0], .events = POLLIN},
                               {.fd = pipes->err[0], .events = POLLIN}};

        poll(fds, 3, RUN_TICK_MS);
        if (fds[0].revents != 0)
            run_write(&pipes->in[1], &at, &left);
        if (fds[1].revents != 0)
            run_read(&pipes->out[0], &run->output, false);
        if (fds[2].revents != 0)
            run_read(&pipes->err[0], &run->errors, true);
        if ((run->was_cancelled || (run->cancelled != NULL && run->cancelled(run->ctx))) &&
            !run_cancel(run, pid, &cancelled_us))
            return;
    }
}

bool run_command_do(run_command *run)
{
    run_pipes pipes;
    pid_t pid;
    int status, rc;

    wm_buf_init(&run->output, RUN_OUTPUT_MAX);
    wm_buf_init(&run->errors, RUN_ERRORS_MAX + RUN_CHUNK);
    run->was_cancelled = false;
    rc = run_open(&pipes) ? run_spawn(run, &pipes, &pid) : errno;
    if (rc != 0) {
        run_close_all(&pipes);
        errno = rc;
        return false;
    }
    run_close(&pipes.in[0]);
    run_close(&pipes.out[1]);
    run_close(&pipes.err[1]);
    run_serve(run, &pipes, pid);
    run_close_all(&pipes);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    run->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

void run_command_free(run_command *run)
{
    wm_buf_free(&run->output);
    wm_buf_free(&run->errors);
}
