/* server/gate/frame.h - finds the frame headers in a stream of HTTP/2 bytes.
 *
 * A scan looks at the nine bytes before each frame and skips the rest: it keeps no payload and
 * decodes none. Pure: no I/O, no clock.
 *
 * Threads: a scan belongs to whoever holds it.
 * Memory:  a plain value; nothing to free.
 */
#ifndef WAYMARK_SERVER_GATE_FRAME_H
#define WAYMARK_SERVER_GATE_FRAME_H

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GATE_FRAME_HEADER_SIZE = 9,
    GATE_PREFACE_SIZE = 24,
    GATE_GOAWAY_SIZE = GATE_FRAME_HEADER_SIZE + 8
};

/* RFC 9113, section 6. */
typedef enum gate_frame_type {
    GATE_FRAME_DATA = 0,
    GATE_FRAME_HEADERS = 1,
    GATE_FRAME_PRIORITY = 2,
    GATE_FRAME_RST_STREAM = 3,
    GATE_FRAME_SETTINGS = 4,
    GATE_FRAME_PUSH_PROMISE = 5,
    GATE_FRAME_PING = 6,
    GATE_FRAME_GOAWAY = 7,
    GATE_FRAME_WINDOW_UPDATE = 8,
    GATE_FRAME_CONTINUATION = 9
} gate_frame_type;

enum { GATE_FLAG_END_STREAM = 1, GATE_FLAG_ACK = 1, GATE_FLAG_END_HEADERS = 4 };

enum { GATE_NO_ERROR = 0, GATE_ENHANCE_YOUR_CALM = 0xb };

typedef struct gate_frame {
    uint32_t length, stream;
    uint8_t type, flags;
} gate_frame;

typedef struct gate_scan {
    uint32_t left;    /* bytes of the frame's payload still to come */
    bool is_in_block; /* a header block is open: only its CONTINUATION may come next */
    uint8_t type;     /* of the frame that `left` is about */
    uint8_t header_size;
    uint8_t header[GATE_FRAME_HEADER_SIZE]; /* of the frame that is beginning */
} gate_scan;

/* What every client sends first. */
extern const uint8_t gate_preface[GATE_PREFACE_SIZE];

/* Goes on to the end of the next frame header, or of the bytes. Answers how many it took and
 * whether `*frame` is now a whole header. Its payload comes with the next bytes. */
WM_MUST_USE size_t gate_scan_next(gate_scan *scan, const uint8_t *bytes, size_t size,
                                  gate_frame *frame, bool *is_frame);

/* Between two frames, with no header block open: here another frame may be put in. */
bool gate_scan_is_between(const gate_scan *scan);

/* How many bytes bring a scan to the end of the header or frame that it is in; 0 when it is at
 * the end of a frame. */
size_t gate_scan_missing(const gate_scan *scan);

/* Both return how many bytes they wrote. */
size_t gate_write_goaway(uint8_t bytes[GATE_GOAWAY_SIZE], uint32_t last_stream, uint32_t code);
size_t gate_write_settings(uint8_t bytes[GATE_FRAME_HEADER_SIZE]); /* empty */

#ifdef __cplusplus
}
#endif
#endif
