/* client/park.c - calls that wait for something outside: a token, an interceptor, time.
 *
 * A parked call belongs to nobody until somebody takes it out of its ticket, by one atomic
 * exchange: what it waits for (client_unpark), a cancel (client_park_break), or time
 * (client_park_look). So the holder of a ticket may come late, long after the call has ended, and
 * finds it empty.
 *
 * Times are a heap under client.lock, which thread 0 looks at between events. Who parks a call that
 * is due before all others rings the bell.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "client/internal.h"

void client_ticket_unref(client_ticket *ticket)
{
    if (atomic_fetch_sub_explicit(&ticket->refs, 1, memory_order_acq_rel) == 1)
        free(ticket);
}

static client_ticket *ticket_new(client_call *call, unsigned refs)
{
    client_ticket *ticket = calloc(1, sizeof(*ticket));

    if (ticket == NULL)
        abort();
    atomic_init(&ticket->refs, refs);
    ticket->born = atomic_load(&client_forks);
    atomic_init(&ticket->call, call);
    return ticket;
}

client_ticket *client_ticket_spent(void)
{
    return ticket_new(NULL, 1);
}

/* ---- the heap; client.lock is held ---- */

static void heap_put(waymark_client *client, size_t at, client_call *call)
{
    client->parked[at - 1] = call;
    call->parked_at = at;
}

static void heap_up(waymark_client *client, size_t at, client_call *call)
{
    for (; at > 1 && client->parked[at / 2 - 1]->due_us > call->due_us; at /= 2)
        heap_put(client, at, client->parked[at / 2 - 1]);
    heap_put(client, at, call);
}

static void heap_down(waymark_client *client, size_t at, client_call *call)
{
    size_t child;

    while ((child = at * 2) <= client->n_parked) {
        if (child < client->n_parked &&
            client->parked[child]->due_us < client->parked[child - 1]->due_us)
            child++;
        if (client->parked[child - 1]->due_us >= call->due_us)
            break;
        heap_put(client, at, client->parked[child - 1]);
        at = child;
    }
    heap_put(client, at, call);
}

static void heap_add(waymark_client *client, client_call *call)
{
    if (client->n_parked == client->parked_room) {
        client->parked_room = client->parked_room > 0 ? client->parked_room * 2 : 64;
        client->parked = realloc(client->parked, client->parked_room * sizeof(client->parked[0]));
        if (client->parked == NULL)
            abort();
    }
    client->n_parked++;
    heap_up(client, client->n_parked, call);
}

static void heap_remove(waymark_client *client, client_call *call)
{
    size_t at = call->parked_at;
    client_call *last = client->parked[--client->n_parked];

    call->parked_at = 0;
    if (last == call)
        return;
    if (at > 1 && client->parked[at / 2 - 1]->due_us > last->due_us)
        heap_up(client, at, last);
    else
        heap_down(client, at, last);
}

/* True: the earliest time is earlier now. */
static bool set_next(waymark_client *client)
{
    int64_t next_us = client->n_parked > 0 ? client->parked[0]->due_us : INT64_MAX;
    int64_t before_us = atomic_exchange(&client->parked_next_us, next_us);

    return next_us < before_us;
}

/* What every way out of parking ends with: the call's reference goes. */
static void leave(waymark_client *client, client_call *call)
{
    client_ticket *ticket = call->ticket;

    call->ticket = NULL;
    if (call->parked_at != 0) {
        heap_remove(client, call);
        set_next(client);
    }
    client_ticket_unref(ticket);
}

/* ---- in and out ---- */

client_ticket *client_park(client_call *call, client_parking parking, int64_t due_us,
                           waymark_credentials *credentials)
{
    waymark_client *client = call->client;
    client_ticket *ticket = ticket_new(call, 2);
    bool cancelled, ring = false;

    ticket->credentials = credentials;
    pthread_mutex_lock(&client->lock);
    cancelled = call->cancelled;
    if (!cancelled) {
        call->ticket = ticket;
        call->parking = parking;
        call->due_us = due_us;
        if (due_us != INT64_MAX) {
            heap_add(client, call);
            ring = set_next(client);
        }
    }
    /* Under the lock: afterwards the call, and then the client, may be gone. */
    if (ring)
        client_post(client, 0, &client->bell);
    pthread_mutex_unlock(&client->lock);
    if (cancelled) {
        free(ticket);
        return NULL;
    }
    return ticket;
}

client_call *client_unpark(client_ticket *ticket)
{
    client_call *call = atomic_exchange(&ticket->call, NULL);

    if (call != NULL) { /* ours, so it and its client live */
        pthread_mutex_lock(&call->client->lock);
        leave(call->client, call);
        pthread_mutex_unlock(&call->client->lock);
    }
    client_ticket_unref(ticket);
    return call;
}

bool client_park_break(client_call *call)
{
    client_ticket *ticket = call->ticket;

    if (ticket == NULL || atomic_exchange(&ticket->call, NULL) == NULL)
        return false;
    credentials_forget(ticket);
    leave(call->client, call);
    return true;
}

/* ---- time ---- */

int64_t client_park_next_us(waymark_client *client)
{
    return atomic_load_explicit(&client->parked_next_us, memory_order_relaxed);
}

/* Takes one call whose time has come, and what it was parked for. */
static client_call *take_due(waymark_client *client, int64_t now_us, client_parking *parking)
{
    client_call *call = NULL;

    pthread_mutex_lock(&client->lock);
    while (client->n_parked > 0 && client->parked[0]->due_us <= now_us) {
        call = client->parked[0];
        *parking = call->parking;
        if (client_park_break(call))
            break;
        /* Its holder has just taken it, and waits for the lock to leave. */
        heap_remove(client, call);
        set_next(client);
        call = NULL;
    }
    pthread_mutex_unlock(&client->lock);
    return call;
}

void client_park_look(waymark_client *client)
{
    int64_t now_us = wm_monotonic_us();
    client_parking parking;
    client_call *call;

    while ((call = take_due(client, now_us, &parking)) != NULL) {
        if (parking == PARKED_FOR_BACKOFF)
            client_call_resume(call);
        else
            client_call_refuse(call, WAYMARK_DEADLINE_EXCEEDED, "DEADLINE_BEFORE_SENDING", -1,
                               "the deadline passed before the call could be sent");
    }
}
