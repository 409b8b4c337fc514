/* client/cli/retry.h - trying again while a server is away: how often, and until when. */
#ifndef WAYMARK_CLIENT_CLI_RETRY_H
#define WAYMARK_CLIENT_CLI_RETRY_H

#include <waymark/waymark.h>

#include "base/code.h"

#define RETRY_FOR_S 60.0
/* The option of commands that try again; its value is a double. */
#define RETRY_OPTION(to)                                                                          \
    {                                                                                             \
        "--retry-for", ARGS_SECONDS, (to), "TIME", "how long to try without an answer (else 60s)" \
    }

typedef struct retry {
    double for_s;     /* how long to try without hearing anything */
    int64_t heard_us; /* when we heard last */
    int tries;        /* since then */
    bool was_heard;
} retry;

void retry_begin(retry *retry, double for_s);
/* The server has said something useful. */
void retry_heard(retry *retry);
double retry_silent_s(const retry *retry);
/* Whether a call that ended with this code may end better another time. */
bool retry_is_worth(int code);
/* Waits before the next try, at least `asked_ms`; false, at once, when it is time to give up. */
WM_MUST_USE bool retry_wait(retry *retry, int64_t asked_ms);

/* The same for a stream that ended: only worth it where there was one before. Says that it is gone.
 */
WM_MUST_USE bool retry_stream(retry *retry, const waymark_status *status);

#endif
