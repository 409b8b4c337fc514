/* cel/weekly.h - calendars of a week, "Mo-Fr 08:00-18:00; Sa 09:00-12:00". Private to cel/.
 *
 *     calendar = rule { ";" rule }
 *     rule     = [ days ] ( spans | "off" )      without days: all of them
 *     days     = day [ "-" day ] { "," day [ "-" day ] }         Mo Tu We Th Fr Sa Su
 *     spans    = hh:mm "-" hh:mm { "," hh:mm "-" hh:mm }         the end is not part of it
 *
 * A later rule replaces what earlier ones said of its days, as in OpenStreetMap's opening_hours. A
 * span that ends at or before its begin goes on to the next day, whatever that day's rule says.
 *
 * Threads: a calendar is immutable.
 */
#ifndef WAYMARK_SERVER_CEL_WEEKLY_H
#define WAYMARK_SERVER_CEL_WEEKLY_H

#include "server/cel/internal.h"

enum { CEL_WEEK_MINUTES = 7 * 24 * 60 };

typedef struct cel_weekly cel_weekly;

/* NULL with the reason, which names the place. */
cel_weekly *cel_weekly_new(const char *text, size_t len, char why[CEL_WHY_SIZE]);
void cel_weekly_free(cel_weekly *weekly);
/* Minutes of the week, from Monday 00:00. */
bool cel_weekly_has(const cel_weekly *weekly, int minute);
/* The minute of the week at a time that many seconds east of UTC. */
int cel_week_minute(int64_t seconds, int32_t offset);

#endif
