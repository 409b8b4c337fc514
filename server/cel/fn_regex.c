/* cel/fn_regex.c - matches, and the regex extension. A constant pattern was compiled with the
 * program; any other is compiled for the call, and paid for. Each search is paid as if it went to
 * the end of the text, because it may, whatever it finds. */
#include "server/cel/internal.h"
#include "server/cel/regex.h"

#include <string.h>

#define FN(name) static cel_value name(cel_call *call, const cel_value *args, size_t n)

enum { PATTERN_MAX = 4096, PATTERN_COST = 2000, INSTRUCTION_COST = 12 };

/* The pattern args[1]; `made` must be freed by the caller. NULL with the error. */
static const cel_regex *pattern_open(cel_call *call, const cel_value *args, cel_regex **made,
                                     cel_value *error)
{
    char why[120] = "too long";

    *made = NULL;
    if (call->at && call->at->regex)
        return call->at->regex;
    call->cost += PATTERN_COST + args[1].len;
    if (args[1].len <= PATTERN_MAX && call->cost <= call->limit)
        *made = cel_regex_new(args[1].as.text, args[1].len, why, sizeof why);
    if (*made)
        call->cost += (uint64_t)cel_regex_size(*made) * INSTRUCTION_COST;
    if (!*made)
        *error = cel_fail(call, CEL_ERROR_ARGUMENT, "the pattern is wrong: %s", why);
    return *made;
}

FN(matches)
{
    cel_value value;
    cel_regex *made;
    const cel_regex *regex = pattern_open(call, args, &made, &value);

    (void)n;
    if (regex)
        value = cel_spend(call, cel_regex_cost(regex, args[0].len, false))
                    ? cel_of_bool(cel_regex_find(regex, args[0].as.text, args[0].len, 0, NULL, 0))
                    : cel_fail_cost(call);
    cel_regex_free(made);
    return value;
}

/* The matches of a text, one after another. */
typedef struct search {
    cel_call *call;
    const cel_regex *regex;
    const cel_value *text;
    size_t from;
    const char *last_end; /* of the last match, or NULL */
    cel_span spans[CEL_REGEX_GROUPS_MAX];
} search;

/* False when there are no more, or no more can be paid. */
static bool find(search *s)
{
    size_t left = s->text->len - s->from;
    bool groups = cel_regex_groups(s->regex) > 0;

    memset(s->spans, 0, sizeof s->spans);
    return cel_spend(s->call, 4 + cel_regex_cost(s->regex, left, groups)) &&
           cel_regex_find(s->regex, s->text->as.text, s->text->len, s->from, s->spans,
                          (size_t)cel_regex_groups(s->regex) + 1);
}

/* Moves behind the character at `from`; false at the end. */
static bool skip_character(search *s)
{
    if (s->from == s->text->len)
        return false;
    do
        s->from++;
    while (s->from < s->text->len && ((unsigned char)s->text->as.text[s->from] & 0xc0) == 0x80);
    return true;
}

/* The next match. An empty one right behind another is none. */
static bool find_next(search *s)
{
    for (;;) {
        const cel_span *match = &s->spans[0];

        if (s->last_end && match->len == 0 && !skip_character(s))
            return false;
        if (!find(s))
            return false;
        s->from = (size_t)(match->text - s->text->as.text) + match->len;
        if (match->len > 0 || match->text != s->last_end) {
            s->last_end = match->text + match->len;
            return true;
        }
    }
}

/* The only group, or the whole match when there is none. */
static cel_span group_of(const cel_regex *regex, const cel_span *spans)
{
    return spans[cel_regex_groups(regex) == 1];
}

static bool too_many_groups(cel_call *call, const cel_regex *regex, cel_value *error)
{
    if (cel_regex_groups(regex) <= 1)
        return false;
    *error = cel_fail(call, CEL_ERROR_ARGUMENT, "the pattern has more than one group");
    return true;
}

static cel_value extract_first(cel_call *call, const cel_regex *regex, const cel_value *args)
{
    search s = {.call = call, .regex = regex, .text = &args[0]};
    cel_value error;
    cel_span group;

    if (too_many_groups(call, regex, &error))
        return error;
    if (!find(&s))
        return call->cost > call->limit ? cel_fail_cost(call) : cel_optional_none();
    group = group_of(regex, s.spans);
    if (!group.text)
        return cel_optional_none();
    return cel_optional_of(call, cel_of_string(group.text, group.len));
}

FN(extract)
{
    cel_value value;
    cel_regex *made;
    const cel_regex *regex = pattern_open(call, args, &made, &value);

    (void)n;
    if (regex)
        value = extract_first(call, regex, args);
    cel_regex_free(made);
    return value;
}

static cel_value extract_each(cel_call *call, const cel_regex *regex, const cel_value *args)
{
    search s = {.call = call, .regex = regex, .text = &args[0]};
    size_t n = 0, room = 8;
    cel_value *items = cel_alloc(call, room * sizeof *items), error;

    if (too_many_groups(call, regex, &error))
        return error;
    while (items && find_next(&s)) {
        cel_span group = group_of(regex, s.spans);

        if (!group.text)
            continue;
        if (n == room) {
            cel_value *larger = cel_alloc(call, room * 2 * sizeof *larger);

            if (larger)
                memcpy(larger, items, n * sizeof *larger);
            items = larger;
            room *= 2;
        }
        if (items)
            items[n++] = cel_of_string(group.text, group.len);
    }
    return items ? cel_list_build(call, items, n) : cel_fail_memory(call);
}

FN(extract_all)
{
    cel_value value;
    cel_regex *made;
    const cel_regex *regex = pattern_open(call, args, &made, &value);

    (void)n;
    if (regex)
        value = extract_each(call, regex, args);
    cel_regex_free(made);
    return value;
}

/* Adds the replacement with its \1 and \\; false when it names a group that is not there. */
static bool add_replacement(wm_buf *buf, const cel_value *with, const cel_span *spans, int groups)
{
    for (uint32_t i = 0; i < with->len; i++) {
        char c = with->as.text[i];

        if (c != '\\') {
            wm_buf_char(buf, c);
            continue;
        }
        c = ++i < with->len ? with->as.text[i] : 0;
        if (c == '\\') {
            wm_buf_char(buf, c);
        } else if (c >= '0' && c <= '9' && c - '0' <= groups) {
            const cel_span *span = &spans[c - '0'];

            wm_buf_add(buf, span->text ? span->text : "", span->text ? span->len : 0);
        } else {
            return false;
        }
    }
    return true;
}

static cel_value replace_with(cel_call *call, const cel_regex *regex, const cel_value *args,
                              int64_t limit)
{
    search s = {.call = call, .regex = regex, .text = &args[0]};
    const char *text = args[0].as.text;
    size_t copied = 0;
    bool fine = true;
    wm_buf buf;

    wm_buf_init(&buf, 16 * 1024 * 1024);
    for (int64_t i = 0; (limit < 0 || i < limit) && find_next(&s); i++) {
        wm_buf_add(&buf, text + copied, (size_t)(s.spans[0].text - text) - copied);
        fine = fine && add_replacement(&buf, &args[2], s.spans, cel_regex_groups(regex));
        copied = s.from;
    }
    wm_buf_add(&buf, text + copied, args[0].len - copied);
    call->cost += buf.size / 16;
    if (!fine) {
        wm_buf_free(&buf);
        return cel_fail(call, CEL_ERROR_ARGUMENT,
                        "the replacement names a group that is not there");
    }
    return cel_string_from(call, &buf);
}

FN(replace)
{
    cel_value value;
    cel_regex *made;
    const cel_regex *regex = pattern_open(call, args, &made, &value);

    if (regex)
        value = replace_with(call, regex, args, n == 4 ? args[3].as.integer : -1);
    cel_regex_free(made);
    return value;
}

CEL_TABLE(cel_fn_regex, {"matches", true, false, "ss", "b", matches},
          {"matches", false, false, "ss", "b", matches},
          {"regex.extract", false, false, "ss", "Os", extract},
          {"regex.extractAll", false, false, "ss", "Ls", extract_all},
          {"regex.replace", false, false, "sss", "s", replace},
          {"regex.replace", false, false, "sssi", "s", replace});
