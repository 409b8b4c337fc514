/* base/code.h - result codes and the error that explains one.
 *
 * Our own bugs assert; what the world does returns a wm_code. The place that
 * knows the cause calls wm_fail() once, with a reason from
 * proto/waymark/common/v1/error_reason.proto; everyone above passes it on.
 *
 * Threads: a wm_err belongs to whoever holds it.
 * Memory:  a wm_err is a plain value with fixed room; texts are cut to fit.
 */
#ifndef WAYMARK_BASE_CODE_H
#define WAYMARK_BASE_CODE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WM_MUST_USE __attribute__((warn_unused_result))
#define WM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* The struct of which `member` is a part. */
#define wm_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define WM_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* The values are those of google.rpc.Code, so that rpc/ maps them as they are. */
typedef enum wm_code {
    WM_OK = 0,
    WM_CANCELLED = 1,       /* the caller went away */
    WM_UNKNOWN = 2,         /* outcome not known; look before trying again */
    WM_INVALID = 3,         /* bad input; never right without a change */
    WM_DEADLINE = 4,        /* out of time */
    WM_NOT_FOUND = 5,       /* missing, or hidden from this caller */
    WM_EXISTS = 6,          /* the id is taken */
    WM_DENIED = 7,          /* known caller, no permission */
    WM_EXHAUSTED = 8,       /* a named limit is reached */
    WM_PRECONDITION = 9,    /* wrong state for this */
    WM_ABORTED = 10,        /* lost a race (stale etag, stale lease) */
    WM_OUT_OF_RANGE = 11,   /* past the end (a trimmed cursor) */
    WM_UNIMPLEMENTED = 12,  /* no such method */
    WM_INTERNAL = 13,       /* our bug; logged with its call id */
    WM_UNAVAILABLE = 14,    /* try again */
    WM_DATA_LOSS = 15,      /* stored bytes do not parse */
    WM_UNAUTHENTICATED = 16 /* no valid token */
} wm_code;

enum {
    WM_ERR_REASON_SIZE = 48, /* bytes, with the NUL */
    WM_ERR_FIELD_SIZE = 96,  /* "positions[17].lon_deg" */
    WM_ERR_MESSAGE_SIZE = 320
};

/* What went wrong, once. `reason` is UPPER_SNAKE_CASE and part of the API;
 * `message` is for people; `field` is the path of the offending request
 * field, or "". Never put a token, a payload or SQL into any of them. */
typedef struct wm_err {
    wm_code code;
    uint32_t retry_after_ms; /* > 0 adds RetryInfo to the status */
    char reason[WM_ERR_REASON_SIZE];
    char field[WM_ERR_FIELD_SIZE];
    char message[WM_ERR_MESSAGE_SIZE];
} wm_err;

/* Fills `err` (which may be NULL) and returns `code`. */
wm_code wm_fail(wm_err *err, wm_code code, const char *reason, const char *fmt, ...)
    WM_PRINTF(4, 5);

/* WM_INVALID that names the request field it is about. */
wm_code wm_fail_field(wm_err *err, const char *field, const char *reason, const char *fmt, ...)
    WM_PRINTF(4, 5);

/* The gRPC name of a code: "OK", "INVALID_ARGUMENT", ... */
const char *wm_code_name(wm_code code);

#ifdef __cplusplus
}
#endif
#endif
