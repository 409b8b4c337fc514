/* server/bus/bus.c - Redis by hiredis on a lane's loop.
 *
 * Three links, each a connection of its own that lives and comes back by itself: one for
 * commands, one that blocks in XREAD, one that only receives published messages. The last
 * two exist once they are asked for. The bus is up while every existing link is.
 *
 *   IDLE ──> RESOLVING ──> CONNECTING ──> UP ──> (backoff) ──> RESOLVING ...
 *
 * Following a stream starts at its newest entry, whose id is asked for first: "$" would
 * lose what arrives between two blocking reads.
 */
#include "server/bus/bus.h"

#include <assert.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The adapter compares signed with unsigned and has a function for each event. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <hiredis/adapters/libuv.h>
#pragma GCC diagnostic pop

#include "base/log.h"
#include "base/random.h"

enum {
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 5000,
    CONNECT_TIMEOUT_MS = 5000,
    TAIL_BLOCK_MS = 5000,
    TAIL_SILENCE_MS = 12000,   /* more than one empty answer missing: the connection is dead */
    TAIL_COUNT = 256,          /* entries per answer */
    COMMAND_SILENCE_MS = 5000, /* no answer to any outstanding command: the connection is dead */
    PENDING_SIZE_MAX = 32 * 1024 * 1024, /* bytes of commands whose answer is outstanding */
    COMMAND_SIZE = 256,                  /* what a command costs besides its arguments */
    STREAM_ID_SIZE = 48,
    HOST_SIZE = 256
};

typedef enum link_kind { LINK_COMMANDS, LINK_TAIL, LINK_LISTEN, LINK_COUNT } link_kind;

typedef enum link_state {
    LINK_IDLE,
    LINK_WAITING,
    LINK_RESOLVING,
    LINK_CONNECTING,
    LINK_UP
} link_state;

typedef struct bus_link {
    bus *bus;
    link_kind kind;
    link_state state;
    redisAsyncContext *redis;
    uv_timer_t timer; /* backoff, connect timeout, silence */
    uv_getaddrinfo_t resolving;
    bool is_asking; /* `resolving` is with libuv, perhaps still from before a stop */
    unsigned backoff_ms;
} bus_link;

struct bus {
    lane *lane;
    char host[HOST_SIZE]; /* or the path of a socket */
    char port[8];         /* "" for a socket */
    int db;
    char *password;
    bus_listener listener;
    bus_link links[LINK_COUNT];
    char *stream; /* that the tail follows */
    char last_id[STREAM_ID_SIZE];
    char **channels;
    size_t n_channels;
    size_t pending_size; /* of the command link */
    bool told_up, closing;
    unsigned refs; /* handles and requests that libuv still has */
    atomic_bool up;
};

static void link_connect(bus_link *link);
static void link_on_timer(uv_timer_t *timer);
static void tail_read(bus_link *link);

static void *need(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static void bus_unref(bus *bus)
{
    if (--bus->refs > 0)
        return;
    for (size_t i = 0; i < bus->n_channels; i++)
        free(bus->channels[i]);
    free(bus->channels);
    free(bus->stream);
    free(bus->password);
    free(bus);
}

/* ---- up and down ---- */

static void bus_tell(bus *bus)
{
    bool up = true;

    for (int i = 0; i < LINK_COUNT; i++)
        up = up && (bus->links[i].state == LINK_UP || bus->links[i].state == LINK_IDLE);
    if (bus->closing || up == bus->told_up)
        return;
    bus->told_up = up;
    atomic_store(&bus->up, up);
    wm_log(up ? WM_LOG_INFO : WM_LOG_WARN, up ? "Redis is here" : "Redis is away");
    if (bus->listener.changed != NULL)
        bus->listener.changed(bus->listener.ctx, up);
}

/* The connection is gone, or never came: again after the backoff. */
static void link_lost(bus_link *link)
{
    unsigned ms = link->backoff_ms == 0 ? BACKOFF_MIN_MS : link->backoff_ms * 2;

    link->redis = NULL;
    if (link->bus->closing)
        return;
    link->backoff_ms = ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : ms;
    link->state = LINK_WAITING;
    uv_timer_start(&link->timer, link_on_timer,
                   link->backoff_ms / 2 + wm_random_below(link->backoff_ms / 2 + 1), 0);
    bus_tell(link->bus);
}

/* Also from a callback of the connection: hiredis then frees it when that returns. */
static void link_drop(bus_link *link)
{
    redisAsyncContext *redis = link->redis;

    if (redis == NULL)
        return;
    redis->data = NULL; /* its callbacks find nobody */
    redisAsyncFree(redis);
    link_lost(link);
}

static void link_on_timer(uv_timer_t *timer)
{
    bus_link *link = wm_container_of(timer, bus_link, timer);

    switch (link->state) {
    case LINK_WAITING:
        link_connect(link);
        return;
    case LINK_CONNECTING:
    case LINK_UP:
        link_drop(link);
        return;
    case LINK_IDLE:
    case LINK_RESOLVING:
        return;
    }
}

/* ---- answers ---- */

/* An answer nobody needs; `ctx` is the size of its command. */
static void on_answer(redisAsyncContext *redis, void *reply, void *ctx)
{
    bus_link *link = redis->data;

    (void)reply;
    if (link == NULL)
        return;
    link->bus->pending_size -= (size_t)(uintptr_t)ctx;
    if (link->bus->pending_size == 0)
        uv_timer_stop(&link->timer);
    else
        uv_timer_start(&link->timer, link_on_timer, COMMAND_SILENCE_MS, 0);
}

static void on_message(redisAsyncContext *redis, void *answer, void *ctx)
{
    bus_link *link = redis->data;
    const redisReply *reply = answer;

    (void)ctx;
    if (link == NULL || reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        strcmp(reply->element[0]->str, "message") != 0)
        return;
    if (link->bus->listener.message != NULL)
        link->bus->listener.message(link->bus->listener.ctx, reply->element[1]->str,
                                    reply->element[2]->str, reply->element[2]->len);
}

static void entry_deliver(bus *bus, const redisReply *entry)
{
    enum { FIELDS_MAX = 16 };
    bus_field fields[FIELDS_MAX];
    const redisReply *pairs;
    size_t n = 0;

    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2)
        return;
    snprintf(bus->last_id, sizeof(bus->last_id), "%s", entry->element[0]->str);
    pairs = entry->element[1];
    if (pairs->type != REDIS_REPLY_ARRAY) /* deleted meanwhile */
        return;
    for (size_t i = 0; i + 1 < pairs->elements && n < FIELDS_MAX; i += 2)
        fields[n++] = (bus_field){pairs->element[i]->str, pairs->element[i + 1]->str,
                                  pairs->element[i + 1]->len};
    if (bus->listener.entry != NULL)
        bus->listener.entry(bus->listener.ctx, bus->last_id, fields, n);
}

/* [[stream, [[id, [name, value, ...]], ...]]], or nil when nothing came in time. */
static void on_entries(redisAsyncContext *redis, void *answer, void *ctx)
{
    bus_link *link = redis->data;
    const redisReply *reply = answer;

    (void)ctx;
    if (link == NULL || reply == NULL || link->bus->closing)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        link_drop(link);
        return;
    }
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1) {
        const redisReply *entries = reply->element[0]->element[1];
        for (size_t i = 0; i < entries->elements && redis->data != NULL; i++)
            entry_deliver(link->bus, entries->element[i]);
    }
    if (redis->data != NULL) /* else stopped by its listener */
        tail_read(link);
}

static void tail_read(bus_link *link)
{
    bus *bus = link->bus;

    uv_timer_start(&link->timer, link_on_timer, TAIL_SILENCE_MS, 0);
    redisAsyncCommand(link->redis, on_entries, NULL, "XREAD COUNT %d BLOCK %d STREAMS %s %s",
                      TAIL_COUNT, TAIL_BLOCK_MS, bus->stream, bus->last_id);
}

/* The newest entry's id: the tail starts behind it. */
static void on_newest(redisAsyncContext *redis, void *answer, void *ctx)
{
    bus_link *link = redis->data;
    const redisReply *reply = answer;

    (void)ctx;
    if (link == NULL || reply == NULL || link->bus->closing)
        return;
    if (reply->type != REDIS_REPLY_ARRAY) {
        link_drop(link);
        return;
    }
    snprintf(link->bus->last_id, sizeof(link->bus->last_id), "%s",
             reply->elements == 0 ? "0-0" : reply->element[0]->element[0]->str);
    link->state = LINK_UP;
    link->backoff_ms = 0;
    tail_read(link);
    bus_tell(link->bus);
}

/* The first answer of a fresh connection: it works, and the password is right. */
static void on_hello(redisAsyncContext *redis, void *answer, void *ctx)
{
    bus_link *link = redis->data;
    const redisReply *reply = answer;

    (void)ctx;
    if (link == NULL || reply == NULL || link->bus->closing)
        return;
    if (reply->type == REDIS_REPLY_ERROR) {
        wm_log(WM_LOG_ERROR, "Redis refuses us");
        link_drop(link);
        return;
    }
    if (link->kind == LINK_TAIL) {
        redisAsyncCommand(redis, on_newest, NULL, "XREVRANGE %s + - COUNT 1", link->bus->stream);
        return;
    }
    uv_timer_stop(&link->timer);
    link->state = LINK_UP;
    link->backoff_ms = 0;
    if (link->kind == LINK_LISTEN)
        for (size_t i = 0; i < link->bus->n_channels; i++)
            redisAsyncCommand(redis, on_message, NULL, "SUBSCRIBE %s", link->bus->channels[i]);
    bus_tell(link->bus);
}

/* ---- connecting ---- */

static void on_connected(const redisAsyncContext *redis, int status)
{
    bus_link *link = redis->data;

    /* hiredis frees the context after this, when it failed. */
    if (link != NULL && status != REDIS_OK)
        link_lost(link);
}

static void on_disconnected(const redisAsyncContext *redis, int status)
{
    bus_link *link = redis->data;

    (void)status;
    if (link != NULL)
        link_lost(link);
}

static void link_attach(bus_link *link, redisAsyncContext *redis)
{
    bus *bus = link->bus;

    if (redis == NULL || redis->err != 0) {
        if (redis != NULL)
            redisAsyncFree(redis);
        link_lost(link);
        return;
    }
    redis->data = link;
    if (redisLibuvAttach(redis, lane_loop(bus->lane)) != REDIS_OK) {
        redis->data = NULL;
        redisAsyncFree(redis);
        link_lost(link);
        return;
    }
    link->redis = redis;
    link->state = LINK_CONNECTING;
    if (link->kind == LINK_COMMANDS)
        bus->pending_size = 0;
    uv_timer_start(&link->timer, link_on_timer, CONNECT_TIMEOUT_MS, 0);
    redisAsyncSetConnectCallback(redis, on_connected);
    redisAsyncSetDisconnectCallback(redis, on_disconnected);
    if (bus->password != NULL)
        redisAsyncCommand(redis, NULL, NULL, "AUTH %s", bus->password);
    /* Answers with an error when AUTH was needed and failed. */
    redisAsyncCommand(redis, on_hello, NULL, "SELECT %d", bus->db);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    bus_link *link = wm_container_of(request, bus_link, resolving);
    bus *bus = link->bus;
    char ip[NI_MAXHOST];

    link->is_asking = false;
    if (!bus->closing && link->state == LINK_RESOLVING) {
        if (status == 0 && getnameinfo(found->ai_addr, found->ai_addrlen, ip, sizeof(ip), NULL, 0,
                                       NI_NUMERICHOST) == 0)
            link_attach(link, redisAsyncConnect(ip, atoi(bus->port)));
        else
            link_lost(link);
    }
    uv_freeaddrinfo(found);
    bus_unref(bus);
}

static void link_connect(bus_link *link)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    bus *bus = link->bus;

    if (bus->port[0] == '\0') {
        link_attach(link, redisAsyncConnectUnix(bus->host));
        return;
    }
    /* hiredis would ask DNS here and block the loop. */
    link->state = LINK_RESOLVING;
    if (link->is_asking)
        return; /* that answer will do */
    if (uv_getaddrinfo(lane_loop(bus->lane), &link->resolving, on_resolved, bus->host, bus->port,
                       &hints) != 0) {
        link_lost(link);
        return;
    }
    link->is_asking = true;
    bus->refs++;
}

static void link_start(bus_link *link)
{
    if (link->state != LINK_IDLE)
        return;
    /* Until this one is up too; nothing was lost, so nobody is told. */
    link->bus->told_up = false;
    atomic_store(&link->bus->up, false);
    link->state = LINK_WAITING;
    link_connect(link);
}

static void link_stop(bus_link *link)
{
    if (link->redis != NULL) {
        link->redis->data = NULL;
        redisAsyncFree(link->redis);
        link->redis = NULL;
    }
    uv_timer_stop(&link->timer);
    link->state = LINK_IDLE;
    bus_tell(link->bus);
}

/* ---- life ---- */

/* "unix:/path", "host:port", "[::1]:port", "redis://host:port/db". */
static void address_parse(bus *bus, const char *address)
{
    static const char scheme[] = "redis://";
    const char *end, *colon;

    snprintf(bus->port, sizeof(bus->port), "6379");
    if (strncmp(address, "unix:", 5) == 0) {
        snprintf(bus->host, sizeof(bus->host), "%s", address + 5);
        bus->port[0] = '\0';
        return;
    }
    if (strncmp(address, scheme, sizeof(scheme) - 1) == 0)
        address += sizeof(scheme) - 1;
    end = address + strcspn(address, "/");
    if (*end == '/')
        bus->db = atoi(end + 1);
    colon = memrchr(address, ':', (size_t)(end - address));
    if (colon != NULL) {
        snprintf(bus->port, sizeof(bus->port), "%.*s", (int)(end - colon - 1), colon + 1);
        end = colon;
    }
    if (*address == '[' && end > address + 1 && end[-1] == ']') {
        address++;
        end--;
    }
    snprintf(bus->host, sizeof(bus->host), "%.*s", (int)(end - address), address);
}

bus *bus_new(lane *lane, const char *address, const char *password, const bus_listener *listener)
{
    bus *bus = need(calloc(1, sizeof(*bus)));

    bus->lane = lane;
    bus->listener = *listener;
    bus->password = password != NULL && *password != '\0' ? need(strdup(password)) : NULL;
    atomic_init(&bus->up, false);
    address_parse(bus, address);
    bus->refs = LINK_COUNT;
    for (int i = 0; i < LINK_COUNT; i++) {
        bus->links[i].bus = bus;
        bus->links[i].kind = (link_kind)i;
        uv_timer_init(lane_loop(lane), &bus->links[i].timer);
    }
    link_start(&bus->links[LINK_COMMANDS]);
    return bus;
}

static void timer_closed(uv_handle_t *handle)
{
    bus_unref(wm_container_of(handle, bus_link, timer)->bus);
}

void bus_free(bus *bus)
{
    bus->closing = true;
    atomic_store(&bus->up, false);
    for (int i = 0; i < LINK_COUNT; i++) {
        bus_link *link = &bus->links[i];
        link_drop(link);
        uv_close((uv_handle_t *)&link->timer, timer_closed);
    }
}

bool bus_is_up(const bus *bus)
{
    return atomic_load(&bus->up);
}

/* ---- commands ---- */

static bool commands_ready(bus *bus)
{
    return bus->links[LINK_COMMANDS].state == LINK_UP && bus->pending_size < PENDING_SIZE_MAX;
}

static void command_send(bus *bus, int argc, const char **argv, const size_t *sizes)
{
    bus_link *link = &bus->links[LINK_COMMANDS];
    size_t total = COMMAND_SIZE;

    for (int i = 0; i < argc; i++)
        total += sizes[i];
    if (redisAsyncCommandArgv(link->redis, on_answer, (void *)(uintptr_t)total, argc, argv,
                              sizes) != REDIS_OK)
        return;
    /* A peer that died without a word is noticed by what it does not answer. */
    if (bus->pending_size == 0)
        uv_timer_start(&link->timer, link_on_timer, COMMAND_SILENCE_MS, 0);
    bus->pending_size += total;
}

void bus_append(bus *bus, const char *stream, size_t len_max, const bus_field *fields, size_t n)
{
    enum { FIELDS_MAX = 16, FIXED = 6 };
    const char *argv[FIXED + 2 * FIELDS_MAX];
    size_t sizes[FIXED + 2 * FIELDS_MAX];
    char limit[24];
    int argc = FIXED;

    assert(n <= FIELDS_MAX);
    if (!commands_ready(bus))
        return;
    snprintf(limit, sizeof(limit), "%zu", len_max);
    const char *const fixed[FIXED] = {"XADD", stream, "MAXLEN", "~", limit, "*"};
    for (int i = 0; i < FIXED; i++) {
        argv[i] = fixed[i];
        sizes[i] = strlen(fixed[i]);
    }
    for (size_t i = 0; i < n; i++) {
        argv[argc] = fields[i].name;
        sizes[argc++] = strlen(fields[i].name);
        argv[argc] = fields[i].value;
        sizes[argc++] = fields[i].size;
    }
    command_send(bus, argc, argv, sizes);
}

void bus_publish(bus *bus, const char *channel, const void *bytes, size_t size)
{
    const char *argv[3] = {"PUBLISH", channel, bytes};
    const size_t sizes[3] = {7, strlen(channel), size};

    if (commands_ready(bus))
        command_send(bus, 3, argv, sizes);
}

void bus_tail(bus *bus, const char *stream)
{
    assert(bus->stream == NULL);
    bus->stream = need(strdup(stream));
    link_start(&bus->links[LINK_TAIL]);
}

void bus_untail(bus *bus)
{
    if (bus->stream == NULL)
        return;
    link_stop(&bus->links[LINK_TAIL]);
    free(bus->stream);
    bus->stream = NULL;
}

void bus_listen(bus *bus, const char *channel)
{
    bus_link *link = &bus->links[LINK_LISTEN];

    bus->channels = need(realloc(bus->channels, (bus->n_channels + 1) * sizeof(char *)));
    bus->channels[bus->n_channels++] = need(strdup(channel));
    if (link->state == LINK_UP)
        redisAsyncCommand(link->redis, on_message, NULL, "SUBSCRIBE %s", channel);
    link_start(link);
}
