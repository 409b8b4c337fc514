/* cel/fn_optional.c - optional values; their macros are in comprehension.c. */
#include "server/cel/internal.h"

#define FN(name) static cel_value name(cel_call *call, const cel_value *args, size_t n)
#define UNUSED (void)call, (void)n

FN(of)
{
    (void)n;
    return cel_optional_of(call, *args);
}

FN(of_non_zero)
{
    (void)n;
    return cel_is_zero(args) ? cel_optional_none() : cel_optional_of(call, *args);
}

FN(none)
{
    UNUSED, (void)args;
    return cel_optional_none();
}

FN(has_value)
{
    UNUSED;
    return cel_of_bool(args->as.optional != NULL);
}

FN(value)
{
    (void)n;
    return args->as.optional ? *args->as.optional
                             : cel_fail(call, CEL_ERROR_ARGUMENT, "optional.none() has no value");
}

FN(or_else)
{
    UNUSED;
    return args[0].as.optional ? args[0] : args[1];
}

FN(or_value)
{
    UNUSED;
    return args[0].as.optional ? *args[0].as.optional : args[1];
}

/* The values that are there. */
FN(unwrap)
{
    const cel_list *list = args->as.list;
    cel_value *items = cel_alloc(call, list->len * sizeof *items);
    size_t kept = 0;

    (void)n;
    if (!items)
        return cel_fail_memory(call);
    for (uint32_t i = 0; i < list->len; i++) {
        if (list->items[i].kind != CEL_OPTIONAL)
            return cel_fail_overload(call, "optional.unwrap", &list->items[i], 1);
        if (list->items[i].as.optional)
            items[kept++] = *list->items[i].as.optional;
    }
    return cel_list_build(call, items, kept);
}

CEL_TABLE(cel_fn_optional, {"optional.of", false, false, "A", "OA", of},
          {"optional.ofNonZeroValue", false, false, "A", "OA", of_non_zero},
          {"optional.none", false, false, "", "OA", none},
          {"hasValue", true, false, "OA", "b", has_value}, {"value", true, false, "OA", "A", value},
          {"or", true, false, "OAOA", "OA", or_else},
          {"orValue", true, false, "OAA", "A", or_value},
          {"optional.unwrap", false, false, "LOA", "LA", unwrap},
          {"unwrapOpt", true, false, "LOA", "LA", unwrap});
