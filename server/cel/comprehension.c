/* cel/comprehension.c - evaluation of the macros: a loop over a list or a map each.
 *
 * A macro's variables are slots of the evaluation. all() and exists() absorb errors as && and
 * || do: an element that decides makes those of others not matter. The rest takes the first
 * error as its result.
 */
#include <string.h>

#include "server/cel/internal.h"

typedef struct range {
    size_t n;
    const cel_value *items;
    const cel_entry *entries; /* of a map */
} range;

/* Evaluates what a macro goes over; false with the error, which is the macro's result. */
static bool range_open(cel_call *call, const cel_code *code, range *range, cel_value *error)
{
    cel_value value = cel_run(call, code->args[0]);

    call->pos = code->pos;
    *range = (struct range){.n = 0};
    if (value.kind == CEL_LIST) {
        range->n = value.as.list->len;
        range->items = value.as.list->items;
        return true;
    }
    if (value.kind == CEL_MAP) {
        range->n = value.as.map->len;
        range->entries = cel_map_entries(value.as.map, call->arena);
        *error = range->n > 0 && !range->entries ? cel_fail_memory(call) : value;
        return range->n == 0 || range->entries;
    }
    *error = value.kind == CEL_ERROR
                 ? value
                 : cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: a macro over a %s",
                            cel_type_name(&value));
    return false;
}

static void range_set(cel_call *call, const cel_code *code, const range *range, size_t i)
{
    cel_value *slots = call->slots + code->place;

    call->cost++;
    if (range->entries) {
        slots[0] = range->entries[i].key;
        if (code->two)
            slots[1] = range->entries[i].value;
    } else if (code->two) {
        slots[0] = cel_of_int((int64_t)i);
        slots[1] = range->items[i];
    } else {
        slots[0] = range->items[i];
    }
}

static cel_value not_bool(cel_call *call, const cel_code *body, const cel_value *value)
{
    call->pos = body->pos;
    return value->kind == CEL_ERROR
               ? *value
               : cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: a condition that is a %s",
                          cel_type_name(value));
}

/* all() ends at the first false, exists() at the first true. */
static cel_value run_any(cel_call *call, const cel_code *code, bool decides)
{
    cel_value wrong = {.kind = CEL_NULL};
    range range;

    if (!range_open(call, code, &range, &wrong))
        return wrong;
    for (size_t i = 0; i < range.n; i++) {
        cel_value value;

        range_set(call, code, &range, i);
        value = cel_run(call, code->args[1]);
        if (call->cost > call->limit)
            return cel_fail_cost(call);
        if (value.kind == CEL_BOOL) {
            if (value.as.boolean == decides)
                return value;
        } else if (call->fatal) {
            return value;
        } else if (wrong.kind != CEL_ERROR) {
            wrong = not_bool(call, code->args[1], &value);
        }
    }
    return wrong.kind == CEL_ERROR ? wrong : cel_of_bool(!decides);
}

static cel_value run_all(cel_call *call, const cel_code *code)
{
    return run_any(call, code, false);
}

static cel_value run_exists(cel_call *call, const cel_code *code)
{
    return run_any(call, code, true);
}

/* A body for element `i`; false with the error, which ends the macro. */
static bool run_body(cel_call *call, const cel_code *code, const range *range, size_t i,
                     const cel_code *body, bool condition, cel_value *value)
{
    range_set(call, code, range, i);
    *value = cel_run(call, body);
    if (call->cost > call->limit)
        *value = cel_fail_cost(call);
    else if (condition && value->kind != CEL_BOOL)
        *value = not_bool(call, body, value);
    return value->kind != CEL_ERROR;
}

static cel_value run_exists_one(cel_call *call, const cel_code *code)
{
    cel_value value;
    size_t found = 0;
    range range;

    if (!range_open(call, code, &range, &value))
        return value;
    for (size_t i = 0; i < range.n; i++) {
        if (!run_body(call, code, &range, i, code->args[1], true, &value))
            return value;
        found += value.as.boolean;
    }
    return cel_of_bool(found == 1);
}

/* map, filter and transformList: with two bodies the first is a condition. */
static cel_value run_list_macro(cel_call *call, const cel_code *code, bool filter)
{
    cel_value value, *items;
    size_t n = 0;
    range range;

    if (!range_open(call, code, &range, &value))
        return value;
    items = cel_alloc(call, range.n * sizeof *items);
    if (!items)
        return cel_fail_memory(call);
    for (size_t i = 0; i < range.n; i++) {
        if (filter || code->n == 3) {
            if (!run_body(call, code, &range, i, code->args[1], true, &value))
                return value;
            if (!value.as.boolean)
                continue;
        }
        if (filter)
            value = call->slots[code->place];
        else if (!run_body(call, code, &range, i, code->args[code->n - 1], false, &value))
            return value;
        items[n++] = value;
    }
    return cel_list_build(call, items, n);
}

static cel_value run_map_macro(cel_call *call, const cel_code *code)
{
    return run_list_macro(call, code, false);
}

static cel_value run_filter(cel_call *call, const cel_code *code)
{
    return run_list_macro(call, code, true);
}

static cel_value run_transform_map(cel_call *call, const cel_code *code)
{
    cel_entry *entries;
    cel_value value;
    size_t n = 0;
    range range;

    if (!range_open(call, code, &range, &value))
        return value;
    entries = cel_alloc(call, range.n * sizeof *entries);
    if (!entries)
        return cel_fail_memory(call);
    for (size_t i = 0; i < range.n; i++) {
        cel_value key;

        if (code->n == 3 && !run_body(call, code, &range, i, code->args[1], true, &value))
            return value;
        if (code->n == 3 && !value.as.boolean)
            continue;
        range_set(call, code, &range, i);
        key = call->slots[code->place];
        if (!run_body(call, code, &range, i, code->args[code->n - 1], false, &value))
            return value;
        entries[n++] = (cel_entry){key, value};
    }
    return cel_map_build(call, entries, n);
}

/* Each body makes a map; all their entries together are the result. */
static cel_value run_transform_entry(cel_call *call, const cel_code *code)
{
    cel_entry *entries = NULL;
    size_t n = 0, room = 0;
    cel_value value;
    range range;

    if (!range_open(call, code, &range, &value))
        return value;
    for (size_t i = 0; i < range.n; i++) {
        const cel_entry *made;

        if (code->n == 3 && !run_body(call, code, &range, i, code->args[1], true, &value))
            return value;
        if (code->n == 3 && !value.as.boolean)
            continue;
        if (!run_body(call, code, &range, i, code->args[code->n - 1], false, &value))
            return value;
        if (value.kind != CEL_MAP)
            return cel_fail(call, CEL_ERROR_OVERLOAD, "transformMapEntry() makes maps, not a %s",
                            cel_type_name(&value));
        made = cel_map_entries(value.as.map, call->arena);
        if (value.as.map->len > 0 && n + value.as.map->len > room) {
            size_t more = (n + value.as.map->len) * 2;
            cel_entry *larger = cel_alloc(call, more * sizeof *larger);

            if (!larger || !made)
                return cel_fail_memory(call);
            if (n > 0)
                memcpy(larger, entries, n * sizeof *larger);
            entries = larger;
            room = more;
        }
        if (made && value.as.map->len > 0)
            memcpy(entries + n, made, value.as.map->len * sizeof *made);
        n += value.as.map->len;
    }
    return cel_map_build(call, entries, n);
}

static cel_value run_sort_by(cel_call *call, const cel_code *code)
{
    cel_value value, *keys;
    range range;

    if (!range_open(call, code, &range, &value))
        return value;
    if (range.entries)
        return cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: sortBy() over a map");
    keys = cel_alloc(call, range.n * sizeof *keys);
    if (!keys)
        return cel_fail_memory(call);
    for (size_t i = 0; i < range.n; i++)
        if (!run_body(call, code, &range, i, code->args[1], false, &keys[i]))
            return keys[i];
    call->pos = code->pos;
    return cel_sort(call, keys, range.items, range.n);
}

/* ---- macros without a loop ---- */

static cel_value run_bind(cel_call *call, const cel_code *code)
{
    cel_value value = cel_run(call, code->args[0]);

    if (++call->cost > call->limit)
        return cel_fail_cost(call);
    if (call->fatal)
        return value;
    /* An error as well: it counts where the name is used, as if it were evaluated there. */
    call->slots[code->place] = value;
    return cel_run(call, code->args[1]);
}

static cel_value run_optional_map(cel_call *call, const cel_code *code, bool flat)
{
    cel_value value = cel_run(call, code->args[0]);

    call->pos = code->pos;
    if (++call->cost > call->limit)
        return cel_fail_cost(call);
    if (value.kind == CEL_ERROR || (value.kind == CEL_OPTIONAL && !value.as.optional))
        return value;
    if (value.kind != CEL_OPTIONAL)
        return cel_fail(call, CEL_ERROR_OVERLOAD, "no such overload: optMap over a %s",
                        cel_type_name(&value));
    call->slots[code->place] = *value.as.optional;
    value = cel_run(call, code->args[1]);
    if (value.kind == CEL_ERROR || (flat && value.kind == CEL_OPTIONAL))
        return value;
    if (flat)
        return cel_fail(call, CEL_ERROR_OVERLOAD, "optFlatMap() makes optionals, not a %s",
                        cel_type_name(&value));
    return cel_optional_of(call, value);
}

static cel_value run_opt_map(cel_call *call, const cel_code *code)
{
    return run_optional_map(call, code, false);
}

static cel_value run_opt_flat_map(cel_call *call, const cel_code *code)
{
    return run_optional_map(call, code, true);
}

const cel_run_fn cel_run_macros[] = {[MACRO_ALL] = run_all,
                                     [MACRO_EXISTS] = run_exists,
                                     [MACRO_EXISTS_ONE] = run_exists_one,
                                     [MACRO_MAP] = run_map_macro,
                                     [MACRO_FILTER] = run_filter,
                                     [MACRO_TRANSFORM_LIST] = run_map_macro,
                                     [MACRO_TRANSFORM_MAP] = run_transform_map,
                                     [MACRO_TRANSFORM_ENTRY] = run_transform_entry,
                                     [MACRO_SORT_BY] = run_sort_by,
                                     [MACRO_BIND] = run_bind,
                                     [MACRO_OPT_MAP] = run_opt_map,
                                     [MACRO_OPT_FLAT_MAP] = run_opt_flat_map};
