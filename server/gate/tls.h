/* server/gate/tls.h - TLS of a listener: certificates that may change, ALPN h2, who the client is.
 *
 * OpenSSL reads and writes through a gate_tls_io, so that records that belong together leave in
 * one system call.
 *
 * Threads: a gate_tls is locked, since all lanes accept for a listener; a session belongs to one
 * loop. Memory:  new and free come in pairs; a session keeps what it needs of its gate_tls.
 */
#ifndef WAYMARK_SERVER_GATE_TLS_H
#define WAYMARK_SERVER_GATE_TLS_H

#include <openssl/ssl.h>

#include "server/rpc/rpc.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where a session's records go until the caller sends them; of a lane, used in turn. */
typedef struct gate_out {
    uint8_t *bytes;
    size_t size, room;
} gate_out;

typedef struct gate_tls_io {
    int fd;
    /* The last read found less than it asked for, or the turn is over; see gate_tls_turn(). */
    bool is_drained;
    bool is_eof;
    size_t left;              /* of the socket's bytes, to be read in this turn */
    bool has_read;            /* any of them */
    unsigned n_messages;      /* of the handshake protocol, and alerts, in this turn */
    unsigned n_messages_most; /* with more the session is over */
    gate_out *out;
} gate_tls_io;

typedef struct gate_tls gate_tls;

/* Reads the files of a listener with a certificate. */
WM_MUST_USE wm_code gate_tls_new(const rpc_listener *listener, gate_tls **made, wm_err *err);
void gate_tls_free(gate_tls *tls);

/* Begins a turn: up to `size` bytes are read from the socket. `n_messages` is how many messages
 * that carry no data may come; new keys are one each, and cost us far more than the client. With
 * one more the session reads as if the client had closed it; it can still be written to. */
void gate_tls_turn(gate_tls_io *io, size_t size, unsigned n_messages);

/* A session for a new connection. Files that have changed are read first; a pair that does not
 * work leaves the one before in place and is logged. `io` must outlive the session. */
SSL *gate_tls_accept(gate_tls *tls, gate_tls_io *io);
/* After reading: does the session wait for the rest of a record? It keeps a large buffer then. */
bool gate_tls_is_in_record(const SSL *ssl);
/* After the handshake: has the client agreed to HTTP/2? */
bool gate_tls_is_h2(const SSL *ssl);
/* The names in the client's certificate, for rpc_identity_free(); or NULL. */
rpc_identity *gate_tls_identity(const SSL *ssl);

#ifdef __cplusplus
}
#endif
#endif
