/* server/event/cursor.c - positions in the outbox as text: "xid-seq", decimal. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/event/hub.h"

void event_cursor_format(event_cursor cursor, char text[EVENT_CURSOR_TEXT_SIZE])
{
    snprintf(text, EVENT_CURSOR_TEXT_SIZE, "%" PRId64 "-%" PRId64, cursor.xid, cursor.seq);
}

/* Digits only, without leading zeros, at most INT64_MAX; NULL when it is something else. */
static const char *parse_number(const char *text, int64_t *number)
{
    const char *at = text;
    int64_t value = 0;

    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *at - '0', &value))
            return NULL;
    if (at == text || (*text == '0' && at != text + 1))
        return NULL;
    *number = value;
    return at;
}

bool event_cursor_parse(const char *text, event_cursor *cursor)
{
    event_cursor parsed;
    const char *at = parse_number(text, &parsed.xid);

    if (at == NULL || *at != '-')
        return false;
    at = parse_number(at + 1, &parsed.seq);
    if (at == NULL || *at != '\0')
        return false;
    *cursor = parsed;
    return true;
}

int event_cursor_compare(event_cursor a, event_cursor b)
{
    if (a.xid != b.xid)
        return a.xid < b.xid ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}
