/* cel/value_text.c - JSON text as values, without a tree: a guard over a large document touches
 * what it names.
 *
 * An object is a view that goes through its text when a name is asked for; what lies between is
 * skipped, not decoded. A list becomes an array when it is touched. Texts without escapes point
 * into the document.
 *
 * The document is valid, as what comes from a jsonb column is. Of anything else some value is made,
 * but nothing is read behind its end.
 */
#include <stdlib.h>
#include <string.h>

#include "server/cel/internal.h"

enum { BYTES_PER_UNIT = 8 }; /* that are gone through for a work unit */

/* A place in the document. */
typedef struct reader {
    const char *at, *end;
    wm_arena *arena;
} reader;

typedef struct text_object {
    cel_map map;
    const char *at, *end; /* behind the '{', to the end of the document */
    int depth;
} text_object;

static cel_value read_value(reader *r, int depth);

static void skip_spaces(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static bool take(reader *r, char c)
{
    skip_spaces(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

/* ---- texts ---- */

typedef struct raw_text {
    const char *text;
    size_t len;
    bool escaped;
} raw_text;

/* The text between its quotes, as it is written. False when there is none. */
static bool read_raw(reader *r, raw_text *raw)
{
    const char *from;

    if (!take(r, '"'))
        return false;
    from = r->at;
    raw->escaped = false;
    while (r->at < r->end && *r->at != '"') {
        bool escape = *r->at == '\\';

        raw->escaped |= escape;
        r->at += escape && r->end - r->at > 1 ? 2 : 1;
    }
    raw->text = from;
    raw->len = (size_t)(r->at - from);
    r->at += r->at < r->end;
    return true;
}

static uint32_t hex_digits(const char *at)
{
    uint32_t code = 0;

    for (int i = 0; i < 4; i++) {
        char c = at[i];

        code = code * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return code & 0xffff;
}

static size_t put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xc0 | code >> 6);
        to[1] = (char)(0x80 | (code & 63));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (char)(0xe0 | code >> 12);
        to[1] = (char)(0x80 | (code >> 6 & 63));
        to[2] = (char)(0x80 | (code & 63));
        return 3;
    }
    to[0] = (char)(0xf0 | code >> 18);
    to[1] = (char)(0x80 | (code >> 12 & 63));
    to[2] = (char)(0x80 | (code >> 6 & 63));
    to[3] = (char)(0x80 | (code & 63));
    return 4;
}

/* The code point of \uXXXX at `at`, with the other half of a pair; what is taken. */
static size_t read_unicode(const char *at, const char *end, uint32_t *code)
{
    uint32_t low;

    *code = 0xfffd;
    if (end - at < 6)
        return (size_t)(end - at);
    *code = hex_digits(at + 2);
    if (*code < 0xd800 || *code > 0xdfff)
        return 6;
    low =
        *code < 0xdc00 && end - at >= 12 && at[6] == '\\' && at[7] == 'u' ? hex_digits(at + 8) : 0;
    if (low < 0xdc00 || low > 0xdfff) {
        *code = 0xfffd;
        return 6;
    }
    *code = 0x10000 + ((*code - 0xd800) << 10 | (low - 0xdc00));
    return 12;
}

/* Decoding never makes a text longer. */
static cel_value decode(reader *r, const raw_text *raw)
{
    static const char names[] = "bfnrt", bytes[] = "\b\f\n\r\t";
    const char *at = raw->text, *end = at + raw->len, *name;
    char *text, *to;
    uint32_t code;

    if (!raw->escaped)
        return cel_of_string(raw->text, raw->len);
    text = to = wm_arena_alloc(r->arena, raw->len + 1);
    if (!text)
        return cel_of_string("", 0);
    while (at < end) {
        if (*at != '\\' || end - at < 2) {
            *to++ = *at++;
        } else if (at[1] == 'u') {
            at += read_unicode(at, end, &code);
            to += put_utf8(to, code);
        } else {
            name = at[1] ? strchr(names, at[1]) : NULL;
            *to++ = name ? bytes[name - names] : at[1];
            at += 2;
        }
    }
    return cel_of_string(text, (size_t)(to - text));
}

/* ---- skipping ---- */

/* Over a value, however deep. */
static void skip_value(reader *r)
{
    int64_t depth = 0;
    raw_text raw;

    skip_spaces(r);
    while (r->at < r->end) {
        char c = *r->at;

        if (c == '"') {
            read_raw(r, &raw);
        } else if (c == '{' || c == '[') {
            depth++;
            r->at++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return;
            depth--;
            r->at++;
        } else if (c == ',' && depth == 0) {
            return;
        } else {
            r->at++;
            continue;
        }
        if (depth == 0)
            return;
    }
}

/* ---- objects ---- */

/* The next member's name, with the reader in front of its value; false behind the last one. */
static bool next_member(reader *r, raw_text *name, bool first)
{
    return (first || take(r, ',')) && read_raw(r, name) && take(r, ':');
}

static bool name_is(reader *r, const raw_text *name, const char *key, size_t len)
{
    cel_value text;

    if (!name->escaped)
        return name->len == len && memcmp(name->text, key, len) == 0;
    text = decode(r, name);
    return text.len == len && memcmp(text.as.text, key, len) == 0;
}

static bool object_find(const cel_map *map, wm_arena *arena, const char *key, size_t len,
                        cel_value *value)
{
    const text_object *object = map->data;
    reader r = {object->at, object->end, arena};
    raw_text name;

    for (bool first = true; next_member(&r, &name, first); first = false) {
        if (name_is(&r, &name, key, len)) {
            *value = read_value(&r, object->depth + 1);
            return true;
        }
        skip_value(&r);
    }
    return false;
}

static const cel_entry *object_entries(const cel_map *map, wm_arena *arena)
{
    const text_object *object = map->data;
    reader r = {object->at, object->end, arena};
    cel_entry *entries = wm_arena_array(arena, map->len + 1u, sizeof *entries);
    raw_text name;
    size_t n = 0;

    for (bool first = true; entries && n < map->len && next_member(&r, &name, first);
         first = false) {
        entries[n].key = decode(&r, &name);
        entries[n++].value = read_value(&r, object->depth + 1);
    }
    return entries;
}

static const cel_map_ops object_ops = {object_find, object_entries};

/* Behind the '{': counts the members and goes behind the '}'. */
static cel_value read_object(reader *r, int depth)
{
    text_object *object = wm_arena_alloc(r->arena, sizeof *object);
    raw_text name;
    uint32_t n = 0;

    if (!object)
        return cel_of_null();
    *object = (text_object){.at = r->at, .end = r->end, .depth = depth};
    while (next_member(r, &name, n == 0)) {
        skip_value(r);
        n++;
    }
    take(r, '}');
    object->map = (cel_map){.len = n,
                            .mask = (uint32_t)((size_t)(r->at - object->at) / BYTES_PER_UNIT),
                            .ops = &object_ops,
                            .data = object};
    return cel_of_map(&object->map);
}

/* ---- lists and scalars ---- */

static cel_value read_list(reader *r, int depth)
{
    size_t n = 0, room = 8;
    cel_value *items = wm_arena_array(r->arena, room, sizeof *items);

    while (items && r->at < r->end && !take(r, ']')) {
        if (n == room) {
            cel_value *larger = wm_arena_array(r->arena, room * 2, sizeof *larger);

            if (larger)
                memcpy(larger, items, n * sizeof *larger);
            items = larger;
            room *= 2;
        }
        if (items)
            items[n++] = read_value(r, depth + 1);
        if (!take(r, ',')) {
            take(r, ']');
            break;
        }
    }
    return cel_list_value(r->arena, items, items ? n : 0);
}

static cel_value read_number(reader *r)
{
    const char *from = r->at;
    char text[64], *copy = text;
    size_t len;

    skip_value(r);
    len = (size_t)(r->at - from);
    if (len >= sizeof text)
        copy = wm_arena_alloc(r->arena, len + 1);
    if (!copy)
        return cel_of_null();
    memcpy(copy, from, len);
    copy[len] = 0;
    return cel_of_double(strtod(copy, NULL));
}

static cel_value read_value(reader *r, int depth)
{
    cel_value value = cel_of_null();
    raw_text raw;
    char first;

    skip_spaces(r);
    first = r->at < r->end ? *r->at : 0;
    if (first == '"')
        return read_raw(r, &raw) ? decode(r, &raw) : value;
    if (first == '-' || (first >= '0' && first <= '9'))
        return read_number(r);
    if ((first == '{' || first == '[') && depth < WM_JSON_DEPTH_MAX) {
        r->at++;
        return first == '{' ? read_object(r, depth) : read_list(r, depth);
    }
    if (first == 't' || first == 'f')
        value = cel_of_bool(first == 't');
    skip_value(r);
    return value;
}

cel_value cel_json_text(wm_arena *arena, const char *text, size_t len)
{
    reader r = {text, text + len, arena};

    return read_value(&r, 0);
}
