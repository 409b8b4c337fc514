/* cel/fn_list.c - lists and sets. */
#include <stdlib.h>
#include <string.h>

#include "server/cel/internal.h"

#define FN(name) static cel_value name(cel_call *call, const cel_value *args, size_t n)
#define UNUSED (void)call, (void)n

FN(slice)
{
    const cel_list *list = args[0].as.list;
    int64_t from = args[1].as.integer, to = args[2].as.integer;

    (void)n;
    if (from < 0 || to < from || to > list->len)
        return cel_fail(call, CEL_ERROR_ARGUMENT, "cannot slice(%lld, %lld), the list has %u items",
                        (long long)from, (long long)to, (unsigned)list->len);
    return cel_list_build(call, from < to ? list->items + from : NULL, (size_t)(to - from));
}

/* ---- flatten ---- */

static size_t flat_len(cel_call *call, const cel_list *list, int64_t depth)
{
    size_t n = 0;

    for (uint32_t i = 0; i < list->len && cel_spend(call, 1); i++)
        n += list->items[i].kind == CEL_LIST && depth > 0
                 ? flat_len(call, list->items[i].as.list, depth - 1)
                 : 1;
    return n;
}

static cel_value *flat_fill(const cel_list *list, int64_t depth, cel_value *to)
{
    for (uint32_t i = 0; i < list->len; i++) {
        if (list->items[i].kind == CEL_LIST && depth > 0)
            to = flat_fill(list->items[i].as.list, depth - 1, to);
        else
            *to++ = list->items[i];
    }
    return to;
}

FN(flatten)
{
    int64_t depth = n == 2 ? args[1].as.integer : 1;
    cel_value *items;
    size_t len;

    if (depth < 0)
        return cel_fail(call, CEL_ERROR_ARGUMENT, "flatten() to a negative depth");
    if (depth > CEL_DEPTH_MAX)
        depth = CEL_DEPTH_MAX;
    len = flat_len(call, args->as.list, depth);
    if (call->cost > call->limit)
        return cel_fail_cost(call);
    items = cel_alloc(call, len * sizeof *items);
    if (!items)
        return cel_fail_memory(call);
    flat_fill(args->as.list, depth, items);
    return cel_list_build(call, items, len);
}

/* ---- order ---- */

typedef struct sort_item {
    const cel_value *key, *item;
    uint32_t place; /* makes the order stable */
} sort_item;

static int sort_compare(const void *a, const void *b)
{
    const sort_item *x = a, *y = b;
    int order = cel_compare(x->key, y->key);

    if (order == 1 || order == -1)
        return order;
    return (x->place > y->place) - (x->place < y->place);
}

cel_value cel_sort(cel_call *call, const cel_value *keys, const cel_value *items, size_t n)
{
    sort_item *order = cel_alloc(call, n * sizeof *order);
    cel_value *sorted = cel_alloc(call, n * sizeof *sorted);

    if (!order || !sorted)
        return cel_fail_memory(call);
    if (!cel_spend(call, n * 10))
        return cel_fail_cost(call);
    for (size_t i = 0; i < n; i++) {
        if (keys[i].kind == CEL_STRING || keys[i].kind == CEL_BYTES)
            call->cost += keys[i].len / 32; /* it is compared many times */
        if (keys[i].kind != keys[0].kind || cel_compare(&keys[i], &keys[0]) == 3)
            return cel_fail(call, CEL_ERROR_OVERLOAD, "items of %s and %s cannot be sorted",
                            cel_type_name(&keys[0]), cel_type_name(&keys[i]));
        order[i] = (sort_item){&keys[i], &items[i], (uint32_t)i};
    }
    if (call->cost > call->limit)
        return cel_fail_cost(call);
    qsort(order, n, sizeof *order, sort_compare);
    for (size_t i = 0; i < n; i++)
        sorted[i] = *order[i].item;
    return cel_list_build(call, sorted, n);
}

FN(sort)
{
    (void)n;
    return cel_sort(call, args->as.list->items, args->as.list->items, args->as.list->len);
}

FN(reverse)
{
    const cel_list *list = args->as.list;
    cel_value *items = cel_alloc(call, list->len * sizeof *items);

    (void)n;
    if (!items)
        return cel_fail_memory(call);
    for (uint32_t i = 0; i < list->len; i++)
        items[i] = list->items[list->len - 1 - i];
    return cel_list_build(call, items, list->len);
}

/* ---- range, first, last ---- */

FN(range)
{
    int64_t len = args->as.integer;
    cel_value *items;

    (void)n;
    if (len < 0)
        return cel_fail(call, CEL_ERROR_ARGUMENT, "lists.range() of a negative number");
    if (!cel_spend(call, (uint64_t)len))
        return cel_fail_cost(call);
    items = cel_alloc(call, (size_t)len * sizeof *items);
    if (!items)
        return cel_fail_memory(call);
    for (int64_t i = 0; i < len; i++)
        items[i] = cel_of_int(i);
    return cel_list_build(call, items, (size_t)len);
}

FN(first)
{
    const cel_list *list = args->as.list;

    (void)n;
    return list->len == 0 ? cel_optional_none() : cel_optional_of(call, list->items[0]);
}

FN(last)
{
    const cel_list *list = args->as.list;

    (void)n;
    return list->len == 0 ? cel_optional_none() : cel_optional_of(call, list->items[list->len - 1]);
}

/* ---- equality of items ---- */

static bool holds(cel_call *call, const cel_value *items, size_t n, const cel_value *item)
{
    for (size_t i = 0; i < n && cel_spend(call, 1); i++)
        if (cel_equal_deep(&items[i], item, call, 0))
            return true;
    return false;
}

FN(distinct)
{
    const cel_list *list = args->as.list;
    cel_value *items = cel_alloc(call, list->len * sizeof *items);
    size_t kept = 0;

    (void)n;
    if (!items)
        return cel_fail_memory(call);
    for (uint32_t i = 0; i < list->len && call->cost <= call->limit; i++)
        if (!holds(call, items, kept, &list->items[i]))
            items[kept++] = list->items[i];
    return cel_list_build(call, items, kept);
}

/* Whether all items of `b` are in `a`. */
static bool covers(cel_call *call, const cel_list *a, const cel_list *b)
{
    for (uint32_t i = 0; i < b->len; i++)
        if (!holds(call, a->items, a->len, &b->items[i]))
            return false;
    return true;
}

FN(sets_contains)
{
    (void)n;
    return cel_of_bool(covers(call, args[0].as.list, args[1].as.list));
}

FN(sets_equivalent)
{
    (void)n;
    return cel_of_bool(covers(call, args[0].as.list, args[1].as.list) &&
                       covers(call, args[1].as.list, args[0].as.list));
}

FN(sets_intersects)
{
    const cel_list *b = args[1].as.list;

    (void)n;
    for (uint32_t i = 0; i < b->len && call->cost <= call->limit; i++)
        if (holds(call, args[0].as.list->items, args[0].as.list->len, &b->items[i]))
            return cel_of_bool(true);
    return cel_of_bool(false);
}

FN(has_only)
{
    (void)n;
    return cel_of_bool(covers(call, args[1].as.list, args[0].as.list));
}

CEL_TABLE(cel_fn_list, {"slice", true, false, "LAii", "LA", slice},
          {"flatten", true, false, "LLA", "LA", flatten},
          {"flatten", true, false, "LAi", "Lx", flatten}, {"sort", true, false, "LA", "LA", sort},
          {"distinct", true, false, "LA", "LA", distinct},
          {"reverse", true, false, "LA", "LA", reverse}, {"first", true, false, "LA", "OA", first},
          {"last", true, false, "LA", "OA", last}, {"lists.range", false, false, "i", "Li", range},
          {"sets.contains", false, false, "LALA", "b", sets_contains},
          {"sets.equivalent", false, false, "LALA", "b", sets_equivalent},
          {"sets.intersects", false, false, "LALA", "b", sets_intersects},
          {"hasAll", true, false, "LALA", "b", sets_contains},
          {"hasAny", true, false, "LALA", "b", sets_intersects},
          {"hasExactly", true, false, "LALA", "b", sets_equivalent},
          {"hasOnly", true, false, "LALA", "b", has_only});
