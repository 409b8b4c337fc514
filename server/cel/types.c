/* cel/types.c - see types.h. Unification as in the CEL specification: dyn goes with anything,
 * null with times, addresses and optionals, and `type` does not look at its parameter. */
#include "server/cel/types.h"

#include <string.h>

const cel_type cel_type_dyn = {.kind = TYPE_DYN};

static const struct {
    const char *name;
    int kind;
    char letter;
    uint8_t params;
} names[] = {
    {"null_type", CEL_NULL, 'n', 0},
    {"bool", CEL_BOOL, 'b', 0},
    {"int", CEL_INT, 'i', 0},
    {"uint", CEL_UINT, 'u', 0},
    {"double", CEL_DOUBLE, 'd', 0},
    {"string", CEL_STRING, 's', 0},
    {"bytes", CEL_BYTES, 'y', 0},
    {"list", CEL_LIST, 'L', 1},
    {"map", CEL_MAP, 'M', 2},
    {"timestamp", CEL_TIMESTAMP, 't', 0},
    {"google.protobuf.Timestamp", CEL_TIMESTAMP, 't', 0},
    {"duration", CEL_DURATION, 'D', 0},
    {"google.protobuf.Duration", CEL_DURATION, 'D', 0},
    {"type", CEL_TYPE, 'T', 0},
    {"optional_type", CEL_OPTIONAL, 'O', 1},
    {"net.IP", CEL_IP, 'I', 0},
    {"net.CIDR", CEL_CIDR, 'C', 0},
    {"dyn", TYPE_DYN, 'x', 0},
};

const cel_type *cel_type_simple(int kind)
{
    static const cel_type simple[] = {
        [CEL_NULL] = {.kind = CEL_NULL},
        [CEL_BOOL] = {.kind = CEL_BOOL},
        [CEL_INT] = {.kind = CEL_INT},
        [CEL_UINT] = {.kind = CEL_UINT},
        [CEL_DOUBLE] = {.kind = CEL_DOUBLE},
        [CEL_STRING] = {.kind = CEL_STRING},
        [CEL_BYTES] = {.kind = CEL_BYTES},
        [CEL_TIMESTAMP] = {.kind = CEL_TIMESTAMP},
        [CEL_DURATION] = {.kind = CEL_DURATION},
        [CEL_TYPE] = {.kind = CEL_TYPE},
        [CEL_IP] = {.kind = CEL_IP},
        [CEL_CIDR] = {.kind = CEL_CIDR},
    };

    return kind == TYPE_DYN ? &cel_type_dyn : &simple[kind];
}

enum { SIZE_MAX_TYPE = 1000 };

/* A type that is too large, or has no room, is dyn: never wrong, only less exact. */
const cel_type *cel_type_make(wm_arena *arena, int kind, const cel_type *a, const cel_type *b)
{
    uint32_t size = 1 + (a ? a->size : 0) + (b ? b->size : 0);
    cel_type *type = size <= SIZE_MAX_TYPE ? wm_arena_zalloc(arena, sizeof *type) : NULL;

    if (!type)
        return &cel_type_dyn;
    type->size = size;
    type->kind = kind;
    type->params[0] = a;
    type->params[1] = b;
    return type;
}

static const cel_type *parse_type(wm_arena *arena, const char **at, int depth)
{
    size_t len = strcspn(*at, "(,) ");
    const cel_type *params[2] = {&cel_type_dyn, &cel_type_dyn};
    size_t i = 0;

    while (i < WM_ARRAY_LEN(names) &&
           (strlen(names[i].name) != len || memcmp(names[i].name, *at, len) != 0))
        i++;
    if (i == WM_ARRAY_LEN(names) || depth > 32)
        return NULL;
    *at += len;
    if (names[i].params == 0 || **at != '(')
        return names[i].params == 0 ? cel_type_simple(names[i].kind)
                                    : cel_type_make(arena, names[i].kind, params[0], params[1]);
    for (uint8_t p = 0; p < names[i].params; p++) {
        if (**at != (p == 0 ? '(' : ','))
            return NULL;
        *at += 1 + strspn(*at + 1, " ");
        params[p] = parse_type(arena, at, depth + 1);
        if (!params[p])
            return NULL;
    }
    if (**at != ')')
        return NULL;
    (*at)++;
    return cel_type_make(arena, names[i].kind, params[0], params[1]);
}

const cel_type *cel_type_parse(wm_arena *arena, const char *text)
{
    const cel_type *type = parse_type(arena, &text, 0);

    return type && *text == 0 ? type : NULL;
}

const cel_type *cel_type_decode(wm_arena *arena, const char **signature, const cel_type *vars[2])
{
    char letter = *(*signature)++;
    const cel_type *params[2] = {NULL, NULL};

    if (letter == 'A' || letter == 'B') {
        const cel_type **var = &vars[letter - 'A'];

        if (!*var)
            *var = cel_type_make(arena, TYPE_VAR, NULL, NULL);
        return *var;
    }
    for (size_t i = 0; i < WM_ARRAY_LEN(names); i++) {
        if (names[i].letter != letter)
            continue;
        for (uint8_t p = 0; p < names[i].params; p++)
            params[p] = cel_type_decode(arena, signature, vars);
        return names[i].params > 0 ? cel_type_make(arena, names[i].kind, params[0], params[1])
                                   : cel_type_simple(names[i].kind);
    }
    return &cel_type_dyn;
}

const cel_type *cel_type_resolve(const cel_type *type)
{
    while (type->kind == TYPE_VAR && type->bound)
        type = type->bound;
    return type;
}

const cel_type *cel_type_settle(wm_arena *arena, const cel_type *type, bool freeze)
{
    const cel_type *params[2];

    type = cel_type_resolve(type);
    if (type->kind == TYPE_VAR)
        return freeze ? &cel_type_dyn : type;
    if (!type->params[0])
        return type;
    for (int i = 0; i < 2; i++)
        params[i] = type->params[i] ? cel_type_settle(arena, type->params[i], freeze) : NULL;
    if (params[0] == type->params[0] && params[1] == type->params[1])
        return type;
    return cel_type_make(arena, type->kind, params[0], params[1]);
}

void cel_type_print(const cel_type *type, wm_buf *buf)
{
    type = cel_type_resolve(type);
    if (type->kind == TYPE_VAR) {
        wm_buf_text(buf, "dyn");
        return;
    }
    for (size_t i = 0; i < WM_ARRAY_LEN(names); i++) {
        if (names[i].kind != type->kind)
            continue;
        wm_buf_text(buf, names[i].name);
        for (uint8_t p = 0; p < names[i].params; p++) {
            wm_buf_char(buf, p == 0 ? '(' : ',');
            cel_type_print(type->params[p], buf);
        }
        wm_buf_text(buf, names[i].params > 0 ? ")" : "");
        return;
    }
}

static bool occurs(const cel_type *var, const cel_type *in)
{
    in = cel_type_resolve(in);
    if (in == var)
        return true;
    return (in->params[0] && occurs(var, in->params[0])) ||
           (in->params[1] && occurs(var, in->params[1]));
}

static bool bind(const cel_type *var, const cel_type *to, cel_trail *trail)
{
    if (occurs(var, to) || (trail && trail->n == WM_ARRAY_LEN(trail->bound)))
        return false;
    /* Variables are never shared constants: each came from cel_type_make(). */
    ((cel_type *)(uintptr_t)var)->bound = to;
    if (trail)
        trail->bound[trail->n++] = (cel_type *)(uintptr_t)var;
    return true;
}

static bool takes_null(int kind)
{
    return kind == CEL_TIMESTAMP || kind == CEL_DURATION || kind == CEL_OPTIONAL ||
           kind == CEL_IP || kind == CEL_CIDR;
}

bool cel_type_unify_trail(const cel_type *a, const cel_type *b, cel_trail *trail)
{
    a = cel_type_resolve(a);
    b = cel_type_resolve(b);
    if (a == b || a->kind == TYPE_DYN || b->kind == TYPE_DYN)
        return true;
    if (a->kind == TYPE_VAR)
        return bind(a, b, trail);
    if (b->kind == TYPE_VAR)
        return bind(b, a, trail);
    if (a->kind != b->kind)
        return (a->kind == CEL_NULL && takes_null(b->kind)) ||
               (b->kind == CEL_NULL && takes_null(a->kind));
    for (int i = 0; i < 2; i++)
        if (a->params[i] && b->params[i] &&
            !cel_type_unify_trail(a->params[i], b->params[i], trail))
            return false;
    return true;
}

bool cel_type_unify(const cel_type *a, const cel_type *b)
{
    return cel_type_unify_trail(a, b, NULL);
}

void cel_trail_undo(cel_trail *trail)
{
    while (trail->n > 0)
        trail->bound[--trail->n]->bound = NULL;
}

void cel_type_widen(const cel_type *arg, const cel_type *param, cel_trail *trail)
{
    arg = cel_type_resolve(arg);
    if (param->kind == TYPE_VAR) {
        if (arg->kind == TYPE_DYN && cel_type_resolve(param)->kind != TYPE_DYN)
            bind(param, arg, trail);
        return;
    }
    for (int i = 0; i < 2; i++)
        if (param->params[i] && arg->params[i])
            cel_type_widen(arg->params[i], param->params[i], trail);
}

/* Whether there is a dyn inside, so that the type is the less exact one. */
static bool is_vague(const cel_type *type)
{
    type = cel_type_resolve(type);
    return type->kind == TYPE_DYN || (type->params[0] && is_vague(type->params[0])) ||
           (type->params[1] && is_vague(type->params[1]));
}

const cel_type *cel_type_join(const cel_type *a, const cel_type *b)
{
    cel_trail trail = {.n = 0};

    a = cel_type_resolve(a);
    b = cel_type_resolve(b);
    if (a->kind == TYPE_DYN || b->kind == TYPE_DYN || !cel_type_unify_trail(a, b, &trail)) {
        cel_trail_undo(&trail);
        return &cel_type_dyn;
    }
    if (a->kind == CEL_NULL)
        return b;
    return is_vague(b) && !is_vague(a) ? b : a;
}
