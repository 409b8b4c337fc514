/* cel/time.h - texts of times and durations, and time zones. Private to cel/. */
#ifndef WAYMARK_SERVER_CEL_TIME_H
#define WAYMARK_SERVER_CEL_TIME_H

#include "server/cel/internal.h"

/* RFC 3339, years 0001 to 9999. */
bool cel_time_parse(const char *text, size_t len, cel_value *value);
/* "1h45m30.5s", "-3ms"; false when it is none, or beyond 290 years. */
bool cel_duration_parse(const char *text, size_t len, int64_t *nanos);

/* Seconds east of UTC at a Unix time, in "Europe/Paris", "UTC" (or ""), "+02:00" or "-08:00". False
 * when there is no such zone. Zones are read once from the system's tz database and kept. */
enum { CEL_ZONE_COST = 4000 }; /* of looking for a zone that is not there */
bool cel_zone_offset(const char *zone, size_t len, int64_t seconds, int32_t *offset);

/* A day in the Gregorian calendar. */
typedef struct cel_date {
    int64_t year;
    int month, day;  /* from 1 */
    int day_of_year; /* from 0 */
    int day_of_week; /* Sunday is 0 */
} cel_date;
cel_date cel_date_of(int64_t days);
int64_t cel_days_of(int64_t year, int month, int day);

#endif
