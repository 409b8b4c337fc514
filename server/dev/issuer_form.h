/* server/dev/issuer_form.h - fields of an application/x-www-form-urlencoded body.
 *
 * Threads: pure functions of their input.
 * Memory:  values live in the arena.
 */
#ifndef WAYMARK_SERVER_DEV_ISSUER_FORM_H
#define WAYMARK_SERVER_DEV_ISSUER_FORM_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The decoded value of the field; NULL: it is not there, or it is empty, which OAuth takes for the
 * same. WM_INVALID: it comes twice, or is not percent-encoded UTF-8 text. */
WM_MUST_USE wm_code issuer_form_find(wm_arena *arena, const wm_buf *body, const char *name,
                                     const char **value, wm_err *err);

/* Decodes `text` in the same way; OAuth has it so inside HTTP Basic credentials too. */
WM_MUST_USE wm_code issuer_form_decode(wm_arena *arena, const char *text, size_t len,
                                       const char **value, wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
