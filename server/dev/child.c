/* server/dev/child.c - fork, become the right user, exec; and the other way round.
 *
 * waymarkd has threads when a child is started again, so between fork and exec only
 * async-signal-safe calls are made.
 */
#include "server/dev/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { NAP_MS = 10 };

void child_nap_ms(unsigned ms)
{
    struct timespec nap = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&nap, NULL);
}

/* In the child, until exec; a failure ends it with 127. */
static void become(const child_spec *spec, int log_fd, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (log_fd >= 0 && (dup2(log_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0))
        _exit(127);
    int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0)
        _exit(127);
    setpgid(0, 0); /* Ctrl-C at the terminal is waymarkd's to handle */
    const child_user *user = spec->user;
    if (user->drop && (setgroups(0, NULL) != 0 || setgid(user->gid) != 0 || setuid(user->uid) != 0))
        _exit(127);
    if (spec->directory != NULL && chdir(spec->directory) != 0)
        _exit(127);
    /* Changing the user clears this, so it comes after. */
    if (spec->death_signal != 0 && prctl(PR_SET_PDEATHSIG, spec->death_signal) != 0)
        _exit(127);
    if (spec->death_signal != 0 && getppid() != parent)
        _exit(127);
    execv(spec->argv[0], (char *const *)(uintptr_t)spec->argv);
    _exit(127);
}

pid_t child_start(const child_spec *spec, wm_err *err)
{
    int log_fd = -1;
    if (spec->log_file != NULL) {
        log_fd = open(spec->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0) {
            wm_fail(err, WM_UNAVAILABLE, "DEV_LOG", "%s: %s", spec->log_file, strerror(errno));
            return -1;
        }
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(spec, log_fd, parent);
    if (log_fd >= 0)
        close(log_fd);
    if (pid < 0)
        wm_fail(err, WM_UNAVAILABLE, "DEV_FORK", "%s: %s", spec->argv[0], strerror(errno));
    return pid;
}

int child_run(const child_spec *spec, unsigned timeout_ms)
{
    pid_t pid = child_start(spec, NULL);
    if (pid < 0)
        return -1;
    int64_t end_us = wm_monotonic_us() + (int64_t)timeout_ms * 1000;
    for (;;) {
        int status = 0;
        pid_t ended = waitpid(pid, &status, WNOHANG);
        if (ended == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        if (ended < 0 && errno != EINTR)
            return -1;
        if (wm_monotonic_us() > end_us)
            break;
        child_nap_ms(NAP_MS);
    }
    child_stop(pid, SIGKILL, 1000);
    return -1;
}

bool child_has_ended(pid_t pid)
{
    return waitpid(pid, NULL, WNOHANG) == pid;
}

bool child_exists(pid_t pid)
{
    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

void child_stop(pid_t pid, int signal, unsigned timeout_ms)
{
    int64_t end_us = wm_monotonic_us() + (int64_t)timeout_ms * 1000;
    kill(pid, signal);
    while (!child_has_ended(pid) && child_exists(pid)) {
        if (wm_monotonic_us() > end_us) {
            kill(pid, SIGKILL);
            end_us = INT64_MAX;
        }
        child_nap_ms(NAP_MS);
    }
}
