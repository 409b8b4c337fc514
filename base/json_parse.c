/* base/json_parse.c - JSON text (RFC 8259) to a tree; see json.h.
 *
 * A recursive descent to WM_JSON_DEPTH_MAX. The text is checked to be UTF-8
 * without NUL before anything else, so the scanner looks at ASCII alone. The
 * tree lives in the arena and copies the strings it decodes.
 */
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum { JSON_FEW_MEMBERS = 8 };

typedef struct json_in {
    wm_arena *arena;
    const char *start, *at, *end;
    int depth;
    wm_err *err;
} json_in;

static wm_code json_fail(const json_in *in, const char *what)
{
    int line = 1, column = 1;

    for (const char *at = in->start; at < in->at; at++) {
        if (*at == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*at & 0xC0) != 0x80) {
            column++;
        }
    }
    return wm_fail(in->err, WM_INVALID, "FIELD_INVALID", "JSON line %d, column %d: %s", line,
                   column, what);
}

static wm_code json_no_room(const json_in *in)
{
    return wm_fail(in->err, WM_EXHAUSTED, "MESSAGE_TOO_LARGE",
                   "the JSON text takes too much memory");
}

static void json_skip_space(json_in *in)
{
    while (in->at < in->end &&
           (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r'))
        in->at++;
}

static bool json_take(json_in *in, char c)
{
    if (in->at == in->end || *in->at != c)
        return false;
    in->at++;
    return true;
}

/* ---- strings ---- */

static bool json_hex4(json_in *in, uint32_t *unit)
{
    uint32_t value = 0;

    if (in->end - in->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = *in->at++;

        if (c >= '0' && c <= '9')
            value = value * 16 + (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            value = value * 16 + (uint32_t)(c - 'A' + 10);
        else
            return false;
    }
    *unit = value;
    return true;
}

static char *json_put_utf8(char *to, uint32_t point)
{
    if (point < 0x80) {
        *to++ = (char)point;
        return to;
    }
    if (point < 0x800) {
        *to++ = (char)(0xC0 | point >> 6);
    } else {
        if (point < 0x10000) {
            *to++ = (char)(0xE0 | point >> 12);
        } else {
            *to++ = (char)(0xF0 | point >> 18);
            *to++ = (char)(0x80 | (point >> 12 & 0x3F));
        }
        *to++ = (char)(0x80 | (point >> 6 & 0x3F));
    }
    *to++ = (char)(0x80 | (point & 0x3F));
    return to;
}

/* After "\u". */
static wm_code json_unicode_escape(json_in *in, char **to)
{
    uint32_t point, low;

    if (!json_hex4(in, &point))
        return json_fail(in, "\\u needs four hexadecimal digits");
    if (point == 0)
        return json_fail(in, "\\u0000 is not allowed");
    if (point >= 0xDC00 && point <= 0xDFFF)
        return json_fail(in, "lone surrogate");
    if (point >= 0xD800 && point <= 0xDBFF) {
        if (!json_take(in, '\\') || !json_take(in, 'u') || !json_hex4(in, &low) || low < 0xDC00 ||
            low > 0xDFFF)
            return json_fail(in, "lone surrogate");
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
    }
    *to = json_put_utf8(*to, point);
    return WM_OK;
}

/* After the backslash. */
static wm_code json_escape(json_in *in, char **to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    const char *found;

    if (json_take(in, 'u'))
        return json_unicode_escape(in, to);
    found = in->at < in->end ? memchr(from, *in->at, sizeof(from) - 1) : NULL;
    if (found == NULL)
        return json_fail(in, "unknown escape");
    in->at++;
    *(*to)++ = into[found - from];
    return WM_OK;
}

/* Where the string's closing quote is, or NULL. Escapes never make it longer. */
static const char *json_string_end(const json_in *in)
{
    const char *at = in->at;

    while (at < in->end && *at != '"')
        at += *at == '\\' ? 2 : 1;
    return at < in->end ? at : NULL;
}

/* After the opening quote. */
static wm_code json_string(json_in *in, const char **text, size_t *len)
{
    const char *end = json_string_end(in);
    char *copy, *to;

    if (end == NULL)
        return json_fail(in, "the string does not end");
    copy = to = wm_arena_try(in->arena, (size_t)(end - in->at) + 1);
    if (copy == NULL)
        return json_no_room(in);
    while (*in->at != '"') {
        char c = *in->at;

        if ((unsigned char)c < 0x20)
            return json_fail(in, "control character in a string");
        in->at++;
        if (c == '\\') {
            wm_code code = json_escape(in, &to);

            if (code != WM_OK)
                return code;
        } else {
            *to++ = c;
        }
    }
    in->at++;
    *to = '\0';
    *text = copy;
    *len = (size_t)(to - copy);
    return WM_OK;
}

/* ---- numbers ---- */

static size_t json_digits(json_in *in)
{
    const char *from = in->at;

    while (in->at < in->end && *in->at >= '0' && *in->at <= '9')
        in->at++;
    return (size_t)(in->at - from);
}

static bool json_scan_number(json_in *in)
{
    json_take(in, '-');
    if (!json_take(in, '0') && json_digits(in) == 0)
        return false;
    if (json_take(in, '.') && json_digits(in) == 0)
        return false;
    if (json_take(in, 'e') || json_take(in, 'E')) {
        if (!json_take(in, '+'))
            json_take(in, '-');
        if (json_digits(in) == 0)
            return false;
    }
    return true;
}

static wm_code json_number(json_in *in, wm_json *json)
{
    const char *from = in->at;
    char *copy;

    if (!json_scan_number(in))
        return json_fail(in, "a value was expected");
    json->kind = WM_JSON_NUMBER;
    json->text_len = (size_t)(in->at - from);
    copy = wm_arena_try(in->arena, json->text_len + 1);
    if (copy == NULL)
        return json_no_room(in);
    memcpy(copy, from, json->text_len);
    copy[json->text_len] = '\0';
    json->text = copy;
    json->number = strtod(copy, NULL);
    return WM_OK;
}

/* ---- values ---- */

static wm_code json_value(json_in *in, wm_json *json);

static wm_json *json_append(json_in *in, wm_json *parent, wm_json **last)
{
    wm_json *child = wm_arena_try(in->arena, sizeof(*child));

    if (child == NULL)
        return NULL;
    memset(child, 0, sizeof(*child));
    if (*last == NULL)
        parent->first = child;
    else
        (*last)->next = child;
    *last = child;
    parent->len++;
    return child;
}

static wm_code json_array(json_in *in, wm_json *json)
{
    wm_json *last = NULL;

    json->kind = WM_JSON_ARRAY;
    json_skip_space(in);
    if (json_take(in, ']'))
        return WM_OK;
    for (;;) {
        wm_json *child = json_append(in, json, &last);
        wm_code code = child != NULL ? json_value(in, child) : json_no_room(in);

        if (code != WM_OK)
            return code;
        if (json_take(in, ']'))
            return WM_OK;
        if (!json_take(in, ','))
            return json_fail(in, "',' or ']' was expected");
    }
}

static int json_compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Few members are compared in pairs, many are sorted: a hostile object costs n log n. */
static wm_code json_check_names(json_in *in, const wm_json *object)
{
    const char **names;
    size_t i = 0;

    if (object->len < 2)
        return WM_OK;
    if (object->len <= JSON_FEW_MEMBERS) {
        for (const wm_json *a = object->first; a != NULL; a = a->next)
            for (const wm_json *b = a->next; b != NULL; b = b->next)
                if (strcmp(a->name, b->name) == 0)
                    return json_fail(in, "a name comes twice in the object that ends here");
        return WM_OK;
    }
    names = wm_arena_try(in->arena, object->len * sizeof(*names));
    if (names == NULL)
        return json_no_room(in);
    for (const wm_json *a = object->first; a != NULL; a = a->next)
        names[i++] = a->name;
    qsort(names, object->len, sizeof(*names), json_compare_names);
    for (i = 1; i < object->len; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return json_fail(in, "a name comes twice in the object that ends here");
    return WM_OK;
}

static wm_code json_member(json_in *in, wm_json *object, wm_json **last)
{
    wm_json *child;
    wm_code code;
    size_t len;

    json_skip_space(in);
    if (!json_take(in, '"'))
        return json_fail(in, "a name in quotes was expected");
    child = json_append(in, object, last);
    if (child == NULL)
        return json_no_room(in);
    code = json_string(in, &child->name, &len);
    if (code != WM_OK)
        return code;
    json_skip_space(in);
    if (!json_take(in, ':'))
        return json_fail(in, "':' was expected");
    return json_value(in, child);
}

static wm_code json_object(json_in *in, wm_json *json)
{
    wm_json *last = NULL;

    json->kind = WM_JSON_OBJECT;
    json_skip_space(in);
    if (json_take(in, '}'))
        return WM_OK;
    for (;;) {
        wm_code code = json_member(in, json, &last);

        if (code != WM_OK)
            return code;
        if (json_take(in, '}'))
            return json_check_names(in, json);
        if (!json_take(in, ','))
            return json_fail(in, "',' or '}' was expected");
    }
}

static wm_code json_word(json_in *in, wm_json *json)
{
    static const struct {
        const char *text;
        wm_json_kind kind;
        bool boolean;
    } words[] = {{"true", WM_JSON_BOOL, true},
                 {"false", WM_JSON_BOOL, false},
                 {"null", WM_JSON_NULL, false}};

    for (size_t i = 0; i < WM_ARRAY_LEN(words); i++) {
        size_t len = strlen(words[i].text);

        if ((size_t)(in->end - in->at) >= len && memcmp(in->at, words[i].text, len) == 0) {
            in->at += len;
            json->kind = words[i].kind;
            json->boolean = words[i].boolean;
            return WM_OK;
        }
    }
    return json_number(in, json);
}

static wm_code json_nested(json_in *in, wm_json *json, bool object)
{
    wm_code code;

    if (in->depth == WM_JSON_DEPTH_MAX)
        return json_fail(in, "nested deeper than 64");
    in->depth++;
    code = object ? json_object(in, json) : json_array(in, json);
    in->depth--;
    return code;
}

/* Skips the space on both sides of the value. */
static wm_code json_value(json_in *in, wm_json *json)
{
    wm_code code;

    json_skip_space(in);
    if (json_take(in, '{')) {
        code = json_nested(in, json, true);
    } else if (json_take(in, '[')) {
        code = json_nested(in, json, false);
    } else if (json_take(in, '"')) {
        json->kind = WM_JSON_STRING;
        code = json_string(in, &json->text, &json->text_len);
    } else {
        code = json_word(in, json);
    }
    json_skip_space(in);
    return code;
}

wm_code wm_json_parse(wm_arena *arena, const char *text, size_t len, wm_json **json, wm_err *err)
{
    json_in in = {arena, text, text, text + len, 0, err};
    wm_json *root;
    wm_code code;

    switch (wm_utf8_check(text, len)) {
    case WM_UTF8_BAD:
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "the JSON text is not valid UTF-8");
    case WM_UTF8_NUL:
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "the JSON text holds a NUL character");
    case WM_UTF8_OK:
        break;
    }
    root = wm_arena_try(arena, sizeof(*root));
    if (root == NULL)
        return json_no_room(&in);
    memset(root, 0, sizeof(*root));
    code = json_value(&in, root);
    if (code != WM_OK)
        return code;
    if (in.at != in.end)
        return json_fail(&in, "text after the value");
    *json = root;
    return WM_OK;
}

const wm_json *wm_json_find(const wm_json *object, const char *name)
{
    if (object->kind != WM_JSON_OBJECT)
        return NULL;
    for (const wm_json *child = object->first; child != NULL; child = child->next) {
        if (strcmp(child->name, name) == 0)
            return child;
    }
    return NULL;
}
