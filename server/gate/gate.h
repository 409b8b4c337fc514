/* server/gate/gate.h - our own public listener: TLS, budgets on frame headers, bytes relayed.
 *
 *   client ── TCP, TLS ── gate ── socketpair, plain HTTP/2 ── gRPC core
 *
 * The packaged core has no defence against HTTP/2 rapid reset and its like. The gate accepts in its
 * place, reads the nine bytes before each frame in both directions and closes connections that go
 * too far, with GOAWAY ENHANCE_YOUR_CALM where that can still be said. README.md has the rest.
 *
 * Threads: start, stop and free on the main thread; a connection belongs to the loop of one lane.
 * Memory:  the config is copied, but for the lanes and the server, which outlive the gate.
 * Failure: a start that fails says why; later nothing fails as a whole.
 */
#ifndef WAYMARK_SERVER_GATE_GATE_H
#define WAYMARK_SERVER_GATE_GATE_H

#include "server/gate/address.h"
#include "server/gate/budget.h"
#include "server/gate/limits.h"
#include "server/rpc/rpc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gate gate;

enum { GATE_LISTENERS_MAX = 8, GATE_PROXIES_MAX = 32, GATE_THREADS_MAX = 64 };

typedef struct gate_config {
    rpc_server *server;
    const rpc_listener *listeners; /* HOST:PORT */
    size_t n_listeners;
    lane *const *lanes; /* whose loops serve connections; NULL: `n_lanes` threads of its own */
    size_t n_lanes;
    const gate_limits *limits; /* NULL: as they are unless set */
    /* Connections from these begin with a PROXY header, version 2. */
    const gate_cidr *proxies;
    size_t n_proxies;
} gate_config;

/* False for loopback and unix sockets, which may reach the core directly. A name that cannot be
 * resolved is public. */
bool gate_is_public(const char *address);

WM_MUST_USE wm_code gate_start(const gate_config *config, gate **made, wm_err *err);
/* The port bound for listener i (for port 0). */
int gate_port(const gate *gate, size_t i);
/* Before the server drains, with the same grace: no new connections from now on, and those that
 * have not begun HTTP/2 are closed. What is relayed goes on until the core closes its end; soon
 * after the grace the rest is closed, since clients that do not read would hold up the core. */
void gate_drain(gate *gate, uint64_t grace_ms);
/* After the server has drained and before it is freed: gives the last bytes a moment to leave. */
void gate_free(gate *gate);

typedef struct gate_stats {
    uint64_t accepted, open, handshakes; /* connections; TLS handshakes that succeeded */
    uint64_t bytes_in, bytes_out;        /* relayed to the core, and to clients */
    uint64_t held;                       /* bytes that wait in the gate, now */
    uint64_t addresses;                  /* known now */
    uint64_t breaches[GATE_BREACHES_N];  /* connections closed or refused, by why */
} gate_stats;

/* Any thread. */
void gate_stats_read(const gate *gate, gate_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
