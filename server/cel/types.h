/* cel/types.h - static types, for the checker. Private to cel/. */
#ifndef WAYMARK_SERVER_CEL_TYPES_H
#define WAYMARK_SERVER_CEL_TYPES_H

#include "server/cel/ast.h"

/* Kinds below are those of values. */
enum { TYPE_DYN = 64, TYPE_VAR };

struct cel_type {
    int kind;
    uint32_t size;             /* parts, as far as known when it was made */
    const cel_type *params[2]; /* list, optional: one; map: two */
    /* VAR: what it stands for, or NULL. */
    const cel_type *bound;
};

extern const cel_type cel_type_dyn;
/* A type without parameters. */
const cel_type *cel_type_simple(int kind);
const cel_type *cel_type_make(wm_arena *arena, int kind, const cel_type *a, const cel_type *b);
/* "map(string,list(int))"; NULL when it is no type. */
const cel_type *cel_type_parse(wm_arena *arena, const char *text);
/* The next type of a signature; `vars` are A and B, made when first met. */
const cel_type *cel_type_decode(wm_arena *arena, const char **signature, const cel_type *vars[2]);
void cel_type_print(const cel_type *type, wm_buf *buf);
/* The type without its variables; free ones become dyn when `freeze`, else they stay. Types
 * that are too large become dyn: with cel.bind() they could double at every step. */
const cel_type *cel_type_settle(wm_arena *arena, const cel_type *type, bool freeze);
/* A variable is followed to what it stands for. */
const cel_type *cel_type_resolve(const cel_type *type);

/* Whether one may stand where the other is wanted; binds variables. */
bool cel_type_unify(const cel_type *a, const cel_type *b);
/* The type of what is either of them: dyn unless they agree. */
const cel_type *cel_type_join(const cel_type *a, const cel_type *b);

/* Undoes what was bound since the mark, for trying an overload. */
typedef struct cel_trail {
    cel_type *bound[64];
    size_t n;
} cel_trail;
bool cel_type_unify_trail(const cel_type *a, const cel_type *b, cel_trail *trail);
void cel_trail_undo(cel_trail *trail);
/* After an argument has been unified with its parameter: a variable of the parameter that met dyn
 * stands for dyn, whatever else it met. */
void cel_type_widen(const cel_type *arg, const cel_type *param, cel_trail *trail);

#endif
