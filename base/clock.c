/* base/clock.c - clocks, and RFC 3339 texts of times; see clock.h.
 *
 * The calendar is computed here and not by gmtime_r(), which takes a lock for
 * the time zone. Years start in March in the arithmetic, so that the leap day
 * is the last one and months have a regular length.
 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#define SECONDS_PER_DAY INT64_C(86400)
/* 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z. */
#define SECONDS_MIN INT64_C(-62135596800)
#define SECONDS_MAX INT64_C(253402300799)

typedef struct clock_date {
    int64_t year;
    int month, day; /* 1..12, 1..31 */
} clock_date;

static int64_t clock_read_us(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t wm_now_us(void)
{
    return clock_read_us(CLOCK_REALTIME);
}

int64_t wm_monotonic_us(void)
{
    return clock_read_us(CLOCK_MONOTONIC);
}

/* Days from 1970-01-01 to a date. 400 years have 146,097 days. */
static int64_t clock_days(clock_date date)
{
    int64_t year = date.month <= 2 ? date.year - 1 : date.year;
    int64_t month = (date.month + 9) % 12; /* March is 0 */
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * month + 2) / 5 + date.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468; /* 0000-03-01 to 1970-01-01 */
}

static clock_date clock_date_of(int64_t days)
{
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day = shifted - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t day_of_year = day - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    clock_date date;

    date.day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    date.month = (int)(month < 10 ? month + 3 : month - 9);
    date.year = year + era * 400 + (date.month <= 2 ? 1 : 0);
    return date;
}

static char *clock_digits(char *to, int64_t number, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        to[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return to + width;
}

void wm_time_format_seconds(int64_t seconds, char text[WM_TIME_TEXT_SIZE])
{
    int64_t days, second;
    clock_date date;
    char *at = text;

    seconds = seconds < SECONDS_MIN ? SECONDS_MIN : seconds;
    seconds = seconds > SECONDS_MAX ? SECONDS_MAX : seconds;
    days = seconds / SECONDS_PER_DAY;
    second = seconds % SECONDS_PER_DAY;
    if (second < 0) {
        second += SECONDS_PER_DAY;
        days--;
    }
    date = clock_date_of(days);
    at = clock_digits(at, date.year, 4);
    *at++ = '-';
    at = clock_digits(at, date.month, 2);
    *at++ = '-';
    at = clock_digits(at, date.day, 2);
    *at++ = 'T';
    at = clock_digits(at, second / 3600, 2);
    *at++ = ':';
    at = clock_digits(at, second / 60 % 60, 2);
    *at++ = ':';
    at = clock_digits(at, second % 60, 2);
    *at = '\0';
}

void wm_time_format(int64_t time_us, char text[WM_TIME_TEXT_SIZE])
{
    int64_t seconds = time_us / 1000000, micros = time_us % 1000000;
    char *at;

    if (micros < 0) {
        micros += 1000000;
        seconds--;
    }
    wm_time_format_seconds(seconds, text);
    at = text + 19;
    if (micros > 0) {
        *at++ = '.';
        at = clock_digits(at, micros, 6);
        while (at[-1] == '0')
            at--;
    }
    *at++ = 'Z';
    *at = '\0';
}

/* What is left to read of a text. */
typedef struct clock_text {
    const char *at, *end;
} clock_text;

static bool clock_number(clock_text *text, int width, int min, int max, int *number)
{
    int value = 0;

    if (text->end - text->at < width)
        return false;
    for (int i = 0; i < width; i++) {
        char c = *text->at++;

        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *number = value;
    return value >= min && value <= max;
}

static bool clock_char(clock_text *text, const char *any)
{
    if (text->at == text->end)
        return false;
    for (; *any != '\0'; any++) {
        if (*text->at == *any) {
            text->at++;
            return true;
        }
    }
    return false;
}

static int clock_month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

static bool clock_parse_fraction(clock_text *text, int32_t *nanos)
{
    int32_t value = 0;
    int digits = 0;

    *nanos = 0;
    if (!clock_char(text, "."))
        return true;
    for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++, digits++) {
        if (digits < 9)
            value = value * 10 + (*text->at - '0');
    }
    for (int i = digits; i < 9; i++)
        value *= 10;
    *nanos = value;
    return digits > 0;
}

static bool clock_parse_zone(clock_text *text, int64_t *offset_seconds)
{
    int hours, minutes;
    bool west;

    *offset_seconds = 0;
    if (clock_char(text, "Zz"))
        return true;
    west = text->at < text->end && *text->at == '-';
    if (!clock_char(text, "+-"))
        return false;
    if (!clock_number(text, 2, 0, 23, &hours) || !clock_char(text, ":") ||
        !clock_number(text, 2, 0, 59, &minutes))
        return false;
    *offset_seconds = (hours * 60 + minutes) * (west ? -60 : 60);
    return true;
}

bool wm_time_parse_ns(const char *text, size_t len, int64_t *seconds, int32_t *nanos)
{
    clock_text in = {text, text + len};
    int year, month, day, hour, minute, second;
    int64_t offset;
    clock_date date;

    if (!clock_number(&in, 4, 1, 9999, &year) || !clock_char(&in, "-") ||
        !clock_number(&in, 2, 1, 12, &month) || !clock_char(&in, "-") ||
        !clock_number(&in, 2, 1, 31, &day) || !clock_char(&in, "Tt "))
        return false;
    if (!clock_number(&in, 2, 0, 23, &hour) || !clock_char(&in, ":") ||
        !clock_number(&in, 2, 0, 59, &minute) || !clock_char(&in, ":") ||
        !clock_number(&in, 2, 0, 60, &second))
        return false;
    if (day > clock_month_days(year, month) || !clock_parse_fraction(&in, nanos) ||
        !clock_parse_zone(&in, &offset) || in.at != in.end)
        return false;
    date.year = year;
    date.month = month;
    date.day = day;
    /* A leap second reads as the first second of the next minute, as in POSIX. */
    *seconds = clock_days(date) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    return *seconds >= SECONDS_MIN && *seconds <= SECONDS_MAX;
}

bool wm_time_parse(const char *text, size_t len, int64_t *time_us)
{
    int64_t seconds;
    int32_t nanos;

    if (!wm_time_parse_ns(text, len, &seconds, &nanos))
        return false;
    *time_us = seconds * 1000000 + nanos / 1000;
    return true;
}
