/* client/cli/retry.c - trying again while a server is away; see retry.h. */
#include "client/cli/retry.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/random.h"

enum { RETRY_WAIT_MIN_MS = 100, RETRY_WAIT_MAX_MS = 3000 };

void retry_begin(retry *retry, double for_s)
{
    retry->for_s = for_s;
    retry_heard(retry);
    retry->was_heard = false;
}

void retry_heard(retry *retry)
{
    retry->heard_us = wm_monotonic_us();
    retry->tries = 0;
    retry->was_heard = true;
}

double retry_silent_s(const retry *retry)
{
    return (double)(wm_monotonic_us() - retry->heard_us) / 1e6;
}

bool retry_is_worth(int code)
{
    return code == WAYMARK_UNAVAILABLE || code == WAYMARK_CANCELLED || code == WAYMARK_UNKNOWN ||
           code == WAYMARK_INTERNAL || code == WAYMARK_RESOURCE_EXHAUSTED ||
           code == WAYMARK_ABORTED || code == WAYMARK_DEADLINE_EXCEEDED;
}

/* 0.1 s, 0.16 s ... 3 s, and up to half of that on top, so that not all clients come at once. */
static int64_t retry_wait_ms(const retry *retry)
{
    double ms = RETRY_WAIT_MIN_MS * pow(1.6, retry->tries);
    int64_t capped = ms < RETRY_WAIT_MAX_MS ? (int64_t)ms : RETRY_WAIT_MAX_MS;

    return capped + (int64_t)wm_random_below((uint64_t)capped / 2 + 1);
}

bool retry_wait(retry *retry, int64_t asked_ms)
{
    int64_t ms = retry_wait_ms(retry);
    struct timespec time;

    if (retry_silent_s(retry) > retry->for_s)
        return false;
    retry->tries++;
    ms = ms > asked_ms ? ms : asked_ms;
    time.tv_sec = ms / 1000;
    time.tv_nsec = ms % 1000 * 1000000;
    nanosleep(&time, NULL);
    return true;
}

bool retry_stream(retry *retry, const waymark_status *status)
{
    if (!retry->was_heard || !retry_is_worth((int)status->code))
        return false;
    if (retry->tries == 0)
        fprintf(stderr, "waymark: %s: %s; trying again\n", waymark_code_name(status->code),
                status->message);
    return retry_wait(retry, status->retry_delay_ms);
}
