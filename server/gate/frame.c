/* server/gate/frame.c - see frame.h.
 *
 * Must not look into a payload: what a frame says beyond its header is the core's to read.
 */
#include "server/gate/frame.h"

#include <string.h>

const uint8_t gate_preface[GATE_PREFACE_SIZE] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static uint32_t read_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void write_u32(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)(value >> 24);
    bytes[1] = (uint8_t)(value >> 16);
    bytes[2] = (uint8_t)(value >> 8);
    bytes[3] = (uint8_t)value;
}

static void header_read(gate_scan *scan, const uint8_t *header, gate_frame *frame)
{
    frame->length = (uint32_t)header[0] << 16 | (uint32_t)header[1] << 8 | header[2];
    frame->type = header[3];
    frame->flags = header[4];
    frame->stream = read_u32(header + 5) & 0x7fffffff;
    scan->left = frame->length;
    scan->type = frame->type;
    if (frame->type == GATE_FRAME_HEADERS || frame->type == GATE_FRAME_PUSH_PROMISE ||
        frame->type == GATE_FRAME_CONTINUATION)
        scan->is_in_block = !(frame->flags & GATE_FLAG_END_HEADERS);
}

size_t gate_scan_next(gate_scan *scan, const uint8_t *bytes, size_t size, gate_frame *frame,
                      bool *is_frame)
{
    size_t taken = scan->left < size ? scan->left : size;
    size_t part;

    *is_frame = false;
    scan->left -= (uint32_t)taken;
    if (taken == size)
        return taken;
    if (scan->header_size == 0 && size - taken >= GATE_FRAME_HEADER_SIZE) {
        header_read(scan, bytes + taken, frame);
        *is_frame = true;
        return taken + GATE_FRAME_HEADER_SIZE;
    }
    part = GATE_FRAME_HEADER_SIZE - scan->header_size;
    if (part > size - taken)
        part = size - taken;
    memcpy(scan->header + scan->header_size, bytes + taken, part);
    scan->header_size = (uint8_t)(scan->header_size + part);
    if (scan->header_size == GATE_FRAME_HEADER_SIZE) {
        scan->header_size = 0;
        header_read(scan, scan->header, frame);
        *is_frame = true;
    }
    return taken + part;
}

bool gate_scan_is_between(const gate_scan *scan)
{
    return scan->left == 0 && scan->header_size == 0 && !scan->is_in_block;
}

size_t gate_scan_missing(const gate_scan *scan)
{
    if (scan->left > 0)
        return scan->left;
    if (scan->header_size > 0)
        return GATE_FRAME_HEADER_SIZE - scan->header_size;
    return 0;
}

static void header_write(uint8_t *bytes, uint32_t length, gate_frame_type type)
{
    write_u32(bytes, length << 8 | (uint32_t)type);
    memset(bytes + 4, 0, GATE_FRAME_HEADER_SIZE - 4);
}

size_t gate_write_goaway(uint8_t bytes[GATE_GOAWAY_SIZE], uint32_t last_stream, uint32_t code)
{
    header_write(bytes, GATE_GOAWAY_SIZE - GATE_FRAME_HEADER_SIZE, GATE_FRAME_GOAWAY);
    write_u32(bytes + GATE_FRAME_HEADER_SIZE, last_stream);
    write_u32(bytes + GATE_FRAME_HEADER_SIZE + 4, code);
    return GATE_GOAWAY_SIZE;
}

size_t gate_write_settings(uint8_t bytes[GATE_FRAME_HEADER_SIZE])
{
    header_write(bytes, 0, GATE_FRAME_SETTINGS);
    return GATE_FRAME_HEADER_SIZE;
}
