/* server/obs/gate_metrics.c - see gate_metrics.h. */
#include "server/obs/gate_metrics.h"

enum {
    GATE_ACCEPTED,
    GATE_OPEN,
    GATE_TLS_HANDSHAKES,
    GATE_BYTES,
    GATE_HELD,
    GATE_PEERS,
    GATE_REFUSALS
};

static const obs_family families[] = {
    [GATE_ACCEPTED] = {"waymark_gate_connections", OBS_COUNTER, "Connections accepted."},
    [GATE_OPEN] = {"waymark_gate_connections_open", OBS_GAUGE, "Connections that are open."},
    [GATE_TLS_HANDSHAKES] = {"waymark_gate_handshakes", OBS_COUNTER,
                             "TLS handshakes that succeeded."},
    [GATE_BYTES] = {"waymark_gate_bytes", OBS_COUNTER,
                    "Bytes relayed from clients and to them, without TLS."},
    [GATE_HELD] = {"waymark_gate_held_bytes", OBS_GAUGE, "Bytes that wait in the gate."},
    [GATE_PEERS] = {"waymark_gate_addresses", OBS_GAUGE, "Client addresses known now."},
    [GATE_REFUSALS] = {"waymark_gate_breaches", OBS_COUNTER,
                       "Connections closed or refused by the gate."},
};

static void write_bytes(obs_page *page, const gate_stats *stats)
{
    const obs_label labels[] = {{"direction", "received"}, {"direction", "sent"}};

    obs_sample(page, &labels[0], 1, stats->bytes_in);
    obs_sample(page, &labels[1], 1, stats->bytes_out);
}

static void write_breaches(obs_page *page, const gate_stats *stats)
{
    for (int i = GATE_FINE + 1; i < GATE_BREACHES_N; i++) {
        const obs_label label = {"why", gate_breach_name((gate_breach)i)};
        obs_sample(page, &label, 1, stats->breaches[i]);
    }
}

static uint64_t value_of(const gate_stats *stats, size_t family)
{
    switch (family) {
    case GATE_ACCEPTED:
        return stats->accepted;
    case GATE_OPEN:
        return stats->open;
    case GATE_TLS_HANDSHAKES:
        return stats->handshakes;
    case GATE_HELD:
        return stats->held;
    default:
        return stats->addresses;
    }
}

static void gate_write(void *ctx, size_t family, obs_page *page)
{
    gate_stats stats;

    if (ctx == NULL)
        return;
    gate_stats_read(ctx, &stats);
    if (family == GATE_BYTES)
        write_bytes(page, &stats);
    else if (family == GATE_REFUSALS)
        write_breaches(page, &stats);
    else
        obs_sample(page, NULL, 0, value_of(&stats, family));
}

void obs_gate_add(const gate *gate, obs_metrics *metrics)
{
    const obs_source source = {.families = families,
                               .n_families = WM_ARRAY_LEN(families),
                               .write = gate_write,
                               .ctx = (void *)gate};

    obs_metrics_add(metrics, &source);
}
