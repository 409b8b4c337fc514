/* server/obs/access_log.c - see access_log.h.
 *
 * Must not log what a call carries: only who called what, and how it ended.
 */
#include "server/obs/access_log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

static wm_log_level level_of(const rpc_call *call, wm_code code)
{
    switch (code) {
    case WM_INTERNAL:
    case WM_UNKNOWN:
    case WM_DATA_LOSS:
        return WM_LOG_ERROR;
    default:
        /* Probes come every second and say nothing. */
        return strncmp(rpc_method(call)->path, "/grpc.", 6) == 0 ? WM_LOG_DEBUG : WM_LOG_INFO;
    }
}

/* This second, and how many lines it has had or wanted. */
static atomic_int_least64_t second_now;
static atomic_uint second_lines;

static bool line_may_be_written(void)
{
    int64_t now = wm_monotonic_us() / 1000000, last = atomic_load(&second_now);
    unsigned lines;

    /* Who sees a new second first closes the last one. */
    if (now != last && atomic_compare_exchange_strong(&second_now, &last, now)) {
        lines = atomic_exchange(&second_lines, 0);
        if (lines > OBS_CALLS_PER_SECOND_MAX)
            wm_log(WM_LOG_INFO, "calls not logged",
                   wm_log_i("calls", (int64_t)lines - OBS_CALLS_PER_SECOND_MAX));
    }
    return atomic_fetch_add(&second_lines, 1) < OBS_CALLS_PER_SECOND_MAX;
}

static void access_log_finished(rpc_interceptor *self, rpc_call *call, wm_code code,
                                int64_t duration_us)
{
    wm_log_level level = level_of(call, code);
    char id[17], trace_id[RPC_TRACE_ID_SIZE] = "";
    rpc_trace trace;

    (void)self;
    if (!wm_log_enabled(level) || (level < WM_LOG_ERROR && !line_may_be_written()))
        return;
    /* A trace that begins here is known to nobody else, and the call's id finds it. */
    rpc_trace_get(call, &trace);
    if (trace.has_parent)
        rpc_trace_id_format(&trace, trace_id);
    snprintf(id, sizeof(id), "%016" PRIx64, rpc_id(call));
    wm_log(level, "call", wm_log_s("call", id), wm_log_s("method", rpc_method(call)->path),
           wm_log_s("code", wm_code_name(code)), wm_log_i("duration_us", duration_us),
           wm_log_s("namespace", rpc_namespace_name(call)), wm_log_s("subject", rpc_subject(call)),
           wm_log_s("peer", rpc_peer(call)), wm_log_s("trace", trace_id));
}

static rpc_interceptor access_log = {.name = "access_log", .finished = access_log_finished};

rpc_interceptor *obs_access_log(void)
{
    return &access_log;
}
