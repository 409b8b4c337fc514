/* cel/value_json.c - JSON trees as values, made as they are asked for.
 *
 * A list's items are made when the list is touched, one level only; a map stays a view that
 * looks its names up in the tree.
 */
#include <string.h>

#include "server/cel/internal.h"

static const cel_entry *json_entries(const cel_map *map, wm_arena *arena)
{
    const wm_json *json = map->data;
    cel_entry *entries = wm_arena_array(arena, map->len + 1u, sizeof *entries);
    size_t n = 0;

    for (const wm_json *member = json->first; entries && member; member = member->next)
        entries[n++] = (cel_entry){cel_of_string(member->name, strlen(member->name)),
                                   cel_json_view(arena, member)};
    return entries;
}

static bool json_find(const cel_map *map, wm_arena *arena, const char *key, size_t len,
                      cel_value *value)
{
    const wm_json *json = map->data;

    for (const wm_json *member = json->first; member; member = member->next)
        if (strncmp(member->name, key, len) == 0 && member->name[len] == 0 &&
            memchr(key, 0, len) == NULL) {
            *value = cel_json_view(arena, member);
            return true;
        }
    return false;
}

static const cel_map_ops json_ops = {json_find, json_entries};

static cel_value json_list(wm_arena *arena, const wm_json *json)
{
    cel_value *items = wm_arena_array(arena, json->len + 1, sizeof *items);
    size_t n = 0;

    for (const wm_json *item = json->first; items && item; item = item->next)
        items[n++] = cel_json_view(arena, item);
    return cel_list_value(arena, items, items ? n : 0);
}

cel_value cel_json_view(wm_arena *arena, const wm_json *json)
{
    cel_map *map;

    switch (json->kind) {
    case WM_JSON_BOOL:
        return cel_of_bool(json->boolean);
    case WM_JSON_NUMBER:
        return cel_of_double(json->number);
    case WM_JSON_STRING:
        return cel_of_string(json->text, json->text_len);
    case WM_JSON_ARRAY:
        return json_list(arena, json);
    case WM_JSON_OBJECT:
        map = wm_arena_alloc(arena, sizeof *map);
        if (!map)
            return cel_list_value(arena, NULL, 0);
        *map = (cel_map){.len = (uint32_t)json->len, .ops = &json_ops, .data = json};
        return cel_of_map(map);
    default:
        return cel_of_null();
    }
}

const wm_json *cel_json_of(const cel_value *value)
{
    return value->kind == CEL_MAP && value->as.map->ops == &json_ops ? value->as.map->data : NULL;
}
