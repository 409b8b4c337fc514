/* server/gate/handshake.c - TLS handshakes, step by step on the worker pool.
 *
 *   NONE -> [WAITS ->] RUNS -> NONE ...   until the session is made or has failed
 *
 * A signature takes up to a millisecond of CPU; on the loop, a burst of new connections would make
 * everybody else wait for all of them. While a step runs, the session and the socket belong to its
 * thread: the connection may be closed meanwhile, but its descriptor is closed when the step has
 * ended, or another connection could get its number under the thread's hands.
 */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <utlist.h>

#include "server/gate/internal.h"

static void step_run(lane_job *job)
{
    gate_conn *conn = wm_container_of(job, gate_conn, job);
    int rc;

    (void)atomic_load_explicit(&conn->shake_handed, memory_order_acquire);
    gate_tls_turn(&conn->io, GATE_CHUNK_SIZE, UINT_MAX);
    ERR_clear_error();
    rc = SSL_do_handshake(conn->ssl);
    conn->shake_error = SSL_get_error(conn->ssl, rc);
    ERR_clear_error();
    atomic_store_explicit(&conn->shake_handed, 2, memory_order_release);
}

static void step_done(lane_job *job);

static void step_start(gate_conn *conn)
{
    gate_worker *worker = conn->worker;

    worker->n_shaking++;
    conn->shake = GATE_SHAKE_RUNS;
    conn->n_refs++;
    gate_handle_opened(conn->gate);
    conn->job.run = step_run;
    conn->job.done = step_done;
    atomic_store_explicit(&conn->shake_handed, 1, memory_order_release);
    lane_work(worker->lane, &conn->job);
}

void gate_handshake(gate_conn *conn)
{
    gate_worker *worker = conn->worker;

    if (conn->shake != GATE_SHAKE_NONE)
        return;
    if (conn->shake_out.bytes == NULL) {
        conn->shake_out.bytes = malloc(GATE_HANDSHAKE_OUT_SIZE);
        conn->shake_out.room = GATE_HANDSHAKE_OUT_SIZE;
        if (conn->shake_out.bytes == NULL)
            abort();
    }
    if (worker->n_shaking < GATE_HANDSHAKES_MAX) {
        step_start(conn);
        return;
    }
    conn->shake = GATE_SHAKE_WAITS;
    DL_APPEND2(worker->shaking, conn, shaking_prev, shaking_next);
}

void gate_handshake_stop(gate_conn *conn)
{
    if (conn->shake != GATE_SHAKE_WAITS)
        return;
    DL_DELETE2(conn->worker->shaking, conn, shaking_prev, shaking_next);
    conn->shake = GATE_SHAKE_NONE;
}

/* The next one's turn. */
static void turn_pass(gate_worker *worker)
{
    gate_conn *next = worker->shaking;

    worker->n_shaking--;
    if (next == NULL)
        return;
    DL_DELETE2(worker->shaking, next, shaking_prev, shaking_next);
    step_start(next);
}

/* What the step has written, also the alert that says why not. */
static bool step_send(gate_conn *conn)
{
    gate_out *out = &conn->worker->out;

    assert(out->size == 0);
    memcpy(out->bytes, conn->shake_out.bytes, conn->shake_out.size);
    out->size = conn->shake_out.size;
    conn->shake_out.size = 0;
    return gate_send_records(conn);
}

static void step_take(gate_conn *conn)
{
    if (!step_send(conn))
        return;
    if (conn->shake_error == SSL_ERROR_WANT_WRITE) {
        gate_handshake(conn); /* there is more than the buffer holds */
    } else if (conn->shake_error == SSL_ERROR_WANT_READ && !conn->io.is_eof) {
        gate_conn_poll(conn);
    } else if (conn->shake_error == SSL_ERROR_NONE && gate_tls_is_h2(conn->ssl)) {
        free(conn->shake_out.bytes);
        conn->shake_out = (gate_out){0};
        gate_handshake_done(conn);
    } else {
        gate_conn_cut(conn, GATE_BAD_HANDSHAKE);
    }
}

static void step_done(lane_job *job)
{
    gate_conn *conn = wm_container_of(job, gate_conn, job);

    (void)atomic_load_explicit(&conn->shake_handed, memory_order_acquire);
    conn->shake = GATE_SHAKE_NONE;
    turn_pass(conn->worker);
    if (conn->is_closed)
        close(conn->client_fd);
    else
        step_take(conn);
    gate_conn_unref(conn);
}
