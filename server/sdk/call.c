/* server/sdk/call.c - what a handler reads of its call, and how it answers.
 *
 * Every function here is one of server/rpc under its public name; see include/waymark/server.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "server/sdk/internal.h"

enum { US_PER_MS = 1000 };

/* ---- reading ---- */

void *waymark_server_ctx(const waymark_server_call *call)
{
    return rpc_ctx(sdk_call_const(call));
}

const wm_method *waymark_server_method(const waymark_server_call *call)
{
    return rpc_method(sdk_call_const(call));
}

uint64_t waymark_server_call_id(const waymark_server_call *call)
{
    return rpc_id(sdk_call_const(call));
}

int64_t waymark_server_time_left_ms(const waymark_server_call *call)
{
    int64_t deadline_us = rpc_deadline_us(sdk_call_const(call)), left_us;

    if (deadline_us == INT64_MAX)
        return INT64_MAX;
    left_us = deadline_us - wm_monotonic_us();
    return left_us > 0 ? left_us / US_PER_MS : 0;
}

bool waymark_server_is_cancelled(const waymark_server_call *call)
{
    return rpc_is_cancelled(sdk_call_const(call));
}

const char *waymark_server_peer(waymark_server_call *call)
{
    return rpc_peer(sdk_call(call));
}

const char *waymark_server_metadata(const waymark_server_call *call, const char *key, size_t *size)
{
    return rpc_metadata(sdk_call_const(call), key, size);
}

/* ---- keeping ---- */

void *waymark_server_alloc(waymark_server_call *call, size_t size)
{
    wm_arena *arena = rpc_arena(sdk_call(call));
    size_t limit = wm_arena_limit(arena);
    void *piece;

    /* The limit is for what strangers send. */
    wm_arena_set_limit(arena, SIZE_MAX / 2);
    piece = wm_arena_zalloc(arena, size);
    wm_arena_set_limit(arena, limit);
    return piece;
}

void *waymark_server_data(const waymark_server_call *call)
{
    return rpc_data(sdk_call_const(call));
}

void waymark_server_set_data(waymark_server_call *call, void *data)
{
    rpc_set_data(sdk_call(call), data);
}

/* ---- answering ---- */

void waymark_server_add_initial_metadata(waymark_server_call *call, const char *key,
                                         const char *value, size_t size)
{
    rpc_add_initial_metadata(sdk_call(call), key, value, size);
}

void waymark_server_add_trailing_metadata(waymark_server_call *call, const char *key,
                                          const char *value, size_t size)
{
    rpc_add_trailing_metadata(sdk_call(call), key, value, size);
}

void waymark_server_reply(waymark_server_call *call, const ProtobufCMessage *response)
{
    rpc_reply(sdk_call(call), response);
}

/* A code that is none, or OK, would leave the client without an answer that it understands. */
static wm_code checked(waymark_code code)
{
    return code > WAYMARK_OK && code <= WAYMARK_UNAUTHENTICATED ? (wm_code)code : WM_UNKNOWN;
}

/* wm_fail() cuts between characters: a status whose text is not UTF-8 is one that clients drop. */
static void fail(waymark_server_call *call, wm_code code, uint32_t retry_after_ms,
                 const char *reason, const char *fmt, va_list args)
{
    char message[2 * WM_ERR_MESSAGE_SIZE];
    wm_err err = {0};

    vsnprintf(message, sizeof(message), fmt, args);
    wm_fail(&err, code, reason, "%s", message);
    err.retry_after_ms = retry_after_ms;
    rpc_fail(sdk_call(call), &err);
}

void waymark_server_fail(waymark_server_call *call, waymark_code code, const char *reason,
                         const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fail(call, checked(code), 0, reason, fmt, args);
    va_end(args);
}

void waymark_server_fail_field(waymark_server_call *call, const char *field, const char *reason,
                               const char *fmt, ...)
{
    char message[2 * WM_ERR_MESSAGE_SIZE];
    wm_err err = {0};
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    wm_fail_field(&err, field, reason, "%s", message);
    rpc_fail(sdk_call(call), &err);
}

void waymark_server_fail_for_now(waymark_server_call *call, waymark_code code, const char *reason,
                                 uint32_t retry_after_ms, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fail(call, checked(code), retry_after_ms, reason, fmt, args);
    va_end(args);
}

void waymark_server_give_up(waymark_server_call *call)
{
    waymark_server_fail(call, WAYMARK_CANCELLED, "CALL_CANCELLED", "the call was cancelled");
}

bool waymark_server_send(waymark_server_call *call, const ProtobufCMessage *message)
{
    return rpc_send(sdk_call(call), message);
}

bool waymark_server_is_writable(const waymark_server_call *call)
{
    return rpc_is_writable(sdk_call_const(call));
}

void waymark_server_finish(waymark_server_call *call)
{
    rpc_finish(sdk_call(call));
}

void waymark_server_read(waymark_server_call *call)
{
    rpc_read(sdk_call(call));
}

void waymark_server_next(waymark_server_call *call)
{
    rpc_next(sdk_call(call));
}

const void *waymark__server_typed(const waymark_server_call *call)
{
    const waymark_handler *handler = rpc_typed(sdk_call_const(call));

    return handler->typed;
}
