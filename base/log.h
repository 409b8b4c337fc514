/* base/log.h - structured logs: one JSON object a line on standard error.
 *
 *   {"time":"2026-01-02T03:04:05.678901Z","level":"info","msg":"serving","address":"127.0.0.1:7654"}
 *
 * Any thread; a line is written by one write(2). Never pass a token, a
 * payload, a key or SQL.
 */
#ifndef WAYMARK_BASE_LOG_H
#define WAYMARK_BASE_LOG_H

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wm_log_level { WM_LOG_DEBUG, WM_LOG_INFO, WM_LOG_WARN, WM_LOG_ERROR } wm_log_level;

typedef enum wm_log_kind { WM_LOG_TEXT, WM_LOG_INT, WM_LOG_FLOAT } wm_log_kind;

/* A field: a name and a value of one of three kinds. */
typedef struct wm_log_field {
    const char *name;
    wm_log_kind kind;
    const char *text;
    int64_t number;
    double real;
} wm_log_field;

static inline wm_log_field wm_log_s(const char *name, const char *text)
{
    wm_log_field field = {name, WM_LOG_TEXT, text, 0, 0};
    return field;
}
static inline wm_log_field wm_log_i(const char *name, int64_t number)
{
    wm_log_field field = {name, WM_LOG_INT, NULL, number, 0};
    return field;
}
static inline wm_log_field wm_log_f(const char *name, double real)
{
    wm_log_field field = {name, WM_LOG_FLOAT, NULL, 0, real};
    return field;
}

void wm_log_set_level(wm_log_level level);
bool wm_log_enabled(wm_log_level level);
void wm_log_write(wm_log_level level, const char *msg, const wm_log_field *fields, size_t n);

/* wm_log(WM_LOG_INFO, "serving", wm_log_s("address", a), wm_log_i("lanes", n)); */
#define wm_log(level, msg, ...)                                                                 \
    do {                                                                                        \
        if (wm_log_enabled(level)) {                                                            \
            const wm_log_field wm_log_fields_[] = {wm_log_s("", NULL), ##__VA_ARGS__};          \
            wm_log_write((level), (msg), wm_log_fields_ + 1, WM_ARRAY_LEN(wm_log_fields_) - 1); \
        }                                                                                       \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
