/* server/bus/bus.h - Redis, for fan-out only; the only home of redis*.
 *
 * Streams carry the outbox, pub/sub wakes other processes. Redis may be away at
 * any time: publishing then does nothing, reading reports the loss once, and both
 * go on by themselves when it is back (backoff 100 ms to 5 s).
 *
 * Threads: everything on the lane's loop that made it, but for bus_is_up().
 * Memory:  texts given are copied.
 */
#ifndef WAYMARK_SERVER_BUS_BUS_H
#define WAYMARK_SERVER_BUS_BUS_H

#include "server/lane.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bus bus;

typedef struct bus_field {
    const char *name;
    const void *value;
    size_t size;
} bus_field;

typedef struct bus_listener {
    /* An entry of the stream that bus_tail() follows. */
    void (*entry)(void *ctx, const char *id, const bus_field *fields, size_t n);
    /* A message on a channel that bus_listen() names. */
    void (*message)(void *ctx, const char *channel, const void *bytes, size_t size);
    /* The connection came or went. After it went, entries may have been missed. */
    void (*changed)(void *ctx, bool up);
    void *ctx;
} bus_listener;

/* `address`: "unix:/path", "host:port", "redis://host:port/db" (password in `password`, or NULL).
 */
bus *bus_new(lane *lane, const char *address, const char *password, const bus_listener *listener);
void bus_free(bus *bus);
bool bus_is_up(const bus *bus);

/* XADD stream MAXLEN ~ len_max. Dropped when Redis is away, or so slow that too much waits. */
void bus_append(bus *bus, const char *stream, size_t len_max, const bus_field *fields, size_t n);
/* Follows the stream from now on (XREAD BLOCK), again after each reconnection. */
void bus_tail(bus *bus, const char *stream);
void bus_untail(bus *bus);
void bus_publish(bus *bus, const char *channel, const void *bytes, size_t size);
void bus_listen(bus *bus, const char *channel);

#ifdef __cplusplus
}
#endif
#endif
