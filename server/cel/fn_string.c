/* cel/fn_string.c - the strings extension, but for format(). Positions are code points. */
#include <string.h>

#include "server/cel/internal.h"
#include "server/cel/lexer.h"

#define FN(name) static cel_value name(cel_call *call, const cel_value *args, size_t n)

enum { STRING_SIZE_MAX = 16 * 1024 * 1024 };

/* The byte where code point `index` begins; text->len for the end; -1 beyond it. */
static int64_t byte_of(const cel_value *text, int64_t index)
{
    size_t at = 0;

    if (index < 0)
        return -1;
    while (index > 0 && at < text->len) {
        at++;
        while (at < text->len && ((unsigned char)text->as.text[at] & 0xc0) == 0x80)
            at++;
        index--;
    }
    return index > 0 ? -1 : (int64_t)at;
}

static cel_value out_of_range(cel_call *call, int64_t index)
{
    return cel_fail(call, CEL_ERROR_ARGUMENT, "index out of range: %lld", (long long)index);
}

FN(char_at)
{
    int64_t at = byte_of(&args[0], args[1].as.integer);
    size_t size = 0;

    (void)n;
    call->cost += args->len / 8;
    if (at < 0)
        return out_of_range(call, args[1].as.integer);
    if ((size_t)at < args->len)
        cel_utf8_get(args->as.text + at, args->len - (size_t)at, &size);
    return cel_of_string(args->as.text + at, size);
}

FN(index_of)
{
    int64_t from = n == 3 ? byte_of(&args[0], args[2].as.integer) : 0;
    const char *text = args[0].as.text, *found;

    call->cost += args->len / 3;
    if (from < 0)
        return out_of_range(call, args[2].as.integer);
    if (args[1].len == 0)
        return cel_of_int(n == 3 ? args[2].as.integer : 0);
    found = memmem(text + from, args[0].len - (size_t)from, args[1].as.text, args[1].len);
    return cel_of_int(found ? (int64_t)cel_utf8_count(text, (size_t)(found - text)) : -1);
}

FN(last_index_of)
{
    int64_t from = n == 3 ? byte_of(&args[0], args[2].as.integer) : (int64_t)args[0].len;
    const char *text = args[0].as.text;
    size_t len = args[1].len;

    call->cost += args->len / 8;
    if (from < 0)
        return out_of_range(call, args[2].as.integer);
    if (len > args[0].len)
        return cel_of_int(-1);
    if (from > (int64_t)(args[0].len - len))
        from = (int64_t)(args[0].len - len);
    /* A comparison may take as long as the text is. */
    for (int64_t at = from; at >= 0 && cel_spend(call, 1 + len / 64); at--)
        if (memcmp(text + at, args[1].as.text, len) == 0)
            return cel_of_int((int64_t)cel_utf8_count(text, (size_t)at));
    return cel_of_int(-1);
}

FN(substring)
{
    int64_t from = byte_of(&args[0], args[1].as.integer);
    int64_t to = n == 3 ? byte_of(&args[0], args[2].as.integer) : (int64_t)args[0].len;

    call->cost += args->len / 8;
    if (from < 0)
        return out_of_range(call, args[1].as.integer);
    if (to < 0)
        return out_of_range(call, args[2].as.integer);
    if (to < from)
        return cel_fail(call, CEL_ERROR_ARGUMENT, "invalid substring range. start: %lld, end: %lld",
                        (long long)args[1].as.integer, (long long)args[2].as.integer);
    return cel_of_string(args->as.text + from, (size_t)(to - from));
}

/* ---- case and space ---- */

static cel_value change_case(cel_call *call, const cel_value *text, char from, char to)
{
    char *copy = cel_alloc(call, text->len);

    if (!copy)
        return cel_fail_memory(call);
    for (uint32_t i = 0; i < text->len; i++) {
        char c = text->as.text[i];

        copy[i] = c >= from && c < from + 26 ? (char)(c - from + to) : c;
    }
    return cel_of_string(copy, text->len);
}

FN(lower_ascii)
{
    (void)n;
    return change_case(call, args, 'A', 'a');
}

FN(upper_ascii)
{
    (void)n;
    return change_case(call, args, 'a', 'A');
}

/* White_Space of Unicode. */
static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

FN(trim)
{
    const char *text = args->as.text;
    size_t from = 0, to = args->len, size;

    (void)n;
    call->cost += args->len / 3;
    while (from < to && is_space(cel_utf8_get(text + from, to - from, &size)))
        from += size;
    while (to > from) {
        size_t last = to - 1;

        while (last > from && ((unsigned char)text[last] & 0xc0) == 0x80)
            last--;
        if (!is_space(cel_utf8_get(text + last, to - last, &size)))
            break;
        to = last;
    }
    return cel_of_string(text + from, to - from);
}

FN(reverse)
{
    char *copy = cel_alloc(call, args->len);
    size_t to = args->len, size;

    (void)n;
    call->cost += args->len / 3;
    if (!copy)
        return cel_fail_memory(call);
    for (size_t at = 0; at < args->len; at += size) {
        cel_utf8_get(args->as.text + at, args->len - at, &size);
        to -= size;
        memcpy(copy + to, args->as.text + at, size);
    }
    return cel_of_string(copy, args->len);
}

/* ---- replace, split, join ---- */

/* Where `what` is next found; an empty one is found before each character and at the end. */
static const char *find_next(const cel_value *text, size_t from, const cel_value *what, bool first)
{
    if (what->len > 0)
        return memmem(text->as.text + from, text->len - from, what->as.text, what->len);
    if (first)
        return text->as.text;
    if (from >= text->len)
        return NULL;
    do
        from++;
    while (from < text->len && ((unsigned char)text->as.text[from] & 0xc0) == 0x80);
    return text->as.text + from;
}

FN(replace)
{
    const cel_value *text = &args[0], *what = &args[1], *with = &args[2];
    int64_t limit = n == 4 ? args[3].as.integer : -1;
    size_t copied = 0;
    wm_buf buf;

    if (limit == 0)
        return *text;
    wm_buf_init(&buf, STRING_SIZE_MAX);
    for (int64_t i = 0; (limit < 0 || i < limit) && cel_spend(call, 1 + with->len / 8); i++) {
        const char *found = find_next(text, copied, what, i == 0);

        if (!found)
            break;
        wm_buf_add(&buf, text->as.text + copied, (size_t)(found - text->as.text) - copied);
        wm_buf_add(&buf, with->as.text, with->len);
        copied = (size_t)(found - text->as.text) + what->len;
    }
    wm_buf_add(&buf, text->as.text + copied, text->len - copied);
    return cel_string_from(call, &buf);
}

/* How many pieces there are at most. */
static size_t count_pieces(const cel_value *text, const cel_value *separator, int64_t limit)
{
    size_t n = 1, from = 0;
    const char *found;

    if (separator->len == 0)
        n = cel_utf8_count(text->as.text, text->len);
    else
        while ((found = memmem(text->as.text + from, text->len - from, separator->as.text,
                               separator->len))) {
            from = (size_t)(found - text->as.text) + separator->len;
            n++;
        }
    return limit >= 0 && n > (uint64_t)limit ? (size_t)limit : n;
}

FN(split)
{
    const cel_value *text = &args[0], *separator = &args[1];
    size_t n_pieces = count_pieces(text, separator, n == 3 ? args[2].as.integer : -1), from = 0;
    cel_value *pieces = cel_alloc(call, n_pieces * sizeof *pieces);

    call->cost += text->len / 8;
    if (!pieces)
        return cel_fail_memory(call);
    for (size_t i = 0; i < n_pieces; i++) {
        size_t len = text->len - from, skip = separator->len;

        if (i + 1 < n_pieces && separator->len > 0)
            len = (size_t)((const char *)memmem(text->as.text + from, text->len - from,
                                                separator->as.text, separator->len) -
                           text->as.text) -
                  from;
        else if (i + 1 < n_pieces)
            cel_utf8_get(text->as.text + from, text->len - from, &len);
        pieces[i] = cel_of_string(text->as.text + from, len);
        from += len + (i + 1 < n_pieces ? skip : 0);
    }
    return cel_list_build(call, pieces, n_pieces);
}

FN(join)
{
    const cel_list *list = args[0].as.list;
    wm_buf buf;

    wm_buf_init(&buf, STRING_SIZE_MAX);
    for (uint32_t i = 0; i < list->len; i++) {
        const cel_value *item = &list->items[i];

        if (item->kind != CEL_STRING || !cel_spend(call, 1 + item->len / 8)) {
            wm_buf_free(&buf);
            return cel_fail_overload(call, "join", item, 1);
        }
        if (i > 0 && n == 2)
            wm_buf_add(&buf, args[1].as.text, args[1].len);
        wm_buf_add(&buf, item->as.text, item->len);
    }
    return cel_string_from(call, &buf);
}

/* The text as a literal; unlike when values are shown, only what must be is escaped. */
FN(quote)
{
    static const char plain[] = "\a\b\f\n\r\t\v\\\"";
    static const char names[] = "abfnrtv\\\"";
    wm_buf buf;

    (void)n;
    call->cost += args->len / 2;
    wm_buf_init(&buf, STRING_SIZE_MAX);
    wm_buf_char(&buf, '"');
    for (uint32_t i = 0; i < args->len; i++) {
        char c = args->as.text[i];
        const char *at = c ? strchr(plain, c) : NULL;

        if (at)
            wm_buf_char(&buf, '\\');
        wm_buf_char(&buf, at ? names[at - plain] : c);
    }
    wm_buf_char(&buf, '"');
    return cel_string_from(call, &buf);
}

CEL_TABLE(cel_fn_string, {"charAt", true, false, "si", "s", char_at},
          {"indexOf", true, false, "ss", "i", index_of},
          {"indexOf", true, false, "ssi", "i", index_of},
          {"lastIndexOf", true, false, "ss", "i", last_index_of},
          {"lastIndexOf", true, false, "ssi", "i", last_index_of},
          {"substring", true, false, "si", "s", substring},
          {"substring", true, false, "sii", "s", substring},
          {"lowerAscii", true, false, "s", "s", lower_ascii},
          {"upperAscii", true, false, "s", "s", upper_ascii}, {"trim", true, false, "s", "s", trim},
          {"reverse", true, false, "s", "s", reverse},
          {"replace", true, false, "sss", "s", replace},
          {"replace", true, false, "sssi", "s", replace}, {"split", true, false, "ss", "Ls", split},
          {"split", true, false, "ssi", "Ls", split}, {"join", true, false, "Ls", "s", join},
          {"join", true, false, "Lss", "s", join},
          {"strings.quote", false, false, "s", "s", quote});
