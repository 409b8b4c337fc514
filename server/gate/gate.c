/* server/gate/gate.c - listeners, loops and counters of the gate; its start and its stop.
 *
 * Stop order: doors (no new connections), the server drains while bytes still go through, then the
 * core closes its ends and connections end by themselves; what is left after GATE_STOP_WAIT_MS is
 * closed.
 */
#include "server/gate/gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/gate/internal.h"

enum {
    BACKLOG = 4096, /* as many as Linux gives by itself; a full one costs a client a second */
    ACCEPTS_PER_EVENT = 64,
    GATE_STOP_SLACK_MS = 1000, /* after the grace, for what is on its way */
    GATE_STOP_WAIT_MS = 2000,
    SWEEPS_PER_ADDRESS_SWEEP = 8,
    HOST_SIZE_MAX = 256
};

/* ---- counters ---- */

void gate_handle_opened(gate *gate)
{
    uv_mutex_lock(&gate->mutex);
    gate->n_handles++;
    uv_mutex_unlock(&gate->mutex);
}

void gate_handle_closed(gate *gate)
{
    uv_mutex_lock(&gate->mutex);
    gate->n_handles--;
    uv_cond_broadcast(&gate->changed);
    uv_mutex_unlock(&gate->mutex);
}

/* Peers that mean harm must not fill the log. */
static bool may_log(gate *gate, uint64_t *left_out)
{
    static const gate_rate rate = {GATE_LOGS_PER_S, GATE_LOGS_PER_S};
    bool may;

    uv_mutex_lock(&gate->mutex);
    may = gate_bucket_take(&gate->log_bucket, rate, wm_monotonic_us());
    *left_out = gate->logs_left_out;
    gate->logs_left_out = may ? 0 : gate->logs_left_out + 1;
    uv_mutex_unlock(&gate->mutex);
    return may;
}

static void count(gate *gate, const gate_address *address, gate_breach breach)
{
    char peer[GATE_ADDRESS_TEXT_SIZE];
    uint64_t left_out;

    atomic_fetch_add_explicit(&gate->breaches[breach], 1, memory_order_relaxed);
    if (breach == GATE_IDLE || !may_log(gate, &left_out))
        return;
    gate_address_format(address, peer);
    wm_log(WM_LOG_WARN, "the gate closed a connection", wm_log_s("why", gate_breach_name(breach)),
           wm_log_s("peer", peer), wm_log_i("not_logged", (int64_t)left_out));
}

void gate_count(gate *gate, const gate_conn *conn, gate_breach breach)
{
    count(gate, &conn->address, breach);
}

void gate_stats_read(const gate *gate, gate_stats *stats)
{
    stats->accepted = atomic_load_explicit(&gate->accepted, memory_order_relaxed);
    stats->open = atomic_load_explicit(&gate->open, memory_order_relaxed);
    stats->handshakes = atomic_load_explicit(&gate->handshakes, memory_order_relaxed);
    stats->bytes_in = atomic_load_explicit(&gate->bytes_in, memory_order_relaxed);
    stats->bytes_out = atomic_load_explicit(&gate->bytes_out, memory_order_relaxed);
    stats->held = atomic_load_explicit(&gate->held, memory_order_relaxed);
    stats->addresses = gate_addresses_count(gate->addresses);
    for (size_t i = 0; i < GATE_BREACHES_N; i++)
        stats->breaches[i] = atomic_load_explicit(&gate->breaches[i], memory_order_relaxed);
}

/* ---- doors ---- */

static void door_ready(uv_poll_t *poll, int status, int events);

static void door_pause(gate_door *door)
{
    if (!door->is_paused)
        wm_log(WM_LOG_ERROR, "the gate cannot accept: no file descriptors are left");
    door->is_paused = true;
    uv_poll_stop(&door->poll);
}

/* Counts a connection in; false when there are too many. */
static bool connection_enter(gate *gate)
{
    if (atomic_fetch_add_explicit(&gate->open, 1, memory_order_relaxed) < gate->limits.connections)
        return true;
    atomic_fetch_sub_explicit(&gate->open, 1, memory_order_relaxed);
    return false;
}

static void door_ready(uv_poll_t *poll, int status, int events)
{
    gate_door *door = poll->data;
    gate *gate = door->gate;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_EVENT && status >= 0; i++) {
        struct sockaddr_storage from;
        socklen_t size = sizeof(from);
        gate_address address;
        int fd = accept4(door->fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                door_pause(door);
            return;
        }
        gate_address_set(&address, (const struct sockaddr *)&from);
        atomic_fetch_add_explicit(&gate->accepted, 1, memory_order_relaxed);
        if (connection_enter(gate)) {
            gate_conn_accept(gate, door->listener, fd, &address);
        } else {
            count(gate, &address, GATE_CONNECTIONS);
            close(fd);
        }
    }
}

static void doors_open(void *ctx)
{
    gate *gate = ctx;

    for (size_t i = 0; i < gate->n_doors; i++) {
        gate_door *door = &gate->doors[i];
        if (uv_poll_init(lane_loop(gate->workers[0].lane), &door->poll, door->fd) != 0)
            abort();
        door->poll.data = door;
        door->is_open = true;
        gate_handle_opened(gate);
        uv_poll_start(&door->poll, UV_READABLE, door_ready);
    }
}

static void door_closed(uv_handle_t *handle)
{
    gate_door *door = handle->data;
    gate_handle_closed(door->gate);
}

static void doors_close(void *ctx)
{
    gate *gate = ctx;

    for (size_t i = 0; i < gate->n_doors; i++) {
        gate_door *door = &gate->doors[i];
        if (!door->is_open)
            continue;
        door->is_open = false;
        uv_close((uv_handle_t *)&door->poll, door_closed);
        close(door->fd);
        door->fd = -1;
    }
}

/* ---- addresses to listen on ---- */

static wm_code address_resolve(const char *address, struct addrinfo **found, wm_err *err)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(address, ':');
    size_t len = colon == NULL ? 0 : (size_t)(colon - address);
    char host[HOST_SIZE_MAX];
    int rc;

    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    if (colon == NULL || len >= sizeof(host))
        return wm_fail(err, WM_INVALID, "OPTION_INVALID", "%s is not HOST:PORT", address);
    memcpy(host, address, len);
    host[len] = '\0';
    rc = getaddrinfo(len > 0 ? host : NULL, colon + 1, &hints, found);
    if (rc != 0)
        return wm_fail(err, WM_UNAVAILABLE, "INTERNAL", "cannot resolve %s: %s", address,
                       gai_strerror(rc));
    return WM_OK;
}

static bool is_loopback(const struct addrinfo *info)
{
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;

    if (info->ai_family == AF_INET) {
        memcpy(&v4, info->ai_addr, sizeof(v4));
        return (ntohl(v4.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
    }
    if (info->ai_family != AF_INET6)
        return false;
    memcpy(&v6, info->ai_addr, sizeof(v6));
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

bool gate_is_public(const char *address)
{
    struct addrinfo *found = NULL;
    bool is_public = false;

    if (strncmp(address, "unix:", 5) == 0)
        return false;
    if (address_resolve(address, &found, NULL) != WM_OK)
        return true;
    for (const struct addrinfo *info = found; info != NULL; info = info->ai_next)
        is_public = is_public || !is_loopback(info);
    freeaddrinfo(found);
    return is_public;
}

static int port_of(int fd)
{
    struct sockaddr_storage name;
    socklen_t size = sizeof(name);
    gate_address address;

    if (getsockname(fd, (struct sockaddr *)&name, &size) != 0)
        return 0;
    gate_address_set(&address, (const struct sockaddr *)&name);
    return address.port;
}

static void port_set(struct addrinfo *info, int port)
{
    /* The port is at the same place in both. */
    struct sockaddr_in address;

    memcpy(&address, info->ai_addr, sizeof(address));
    address.sin_port = htons((uint16_t)port);
    memcpy(info->ai_addr, &address, sizeof(address));
}

static int socket_open(const struct addrinfo *info)
{
    const int on = 1, off = 0;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (info->ai_family == AF_INET6) /* [::] takes IPv4 too, as the core's listeners do */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    close(fd);
    return -1;
}

/* One address of a name is enough ("localhost" may have two, and one of them no interface). */
static wm_code listener_open(gate *gate, size_t i, const char *address, wm_err *err)
{
    struct addrinfo *found;
    int error = 0;
    size_t before = gate->n_doors;

    if (address_resolve(address, &found, err) != WM_OK)
        return err != NULL ? err->code : WM_UNAVAILABLE;
    for (struct addrinfo *info = found; info != NULL; info = info->ai_next) {
        int fd;

        if (gate->n_doors - before == GATE_DOORS_PER_LISTENER)
            break;
        if (gate->ports[i] != 0) /* all addresses of a name get the port that the first one got */
            port_set(info, gate->ports[i]);
        fd = socket_open(info);
        if (fd < 0) {
            error = errno;
            continue;
        }
        gate->ports[i] = port_of(fd);
        gate->doors[gate->n_doors++] = (gate_door){.gate = gate, .fd = fd, .listener = i};
    }
    freeaddrinfo(found);
    if (gate->n_doors == before)
        return wm_fail(err, WM_UNAVAILABLE, "INTERNAL", "cannot listen on %s: %s", address,
                       strerror(error));
    return WM_OK;
}

/* ---- loops ---- */

static void worker_sweep(uv_timer_t *timer)
{
    gate_worker *worker = timer->data;
    gate *gate = worker->gate;
    int64_t now_us = wm_monotonic_us();
    int64_t stop_us = atomic_load_explicit(&gate->stop_us, memory_order_relaxed);
    gate_conn *conn, *next;

    DL_FOREACH_SAFE (worker->conns, conn, next) {
        if (stop_us != 0 && now_us > stop_us)
            gate_conn_close(conn);
        else
            gate_conn_sweep(conn, now_us);
    }
    if (worker != &gate->workers[0])
        return;
    if (++worker->n_sweeps % SWEEPS_PER_ADDRESS_SWEEP == 0)
        gate_addresses_sweep(gate->addresses, now_us);
    for (size_t i = 0; i < gate->n_doors; i++) {
        gate_door *door = &gate->doors[i];
        if (door->is_open && door->is_paused) {
            door->is_paused = false;
            uv_poll_start(&door->poll, UV_READABLE, door_ready);
        }
    }
}

static void worker_open(void *ctx)
{
    gate_worker *worker = ctx;

    uv_timer_init(lane_loop(worker->lane), &worker->sweep_timer);
    uv_timer_init(lane_loop(worker->lane), &worker->end_timer);
    uv_timer_init(lane_loop(worker->lane), &worker->pace_timer);
    worker->sweep_timer.data = worker->end_timer.data = worker->pace_timer.data = worker;
    for (int i = 0; i < GATE_WORKER_TIMERS; i++)
        gate_handle_opened(worker->gate);
    uv_timer_start(&worker->sweep_timer, worker_sweep, GATE_SWEEP_MS, GATE_SWEEP_MS);
    worker->is_started = true;
}

static void timer_closed(uv_handle_t *handle)
{
    gate_worker *worker = handle->data;
    gate_handle_closed(worker->gate);
}

/* Connections that have not reached the core have nothing to lose. */
static void worker_close_young(void *ctx)
{
    gate_worker *worker = ctx;
    gate_conn *conn, *next;

    DL_FOREACH_SAFE (worker->conns, conn, next) {
        if (conn->times.stage < GATE_AT_RELAY)
            gate_conn_close(conn);
    }
}

static void worker_close(void *ctx)
{
    gate_worker *worker = ctx;
    gate_conn *conn, *next;

    worker->is_closing = true;
    DL_FOREACH_SAFE (worker->conns, conn, next)
        gate_conn_close(conn);
    DL_FOREACH_SAFE (worker->ending, conn, next)
        gate_conn_close(conn);
    gate_orphans_end(worker, true);
    uv_close((uv_handle_t *)&worker->sweep_timer, timer_closed);
    uv_close((uv_handle_t *)&worker->end_timer, timer_closed);
    uv_close((uv_handle_t *)&worker->pace_timer, timer_closed);
}

static wm_code workers_start(gate *gate, const gate_config *config, wm_err *err)
{
    gate->workers = calloc(config->n_lanes, sizeof(*gate->workers));
    if (gate->workers == NULL)
        abort();
    gate->owns_lanes = config->lanes == NULL;
    for (size_t i = 0; i < config->n_lanes; i++) {
        gate_worker *worker = &gate->workers[i];
        worker->gate = gate;
        if (gate->owns_lanes) {
            wm_code rc = lane_new((unsigned)i, &worker->lane, err);
            if (rc != WM_OK)
                return rc;
        } else {
            worker->lane = config->lanes[i];
        }
        gate->n_workers++;
        worker->chunk = malloc(GATE_CHUNK_SIZE);
        worker->out.bytes = malloc(GATE_OUT_SIZE);
        worker->out.room = GATE_OUT_SIZE;
        if (worker->chunk == NULL || worker->out.bytes == NULL)
            abort();
        lane_call(worker->lane, worker_open, worker);
    }
    return WM_OK;
}

/* ---- start ---- */

/* A connection takes three descriptors, so the usual soft limit of 1,024 is soon used up. */
static void files_raise(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == files.rlim_max)
        return;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

static gate *gate_new(const gate_config *config)
{
    gate *gate = calloc(1, sizeof(*gate));

    if (gate == NULL || uv_mutex_init(&gate->mutex) != 0 || uv_cond_init(&gate->changed) != 0)
        abort();
    gate->server = config->server;
    if (config->limits != NULL)
        gate->limits = *config->limits;
    else
        gate_limits_init(&gate->limits);
    for (size_t i = 0; i < config->n_proxies && i < GATE_PROXIES_MAX; i++)
        gate->proxies[gate->n_proxies++] = config->proxies[i];
    gate->addresses = gate_addresses_new(&gate->limits);
    return gate;
}

static wm_code listeners_open(gate *gate, const gate_config *config, wm_err *err)
{
    wm_code rc = WM_OK;

    for (size_t i = 0; i < config->n_listeners && rc == WM_OK; i++) {
        const rpc_listener *listener = &config->listeners[i];
        if (listener->cert_file != NULL)
            rc = gate_tls_new(listener, &gate->tls[i], err);
        if (rc == WM_OK)
            rc = listener_open(gate, i, listener->address, err);
        gate->n_listeners++;
    }
    return rc;
}

wm_code gate_start(const gate_config *config, gate **made, wm_err *err)
{
    gate *gate;
    wm_code rc;

    if (config->n_listeners > GATE_LISTENERS_MAX)
        return wm_fail(err, WM_INVALID, "OPTION_INVALID", "more than %d listeners",
                       GATE_LISTENERS_MAX);
    files_raise();
    gate = gate_new(config);
    rc = listeners_open(gate, config, err);
    if (rc == WM_OK)
        rc = workers_start(gate, config, err);
    if (rc != WM_OK) {
        gate_free(gate);
        return rc;
    }
    lane_call(gate->workers[0].lane, doors_open, gate);
    *made = gate;
    return WM_OK;
}

int gate_port(const gate *gate, size_t i)
{
    return gate->ports[i];
}

/* ---- stop ---- */

void gate_drain(gate *gate, uint64_t grace_ms)
{
    int64_t end_us = wm_monotonic_us() + (int64_t)(grace_ms + GATE_STOP_SLACK_MS) * 1000;
    int64_t none = 0;

    atomic_compare_exchange_strong(&gate->stop_us, &none, end_us);
    if (gate->n_workers == 0)
        return;
    lane_call(gate->workers[0].lane, doors_close, gate);
    for (size_t i = 0; i < gate->n_workers; i++)
        if (gate->workers[i].is_started)
            lane_call(gate->workers[i].lane, worker_close_young, &gate->workers[i]);
}

/* Waits until no more than `n` handles are open. */
static void handles_wait(gate *gate, size_t n, int64_t wait_ms)
{
    int64_t until_us = wm_monotonic_us() + wait_ms * 1000;
    int64_t left_us;

    uv_mutex_lock(&gate->mutex);
    while (gate->n_handles > n && (left_us = until_us - wm_monotonic_us()) > 0)
        uv_cond_timedwait(&gate->changed, &gate->mutex, (uint64_t)left_us * 1000);
    uv_mutex_unlock(&gate->mutex);
}

static void handles_wait_all(gate *gate)
{
    uv_mutex_lock(&gate->mutex);
    while (gate->n_handles > 0)
        uv_cond_wait(&gate->changed, &gate->mutex);
    uv_mutex_unlock(&gate->mutex);
}

static void workers_stop(gate *gate)
{
    size_t n_started = 0;

    for (size_t i = 0; i < gate->n_workers; i++)
        n_started += gate->workers[i].is_started;
    handles_wait(gate, n_started * GATE_WORKER_TIMERS, GATE_STOP_WAIT_MS);
    for (size_t i = 0; i < gate->n_workers; i++)
        if (gate->workers[i].is_started)
            lane_call(gate->workers[i].lane, worker_close, &gate->workers[i]);
    handles_wait_all(gate);
    for (size_t i = 0; i < gate->n_workers; i++) {
        if (gate->owns_lanes)
            lane_free(gate->workers[i].lane);
        free(gate->workers[i].chunk);
        free(gate->workers[i].out.bytes);
    }
    free(gate->workers);
}

void gate_free(gate *gate)
{
    if (gate == NULL)
        return;
    gate_drain(gate, 0);
    workers_stop(gate);
    for (size_t i = 0; i < gate->n_doors; i++)
        if (gate->doors[i].fd >= 0)
            close(gate->doors[i].fd);
    for (size_t i = 0; i < gate->n_listeners; i++)
        gate_tls_free(gate->tls[i]);
    gate_addresses_free(gate->addresses);
    uv_mutex_destroy(&gate->mutex);
    uv_cond_destroy(&gate->changed);
    free(gate);
}
