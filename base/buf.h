/* base/buf.h - a growing byte buffer with a limit, on the heap.
 *
 * Threads: one user at a time.
 * Memory:  owns its bytes until wm_buf_free(). The data is always followed by
 *          a NUL that is not counted, so text can be read as a C string.
 * Failure: an append beyond the limit, or without memory, sets `failed` and
 *          is dropped; check once at the end.
 */
#ifndef WAYMARK_BASE_BUF_H
#define WAYMARK_BASE_BUF_H

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wm_buf {
    char *data;
    size_t size, room, max;
    bool failed;
} wm_buf;

void wm_buf_init(wm_buf *buf, size_t max);
void wm_buf_free(wm_buf *buf);
void wm_buf_clear(wm_buf *buf);
void wm_buf_add(wm_buf *buf, const void *bytes, size_t size);
void wm_buf_text(wm_buf *buf, const char *text);
void wm_buf_char(wm_buf *buf, char c);
void wm_buf_printf(wm_buf *buf, const char *fmt, ...) WM_PRINTF(2, 3);

#ifdef __cplusplus
}
#endif
#endif
