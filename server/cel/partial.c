/* cel/partial.c - evaluation as far as it goes when some variables are unknown.
 *
 * Two walks over the code. mark() finds what is open, that is, depends on something unknown.
 * reduce() evaluates what is not, by the functions of eval.c, and makes a tree of the rest: what
 * is known stands in it as constants. Where an operand decides alone (&&, ||, ? :, all, exists, an
 * optional without a value) the rest goes, also what is unknown; an error stays in its place,
 * because another operand may still make it not matter.
 *
 * all() and exists() over known elements become && and ||, so that each element is decided for
 * itself. Other macros stay macros, over what is known of their range, when their bodies are open.
 */
#include <stdlib.h>
#include <string.h>

#include "server/cel/functions.h"
#include "server/cel/internal.h"

enum {
    RESIDUAL_SIZE_MAX = 32 * 1024 * 1024,
    UNROLL_MAX = 64,        /* elements of one all() or exists() */
    UNROLL_NODES_MAX = 5000 /* parts of the residual from which on nothing is unrolled */
};

typedef enum part_kind {
    PART_KNOWN, /* `value` */
    PART_ERROR, /* `ast` is an error whatever the unknown is, such as `value` */
    PART_OPEN   /* `ast` */
} part_kind;

typedef struct part {
    part_kind kind;
    cel_value value;
    cel_ast *ast;
} part;

typedef struct partial {
    cel_call call;
    const cel_unknowns *unknowns;
    bool *open;       /* by the code's id */
    bool *open_slots; /* by the slot of a macro's variable */
    cel_program *made;
    uint32_t nodes;
} partial;

static part reduce(partial *p, const cel_code *code);

/* ---- what is unknown ---- */

bool cel_path_add(cel_path *path, const char *name, size_t len)
{
    if (path->n == CEL_STEPS_MAX)
        return false;
    path->steps[path->n].name = name;
    path->steps[path->n++].len = len;
    return true;
}

bool cel_path_of(const cel_code *code, cel_path *path)
{
    const cel_value *key;

    if (code->run == cel_run_var) {
        *path = (cel_path){.variable = code};
        return true;
    }
    if (code->run != cel_run_select && code->run != cel_run_ops[OP_INDEX])
        return false;
    if (!cel_path_of(code->args[0], path))
        return false;
    path->optional |= code->optional;
    if (code->run == cel_run_select)
        return cel_path_add(path, code->name, code->name_len);
    key = &code->args[1]->value;
    return code->args[1]->run == cel_run_const && key->kind == CEL_STRING &&
           cel_path_add(path, key->as.text, key->len);
}

/* Whether the path and an unknown one meet: one of them leads into the other. */
static bool paths_meet(const cel_path *path, const char *unknown)
{
    for (size_t i = 0; i < path->n; i++) {
        size_t len = unknown ? strcspn(unknown, ".") : 0;

        if (len == 0)
            return true;
        if (!(len == 1 && *unknown == '*') &&
            (len != path->steps[i].len || memcmp(unknown, path->steps[i].name, len) != 0))
            return false;
        unknown += len + (unknown[len] == '.');
    }
    return true;
}

static bool path_is_open(const partial *p, const cel_path *path)
{
    for (size_t i = 0; i < p->unknowns->n_paths; i++)
        if (p->unknowns->paths[i].place == path->variable->place &&
            paths_meet(path, p->unknowns->paths[i].path))
            return true;
    return false;
}

static bool function_is_open(const partial *p, const cel_code *code)
{
    for (size_t i = 0; code->n_overloads > 0 && i < p->unknowns->n_functions; i++)
        if (strcmp(code->overloads[0]->name, p->unknowns->functions[i]) == 0)
            return true;
    return false;
}

static bool mark(partial *p, const cel_code *code);

/* The range, then the bodies with the macro's variables as open as the range is. */
static void mark_bodies(partial *p, const cel_code *code, bool open)
{
    p->open_slots[code->place] = open;
    if (code->two)
        p->open_slots[code->place + 1] = open;
    for (uint32_t i = 1; i < code->n; i++)
        mark(p, code->args[i]);
}

static bool mark_inside(partial *p, const cel_code *code)
{
    bool open = false;
    cel_path path;

    if (code->run == cel_run_local)
        return p->open_slots[code->place];
    if (code->run == cel_run_const || code->run == cel_run_problem)
        return false;
    if (code->ast->kind == AST_MACRO)
        mark_bodies(p, code, mark(p, code->args[0]));
    else
        for (uint32_t i = 0; i < code->n; i++)
            mark(p, code->args[i]);
    if (cel_path_of(code, &path))
        return path_is_open(p, &path);
    if (code->run == cel_run_has && cel_path_of(code->args[0], &path) &&
        cel_path_add(&path, code->name, code->name_len))
        return path_is_open(p, &path);
    for (uint32_t i = 0; i < code->n; i++)
        open |= p->open[code->args[i]->id];
    return open || function_is_open(p, code);
}

static bool mark(partial *p, const cel_code *code)
{
    p->call.cost++;
    p->open[code->id] = mark_inside(p, code);
    return p->open[code->id];
}

/* ---- the residual's tree ---- */

static part part_known(cel_value value)
{
    return (part){.kind = PART_KNOWN, .value = value};
}

static part part_of(part_kind kind, cel_ast *ast)
{
    return (part){.kind = kind, .ast = ast};
}

/* Never NULL: a node that stands for all others when there is no room. */
static cel_ast *node_new(partial *p)
{
    static cel_ast none;
    cel_ast *ast = NULL;

    if (++p->nodes <= CEL_NODES_MAX)
        ast = wm_arena_zalloc(&p->made->arena, sizeof *ast);
    if (ast)
        return ast;
    cel_fail_memory(&p->call);
    return &none;
}

static const cel_type *type_of_kind(int kind)
{
    return kind > CEL_CIDR || kind == CEL_LIST || kind == CEL_MAP || kind == CEL_OPTIONAL
               ? &cel_type_dyn
               : cel_type_simple(kind);
}

static cel_ast *node_const(partial *p, uint32_t pos, const cel_value *value)
{
    cel_ast *ast = node_new(p);

    if (p->call.fatal)
        return ast;
    ast->kind = AST_CONST;
    ast->pos = pos;
    ast->depth = 1;
    ast->value = cel_value_keep(&p->call, &p->made->arena, value);
    ast->rooted = value->kind == CEL_TYPE; /* in a container "list" may be a variable */
    ast->type = type_of_kind((int)value->kind);
    return ast;
}

static cel_ast *node_of(partial *p, const cel_code *code, part part)
{
    return part.kind == PART_KNOWN ? node_const(p, code->pos, &part.value) : part.ast;
}

static const char *keep_name(partial *p, const char *name)
{
    return name ? wm_arena_strdup(&p->made->arena, name) : NULL;
}

/* The node without its arguments, in the residual's memory. */
static cel_ast *node_like(partial *p, const cel_ast *from, size_t n, int type)
{
    wm_arena *arena = &p->made->arena;
    cel_ast *ast = node_new(p);

    if (p->call.fatal)
        return ast;
    *ast = *from;
    ast->name = keep_name(p, from->name);
    ast->vars[0] = keep_name(p, from->vars[0]);
    ast->vars[1] = keep_name(p, from->vars[1]);
    ast->type = type_of_kind(type);
    ast->n = (uint16_t)n;
    ast->args = wm_arena_array(arena, n + 1, sizeof *ast->args);
    if (from->marks)
        ast->marks = wm_arena_memdup(arena, from->marks, from->n * sizeof *ast->marks);
    if (from->n_overloads > 0)
        ast->overloads =
            wm_arena_memdup(arena, from->overloads, from->n_overloads * sizeof *ast->overloads);
    if (!ast->args || (from->marks && !ast->marks) || (from->n_overloads > 0 && !ast->overloads))
        cel_fail_memory(&p->call);
    return ast;
}

/* As it was: the parts of a name, what is wrong in itself, an operand. Without its types, which may
 * be those of an environment that is gone. */
static cel_ast *copy_whole(partial *p, const cel_ast *from)
{
    cel_ast *ast;

    if (from->kind == AST_CONST)
        return node_const(p, from->pos, &from->value);
    ast = node_like(p, from, from->n, TYPE_DYN);
    for (uint16_t i = 0; !p->call.fatal && i < from->n; i++)
        ast->args[i] = copy_whole(p, from->args[i]);
    return ast;
}

/* A variable, which may be a selection to look at: "a.b"; or any other node. */
static cel_ast *copy_of(partial *p, const cel_code *code)
{
    cel_ast *ast = copy_whole(p, code->ast);

    if (!p->call.fatal)
        ast->type = type_of_kind(code->type);
    return ast;
}

/* The node over what its arguments became. */
static cel_ast *node_over(partial *p, const cel_code *code, const part *parts)
{
    const cel_ast *from = code->ast;
    size_t skip = from->namespaced;
    cel_ast *ast = node_like(p, from, from->n, code->type);

    if (!p->call.fatal && skip)
        ast->args[0] = copy_whole(p, from->args[0]);
    for (uint32_t i = 0; !p->call.fatal && i < code->n; i++)
        ast->args[i + skip] = node_of(p, code->args[i], parts[i]);
    return ast;
}

/* ---- operators ---- */

static part part_wrong(cel_value error, cel_ast *ast)
{
    return (part){PART_ERROR, error, ast};
}

static part *parts_new(partial *p, size_t n)
{
    part *parts = wm_arena_array(p->call.arena, n + 1, sizeof *parts);

    if (!parts)
        cel_fail_memory(&p->call);
    return parts;
}

/* Runs the node over arguments that are all known. */
static cel_value run_known(partial *p, const cel_code *code, const part *parts)
{
    cel_code *consts = wm_arena_array(p->call.arena, code->n + 1u, sizeof *consts);
    const cel_code **args = wm_arena_array(p->call.arena, code->n + 1u, sizeof *args);
    cel_code node = *code;

    if (!consts || !args)
        return cel_fail_memory(&p->call);
    for (uint32_t i = 0; i < code->n; i++) {
        consts[i] = *code->args[i];
        consts[i].run = cel_run_const;
        consts[i].value = parts[i].value;
        args[i] = &consts[i];
    }
    node.args = args;
    return cel_run(&p->call, &node);
}

static part run_parts(partial *p, const cel_code *code, const part *parts)
{
    cel_value value = run_known(p, code, parts);

    if (value.kind != CEL_ERROR)
        return part_known(value);
    return part_wrong(value, node_over(p, code, parts));
}

/* A node that needs all of its arguments. */
static part reduce_strict(partial *p, const cel_code *code)
{
    part *parts = parts_new(p, code->n);
    const part *wrong = NULL;
    bool open = false;

    for (uint32_t i = 0; !p->call.fatal && i < code->n; i++) {
        parts[i] = reduce(p, code->args[i]);
        open |= parts[i].kind == PART_OPEN;
        if (parts[i].kind == PART_ERROR && !wrong)
            wrong = &parts[i];
    }
    if (p->call.fatal)
        return part_known(cel_of_null());
    if (wrong)
        return part_wrong(wrong->value, node_over(p, code, parts));
    if (!open && !function_is_open(p, code))
        return run_parts(p, code, parts);
    return part_of(PART_OPEN, node_over(p, code, parts));
}

/* The operands of an && or || that are left. */
typedef struct operands {
    size_t n, room;
    cel_ast **list;
    bool open;
    cel_value error; /* of the first one that is wrong */
} operands;

static void operands_add(partial *p, operands *all, cel_ast *ast)
{
    if (p->call.fatal)
        return;
    if (all->n == all->room) {
        size_t room = all->room ? all->room * 2 : 8;
        cel_ast **larger = wm_arena_array(p->call.arena, room, sizeof *larger);

        if (!larger) {
            cel_fail_memory(&p->call);
            return;
        }
        if (all->n > 0)
            memcpy(larger, all->list, all->n * sizeof *larger);
        all->list = larger;
        all->room = room;
    }
    all->list[all->n++] = ast;
}

static cel_value wrong_operand(partial *p, uint32_t pos, const cel_value *value)
{
    p->call.pos = pos;
    return cel_fail(&p->call, CEL_ERROR_OVERLOAD, "no such overload: a condition that is a %s",
                    cel_type_name(value));
}

/* False when the operand decides. */
static bool operands_take(partial *p, operands *all, const cel_code *code, part part, bool decides,
                          cel_op op)
{
    bool same = part.kind == PART_OPEN && part.ast->kind == AST_OP && part.ast->code == op;

    if (part.kind == PART_KNOWN && part.value.kind == CEL_BOOL)
        return part.value.as.boolean != decides;
    if (part.kind == PART_KNOWN)
        part = part_wrong(wrong_operand(p, code->pos, &part.value),
                          node_const(p, code->pos, &part.value));
    if (part.kind == PART_OPEN)
        all->open = true;
    else if (all->error.kind != CEL_ERROR)
        all->error = part.value;
    /* a && (b && c) is one node. */
    for (uint16_t i = 0; same && i < part.ast->n; i++)
        operands_add(p, all, part.ast->args[i]);
    if (!same)
        operands_add(p, all, part.ast);
    return true;
}

/* What && or || of the operands is; none of them decided. */
static part operands_join(partial *p, const operands *all, uint32_t pos, bool decides, cel_op op)
{
    cel_value other = cel_of_bool(!decides);
    size_t n = all->n;
    uint16_t depth = 0;
    cel_ast *ast;

    if (n == 0)
        return part_known(other);
    /* What may be no bool stays an operand, so that it is refused. */
    if (n == 1 && all->list[0]->type->kind == CEL_BOOL)
        return (part){all->open ? PART_OPEN : PART_ERROR, all->error, all->list[0]};
    ast = node_new(p);
    if (p->call.fatal)
        return part_known(other);
    *ast = (cel_ast){.kind = AST_OP, .code = (uint8_t)op, .pos = pos};
    ast->type = cel_type_simple(CEL_BOOL);
    ast->args = wm_arena_array(&p->made->arena, n + 1, sizeof *ast->args);
    if (!ast->args) {
        cel_fail_memory(&p->call);
        return part_known(other);
    }
    memcpy(ast->args, all->list, n * sizeof *ast->args);
    if (n == 1)
        ast->args[n++] = node_const(p, pos, &other);
    ast->n = (uint16_t)n;
    for (size_t i = 0; i < all->n; i++)
        if (ast->args[i]->depth > depth)
            depth = ast->args[i]->depth;
    ast->depth = (uint16_t)(depth + 1);
    return all->open ? part_of(PART_OPEN, ast) : part_wrong(all->error, ast);
}

static part reduce_logic(partial *p, const cel_code *code, bool decides)
{
    cel_op op = decides ? OP_OR : OP_AND;
    operands all = {.error = {.kind = CEL_NULL}};

    for (uint32_t i = 0; !p->call.fatal && i < code->n; i++)
        if (!operands_take(p, &all, code->args[i], reduce(p, code->args[i]), decides, op))
            return part_known(cel_of_bool(decides));
    return operands_join(p, &all, code->pos, decides, op);
}

static part reduce_cond(partial *p, const cel_code *code)
{
    part parts[3] = {reduce(p, code->args[0])};
    cel_value error;

    if (parts[0].kind == PART_KNOWN && parts[0].value.kind == CEL_BOOL)
        return reduce(p, code->args[parts[0].value.as.boolean ? 1 : 2]);
    parts[1] = reduce(p, code->args[1]);
    parts[2] = reduce(p, code->args[2]);
    if (parts[0].kind == PART_OPEN)
        return part_of(parts[1].kind == PART_ERROR && parts[2].kind == PART_ERROR ? PART_ERROR
                                                                                  : PART_OPEN,
                       node_over(p, code, parts));
    error =
        parts[0].kind == PART_KNOWN ? wrong_operand(p, code->pos, &parts[0].value) : parts[0].value;
    return part_wrong(error, node_over(p, code, parts));
}

/* A node whose first argument may make that the second one is not looked at, but does not here. */
static part reduce_second(partial *p, const cel_code *code, part first)
{
    part parts[2] = {first, reduce(p, code->args[1])};

    if (parts[0].kind == PART_OPEN)
        return part_of(PART_OPEN, node_over(p, code, parts));
    if (parts[0].kind == PART_ERROR || parts[1].kind == PART_ERROR)
        return part_wrong(parts[parts[0].kind != PART_ERROR].value, node_over(p, code, parts));
    if (parts[1].kind == PART_OPEN)
        return part_of(PART_OPEN, node_over(p, code, parts));
    return run_parts(p, code, parts);
}

/* a.or(b) and a.orValue(b), which look at b only without a. */
static part reduce_or(partial *p, const cel_code *code)
{
    part parts[2] = {reduce(p, code->args[0])};

    if (parts[0].kind == PART_KNOWN && parts[0].value.kind == CEL_OPTIONAL &&
        parts[0].value.as.optional) {
        parts[1] = part_known(cel_optional_none());
        return run_parts(p, code, parts);
    }
    return reduce_second(p, code, parts[0]);
}

/* a[b], which looks at b only if a is not optional.none(). */
static part reduce_index(partial *p, const cel_code *code)
{
    part first = reduce(p, code->args[0]);

    if (first.kind == PART_KNOWN && first.value.kind == CEL_OPTIONAL && !first.value.as.optional)
        return first;
    return reduce_second(p, code, first);
}

/* ---- macros ---- */

/* The macro itself, over what its range is, with bodies in which its variables are open. */
static part keep_macro(partial *p, const cel_code *code, part range)
{
    part parts[3] = {range};
    bool wrong = !p->open[code->id];

    mark_bodies(p, code, true);
    for (uint32_t i = 1; !p->call.fatal && i < code->n; i++)
        parts[i] = reduce(p, code->args[i]);
    if (p->call.fatal)
        return range;
    return part_of(wrong ? PART_ERROR : PART_OPEN, node_over(p, code, parts));
}

static void set_element(partial *p, const cel_code *code, const cel_value *range,
                        const cel_entry *entries, uint32_t i)
{
    cel_value *slots = p->call.slots + code->place;

    slots[0] = entries ? entries[i].key : code->two ? cel_of_int(i) : range->as.list->items[i];
    if (code->two)
        slots[1] = entries ? entries[i].value : range->as.list->items[i];
}

/* all() and exists() over known elements: && or || of what their bodies are. */
static part unroll(partial *p, const cel_code *code, const cel_value *range, bool decides)
{
    operands all = {.error = {.kind = CEL_NULL}};
    bool is_map = range->kind == CEL_MAP;
    uint32_t n = is_map ? range->as.map->len : range->as.list->len;
    const cel_entry *entries = is_map ? cel_map_entries(range->as.map, p->call.arena) : NULL;
    cel_op op = decides ? OP_OR : OP_AND;

    mark_bodies(p, code, false);
    for (uint32_t i = 0; !p->call.fatal && i < n; i++) {
        set_element(p, code, range, entries, i);
        if (!operands_take(p, &all, code->args[1], reduce(p, code->args[1]), decides, op))
            return part_known(cel_of_bool(decides));
    }
    return operands_join(p, &all, code->pos, decides, op);
}

static bool may_unroll(const partial *p, const cel_code *code, const cel_value *range)
{
    uint32_t n = range->kind == CEL_LIST  ? range->as.list->len
                 : range->kind == CEL_MAP ? range->as.map->len
                                          : UNROLL_MAX + 1;

    return (code->ast->code == MACRO_ALL || code->ast->code == MACRO_EXISTS) && n <= UNROLL_MAX &&
           p->nodes < UNROLL_NODES_MAX;
}

/* cel.bind(): an error counts where the name is used. */
static part reduce_bind(partial *p, const cel_code *code)
{
    part parts[2] = {reduce(p, code->args[0])};

    if (parts[0].kind == PART_KNOWN) {
        mark_bodies(p, code, false);
        p->call.slots[code->place] = parts[0].value;
        return reduce(p, code->args[1]);
    }
    mark_bodies(p, code, true);
    parts[1] = reduce(p, code->args[1]);
    if (parts[1].kind == PART_KNOWN)
        return parts[1];
    if (!p->open[code->id])
        parts[1].kind = PART_ERROR;
    return (part){parts[1].kind, parts[1].value, node_over(p, code, parts)};
}

/* optMap() and optFlatMap() of what is known: the body decides. */
static part reduce_opt(partial *p, const cel_code *code, part range)
{
    part parts[2] = {range};

    if (range.value.kind == CEL_OPTIONAL && range.value.as.optional) {
        mark_bodies(p, code, false);
        p->call.slots[code->place] = *range.value.as.optional;
        parts[1] = reduce(p, code->args[1]);
        if (parts[1].kind != PART_KNOWN || p->call.fatal)
            return p->call.fatal ? range : keep_macro(p, code, range);
    } else {
        parts[1] = part_known(cel_of_null()); /* not looked at */
    }
    return run_parts(p, code, parts);
}

static part reduce_macro(partial *p, const cel_code *code)
{
    part range;

    if (code->ast->code == MACRO_BIND)
        return reduce_bind(p, code);
    range = reduce(p, code->args[0]);
    if (p->call.fatal)
        return range;
    if (range.kind == PART_KNOWN && may_unroll(p, code, &range.value))
        return unroll(p, code, &range.value, code->ast->code == MACRO_EXISTS);
    if (range.kind == PART_KNOWN &&
        (code->ast->code == MACRO_OPT_MAP || code->ast->code == MACRO_OPT_FLAT_MAP))
        return reduce_opt(p, code, range);
    if (range.kind != PART_ERROR)
        return keep_macro(p, code, range);
    return part_wrong(range.value, keep_macro(p, code, range).ast);
}

/* ---- the walk ---- */

static part reduce_node(partial *p, const cel_code *code)
{
    if (code->run == cel_run_ops[OP_AND] || code->run == cel_run_ops[OP_OR])
        return reduce_logic(p, code, code->run == cel_run_ops[OP_OR]);
    if (code->run == cel_run_ops[OP_COND])
        return reduce_cond(p, code);
    if (code->run == cel_run_or)
        return reduce_or(p, code);
    if (code->run == cel_run_ops[OP_INDEX])
        return reduce_index(p, code);
    if (code->ast->kind == AST_MACRO)
        return reduce_macro(p, code);
    if (code->run == cel_run_problem)
        return part_of(PART_ERROR, copy_whole(p, code->ast));
    if (code->run == cel_run_var || code->run == cel_run_local)
        return part_of(p->open[code->id] ? PART_OPEN : PART_ERROR, copy_of(p, code));
    return reduce_strict(p, code);
}

/* Evaluates what is known. What then is an error is taken apart all the same: its parts are
 * shown as constants. */
static part reduce(partial *p, const cel_code *code)
{
    cel_value value = {.kind = CEL_ERROR};
    part part;

    if (++p->call.cost > p->call.limit)
        cel_fail_cost(&p->call);
    if (p->call.fatal)
        return part_known(cel_of_null());
    if (code->run == cel_run_const)
        return part_known(code->value);
    if (!p->open[code->id]) {
        value = cel_run(&p->call, code);
        if (value.kind != CEL_ERROR || p->call.fatal)
            return part_known(value);
    }
    part = reduce_node(p, code);
    if (!p->open[code->id]) {
        part.kind = PART_ERROR;
        part.value = value;
    }
    return part;
}

/* ---- the residual program ---- */

static cel_program *program_new(void)
{
    cel_program *made = calloc(1, sizeof *made);

    if (!made)
        abort();
    wm_arena_init(&made->arena, RESIDUAL_SIZE_MAX);
    return made;
}

static void program_finish(partial *p, const cel_program *program, cel_ast *ast)
{
    cel_program *made = p->made;
    cel_issues issues = {.n = 0};
    cel_source source = {.text = "", .arena = &made->arena, .issues = &issues};

    made->ast = ast;
    made->text = "";
    made->type = cel_type_name(&(cel_value){.kind = CEL_BOOL});
    if (ast->type->kind != CEL_BOOL)
        made->type = "dyn";
    made->residual = true;
    made->slots = program->slots;
    made->json_numbers = program->json_numbers;
    made->code = cel_code_make(made, &source, ast, true);
    if (!made->code)
        cel_fail_memory(&p->call);
}

static bool partial_begin(partial *p, const cel_program *program)
{
    p->open = wm_arena_zalloc(p->call.arena, program->codes + 1u);
    p->open_slots = wm_arena_zalloc(p->call.arena, program->slots + 1u);
    p->call.slots = wm_arena_zalloc(p->call.arena, (program->slots + 1u) * sizeof *p->call.slots);
    if (!p->open || !p->open_slots || !p->call.slots)
        return false;
    p->made = program_new();
    return true;
}

static cel_value error_of(partial *p, part part, const cel_program *residual, const cel_vars *vars)
{
    if (part.value.kind == CEL_ERROR)
        return part.value;
    /* The unknown decides which error it is: any will do. */
    return cel_eval(residual, vars, NULL, p->call.arena);
}

cel_partial cel_eval_partial(const cel_program *program, const cel_vars *vars,
                             const cel_unknowns *unknowns, uint64_t *cost, wm_arena *arena)
{
    partial p = {
        .call = {.arena = arena, .vars = vars, .limit = cost && *cost > 0 ? *cost : CEL_COST_MAX},
        .unknowns = unknowns};
    cel_partial result = {.value = {.kind = CEL_ABSENT}};
    part part;

    if (!partial_begin(&p, program)) {
        result.value = cel_fail_memory(&p.call);
        return result;
    }
    mark(&p, program->code);
    part = reduce(&p, program->code);
    if (!p.call.fatal && part.kind != PART_KNOWN)
        program_finish(&p, program, part.ast);
    if (p.call.fatal)
        result.value = (cel_value){.kind = CEL_ERROR, .as = {.error = p.call.fatal}};
    else if (part.kind == PART_KNOWN)
        result.value = part.value;
    else if (part.kind == PART_OPEN)
        result.residual = p.made;
    else
        result.value = error_of(&p, part, p.made, vars);
    if (!result.residual)
        cel_program_free(p.made);
    if (cost)
        *cost = p.call.cost;
    return result;
}

cel_program *cel_program_some(const cel_program *program, const bool *kept, cel_call *call)
{
    partial p = {.call = *call, .made = program_new()};
    operands all = {.error = {.kind = CEL_NULL}};
    const cel_code *code = program->code;
    bool several = code->run == cel_run_ops[OP_AND];
    part joined;

    for (uint32_t i = 0; !p.call.fatal && i < (several ? code->n : 1); i++) {
        const cel_code *operand = several ? code->args[i] : code;

        if (kept[i])
            operands_take(&p, &all, operand, part_of(PART_OPEN, copy_of(&p, operand)), false,
                          OP_AND);
    }
    joined = operands_join(&p, &all, code->pos, false, OP_AND);
    if (!p.call.fatal)
        program_finish(&p, program, joined.ast);
    *call = p.call;
    if (!call->fatal)
        return p.made;
    cel_program_free(p.made);
    return NULL;
}

/* ---- unknowns as texts ---- */

wm_code cel_unknown_parse(const cel_env *env, const char *text, cel_unknown *unknown, wm_err *err)
{
    size_t best = 0;

    for (size_t i = 0; i < env->n; i++) {
        size_t len = strlen(env->variables[i].name);

        if (len <= best || strncmp(text, env->variables[i].name, len) != 0 ||
            (text[len] && text[len] != '.'))
            continue;
        best = len;
        *unknown = (cel_unknown){i, text + len + (text[len] == '.')};
    }
    if (best == 0)
        return wm_fail(err, WM_INVALID, "CEL_VARIABLE", "no variable begins '%.60s'", text);
    return WM_OK;
}
