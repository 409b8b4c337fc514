/* client/cli/cel.c - `waymark cel eval` and `waymark cel check`: expressions without a server.
 *
 * The variables are the members of a JSON object; they are of the type dyn unless --var says
 * otherwise. A wrong expression is shown with a caret under the place.
 */
#include <stdio.h>
#include <string.h>

#include "client/cli/args.h"
#include "server/cel/cel.h"

enum { CEL_OUTPUT_MAX = 16 * 1024 * 1024 };

typedef struct cel_options_given {
    const char *vars, *type;
    args_list declared; /* NAME:TYPE */
    bool trace;
} cel_options_given;

typedef struct cel_session {
    cel_env *env;
    cel_value values[CEL_VARIABLES_MAX];
    size_t n;
} cel_session;

static int cel_declare(cli *cli, cel_session *session, const char *name, const char *type,
                       const wm_json *json)
{
    wm_err err;

    if (cel_env_add(session->env, name, type, &err) != WM_OK)
        return cli_usage(cli, "%s", err.message);
    if (json)
        session->values[session->n] = cel_json_view(&cli->arena, json);
    else
        session->values[session->n].kind = CEL_ABSENT;
    session->n++;
    return ARGS_GO_ON;
}

/* "NAME:TYPE"; the name goes into the arena. NULL when it is something else. */
static const char *cel_split(cli *cli, const char *declared, const char **type)
{
    const char *colon = strchr(declared, ':');

    if (!colon)
        return NULL;
    *type = colon + 1;
    return wm_arena_strndup(&cli->arena, declared, (size_t)(colon - declared));
}

static bool cel_is_declared(cli *cli, const args_list *declared, const char *name)
{
    for (size_t i = 0; i < declared->n; i++) {
        const char *type, *other = cel_split(cli, declared->items[i], &type);

        if (other && strcmp(other, name) == 0)
            return true;
    }
    return false;
}

/* The file's object, or NULL without --vars; false after a complaint. */
static bool cel_read_vars(cli *cli, const char *path, const wm_json **vars, int *code)
{
    size_t size;
    char *text;
    wm_json *json;
    wm_err err;

    *vars = NULL;
    if (!path)
        return true;
    text = cli_read_file(cli, path, &size);
    if (!text) {
        *code = CLI_USAGE;
        return false;
    }
    if (wm_json_parse(&cli->arena, text, size, &json, &err) != WM_OK) {
        *code = cli_failed(cli, path, &err);
        return false;
    }
    if (json->kind != WM_JSON_OBJECT) {
        *code = cli_usage(cli, "%s holds no JSON object", path);
        return false;
    }
    *vars = json;
    return true;
}

static int cel_bind(cli *cli, cel_session *session, const cel_options_given *given)
{
    const wm_json *vars;
    int code = ARGS_GO_ON;

    if (!cel_read_vars(cli, given->vars, &vars, &code))
        return code;
    for (size_t i = 0; code == ARGS_GO_ON && i < given->declared.n; i++) {
        const char *type, *name = cel_split(cli, given->declared.items[i], &type);

        if (!name)
            return cli_usage(cli, "--var takes NAME:TYPE, not %s", given->declared.items[i]);
        code = cel_declare(cli, session, name, type, vars ? wm_json_find(vars, name) : NULL);
    }
    for (const wm_json *member = vars ? vars->first : NULL; code == ARGS_GO_ON && member;
         member = member->next)
        if (!cel_is_declared(cli, &given->declared, member->name))
            code = cel_declare(cli, session, member->name, "dyn", member);
    return code;
}

static int cel_complain(const cel_issues *issues, const char *text)
{
    wm_buf buf;

    wm_buf_init(&buf, CEL_OUTPUT_MAX);
    cel_issues_print(issues, text, strlen(text), &buf);
    fputs(buf.data, stderr);
    wm_buf_free(&buf);
    return CLI_USAGE;
}

static int cel_print_value(const cli *cli, const cel_value *value)
{
    wm_buf buf;

    if (value->kind == CEL_ERROR) {
        fprintf(stderr, "waymark: at byte %u: %s\n", (unsigned)value->as.error->pos + 1,
                value->as.error->message);
        return CLI_REFUSED;
    }
    wm_buf_init(&buf, CEL_OUTPUT_MAX);
    if (cli->json)
        cel_value_json(&buf, value);
    else
        cel_value_print(&buf, value);
    puts(buf.data);
    wm_buf_free(&buf);
    return CLI_OK;
}

static void cel_print_step(wm_buf *buf, const cel_step *step)
{
    wm_buf value;

    wm_buf_init(&value, 64);
    if (step->value.kind == CEL_ABSENT)
        wm_buf_text(&value, "not evaluated");
    else if (step->value.kind == CEL_ERROR)
        wm_buf_printf(&value, "error: %s", step->value.as.error->message);
    else
        cel_value_print(&value, &step->value);
    wm_buf_printf(buf, "%*s%s  =  %s%s", 2 * (int)step->depth, "", step->text,
                  value.size > 0 ? value.data : "", value.failed ? "..." : "");
    wm_buf_free(&value);
    if (step->times > 1)
        wm_buf_printf(buf, "  (%u times)", (unsigned)step->times);
    wm_buf_char(buf, '\n');
}

static void cel_step_json(wm_buf *buf, const cel_step *step)
{
    wm_buf_text(buf, "{\"expression\":");
    wm_json_write_string(buf, step->text, strlen(step->text));
    wm_buf_printf(buf, ",\"byte\":%u,\"depth\":%u,\"times\":%u", (unsigned)step->pos + 1,
                  (unsigned)step->depth, (unsigned)step->times);
    if (step->value.kind == CEL_ERROR) {
        wm_buf_text(buf, ",\"error\":");
        wm_json_write_string(buf, step->value.as.error->message,
                             strlen(step->value.as.error->message));
    } else if (step->value.kind != CEL_ABSENT) {
        wm_buf_text(buf, ",\"value\":");
        cel_value_json(buf, &step->value);
    }
    wm_buf_char(buf, '}');
}

/* What each part was; the exit code is that of the whole. */
static int cel_print_trace(const cli *cli, const cel_trace *trace)
{
    wm_buf buf;

    wm_buf_init(&buf, CEL_OUTPUT_MAX);
    wm_buf_text(&buf, cli->json ? "[" : "");
    for (size_t i = 0; i < trace->n; i++) {
        wm_buf_text(&buf, cli->json && i > 0 ? "," : "");
        if (cli->json)
            cel_step_json(&buf, &trace->steps[i]);
        else
            cel_print_step(&buf, &trace->steps[i]);
    }
    wm_buf_text(&buf, cli->json ? "]\n" : "");
    if (trace->dropped > 0 && !cli->json)
        wm_buf_printf(&buf, "and %zu more\n", trace->dropped);
    fputs(buf.size > 0 ? buf.data : "", stdout);
    wm_buf_free(&buf);
    return trace->value.kind == CEL_ERROR ? CLI_REFUSED : CLI_OK;
}

static int cel_print_program(const cli *cli, const cel_program *program)
{
    wm_buf buf, printed;

    wm_buf_init(&buf, CEL_OUTPUT_MAX);
    if (cli->json) {
        wm_buf_printf(&buf, "{\"type\":\"%s\",\"expression\":", cel_program_type(program));
        wm_buf_init(&printed, CEL_OUTPUT_MAX);
        cel_program_print(program, &printed);
        wm_json_write_string(&buf, printed.data, printed.size);
        wm_buf_free(&printed);
        wm_buf_char(&buf, '}');
    } else {
        wm_buf_printf(&buf, "%s\n", cel_program_type(program));
        cel_program_print(program, &buf);
    }
    puts(buf.data);
    wm_buf_free(&buf);
    return CLI_OK;
}

static int cel_with(cli *cli, cel_session *session, const cel_options_given *given,
                    const char *text, bool evaluate)
{
    cel_options options = {.result = given->type};
    cel_vars vars = {.values = session->values};
    cel_program *program;
    cel_issues issues;
    int code = cel_bind(cli, session, given);

    if (code != ARGS_GO_ON)
        return code;
    if (cel_compile(session->env, text, strlen(text), &options, &program, &issues) != WM_OK)
        return cel_complain(&issues, text);
    vars.n = session->n;
    if (evaluate && given->trace) {
        cel_trace trace = cel_eval_trace(program, &vars, NULL, &cli->arena);

        code = cel_print_trace(cli, &trace);
    } else if (evaluate) {
        cel_value value = cel_eval(program, &vars, NULL, &cli->arena);

        code = cel_print_value(cli, &value);
    } else {
        code = cel_print_program(cli, program);
    }
    cel_program_free(program);
    return code;
}

static int cel_run(cli *cli, int argc, char **argv, bool evaluate)
{
    cel_options_given given = {0};
    const args_option known[] = {
        {"--vars", ARGS_TEXT, &given.vars, "FILE.json",
         "an object: the variables and their values"},
        {"--var", ARGS_LIST, &given.declared, "NAME:TYPE",
         "a variable's type, as int or map(string,dyn); may be repeated"},
        {"--type", ARGS_TEXT, &given.type, "TYPE", "what the expression must be, as bool"},
        {"--trace", ARGS_FLAG, &given.trace, NULL, "tells what each part of the expression was"},
    };
    const char *text = NULL;
    /* Only what is evaluated has a trace, the last option. */
    size_t n_known = WM_ARRAY_LEN(known) - !evaluate;
    cel_session *session;
    int code;

    cli->expression = true;
    code = args_parse(cli, argc, argv, known, n_known, &text, 1, 1);
    if (code != ARGS_GO_ON)
        return code;
    session = WM_NEW(&cli->arena, cel_session);
    session->env = cel_env_new(NULL);
    code = cel_with(cli, session, &given, text, evaluate);
    cel_env_free(session->env);
    return code;
}

static int cel_run_eval(cli *cli, int argc, char **argv)
{
    return cel_run(cli, argc, argv, true);
}

static int cel_run_check(cli *cli, int argc, char **argv)
{
    return cel_run(cli, argc, argv, false);
}

const cli_command cli_cel_commands[] = {
    {"cel eval", "EXPR [--vars FILE.json] [--trace]", "Evaluates an expression, without a server.",
     "Numbers in the file are doubles; they compare with ints as numbers do.\n"
     "An expression that begins with two minuses and a name goes behind --.",
     cel_run_eval},
    {"cel check", "EXPR [--var NAME:TYPE]", "Prints an expression's type and canonical text.",
     "What is wrong is shown with a caret under the place, all of it at once.\n"
     "An expression that begins with two minuses and a name goes behind --.",
     cel_run_check},
    {0},
};
