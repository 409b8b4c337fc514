/* cel/cel.h - the Common Expression Language: compile once, evaluate often.
 *
 *     cel_env *env = cel_env_new(NULL);
 *     cel_env_add(env, "age", "int", &err);
 *     cel_compile(env, text, len, NULL, &program, &issues);
 *     value = cel_eval(program, &vars, NULL, arena);
 *
 * Threads: an environment that is no longer added to, and a program, are
 *          immutable: any number of threads may use them at once.
 * Memory:  a program owns what it needs and does not point into its environment
 *          or its text. Evaluation allocates from the caller's arena alone; the
 *          result lives there (or in the program, which must live as long).
 * Failure: what is wrong with a text is told in cel_issues, all at once.
 *          Evaluation never fails: errors are values of kind CEL_ERROR.
 */
#ifndef WAYMARK_SERVER_CEL_CEL_H
#define WAYMARK_SERVER_CEL_CEL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CEL_TEXT_MAX = 100000,  /* bytes of one expression */
    CEL_DEPTH_MAX = 250,    /* nesting of an expression, and of values compared or printed */
    CEL_NODES_MAX = 20000,  /* parts of one expression */
    CEL_ISSUES_MAX = 20,    /* diagnostics kept; the rest is counted */
    CEL_COST_MAX = 1000000, /* work units of one evaluation, unless told otherwise */
    CEL_ARGS_MAX = 32,      /* arguments of one call */
    CEL_VARIABLES_MAX = 1000
};

/* ---- values ---- */

typedef enum cel_kind {
    CEL_NULL,
    CEL_BOOL,
    CEL_INT,
    CEL_UINT,
    CEL_DOUBLE,
    CEL_STRING, /* valid UTF-8, may hold NUL, is not terminated by one */
    CEL_BYTES,
    CEL_LIST,
    CEL_MAP,
    CEL_TIMESTAMP,
    CEL_DURATION,
    CEL_TYPE,
    CEL_OPTIONAL,
    CEL_IP,
    CEL_CIDR,
    CEL_ERROR,
    CEL_ABSENT /* a variable that has no value; never the result of an expression */
} cel_kind;

typedef enum cel_error_code {
    CEL_ERROR_OVERLOAD, /* no such overload: a function or operator got other types */
    CEL_ERROR_UNKNOWN,  /* an undeclared name, a variable without a value */
    CEL_ERROR_KEY,      /* no such key, index out of range */
    CEL_ERROR_OVERFLOW, /* of integers, times, conversions */
    CEL_ERROR_ZERO,     /* division or modulus by zero */
    CEL_ERROR_ARGUMENT, /* a text that does not parse, an argument out of range */
    CEL_ERROR_COST,     /* the cost limit was reached */
    CEL_ERROR_MEMORY,   /* the arena's limit was reached */
    CEL_ERROR_DEPTH     /* values nested too deeply */
} cel_error_code;

typedef struct cel_value cel_value;
typedef struct cel_entry cel_entry;
typedef struct cel_list cel_list;
typedef struct cel_map cel_map;
typedef struct cel_map_ops cel_map_ops;
typedef struct cel_net cel_net;

typedef struct cel_error {
    cel_error_code code;
    uint32_t pos; /* byte offset in the expression */
    const char *message;
} cel_error;

struct cel_value {
    uint32_t kind; /* cel_kind */
    uint32_t len;  /* STRING, BYTES: bytes; TIMESTAMP: nanoseconds after `integer` */
    union {
        bool boolean;
        int64_t integer; /* INT; TIMESTAMP: Unix seconds; DURATION: nanoseconds */
        uint64_t natural;
        double real;
        const char *text; /* STRING, BYTES; TYPE: its name */
        const cel_list *list;
        const cel_map *map;
        const cel_value *optional; /* NULL: none */
        const cel_net *net;
        const cel_error *error;
    } as;
};

struct cel_list {
    uint32_t len;
    const cel_value *items;
};

struct cel_entry {
    cel_value key, value;
};

/* Entries in their order, or a view that makes them when asked. */
struct cel_map {
    uint32_t len;
    uint32_t mask;            /* of `index`, a power of two less one; of a view: see `ops` */
    const cel_entry *entries; /* NULL for a view */
    const uint32_t *index;    /* entry number + 1, 0 is free; NULL for a small map */
    const cel_map_ops *ops;
    const void *data;
};

/* A view's `mask` is the work units that finding a name costs beyond a quarter of one for each
 * member. */
struct cel_map_ops {
    /* False when there is no such key. Only asked for keys of kind STRING. */
    bool (*find)(const cel_map *map, wm_arena *arena, const char *key, size_t len,
                 cel_value *value);
    /* `map->len` entries, or NULL when the arena is full. */
    const cel_entry *(*entries)(const cel_map *map, wm_arena *arena);
};

struct cel_net {
    uint8_t bytes[16];
    uint8_t family; /* 4 or 6 */
    uint8_t prefix; /* of a CIDR */
};

static inline cel_value cel_of_null(void)
{
    cel_value value = {CEL_NULL, 0, {0}};

    value.as.natural = 0;
    return value;
}
static inline cel_value cel_of_bool(bool boolean)
{
    cel_value value = {CEL_BOOL, 0, {0}};

    value.as.natural = boolean;
    return value;
}
static inline cel_value cel_of_int(int64_t integer)
{
    cel_value value = {CEL_INT, 0, {0}};

    value.as.integer = integer;
    return value;
}
static inline cel_value cel_of_uint(uint64_t natural)
{
    cel_value value = {CEL_UINT, 0, {0}};

    value.as.natural = natural;
    return value;
}
static inline cel_value cel_of_double(double real)
{
    cel_value value = {CEL_DOUBLE, 0, {0}};

    value.as.real = real;
    return value;
}
/* Points at the text, which must be valid UTF-8. */
static inline cel_value cel_of_string(const char *text, size_t len)
{
    cel_value value = {CEL_STRING, (uint32_t)len, {0}};

    value.as.text = text;
    return value;
}
static inline cel_value cel_of_bytes(const void *bytes, size_t len)
{
    cel_value value = {CEL_BYTES, (uint32_t)len, {0}};

    value.as.text = (const char *)bytes;
    return value;
}
static inline cel_value cel_of_timestamp(int64_t seconds, uint32_t nanos)
{
    cel_value value = {CEL_TIMESTAMP, nanos, {0}};

    value.as.integer = seconds;
    return value;
}
static inline cel_value cel_of_duration(int64_t nanos)
{
    cel_value value = {CEL_DURATION, 0, {0}};

    value.as.integer = nanos;
    return value;
}
static inline cel_value cel_of_list(const cel_list *list)
{
    cel_value value = {CEL_LIST, 0, {0}};

    value.as.list = list;
    return value;
}
static inline cel_value cel_of_map(const cel_map *map)
{
    cel_value value = {CEL_MAP, 0, {0}};

    value.as.map = map;
    return value;
}
/* `name`: "int", "map", ...; kept, not copied. */
static inline cel_value cel_of_type(const char *name)
{
    cel_value value = {CEL_TYPE, 0, {0}};

    value.as.text = name;
    return value;
}

/* A list and a map over what the arena holds; CEL_ERROR when it is full, when a key is of a
 * kind that cannot be one, or comes twice. The items are not copied. */
cel_value cel_list_value(wm_arena *arena, const cel_value *items, size_t n);
cel_value cel_map_value(wm_arena *arena, const cel_entry *entries, size_t n);

/* A view over a JSON tree, which must outlive it; numbers are doubles. */
cel_value cel_json_view(wm_arena *arena, const wm_json *json);
/* The tree that a value is a view over, or NULL. Lists are no views. */
const wm_json *cel_json_of(const cel_value *value);
/* A view over JSON text that is valid, such as that of a jsonb column; it must outlive the view.
 * Nothing is decoded before it is asked for; what is nested more than 64 deep is null. */
cel_value cel_json_text(wm_arena *arena, const char *text, size_t len);
/* A view over a protobuf-c message by its descriptor, without copying: fields by name,
 * google.protobuf's Struct, Value, ListValue, Timestamp, Duration and wrappers as what they mean.
 */
cel_value cel_message_view(wm_arena *arena, const ProtobufCMessage *message);

/* The name of the value's type: "int", "google.protobuf.Timestamp", ... */
const char *cel_type_name(const cel_value *value);
/* As a CEL literal or constructor call, for people. Cut when the buffer is full. */
void cel_value_print(wm_buf *buf, const cel_value *value);
/* As JSON: whole numbers as numbers where they are exact, bytes in base64. */
void cel_value_json(wm_buf *buf, const cel_value *value);

/* ---- environments ---- */

typedef struct cel_env cel_env;
typedef struct cel_call cel_call;

/* `args` are of the kinds that the signature names. */
typedef cel_value (*cel_function_fn)(cel_call *call, const cel_value *args, size_t n);

/* One overload. A signature has a letter for each type:
 *   n null  b bool  i int  u uint  d double  s string  y bytes  t timestamp  D duration  T type
 *   x dyn  I ip  C cidr  A B variables  L list of the next  M map of the next two  O optional of
 * the next
 */
typedef struct cel_function {
    const char *name; /* "size", "math.abs" */
    bool member;      /* called as first.name(rest) */
    bool impure;      /* reads more than its arguments: never folded */
    const char *args; /* "sLi" */
    const char *result;
    cel_function_fn call;
} cel_function;

/* `container`: the namespace in which names are looked up first, or NULL. */
cel_env *cel_env_new(const char *container);
void cel_env_free(cel_env *env);
/* Declares a variable, "a" or "a.b", of a type such as "int", "list(string)", "map(string,dyn)",
 * "dyn". Its place is the number of variables declared before. */
WM_MUST_USE wm_code cel_env_add(cel_env *env, const char *name, const char *type, wm_err *err);
/* Adds overloads of the host, which must outlive the environment and its programs. */
void cel_env_functions(cel_env *env, const cel_function *functions, size_t n);

/* For variables that come from JSON, where all numbers are doubles: where numbers of different
 * kinds meet in + - * / %, they meet as doubles, so that `data.n + 1` is what it looks like.
 * Without it that is an error, as the language has it. Before the first program. */
void cel_env_json_numbers(cel_env *env);

/* ---- programs ---- */

typedef struct cel_program cel_program;

typedef struct cel_issue {
    uint32_t pos;          /* byte offset */
    uint32_t line, column; /* from 1; columns count code points */
    char message[200];
} cel_issue;

typedef struct cel_issues {
    size_t n; /* kept in `issues` */
    size_t dropped;
    cel_issue issues[CEL_ISSUES_MAX];
} cel_issues;

typedef struct cel_options {
    bool unchecked;     /* unknown names and types are found only when evaluated */
    bool no_macros;     /* has, all, map ... are ordinary functions */
    const char *result; /* the type that the result must have ("bool"), or NULL */
} cel_options;

/* WM_INVALID when the text is wrong: `issues` says how. `options` may be NULL. */
WM_MUST_USE wm_code cel_compile(const cel_env *env, const char *text, size_t len,
                                const cel_options *options, cel_program **program,
                                cel_issues *issues);
void cel_program_free(cel_program *program);
/* The type found by the checker, "list(int)"; lives as long as the program. */
const char *cel_program_type(const cel_program *program);
/* The most elements, or bytes of a text, that an attribute has: a variable's place, and the names
 * from it on ("tags", "a.b"; "" or NULL is the variable itself). */
typedef struct cel_size_hint {
    size_t place;
    const char *path;
    uint64_t size;
} cel_size_hint;

typedef struct cel_cost {
    uint64_t min, max; /* work units; UINT64_MAX: no bound is known */
} cel_cost;

enum { CEL_SIZE_USUAL = 1000 };

/* What an evaluation costs in which nothing is an error, as far as the expression tells. What has
 * no hint is taken to have at most `usual` elements or bytes, 0 for CEL_SIZE_USUAL. The limit of
 * cel_eval() holds in any case; this is for refusing a condition when it is stored. */
cel_cost cel_program_cost(const cel_program *program, const cel_size_hint *hints, size_t n,
                          uint64_t usual);
/* The expression in canonical form. */
void cel_program_print(const cel_program *program, wm_buf *buf);

/* Tells of each call of a function in the text: its first argument where that is a literal, else
 * NULL. For hosts whose functions take names that must exist. */
typedef void (*cel_found_call_fn)(void *ctx, const cel_value *argument, uint32_t pos);
void cel_program_calls(const cel_program *program, const char *name, cel_found_call_fn found,
                       void *ctx);

/* "LINE:COLUMN: message", the line itself, and a caret under the place; one after another. */
void cel_issues_print(const cel_issues *issues, const char *text, size_t len, wm_buf *buf);

/* Where the variables come from, by their places in the environment. A place whose value is
 * CEL_ABSENT, or all when `values` is NULL, is asked of `resolve`; without an answer the
 * variable is an error where it is used. */
typedef struct cel_vars {
    const cel_value *values;
    size_t n;
    bool (*resolve)(const struct cel_vars *vars, size_t place, wm_arena *arena, cel_value *value);
    void *data; /* the host's, also for its functions */
} cel_vars;

/* `cost` (may be NULL): in, the limit, 0 for CEL_COST_MAX; out, what was spent. */
cel_value cel_eval(const cel_program *program, const cel_vars *vars, uint64_t *cost,
                   wm_arena *arena);

/* ---- partial evaluation ---- */

/* What is not known: a variable by its place, or a part of it, by the names on the way, where "*"
 * is any name: "" or NULL is all of it, "attributes.color", "*.owner". */
typedef struct cel_unknown {
    size_t place;
    const char *path;
} cel_unknown;

typedef struct cel_unknowns {
    const cel_unknown *paths;
    size_t n_paths;
    const char *const *functions; /* of the host: whose calls must wait as well */
    size_t n_functions;
} cel_unknowns;

/* Reads "resource", "resource.*": a declared variable and the rest. `path` points into `text`. */
WM_MUST_USE wm_code cel_unknown_parse(const cel_env *env, const char *text, cel_unknown *unknown,
                                      wm_err *err);

typedef struct cel_partial {
    cel_value value;       /* decided, also as an error; CEL_ABSENT when there is a residual */
    cel_program *residual; /* the caller's to free */
} cel_partial;

/* Evaluates as far as the known variables go. The residual gives, with the rest known, what the
 * program gives with everything known; it has the variables of the same environment at the same
 * places, holds what was known as constants, and depends on nothing else. `vars` and `cost` as
 * for cel_eval(); the residual's text is for people: it may hold what a checker would refuse. */
cel_partial cel_eval_partial(const cel_program *program, const cel_vars *vars,
                             const cel_unknowns *unknowns, uint64_t *cost, wm_arena *arena);

/* ---- trace ---- */

enum { CEL_STEP_TEXT_MAX = 200, CEL_STEPS_SHOWN_MAX = 1000 };

/* A part of the expression and what it was; literals are left out. */
typedef struct cel_step {
    const char *text; /* canonical; cut when it is long */
    uint32_t pos;     /* byte offset, as of errors */
    uint32_t depth;   /* 0: the whole */
    uint32_t times;   /* how often it was evaluated: 0 when it did not matter, more in a macro */
    cel_value value;  /* of the last time; CEL_ABSENT for none */
} cel_step;

typedef struct cel_trace {
    cel_value value; /* of the whole */
    size_t n, dropped;
    const cel_step *steps; /* each before its parts */
} cel_trace;

/* cel_eval() that tells what every part was. Slower; all of it lives in the arena. */
cel_trace cel_eval_trace(const cel_program *program, const cel_vars *vars, uint64_t *cost,
                         wm_arena *arena);

/* For functions of the host. */
wm_arena *cel_call_arena(cel_call *call);
void *cel_call_data(cel_call *call);
cel_value cel_call_fail(cel_call *call, cel_error_code code, const char *fmt, ...) WM_PRINTF(3, 4);

/* Heterogeneous equality, as `==` has it; false beyond CEL_COST_MAX comparisons. */
bool cel_equal(wm_arena *arena, const cel_value *a, const cel_value *b);

#ifdef __cplusplus
}
#endif
#endif
