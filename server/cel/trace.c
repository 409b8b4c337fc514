/* cel/trace.c - what every part of an expression was, for "why was this denied".
 *
 * The code is copied with another function in each node, which calls the node's own and notes the
 * result by the code's id. So plain evaluation pays nothing for it.
 */
#include <string.h>

#include "server/cel/internal.h"

struct cel_tracer {
    const cel_run_fn *runs; /* by id: what the nodes did before */
    uint32_t *times;
    cel_value *values;
};

static cel_value run_traced(cel_call *call, const cel_code *code)
{
    cel_value value = call->tracer->runs[code->id](call, code);

    call->tracer->times[code->id]++;
    call->tracer->values[code->id] = value;
    return value;
}

/* NULL when there is no room. Constants stay as they are: functions may look for them. */
static const cel_code *instrument(wm_arena *arena, cel_run_fn *runs, const cel_code *code)
{
    cel_code *copy;
    const cel_code **args;

    if (code->run == cel_run_const)
        return code;
    copy = wm_arena_memdup(arena, code, sizeof *code);
    args = wm_arena_array(arena, code->n + 1u, sizeof *args);
    if (!copy || !args)
        return NULL;
    for (uint32_t i = 0; i < code->n; i++) {
        args[i] = instrument(arena, runs, code->args[i]);
        if (!args[i])
            return NULL;
    }
    runs[code->id] = code->run;
    copy->run = run_traced;
    copy->args = args;
    return copy;
}

static const char *text_of(wm_arena *arena, const cel_code *code)
{
    size_t len;
    char *text;
    wm_buf buf;

    wm_buf_init(&buf, CEL_STEP_TEXT_MAX);
    cel_ast_print(code->ast, &buf);
    len = buf.size;
    /* Cut between characters. */
    while (buf.failed && len > 0 && ((unsigned char)buf.data[len - 1] & 0xc0) == 0x80)
        len--;
    len -= buf.failed && len > 0 && (unsigned char)buf.data[len - 1] >= 0xc0;
    text = wm_arena_printf(arena, "%.*s%s", (int)len, len > 0 ? buf.data : "",
                           buf.failed ? "..." : "");
    wm_buf_free(&buf);
    return text;
}

/* Adds the code and what is below it; literals are what they say. */
static void list(cel_trace *trace, cel_step *steps, const struct cel_tracer *tracer,
                 wm_arena *arena, const cel_code *code, uint32_t depth)
{
    bool folded = code->run == cel_run_const;

    if (code->ast->kind == AST_CONST)
        return;
    if (trace->n == CEL_STEPS_SHOWN_MAX) {
        trace->dropped++;
    } else {
        steps[trace->n++] = (cel_step){
            .text = text_of(arena, code),
            .pos = code->pos,
            .depth = depth,
            .times = folded ? 1 : tracer->times[code->id],
            .value = folded                        ? code->value
                     : tracer->times[code->id] > 0 ? tracer->values[code->id]
                                                   : (cel_value){.kind = CEL_ABSENT},
        };
    }
    for (uint32_t i = 0; !folded && i < code->n; i++)
        list(trace, steps, tracer, arena, code->args[i], depth + 1);
}

cel_trace cel_eval_trace(const cel_program *program, const cel_vars *vars, uint64_t *cost,
                         wm_arena *arena)
{
    cel_run_fn *runs = wm_arena_array(arena, program->codes, sizeof(cel_run_fn));
    struct cel_tracer tracer = {
        .runs = runs,
        .times = wm_arena_zalloc(arena, program->codes * sizeof *tracer.times),
        .values = wm_arena_array(arena, program->codes, sizeof *tracer.values)};
    cel_call call = {.arena = arena,
                     .vars = vars,
                     .limit = cost && *cost > 0 ? *cost : CEL_COST_MAX,
                     .tracer = &tracer};
    const cel_code *code = NULL;
    cel_trace trace = {.n = 0};
    cel_step *steps = wm_arena_array(arena, CEL_STEPS_SHOWN_MAX, sizeof *steps);

    call.slots = wm_arena_array(arena, program->slots + 1u, sizeof *call.slots);
    if (runs && tracer.times && tracer.values && call.slots && steps)
        code = instrument(arena, runs, program->code);
    if (!code) {
        trace.value = cel_fail_memory(&call);
        return trace;
    }
    trace.value = cel_run(&call, code);
    trace.steps = steps;
    list(&trace, steps, &tracer, arena, program->code, 0);
    if (cost)
        *cost = call.cost;
    return trace;
}
