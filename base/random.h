/* base/random.h - the only source of randomness, and ids made from it. */
#ifndef WAYMARK_BASE_RANDOM_H
#define WAYMARK_BASE_RANDOM_H

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wm_uuid {
    uint8_t bytes[16];
} wm_uuid;

enum { WM_UUID_TEXT_SIZE = 37 };

/* Any thread. Aborts when the system has no entropy. */
void wm_random_bytes(void *bytes, size_t size);
uint64_t wm_random_below(uint64_t limit);

/* UUIDv7 (RFC 9562): time-ordered, also among those one thread makes within a
 * millisecond. Any thread. */
wm_uuid wm_uuid_new(void);
void wm_uuid_format(const wm_uuid *uuid, char text[WM_UUID_TEXT_SIZE]);
WM_MUST_USE bool wm_uuid_parse(const char *text, wm_uuid *uuid);

#ifdef __cplusplus
}
#endif
#endif
