/* tests/hostile/attack.h - what one kind of hostile peer does, and the loop that plays it.
 *
 * An attack is data and three callbacks; the loop keeps its connections open, opens new ones where
 * the server cuts them, and calls fill() whenever a connection has nothing left to send.
 */
#ifndef WAYMARK_HOSTILE_ATTACK_H
#define WAYMARK_HOSTILE_ATTACK_H

#include "tests/hostile/peer.h"

/* What fill() adds at most before bytes are sent; it may go over by one frame or block. */
enum { FILL_SIZE = 128 * 1024 };

/* One connection of an attack. */
typedef struct hostile {
    peer peer;
    const struct attack *attack;
    int64_t breach_us; /* when it first did what its attack does; 0: not yet */
    int64_t due_us;    /* when fill() is called again */
    uint64_t step;     /* the attack's own count */
    uint32_t streams;  /* of it, as far as the attack limits them */
} hostile;

typedef struct attack {
    const char *name;
    const char *summary;
    unsigned connections;        /* 0: four */
    unsigned flags;              /* of peer_open() */
    uint32_t window;             /* first window of a stream; 0: HTTP/2's own */
    unsigned pause_ms;           /* between two calls of fill(); 0: none */
    bool needs_tls, closes;      /* it ends its connections itself, after the first pause */
    void (*fill)(hostile *self); /* adds bytes to self->peer.out */
    void (*came)(hostile *self, const frame *frame); /* may be NULL */
} attack;

/* Ended by one without a name, one list for each file of attacks. */
extern const attack stream_attacks[];
extern const attack flood_attacks[];
extern const attack slow_attacks[];
extern const attack bomb_attacks[];
extern const attack connection_attacks[];

/* What an attack came to. Times are milliseconds from a connection's first breach to its end. */
typedef struct attack_report {
    double seconds;
    unsigned connections;           /* at a time */
    uint64_t opened, refused, held; /* held: alive at the end */
    uint64_t cut, goaways, by_reset;
    uint32_t goaway_code;
    uint64_t frames, bytes, streams, replies, resets;
    double first_cut_ms, median_cut_ms, max_cut_ms;
} attack_report;

typedef struct attack_options {
    unsigned connections; /* 0: as the attack has it */
    double seconds;
    int reconnect_ms; /* -1: a connection that was cut stays so */
} attack_options;

void attack_run(const attack *attack, const target *target, const attack_options *options,
                attack_report *report);

/* The well-behaved client beside it: calls the target at a steady rate for a while, and prints a
 * line for each call. True when it could be played at all. */
typedef struct good_options {
    double seconds, rate;
} good_options;
bool good_run(const target *target, const good_options *options);

#endif
