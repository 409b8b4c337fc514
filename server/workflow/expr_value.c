/* server/workflow/expr_value.c - see expr_value.h. Numbers become doubles, which they must fit;
 * bytes, timestamps and durations become strings, as protobuf's JSON has them. */
#include "server/workflow/expr_value.h"

#include <math.h>
#include <string.h>

#include "server/workflow/expr.h"

typedef struct conversion {
    wm_arena *arena, *scratch;
    size_t parts, bytes; /* made so far */
    const char **why;
} conversion;

static const wm_json *convert(conversion *c, const cel_value *value, int depth);

static const wm_json *convert_fail(conversion *c, const char *why)
{
    *c->why = why;
    return NULL;
}

static const wm_json *convert_number(conversion *c, double number)
{
    /* Infinity would not survive JSON. */
    return isfinite(number) ? workflow_value_number(c->arena, number)
                            : convert_fail(c, "a number overflows");
}

/* 2^53 is where doubles begin to leave integers out. */
static const wm_json *convert_int(conversion *c, int64_t integer)
{
    if (integer > INT64_C(9007199254740992) || integer < -INT64_C(9007199254740992))
        return convert_fail(c, "an integer is beyond 2^53: make it a double or a string");
    return workflow_value_number(c->arena, (double)integer);
}

static const wm_json *convert_string(conversion *c, const char *text, size_t len)
{
    c->bytes += len;
    if (c->bytes > WORKFLOW_VALUE_SIZE_MAX)
        return convert_fail(c, "a value would be too long");
    if (memchr(text, '\0', len))
        return convert_fail(c, "a string holds NUL");
    return workflow_value_string(c->arena, text, len);
}

/* What protobuf's JSON writes as a string. */
static const wm_json *convert_quoted(conversion *c, const cel_value *value)
{
    const wm_json *json;
    wm_buf text;

    wm_buf_init(&text, (size_t)2 * WORKFLOW_VALUE_SIZE_MAX);
    cel_value_json(&text, value);
    json = text.failed || text.size < 2 ? convert_fail(c, "a value would be too long")
                                        : convert_string(c, text.data + 1, text.size - 2);
    wm_buf_free(&text);
    return json;
}

static const wm_json *convert_list(conversion *c, const cel_list *list, int depth)
{
    workflow_builder out;

    workflow_build(&out, c->arena, WM_JSON_ARRAY);
    for (uint32_t i = 0; i < list->len; i++) {
        const wm_json *item = convert(c, &list->items[i], depth + 1);

        if (!item)
            return NULL;
        workflow_build_add(&out, NULL, item);
    }
    return out.value;
}

static const wm_json *convert_map(conversion *c, const cel_map *map, int depth)
{
    const cel_entry *entries = map->entries;
    workflow_builder out;

    if (!entries && map->len > 0)
        entries = map->ops->entries(map, c->scratch);
    if (!entries && map->len > 0)
        return convert_fail(c, "the memory limit is reached");
    workflow_build(&out, c->arena, WM_JSON_OBJECT);
    for (uint32_t i = 0; i < map->len; i++) {
        const wm_json *name, *member;

        if (entries[i].key.kind != CEL_STRING)
            return convert_fail(c, "a key is no string");
        name = convert_string(c, entries[i].key.as.text, entries[i].key.len);
        member = name ? convert(c, &entries[i].value, depth + 1) : NULL;
        if (!member)
            return NULL;
        workflow_build_add(&out, name->text, member);
    }
    return out.value;
}

static const wm_json *convert_scalar(conversion *c, const cel_value *value)
{
    switch (value->kind) {
    case CEL_NULL:
        return workflow_value_null();
    case CEL_BOOL:
        return workflow_value_bool(value->as.boolean);
    case CEL_INT:
        return convert_int(c, value->as.integer);
    case CEL_UINT:
        return convert_int(c,
                           value->as.natural > INT64_MAX ? INT64_MAX : (int64_t)value->as.natural);
    case CEL_DOUBLE:
        return convert_number(c, value->as.real);
    case CEL_STRING:
        return convert_string(c, value->as.text, value->len);
    case CEL_BYTES:
    case CEL_TIMESTAMP:
    case CEL_DURATION:
        return convert_quoted(c, value);
    default:
        return convert_fail(c, "a value that JSON does not have: a type, an optional, an address");
    }
}

static const wm_json *convert(conversion *c, const cel_value *value, int depth)
{
    const wm_json *json = cel_json_of(value);

    if (json)
        return json;
    if (++c->parts > EXPR_NODES_MAX)
        return convert_fail(c, "a value would have too many parts");
    if (depth > WORKFLOW_VALUE_DEPTH_MAX)
        return convert_fail(c, "the value is too long or nested too deep");
    if (value->kind == CEL_LIST)
        return convert_list(c, value->as.list, depth);
    if (value->kind == CEL_MAP)
        return convert_map(c, value->as.map, depth);
    return convert_scalar(c, value);
}

const wm_json *workflow_value_from_cel(wm_arena *arena, wm_arena *scratch, const cel_value *value,
                                       const char **why)
{
    conversion c = {arena, scratch, 0, 0, why};

    return convert(&c, value, 0);
}
