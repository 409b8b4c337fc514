/* client/cli/watchdog.c - cancels a silent stream; see watchdog.h. */
#include "client/cli/watchdog.h"

#include <time.h>

#include "base/clock.h"

enum { WATCHDOG_LOOK_EVERY_MS = 250 };

static void watchdog_wait(watchdog *dog)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += (long)WATCHDOG_LOOK_EVERY_MS * 1000000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&dog->changed, &dog->lock, &end);
}

static void *watchdog_run(void *self)
{
    watchdog *dog = self;

    pthread_mutex_lock(&dog->lock);
    while (!dog->over) {
        if (wm_monotonic_us() - dog->heard_us > dog->limit_us) {
            waymark_stream_cancel(dog->stream);
            dog->over = true;
        } else {
            watchdog_wait(dog);
        }
    }
    pthread_mutex_unlock(&dog->lock);
    return NULL;
}

void watchdog_start(watchdog *dog, waymark_stream *stream, double limit_s)
{
    dog->stream = stream;
    dog->limit_us = (int64_t)(limit_s * 1e6);
    dog->heard_us = wm_monotonic_us();
    dog->over = false;
    pthread_mutex_init(&dog->lock, NULL);
    pthread_cond_init(&dog->changed, NULL);
    /* Without a thread the stream goes unwatched, which is no reason not to use it. */
    dog->started = pthread_create(&dog->thread, NULL, watchdog_run, dog) == 0;
}

void watchdog_heard(watchdog *dog)
{
    pthread_mutex_lock(&dog->lock);
    dog->heard_us = wm_monotonic_us();
    pthread_mutex_unlock(&dog->lock);
}

void watchdog_stop(watchdog *dog)
{
    pthread_mutex_lock(&dog->lock);
    dog->over = true;
    pthread_cond_signal(&dog->changed);
    pthread_mutex_unlock(&dog->lock);
    if (dog->started)
        pthread_join(dog->thread, NULL);
    pthread_cond_destroy(&dog->changed);
    pthread_mutex_destroy(&dog->lock);
}
