/* server/dev/child.h - processes that dev mode starts, watches and stops.
 *
 * A child gets its own user, its log file and SIGINT or the like when waymarkd dies,
 * however it dies. Threads: only the main thread forks and waits.
 */
#ifndef WAYMARK_SERVER_DEV_CHILD_H
#define WAYMARK_SERVER_DEV_CHILD_H

#include <sys/types.h>

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct child_user {
    bool drop; /* become this user: waymarkd runs as root */
    uid_t uid;
    gid_t gid;
} child_user;

typedef struct child_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is the program's path */
    const child_user *user;
    const char *log_file;  /* standard output and error are appended here */
    const char *directory; /* to run in */
    int death_signal;      /* sent when waymarkd dies; 0: none */
} child_spec;

/* Starts a program; its pid, or -1 with `err`. */
pid_t child_start(const child_spec *spec, wm_err *err);
/* Starts a program and waits up to timeout_ms for its end; the exit status, or -1. */
int child_run(const child_spec *spec, unsigned timeout_ms);
/* Has it ended? Reaps it if so. */
bool child_has_ended(pid_t pid);
/* Sends `signal`, waits up to timeout_ms, then kills. For any process, child or not. */
void child_stop(pid_t pid, int signal, unsigned timeout_ms);
/* Does a process with this id exist? */
bool child_exists(pid_t pid);
void child_nap_ms(unsigned ms);

#ifdef __cplusplus
}
#endif
#endif
