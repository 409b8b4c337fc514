/* base/utf8.h - what counts as text: valid UTF-8 without NUL.
 *
 * Threads: a pure function.
 */
#ifndef WAYMARK_BASE_UTF8_H
#define WAYMARK_BASE_UTF8_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wm_utf8 { WM_UTF8_OK, WM_UTF8_BAD, WM_UTF8_NUL } wm_utf8;

/* Overlong forms, surrogates and code points above U+10FFFF are bad. */
wm_utf8 wm_utf8_check(const void *text, size_t len);

#ifdef __cplusplus
}
#endif
#endif
