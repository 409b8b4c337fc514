/* client/retry.h - whether an attempt that failed is followed by another, and when.
 *
 * Threads: pure functions of their input; a budget is atomic and may be shared.
 */
#ifndef WAYMARK_CLIENT_RETRY_H
#define WAYMARK_CLIENT_RETRY_H

#include "base/method.h"
#include "include/waymark/client.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    RETRY_ATTEMPTS = 3,
    RETRY_ATTEMPTS_MAX = 5,
    RETRY_BACKOFF_MS = 100,
    RETRY_BACKOFF_MAX_MS = 2000,
    /* The budget in tenths of a failure: full, and what must be left to repeat. */
    RETRY_BUDGET_FULL = 100,
    RETRY_BUDGET_LEFT = 50,
    RETRY_BUDGET_FAILURE = 10
};

typedef struct retry_policy {
    unsigned attempts_max; /* 1: none is repeated */
    int64_t backoff_ms, backoff_max_ms;
} retry_policy;

/* What may be lost to repeating: attempts that fail take from it, calls that succeed give back,
 * so that a server in trouble gets no more than its ordinary load for long. */
typedef struct retry_budget {
    int tenths; /* by __atomic functions, so that C++ can include this */
} retry_budget;

/* With the defaults put in. False: a value is out of its range. */
WAYMARK_MUST_USE bool retry_policy_make(const waymark_retry *retry, bool has_service_config,
                                        retry_policy *policy);
/* May requests of this method be sent twice? */
bool retry_method_allows(const wm_method *method);
/* Is this a failure that another attempt may cure? */
bool retry_is_worth_it(const waymark_status *status);
/* How long to wait before attempt `attempts` + 1, or -1: this is the call's end. `left_ms`: until
 * its deadline; INT64_MAX without one. `random`: any number. */
int64_t retry_delay_ms(const retry_policy *policy, unsigned attempts_max, unsigned attempts,
                       const waymark_status *status, int64_t left_ms, uint32_t random);

void retry_budget_init(retry_budget *budget);
void retry_budget_succeeded(retry_budget *budget);
/* Takes a failure's worth; true: another attempt may follow. */
bool retry_budget_failed(retry_budget *budget);

#ifdef __cplusplus
}
#endif
#endif
