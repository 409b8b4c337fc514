/* cel/fn_weekly.c - time.in_weekly(): whether a time is in a calendar of a week, by the clocks of a
 * place. An hour that clocks show twice counts twice, one that they leave out never comes. */
#include "server/cel/time.h"
#include "server/cel/weekly.h"

enum { WEEKLY_SIZE_MAX = 1000, WEEKLY_COST = 2000 };

static cel_value wrong_calendar(cel_call *call, const char *why)
{
    return cel_fail(call, CEL_ERROR_ARGUMENT, "the calendar is wrong: %s", why);
}

static cel_value in_weekly(cel_call *call, const cel_value *args, size_t n)
{
    cel_weekly *made = NULL;
    const cel_weekly *weekly = call->at ? call->at->prepared : NULL;
    char why[CEL_WHY_SIZE] = "it is too long";
    cel_value value;
    int32_t offset;

    (void)n;
    if (!cel_zone_offset(args[2].as.text, args[2].len, args[0].as.integer, &offset)) {
        call->cost += CEL_ZONE_COST;
        return cel_fail(call, CEL_ERROR_ARGUMENT, "unknown time zone '%.*s'",
                        args[2].len > 60 ? 60 : (int)args[2].len, args[2].as.text);
    }
    if (!weekly) {
        call->cost += WEEKLY_COST;
        if (args[1].len <= WEEKLY_SIZE_MAX)
            weekly = made = cel_weekly_new(args[1].as.text, args[1].len, why);
    }
    value = weekly
                ? cel_of_bool(cel_weekly_has(weekly, cel_week_minute(args[0].as.integer, offset)))
                : wrong_calendar(call, why);
    cel_weekly_free(made);
    return value;
}

CEL_TABLE(cel_fn_weekly, {"time.in_weekly", false, false, "tss", "b", in_weekly});
