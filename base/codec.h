/* base/codec.h - protobuf bytes in and out, behind the wire guard.
 *
 * protobuf-c checks neither nesting depth, nor UTF-8, nor NUL bytes inside
 * strings, and puts no bound on element counts. The guard walks the bytes
 * along the descriptor first and refuses what the unpacker must never see.
 *
 * What comes out is what the specification says: of a scalar that comes twice the last counts, a
 * singular message that comes twice is merged, unknown fields are kept, enums are open, packed and
 * unpacked lists are taken for each other. Compared with Google's parser on random messages
 * (tests/differential), these are the differences:
 *
 *   refused here, taken there           why
 *   more than 64 levels                 Google's stops at 100
 *   NUL inside a string                 C code would see the text cut
 *   a known field of another wire type  Google's keeps it as unknown; it tells of another schema
 *   groups, also in unknown fields      proto3 has none, protobuf-c cannot read them
 *   a tag of more than 32 bits          Google's drops the bits
 *
 * Packing is protobuf-c's; it leaves out a singular -0.0 outside a oneof as if it were 0.
 *
 * Threads: pure functions of their input.
 * Memory:  messages live in the arena and point into it, never into `bytes`.
 * Failure: WM_INVALID with reason WIRE_TOO_DEEP, WIRE_BAD_UTF8, WIRE_NUL_IN_STRING,
 *          WIRE_TOO_MANY_ELEMENTS, WIRE_TRUNCATED or WIRE_MALFORMED, and the
 *          path of the field.
 */
#ifndef WAYMARK_BASE_CODEC_H
#define WAYMARK_BASE_CODEC_H

#include "base/arena.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WM_WIRE_DEPTH_MAX = 64,            /* nested messages and groups */
    WM_WIRE_ELEMENTS_MAX = 1000000,    /* repeated elements and fields in one message tree */
    WM_WIRE_SIZE_MAX = 4 * 1024 * 1024 /* default limit of one message, bytes */
};

WM_MUST_USE wm_code wm_codec_check(const ProtobufCMessageDescriptor *descriptor, const void *bytes,
                                   size_t size, wm_err *err);

/* Checks, then unpacks into the arena, of whose limit a quarter stays free. */
WM_MUST_USE wm_code wm_codec_unpack(wm_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                                    const void *bytes, size_t size, ProtobufCMessage **message,
                                    wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
