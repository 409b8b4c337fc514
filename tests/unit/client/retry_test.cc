// Whether and when the SDK repeats a call.
#include "client/retry.h"

#include <gtest/gtest.h>

namespace {

waymark_status Failed(waymark_code code, int64_t retry_delay_ms = -1)
{
    waymark_status status = {};
    status.code = code;
    status.retry_delay_ms = retry_delay_ms;
    return status;
}

retry_policy Policy(waymark_retry retry = {}, bool has_service_config = false)
{
    retry_policy policy;
    EXPECT_TRUE(retry_policy_make(&retry, has_service_config, &policy));
    return policy;
}

int64_t Delay(unsigned attempts, const waymark_status &status, uint32_t random,
              int64_t left_ms = INT64_MAX, waymark_retry retry = {})
{
    retry_policy policy = Policy(retry);
    return retry_delay_ms(&policy, policy.attempts_max, attempts, &status, left_ms, random);
}

TEST(RetryPolicy, Defaults)
{
    retry_policy policy = Policy();
    EXPECT_EQ(policy.attempts_max, 3u);
    EXPECT_EQ(policy.backoff_ms, 100);
    EXPECT_EQ(policy.backoff_max_ms, 2000);
    EXPECT_EQ(Policy({}, true).attempts_max, 1u); // the service config's are enough
    EXPECT_EQ(Policy({4, 0, 0}, true).attempts_max, 4u);
    EXPECT_EQ(Policy({0, 5000, 0}).backoff_max_ms, 5000);
}

TEST(RetryPolicy, OutOfRangeIsRefused)
{
    retry_policy policy;
    for (waymark_retry retry :
         {waymark_retry{6, 0, 0}, waymark_retry{0, -1, 0}, waymark_retry{0, 60001, 0},
          waymark_retry{0, 0, -1}, waymark_retry{0, 0, 600001}})
        EXPECT_FALSE(retry_policy_make(&retry, false, &policy));
}

TEST(Retry, OnlyWhatAnotherAttemptMayCure)
{
    for (int code = WAYMARK_CANCELLED; code <= WAYMARK_UNAUTHENTICATED; code++) {
        bool worth = code == WAYMARK_UNAVAILABLE;
        EXPECT_EQ(Delay(1, Failed(static_cast<waymark_code>(code)), 0) >= 0, worth) << code;
    }
    EXPECT_EQ(Delay(1, Failed(WAYMARK_RESOURCE_EXHAUSTED, 700), 0), 700);
    EXPECT_EQ(Delay(1, Failed(WAYMARK_INTERNAL, 700), 0), -1);
}

TEST(Retry, WaitsLongerEachTimeAndAtRandom)
{
    waymark_status status = Failed(WAYMARK_UNAVAILABLE);
    waymark_retry five = {5, 100, 300};
    EXPECT_EQ(Delay(1, status, 0, INT64_MAX, five), 100);
    EXPECT_EQ(Delay(2, status, 0, INT64_MAX, five), 200);
    EXPECT_EQ(Delay(3, status, 0, INT64_MAX, five), 300); // and no more
    EXPECT_EQ(Delay(4, status, 0, INT64_MAX, five), 300);
    EXPECT_EQ(Delay(5, status, 0, INT64_MAX, five), -1);
    for (uint32_t random = 0; random < 1000; random++) {
        int64_t delay = Delay(1, status, random * 4294967u);
        EXPECT_GE(delay, 50);
        EXPECT_LE(delay, 100);
    }
    EXPECT_EQ(Delay(1, status, 50), 50); // the least
}

TEST(Retry, TheServersDelayIsTheLeast)
{
    EXPECT_EQ(Delay(1, Failed(WAYMARK_UNAVAILABLE, 5000), 0), 5000);
    EXPECT_EQ(Delay(1, Failed(WAYMARK_UNAVAILABLE, 10), 0), 100);
}

TEST(Retry, NotBeyondTheDeadline)
{
    EXPECT_EQ(Delay(1, Failed(WAYMARK_UNAVAILABLE), 0, 101), 100);
    EXPECT_EQ(Delay(1, Failed(WAYMARK_UNAVAILABLE), 0, 100), -1);
    EXPECT_EQ(Delay(1, Failed(WAYMARK_UNAVAILABLE, 5000), 0, 3000), -1);
    EXPECT_EQ(Delay(1, Failed(WAYMARK_UNAVAILABLE), 0, -7), -1);
}

TEST(Retry, OnlyMethodsThatAllowIt)
{
    wm_method method = {};
    EXPECT_FALSE(retry_method_allows(&method));
    method.idempotency = WM_NO_SIDE_EFFECTS;
    EXPECT_TRUE(retry_method_allows(&method));
    method.idempotency = WM_IDEMPOTENT;
    EXPECT_TRUE(retry_method_allows(&method));
    method.server_streaming = true;
    EXPECT_FALSE(retry_method_allows(&method));
    method = {};
    method.idempotency = WM_IDEMPOTENT;
    method.client_streaming = true;
    EXPECT_FALSE(retry_method_allows(&method));
}

TEST(RetryBudget, EndsWhenMostFails)
{
    retry_budget budget;
    retry_budget_init(&budget);
    int allowed = 0;
    for (int i = 0; i < 100; i++)
        allowed += retry_budget_failed(&budget);
    EXPECT_EQ(allowed, 5);

    // Ten that succeed make up for one that fails; it was empty, so fifty come first.
    for (int i = 0; i < 59; i++)
        retry_budget_succeeded(&budget);
    EXPECT_FALSE(retry_budget_failed(&budget));
    for (int i = 0; i < 11; i++)
        retry_budget_succeeded(&budget);
    EXPECT_TRUE(retry_budget_failed(&budget));
    for (int i = 0; i < 1000; i++)
        retry_budget_succeeded(&budget);
    EXPECT_EQ(budget.tenths, RETRY_BUDGET_FULL);
}

} // namespace
