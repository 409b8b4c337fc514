/* base/codec_merge.h - writes a message anew, so that protobuf-c reads it as the specification
 * says; private to the codec.
 *
 * Threads: a pure function but for the arena.
 * Memory:  what is written lives in the arena.
 * Failure: false when the arena has no room for it.
 */
#ifndef WAYMARK_BASE_CODEC_MERGE_H
#define WAYMARK_BASE_CODEC_MERGE_H

#include "base/arena.h"

/* The guard must have passed the bytes. Replaces `*bytes` and `*size`. */
WM_MUST_USE bool codec_merge(wm_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                             const uint8_t **bytes, size_t *size);

#endif
