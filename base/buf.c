/* base/buf.c - a growing byte buffer with a limit; see buf.h. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WM_BUF_ROOM_MIN = 256 };

/* What an empty buffer's data points to: a NUL that nobody writes. */
static char buf_empty[1];

void wm_buf_init(wm_buf *buf, size_t max)
{
    buf->data = buf_empty;
    buf->size = 0;
    buf->room = 0;
    buf->max = max;
    buf->failed = false;
}

void wm_buf_free(wm_buf *buf)
{
    if (buf->room > 0)
        free(buf->data);
    wm_buf_init(buf, buf->max);
}

void wm_buf_clear(wm_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
    if (buf->room > 0)
        buf->data[0] = '\0';
}

/* Makes room for `more` bytes and the NUL. `room` counts the NUL. */
static bool buf_reserve(wm_buf *buf, size_t more)
{
    size_t need, room;
    char *data;

    if (buf->failed || more > buf->max || buf->size > buf->max - more) {
        buf->failed = true;
        return false;
    }
    need = buf->size + more + 1;
    if (need <= buf->room)
        return true;
    room = buf->room * 2 > WM_BUF_ROOM_MIN ? buf->room * 2 : WM_BUF_ROOM_MIN;
    if (room < need)
        room = need;
    data = realloc(buf->room > 0 ? buf->data : NULL, room);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->room = room;
    return true;
}

void wm_buf_add(wm_buf *buf, const void *bytes, size_t size)
{
    if (!buf_reserve(buf, size))
        return;
    if (size > 0)
        memcpy(buf->data + buf->size, bytes, size);
    buf->size += size;
    buf->data[buf->size] = '\0';
}

void wm_buf_text(wm_buf *buf, const char *text)
{
    wm_buf_add(buf, text, strlen(text));
}

void wm_buf_char(wm_buf *buf, char c)
{
    wm_buf_add(buf, &c, 1);
}

void wm_buf_printf(wm_buf *buf, const char *fmt, ...)
{
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0) {
        buf->failed = true;
        return;
    }
    if (!buf_reserve(buf, (size_t)len))
        return;
    va_start(args, fmt);
    vsnprintf(buf->data + buf->size, (size_t)len + 1, fmt, args);
    va_end(args);
    buf->size += (size_t)len;
}
