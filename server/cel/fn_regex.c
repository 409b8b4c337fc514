/* cel/fn_regex.c - matches, and the regex extension. A constant pattern was compiled with the
 * program; any other is compiled for the call, and paid for. */
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
    call->cost += args[0].len / 4;
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
        value = cel_of_bool(cel_regex_find(regex, args[0].as.text, args[0].len, 0, NULL, 0));
    cel_regex_free(made);
    return value;
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
    cel_span spans[2], group;
    cel_value error;

    if (too_many_groups(call, regex, &error))
        return error;
    if (!cel_regex_find(regex, args[0].as.text, args[0].len, 0, spans, 2))
        return cel_optional_none();
    group = group_of(regex, spans);
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

/* Where to look on after a match: an empty one moves by a character. */
static size_t after_match(const cel_value *text, const cel_span *span)
{
    size_t end = (size_t)(span->text - text->as.text) + span->len;

    if (span->len > 0)
        return end;
    do
        end++;
    while (end < text->len && ((unsigned char)text->as.text[end] & 0xc0) == 0x80);
    return end;
}

static cel_value extract_each(cel_call *call, const cel_regex *regex, const cel_value *args)
{
    size_t n = 0, room = 8, from = 0;
    cel_value *items = cel_alloc(call, room * sizeof *items), error;
    cel_span spans[2], group;

    if (too_many_groups(call, regex, &error))
        return error;
    while (items && from <= args[0].len && cel_spend(call, 4) &&
           cel_regex_find(regex, args[0].as.text, args[0].len, from, spans, 2)) {
        group = group_of(regex, spans);
        from = after_match(&args[0], &spans[0]);
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
    cel_span spans[CEL_REGEX_GROUPS_MAX];
    const char *text = args[0].as.text;
    size_t from = 0, copied = 0;
    bool fine = true;
    wm_buf buf;

    wm_buf_init(&buf, 16 * 1024 * 1024);
    for (int64_t i = 0; (limit < 0 || i < limit) && from <= args[0].len && cel_spend(call, 4);
         i++) {
        memset(spans, 0, sizeof spans);
        if (!cel_regex_find(regex, text, args[0].len, from, spans, CEL_REGEX_GROUPS_MAX))
            break;
        wm_buf_add(&buf, text + copied, (size_t)(spans[0].text - text) - copied);
        fine = fine && add_replacement(&buf, &args[2], spans, cel_regex_groups(regex));
        copied = (size_t)(spans[0].text - text) + spans[0].len;
        from = after_match(&args[0], &spans[0]);
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
