/* tests/hostile/peer.h - one connection to the server under test, plain or TLS.
 *
 * It speaks just enough HTTP/2 to be taken for a client: the preface, acknowledgements (unless the
 * owner wants none), requests. What else it says is the owner's, who adds bytes to `out`.
 *
 * Threads: one.
 * Memory:  a peer is its owner's; peer_close() gives back what it holds.
 * Failure: a connection that ends is not an error but a fact, kept in the peer.
 */
#ifndef WAYMARK_HOSTILE_PEER_H
#define WAYMARK_HOSTILE_PEER_H

#include <openssl/ssl.h>
#include <sys/socket.h>

#include "tests/hostile/wire.h"

enum { PEER_READ_SIZE = 65536 };

/* Whom to connect to, and what a request asks for. */
typedef struct target {
    const char *name;                /* HOST:PORT, also the :authority */
    struct sockaddr_storage address; /* of the server */
    socklen_t address_len;
    struct sockaddr_storage source; /* of ours; source_len 0: any */
    socklen_t source_len;
    SSL_CTX *tls;              /* NULL: plain */
    const char *path;          /* /package.Service/Method */
    const char *authorization; /* NULL: none */
} target;

typedef enum peer_state { PEER_CLOSED, PEER_CONNECTING, PEER_SHAKING, PEER_OPEN } peer_state;

/* Flags of peer_open(). */
enum {
    PEER_NO_TLS = 1,     /* not even where the target has it */
    PEER_NO_PREFACE = 2, /* the owner sends all bytes */
    PEER_NO_ACK = 4,     /* SETTINGS and PINGs of the server stay unanswered */
    PEER_DEAF = 8        /* reads nothing until the connection has ended */
};

typedef struct peer {
    const target *target;
    peer_state state;
    unsigned flags;
    int fd;
    SSL *ssl;
    bool wants_write; /* of the TLS handshake */
    wire in, out;
    uint64_t bytes_sent, frames_sent;
    uint32_t next_stream;
    bool has_asked; /* the server's table holds the headers of requests */
    void (*came)(struct peer *peer, const frame *frame); /* NULL: nobody looks */
    void *owner;

    /* What has become of it. */
    int64_t opened_us, cut_us; /* 0: not yet */
    int64_t goaway_us;
    uint32_t goaway_code;
    uint64_t replies, resets; /* HEADERS and RST_STREAM frames that came */
    bool was_reset;           /* ended by ECONNRESET, not by an orderly close */
} peer;

int64_t now_us(void);

/* Begins to connect. `window` 0: leave the default of HTTP/2. */
void peer_open(peer *peer, const target *target, unsigned flags, uint32_t window);
void peer_close(peer *peer);

/* What poll() is to look for; 0 also tells the end of the connection. */
short peer_events(const peer *peer);
/* Does what poll() says is possible. Ends in PEER_CLOSED when the server has cut the connection. */
void peer_step(peer *peer, short revents);
/* Sends what it can of `out` now. */
void peer_flush(peer *peer);

/* Adds the HEADERS of a request, and returns its stream; `path` NULL: the target's. */
uint32_t peer_request(peer *peer, const char *path, uint8_t flags);
/* The first half of such a block, for owners who end it otherwise. */
void peer_request_block(peer *peer, const char *path, wire *block);
uint32_t peer_new_stream(peer *peer);

#endif
