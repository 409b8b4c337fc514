/* base/log.c - structured logs; see log.h.
 *
 * A line is built on the heap within a limit and leaves by one write(2), so that
 * lines of several threads and processes do not mix. A line that does not fit
 * is cut to its level and message.
 */
#include "base/log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"

enum { LOG_LINE_MAX = 8 * 1024 };

static _Atomic int log_level = WM_LOG_INFO;

void wm_log_set_level(wm_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

bool wm_log_enabled(wm_log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

static const char *log_level_name(wm_log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    return names[level];
}

static void log_name(wm_buf *line, const char *name)
{
    wm_json_write_string(line, name, strlen(name));
    wm_buf_char(line, ':');
}

static void log_member(wm_buf *line, const char *name, const char *text)
{
    log_name(line, name);
    wm_json_write_string(line, text, strlen(text));
}

static void log_field_value(wm_buf *line, const wm_log_field *field)
{
    switch (field->kind) {
    case WM_LOG_TEXT:
        if (field->text == NULL)
            wm_buf_text(line, "null");
        else
            wm_json_write_string(line, field->text, strlen(field->text));
        return;
    case WM_LOG_INT:
        wm_buf_printf(line, "%" PRId64, field->number);
        return;
    case WM_LOG_FLOAT:
        wm_json_write_double(line, field->real);
        return;
    }
}

static void log_head(wm_buf *line, wm_log_level level, const char *msg)
{
    char now[WM_TIME_TEXT_SIZE];

    wm_time_format(wm_now_us(), now);
    wm_buf_char(line, '{');
    log_member(line, "time", now);
    wm_buf_char(line, ',');
    log_member(line, "level", log_level_name(level));
    wm_buf_char(line, ',');
    log_member(line, "msg", msg);
}

/* Standard error that cannot be written to is nothing a logger could tell anyone. */
static void log_send(const wm_buf *line)
{
    if (write(STDERR_FILENO, line->data, line->size) < 0)
        return;
}

void wm_log_write(wm_log_level level, const char *msg, const wm_log_field *fields, size_t n)
{
    wm_buf line;

    wm_buf_init(&line, LOG_LINE_MAX);
    log_head(&line, level, msg);
    for (size_t i = 0; i < n; i++) {
        wm_buf_char(&line, ',');
        log_name(&line, fields[i].name);
        log_field_value(&line, &fields[i]);
    }
    wm_buf_text(&line, "}\n");
    if (line.failed) {
        wm_buf_clear(&line);
        log_head(&line, level, msg);
        wm_buf_text(&line, ",\"cut\":true}\n");
    }
    if (!line.failed)
        log_send(&line);
    wm_buf_free(&line);
}
