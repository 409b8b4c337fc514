/* cel/fn_time.c - parts of timestamps, in UTC or a time zone, and of durations. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "server/cel/time.h"

bool cel_time_parse(const char *text, size_t len, cel_value *value)
{
    int64_t seconds;
    int32_t nanos;

    /* RFC 3339 lets an implementation refuse a small t or z, a space for T and leap seconds, and
     * others of this language do. */
    if (len < sizeof("2006-01-02T15:04:05") || text[10] != 'T' || text[17] == '6' ||
        memchr(text, 'z', len) || !wm_time_parse_ns(text, len, &seconds, &nanos))
        return false;
    *value = cel_of_timestamp(seconds, (uint32_t)nanos);
    return true;
}

/* ---- durations ---- */

typedef struct reader {
    const char *at, *end;
} reader;

static bool read_unit(reader *r, int64_t *unit)
{
    static const struct {
        const char *name;
        int64_t nanos;
    } units[] = {{"ns", 1},
                 {"us", 1000},
                 {"\xc2\xb5s", 1000},
                 {"\xce\xbcs", 1000},
                 {"ms", 1000000},
                 {"s", 1000000000},
                 {"m", INT64_C(60000000000)},
                 {"h", INT64_C(3600000000000)}};

    for (size_t i = 0; i < WM_ARRAY_LEN(units); i++) {
        size_t len = strlen(units[i].name);

        if ((size_t)(r->end - r->at) >= len && memcmp(r->at, units[i].name, len) == 0 &&
            (r->at + len == r->end || (r->at[len] >= '0' && r->at[len] <= '9') ||
             r->at[len] == '.')) {
            r->at += len;
            *unit = units[i].nanos;
            return true;
        }
    }
    return false;
}

/* One number with its unit, added to `total`, which is without its sign. */
static bool read_part(reader *r, uint64_t *total)
{
    int64_t unit, fraction = 0, scale = 1;
    uint64_t whole = 0, part;
    const char *from = r->at;
    size_t digits = 0;

    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++, digits++)
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*r->at - '0'), &whole))
            return false;
    if (r->at < r->end && *r->at == '.')
        for (r->at++; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++, digits++)
            if (scale < INT64_C(100000000000000)) {
                fraction = fraction * 10 + (*r->at - '0');
                scale *= 10;
            }
    if (digits == 0 || from == r->at || !read_unit(r, &unit) ||
        __builtin_mul_overflow(whole, (uint64_t)unit, &part))
        return false;
    return !__builtin_add_overflow(part, (uint64_t)((__int128)fraction * unit / scale), &part) &&
           !__builtin_add_overflow(*total, part, total);
}

bool cel_duration_parse(const char *text, size_t len, int64_t *nanos)
{
    reader r = {text, text + len};
    bool negative = len > 0 && text[0] == '-';
    uint64_t total = 0;

    r.at += len > 0 && (text[0] == '-' || text[0] == '+');
    if (r.at == r.end)
        return false;
    if (r.end - r.at == 1 && *r.at == '0')
        r.at++;
    while (r.at < r.end)
        if (!read_part(&r, &total))
            return false;
    if (total > (uint64_t)INT64_MAX + negative)
        return false;
    *nanos = (int64_t)(negative ? 0 - total : total);
    return true;
}

/* ---- parts ---- */

typedef enum part {
    PART_YEAR,
    PART_MONTH,
    PART_DATE,
    PART_DAY_OF_MONTH,
    PART_DAY_OF_WEEK,
    PART_DAY_OF_YEAR,
    PART_HOURS,
    PART_MINUTES,
    PART_SECONDS,
    PART_MILLISECONDS
} part;

static int64_t date_part(int64_t days, part part)
{
    cel_date date = cel_date_of(days);

    switch (part) {
    case PART_YEAR:
        return date.year;
    case PART_MONTH:
        return date.month - 1;
    case PART_DATE:
        return date.day;
    case PART_DAY_OF_MONTH:
        return date.day - 1;
    case PART_DAY_OF_WEEK:
        return date.day_of_week;
    default:
        return date.day_of_year;
    }
}

static cel_value time_part(cel_call *call, const cel_value *args, size_t n, part part)
{
    int64_t local = args[0].as.integer, days, second;
    int32_t offset = 0;

    if (n == 2 && !cel_zone_offset(args[1].as.text, args[1].len, local, &offset)) {
        call->cost += CEL_ZONE_COST;
        return cel_fail(call, CEL_ERROR_ARGUMENT, "unknown time zone '%.*s'",
                        args[1].len > 60 ? 60 : (int)args[1].len, args[1].as.text);
    }
    local += offset;
    days = local / 86400 - (local % 86400 < 0);
    second = local - days * 86400;
    switch (part) {
    case PART_HOURS:
        return cel_of_int(second / 3600);
    case PART_MINUTES:
        return cel_of_int(second / 60 % 60);
    case PART_SECONDS:
        return cel_of_int(second % 60);
    case PART_MILLISECONDS:
        return cel_of_int(args[0].len / 1000000);
    default:
        return cel_of_int(date_part(days, part));
    }
}

#define TIME_PART(name, part)                                              \
    static cel_value name(cel_call *call, const cel_value *args, size_t n) \
    {                                                                      \
        return time_part(call, args, n, part);                             \
    }

TIME_PART(get_year, PART_YEAR)
TIME_PART(get_month, PART_MONTH)
TIME_PART(get_date, PART_DATE)
TIME_PART(get_day_of_month, PART_DAY_OF_MONTH)
TIME_PART(get_day_of_week, PART_DAY_OF_WEEK)
TIME_PART(get_day_of_year, PART_DAY_OF_YEAR)
TIME_PART(get_hours, PART_HOURS)
TIME_PART(get_minutes, PART_MINUTES)
TIME_PART(get_seconds, PART_SECONDS)
TIME_PART(get_milliseconds, PART_MILLISECONDS)

#define SPAN_PART(name, expression)                                        \
    static cel_value name(cel_call *call, const cel_value *args, size_t n) \
    {                                                                      \
        int64_t nanos = args->as.integer;                                  \
                                                                           \
        (void)call, (void)n;                                               \
        return cel_of_int(expression);                                     \
    }

SPAN_PART(span_hours, nanos / INT64_C(3600000000000))
SPAN_PART(span_minutes, nanos / INT64_C(60000000000))
SPAN_PART(span_seconds, nanos / INT64_C(1000000000))
/* The rest of a second only: the specification has it so. */
SPAN_PART(span_milliseconds, nanos / INT64_C(1000000) % 1000)

#define BOTH(name, function)                   \
    {name, true, false, "t", "i", function},   \
    {                                          \
        name, true, false, "ts", "i", function \
    }

CEL_TABLE(cel_fn_time, BOTH("getFullYear", get_year), BOTH("getMonth", get_month),
          BOTH("getDate", get_date), BOTH("getDayOfMonth", get_day_of_month),
          BOTH("getDayOfWeek", get_day_of_week), BOTH("getDayOfYear", get_day_of_year),
          BOTH("getHours", get_hours), BOTH("getMinutes", get_minutes),
          BOTH("getSeconds", get_seconds), BOTH("getMilliseconds", get_milliseconds),
          {"getHours", true, false, "D", "i", span_hours},
          {"getMinutes", true, false, "D", "i", span_minutes},
          {"getSeconds", true, false, "D", "i", span_seconds},
          {"getMilliseconds", true, false, "D", "i", span_milliseconds});
