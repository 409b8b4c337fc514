/* cel/functions.c - see functions.h; the tables are in fn_*.c. */
#include "server/cel/functions.h"

#include <string.h>

static size_t table_find(const cel_function *table, size_t n_table, const char *name, bool member,
                         const cel_function **found, size_t n)
{
    for (size_t i = 0; i < n_table && n < CEL_OVERLOADS_MAX; i++)
        if (table[i].member == member && strcmp(table[i].name, name) == 0)
            found[n++] = &table[i];
    return n;
}

size_t cel_functions_find(const cel_env *env, const char *name, bool member,
                          const cel_function *found[CEL_OVERLOADS_MAX])
{
    const cel_table tables[] = {
        {cel_fn_core, cel_fn_core_n},     {cel_fn_string, cel_fn_string_n},
        {cel_fn_math, cel_fn_math_n},     {cel_fn_time, cel_fn_time_n},
        {cel_fn_list, cel_fn_list_n},     {cel_fn_optional, cel_fn_optional_n},
        {cel_fn_net, cel_fn_net_n},       {cel_fn_regex, cel_fn_regex_n},
        {cel_fn_encode, cel_fn_encode_n}, {cel_fn_format, cel_fn_format_n},
        {cel_fn_geo, cel_fn_geo_n},       {cel_fn_weekly, cel_fn_weekly_n}};
    size_t n = 0;

    for (size_t i = 0; i < env->n_tables; i++)
        n = table_find(env->functions[i], env->n_functions[i], name, member, found, n);
    for (size_t i = 0; i < WM_ARRAY_LEN(tables); i++)
        n = table_find(tables[i].functions, tables[i].n, name, member, found, n);
    return n;
}

/* The letter behind a type that begins at `at`. */
static const char *skip_type(const char *at)
{
    switch (*at) {
    case 'L':
    case 'O':
        return skip_type(at + 1);
    case 'M':
        return skip_type(skip_type(at + 1));
    default:
        return at + 1;
    }
}

size_t cel_signature_len(const char *signature)
{
    size_t n = 0;

    for (; *signature; n++)
        signature = skip_type(signature);
    return n;
}

static uint32_t kind_of(char letter)
{
    switch (letter) {
    case 'n':
        return CEL_NULL;
    case 'b':
        return CEL_BOOL;
    case 'i':
        return CEL_INT;
    case 'u':
        return CEL_UINT;
    case 'd':
        return CEL_DOUBLE;
    case 's':
        return CEL_STRING;
    case 'y':
        return CEL_BYTES;
    case 'L':
        return CEL_LIST;
    case 'M':
        return CEL_MAP;
    case 't':
        return CEL_TIMESTAMP;
    case 'D':
        return CEL_DURATION;
    case 'T':
        return CEL_TYPE;
    case 'O':
        return CEL_OPTIONAL;
    case 'I':
        return CEL_IP;
    case 'C':
        return CEL_CIDR;
    default:
        return CEL_ABSENT;
    }
}

bool cel_signature_takes(const char *signature, const cel_value *args, size_t n)
{
    if (signature[0] == '*')
        return n > 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t kind = kind_of(*signature);

        if (!*signature || (kind != CEL_ABSENT && args[i].kind != kind))
            return false;
        signature = skip_type(signature);
    }
    return *signature == 0;
}
