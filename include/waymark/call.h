/* waymark/call.h - what generated calls have in common: options, cancelling, replies, streams.
 *
 * Unary calls come in two forms: with a callback, which is called exactly once on a thread of
 * the client, never from inside the call that started it; and `_sync`, which waits.
 *
 * A stream carries messages one way or both ways:
 * - Reading is asked for: waymark_stream_read() brings one message(), or the end.
 * - One message is on its way at a time: a write answers false until writable(), which comes once
 *   after a false unless the stream ends. So nothing queues here. What is written to a stream
 *   that is ending is dropped and answers true.
 * - ended() comes exactly once, last, also after waymark_stream_cancel() and on any failure.
 *   Messages that arrived before the end but were not asked for are dropped with it, except
 *   when the server ended the stream by itself: then the end waits until they are read.
 * - Callbacks of one stream never run at the same time.
 * A stream opened without callbacks is for one thread's `_sync` calls instead.
 *
 * Threads: every function here may be called from any thread and from callbacks, but the
 *          `_sync` ones not from callbacks.
 */
#ifndef WAYMARK_CALL_H
#define WAYMARK_CALL_H

#include <protobuf-c/protobuf-c.h>
#include <waymark/client.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct waymark_call waymark_call;
typedef struct waymark_stream waymark_stream;
typedef struct waymark_reply waymark_reply;

/* How messages are made smaller. */
typedef enum waymark_compression {
    WAYMARK_COMPRESSION_NONE = 0,
    WAYMARK_COMPRESSION_GZIP = 1,
    WAYMARK_COMPRESSION_DEFLATE = 2
} waymark_compression;

/* NULL where options are asked for means all defaults. */
typedef struct waymark_call_options {
    /* From now, with everything that the call waits for. 0: the client's (unary) or none
     * (streams); < 0, or beyond ten years: none */
    int64_t timeout_ms;
    bool wait_for_ready; /* wait for a connection instead of failing with UNAVAILABLE */
    bool want_metadata;  /* waymark_status.metadata */
    const waymark_metadata *metadata; /* sent with the request; copied; at most 64 pieces */
    size_t n_metadata;
    /* Not NULL: gets a handle of a unary call, with `_sync` before it begins to wait. */
    waymark_call **call;

    bool fail_fast; /* do not wait for a connection where the client's calls do */
    /* Of what this call sends. Needs waymark_client_options.compression, and a server that takes
     * it; one that does not answers UNIMPLEMENTED. */
    waymark_compression compression;
    unsigned attempts_max; /* as in waymark_retry, of this call; 0: the client's */
    /* This call's token, in place of the client's. The call keeps a reference of its own. */
    waymark_credentials *credentials;
    void *reserved[4]; /* NULL; room for options to come */
} waymark_call_options;

/* The call ends with CANCELLED unless it has ended. Any thread. */
void waymark_call_cancel(waymark_call *call);
/* Gives the handle up, once; the call goes on. NULL is fine. Any thread. */
void waymark_call_free(waymark_call *call);

/* How a _sync call ended; the reply's, like its response. Any thread. */
const waymark_status *waymark_reply_status(const waymark_reply *reply);
/* Frees a reply with its status and response, once. NULL is fine. Any thread. */
void waymark_reply_free(waymark_reply *reply);

/* Asks for one message. No-op while one is asked for already, and after the end. Any thread. */
void waymark_stream_read(waymark_stream *stream);
/* Would a write be accepted now? False: writable() comes, as after a refused write. Any thread. */
bool waymark_stream_is_writable(waymark_stream *stream);
/* No more messages from this side, after those sent. Any thread. */
void waymark_stream_close(waymark_stream *stream);
/* The stream ends with CANCELLED unless it has ended; ended() still comes. Any thread. */
void waymark_stream_cancel(waymark_stream *stream);
/* The status of a stream that has ended, which belongs to the stream; NULL while it is open. Any
 * thread. */
const waymark_status *waymark_stream_status(waymark_stream *stream);
/* Gives the handle up, once; a stream that is still open is cancelled, and its ended() still
 * comes. May be called from ended(), and after the client is gone. NULL is fine. Any thread. */
void waymark_stream_free(waymark_stream *stream);

/* ---- for generated code only ---- */
struct wm_method;
typedef void (*waymark__function)(void);
typedef void (*waymark__unary_done)(waymark__function done, void *ctx, const waymark_status *status,
                                    const ProtobufCMessage *response);

typedef struct waymark__stream_kind {
    void (*message)(const void *callbacks, void *ctx, waymark_stream *stream,
                    const ProtobufCMessage *message);
    void (*writable)(const void *callbacks, void *ctx, waymark_stream *stream);
    void (*ended)(const void *callbacks, void *ctx, waymark_stream *stream,
                  const waymark_status *status, const ProtobufCMessage *response);
} waymark__stream_kind;

void waymark__unary(waymark_client *client, const struct wm_method *method,
                    const ProtobufCMessage *request, const waymark_call_options *options,
                    waymark__unary_done trampoline, waymark__function done, void *ctx);
const ProtobufCMessage *waymark__unary_sync(waymark_client *client, const struct wm_method *method,
                                            const ProtobufCMessage *request,
                                            const waymark_call_options *options,
                                            waymark_reply **reply);
waymark_stream *waymark__stream_open(waymark_client *client, const struct wm_method *method,
                                     const ProtobufCMessage *request,
                                     const waymark_call_options *options,
                                     const waymark__stream_kind *kind, const void *callbacks,
                                     void *ctx);
bool waymark__stream_write(waymark_stream *stream, const ProtobufCMessage *message);
bool waymark__stream_write_sync(waymark_stream *stream, const ProtobufCMessage *message);
const ProtobufCMessage *waymark__stream_read_sync(waymark_stream *stream);
const ProtobufCMessage *waymark__stream_finish_sync(waymark_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
