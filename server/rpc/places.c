/* server/rpc/places.c - how many calls a lane has at work, and how many whose answer has not left.
 *
 *   enter ── room ──> WORKING ── answered ──> LEAVING ── left (the final batch is done)
 *     └───── none ─> TOO_MANY_CALLS             └─────── cut (too long, or too many others)
 *
 * Streams of health and reflection are OPEN instead of WORKING: nobody is asked who he is there, so
 * they have a number of their own, of which one address gets a part. They cannot take the places of
 * calls that were let in, nor a few addresses those of all others.
 *
 * A client that never opens its window keeps an answer here, and it need not even have a token:
 * health answers everybody. So a call that has been answered takes no place of those at work, and
 * newer calls are never refused for it. Its answer has a time in which to leave, and when too many
 * of its kind wait the one that waits longest goes: honest clients take theirs in a round trip.
 *
 * Loops answer, the queue thread sees them leave, the lane's timer looks at the time: hence the
 * mutex, under which nothing but lists and numbers is touched.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "base/clock.h"
#include "server/rpc/internal.h"

/* How many calls are OPEN from one address. */
struct rpc_place_address {
    char name[RPC_ADDRESS_SIZE];
    size_t n_open;
    UT_hash_handle hh;
};

void rpc_address_of(const char *peer, char address[RPC_ADDRESS_SIZE])
{
    static const char v6[] = "ipv6:%5B";
    const char *port = strrchr(peer, ':');
    size_t len = port != NULL ? (size_t)(port - peer) : 0;
    struct in6_addr ip;

    snprintf(address, RPC_ADDRESS_SIZE, "%.*s", (int)len, peer);
    if (strncmp(address, v6, sizeof(v6) - 1) != 0)
        return;
    address += sizeof(v6) - 1;
    address[strcspn(address, "%")] = '\0'; /* the bracket, or the name of an interface */
    if (inet_pton(AF_INET6, address, &ip) != 1)
        return;
    memset(ip.s6_addr + 8, 0, 8);
    inet_ntop(AF_INET6, &ip, address, RPC_ADDRESS_SIZE - sizeof(v6) + 1);
}

/* Under the mutex: the entry of this address, a new one if need be. */
static rpc_place_address *address_get(rpc_places *places, const char *name)
{
    rpc_place_address *address;

    HASH_FIND_STR(places->addresses, name, address);
    if (address != NULL)
        return address;
    address = calloc(1, sizeof(*address));
    if (address == NULL)
        abort();
    snprintf(address->name, sizeof(address->name), "%s", name);
    HASH_ADD_STR(places->addresses, name, address);
    return address;
}

/* Under the mutex. */
static void open_leave(rpc_places *places, rpc_call *call)
{
    rpc_place_address *address = call->place_address;

    places->n_open--;
    call->place_address = NULL;
    if (--address->n_open > 0)
        return;
    HASH_DEL(places->addresses, address);
    free(address);
}

static bool open_enter(rpc_call *call)
{
    rpc_places *places = &call->queue->places;
    char name[RPC_ADDRESS_SIZE];
    rpc_place_address *address;
    bool has_room = false;

    rpc_address_of(rpc_peer(call), name);
    uv_mutex_lock(&places->mutex);
    if (places->n_open < places->open_max) {
        address = address_get(places, name);
        has_room = address->n_open < places->open_address_max;
        if (has_room) {
            address->n_open++;
            places->n_open++;
            call->place_address = address;
            call->place = RPC_PLACE_OPEN;
        }
    }
    uv_mutex_unlock(&places->mutex);
    return has_room;
}

static bool working_enter(rpc_call *call)
{
    rpc_places *places = &call->queue->places;
    bool has_room;

    uv_mutex_lock(&places->mutex);
    has_room = places->n_working < call->queue->server->calls_max;
    if (has_room) {
        places->n_working++;
        call->place = RPC_PLACE_WORKING;
    }
    uv_mutex_unlock(&places->mutex);
    return has_room;
}

bool rpc_place_enter(rpc_call *call)
{
    if (call->binding->uncounted)
        return true;
    return call->binding->is_open ? open_enter(call) : working_enter(call);
}

/* Failures, and what open methods say, are there for everybody. They are listed apart, so that no
 * number of them cuts what a caller with a token is slow to take. */
static rpc_leaving *leaving_for(const rpc_call *call)
{
    rpc_places *places = &call->queue->places;

    return call->code != WM_OK || call->binding->is_open ? &places->others : &places->results;
}

/* Under the mutex. */
static void leaving_unlist(rpc_call *call)
{
    rpc_leaving *leaving = call->leaving;

    DL_DELETE2(leaving->first, call, place_prev, place_next);
    leaving->n--;
    call->place = RPC_PLACE_NONE;
}

/* Under the mutex: takes an answer out to be cut. The reference keeps the core's side of the call,
 * which may come to its end as soon as the mutex is free. */
static grpc_call *leaving_take(rpc_places *places, rpc_call *call)
{
    grpc_call_ref(call->core);
    leaving_unlist(call);
    places->n_cut++;
    call->is_cut = true;
    return call->core;
}

/* Without the mutex. What is left of the answer is dropped, and the status needs no window. */
static void answer_cut(grpc_call *core)
{
    grpc_call_cancel_with_status(core, GRPC_STATUS_CANCELLED,
                                 "the client did not take the answer in time", NULL);
    grpc_call_unref(core);
}

void rpc_place_answered(rpc_call *call, grpc_byte_buffer *answer)
{
    rpc_places *places = &call->queue->places;
    rpc_leaving *leaving = leaving_for(call);
    size_t size = answer != NULL ? grpc_byte_buffer_length(answer) : 0;
    grpc_call *cut = NULL;

    call->answered_us = wm_monotonic_us();
    call->leave_until_us =
        call->answered_us + places->answer_us + (int64_t)(size / RPC_ANSWER_BYTES_PER_S) * 1000000;
    uv_mutex_lock(&places->mutex);
    if (call->place == RPC_PLACE_WORKING)
        places->n_working--;
    else if (call->place == RPC_PLACE_OPEN)
        open_leave(places, call);
    if (leaving->n >= leaving->max)
        cut = leaving_take(places, leaving->first);
    DL_APPEND2(leaving->first, call, place_prev, place_next);
    leaving->n++;
    call->leaving = leaving;
    call->place = RPC_PLACE_LEAVING;
    uv_mutex_unlock(&places->mutex);
    if (cut != NULL)
        answer_cut(cut);
}

void rpc_place_left(rpc_call *call)
{
    rpc_places *places = &call->queue->places;

    uv_mutex_lock(&places->mutex);
    if (call->place == RPC_PLACE_LEAVING)
        leaving_unlist(call);
    uv_mutex_unlock(&places->mutex);
}

/* The first whose time is over, or NULL. Answers are listed as they were given, so none that
 * follows a young one can be late; large ones, which have more time, are passed over. */
static grpc_call *late_take(rpc_places *places, const rpc_leaving *leaving, int64_t now_us)
{
    int64_t given_us = now_us - places->answer_us;
    grpc_call *late = NULL;
    rpc_call *call;

    uv_mutex_lock(&places->mutex);
    call = leaving->first;
    while (call != NULL && call->answered_us <= given_us && call->leave_until_us > now_us)
        call = call->place_next;
    if (call != NULL && call->leave_until_us <= now_us)
        late = leaving_take(places, call);
    uv_mutex_unlock(&places->mutex);
    return late;
}

static void leaving_check(rpc_places *places, const rpc_leaving *leaving)
{
    int64_t now_us = wm_monotonic_us();
    grpc_call *late;

    while ((late = late_take(places, leaving, now_us)) != NULL)
        answer_cut(late);
}

void rpc_places_check(rpc_queue *queue)
{
    leaving_check(&queue->places, &queue->places.results);
    leaving_check(&queue->places, &queue->places.others);
}

uint64_t rpc_places_cut(rpc_queue *queue)
{
    uint64_t n;

    uv_mutex_lock(&queue->places.mutex);
    n = queue->places.n_cut;
    uv_mutex_unlock(&queue->places.mutex);
    return n;
}

static size_t at_least(size_t n, size_t min)
{
    return n > min ? n : min;
}

void rpc_places_init(rpc_queue *queue, const rpc_config *config)
{
    rpc_places *places = &queue->places;
    size_t calls_max = queue->server->calls_max;
    uint64_t answer_ms = config->answer_ms ? config->answer_ms : RPC_ANSWER_MS_DEFAULT;

    places->answer_us = (int64_t)(answer_ms < INT32_MAX ? answer_ms : INT32_MAX) * 1000;
    places->open_max = config->open_calls_max ? config->open_calls_max : RPC_OPEN_CALLS_MAX_DEFAULT;
    places->open_address_max = (places->open_max + RPC_OPEN_PART - 1) / RPC_OPEN_PART;
    places->results.max = at_least(calls_max, RPC_LEAVING_MIN);
    places->others.max = at_least(places->open_max, RPC_LEAVING_MIN);
    if (uv_mutex_init(&places->mutex) != 0)
        abort();
}

void rpc_places_free(rpc_queue *queue)
{
    assert(queue->places.addresses == NULL);
    uv_mutex_destroy(&queue->places.mutex);
}
