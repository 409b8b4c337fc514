/* cel/print.c - values as texts: CEL literals for people, JSON for programs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "server/cel/internal.h"
#include "server/cel/lexer.h"
#include "server/cel/net.h"

void cel_quote(wm_buf *buf, const char *text, size_t len, bool bytes)
{
    static const char plain[] = "\a\b\f\n\r\t\v\\\"";
    static const char names[] = "abfnrtv\\\"";

    wm_buf_char(buf, '"');
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        const char *at = c ? strchr(plain, c) : NULL;

        if (at)
            wm_buf_printf(buf, "\\%c", names[at - plain]);
        else if (c < ' ' || c == 0x7f || (bytes && c >= 0x80))
            wm_buf_printf(buf, "\\x%02x", c);
        else
            wm_buf_char(buf, (char)c);
    }
    wm_buf_char(buf, '"');
}

static void print_double(wm_buf *buf, double real)
{
    char text[32];

    if (!isfinite(real)) {
        wm_buf_printf(buf, "double(\"%s\")", isnan(real) ? "NaN" : real > 0 ? "inf" : "-inf");
        return;
    }
    cel_double_text(real, text);
    wm_buf_text(buf, text);
    if (!strpbrk(text, ".e"))
        wm_buf_text(buf, ".0");
}

/* Values that one constructor call with a text makes. */
static void print_made(wm_buf *buf, const cel_value *value)
{
    char text[64];

    switch (value->kind) {
    case CEL_TIMESTAMP:
        cel_timestamp_text(value, text);
        wm_buf_printf(buf, "timestamp(\"%s\")", text);
        return;
    case CEL_DURATION:
        cel_duration_text(value->as.integer, text);
        wm_buf_printf(buf, "duration(\"%s\")", text);
        return;
    default:
        cel_net_text(value, text);
        wm_buf_printf(buf, "%s(\"%s\")", value->kind == CEL_IP ? "ip" : "cidr", text);
    }
}

static void print_scalar(wm_buf *buf, const cel_value *value)
{
    switch (value->kind) {
    case CEL_NULL:
        wm_buf_text(buf, "null");
        return;
    case CEL_BOOL:
        wm_buf_text(buf, value->as.boolean ? "true" : "false");
        return;
    case CEL_INT:
        wm_buf_printf(buf, "%lld", (long long)value->as.integer);
        return;
    case CEL_UINT:
        wm_buf_printf(buf, "%lluu", (unsigned long long)value->as.natural);
        return;
    case CEL_DOUBLE:
        print_double(buf, value->as.real);
        return;
    case CEL_STRING:
        cel_quote(buf, value->as.text, value->len, false);
        return;
    case CEL_BYTES:
        wm_buf_char(buf, 'b');
        cel_quote(buf, value->as.text, value->len, true);
        return;
    case CEL_TYPE:
        wm_buf_text(buf, value->as.text);
        return;
    case CEL_ERROR:
        wm_buf_printf(buf, "error(%s)", value->as.error->message);
        return;
    default:
        print_made(buf, value);
    }
}

static void print_value(wm_buf *buf, const cel_value *value, wm_arena *arena, int depth)
{
    const cel_entry *entries;

    if (depth > CEL_DEPTH_MAX || buf->failed) {
        wm_buf_text(buf, "...");
        return;
    }
    switch (value->kind) {
    case CEL_LIST:
        wm_buf_char(buf, '[');
        for (uint32_t i = 0; i < value->as.list->len && !buf->failed; i++) {
            wm_buf_text(buf, i > 0 ? ", " : "");
            print_value(buf, &value->as.list->items[i], arena, depth + 1);
        }
        wm_buf_char(buf, ']');
        return;
    case CEL_MAP:
        entries = cel_map_entries(value->as.map, arena);
        wm_buf_char(buf, '{');
        for (uint32_t i = 0; entries && i < value->as.map->len && !buf->failed; i++) {
            wm_buf_text(buf, i > 0 ? ", " : "");
            print_value(buf, &entries[i].key, arena, depth + 1);
            wm_buf_text(buf, ": ");
            print_value(buf, &entries[i].value, arena, depth + 1);
        }
        wm_buf_char(buf, '}');
        return;
    case CEL_OPTIONAL:
        wm_buf_text(buf, value->as.optional ? "optional.of(" : "optional.none()");
        if (value->as.optional) {
            print_value(buf, value->as.optional, arena, depth + 1);
            wm_buf_char(buf, ')');
        }
        return;
    default:
        print_scalar(buf, value);
    }
}

void cel_value_print(wm_buf *buf, const cel_value *value)
{
    wm_arena arena;

    wm_arena_init(&arena, 0);
    print_value(buf, value, &arena, 0);
    wm_arena_free(&arena);
}

void cel_literal_print(wm_buf *buf, const cel_value *value)
{
    cel_value_print(buf, value);
}

/* ---- JSON ---- */

static void json_scalar(wm_buf *buf, const cel_value *value)
{
    char text[64];

    switch (value->kind) {
    case CEL_NULL:
    case CEL_BOOL:
        print_scalar(buf, value);
        return;
    case CEL_INT:
        wm_buf_printf(buf, "%lld", (long long)value->as.integer);
        return;
    case CEL_UINT:
        wm_buf_printf(buf, "%llu", (unsigned long long)value->as.natural);
        return;
    case CEL_DOUBLE:
        wm_json_write_double(buf, value->as.real);
        return;
    case CEL_STRING:
        wm_json_write_string(buf, value->as.text, value->len);
        return;
    case CEL_BYTES:
        wm_buf_char(buf, '"');
        cel_base64_put(buf, value->as.text, value->len);
        wm_buf_char(buf, '"');
        return;
    case CEL_TYPE:
        wm_json_write_string(buf, value->as.text, strlen(value->as.text));
        return;
    case CEL_TIMESTAMP:
        cel_timestamp_text(value, text);
        break;
    case CEL_DURATION:
        cel_duration_text(value->as.integer, text);
        break;
    case CEL_IP:
    case CEL_CIDR:
        cel_net_text(value, text);
        break;
    default:
        wm_buf_text(buf, "null");
        return;
    }
    wm_json_write_string(buf, text, strlen(text));
}

/* JSON has no keys but texts. */
static void json_key(wm_buf *buf, const cel_value *key)
{
    wm_buf inner;

    if (key->kind == CEL_STRING) {
        json_scalar(buf, key);
        return;
    }
    wm_buf_init(&inner, 64);
    json_scalar(&inner, key);
    wm_json_write_string(buf, inner.data ? inner.data : "", inner.size);
    wm_buf_free(&inner);
}

static void json_value(wm_buf *buf, const cel_value *value, wm_arena *arena, int depth)
{
    const cel_entry *entries;

    if (depth > CEL_DEPTH_MAX) {
        wm_buf_text(buf, "null");
    } else if (value->kind == CEL_LIST) {
        wm_buf_char(buf, '[');
        for (uint32_t i = 0; i < value->as.list->len && !buf->failed; i++) {
            wm_buf_text(buf, i > 0 ? "," : "");
            json_value(buf, &value->as.list->items[i], arena, depth + 1);
        }
        wm_buf_char(buf, ']');
    } else if (value->kind == CEL_MAP) {
        entries = cel_map_entries(value->as.map, arena);
        wm_buf_char(buf, '{');
        for (uint32_t i = 0; entries && i < value->as.map->len && !buf->failed; i++) {
            wm_buf_text(buf, i > 0 ? "," : "");
            json_key(buf, &entries[i].key);
            wm_buf_char(buf, ':');
            json_value(buf, &entries[i].value, arena, depth + 1);
        }
        wm_buf_char(buf, '}');
    } else if (value->kind == CEL_OPTIONAL && value->as.optional) {
        json_value(buf, value->as.optional, arena, depth + 1);
    } else {
        json_scalar(buf, value);
    }
}

void cel_value_json(wm_buf *buf, const cel_value *value)
{
    wm_arena arena;

    wm_arena_init(&arena, 0);
    json_value(buf, value, &arena, 0);
    wm_arena_free(&arena);
}
