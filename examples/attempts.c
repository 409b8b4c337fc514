/* examples/attempts.c - goes on when a server dies, and tells what the SDK does for that.
 *
 *     ./attempts ipv4:127.0.0.1:7654,127.0.0.1:7655 100
 *
 * calls a reading method a hundred times on two servers in turn. A call that fails because its
 * server has gone is repeated on the other one. An interceptor counts calls and attempts, and a
 * watch prints each state of the connection.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <waymark/waymark.h>

#include "waymark/auth/v1/auth_service.client.h"

/* Hooks of different calls may run at the same time. */
typedef struct counts {
    pthread_mutex_t lock;
    unsigned long calls, attempts, failed;
    int64_t slowest_us;
} counts;

static void attempted(void *ctx, waymark_context *call, const waymark_status *status)
{
    counts *counts = ctx;

    pthread_mutex_lock(&counts->lock);
    counts->attempts++;
    pthread_mutex_unlock(&counts->lock);
    if (status->code != WAYMARK_OK)
        fprintf(stderr, "%s, attempt %u at %s: %s: %s\n", waymark_context_method(call),
                waymark_context_attempts(call), waymark_context_peer(call),
                waymark_code_name(status->code), status->message);
}

static void ended(void *ctx, waymark_context *call, const waymark_status *status)
{
    counts *counts = ctx;
    int64_t elapsed_us = waymark_context_elapsed_us(call);

    pthread_mutex_lock(&counts->lock);
    counts->calls++;
    counts->failed += status->code != WAYMARK_OK;
    if (elapsed_us > counts->slowest_us)
        counts->slowest_us = elapsed_us;
    pthread_mutex_unlock(&counts->lock);
}

static void state_changed(void *ctx, waymark_state state)
{
    (void)ctx;
    fprintf(stderr, "the connection: %s\n", waymark_state_name(state));
}

static waymark_client *connect_to(const char *address, counts *counts)
{
    waymark_interceptor interceptor = {.ctx = counts, .attempted = attempted, .ended = ended};
    waymark_client_options options;
    waymark_problem problem;
    waymark_client *client;

    waymark_client_options_from_env(&options);
    options.address = address;
    options.load_balancing = "round_robin";
    options.user_agent = "attempts/1";
    options.retry.attempts_max = 5;
    options.interceptors = &interceptor;
    options.n_interceptors = 1;
    client = waymark_client_new(&options, &problem);
    waymark_credentials_free(options.credentials);
    if (client == NULL)
        fprintf(stderr, "%s\n", problem.message);
    return client;
}

/* WhoAmI only reads: its idempotency_level is NO_SIDE_EFFECTS. */
static void call(waymark_client *client)
{
    Waymark__Auth__V1__WhoAmIRequest request = WAYMARK__AUTH__V1__WHO_AM_IREQUEST__INIT;
    waymark_reply *reply;

    (void)waymark_auth_v1_auth_service_who_am_i_sync(client, &request, NULL, &reply);
    waymark_reply_free(reply);
}

int main(int argc, char **argv)
{
    counts counts = {.lock = PTHREAD_MUTEX_INITIALIZER};
    waymark_client *client;
    waymark_watch *watch;

    if (argc != 3) {
        fprintf(stderr, "usage: %s ADDRESS COUNT\n", argv[0]);
        return 2;
    }
    client = connect_to(argv[1], &counts);
    if (client == NULL)
        return 1;
    watch = waymark_client_watch(client, state_changed, NULL);
    if (!waymark_client_wait_ready(client, 10000))
        fprintf(stderr, "no server within 10 s\n");
    for (int i = atoi(argv[2]); i > 0; i--)
        call(client);
    waymark_watch_free(watch);
    waymark_client_free(client);
    printf("%lu calls, %lu attempts, %lu failed\n", counts.calls, counts.attempts, counts.failed);
    return counts.failed > 0;
}
