/* geo/watch_events.c - WatchFenceEvents: every crossing at least once, in commit order.
 *
 *   hub record ──> filter ──> queue of responses ──> sent, with the position to resume from
 *
 * The queue is bounded and nothing in it is dropped: when it is full, the watch leaves the hub
 * and remembers where; when the reader has emptied it, it joins again from there and the hub
 * replays from PostgreSQL. So a slow reader costs a query now and then, and loses nothing until
 * it is a day behind.
 *
 * A record may be too big for one response. Only its last part carries the record's position; the
 * parts before carry that of the record before, so that whoever resumes there sees it again whole.
 */
#include <stdlib.h>
#include <string.h>

#include "server/geo/filter.h"
#include "server/geo/watch.h"
#include "waymark/geo/v1/record.pb-c.h"

enum {
    QUEUE_EVENTS_MAX = 10000, /* then the watch leaves the hub until they are read */
    SEND_LEN_MAX = 1000,
    CHECKPOINT_MS = 5000
};

/* The matching events of one record. */
typedef struct batch batch;
struct batch {
    batch *next;
    event_cursor cursor;
    Waymark__Geo__V1__FenceEvent **events;
    size_t n, n_sent;
    wm_arena arena;
};

typedef struct watch {
    rpc_call *call;
    event_hub *hub;
    event_subscriber subscriber;
    geo_filter entities, fences;
    batch *queue, **queue_tail;
    size_t n_queued;     /* events */
    event_cursor seen;   /* the newest record looked at */
    event_cursor sent;   /* where the reader would resume */
    bool checkpoint_due; /* tell the reader `seen`, when nothing is queued */
    bool subscribed, over;
    uv_timer_t timer;
} watch;

static void watch_flush(watch *w);

/* ---- the hub ---- */

static void watch_unsubscribe(watch *w)
{
    if (w->subscribed)
        event_hub_unsubscribe(&w->subscriber);
    w->subscribed = false;
}

static void watch_subscribe(watch *w, const event_cursor *after)
{
    w->subscribed = true;
    event_hub_subscribe(w->hub, rpc_lane(w->call), &w->subscriber, after);
}

static void watch_fail(watch *w, const wm_err *err)
{
    watch_unsubscribe(w);
    w->over = true;
    rpc_fail(w->call, err);
}

static Waymark__Geo__V1__FenceEvent *event_copy(wm_arena *arena,
                                                const Waymark__Geo__V1__FenceEvent *event)
{
    Waymark__Geo__V1__FenceEvent *copy = wm_arena_memdup(arena, event, sizeof(*event));

    copy->event_id = wm_arena_strdup(arena, event->event_id);
    copy->entity_id = wm_arena_strdup(arena, event->entity_id);
    copy->fence_id = wm_arena_strdup(arena, event->fence_id);
    copy->time = wm_arena_memdup(arena, event->time, sizeof(*event->time));
    copy->record_time = wm_arena_memdup(arena, event->record_time, sizeof(*event->record_time));
    copy->base.n_unknown_fields = 0; /* those of a later release stay behind */
    copy->base.unknown_fields = NULL;
    return copy;
}

static bool event_matches(const watch *w, const Waymark__Geo__V1__FenceEvent *event)
{
    return event->time != NULL && event->record_time != NULL &&
           geo_filter_has(&w->entities, event->entity_id) &&
           geo_filter_has(&w->fences, event->fence_id);
}

static void queue_add(watch *w, const event_record *record,
                      const Waymark__Geo__V1__FenceEventRecord *events)
{
    batch *made = calloc(1, sizeof(*made));

    if (made == NULL)
        abort();
    wm_arena_init(&made->arena, 0);
    made->cursor = record->cursor;
    made->events = WM_NEW_ARRAY(&made->arena, Waymark__Geo__V1__FenceEvent *, events->n_events);
    for (size_t i = 0; i < events->n_events; i++) {
        if (event_matches(w, events->events[i]))
            made->events[made->n++] = event_copy(&made->arena, events->events[i]);
    }
    if (made->n == 0) {
        wm_arena_free(&made->arena);
        free(made);
        return;
    }
    *w->queue_tail = made;
    w->queue_tail = &made->next;
    w->n_queued += made->n;
}

static void watch_record(event_subscriber *self, const event_record *record)
{
    watch *w = wm_container_of(self, watch, subscriber);
    const Waymark__Geo__V1__FenceEventRecord *events =
        (const Waymark__Geo__V1__FenceEventRecord *)geo_record_decode(geo_lane_of(w->call), record);

    w->seen = record->cursor;
    if (events != NULL)
        queue_add(w, record, events);
    if (w->n_queued > QUEUE_EVENTS_MAX)
        watch_unsubscribe(w);
    watch_flush(w);
}

static bool watch_has_room(event_subscriber *self)
{
    return wm_container_of(self, watch, subscriber)->n_queued < QUEUE_EVENTS_MAX / 2;
}

static void watch_caught_up(event_subscriber *self)
{
    watch *w = wm_container_of(self, watch, subscriber);

    w->checkpoint_due = true;
    watch_flush(w);
}

static void watch_failed(event_subscriber *self, const wm_err *err)
{
    watch *w = wm_container_of(self, watch, subscriber);

    w->subscribed = false;
    if (!w->over)
        watch_fail(w, err);
}

/* ---- sending ---- */

static void queue_pop(watch *w)
{
    batch *first = w->queue;

    w->queue = first->next;
    if (w->queue == NULL)
        w->queue_tail = &w->queue;
    wm_arena_free(&first->arena);
    free(first);
}

static bool send_part(watch *w)
{
    Waymark__Geo__V1__WatchFenceEventsResponse response =
        WAYMARK__GEO__V1__WATCH_FENCE_EVENTS_RESPONSE__INIT;
    char token[EVENT_CURSOR_TEXT_SIZE];
    batch *first = w->queue;
    size_t n = first->n - first->n_sent;
    bool last = n <= SEND_LEN_MAX;

    event_cursor_format(last ? first->cursor : w->sent, token);
    response.events = first->events + first->n_sent;
    response.n_events = last ? n : SEND_LEN_MAX;
    response.resume_token = token;
    if (!waymark_geo_v1_fence_service_watch_fence_events_send(w->call, &response))
        return false;
    first->n_sent += response.n_events;
    w->n_queued -= response.n_events;
    if (last) {
        w->sent = first->cursor;
        queue_pop(w);
    }
    return true;
}

static bool send_checkpoint(watch *w)
{
    Waymark__Geo__V1__WatchFenceEventsResponse response =
        WAYMARK__GEO__V1__WATCH_FENCE_EVENTS_RESPONSE__INIT;
    char token[EVENT_CURSOR_TEXT_SIZE];

    event_cursor_format(w->seen, token);
    response.resume_token = token;
    if (!waymark_geo_v1_fence_service_watch_fence_events_send(w->call, &response))
        return false;
    w->sent = w->seen;
    w->checkpoint_due = false;
    return true;
}

static void watch_flush(watch *w)
{
    if (w->over)
        return;
    while (w->queue != NULL && rpc_is_writable(w->call)) {
        if (!send_part(w))
            return;
    }
    if (w->queue != NULL)
        return;
    if (w->checkpoint_due && rpc_is_writable(w->call) && !send_checkpoint(w))
        return;
    if (!w->subscribed)
        watch_subscribe(w, &w->seen);
}

/* While nothing matches, the place to resume from still moves on. */
static void timer_fired(uv_timer_t *timer)
{
    watch *w = wm_container_of(timer, watch, timer);

    if (w->over)
        return;
    if (w->subscribed && w->subscriber.replay == NULL && w->queue == NULL) {
        event_cursor now = event_hub_cursor(w->hub, rpc_lane(w->call));

        if (event_cursor_compare(now, w->seen) > 0)
            w->seen = now;
    }
    if (event_cursor_compare(w->seen, w->sent) > 0)
        w->checkpoint_due = true;
    watch_flush(w);
}

/* ---- the call ---- */

static wm_code watch_read(watch *w, const Waymark__Geo__V1__WatchFenceEventsRequest *request,
                          wm_err *err)
{
    wm_arena *arena = rpc_arena(w->call);
    wm_code code = geo_filter_init(&w->entities, arena, request->entity_ids, request->n_entity_ids,
                                   "entity_ids", err);

    if (code == WM_OK)
        code = geo_filter_init(&w->fences, arena, request->fence_ids, request->n_fence_ids,
                               "fence_ids", err);
    if (code != WM_OK)
        return code;
    w->seen = event_hub_cursor(w->hub, rpc_lane(w->call));
    if (request->resume_token[0] != '\0' && !event_cursor_parse(request->resume_token, &w->seen))
        return wm_fail_field(err, "resume_token", "RESUME_TOKEN_INVALID",
                             "resume_token is none that a response carried");
    w->sent = w->seen;
    return WM_OK;
}

void geo_watch_events(rpc_call *call, const Waymark__Geo__V1__WatchFenceEventsRequest *request)
{
    watch *w = calloc(1, sizeof(*w)); /* outlives the call until its timer is closed */
    wm_err err = {0};

    if (w == NULL)
        abort();
    w->call = call;
    w->hub = geo_of(call)->hub;
    w->queue_tail = &w->queue;
    rpc_set_data(call, w);
    uv_timer_init(lane_loop(rpc_lane(call)), &w->timer);
    if (watch_read(w, request, &err) != WM_OK) {
        watch_fail(w, &err);
        return;
    }
    w->subscriber.topics = 1u << EVENT_FENCE_EVENTS;
    w->subscriber.namespace_id = rpc_namespace(call);
    w->subscriber.record = watch_record;
    w->subscriber.has_room = watch_has_room;
    w->subscriber.caught_up = watch_caught_up;
    w->subscriber.failed = watch_failed;
    watch_subscribe(w, request->resume_token[0] == '\0' ? NULL : &w->seen);
    w->checkpoint_due = true;
    uv_timer_start(&w->timer, timer_fired, CHECKPOINT_MS, CHECKPOINT_MS);
    watch_flush(w);
}

void geo_watch_events_writable(rpc_call *call)
{
    watch_flush(rpc_data(call));
}

void geo_watch_events_cancelled(rpc_call *call)
{
    watch *w = rpc_data(call);

    watch_unsubscribe(w);
    w->over = true;
    rpc_finish(call);
}

static void timer_closed(uv_handle_t *handle)
{
    free(wm_container_of((uv_timer_t *)handle, watch, timer));
}

void geo_watch_events_ended(rpc_call *call)
{
    watch *w = rpc_data(call);

    while (w->queue != NULL)
        queue_pop(w);
    uv_close((uv_handle_t *)&w->timer, timer_closed);
}
