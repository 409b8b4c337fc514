/* client/cli/watchdog.h - cancels a stream on which nothing has come for too long.
 *
 * A server that is there but says nothing would hold a waiting call for ever.
 *
 * Threads: a thread of its own watches; the functions are for the thread that uses the stream.
 */
#ifndef WAYMARK_CLIENT_CLI_WATCHDOG_H
#define WAYMARK_CLIENT_CLI_WATCHDOG_H

#include <pthread.h>
#include <waymark/waymark.h>

#include "base/code.h"

typedef struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started, over;
    waymark_stream *stream;
    int64_t limit_us, heard_us;
} watchdog;

/* Watches until watchdog_stop(), which comes before the stream is freed. */
void watchdog_start(watchdog *dog, waymark_stream *stream, double limit_s);
/* Something has come. */
void watchdog_heard(watchdog *dog);
void watchdog_stop(watchdog *dog);

#endif
