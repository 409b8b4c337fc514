/* server/rpc/limits.c - how many calls of one method are served at once, and who waits.
 *
 *   enter ── place free ────────────> HELD ─> answered: the first in the queue is HELD
 *     ├── room in the queue ─> WAITS ─> HELD    (a place was left)
 *     │                          ├────> EXPIRED (the timer), METHOD_BUSY
 *     │                          └────> ended, CALL_CANCELLED (by its client, or its deadline)
 *     └── none ─> METHOD_BUSY
 *
 * A limit counts over all lanes, so it has a mutex; methods without one pay a look at a pointer.
 * A call that waits has its close armed, so it is told when nobody waits for the answer any more.
 * Whoever takes a call out of the queue, under the mutex, decides how it goes on; it then goes on
 * by an empty batch on its own queue thread, where all that ends a call during intake happens.
 *
 * Must not decide what a call may do: interceptors did that before.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "server/rpc/internal.h"

struct rpc_limiter {
    const rpc_binding *binding;
    rpc_limit limit;
    uv_mutex_t mutex;
    size_t in_flight, n_waiting;
    rpc_call *waiting; /* list by limit_next, in the order they came */
    uint64_t n_waited, n_refused;
};

struct rpc_limits {
    rpc_limiter *limiters;
    size_t n;
    /* Looks for calls that have waited too long, on the first lane, while any waits. */
    lane *lane;
    uv_timer_t timer;
    atomic_bool is_ticking;
    lane_msg tick_msg;
    uv_sem_t closed;
};

/* ---- names ---- */

size_t rpc_pattern_match(const char *pattern, const wm_method *method)
{
    const char *name = method->path + 1; /* after the slash */
    size_t len = strlen(pattern);

    if (strcmp(pattern, name) == 0)
        return SIZE_MAX;
    if (len == 0 || pattern[len - 1] != '*' || strncmp(pattern, name, len - 1) != 0)
        return 0;
    return len;
}

static bool number_parse(const char **text, uint32_t min, uint32_t *number)
{
    uint64_t value = 0;
    const char *at = *text;

    if (*at < '0' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (uint64_t)(*at - '0');
        if (value > RPC_LIMIT_MAX)
            return false;
    }
    if (value < min)
        return false;
    *number = (uint32_t)value;
    *text = at;
    return true;
}

wm_code rpc_limit_parse(const char *text, rpc_limit *limit, char name[RPC_LIMIT_NAME_SIZE],
                        wm_err *err)
{
    const char *at = strchr(text, '=');
    bool is_good;

    if (at == NULL || at == text || at - text >= RPC_LIMIT_NAME_SIZE)
        return wm_fail(err, WM_INVALID, "OPTION_INVALID",
                       "\"%.80s\" is not METHOD=IN_FLIGHT[:WAITING[:WAIT_MS]]", text);
    memcpy(name, text, (size_t)(at - text));
    name[at - text] = '\0';
    *limit = (rpc_limit){.method = name};
    at++;
    is_good = number_parse(&at, 1, &limit->in_flight_max);
    if (is_good && *at == ':') {
        at++;
        is_good = number_parse(&at, 0, &limit->waiting_max);
        if (is_good && *at == ':') {
            at++;
            is_good = number_parse(&at, 1, &limit->wait_max_ms);
        }
    }
    if (!is_good || *at != '\0')
        return wm_fail(err, WM_INVALID, "OPTION_INVALID",
                       "\"%.80s\": numbers are whole, up to %d, and IN_FLIGHT and WAIT_MS not 0",
                       text, RPC_LIMIT_MAX);
    return WM_OK;
}

/* ---- the queue ---- */

static void limit_fail(rpc_call *call)
{
    const rpc_limiter *limiter = call->binding->limiter;
    wm_err err = {0};

    wm_fail(&err, WM_EXHAUSTED, "METHOD_BUSY", "%s serves %u calls at once, and %u wait",
            call->binding->method->name, limiter->limit.in_flight_max, limiter->limit.waiting_max);
    err.retry_after_ms = limiter->limit.wait_max_ms;
    rpc_fail(call, &err);
}

/* Under the mutex. */
static void limit_hold(rpc_limiter *limiter, rpc_call *call)
{
    limiter->in_flight++;
    call->limit = RPC_LIMIT_HELD;
}

static void limit_unlist(rpc_limiter *limiter, rpc_call *call)
{
    DL_DELETE2(limiter->waiting, call, limit_prev, limit_next);
    limiter->n_waiting--;
}

static void tick_start(rpc_limits *limits)
{
    if (!atomic_exchange_explicit(&limits->is_ticking, true, memory_order_acq_rel))
        lane_post(limits->lane, &limits->tick_msg);
}

/* Under the mutex; false: no room. */
static bool limit_wait(rpc_limiter *limiter, rpc_call *call)
{
    if (limiter->n_waiting >= limiter->limit.waiting_max) {
        limiter->n_refused++;
        return false;
    }
    call->limit = RPC_LIMIT_WAITS;
    call->limit_until_us = wm_monotonic_us() + limiter->limit.wait_max_ms * 1000LL;
    DL_APPEND2(limiter->waiting, call, limit_prev, limit_next);
    limiter->n_waiting++;
    limiter->n_waited++;
    return true;
}

bool rpc_limit_enter(rpc_call *call)
{
    rpc_limiter *limiter = call->binding->limiter;
    bool is_held = false, waits = false;

    uv_mutex_lock(&limiter->mutex);
    if (limiter->in_flight < limiter->limit.in_flight_max) {
        limit_hold(limiter, call);
        is_held = true;
    }
    uv_mutex_unlock(&limiter->mutex);
    if (is_held)
        return true;
    /* Before it can be found in the queue: once it is there another thread may send it on. */
    if (limiter->limit.waiting_max > 0)
        rpc_call_arm_close(call);
    uv_mutex_lock(&limiter->mutex);
    if (limiter->in_flight < limiter->limit.in_flight_max) {
        limit_hold(limiter, call);
        is_held = true;
    } else {
        waits = limit_wait(limiter, call);
    }
    uv_mutex_unlock(&limiter->mutex);
    if (waits)
        tick_start(call->queue->server->limits);
    else if (!is_held)
        limit_fail(call);
    return is_held;
}

bool rpc_limit_resumed(rpc_call *call)
{
    wm_err err = {0};

    assert(call->limit != RPC_LIMIT_WAITS);
    if (call->limit == RPC_LIMIT_EXPIRED) {
        limit_fail(call);
        return false;
    }
    if (!rpc_is_cancelled(call))
        return true;
    wm_fail(&err, WM_CANCELLED, "CALL_CANCELLED", "the call was cancelled while it waited");
    rpc_fail(call, &err);
    return false;
}

bool rpc_limit_cancelled(rpc_call *call)
{
    rpc_limiter *limiter = call->binding->limiter;
    wm_err err = {0};
    bool waited;

    if (limiter == NULL)
        return false;
    uv_mutex_lock(&limiter->mutex);
    waited = call->limit == RPC_LIMIT_WAITS;
    if (waited) {
        limit_unlist(limiter, call);
        call->limit = RPC_LIMIT_NONE;
    }
    uv_mutex_unlock(&limiter->mutex);
    if (!waited)
        return false;
    wm_fail(&err, WM_CANCELLED, "CALL_CANCELLED", "the call was cancelled while it waited");
    rpc_fail(call, &err);
    return true;
}

void rpc_limit_leave(rpc_call *call)
{
    rpc_limiter *limiter = call->binding->limiter;
    rpc_call *next = NULL;

    if (call->limit != RPC_LIMIT_HELD)
        return;
    call->limit = RPC_LIMIT_NONE;
    uv_mutex_lock(&limiter->mutex);
    limiter->in_flight--;
    next = limiter->waiting;
    if (next != NULL) {
        limit_unlist(limiter, next);
        limit_hold(limiter, next);
    }
    uv_mutex_unlock(&limiter->mutex);
    if (next != NULL)
        rpc_start_batch(next->core, NULL, 0, &next->on_resumed);
}

/* ---- the timer, on the first lane's loop ---- */

/* Calls of a method wait equally long, so those that have waited longest are the first. How many
 * still wait. */
static size_t limit_expire(rpc_limiter *limiter, int64_t now_us)
{
    size_t n;

    for (;;) {
        rpc_call *call;
        uv_mutex_lock(&limiter->mutex);
        call = limiter->waiting;
        if (call != NULL && call->limit_until_us <= now_us) {
            limit_unlist(limiter, call);
            call->limit = RPC_LIMIT_EXPIRED;
            limiter->n_refused++;
        } else {
            call = NULL;
        }
        n = limiter->n_waiting;
        uv_mutex_unlock(&limiter->mutex);
        if (call == NULL)
            return n;
        rpc_start_batch(call->core, NULL, 0, &call->on_resumed);
    }
}

static size_t limits_expire(rpc_limits *limits)
{
    int64_t now_us = wm_monotonic_us();
    size_t n = 0;

    for (size_t i = 0; i < limits->n; i++)
        n += limit_expire(&limits->limiters[i], now_us);
    return n;
}

static void tick(uv_timer_t *timer)
{
    rpc_limits *limits = timer->data;

    if (limits_expire(limits) > 0)
        return;
    uv_timer_stop(timer);
    atomic_store_explicit(&limits->is_ticking, false, memory_order_seq_cst);
    /* Who began to wait just before that saw a timer that runs. */
    if (limits_expire(limits) > 0)
        tick_start(limits);
}

static void tick_begin(lane_msg *msg)
{
    rpc_limits *limits = wm_container_of(msg, rpc_limits, tick_msg);

    uv_timer_start(&limits->timer, tick, RPC_LIMIT_TICK_MS, RPC_LIMIT_TICK_MS);
}

/* ---- start and stop ---- */

static const rpc_limit *limit_find(const rpc_config *config, const wm_method *method)
{
    const rpc_limit *found = NULL;
    size_t best = 0;

    for (size_t i = 0; i < config->n_limits; i++) {
        size_t match = rpc_pattern_match(config->limits[i].method, method);
        if (match > 0 && match >= best) {
            found = &config->limits[i];
            best = match;
        }
    }
    return found;
}

static wm_code names_check(const rpc_server *server, const rpc_config *config, wm_err *err)
{
    for (size_t i = 0; i < config->n_limits; i++) {
        bool is_known = false;
        for (size_t j = 0; j < server->n_bindings && !is_known; j++)
            is_known = rpc_pattern_match(config->limits[i].method, server->bindings[j].method) > 0;
        if (!is_known)
            return wm_fail(err, WM_INVALID, "OPTION_INVALID",
                           "a limit names \"%.80s\", which is no method of this server",
                           config->limits[i].method);
    }
    return WM_OK;
}

static void limiter_add(rpc_limits *limits, rpc_binding *binding, const rpc_limit *limit)
{
    rpc_limiter *limiter = &limits->limiters[limits->n++];

    limiter->binding = binding;
    limiter->limit = *limit;
    if (limiter->limit.wait_max_ms == 0)
        limiter->limit.wait_max_ms = RPC_LIMIT_WAIT_MS;
    if (uv_mutex_init(&limiter->mutex) != 0)
        abort();
    binding->limiter = limiter;
}

static void timer_open(void *ctx)
{
    rpc_limits *limits = ctx;

    uv_timer_init(lane_loop(limits->lane), &limits->timer);
    limits->timer.data = limits;
}

static void timer_closed(uv_handle_t *handle)
{
    rpc_limits *limits = handle->data;

    uv_sem_post(&limits->closed);
}

static void timer_close(void *ctx)
{
    rpc_limits *limits = ctx;

    uv_close((uv_handle_t *)&limits->timer, timer_closed);
}

wm_code rpc_limits_new(rpc_server *server, const rpc_config *config, wm_err *err)
{
    rpc_limits *limits;

    if (config->n_limits == 0)
        return WM_OK;
    if (names_check(server, config, err) != WM_OK)
        return WM_INVALID;
    limits = calloc(1, sizeof(*limits));
    if (limits == NULL)
        abort();
    limits->limiters = calloc(server->n_bindings, sizeof(*limits->limiters));
    if (limits->limiters == NULL || uv_sem_init(&limits->closed, 0) != 0)
        abort();
    for (size_t i = 0; i < server->n_bindings; i++) {
        const rpc_limit *limit = limit_find(config, server->bindings[i].method);
        /* Health answers whatever else is going on. */
        if (limit != NULL && server->bindings[i].ctx != server->health)
            limiter_add(limits, &server->bindings[i], limit);
    }
    limits->lane = server->queues[0].lane;
    limits->tick_msg.run = tick_begin;
    lane_call(limits->lane, timer_open, limits);
    server->limits = limits;
    return WM_OK;
}

void rpc_limits_free(rpc_server *server)
{
    rpc_limits *limits = server->limits;

    if (limits == NULL)
        return;
    lane_call(limits->lane, timer_close, limits);
    uv_sem_wait(&limits->closed);
    uv_sem_destroy(&limits->closed);
    for (size_t i = 0; i < limits->n; i++)
        uv_mutex_destroy(&limits->limiters[i].mutex);
    free(limits->limiters);
    free(limits);
    server->limits = NULL;
}

size_t rpc_server_n_limits(const rpc_server *server)
{
    return server->limits != NULL ? server->limits->n : 0;
}

void rpc_server_limit_stats(const rpc_server *server, size_t i, rpc_limit_stats *stats)
{
    rpc_limiter *limiter = &server->limits->limiters[i];

    assert(i < server->limits->n);
    uv_mutex_lock(&limiter->mutex);
    *stats = (rpc_limit_stats){
        .method = limiter->binding->method,
        .in_flight = limiter->in_flight,
        .waiting = limiter->n_waiting,
        .in_flight_max = limiter->limit.in_flight_max,
        .waiting_max = limiter->limit.waiting_max,
        .waited = limiter->n_waited,
        .refused = limiter->n_refused,
    };
    uv_mutex_unlock(&limiter->mutex);
}
