/* base/code.c - result codes and the error that explains one; see code.h. */
#include "base/code.h"

#include <stdio.h>
#include <string.h>

/* Cuts to fit, and never in the middle of a UTF-8 character: statuses must be text. */
static void code_copy(char *to, size_t to_size, const char *from)
{
    size_t len = strnlen(from, to_size);

    if (len == to_size) {
        len = to_size - 1;
        while (len > 0 && ((unsigned char)from[len] & 0xC0) == 0x80)
            len--;
    }
    memcpy(to, from, len);
    to[len] = '\0';
}

static void code_fill(wm_err *err, wm_code code, const char *field, const char *reason,
                      const char *fmt, va_list args)
{
    char message[2 * WM_ERR_MESSAGE_SIZE];

    err->code = code;
    err->retry_after_ms = 0;
    code_copy(err->reason, sizeof(err->reason), reason);
    code_copy(err->field, sizeof(err->field), field);
    vsnprintf(message, sizeof(message), fmt, args);
    code_copy(err->message, sizeof(err->message), message);
}

wm_code wm_fail(wm_err *err, wm_code code, const char *reason, const char *fmt, ...)
{
    va_list args;

    if (err != NULL) {
        va_start(args, fmt);
        code_fill(err, code, "", reason, fmt, args);
        va_end(args);
    }
    return code;
}

wm_code wm_fail_field(wm_err *err, const char *field, const char *reason, const char *fmt, ...)
{
    va_list args;

    if (err != NULL) {
        va_start(args, fmt);
        code_fill(err, WM_INVALID, field, reason, fmt, args);
        va_end(args);
    }
    return WM_INVALID;
}

const char *wm_code_name(wm_code code)
{
    static const char *const names[] = {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };

    if ((size_t)code >= WM_ARRAY_LEN(names))
        return "UNKNOWN";
    return names[code];
}
