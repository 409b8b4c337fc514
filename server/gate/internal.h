/* server/gate/internal.h - what the files of the gate's shell know of each other.
 *
 *   gate.c        listeners, the loops, stop
 *   handshake.c   TLS handshakes, on the worker pool
 *   connection.c  the life of a connection: accept, PROXY header, handshake, end
 *   relay.c       bytes from one side to the other, and what is held between
 *
 * Must not be included outside server/gate.
 */
#ifndef WAYMARK_SERVER_GATE_INTERNAL_H
#define WAYMARK_SERVER_GATE_INTERNAL_H

#include <stdatomic.h>

#include "server/gate/frame.h"
#include "server/gate/gate.h"
#include "server/gate/proxy.h"
#include "server/gate/tls.h"

enum {
    GATE_CHUNK_SIZE = 128 * 1024, /* bytes that go through at a time; each loop has one buffer */
    GATE_CHUNK_MIN = 4096, /* for a client that is slow to take them, and when much is held */
    /* A chunk as TLS records, and what the library has to say besides. */
    GATE_OUT_SIZE = GATE_CHUNK_SIZE + 64 * 1024,
    GATE_SWEEP_MS = 250,    /* between two looks at the clock of each connection */
    GATE_END_TICK_MS = 10,  /* the same for those that end */
    GATE_PACE_TICK_MS = 1,  /* and for those whose streams wait */
    GATE_PACE_STREAMS = 64, /* that one connection may open before others have a turn */
    /* To cancel a stream: twice what the core takes, so that others work in between. */
    GATE_ORPHAN_STREAM_US = 100,
    GATE_ORPHAN_STREAMS_MIN = 16,     /* fewer are cancelled at once in any case */
    GATE_ORPHAN_STREAMS_MAX = 8192,   /* that wait to be cancelled */
    GATE_END_LINGER_US = 1000 * 1000, /* for the client to hang up after the core has */
    GATE_CUT_LINGER_US = 80 * 1000,   /* after a breach, for GOAWAY to leave too */
    GATE_SLOW_READER_BYTES = 1024,    /* that a slow client takes at least in slow_reader_ms */
    GATE_LOGS_PER_S = 5,
    GATE_US_PER_S = 1000000,
    /* TLS handshakes of a loop on the worker pool at a time, so that others find a thread there. */
    GATE_HANDSHAKES_MAX = 2,
    GATE_HANDSHAKE_OUT_SIZE = 32 * 1024
};

typedef struct gate_conn gate_conn;

/* The core's end of a connection that is gone. */
typedef struct gate_orphan {
    int fd;
    uint32_t streams;
    struct gate_orphan *next;
} gate_orphan;

enum { GATE_WORKER_TIMERS = 3 };

/* A lane as the gate sees it. */
typedef struct gate_worker {
    gate *gate;
    lane *lane;
    uint8_t *chunk;
    gate_out out;      /* of the connection whose turn it is; empty between turns */
    gate_conn *conns;  /* all but those that end */
    gate_conn *ending; /* those */
    gate_conn *paced;  /* those with bytes in `waiting`; they are in `conns` too */
    gate_orphan *orphans;
    uint32_t orphan_streams;                       /* of all of them */
    int64_t orphan_us;                             /* when the next may end */
    uv_timer_t sweep_timer, end_timer, pace_timer; /* GATE_WORKER_TIMERS */
    gate_conn *shaking;                            /* those that wait for their turn on the pool */
    unsigned n_shaking;                            /* on it */
    bool is_started, is_closing;
    unsigned n_sweeps;
} gate_worker;

typedef struct gate_door {
    gate *gate;
    int fd;
    uv_poll_t poll;
    size_t listener; /* its index */
    bool is_open;
    bool is_paused; /* no file descriptors are left; the sweep goes on with it */
} gate_door;

enum { GATE_DOORS_PER_LISTENER = 2, GATE_DOORS_MAX = GATE_LISTENERS_MAX * GATE_DOORS_PER_LISTENER };

struct gate {
    rpc_server *server;
    gate_limits limits;
    gate_cidr proxies[GATE_PROXIES_MAX];
    size_t n_proxies;
    gate_tls *tls[GATE_LISTENERS_MAX]; /* NULL: plaintext */
    int ports[GATE_LISTENERS_MAX];
    size_t n_listeners;
    gate_door doors[GATE_DOORS_MAX]; /* on the first worker's loop */
    size_t n_doors;
    gate_worker *workers;
    size_t n_workers;
    bool owns_lanes;
    size_t next_worker; /* the first worker's */
    gate_addresses *addresses;
    atomic_int_least64_t stop_us; /* when a stop closes what is left; 0: no stop */

    atomic_uint_least64_t accepted, handshakes, bytes_in, bytes_out, held;
    atomic_uint_least64_t breaches[GATE_BREACHES_N];
    atomic_uint_least64_t open;
    atomic_uint_least64_t waiting; /* of `held`, what is in `waiting` of connections */

    uv_mutex_t mutex; /* of what follows */
    uv_cond_t changed;
    size_t n_handles; /* of libuv, not closed yet */
    gate_bucket log_bucket;
    uint64_t logs_left_out;
};

/* Bytes that one side was slow to take. */
typedef struct gate_pending {
    uint8_t *bytes;
    size_t at, size;
} gate_pending;

struct gate_conn {
    gate *gate;
    gate_worker *worker;
    gate_conn *prev, *next;
    gate_conn *paced_prev, *paced_next;
    lane_msg msg; /* to its worker, once */
    gate_tls *tls;
    int client_fd, core_fd; /* core_fd -1: not adopted */
    uv_poll_t client_poll, core_poll;
    int client_events, core_events; /* that the polls wait for */
    unsigned n_refs;                /* polls, and a handshake on the pool */
    bool is_closed, is_shut;
    gate_address address;
    gate_address_entry *entry; /* NULL: not counted */
    int number;                /* the core's, of rpc_server_adopt() */

    SSL *ssl;
    gate_tls_io io;
    /* The handshake, a step of which a thread of the pool does at a time. Meanwhile the session and
     * the socket are that thread's. */
    lane_job job;
    gate_conn *shaking_prev, *shaking_next;
    enum { GATE_SHAKE_NONE, GATE_SHAKE_WAITS, GATE_SHAKE_RUNS } shake;
    atomic_uint shake_handed; /* as rpc_event.handed: what TSan can see of the hand-over */
    int shake_error;          /* of SSL_get_error(); SSL_ERROR_NONE: done */
    gate_out shake_out;
    uint8_t *proxy; /* the PROXY header while it is not whole */
    size_t proxy_size;

    gate_scan in, out;
    uint8_t preface_size; /* matched so far */
    gate_budget budget;
    gate_times times;
    uint32_t last_relayed; /* the highest stream that the core may have seen */
    uint32_t goaway_code;  /* after a breach */
    gate_pending waiting;  /* from the client, for the address to be allowed more streams */
    gate_pending to_core, to_client;
    uint32_t told_opened, told_ended, told_open; /* what the address knows of the streams */
    size_t chunk_max;                            /* to read from the core at a time */
    size_t taken_bytes;                          /* since times.taken_us */
    int64_t end_us;                              /* when an ending is over in any case */
};

/* ---- gate.c ---- */
void gate_count(gate *gate, const gate_conn *conn, gate_breach breach);
/* A handle of libuv has come, or is closed. */
void gate_handle_opened(gate *gate);
void gate_handle_closed(gate *gate);

/* ---- connection.c ---- */
void gate_conn_accept(gate *gate, size_t listener, int fd, const gate_address *address);
/* On its loop: at once, without a word. The connection is gone when this returns. */
void gate_conn_close(gate_conn *conn);
/* Closes the core's side, lets what is pending leave, says goodbye, waits for the client to hang
 * up, but not for ever. */
void gate_conn_end(gate_conn *conn);
/* Counts a breach and ends the connection, with GOAWAY if it can be said. */
void gate_conn_cut(gate_conn *conn, gate_breach breach);
/* Hands the connection to the core. False: it is closed. */
WM_MUST_USE bool gate_conn_adopt(gate_conn *conn, int64_t now_us);
void gate_conn_sweep(gate_conn *conn, int64_t now_us); /* may close it */
/* Ends orphans whose time has come, or all. */
void gate_orphans_end(gate_worker *worker, bool all);
/* Waits for what the connection's state makes worth waiting for. */
void gate_conn_poll(gate_conn *conn);
bool gate_is_busy(const gate *gate);

/* ---- handshake.c ---- */
/* On with a handshake whose client has sent something, or has to be sent something. */
void gate_handshake(gate_conn *conn);
/* A connection is about to close. */
void gate_handshake_stop(gate_conn *conn);
/* Its last step is over: on to HTTP/2. (connection.c) */
void gate_handshake_done(gate_conn *conn);
/* The memory of a connection is no longer needed by one of those that needed it. (connection.c) */
void gate_conn_unref(gate_conn *conn);

/* ---- relay.c: may end the connection, and then answer false ---- */
WM_MUST_USE bool gate_relay_from_client(gate_conn *conn);
bool gate_relay_from_core(gate_conn *conn);
void gate_flush_to_core(gate_conn *conn);
/* Goes on with connections whose streams wait until their address may open them. */
void gate_pace(uv_timer_t *timer);
void gate_pace_start(gate_worker *worker);
/* Forgets what waits. */
void gate_stop_waiting(gate_conn *conn);
bool gate_flush_to_client(gate_conn *conn);
/* Plain HTTP/2 bytes for the client; what does not leave is held. */
WM_MUST_USE bool gate_send_to_client(gate_conn *conn, const uint8_t *bytes, size_t size);
/* What the TLS library has written meanwhile. */
WM_MUST_USE bool gate_send_records(gate_conn *conn);
/* Reads what the client still sends and forgets it. False: the client has hung up. */
WM_MUST_USE bool gate_discard(gate_conn *conn);
/* Brings what goes to the client to the end of a frame, as far as the core's bytes are there; the
 * scan of `out` says how far that is. */
WM_MUST_USE bool gate_finish_frame(gate_conn *conn);
void gate_pending_free(gate *gate, gate_pending *pending);

#endif
