/* server/event/relay.c - one process at a time copies the outbox to Redis.
 *
 * Who copies is decided by a lease in PostgreSQL, renewed by its holder and taken over by
 * anyone once it has expired. Two holders for a moment do no harm: entries are facts, each
 * with the position before it. The others follow the Redis Stream; a process without the
 * lease that commits something publishes a wake-up, so that the holder looks at once.
 *
 * Without Redis there is no lease, and every process looks for itself.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/event/internal.h"

enum {
    LEASE_MS = 2000,
    LEASE_RENEW_MS = 500,
    MAINTAIN_MS = 10 * 60 * 1000,
    STREAM_LEN_MAX = 1000,
    ENTRY_SIZE_MAX = 256 * 1024 /* bigger ones are left to the query */
};

static const char stream_name[] = "waymark:outbox";
static const char wake_channel[] = "waymark:wake";

static const store_stmt lease_stmt = {
    "event.lease",
    /* $1 who  $2 for how many ms. No row: somebody else holds it. */
    "UPDATE waymark.relay_lease SET holder = $1::uuid,"
    " expire_time = clock_timestamp() + $2::bigint * interval '1 ms'"
    " WHERE id = 1 AND (holder = $1::uuid OR expire_time < clock_timestamp()) RETURNING id"};

static const store_stmt maintain_stmt = {
    "event.maintain", "SELECT FROM waymark.outbox_maintain($1::bigint * interval '1 hour')"};

bool relay_leads(const event_hub *hub)
{
    return hub->leading && wm_monotonic_us() < hub->lease_until_us;
}

/* ---- copying ---- */

static void copy_one(event_hub *hub, event_cursor previous, const event_record *record)
{
    char before[EVENT_CURSOR_TEXT_SIZE], cursor[EVENT_CURSOR_TEXT_SIZE];
    char topic[16], namespace_id[16], time[24];

    event_cursor_format(previous, before);
    event_cursor_format(record->cursor, cursor);
    snprintf(topic, sizeof(topic), "%d", (int)record->topic);
    snprintf(namespace_id, sizeof(namespace_id), "%" PRId32, record->namespace_id);
    snprintf(time, sizeof(time), "%" PRId64, record->commit_time_us);
    const bus_field fields[] = {
        {"previous", before, strlen(before)}, {"cursor", cursor, strlen(cursor)},
        {"topic", topic, strlen(topic)},      {"namespace", namespace_id, strlen(namespace_id)},
        {"time", time, strlen(time)},         {"payload", record->payload, record->payload_size},
    };
    bus_append(hub->bus, stream_name, STREAM_LEN_MAX, fields, WM_ARRAY_LEN(fields));
}

void relay_copy(event_hub *hub, event_cursor previous, const event_record *records, size_t n)
{
    if (hub->bus == NULL || !relay_leads(hub))
        return;
    for (size_t i = 0; i < n; i++) {
        /* One left out is a gap that followers see in the next one. */
        if (records[i].payload_size <= ENTRY_SIZE_MAX)
            copy_one(hub, previous, &records[i]);
        previous = records[i].cursor;
    }
}

/* ---- following ---- */

static bool field_is(const bus_field *field, const char *name)
{
    return strcmp(field->name, name) == 0;
}

/* hiredis ends every value with a NUL. */
static void on_entry(void *ctx, const char *id, const bus_field *fields, size_t n)
{
    event_hub *hub = ctx;
    event_record record = {0};
    event_cursor previous = {0, 0};
    bool valid = true;
    int found = 0;

    (void)id;
    for (size_t i = 0; i < n; i++, found++) {
        const bus_field *field = &fields[i];
        if (field_is(field, "previous")) {
            valid = valid && event_cursor_parse(field->value, &previous);
        } else if (field_is(field, "cursor")) {
            valid = valid && event_cursor_parse(field->value, &record.cursor);
        } else if (field_is(field, "topic")) {
            record.topic = (event_topic)strtol(field->value, NULL, 10);
        } else if (field_is(field, "namespace")) {
            record.namespace_id = (int32_t)strtol(field->value, NULL, 10);
        } else if (field_is(field, "time")) {
            record.commit_time_us = strtoll(field->value, NULL, 10);
        } else if (field_is(field, "payload")) {
            record.payload = field->value;
            record.payload_size = field->size;
        } else {
            found--;
        }
    }
    /* Redis is not the truth: what does not parse is looked up. */
    if (found == 6 && valid && record.topic > 0 && record.topic < 32)
        tail_take_entry(hub, previous, &record);
    else
        tail_look(hub);
}

static void on_message(void *ctx, const char *channel, const void *bytes, size_t size)
{
    event_hub *hub = ctx;

    (void)channel;
    (void)bytes;
    (void)size;
    if (relay_leads(hub))
        tail_look(hub);
}

static void on_changed(void *ctx, bool up)
{
    (void)up;
    tail_look(ctx); /* it went: look oneself; it came: what was missed */
}

void relay_wake(event_hub *hub)
{
    if (hub->bus != NULL && !relay_leads(hub))
        bus_publish(hub->bus, wake_channel, "", 0);
}

/* ---- the lease ---- */

static void lease_ask(event_hub *hub);

static void lease_on_timer(uv_timer_t *timer)
{
    lease_ask(wm_container_of(timer, event_hub, lease_timer));
}

static void lease_set(event_hub *hub, bool leading)
{
    if (leading == hub->leading)
        return;
    hub->leading = leading;
    wm_log(WM_LOG_DEBUG, leading ? "copies the outbox to Redis" : "follows the outbox in Redis");
    if (leading)
        bus_untail(hub->bus); /* it looks for itself, and would read its own entries */
    else
        bus_tail(hub->bus, stream_name);
    tail_look(hub);
}

static void lease_done(store_query *query, wm_code code)
{
    event_hub *hub = wm_container_of(query, event_hub, lease);

    hub->leasing = false;
    if (!hub->stopping) {
        bool mine = code == WM_OK && store_rows_len(store_query_rows(query)) > 0;
        /* Counted from before the question, so that ours ends before PostgreSQL's. */
        if (mine)
            hub->lease_until_us = hub->lease_asked_us + LEASE_MS * INT64_C(1000);
        lease_set(hub, mine || (code != WM_OK && relay_leads(hub)));
        uv_timer_start(&hub->lease_timer, lease_on_timer, LEASE_RENEW_MS, 0);
    }
    hub_unref(hub);
}

static void lease_ask(event_hub *hub)
{
    store_args args;

    if (hub->leasing)
        return;
    hub->leasing = true;
    hub->lease_asked_us = wm_monotonic_us();
    wm_arena_reset(&hub->lease_arena);
    store_args_init(&args, &hub->lease_arena);
    store_arg_uuid(&args, &hub->self);
    store_arg_int64(&args, LEASE_MS);
    hub_ref(hub);
    store_query_start(lane_store(hub->lanes[0].lane), &hub->lease, &hub->lease_arena, &lease_stmt,
                      &args, false, lease_done);
}

/* ---- retention ---- */

static void maintain_done(store_query *query, wm_code code)
{
    event_hub *hub = wm_container_of(query, event_hub, maintain);

    hub->maintaining = false;
    if (code != WM_OK)
        wm_log(WM_LOG_WARN, "outbox maintenance failed", wm_log_s("reason", query->tx.err.reason));
    hub_unref(hub);
}

static void maintain_on_timer(uv_timer_t *timer)
{
    event_hub *hub = wm_container_of(timer, event_hub, maintain_timer);
    store_args args;

    if (hub->maintaining)
        return;
    hub->maintaining = true;
    wm_arena_reset(&hub->maintain_arena);
    store_args_init(&args, &hub->maintain_arena);
    store_arg_int64(&args, EVENT_RETENTION_HOURS);
    hub_ref(hub);
    store_query_start(lane_store(hub->lanes[0].lane), &hub->maintain, &hub->maintain_arena,
                      &maintain_stmt, &args, false, maintain_done);
}

/* ---- life ---- */

static void lease_timer_closed(uv_handle_t *handle)
{
    hub_unref(wm_container_of(handle, event_hub, lease_timer));
}

static void maintain_timer_closed(uv_handle_t *handle)
{
    hub_unref(wm_container_of(handle, event_hub, maintain_timer));
}

void relay_start(event_hub *hub, const char *redis, const char *password)
{
    lane *lane = hub->lanes[0].lane;

    uv_timer_init(lane_loop(lane), &hub->lease_timer);
    uv_timer_init(lane_loop(lane), &hub->maintain_timer);
    hub_ref(hub);
    hub_ref(hub);
    /* Spread, so that processes started together do not come all at once. */
    uv_timer_start(&hub->maintain_timer, maintain_on_timer, 1000 + wm_random_below(10000),
                   MAINTAIN_MS);
    if (redis == NULL || *redis == '\0')
        return;
    const bus_listener listener = {on_entry, on_message, on_changed, hub};
    hub->self = wm_uuid_new();
    hub->bus = bus_new(lane, redis, password, &listener);
    bus_listen(hub->bus, wake_channel);
    bus_tail(hub->bus, stream_name);
    lease_ask(hub);
}

void relay_stop(event_hub *hub)
{
    uv_close((uv_handle_t *)&hub->lease_timer, lease_timer_closed);
    uv_close((uv_handle_t *)&hub->maintain_timer, maintain_timer_closed);
    if (hub->bus != NULL)
        bus_free(hub->bus);
    hub->bus = NULL;
}
