/* client/state.c - the state of the connection, for those who want to know.
 *
 * The core tells of one change at a time to one who asks, so while anybody watches, thread 0 keeps
 * one question open. A new watch rings the bell; thread 0 then tells every watch that has not heard
 * of the present state. A question cannot be taken back. It ends with the channel; but that may be
 * shared and go on, so it is asked for a short time only, again and again.
 */
#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "client/internal.h"

struct waymark_watch {
    waymark_watch *next;
    waymark_client *client;
    waymark_state_changed changed;
    void *ctx;
    waymark_state told;
    bool has_told;
    bool gone; /* freed in its own callback */
};

const char *waymark_state_name(waymark_state state)
{
    static const char *const names[] = {"IDLE", "CONNECTING", "READY", "TRANSIENT_FAILURE",
                                        "SHUTDOWN"};

    return (unsigned)state < WM_ARRAY_LEN(names) ? names[state] : "UNKNOWN";
}

waymark_state waymark_client_state(waymark_client *client, bool connect)
{
    if (CLIENT_IS_STALE(client->born))
        return WAYMARK_STATE_SHUTDOWN;
    return (waymark_state)grpc_channel_check_connectivity_state(client->channel->channel, connect);
}

/* ---- thread 0 ---- */

static void ask(waymark_client *client, waymark_state state)
{
    gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                         gpr_time_from_millis(CLIENT_WATCH_MS, GPR_TIMESPAN));

    CLIENT_SENT(&client->state_event);
    grpc_channel_watch_connectivity_state(client->channel->channel, (grpc_connectivity_state)state,
                                          deadline, client->threads[0].queue, &client->state_event);
}

/* A watch that does not know this state; client.lock is held. */
static waymark_watch *find_untold(waymark_client *client, waymark_state state)
{
    waymark_watch *watch = client->watches;

    while (watch != NULL && watch->has_told && watch->told == state)
        watch = watch->next;
    return watch;
}

/* Its callback runs without the lock; freeing the watch waits for that, or leaves it to us. */
static void tell(waymark_client *client, waymark_watch *watch, waymark_state state)
{
    watch->told = state;
    watch->has_told = true;
    client->telling = watch;
    pthread_mutex_unlock(&client->lock);
    watch->changed(watch->ctx, state);
    pthread_mutex_lock(&client->lock);
    client->telling = NULL;
    pthread_cond_broadcast(&client->told);
    if (watch->gone)
        free(watch);
}

void client_state_look(waymark_client *client)
{
    waymark_state state;
    waymark_watch *watch;

    pthread_mutex_lock(&client->lock);
    while (client->watches != NULL && !client->closing) {
        state = waymark_client_state(client, false);
        watch = find_untold(client, state);
        if (watch != NULL) {
            tell(client, watch, state);
            continue;
        }
        if (!client->state_watched) {
            client->state_watched = true;
            ask(client, state);
        }
        break;
    }
    pthread_mutex_unlock(&client->lock);
}

void client_state_changed(client_event *event, bool ok)
{
    waymark_client *client = wm_container_of(event, waymark_client, state_event);

    (void)ok; /* false: the time was over, and nothing changed */
    pthread_mutex_lock(&client->lock);
    client->state_watched = false;
    pthread_mutex_unlock(&client->lock);
    client_state_look(client);
}

/* ---- any thread ---- */

waymark_watch *waymark_client_watch(waymark_client *client, waymark_state_changed changed,
                                    void *ctx)
{
    waymark_watch *watch = calloc(1, sizeof(*watch));

    if (watch == NULL)
        abort();
    watch->client = client;
    watch->changed = changed;
    watch->ctx = ctx;
    if (CLIENT_IS_STALE(client->born))
        return watch; /* nobody will tell it anything */
    pthread_mutex_lock(&client->lock);
    watch->next = client->watches;
    client->watches = watch;
    client_post(client, 0, &client->bell);
    pthread_mutex_unlock(&client->lock);
    return watch;
}

void waymark_watch_free(waymark_watch *watch)
{
    waymark_client *client;
    waymark_watch **at;

    if (watch == NULL || CLIENT_IS_STALE(watch->client->born))
        return;
    client = watch->client;
    pthread_mutex_lock(&client->lock);
    for (at = &client->watches; *at != watch; at = &(*at)->next)
        assert(*at != NULL && "a watch is freed once, and before its client");
    *at = watch->next;
    if (client->telling == watch && pthread_equal(client->threads[0].thread, pthread_self())) {
        watch->gone = true;
        watch = NULL;
    }
    while (watch != NULL && client->telling == watch)
        pthread_cond_wait(&client->told, &client->lock);
    pthread_mutex_unlock(&client->lock);
    free(watch);
}

void client_watches_free(waymark_client *client)
{
    /* A watch that is being told may free itself, so it is left alone until its callback is over.
     */
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    while (client->telling != NULL)
        pthread_cond_wait(&client->told, &client->lock);
    pthread_mutex_unlock(&client->lock);
    while (client->watches != NULL)
        waymark_watch_free(client->watches);
}

/* ---- waiting ---- */

typedef struct ready_wait {
    waymark_client *client;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ready;
} ready_wait;

static void ready_changed(void *ctx, waymark_state state)
{
    ready_wait *wait = ctx;

    if (state == WAYMARK_STATE_IDLE)
        waymark_client_state(wait->client, true);
    pthread_mutex_lock(&wait->lock);
    wait->ready = wait->ready || state == WAYMARK_STATE_READY;
    pthread_cond_signal(&wait->changed);
    pthread_mutex_unlock(&wait->lock);
}

static void ready_wait_until(ready_wait *wait, int64_t timeout_ms)
{
    int64_t until_us = wm_monotonic_us() + timeout_ms * 1000;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    int error = 0;

    pthread_mutex_lock(&wait->lock);
    while (!wait->ready && error == 0)
        error = pthread_cond_timedwait(&wait->changed, &wait->lock, &until);
    pthread_mutex_unlock(&wait->lock);
}

bool waymark_client_wait_ready(waymark_client *client, int64_t timeout_ms)
{
    ready_wait wait = {.client = client, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_t monotonic;
    waymark_watch *watch;

    if (waymark_client_state(client, true) == WAYMARK_STATE_READY)
        return true;
    if (CLIENT_IS_STALE(client->born))
        return false;
    if (timeout_ms < 0 || timeout_ms > CLIENT_TIMEOUT_MAX_MS)
        timeout_ms = CLIENT_TIMEOUT_MAX_MS;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&wait.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);

    watch = waymark_client_watch(client, ready_changed, &wait);
    ready_wait_until(&wait, timeout_ms);
    waymark_watch_free(watch);
    pthread_cond_destroy(&wait.changed);
    return wait.ready;
}
