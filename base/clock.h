/* base/clock.h - the only place that reads clocks, and the text of times.
 *
 * Wall times are microseconds since 1970-01-01T00:00:00Z (int64_t, `_us`);
 * durations for timeouts are milliseconds (`_ms`) or microseconds (`_us`).
 */
#ifndef WAYMARK_BASE_CLOCK_H
#define WAYMARK_BASE_CLOCK_H

#include "base/code.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WM_TIME_TEXT_SIZE = 32 };

int64_t wm_now_us(void);       /* wall clock */
int64_t wm_monotonic_us(void); /* never goes back; for timeouts and durations */

/* RFC 3339 in UTC; fractions only where they are not zero ("...:00.5Z"). */
void wm_time_format(int64_t time_us, char text[WM_TIME_TEXT_SIZE]);
/* RFC 3339 with 'Z' or an offset, years 0001 to 9999, fractions to a
 * microsecond (finer digits are cut). False when it is not one. */
WM_MUST_USE bool wm_time_parse(const char *text, size_t len, int64_t *time_us);
/* The same, to a nanosecond: `nanos` counts forward from `seconds`, 0..999999999. */
WM_MUST_USE bool wm_time_parse_ns(const char *text, size_t len, int64_t *seconds, int32_t *nanos);
/* "2026-01-02T03:04:05", without fraction and zone, of whole seconds in years 0001 to 9999. */
void wm_time_format_seconds(int64_t seconds, char text[WM_TIME_TEXT_SIZE]);

#ifdef __cplusplus
}
#endif
#endif
