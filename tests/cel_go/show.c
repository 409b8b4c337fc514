/* cel_go/show.c - values as comparable text. See show.h; peer/show.go is its other half. */
#include "tests/cel_go/show.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *text_of(const cel_value *value, wm_arena *arena)
{
    wm_buf buf;
    char *text;

    wm_buf_init(&buf, 1 << 20);
    cel_go_show(&buf, value, arena);
    text = wm_arena_strdup(arena, buf.data);
    wm_buf_free(&buf);
    return text;
}

/* A map has no order: its entries are sorted by their text. */
static void show_map(wm_buf *out, const cel_map *map, wm_arena *arena)
{
    const cel_entry *entries = map->entries;
    char **texts = WM_NEW_ARRAY(arena, char *, map->len + 1);

    if (entries == NULL && map->len > 0)
        entries = map->ops->entries(map, arena);
    for (uint32_t i = 0; i < map->len; i++)
        texts[i] = wm_arena_printf(arena, "%s:%s", text_of(&entries[i].key, arena),
                                   text_of(&entries[i].value, arena));
    qsort(texts, map->len, sizeof(*texts), compare_texts);
    wm_buf_char(out, '{');
    for (uint32_t i = 0; i < map->len; i++)
        wm_buf_printf(out, "%s%s", i > 0 ? "," : "", texts[i]);
    wm_buf_char(out, '}');
}

static void show_list(wm_buf *out, const cel_list *list, wm_arena *arena)
{
    wm_buf_char(out, '[');
    for (uint32_t i = 0; i < list->len; i++) {
        if (i > 0)
            wm_buf_char(out, ',');
        cel_go_show(out, &list->items[i], arena);
    }
    wm_buf_char(out, ']');
}

static void show_double(wm_buf *out, double real)
{
    uint64_t bits;

    memcpy(&bits, &real, sizeof(bits));
    if (isnan(real))
        wm_buf_text(out, "dnan");
    else
        wm_buf_printf(out, "d%016llx", (unsigned long long)bits);
}

static void show_bytes(wm_buf *out, const cel_value *value)
{
    for (uint32_t i = 0; i < value->len; i++)
        wm_buf_printf(out, "%02x", (unsigned char)value->as.text[i]);
}

void cel_go_show(wm_buf *out, const cel_value *value, wm_arena *arena)
{
    switch ((cel_kind)value->kind) {
    case CEL_NULL:
        wm_buf_text(out, "null");
        break;
    case CEL_BOOL:
        wm_buf_text(out, value->as.boolean ? "true" : "false");
        break;
    case CEL_INT:
        wm_buf_printf(out, "i%lld", (long long)value->as.integer);
        break;
    case CEL_UINT:
        wm_buf_printf(out, "u%llu", (unsigned long long)value->as.natural);
        break;
    case CEL_DOUBLE:
        show_double(out, value->as.real);
        break;
    case CEL_STRING:
        wm_buf_char(out, 's');
        show_bytes(out, value);
        break;
    case CEL_BYTES:
        wm_buf_char(out, 'y');
        show_bytes(out, value);
        break;
    case CEL_LIST:
        show_list(out, value->as.list, arena);
        break;
    case CEL_MAP:
        show_map(out, value->as.map, arena);
        break;
    case CEL_TIMESTAMP:
        wm_buf_printf(out, "t%lld.%u", (long long)value->as.integer, value->len);
        break;
    case CEL_DURATION:
        wm_buf_printf(out, "D%lld", (long long)value->as.integer);
        break;
    case CEL_TYPE:
        wm_buf_printf(out, "T%s", value->as.text);
        break;
    case CEL_OPTIONAL:
        wm_buf_text(out, "O(");
        if (value->as.optional != NULL)
            cel_go_show(out, value->as.optional, arena);
        wm_buf_char(out, ')');
        break;
    case CEL_IP:
    case CEL_CIDR:
        wm_buf_char(out, value->kind == CEL_IP ? 'I' : 'C');
        cel_value_print(out, value);
        break;
    case CEL_ERROR:
    case CEL_ABSENT:
        wm_buf_char(out, 'E');
        break;
    }
}
