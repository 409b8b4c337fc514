/* server/rpc/access.c - what handlers and interceptors read of a call, and keep in it.
 *
 * No state changes here but for the pointers that they own.
 */
#include "server/rpc/internal.h"

void *rpc_ctx(const rpc_call *call)
{
    return call->binding->ctx;
}

const void *rpc_typed(const rpc_call *call)
{
    return call->binding->handler->typed;
}

lane *rpc_lane(const rpc_call *call)
{
    return call->queue->lane;
}

wm_arena *rpc_arena(rpc_call *call)
{
    return &call->arena;
}

const wm_method *rpc_method(const rpc_call *call)
{
    return call->binding->method;
}

uint64_t rpc_id(const rpc_call *call)
{
    return call->id;
}

int64_t rpc_deadline_us(const rpc_call *call)
{
    return call->deadline_us;
}

bool rpc_is_cancelled(const rpc_call *call)
{
    return atomic_load_explicit(&call->cancelled, memory_order_acquire);
}

const char *rpc_peer(rpc_call *call)
{
    if (call->peer == NULL)
        call->peer = rpc_adoption_peer(call->queue->server, grpc_call_get_peer(call->core));
    return call->peer != NULL ? call->peer : "";
}

const char *rpc_subject(const rpc_call *call)
{
    return call->subject != NULL ? call->subject : "";
}

void rpc_set_subject(rpc_call *call, const char *subject)
{
    call->subject = subject;
}

const char *rpc_metadata(const rpc_call *call, const char *key, size_t *len)
{
    for (size_t i = 0; i < call->metadata.count; i++) {
        const grpc_metadata *entry = &call->metadata.metadata[i];
        if (grpc_slice_str_cmp(entry->key, key) != 0)
            continue;
        *len = GRPC_SLICE_LENGTH(entry->value);
        return (const char *)GRPC_SLICE_START_PTR(entry->value);
    }
    return NULL;
}

void *rpc_data(const rpc_call *call)
{
    return call->data;
}

void rpc_set_data(rpc_call *call, void *data)
{
    call->data = data;
}

void rpc_set_principal(rpc_call *call, void *principal, void (*release)(void *principal))
{
    call->principal = principal;
    call->principal_release = release;
}

void *rpc_principal(const rpc_call *call)
{
    return call->principal;
}

void rpc_set_namespace(rpc_call *call, int32_t namespace_id, const char *name)
{
    call->namespace_id = namespace_id;
    call->namespace_name = name == NULL ? NULL : wm_arena_strdup(&call->arena, name);
}

int32_t rpc_namespace(const rpc_call *call)
{
    return call->namespace_id;
}

const char *rpc_namespace_name(const rpc_call *call)
{
    return call->namespace_name != NULL ? call->namespace_name : "";
}
