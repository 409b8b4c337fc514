/* server/obs/rpc_metrics.c - see rpc_metrics.h.
 *
 * A call costs three additions when it ends, in memory that only its lane's two threads write. A
 * series is shown once it has counted something: methods times codes would be a thousand zeros.
 */
#include "server/obs/rpc_metrics.h"

#include <stdio.h>
#include <stdlib.h>

enum { CODES = 17, LANE_TEXT_SIZE = 24 };

typedef struct method_cells {
    obs_cell calls[CODES];
    obs_histogram times;
} method_cells;

struct obs_rpc {
    rpc_interceptor interceptor;
    const rpc_server *server;
    size_t n_lanes;
    method_cells *cells; /* [lane][method]; untouched pages cost nothing */
};

enum {
    RPC_CALLS,
    RPC_CALL_SECONDS,
    RPC_IN_FLIGHT,
    RPC_STREAMS,
    RPC_MESSAGES,
    RPC_BYTES,
    RPC_REFUSED,
    RPC_CUT,
    RPC_BUSY_WAITS,
    RPC_LIMIT_IN_FLIGHT,
    RPC_LIMIT_WAITING,
    RPC_LIMIT_WAITED,
    RPC_LIMIT_REFUSED,
    RPC_SERVING
};

static const obs_family families[] = {
    [RPC_CALLS] = {"waymark_rpc_calls", OBS_COUNTER, "Calls that have ended."},
    [RPC_CALL_SECONDS] = {"waymark_rpc_call_seconds", OBS_HISTOGRAM,
                          "From a call's arrival to its end; for a stream, how long it was open."},
    [RPC_IN_FLIGHT] = {"waymark_rpc_calls_in_flight", OBS_GAUGE, "Calls that have not ended."},
    [RPC_STREAMS] = {"waymark_rpc_streams_open", OBS_GAUGE, "Streams among the calls in flight."},
    [RPC_MESSAGES] = {"waymark_rpc_messages", OBS_COUNTER, "Messages of calls."},
    [RPC_BYTES] = {"waymark_rpc_message_bytes", OBS_COUNTER,
                   "Bytes of messages, before compression."},
    [RPC_REFUSED] = {"waymark_rpc_refused", OBS_COUNTER,
                     "Calls refused by the server's own limits."},
    [RPC_CUT] = {"waymark_rpc_answers_cut", OBS_COUNTER,
                 "Answers dropped because their client did not take them in time."},
    [RPC_BUSY_WAITS] = {"waymark_rpc_busy_waits", OBS_COUNTER,
                        "Waits for a call in which a thread looked for it instead of sleeping."},
    [RPC_LIMIT_IN_FLIGHT] = {"waymark_rpc_limit_in_flight", OBS_GAUGE,
                             "Calls in flight of a method that has a limit."},
    [RPC_LIMIT_WAITING] = {"waymark_rpc_limit_waiting", OBS_GAUGE,
                           "Calls that wait for a place among those in flight."},
    [RPC_LIMIT_WAITED] = {"waymark_rpc_limit_waited", OBS_COUNTER, "Calls that had to wait."},
    [RPC_LIMIT_REFUSED] = {"waymark_rpc_limit_refused", OBS_COUNTER,
                           "Calls refused because too many waited, or after waiting too long."},
    [RPC_SERVING] = {"waymark_rpc_serving", OBS_GAUGE,
                     "1 while grpc.health.v1 says SERVING, else 0."},
};

static method_cells *cells_of(const obs_rpc *rpc, size_t lane, size_t method)
{
    return &rpc->cells[lane * OBS_METHODS_MAX + method];
}

static void rpc_finished(rpc_interceptor *self, rpc_call *call, wm_code code, int64_t duration_us)
{
    const obs_rpc *rpc = self->self;
    size_t method = rpc_method_index(call);
    method_cells *cells;

    if (method >= OBS_METHODS_MAX)
        method = OBS_METHODS_MAX - 1;
    cells = cells_of(rpc, lane_index(rpc_lane(call)) % rpc->n_lanes, method);
    atomic_fetch_add_explicit(&cells->calls[(unsigned)code < CODES ? code : WM_UNKNOWN], 1,
                              memory_order_relaxed);
    obs_histogram_observe(&cells->times, duration_us);
}

obs_rpc *obs_rpc_new(size_t n_lanes)
{
    obs_rpc *rpc = calloc(1, sizeof(*rpc));

    if (rpc == NULL)
        abort();
    rpc->n_lanes = n_lanes;
    rpc->cells = calloc(n_lanes * OBS_METHODS_MAX, sizeof(*rpc->cells));
    if (rpc->cells == NULL)
        abort();
    rpc->interceptor = (rpc_interceptor){.name = "metrics", .self = rpc, .finished = rpc_finished};
    return rpc;
}

void obs_rpc_free(obs_rpc *rpc)
{
    if (rpc == NULL)
        return;
    free(rpc->cells);
    free(rpc);
}

rpc_interceptor *obs_rpc_interceptor(obs_rpc *rpc)
{
    return &rpc->interceptor;
}

/* ---- writing ---- */

static size_t n_methods(const obs_rpc *rpc)
{
    size_t n = rpc_server_n_methods(rpc->server);

    return n < OBS_METHODS_MAX ? n : OBS_METHODS_MAX;
}

static void write_calls(const obs_rpc *rpc, obs_page *page)
{
    for (size_t method = 0; method < n_methods(rpc); method++) {
        for (unsigned code = 0; code < CODES; code++) {
            const obs_label labels[] = {
                {"method", rpc_server_method(rpc->server, method)->path},
                {"code", wm_code_name((wm_code)code)},
            };
            uint64_t n = 0;
            for (size_t lane = 0; lane < rpc->n_lanes; lane++)
                n += atomic_load_explicit(&cells_of(rpc, lane, method)->calls[code],
                                          memory_order_relaxed);
            if (n > 0)
                obs_sample(page, labels, 2, n);
        }
    }
}

static void write_times(const obs_rpc *rpc, obs_page *page)
{
    for (size_t method = 0; method < n_methods(rpc); method++) {
        const obs_label label = {"method", rpc_server_method(rpc->server, method)->path};
        obs_histogram_sum sum = {0};
        for (size_t lane = 0; lane < rpc->n_lanes; lane++)
            obs_histogram_add(&sum, &cells_of(rpc, lane, method)->times);
        if (sum.count > 0)
            obs_sample_histogram(page, &label, 1, &sum);
    }
}

static void write_of_lane(const obs_rpc *rpc, size_t family, obs_page *page)
{
    for (size_t i = 0; i < rpc_server_n_lanes(rpc->server); i++) {
        char text[LANE_TEXT_SIZE];
        const obs_label label = {"lane", text};
        rpc_lane_stats stats;
        rpc_server_lane_stats(rpc->server, i, &stats);
        snprintf(text, sizeof(text), "%zu", i);
        obs_sample(page, &label, 1, family == RPC_IN_FLIGHT ? stats.calls : stats.streams);
    }
}

static rpc_lane_stats stats_of_all(const obs_rpc *rpc)
{
    rpc_lane_stats all = {0};

    for (size_t i = 0; i < rpc_server_n_lanes(rpc->server); i++) {
        rpc_lane_stats stats;
        rpc_server_lane_stats(rpc->server, i, &stats);
        all.received_messages += stats.received_messages;
        all.received_bytes += stats.received_bytes;
        all.sent_messages += stats.sent_messages;
        all.sent_bytes += stats.sent_bytes;
        all.refused_busy += stats.refused_busy;
        all.refused_stopping += stats.refused_stopping;
        all.answers_cut += stats.answers_cut;
        all.busy_waits_found += stats.busy_waits_found;
        all.busy_waits_in_vain += stats.busy_waits_in_vain;
    }
    return all;
}

static void write_both_ways(obs_page *page, uint64_t received, uint64_t sent)
{
    const obs_label labels[] = {{"direction", "received"}, {"direction", "sent"}};

    obs_sample(page, &labels[0], 1, received);
    obs_sample(page, &labels[1], 1, sent);
}

static uint64_t limit_value(const rpc_limit_stats *stats, size_t family)
{
    switch (family) {
    case RPC_LIMIT_IN_FLIGHT:
        return stats->in_flight;
    case RPC_LIMIT_WAITING:
        return stats->waiting;
    case RPC_LIMIT_WAITED:
        return stats->waited;
    default:
        return stats->refused;
    }
}

static void write_limits(const obs_rpc *rpc, size_t family, obs_page *page)
{
    for (size_t i = 0; i < rpc_server_n_limits(rpc->server); i++) {
        rpc_limit_stats stats;
        rpc_server_limit_stats(rpc->server, i, &stats);
        const obs_label label = {"method", stats.method->path};
        obs_sample(page, &label, 1, limit_value(&stats, family));
    }
}

static void write_refused(const obs_rpc *rpc, obs_page *page)
{
    const obs_label busy = {"reason", "TOO_MANY_CALLS"}, stopping = {"reason", "SHUTTING_DOWN"};
    const obs_label method = {"reason", "METHOD_BUSY"};
    rpc_lane_stats all = stats_of_all(rpc);
    uint64_t n = 0;

    for (size_t i = 0; i < rpc_server_n_limits(rpc->server); i++) {
        rpc_limit_stats stats;
        rpc_server_limit_stats(rpc->server, i, &stats);
        n += stats.refused;
    }
    obs_sample(page, &busy, 1, all.refused_busy);
    obs_sample(page, &method, 1, n);
    obs_sample(page, &stopping, 1, all.refused_stopping);
}

static void write_busy_waits(const rpc_lane_stats *all, obs_page *page)
{
    const obs_label found = {"result", "found"}, in_vain = {"result", "in_vain"};

    obs_sample(page, &found, 1, all->busy_waits_found);
    obs_sample(page, &in_vain, 1, all->busy_waits_in_vain);
}

static void rpc_write(void *ctx, size_t family, obs_page *page)
{
    const obs_rpc *rpc = ctx;
    rpc_lane_stats all = stats_of_all(rpc);

    switch (family) {
    case RPC_CALLS:
        write_calls(rpc, page);
        return;
    case RPC_CALL_SECONDS:
        write_times(rpc, page);
        return;
    case RPC_IN_FLIGHT:
    case RPC_STREAMS:
        write_of_lane(rpc, family, page);
        return;
    case RPC_MESSAGES:
        write_both_ways(page, all.received_messages, all.sent_messages);
        return;
    case RPC_BYTES:
        write_both_ways(page, all.received_bytes, all.sent_bytes);
        return;
    case RPC_REFUSED:
        write_refused(rpc, page);
        return;
    case RPC_CUT:
        obs_sample(page, NULL, 0, all.answers_cut);
        return;
    case RPC_BUSY_WAITS:
        write_busy_waits(&all, page);
        return;
    case RPC_SERVING:
        obs_sample(page, NULL, 0, rpc_server_is_serving(rpc->server));
        return;
    default:
        write_limits(rpc, family, page);
    }
}

void obs_rpc_add(obs_rpc *rpc, const rpc_server *server, obs_metrics *metrics)
{
    const obs_source source = {
        .families = families, .n_families = WM_ARRAY_LEN(families), .write = rpc_write, .ctx = rpc};

    rpc->server = server;
    obs_metrics_add(metrics, &source);
}
