/* client/retry.c - whether an attempt that failed is followed by another, and when. */
#include "client/retry.h"

bool retry_policy_make(const waymark_retry *retry, bool has_service_config, retry_policy *policy)
{
    policy->attempts_max = retry->attempts_max;
    if (policy->attempts_max == 0) /* two that repeat would multiply */
        policy->attempts_max = has_service_config ? 1 : RETRY_ATTEMPTS;
    policy->backoff_ms = retry->backoff_ms != 0 ? retry->backoff_ms : RETRY_BACKOFF_MS;
    policy->backoff_max_ms =
        retry->backoff_max_ms != 0 ? retry->backoff_max_ms : RETRY_BACKOFF_MAX_MS;
    if (policy->backoff_max_ms < policy->backoff_ms && retry->backoff_max_ms == 0)
        policy->backoff_max_ms = policy->backoff_ms;
    return policy->attempts_max <= RETRY_ATTEMPTS_MAX && policy->backoff_ms > 0 &&
           policy->backoff_ms <= 60000 && policy->backoff_max_ms > 0 &&
           policy->backoff_max_ms <= 600000;
}

bool retry_method_allows(const wm_method *method)
{
    return !method->client_streaming && !method->server_streaming &&
           method->idempotency != WM_IDEMPOTENCY_UNKNOWN;
}

bool retry_is_worth_it(const waymark_status *status)
{
    return status->code == WAYMARK_UNAVAILABLE ||
           (status->code == WAYMARK_RESOURCE_EXHAUSTED && status->retry_delay_ms >= 0);
}

int64_t retry_delay_ms(const retry_policy *policy, unsigned attempts_max, unsigned attempts,
                       const waymark_status *status, int64_t left_ms, uint32_t random)
{
    int64_t delay_ms = policy->backoff_ms;

    if (attempts >= attempts_max || !retry_is_worth_it(status))
        return -1;
    for (unsigned i = 1; i < attempts && delay_ms < policy->backoff_max_ms; i++)
        delay_ms *= 2;
    if (delay_ms > policy->backoff_max_ms)
        delay_ms = policy->backoff_max_ms;
    /* Half of it at random, so that clients that failed together do not come back together. */
    delay_ms -= (int64_t)(random % (uint32_t)(delay_ms / 2 + 1));
    if (delay_ms < status->retry_delay_ms)
        delay_ms = status->retry_delay_ms;
    return delay_ms < left_ms ? delay_ms : -1;
}

void retry_budget_init(retry_budget *budget)
{
    budget->tenths = RETRY_BUDGET_FULL;
}

/* A full budget, which is how it mostly is, costs a read. */
void retry_budget_succeeded(retry_budget *budget)
{
    int tenths = __atomic_load_n(&budget->tenths, __ATOMIC_RELAXED);

    while (tenths < RETRY_BUDGET_FULL &&
           !__atomic_compare_exchange_n(&budget->tenths, &tenths, tenths + 1, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

bool retry_budget_failed(retry_budget *budget)
{
    int tenths = __atomic_load_n(&budget->tenths, __ATOMIC_RELAXED), left;

    do
        left = tenths > RETRY_BUDGET_FAILURE ? tenths - RETRY_BUDGET_FAILURE : 0;
    while (!__atomic_compare_exchange_n(&budget->tenths, &tenths, left, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
    return left >= RETRY_BUDGET_LEFT;
}
