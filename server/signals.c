/* server/signals.c - see signals.h. Handlers are never installed; the main thread waits. */
#include "server/signals.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

static void stop_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

void signals_block(void)
{
    sigset_t set;
    stop_set(&set);
    sigaddset(&set, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

bool signals_wait(unsigned timeout_ms)
{
    sigset_t set;
    stop_set(&set);
    sigaddset(&set, SIGCHLD);
    struct timespec timeout = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};
    int signal = sigtimedwait(&set, NULL, &timeout);
    return signal == SIGTERM || signal == SIGINT;
}

void signals_release(void)
{
    sigset_t set;
    stop_set(&set);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
