/* cel/internal.h - what the parts of cel/ share behind cel.h.
 *
 * The road of an expression: lexer.c, parser.c (with macro.c) -> ast.h -> check.c, which writes
 * references and types into the tree -> compile.c, which makes cel_code -> eval.c.
 */
#ifndef WAYMARK_SERVER_CEL_INTERNAL_H
#define WAYMARK_SERVER_CEL_INTERNAL_H

#include "server/cel/ast.h"
#include "server/cel/types.h"

typedef struct cel_code cel_code;
typedef struct cel_regex cel_regex;

typedef cel_value (*cel_run_fn)(cel_call *call, const cel_code *code);

/* What is evaluated: names resolved to places, constants folded, one function per kind. */
struct cel_code {
    cel_run_fn run;
    uint32_t pos;
    uint32_t n;
    uint32_t place; /* of a variable, or the first slot of a macro */
    uint32_t name_len;
    bool optional, two;
    uint8_t type; /* the kind of the static type, see types.h */
    const char *name;
    const cel_code **args;
    cel_value value;
    const bool *marks;
    const cel_function *const *overloads;
    uint32_t n_overloads;
    uint32_t id;            /* from 0 in the order of the text, for tables beside the code */
    const cel_regex *regex; /* of a constant pattern among the arguments */
    void *prepared;         /* of a constant area or calendar, see cel_preparer */
    const cel_ast *ast;     /* what it was made from */
};

/* One evaluation. */
struct cel_call {
    wm_arena *arena;
    const cel_vars *vars;
    cel_value *slots;
    uint64_t cost, limit;
    const cel_error *fatal; /* cost, memory: not to be absorbed by && or || */
    const cel_code *at;     /* the call whose function runs */
    uint32_t pos;
    struct cel_tracer *tracer; /* see trace.c */
};

typedef struct cel_variable {
    const char *name; /* "a.b" */
    const cel_type *type;
} cel_variable;

struct cel_env {
    wm_arena arena;
    const char *container; /* "" or "a.b" */
    bool json_numbers;
    cel_variable *variables;
    size_t n, room;
    const cel_function *functions[4]; /* of the host */
    size_t n_functions[4], n_tables;
};

struct cel_program {
    wm_arena arena;
    const char *text;
    size_t len;
    cel_ast *ast;
    const cel_code *code;
    const char *type;
    bool json_numbers; /* of its environment */
    bool residual;     /* made by partial evaluation */
    uint32_t slots, codes;
    struct cel_pattern *patterns; /* compiled with the program */
    struct cel_made *made;
};

/* What else is made with the program and freed with it. */
typedef struct cel_made {
    struct cel_made *next;
    void *thing;
    void (*free)(void *thing);
} cel_made;

typedef struct cel_pattern {
    struct cel_pattern *next;
    cel_regex *regex;
} cel_pattern;

/* ---- check.c ---- */

/* Resolves names and, unless `unchecked`, finds what cannot be right. `slots`: what macros need. */
bool cel_check(const cel_env *env, const cel_source *source, cel_ast *ast, bool unchecked,
               uint32_t *slots);

/* ---- compile.c, eval.c ---- */

const cel_code *cel_code_make(cel_program *program, const cel_source *source, const cel_ast *ast,
                              bool unchecked);

static inline cel_value cel_run(cel_call *call, const cel_code *code)
{
    return code->run(call, code);
}

cel_value cel_run_const(cel_call *call, const cel_code *code);
cel_value cel_run_local(cel_call *call, const cel_code *code);
cel_value cel_run_var(cel_call *call, const cel_code *code);
cel_value cel_run_problem(cel_call *call, const cel_code *code);
cel_value cel_run_select(cel_call *call, const cel_code *code);
cel_value cel_run_has(cel_call *call, const cel_code *code);
cel_value cel_run_call(cel_call *call, const cel_code *code);
cel_value cel_run_or(cel_call *call, const cel_code *code);
cel_value cel_run_json_arithmetic(cel_call *call, const cel_code *code);
cel_value cel_run_list(cel_call *call, const cel_code *code);
cel_value cel_run_map(cel_call *call, const cel_code *code);
extern const cel_run_fn cel_run_ops[];    /* by cel_op */
extern const cel_run_fn cel_run_macros[]; /* by cel_macro */

/* ---- prepare.c ---- */

/* Makes what the call needs of a constant argument; false after an issue. */
bool cel_prepare(cel_program *program, const cel_source *source, cel_code *code, bool unchecked);

/* ---- partial.c ---- */

enum { CEL_STEPS_MAX = 32, CEL_WHY_SIZE = 160 };

/* a.b["c"]: a variable and the names that lead on from it. */
typedef struct cel_path {
    const cel_code *variable;
    bool optional; /* with .? or [? on the way */
    size_t n;
    struct {
        const char *name;
        size_t len;
    } steps[CEL_STEPS_MAX];
} cel_path;

/* False when it is something else. */
bool cel_path_of(const cel_code *code, cel_path *path);
bool cel_path_add(cel_path *path, const char *name, size_t len);
/* A program of those operands of the && at the top of `program` (or of all of it) that are kept. */
cel_program *cel_program_some(const cel_program *program, const bool *kept, cel_call *call);

/* ---- errors and limits ---- */

cel_value cel_fail(cel_call *call, cel_error_code code, const char *fmt, ...) WM_PRINTF(3, 4);
cel_value cel_fail_memory(cel_call *call);
cel_value cel_fail_cost(cel_call *call);
/* "no such overload: a + b (int, string)" */
cel_value cel_fail_overload(cel_call *call, const char *name, const cel_value *args, size_t n);

/* Pays for work; false when the limit is reached. */
static inline bool cel_spend(cel_call *call, uint64_t units)
{
    call->cost += units;
    return call->cost <= call->limit;
}

/* Of finding a double's shortest text. */
enum { CEL_DOUBLE_COST = 60 };

/* Comparing long texts. */
static inline void cel_spend_text(cel_call *call, const cel_value *text)
{
    if (text->kind == CEL_STRING || text->kind == CEL_BYTES)
        call->cost += text->len / 512;
}

/* Finding a key in a view, which is searched from the front. */
static inline uint64_t cel_find_cost(const cel_map *map)
{
    return map->entries ? 0 : map->len / 4 + map->mask;
}
static inline void cel_spend_find(cel_call *call, const cel_map *map)
{
    call->cost += cel_find_cost(map);
}
/* What a view had to make of a list, and of the lists in it, to show it. */
uint64_t cel_list_cost(const cel_list *list);
static inline void cel_spend_found(cel_call *call, const cel_map *map, const cel_value *value)
{
    if (!map->entries && value->kind == CEL_LIST)
        call->cost += cel_list_cost(value->as.list);
}

/* NULL when the arena is full or the limit reached; cel_fail_memory() knows which. Memory is paid
 * by its size: fresh pages are slow. */
static inline void *cel_alloc(cel_call *call, size_t size)
{
    call->cost += size / 16;
    if (call->cost > call->limit)
        return NULL;
    return wm_arena_alloc(call->arena, size > 0 ? size : 1);
}

/* ---- ops.c ---- */

/* False as well when the limit is reached: look at the cost behind it. */
bool cel_equal_deep(const cel_value *a, const cel_value *b, cel_call *call, int depth);
/* -1, 0, 1; 2 when they have no order (NaN), 3 when their kinds cannot be compared. */
int cel_compare(const cel_value *a, const cel_value *b);
cel_value cel_op_add(cel_call *call, const cel_value *args);
cel_value cel_op_sub(cel_call *call, const cel_value *args);
cel_value cel_op_mul(cel_call *call, const cel_value *args);
cel_value cel_op_div(cel_call *call, const cel_value *args);
cel_value cel_op_mod(cel_call *call, const cel_value *args);
cel_value cel_op_neg(cel_call *call, const cel_value *args);
cel_value cel_op_in(cel_call *call, const cel_value *args);
cel_value cel_op_index(cel_call *call, const cel_value *operand, const cel_value *key,
                       bool optional);
cel_value cel_op_select(cel_call *call, const cel_value *operand, const char *name, size_t len,
                        bool optional);

/* ---- value.c ---- */

/* False when the key is missing, or of a kind that no key has. */
bool cel_map_find(const cel_map *map, wm_arena *arena, const cel_value *key, cel_value *value);
bool cel_map_find_name(const cel_map *map, wm_arena *arena, const char *name, size_t len,
                       cel_value *value);
/* NULL when the arena is full (or the map empty). */
const cel_entry *cel_map_entries(const cel_map *map, wm_arena *arena);
/* Takes over `entries`. */
cel_value cel_map_build(cel_call *call, const cel_entry *entries, size_t n);
cel_value cel_list_build(cel_call *call, const cel_value *items, size_t n);
cel_value cel_optional_of(cel_call *call, cel_value value);
static inline cel_value cel_optional_none(void)
{
    return (cel_value){.kind = CEL_OPTIONAL, .as = {.optional = NULL}};
}
/* Copies the bytes; CEL_ERROR when the arena is full. */
cel_value cel_string_copy(cel_call *call, const char *text, size_t len);
cel_value cel_string_from(cel_call *call, wm_buf *buf); /* and frees it */
/* Texts of scalars. */
size_t cel_double_text(double real, char text[32]);     /* as Go's %g */
void cel_double_plain(double real, wm_buf *buf);        /* without an exponent */
size_t cel_duration_text(int64_t nanos, char text[48]); /* "1.5s" */
size_t cel_timestamp_text(const cel_value *time, char text[48]);
bool cel_is_zero(const cel_value *value);

/* A copy that holds on to nothing outside of `arena`; CEL_ERROR, and `call->fatal`, when it is too
 * large. */
cel_value cel_value_keep(cel_call *call, wm_arena *arena, const cel_value *value);

/* ---- functions ---- */

typedef struct cel_table {
    const cel_function *functions;
    size_t n;
} cel_table;

extern const cel_function cel_fn_core[], cel_fn_string[], cel_fn_math[], cel_fn_time[],
    cel_fn_list[], cel_fn_optional[], cel_fn_net[], cel_fn_regex[], cel_fn_encode[],
    cel_fn_format[], cel_fn_geo[], cel_fn_weekly[];
extern const size_t cel_fn_core_n, cel_fn_string_n, cel_fn_math_n, cel_fn_time_n, cel_fn_list_n,
    cel_fn_optional_n, cel_fn_net_n, cel_fn_regex_n, cel_fn_encode_n, cel_fn_format_n, cel_fn_geo_n,
    cel_fn_weekly_n;

/* Sorts by cel_compare(); CEL_ERROR unless all items are of one kind that has an order. */
cel_value cel_sort(cel_call *call, const cel_value *keys, const cel_value *items, size_t n);

#define CEL_TABLE(name, ...)                   \
    const cel_function name[] = {__VA_ARGS__}; \
    const size_t name##_n = WM_ARRAY_LEN(name)

#endif
