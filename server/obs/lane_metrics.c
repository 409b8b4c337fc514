/* server/obs/lane_metrics.c - see lane_metrics.h.
 *
 * A probe is asked again only when it has been answered, so a loop that stands still gets one
 * message and no more. Must not wait for a loop longer than OBS_LANE_WAIT_MS while metrics are
 * written.
 */
#include "server/obs/lane_metrics.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "server/store/store.h"

enum { LANE_TEXT_SIZE = 16 };

typedef struct lane_probe {
    lane_msg msg;
    obs_lanes *owner;
    lane *lane;
    /* Under the owner's mutex. */
    bool is_asked;
    int64_t asked_us, delay_us; /* of the last answer */
    store_stats stats;
    bool has_store, is_up;
} lane_probe;

struct obs_lanes {
    lane_probe *probes;
    size_t n, n_asked;
    uv_mutex_t mutex;
    uv_cond_t answered;
};

enum {
    LANE_DELAY,
    STORE_UP,
    STORE_CONNECTIONS,
    STORE_QUEUED,
    STORE_WAITING,
    STORE_COMMITS,
    STORE_STATEMENTS,
    STORE_ROWS,
    STORE_OPERATIONS,
    STORE_BATCH_SECONDS,
    STORE_RETRIES,
    STORE_RECONNECTS
};

static const obs_family families[] = {
    [LANE_DELAY] = {"waymark_lane_delay_seconds", OBS_GAUGE,
                    "How long a message to the lane's loop waited just now."},
    [STORE_UP] = {"waymark_store_up", OBS_GAUGE,
                  "1 while the lane has a connection to PostgreSQL, else 0."},
    [STORE_CONNECTIONS] = {"waymark_store_connections", OBS_GAUGE,
                           "Connections to PostgreSQL that work."},
    [STORE_QUEUED] = {"waymark_store_queued_operations", OBS_GAUGE,
                      "Operations that wait for the next batch of their kind."},
    [STORE_WAITING] = {"waymark_store_waiting_transactions", OBS_GAUGE,
                       "Transactions that wait for a connection."},
    [STORE_COMMITS] = {"waymark_store_commits", OBS_COUNTER, "Transactions committed."},
    [STORE_STATEMENTS] = {"waymark_store_statements", OBS_COUNTER, "Statements sent."},
    [STORE_ROWS] = {"waymark_store_rows", OBS_COUNTER, "Rows received."},
    [STORE_OPERATIONS] = {"waymark_store_operations", OBS_COUNTER,
                          "Operations that a batch has committed."},
    [STORE_BATCH_SECONDS] = {"waymark_store_batch_seconds", OBS_SUMMARY,
                             "Batches, from their first statement to the end of the transaction."},
    [STORE_RETRIES] = {"waymark_store_retries", OBS_COUNTER,
                       "Transactions begun anew after a conflict or a lost connection."},
    [STORE_RECONNECTS] = {"waymark_store_reconnects", OBS_COUNTER,
                          "Connections to PostgreSQL that were lost."},
};

/* ---- asking ---- */

static void probe_run(lane_msg *msg)
{
    lane_probe *probe = wm_container_of(msg, lane_probe, msg);
    obs_lanes *lanes = probe->owner;
    const store *store = lane_store(probe->lane);

    uv_mutex_lock(&lanes->mutex);
    probe->delay_us = wm_monotonic_us() - probe->asked_us;
    probe->has_store = store != NULL;
    if (store != NULL) {
        store_get_stats(store, &probe->stats);
        probe->is_up = store_is_up(store);
    }
    probe->is_asked = false;
    lanes->n_asked--;
    uv_cond_signal(&lanes->answered);
    uv_mutex_unlock(&lanes->mutex);
}

static void lanes_ask(obs_lanes *lanes)
{
    for (size_t i = 0; i < lanes->n; i++) {
        lane_probe *probe = &lanes->probes[i];
        if (probe->is_asked)
            continue;
        probe->is_asked = true;
        probe->asked_us = wm_monotonic_us();
        lanes->n_asked++;
        lane_post(probe->lane, &probe->msg);
    }
}

static void lanes_read(void *ctx)
{
    obs_lanes *lanes = ctx;
    int64_t now_us = wm_monotonic_us(), end_us = now_us + OBS_LANE_WAIT_MS * 1000LL;

    uv_mutex_lock(&lanes->mutex);
    lanes_ask(lanes);
    while (lanes->n_asked > 0 && now_us < end_us) {
        uv_cond_timedwait(&lanes->answered, &lanes->mutex, (uint64_t)(end_us - now_us) * 1000);
        now_us = wm_monotonic_us();
    }
    for (size_t i = 0; i < lanes->n; i++)
        if (lanes->probes[i].is_asked)
            lanes->probes[i].delay_us = now_us - lanes->probes[i].asked_us;
    uv_mutex_unlock(&lanes->mutex);
}

/* ---- writing ---- */

static uint64_t value_of(const store_stats *stats, size_t family)
{
    switch (family) {
    case STORE_CONNECTIONS:
        return stats->connections_up;
    case STORE_QUEUED:
        return stats->queued_ops;
    case STORE_WAITING:
        return stats->waiting;
    case STORE_COMMITS:
        return stats->commits;
    case STORE_STATEMENTS:
        return stats->statements;
    case STORE_ROWS:
        return stats->rows;
    case STORE_OPERATIONS:
        return stats->batched_ops;
    case STORE_RETRIES:
        return stats->retries;
    default:
        return stats->reconnects;
    }
}

static void probe_write(const lane_probe *probe, size_t family, obs_page *page)
{
    char text[LANE_TEXT_SIZE];
    const obs_label label = {"lane", text};

    snprintf(text, sizeof(text), "%u", lane_index(probe->lane));
    if (family == LANE_DELAY)
        obs_sample_real(page, &label, 1, (double)probe->delay_us / 1e6);
    else if (!probe->has_store)
        return;
    else if (family == STORE_UP)
        obs_sample(page, &label, 1, probe->is_up);
    else if (family == STORE_BATCH_SECONDS)
        obs_sample_summary(page, &label, 1, probe->stats.batches, probe->stats.batch_us);
    else
        obs_sample(page, &label, 1, value_of(&probe->stats, family));
}

static void lanes_write(void *ctx, size_t family, obs_page *page)
{
    obs_lanes *lanes = ctx;

    uv_mutex_lock(&lanes->mutex);
    for (size_t i = 0; i < lanes->n; i++)
        probe_write(&lanes->probes[i], family, page);
    uv_mutex_unlock(&lanes->mutex);
}

/* ---- setup ---- */

obs_lanes *obs_lanes_new(lane *const *lanes, size_t n)
{
    obs_lanes *made = calloc(1, sizeof(*made));

    if (made == NULL)
        abort();
    made->probes = calloc(n, sizeof(*made->probes));
    if (made->probes == NULL || uv_mutex_init(&made->mutex) != 0 ||
        uv_cond_init(&made->answered) != 0)
        abort();
    made->n = n;
    for (size_t i = 0; i < n; i++) {
        made->probes[i].msg.run = probe_run;
        made->probes[i].owner = made;
        made->probes[i].lane = lanes[i];
    }
    return made;
}

void obs_lanes_free(obs_lanes *lanes)
{
    if (lanes == NULL)
        return;
    uv_mutex_lock(&lanes->mutex);
    while (lanes->n_asked > 0)
        uv_cond_wait(&lanes->answered, &lanes->mutex);
    uv_mutex_unlock(&lanes->mutex);
    uv_cond_destroy(&lanes->answered);
    uv_mutex_destroy(&lanes->mutex);
    free(lanes->probes);
    free(lanes);
}

void obs_lanes_add(obs_lanes *lanes, obs_metrics *metrics)
{
    const obs_source source = {.families = families,
                               .n_families = WM_ARRAY_LEN(families),
                               .read = lanes_read,
                               .write = lanes_write,
                               .ctx = lanes};

    obs_metrics_add(metrics, &source);
}
