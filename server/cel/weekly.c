/* cel/weekly.c - see weekly.h. A calendar is a bit for each minute of the week. */
#include "server/cel/weekly.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DAY_MINUTES = 24 * 60, SPANS_MAX = 24 };

struct cel_weekly {
    uint8_t minutes[CEL_WEEK_MINUTES / 8];
};

typedef struct span {
    int from, to; /* minutes of the day; `to` may be on the next one */
} span;

/* What a rule says of its days. */
typedef struct rule {
    bool days[7];
    span spans[SPANS_MAX];
    size_t n;
} rule;

typedef struct reader {
    const char *text, *at, *end;
    char *why;
} reader;

static bool fail(reader *r, const char *expected)
{
    int left = r->end - r->at > 20 ? 20 : (int)(r->end - r->at);

    snprintf(r->why, CEL_WHY_SIZE, "expected %s at byte %zu, before '%.*s'", expected,
             (size_t)(r->at - r->text) + 1, left, r->at);
    return false;
}

static void skip_spaces(reader *r)
{
    while (r->at < r->end && *r->at == ' ')
        r->at++;
}

static bool take(reader *r, char c)
{
    skip_spaces(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    skip_spaces(r);
    return true;
}

static bool is_letter(const reader *r)
{
    return r->at < r->end && *r->at >= 'A' && *r->at <= 'Z';
}

static bool read_day(reader *r, int *day)
{
    static const char names[] = "MoTuWeThFrSaSu";

    for (int i = 0; i < 7; i++)
        if (r->end - r->at >= 2 && memcmp(r->at, names + 2 * (size_t)i, 2) == 0) {
            r->at += 2;
            *day = i;
            return true;
        }
    return fail(r, "a day, Mo Tu We Th Fr Sa or Su,");
}

static bool read_days(reader *r, rule *rule)
{
    do {
        int from, to;

        if (!read_day(r, &from))
            return false;
        to = from;
        if (take(r, '-') && !read_day(r, &to))
            return false;
        for (int day = from; rule->days[day] = true, day != to; day = (day + 1) % 7)
            ;
    } while (take(r, ','));
    return true;
}

static bool read_two(reader *r, int *number)
{
    if (r->end - r->at < 2 || r->at[0] < '0' || r->at[0] > '9' || r->at[1] < '0' || r->at[1] > '9')
        return false;
    *number = (r->at[0] - '0') * 10 + r->at[1] - '0';
    r->at += 2;
    return true;
}

/* hh:mm, to 24:00. */
static bool read_time(reader *r, int *minute)
{
    const char *from = r->at;
    int hours, minutes;

    if (read_two(r, &hours) && r->at < r->end && *r->at++ == ':' && read_two(r, &minutes) &&
        minutes < 60 && hours * 60 + minutes <= DAY_MINUTES) {
        *minute = hours * 60 + minutes;
        return true;
    }
    r->at = from;
    return fail(r, "a time, 00:00 to 24:00,");
}

static bool read_spans(reader *r, rule *rule)
{
    do {
        span *span = &rule->spans[rule->n];

        if (rule->n++ == SPANS_MAX)
            return fail(r, "no more than 24 spans");
        if (!read_time(r, &span->from))
            return false;
        if (!take(r, '-'))
            return fail(r, "'-'");
        if (!read_time(r, &span->to))
            return false;
        if (span->from == span->to || span->from == DAY_MINUTES)
            return fail(r, "a span that is not empty");
        if (span->to < span->from)
            span->to += DAY_MINUTES;
    } while (take(r, ','));
    return true;
}

static bool read_rule(reader *r, rule *rule)
{
    skip_spaces(r);
    if (is_letter(r)) {
        if (!read_days(r, rule))
            return false;
        skip_spaces(r);
    } else {
        memset(rule->days, true, sizeof rule->days);
    }
    if (r->end - r->at >= 3 && memcmp(r->at, "off", 3) == 0) {
        r->at += 3;
        return true;
    }
    return read_spans(r, rule);
}

/* The spans of each day, and then their minutes: what goes on after midnight stays, whatever the
 * next day's rule is. */
static void fill(cel_weekly *weekly, rule *const of_day[7])
{
    for (int day = 0; day < 7; day++)
        for (size_t i = 0; of_day[day] && i < of_day[day]->n; i++)
            for (int m = of_day[day]->spans[i].from; m < of_day[day]->spans[i].to; m++) {
                int minute = (day * DAY_MINUTES + m) % CEL_WEEK_MINUTES;

                weekly->minutes[minute / 8] |= (uint8_t)(1 << minute % 8);
            }
}

enum { RULES_MAX = 32 };

cel_weekly *cel_weekly_new(const char *text, size_t len, char why[CEL_WHY_SIZE])
{
    reader r = {text, text, text + len, why};
    rule rules[RULES_MAX], *of_day[7] = {NULL};
    cel_weekly *weekly;
    size_t n = 0;

    do {
        if (n == RULES_MAX)
            return fail(&r, "no more than 32 rules"), NULL;
        memset(&rules[n], 0, sizeof rules[n]);
        if (!read_rule(&r, &rules[n]))
            return NULL;
        for (int day = 0; day < 7; day++)
            if (rules[n].days[day])
                of_day[day] = &rules[n];
        n++;
    } while (take(&r, ';'));
    skip_spaces(&r);
    if (r.at < r.end)
        return fail(&r, "';' or the end"), NULL;
    weekly = calloc(1, sizeof *weekly);
    if (!weekly)
        abort();
    fill(weekly, of_day);
    return weekly;
}

void cel_weekly_free(cel_weekly *weekly)
{
    free(weekly);
}

bool cel_weekly_has(const cel_weekly *weekly, int minute)
{
    return weekly->minutes[minute / 8] >> minute % 8 & 1;
}

int cel_week_minute(int64_t seconds, int32_t offset)
{
    /* 1970 began on a Thursday. */
    int64_t minute = (seconds + offset + INT64_C(3) * 86400) % INT64_C(604800);

    return (int)((minute < 0 ? minute + 604800 : minute) / 60);
}
