/* geo/live.c - loading, following, waiting; all three on lane 0.
 *
 * The subscription starts before the load, so nothing committed falls between them. A load that
 * fails (PostgreSQL away) goes on from the page it had reached.
 *
 * Locks: `lock` guards the table of namespaces, `wait_lock` the list of waits; neither is held
 * while anything else is called that locks.
 */
#include "server/geo/live.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/clock.h"
#include "base/codec.h"
#include "base/log.h"
#include "server/geo/store.h"
#include "waymark/geo/v1/record.pb-c.h"

enum { LOAD_PAGE_LEN = 5000, LOAD_RETRY_MS = 250, WAIT_CHECK_MS = 20 };

typedef struct live_namespace {
    int32_t id;
    geo_index *index;
    int64_t reached_xid; /* of the newest record; under `lock` */
    UT_hash_handle hh;
} live_namespace;

struct geo_live {
    lane *lane; /* lane 0 */
    event_hub *hub;
    uint32_t process;
    pthread_rwlock_t lock;
    live_namespace *namespaces;
    int64_t passed_xid; /* the newest record of any namespace; under `lock` */
    _Atomic bool loaded;

    /* lane 0's */
    event_subscriber subscriber;
    store_query query;
    wm_arena query_arena;
    wm_arena arena; /* of the record at hand */
    bool querying, stopping;
    int32_t load_namespace;
    char load_entity[GEO_ID_SIZE_MAX + 1];
    size_t load_len;
    uv_timer_t load_timer, wait_timer;
    uv_sem_t closed;
    unsigned closing;

    pthread_mutex_t wait_lock;
    geo_live_wait *waits;
    lane_msg kick; /* tells lane 0 of new waits */
    bool kicked;
};

/* ---- namespaces ---- */

static live_namespace *namespace_add(geo_live *live, int32_t id)
{
    live_namespace *made;

    pthread_rwlock_wrlock(&live->lock);
    HASH_FIND(hh, live->namespaces, &id, sizeof(id), made);
    if (made == NULL) {
        made = calloc(1, sizeof(*made));
        if (made == NULL)
            abort();
        made->id = id;
        made->index = geo_index_new();
        HASH_ADD(hh, live->namespaces, id, sizeof(made->id), made);
    }
    pthread_rwlock_unlock(&live->lock);
    return made;
}

static live_namespace *namespace_get(geo_live *live, int32_t id)
{
    live_namespace *found;

    pthread_rwlock_rdlock(&live->lock);
    HASH_FIND(hh, live->namespaces, &id, sizeof(id), found);
    pthread_rwlock_unlock(&live->lock);
    return found != NULL ? found : namespace_add(live, id);
}

geo_index *geo_live_index(geo_live *live, int32_t namespace_id)
{
    return namespace_get(live, namespace_id)->index;
}

/* ---- waiting ---- */

void geo_live_revision(const geo_live *live, int64_t xid, char text[GEO_REVISION_SIZE])
{
    snprintf(text, GEO_REVISION_SIZE, "%" PRIx64 ".%08" PRIx32, (uint64_t)xid, live->process);
}

wm_code geo_live_wait_init(geo_live_wait *wait, geo_live *live, int32_t namespace_id,
                           const char *revision, wm_err *err)
{
    uint64_t xid;
    uint32_t process;
    int end = 0;

    memset(wait, 0, sizeof(*wait));
    wait->live = live;
    wait->namespace_id = namespace_id;
    if (revision[0] == '\0')
        return WM_OK;
    if (strlen(revision) >= GEO_REVISION_SIZE ||
        sscanf(revision, "%16" SCNx64 ".%8" SCNx32 "%n", &xid, &process, &end) != 2 ||
        revision[end] != '\0' || xid > INT64_MAX)
        return wm_fail_field(err, "revision", "FIELD_INVALID",
                             "revision is none that a reply carried");
    /* What this process committed is in its indexes before the reply leaves. */
    wait->xid = process == live->process ? 0 : (int64_t)xid;
    return WM_OK;
}

bool geo_live_is_ready(const geo_live_wait *wait)
{
    geo_live *live = wait->live;
    live_namespace *found;
    bool reached;

    if (!atomic_load_explicit(&live->loaded, memory_order_acquire))
        return false;
    if (wait->xid == 0)
        return true;
    pthread_rwlock_rdlock(&live->lock);
    HASH_FIND(hh, live->namespaces, &wait->namespace_id, sizeof(wait->namespace_id), found);
    reached = live->passed_xid > wait->xid || (found != NULL && found->reached_xid >= wait->xid);
    pthread_rwlock_unlock(&live->lock);
    return reached;
}

static void wait_deliver(lane_msg *msg)
{
    geo_live_wait *wait = wm_container_of(msg, geo_live_wait, msg);

    wait->done(wait, wait->code);
}

static wm_code wait_give_up(geo_live_wait *wait)
{
    wm_code code;

    if (!atomic_load(&wait->live->loaded))
        code = wm_fail(&wait->err, WM_UNAVAILABLE, "STORE_UNAVAILABLE",
                       "the positions are still being loaded");
    else
        code = wm_fail(&wait->err, WM_UNAVAILABLE, "REVISION_NOT_REACHED",
                       "this server has not seen the revision yet");
    wait->err.retry_after_ms = 200;
    return code;
}

/* Lane 0: ends the waits that are over. */
static void waits_check(geo_live *live)
{
    geo_live_wait **link = &live->waits;
    int64_t now_us = wm_monotonic_us();

    pthread_mutex_lock(&live->wait_lock);
    while (*link != NULL) {
        geo_live_wait *wait = *link;
        bool ready = geo_live_is_ready(wait);

        if (!ready && now_us < wait->until_us) {
            link = &wait->next;
            continue;
        }
        *link = wait->next;
        wait->code = ready ? WM_OK : wait_give_up(wait);
        lane_post(wait->lane, &wait->msg);
    }
    if (live->waits == NULL)
        uv_timer_stop(&live->wait_timer);
    pthread_mutex_unlock(&live->wait_lock);
}

static void wait_timer_fired(uv_timer_t *timer)
{
    waits_check(timer->data);
}

static void waits_kicked(lane_msg *msg)
{
    geo_live *live = wm_container_of(msg, geo_live, kick);

    pthread_mutex_lock(&live->wait_lock);
    live->kicked = false;
    pthread_mutex_unlock(&live->wait_lock);
    uv_timer_start(&live->wait_timer, wait_timer_fired, WAIT_CHECK_MS, WAIT_CHECK_MS);
    waits_check(live);
}

void geo_live_wait_start(geo_live_wait *wait, lane *lane, int64_t deadline_us,
                         void (*done)(geo_live_wait *wait, wm_code code))
{
    geo_live *live = wait->live;
    int64_t longest_ms = atomic_load(&live->loaded) ? GEO_REVISION_WAIT_MS : GEO_LOAD_WAIT_MS;
    bool kick;

    wait->lane = lane;
    wait->done = done;
    wait->msg.run = wait_deliver;
    wait->until_us = wm_monotonic_us() + longest_ms * 1000;
    if (wait->until_us > deadline_us)
        wait->until_us = deadline_us;
    pthread_mutex_lock(&live->wait_lock);
    wait->next = live->waits;
    live->waits = wait;
    kick = !live->kicked;
    live->kicked = true;
    pthread_mutex_unlock(&live->wait_lock);
    if (kick)
        lane_post(live->lane, &live->kick);
}

/* ---- following ---- */

static void record_apply(geo_live *live, const event_record *record)
{
    live_namespace *at = namespace_get(live, record->namespace_id);
    Waymark__Geo__V1__PositionRecord *positions;
    geo_index_update *updates;
    size_t n = 0;
    wm_err err;

    wm_arena_reset(&live->arena);
    if (wm_codec_unpack(&live->arena, &waymark__geo__v1__position_record__descriptor,
                        record->payload, record->payload_size, (ProtobufCMessage **)&positions,
                        &err) != WM_OK) {
        wm_log(WM_LOG_ERROR, "a record of positions cannot be read", wm_log_s("why", err.message));
        return;
    }
    updates = WM_NEW_ARRAY(&live->arena, geo_index_update, positions->n_positions);
    for (size_t i = 0; i < positions->n_positions; i++) {
        /* A later release may allow what this one does not; skip it rather than stop. */
        if (geo_fix_read(positions->positions[i], i, INT64_MAX - GEO_TIME_AHEAD_MAX_US,
                         &updates[n].fix, &err) != WM_OK)
            continue;
        updates[n++].entity_id = positions->positions[i]->entity_id;
    }
    geo_index_apply(at->index, updates, n);
}

static void subscriber_record(event_subscriber *self, const event_record *record)
{
    geo_live *live = wm_container_of(self, geo_live, subscriber);
    live_namespace *at = namespace_get(live, record->namespace_id);

    record_apply(live, record);
    pthread_rwlock_wrlock(&live->lock);
    at->reached_xid = record->cursor.xid;
    live->passed_xid = record->cursor.xid;
    pthread_rwlock_unlock(&live->lock);
    waits_check(live);
}

/* ---- loading ---- */

static void handle_closed(uv_handle_t *handle)
{
    geo_live *live = handle->data;

    if (--live->closing == 0)
        uv_sem_post(&live->closed);
}

static void handles_close(geo_live *live)
{
    live->closing = 2;
    uv_close((uv_handle_t *)&live->load_timer, handle_closed);
    uv_close((uv_handle_t *)&live->wait_timer, handle_closed);
}

static void load_page(geo_live *live);

static void load_timer_fired(uv_timer_t *timer)
{
    load_page(timer->data);
}

static void load_finish(geo_live *live)
{
    wm_log(WM_LOG_INFO, "positions loaded", wm_log_i("entities", (int64_t)live->load_len));
    atomic_store_explicit(&live->loaded, true, memory_order_release);
    waits_check(live);
}

/* Applies the rows of one namespace at a time. */
static void load_rows(geo_live *live, wm_arena *arena, const store_rows *rows)
{
    size_t len = store_rows_len(rows), n = 0;
    geo_index_update *updates = WM_NEW_ARRAY(arena, geo_index_update, len);

    for (size_t i = 0; i < len; i++) {
        int32_t namespace_id = store_int32(rows, i, 6);

        if (namespace_id != live->load_namespace) {
            if (n > 0)
                geo_index_apply(geo_live_index(live, live->load_namespace), updates, n);
            live->load_namespace = namespace_id;
            n = 0;
        }
        updates[n].entity_id = store_text(rows, i, 7);
        updates[n++].fix = geo_store_read_fix(rows, i, 0);
    }
    if (n > 0)
        geo_index_apply(geo_live_index(live, live->load_namespace), updates, n);
    if (len > 0)
        snprintf(live->load_entity, sizeof(live->load_entity), "%s", store_text(rows, len - 1, 7));
    live->load_len += len;
}

static void load_page_done(store_query *query, wm_code code)
{
    geo_live *live = wm_container_of(query, geo_live, query);
    size_t len = 0;

    live->querying = false;
    if (code == WM_OK) {
        wm_arena arena;

        wm_arena_init(&arena, 0);
        len = store_rows_len(store_query_rows(query));
        load_rows(live, &arena, store_query_rows(query));
        wm_arena_free(&arena);
    }
    if (live->stopping)
        handles_close(live);
    else if (code != WM_OK)
        uv_timer_start(&live->load_timer, load_timer_fired, LOAD_RETRY_MS, 0);
    else if (len < LOAD_PAGE_LEN)
        load_finish(live);
    else /* not from here: the query is still being delivered */
        uv_timer_start(&live->load_timer, load_timer_fired, 0, 0);
}

static void load_page(geo_live *live)
{
    store_args args;

    wm_arena_reset(&live->query_arena);
    store_args_init(&args, &live->query_arena);
    store_arg_int32(&args, live->load_namespace);
    store_arg_text(&args, live->load_entity);
    store_arg_int64(&args, LOAD_PAGE_LEN);
    live->querying = true;
    store_query_start(lane_store(live->lane), &live->query, &live->query_arena,
                      &geo_store_scan_entities, &args, false, load_page_done);
}

/* ---- life ---- */

static void live_start(void *ctx)
{
    geo_live *live = ctx;

    uv_timer_init(lane_loop(live->lane), &live->load_timer);
    uv_timer_init(lane_loop(live->lane), &live->wait_timer);
    live->load_timer.data = live->wait_timer.data = live;
    live->subscriber.topics = 1u << EVENT_POSITIONS;
    live->subscriber.record = subscriber_record;
    event_hub_subscribe(live->hub, live->lane, &live->subscriber, NULL);
    load_page(live);
}

geo_live *geo_live_new(lane *lane, event_hub *hub)
{
    geo_live *live = calloc(1, sizeof(*live));

    if (live == NULL)
        abort();
    live->lane = lane;
    live->hub = hub;
    wm_random_bytes(&live->process, sizeof(live->process));
    live->kick.run = waits_kicked;
    pthread_rwlock_init(&live->lock, NULL);
    pthread_mutex_init(&live->wait_lock, NULL);
    wm_arena_init(&live->arena, 0);
    wm_arena_init(&live->query_arena, 0);
    uv_sem_init(&live->closed, 0);
    lane_call(live->lane, live_start, live);
    return live;
}

static void live_stop(void *ctx)
{
    geo_live *live = ctx;

    live->stopping = true;
    event_hub_unsubscribe(&live->subscriber);
    if (!live->querying)
        handles_close(live);
}

void geo_live_free(geo_live *live)
{
    live_namespace *each, *next;

    lane_call(live->lane, live_stop, live);
    uv_sem_wait(&live->closed);
    uv_sem_destroy(&live->closed);
    HASH_ITER (hh, live->namespaces, each, next) {
        HASH_DEL(live->namespaces, each);
        geo_index_free(each->index);
        free(each);
    }
    wm_arena_free(&live->arena);
    wm_arena_free(&live->query_arena);
    pthread_mutex_destroy(&live->wait_lock);
    pthread_rwlock_destroy(&live->lock);
    free(live);
}
