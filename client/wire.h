/* client/wire.h - messages and statuses, to and from what the gRPC core carries.
 *
 * Threads: pure functions of their input.
 * Memory:  what is read lives in the arena given.
 */
#ifndef WAYMARK_CLIENT_WIRE_H
#define WAYMARK_CLIENT_WIRE_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>

#include "base/arena.h"
#include "base/codec.h"
#include "include/waymark/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A request as one slice. */
grpc_slice client_pack(const ProtobufCMessage *message);
/* Unpacks into the arena. False: `err` says what is wrong with the bytes. */
bool client_unpack(wm_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                   grpc_byte_buffer *buffer, ProtobufCMessage **message, wm_err *err);

/* ---- status ---- */

/* What a RECV_STATUS_ON_CLIENT batch fills. */
typedef struct client_trailer {
    grpc_metadata_array initial, trailing;
    grpc_status_code code;
    grpc_slice message;
} client_trailer;

void client_status_read(wm_arena *arena, const client_trailer *trailer, bool want_metadata,
                        waymark_status *status);
/* A status that the SDK makes; texts are copied into the arena. */
void client_status_make(wm_arena *arena, waymark_code code, const char *reason, const char *message,
                        waymark_status *status);

#ifdef __cplusplus
}
#endif
#endif
