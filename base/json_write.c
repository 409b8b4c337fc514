/* base/json_write.c - the texts of JSON strings and numbers; see json.h. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *json_short_escape(unsigned char c)
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

void wm_json_write_string(wm_buf *buf, const char *text, size_t len)
{
    size_t from = 0;

    wm_buf_char(buf, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        const char *escape;

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        wm_buf_add(buf, text + from, i - from);
        from = i + 1;
        escape = json_short_escape(c);
        if (escape != NULL)
            wm_buf_text(buf, escape);
        else
            wm_buf_printf(buf, "\\u%04x", c);
    }
    wm_buf_add(buf, text + from, len - from);
    wm_buf_char(buf, '"');
}

/* The fewest digits from `digits` up that read back the same. */
static void json_write_real(wm_buf *buf, double number, int digits, int digits_max, bool single)
{
    char text[40];

    if (isnan(number)) {
        wm_buf_text(buf, "\"NaN\"");
        return;
    }
    if (isinf(number)) {
        wm_buf_text(buf, number > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    for (; digits <= digits_max; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, number);
        if (single ? strtof(text, NULL) == (float)number : strtod(text, NULL) == number)
            break;
    }
    wm_buf_text(buf, text);
}

void wm_json_write_double(wm_buf *buf, double number)
{
    json_write_real(buf, number, 15, 17, false);
}

void wm_json_write_float(wm_buf *buf, float number)
{
    json_write_real(buf, (double)number, 6, 9, true);
}
