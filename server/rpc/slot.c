/* server/rpc/slot.c - request slots: from the core's queue to a call.
 *
 * The core hands a call only to a slot that asks for its method. While none does,
 * calls pile up inside the core without a bound, so a slot is armed again as soon as its
 * call has been begun, and too many calls are refused by us, in call.c. Not before, because
 * what is answered at once would wait for it. A slot is small; the call itself is taken from
 * the lane's free list when there is one to serve.
 *
 * Methods that nobody registered come to a few slots of their own, whose calls end
 * with UNIMPLEMENTED.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "server/rpc/internal.h"

enum { UNKNOWN_SLOTS = 8 };

struct rpc_slot {
    rpc_event event;
    rpc_queue *queue;
    const rpc_binding *binding; /* NULL: methods that nobody registered */
    grpc_call *core;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload;
    gpr_timespec deadline;
    grpc_call_details *details; /* of unregistered methods, which know their name */
};

static const wm_method unknown_method = {.path = "/unknown", .name = "unknown"};
const rpc_binding rpc_unknown_binding = {.method = &unknown_method};

static int64_t deadline_us(gpr_timespec deadline)
{
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0)
        return INT64_MAX;
    deadline = gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC);
    if (deadline.tv_sec > INT32_MAX) /* 68 years: none */
        return INT64_MAX;
    return deadline.tv_sec * 1000000 + deadline.tv_nsec / 1000;
}

static void slot_arm(rpc_slot *slot)
{
    rpc_queue *queue = slot->queue;
    grpc_call_error rc;

    atomic_store_explicit(&slot->event.handed, 1, memory_order_release);
    if (slot->binding != NULL)
        rc = grpc_server_request_registered_call(
            queue->server->core, slot->binding->registered, &slot->core, &slot->deadline,
            &slot->metadata, slot->binding->method->client_streaming ? NULL : &slot->payload,
            queue->core, queue->core, &slot->event);
    else
        rc = grpc_server_request_call(queue->server->core, &slot->core, slot->details,
                                      &slot->metadata, queue->core, queue->core, &slot->event);
    assert(rc == GRPC_CALL_OK);
    (void)rc;
}

/* Names come from the wire; what is not plain text must not reach a status or a log. */
static void unknown_fail(rpc_call *call, grpc_slice name)
{
    char text[128];
    size_t len = GRPC_SLICE_LENGTH(name);
    wm_err err = {0};

    if (len >= sizeof(text))
        len = sizeof(text) - 1;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = GRPC_SLICE_START_PTR(name)[i];
        text[i] = c > ' ' && c < 0x7f ? (char)c : '?';
    }
    text[len] = '\0';
    wm_fail(&err, WM_UNIMPLEMENTED, "METHOD_UNKNOWN", "this server has no method %s", text);
    rpc_fail(call, &err);
}

static void slot_taken_unknown(rpc_slot *slot)
{
    rpc_call *call = rpc_call_take(slot->queue, &rpc_unknown_binding, slot->core);
    grpc_call_details details = *slot->details;

    call->metadata = slot->metadata;
    grpc_metadata_array_init(&slot->metadata);
    grpc_call_details_init(slot->details);
    unknown_fail(call, details.method);
    grpc_call_details_destroy(&details);
    slot_arm(slot);
}

static void slot_taken(rpc_event *event, bool ok)
{
    rpc_slot *slot = wm_container_of(event, rpc_slot, event);
    rpc_call *call;

    if (!ok) { /* the server has stopped; the slot is at rest for good */
        slot->core = NULL;
        if (atomic_fetch_sub_explicit(&slot->queue->slots_armed, 1, memory_order_acq_rel) == 1)
            rpc_server_changed(slot->queue->server);
        return;
    }
    rpc_busy_poll_called(&slot->queue->busy_poll);
    if (slot->binding == NULL) {
        slot_taken_unknown(slot);
        return;
    }
    call = rpc_call_take(slot->queue, slot->binding, slot->core);
    call->metadata = slot->metadata;
    call->received = slot->payload;
    call->deadline_us = deadline_us(slot->deadline);
    grpc_metadata_array_init(&slot->metadata);
    slot->payload = NULL;
    rpc_call_begin(call);
    slot_arm(slot);
}

static wm_code slot_init(rpc_slot *slot, rpc_queue *queue, const rpc_binding *binding, wm_err *err)
{
    slot->queue = queue;
    slot->binding = binding;
    slot->event.run = slot_taken;
    grpc_metadata_array_init(&slot->metadata);
    if (binding == NULL) {
        slot->details = malloc(sizeof(*slot->details));
        if (slot->details == NULL)
            return wm_fail(err, WM_EXHAUSTED, "INTERNAL", "no memory for request slots");
        grpc_call_details_init(slot->details);
    }
    return WM_OK;
}

wm_code rpc_slots_start(rpc_queue *queue, wm_err *err)
{
    rpc_server *server = queue->server;
    size_t n = server->n_bindings * server->slots_per_method + UNKNOWN_SLOTS;

    queue->slots = calloc(n, sizeof(*queue->slots));
    if (queue->slots == NULL)
        return wm_fail(err, WM_EXHAUSTED, "INTERNAL", "no memory for request slots");
    queue->n_slots = n;
    for (size_t i = 0; i < n; i++) {
        const rpc_binding *binding =
            i < UNKNOWN_SLOTS ? NULL
                              : &server->bindings[(i - UNKNOWN_SLOTS) / server->slots_per_method];
        wm_code rc = slot_init(&queue->slots[i], queue, binding, err);
        if (rc != WM_OK)
            return rc;
        atomic_fetch_add_explicit(&queue->slots_armed, 1, memory_order_relaxed);
        slot_arm(&queue->slots[i]);
    }
    return WM_OK;
}

void rpc_slots_free(rpc_queue *queue)
{
    for (size_t i = 0; i < queue->n_slots; i++) {
        rpc_slot *slot = &queue->slots[i];
        grpc_metadata_array_destroy(&slot->metadata);
        if (slot->details != NULL)
            grpc_call_details_destroy(slot->details);
        free(slot->details);
    }
    free(queue->slots);
}
