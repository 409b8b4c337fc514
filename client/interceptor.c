/* client/interceptor.c - the chain that every call goes through, and what it sees of a call.
 *
 * A hook may suspend its call, and another thread may let it go on, and the call may be over and
 * gone, before the hook has returned. So what the hook decided is noted in a frame on the stack
 * of the thread that runs it, and after a suspension nothing else is looked at.
 */
#include "include/waymark/interceptor.h"

#include <assert.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "client/internal.h"

struct client_frame {
    bool suspended, refused;
};

bool client_chain_step(client_call *call)
{
    waymark_client *client = call->client;
    const waymark_interceptor *interceptor = &client->interceptors[call->stage];
    struct client_frame frame = {0};

    call->viewer = call->stage++;
    if (interceptor->start == NULL)
        return true;
    call->frame = &frame;
    interceptor->start(interceptor->ctx, call);
    if (frame.suspended)
        return false; /* and the call may be gone */
    call->frame = NULL;
    if (frame.refused)
        client_call_refuse(call, call->refused_code, call->refused_reason, -1,
                           call->refused_message);
    return !frame.refused;
}

void client_call_report(client_call *call, const waymark_status *status)
{
    for (size_t i = call->stage; i-- > 0;) {
        const waymark_interceptor *interceptor = &call->client->interceptors[i];

        call->viewer = i;
        if (interceptor->ended != NULL)
            interceptor->ended(interceptor->ctx, call, status);
    }
}

/* ---- what is known of a call ---- */

const char *waymark_context_method(const waymark_context *call)
{
    return call->method->path;
}

bool waymark_context_client_streaming(const waymark_context *call)
{
    return call->method->client_streaming;
}

bool waymark_context_server_streaming(const waymark_context *call)
{
    return call->method->server_streaming;
}

waymark_idempotency waymark_context_idempotency(const waymark_context *call)
{
    return (waymark_idempotency)call->method->idempotency;
}

const char *waymark_context_permission(const waymark_context *call)
{
    return call->method->permission != NULL ? call->method->permission : "";
}

int64_t waymark_context_remaining_ms(const waymark_context *call)
{
    int64_t left_us;

    if (call->deadline_us == INT64_MAX)
        return -1;
    left_us = call->deadline_us - wm_monotonic_us();
    return left_us > 0 ? left_us / 1000 : 0;
}

int64_t waymark_context_elapsed_us(const waymark_context *call)
{
    return wm_monotonic_us() - call->started_us;
}

unsigned waymark_context_attempts(const waymark_context *call)
{
    return call->attempts;
}

uint64_t waymark_context_messages_sent(const waymark_context *call)
{
    return call->n_sent;
}

uint64_t waymark_context_messages_received(const waymark_context *call)
{
    return call->n_received;
}

uint64_t waymark_context_bytes_sent(const waymark_context *call)
{
    return call->bytes_sent;
}

uint64_t waymark_context_bytes_received(const waymark_context *call)
{
    return call->bytes_received;
}

const char *waymark_context_peer(waymark_context *call)
{
    char *peer;
    const char *copy;

    if (call->call == NULL)
        return "";
    peer = grpc_call_get_peer(call->call);
    copy = wm_arena_strdup(&call->arena, peer);
    gpr_free(peer);
    return copy;
}

void *waymark_context_data(const waymark_context *call)
{
    return call->data[call->viewer];
}

void waymark_context_set_data(waymark_context *call, void *data)
{
    call->data[call->viewer] = data;
}

/* ---- what start() may do ---- */

void waymark_context_add_metadata(waymark_context *call, const char *key, const char *value,
                                  size_t size)
{
    assert(call->frame != NULL && "metadata is added in start()");
    if (!client_call_add_metadata(call, key, value, size))
        call->bad_metadata = true;
}

void waymark_context_set_timeout_ms(waymark_context *call, int64_t timeout_ms)
{
    assert(call->frame != NULL && "the deadline is set in start()");
    client_call_set_timeout(call, timeout_ms);
}

void waymark_context_set_wait_for_ready(waymark_context *call, bool wait)
{
    assert(call->frame != NULL && "this is decided in start()");
    call->flags = wait ? GRPC_INITIAL_METADATA_WAIT_FOR_READY : 0;
    call->flags |= GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
}

void waymark_context_refuse(waymark_context *call, waymark_code code, const char *reason,
                            const char *message)
{
    assert(call->frame != NULL && !call->frame->suspended && "a call is refused in start(), once");
    assert(code != WAYMARK_OK);
    call->frame->refused = true;
    call->refused_code = code;
    snprintf(call->refused_reason, sizeof(call->refused_reason), "%s", reason);
    snprintf(call->refused_message, sizeof(call->refused_message), "%s", message);
}

/* ---- suspended calls ---- */

waymark_suspension *waymark_context_suspend(waymark_context *call)
{
    struct client_frame *frame = call->frame;
    client_ticket *ticket;

    assert(frame != NULL && !frame->suspended && !frame->refused &&
           "a call is suspended in start(), once");
    frame->suspended = true;
    ticket = client_park(call, PARKED_UNTIL_DEADLINE, call->deadline_us, NULL);
    if (ticket == NULL) {
        client_call_refuse(call, WAYMARK_CANCELLED, "", -1, "cancelled");
        ticket = client_ticket_spent();
    }
    return ticket;
}

void waymark_suspension_resume(waymark_suspension *suspension, const waymark_metadata *metadata,
                               size_t n_metadata)
{
    client_call *call;

    if (CLIENT_IS_STALE(suspension->born))
        return;
    call = client_unpark(suspension);
    if (call == NULL)
        return;
    for (size_t i = 0; i < n_metadata; i++)
        if (!client_call_add_metadata(call, metadata[i].key, metadata[i].value, metadata[i].size))
            call->bad_metadata = true;
    client_call_resume(call);
}

void waymark_suspension_refuse(waymark_suspension *suspension, waymark_code code,
                               const char *reason, const char *message)
{
    client_call *call;

    assert(code != WAYMARK_OK);
    if (CLIENT_IS_STALE(suspension->born))
        return;
    call = client_unpark(suspension);
    if (call != NULL)
        client_call_refuse(call, code, reason, -1, message);
}
