/* cel/zone.c - offsets of time zones, from the system's tz database (TZif files, RFC 8536).
 *
 * A file is read when its zone is first asked for, and kept for good: there are some 600, and
 * only names that are files there are kept. The list is read without a lock; adding takes one.
 * Times after the last transition follow the rule in the file's footer
 * ("CET-1CEST,M3.5.0,M10.5.0/3").
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/cel/time.h"

enum { ZONE_NAME_MAX = 64, ZONE_FILE_MAX = 65536, ZONES_MAX = 1000 };

/* The yearly day of a change: Mm.w.d, Jn or n, at a local time. */
typedef struct zone_day {
    char form; /* 'M', 'J' or '0' */
    int month, week, day;
    int32_t seconds;
} zone_day;

typedef struct zone_rule {
    int32_t standard, summer;
    bool has_summer;
    zone_day from, to;
} zone_rule;

typedef struct zone {
    struct zone *next;
    char name[ZONE_NAME_MAX];
    size_t n;
    int64_t *times;
    int32_t *offsets; /* after times[i] */
    int32_t first;    /* before times[0] */
    bool has_rule;
    zone_rule rule;
} zone;

static _Atomic(zone *) zones;
static pthread_mutex_t zones_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t n_zones;

/* ---- the calendar ---- */

int64_t cel_days_of(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400, m = (month + 9) % 12;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * m + 2) / 5 + day - 1 -
           719468;
}

cel_date cel_date_of(int64_t days)
{
    int64_t shifted = days + 719468, era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day = shifted - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t rest = day - (365 * year + year / 4 - year / 100), m = (5 * rest + 2) / 153;
    cel_date date;

    date.day = (int)(rest - (153 * m + 2) / 5 + 1);
    date.month = (int)(m < 10 ? m + 3 : m - 9);
    date.year = year + era * 400 + (date.month <= 2);
    date.day_of_year = (int)(days - cel_days_of(date.year, 1, 1));
    date.day_of_week = (int)(((days + 4) % 7 + 7) % 7);
    return date;
}

/* ---- the footer's rule ---- */

static bool rule_name(const char **at)
{
    const char *from = *at;

    if (*from == '<') {
        while (*from && *from != '>')
            from++;
        if (!*from)
            return false;
        *at = from + 1;
        return true;
    }
    while ((*from >= 'A' && *from <= 'Z') || (*from >= 'a' && *from <= 'z'))
        from++;
    if (from == *at)
        return false;
    *at = from;
    return true;
}

/* [+-]hh[:mm[:ss]] */
static bool rule_seconds(const char **at, int32_t *seconds)
{
    int sign = **at == '-' ? -1 : 1, used = 0;
    int hours = 0, minutes = 0, rest = 0;

    *at += **at == '-' || **at == '+';
    if (sscanf(*at, "%3d%n", &hours, &used) != 1)
        return false;
    *at += used;
    if (**at == ':' && sscanf(*at, ":%2d%n", &minutes, &used) == 1) {
        *at += used;
        if (**at == ':' && sscanf(*at, ":%2d%n", &rest, &used) == 1)
            *at += used;
    }
    *seconds = sign * (hours * 3600 + minutes * 60 + rest);
    return true;
}

static bool rule_day(const char **at, zone_day *day)
{
    int used = 0;

    if (*(*at)++ != ',')
        return false;
    day->form = **at == 'M' || **at == 'J' ? **at : '0';
    if (day->form == 'M') {
        if (sscanf(*at, "M%2d.%1d.%1d%n", &day->month, &day->week, &day->day, &used) != 3 ||
            day->month < 1 || day->month > 12)
            return false;
    } else if (sscanf(*at + (day->form == 'J'), "%3d%n", &day->day, &used) == 1) {
        used += day->form == 'J';
    } else {
        return false;
    }
    *at += used;
    day->seconds = 7200;
    if (**at != '/')
        return true;
    (*at)++;
    return rule_seconds(at, &day->seconds);
}

static bool rule_parse(const char *at, zone_rule *rule)
{
    if (!rule_name(&at) || !rule_seconds(&at, &rule->standard))
        return false;
    rule->standard = -rule->standard; /* POSIX counts west */
    if (!*at)
        return true;
    if (!rule_name(&at))
        return false;
    rule->has_summer = true;
    rule->summer = rule->standard + 3600;
    if (*at && *at != ',') {
        if (!rule_seconds(&at, &rule->summer))
            return false;
        rule->summer = -rule->summer;
    }
    return rule_day(&at, &rule->from) && rule_day(&at, &rule->to) && *at == 0;
}

/* Seconds from the start of the year, in local time, until the change. */
static int64_t day_seconds(const zone_day *day, int64_t year)
{
    int64_t start = cel_days_of(year, 1, 1), first, days;
    bool leap = cel_days_of(year, 3, 1) - cel_days_of(year, 2, 1) == 29;

    if (day->form == 'M') {
        first = cel_days_of(year, day->month, 1);
        days = first + (day->day - cel_date_of(first).day_of_week + 7) % 7 + (day->week - 1) * 7;
        /* Week 5 is the last one. */
        while (cel_date_of(days).month != day->month)
            days -= 7;
        days -= start;
    } else if (day->form == 'J') {
        days = day->day - 1 + (leap && day->day >= 60);
    } else {
        days = day->day;
    }
    return days * 86400 + day->seconds;
}

static int32_t rule_offset(const zone_rule *rule, int64_t seconds)
{
    int64_t local = seconds + rule->standard, from, to, in_year;
    int64_t days = local / 86400 - (local % 86400 < 0);
    int64_t year = cel_date_of(days).year;
    bool summer;

    if (!rule->has_summer)
        return rule->standard;
    in_year = local - cel_days_of(year, 1, 1) * 86400;
    from = day_seconds(&rule->from, year);
    /* The end is told in summer time. */
    to = day_seconds(&rule->to, year) - (rule->summer - rule->standard);
    summer = from < to ? in_year >= from && in_year < to : in_year >= from || in_year < to;
    return summer ? rule->summer : rule->standard;
}

/* ---- TZif ---- */

static uint32_t be32(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t be64(const unsigned char *at)
{
    return (int64_t)((uint64_t)be32(at) << 32 | be32(at + 4));
}

typedef struct header {
    size_t utc, std, leap, times, types, chars;
} header;

static bool header_read(const unsigned char *file, size_t size, header *h)
{
    if (size < 44 || memcmp(file, "TZif", 4) != 0 || file[4] < '2')
        return false;
    *h = (header){be32(file + 20), be32(file + 24), be32(file + 28),
                  be32(file + 32), be32(file + 36), be32(file + 40)};
    return h->times < 10000 && h->types < 256 && h->types > 0 && h->chars < 10000 &&
           h->leap < 1000 && h->utc < 256 && h->std < 256;
}

static size_t body_size(const header *h, size_t time_size)
{
    return h->times * time_size + h->times + h->types * 6 + h->chars + h->leap * (time_size + 4) +
           h->std + h->utc;
}

static bool zone_read(zone *z, const unsigned char *file, size_t size)
{
    header h;
    size_t skip;
    const unsigned char *kinds, *types, *footer;

    if (!header_read(file, size, &h))
        return false;
    skip = 44 + body_size(&h, 4); /* the first part has 32-bit times */
    if (skip > size || !header_read(file + skip, size - skip, &h) ||
        skip + 44 + body_size(&h, 8) > size)
        return false;
    file += skip + 44;
    size -= skip + 44;
    kinds = file + h.times * 8;
    types = kinds + h.times;
    z->times = calloc(h.times + 1, sizeof *z->times);
    z->offsets = calloc(h.times + 1, sizeof *z->offsets);
    if (!z->times || !z->offsets)
        return false;
    z->n = h.times;
    z->first = (int32_t)be32(types);
    for (size_t i = 0; i < h.times; i++) {
        z->times[i] = be64(file + i * 8);
        z->offsets[i] = kinds[i] < h.types ? (int32_t)be32(types + kinds[i] * 6) : z->first;
    }
    footer = file + body_size(&h, 8);
    /* A line of its own; the caller put a NUL behind the file. */
    if (size - body_size(&h, 8) > 2 && footer[0] == '\n') {
        char rule[128];
        size_t len = strcspn((const char *)footer + 1, "\n");

        if (len < sizeof rule) {
            memcpy(rule, footer + 1, len);
            rule[len] = 0;
            z->has_rule = rule_parse(rule, &z->rule);
        }
    }
    return true;
}

/* Letters, digits, and no way out of the folder. */
static bool is_zone_name(const char *name, size_t len)
{
    if (len == 0 || len >= ZONE_NAME_MAX || name[0] == '/')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-' || c == '+' || c == '/'))
            return false;
    }
    return true;
}

static zone *zone_load(const char *name)
{
    char path[128];
    unsigned char *file = malloc(ZONE_FILE_MAX + 1);
    zone *z = calloc(1, sizeof *z);
    size_t size = 0;
    FILE *in;

    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    in = fopen(path, "rb");
    if (in && file)
        size = fread(file, 1, ZONE_FILE_MAX, in);
    if (in)
        fclose(in);
    if (file)
        file[size] = 0;
    if (!z || !file || !zone_read(z, file, size)) {
        if (z) {
            free(z->times);
            free(z->offsets);
        }
        free(z);
        z = NULL;
    } else {
        snprintf(z->name, sizeof z->name, "%s", name);
    }
    free(file);
    return z;
}

static const zone *zone_find(const char *name)
{
    for (const zone *z = atomic_load_explicit(&zones, memory_order_acquire); z; z = z->next)
        if (strcmp(z->name, name) == 0)
            return z;
    return NULL;
}

static const zone *zone_get(const char *name)
{
    const zone *found = zone_find(name);
    zone *loaded;

    if (found)
        return found;
    pthread_mutex_lock(&zones_lock);
    found = zone_find(name);
    if (!found && n_zones < ZONES_MAX) {
        loaded = zone_load(name);
        if (loaded) {
            loaded->next = atomic_load_explicit(&zones, memory_order_relaxed);
            atomic_store_explicit(&zones, loaded, memory_order_release);
            n_zones++;
            found = loaded;
        }
    }
    pthread_mutex_unlock(&zones_lock);
    return found;
}

static int32_t zone_offset(const zone *z, int64_t seconds)
{
    size_t low = 0, high = z->n;

    if (z->n == 0 || seconds >= z->times[z->n - 1])
        if (z->has_rule)
            return rule_offset(&z->rule, seconds);
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (z->times[middle] <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? z->first : z->offsets[low - 1];
}

/* [+-]hh:mm, the sign may be missing. */
static bool fixed_offset(const char *zone, size_t len, int32_t *offset)
{
    char text[16];
    int hours, minutes, used = 0, sign;
    const char *at = text;

    if (len < 4 || len > 6)
        return false;
    memcpy(text, zone, len);
    text[len] = 0;
    sign = *at == '-' ? -1 : 1;
    at += *at == '-' || *at == '+';
    if (*at < '0' || *at > '9' || sscanf(at, "%2d:%2d%n", &hours, &minutes, &used) != 2 ||
        at[used] || hours > 23 || minutes > 59 || minutes < 0)
        return false;
    *offset = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool cel_zone_offset(const char *zone_name, size_t len, int64_t seconds, int32_t *offset)
{
    char name[ZONE_NAME_MAX];
    const zone *z;

    *offset = 0;
    if (len == 0 || fixed_offset(zone_name, len, offset))
        return true;
    if (!is_zone_name(zone_name, len))
        return false;
    memcpy(name, zone_name, len);
    name[len] = 0;
    z = zone_get(name);
    if (z)
        *offset = zone_offset(z, seconds);
    return z != NULL;
}
