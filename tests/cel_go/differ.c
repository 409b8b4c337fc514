/* cel_go/differ.c - random expressions, evaluated by cel-go and by us: where do we differ?
 *
 *   differ --peer PROGRAM [--runs N] [--seed N] [--show N]
 *
 * Each expression is judged twice, parsed only and checked. Differences that docs/cel.md lists
 * are counted by name; any other is printed, and makes the exit status 1.
 */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/cel_go/peer.h"
#include "tests/cel_go/show.h"

#define SEED_STEP UINT64_C(0x9e3779b97f4a7c16) /* even: what is added keeps the state from 0 */

enum { SETS = 64, BLOCK = 2000, WRONG_PERCENT = 3, ARENA_MAX = 64 << 20 };

/* One side's verdict on an expression: a value as show.h has it, E for an error, P for refused;
 * cel-go's also L when it cannot be planned, and with the cause: see peer/main.go. */
typedef struct verdict {
    char *text;
    const char *reason; /* ours: of the error or the refusal */
} verdict;

typedef struct trial {
    size_t set;
    char *expression;
    verdict loose, checked;
} trial;

typedef struct differ {
    cel_env *env;
    grammar grammar;
    wm_arena values_arena; /* of the sets */
    wm_arena arena;        /* of the block */
    cel_value sets[SETS][GRAMMAR_VARIABLES];
    unsigned long same, errors, known, different, show;
} differ;

/* ---- the differences that docs/cel.md lists, told by what we say of them ---- */

typedef struct known_difference {
    const char *name;
    const char *reason;     /* ours is a failure, and the reason holds this */
    const char *expression; /* the expression holds this; NULL: any */
    const char *theirs;     /* cel-go's verdict begins with this; NULL: any */
    const char *ours;       /* our value holds this; NULL: any */
    bool parsed;            /* only where nothing was checked, and ours is an error */
    unsigned long count;
} known_difference;

static known_difference known_differences[] = {
    {.name = "keys of a map come twice, or are doubles", .reason = "repeated key"},
    {.name = "keys of a map come twice, or are doubles", .reason = "unsupported key type"},
    {.name = "a literal that is no timestamp or duration is refused", .reason = "is no timestamp"},
    {.name = "a literal that is no timestamp or duration is refused", .reason = "is no duration"},
    {.name = "fields of what has none", .reason = "no such field", .expression = ".?"},
    {.name = "fields of what has none", .reason = "no such field", .expression = "has("},
    {.name = "fields of what has none", .reason = "no such field", .parsed = true},
    {.name = "an index of what has none", .reason = "[", .expression = "["},
    {.name = "an index of what has none", .reason = "only a list or a map has an index"},
    {.name = "optional.or() with what is none", .reason = "no such overload: or("},
    {.name = "optFlatMap() of what is no optional", .reason = "optFlatMap() makes optionals"},
    {.name = "optMap() of null", .reason = "go over an optional, not a null_type"},
    {.name = "bytes or a string as the range of a macro", .reason = "a macro over a "},
    {.name = "NaN compared with what is no number", .reason = "have no order"},
    {.name = "null among values of one type", .reason = "null_type"},
    {.name = "types beside optionals", .reason = "does not take type and optional_type(dyn)"},
    {.name = "lists that hold null", .reason = "'in' does not take", .expression = "null"},
    {.name = "%s of bytes that are no UTF-8", .expression = "%s", .ours = "efbfbd"},
    /* Of which %X or %x made digits. */
    {.name = "%s of bytes that are no UTF-8", .expression = "%s", .ours = "454642464244"},
    {.name = "%s of bytes that are no UTF-8", .expression = "%s", .ours = "656662666264"},
    {.name = "getMilliseconds() of a duration", .expression = ".getMilliseconds("},
    {.name = "!!x is two operators", .reason = "no such overload: !"},
    {.name = "!!x is two operators", .reason = "'!' takes a bool"},
    {.name = "cel-go's macro variables cannot be types", .theirs = "L:type-variable"},
    {.name = "cel-go looks at constant operands first", .theirs = "L:other"},
    {.name = "cel-go panics, and says that it is an error", .theirs = "E:panic"},
    {.name = "cel-go looks at constant arguments first", .theirs = "P:format"},
    {.name = "cel-go looks at constant arguments first", .theirs = "P:address"},
    {.name = "cel-go looks at constant arguments first", .theirs = "P:math"},
    {.name = "a list of dyn, sorted, is a list", .reason = "(list(dyn))", .expression = ".sort()"},
    {.name = "a list of dyn, sorted, is a list",
     .reason = "have different types, list(dyn) and",
     .expression = ".sort()"},
    {.name = "cel-go sorts only lists of one ordered type", .theirs = "P:sort"},
    {.name = "cel-go sorts only lists of one ordered type", .theirs = "P:@sortByAssociatedKeys"},
    {.name = "cel-go takes the numbers of a mixed list for one type", .theirs = "E:math"},
    {.name = "cel-go takes the numbers of a mixed list for one type",
     .expression = ".sortBy(",
     .theirs = "P:_?_:_"},
    {.name = "cel-go takes the elements of a mixed list for one type",
     .expression = ".sortBy(",
     .theirs = "P:_==_"},
    {.name = "cel-go takes the elements of a mixed list for one type",
     .expression = ".sortBy(",
     .theirs = "P:_!=_"},
    {.name = "cel-go takes the elements of a mixed list for one type",
     .expression = ".sortBy(",
     .theirs = "P:sets."},
    {.name = "cel-go takes the elements of a mixed list for one type",
     .expression = ".sortBy(",
     .theirs = "P:has"},
    {.name = "line ends in base64", .reason = "not base64"},
    {.name = "member functions that are none", .reason = "no such overload: ip(string)"},
    /* What the lines above say, where another error of ours hides it. */
    {.name = "fields and indexes of what has none, further up", .expression = ".?", .parsed = true},
    {.name = "fields and indexes of what has none, further up", .expression = "[?", .parsed = true},
    {.name = "fields and indexes of what has none, further up",
     .expression = "has(",
     .parsed = true},
};

static bool fits_known(const known_difference *known, const trial *trial, const verdict *ours,
                       const char *theirs)
{
    if (known->parsed && (ours != &trial->loose || strcmp(ours->text, "E") != 0))
        return false;
    if (known->reason != NULL &&
        (ours->reason == NULL || strstr(ours->reason, known->reason) == NULL))
        return false;
    if (known->ours != NULL && strstr(ours->text, known->ours) == NULL)
        return false;
    if (known->expression != NULL && strstr(trial->expression, known->expression) == NULL)
        return false;
    return known->theirs == NULL || strncmp(theirs, known->theirs, strlen(known->theirs)) == 0;
}

static bool is_known(const trial *trial, const verdict *ours, const char *theirs)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(known_differences); i++) {
        if (!fits_known(&known_differences[i], trial, ours, theirs))
            continue;
        known_differences[i].count++;
        return true;
    }
    return false;
}

/* ---- our side ---- */

static cel_program *compile(differ *d, const char *text, bool unchecked, verdict *verdict)
{
    cel_options options = {.unchecked = unchecked};
    cel_issues issues;
    cel_program *program;

    if (cel_compile(d->env, text, strlen(text), &options, &program, &issues) == WM_OK)
        return program;
    verdict->text = wm_arena_strdup(&d->arena, "P");
    verdict->reason = wm_arena_strdup(&d->arena, issues.issues[0].message);
    return NULL;
}

static void judge(differ *d, const trial *trial, bool unchecked, verdict *verdict)
{
    cel_vars vars = {d->sets[trial->set], GRAMMAR_VARIABLES, NULL, NULL};
    cel_program *program = compile(d, trial->expression, unchecked, verdict);
    cel_value value;
    wm_arena arena;
    wm_buf buf;

    if (program == NULL)
        return;
    wm_arena_init(&arena, ARENA_MAX);
    wm_buf_init(&buf, ARENA_MAX);
    value = cel_eval(program, &vars, NULL, &arena);
    cel_go_show(&buf, &value, &arena);
    verdict->text = wm_arena_strdup(&d->arena, buf.data);
    if (value.kind == CEL_ERROR)
        verdict->reason = wm_arena_strdup(&d->arena, value.as.error->message);
    wm_buf_free(&buf);
    wm_arena_free(&arena);
    cel_program_free(program);
}

static cel_value constant(differ *d, const char *text)
{
    cel_issues issues;
    cel_program *program;

    if (cel_compile(d->env, text, strlen(text), NULL, &program, &issues) != WM_OK) {
        fprintf(stderr, "differ: %s: %s\n", text, issues.issues[0].message);
        exit(2);
    }
    /* The value may lie in the program, which therefore stays. */
    return cel_eval(program, NULL, NULL, &d->values_arena);
}

/* ---- what both sides are told ---- */

static void tell_variables(differ *d, peer *peer)
{
    wm_err err;

    for (size_t i = 0; i < GRAMMAR_VARIABLES; i++) {
        const grammar_variable *variable = &grammar_variables[i];

        fprintf(peer->to, "%s %s\n", variable->type, variable->name);
        if (cel_env_add(d->env, variable->name, variable->type, &err) != WM_OK)
            exit(2);
    }
    fputc('\n', peer->to);
}

static void tell_values(differ *d, peer *peer)
{
    wm_buf text;

    wm_buf_init(&text, 1 << 20);
    for (size_t set = 0; set < SETS; set++) {
        for (size_t i = 0; i < GRAMMAR_VARIABLES; i++) {
            wm_buf_clear(&text);
            grammar_constant(&d->grammar, grammar_variables[i].letter, &text);
            fprintf(peer->to, "%s %s\n", grammar_variables[i].name, text.data);
            d->sets[set][i] = constant(d, text.data);
        }
        fputc('\n', peer->to);
    }
    fputc('\n', peer->to);
    wm_buf_free(&text);
}

/* ---- comparing ---- */

/* An expression may be refused by one side and be an error to the other: neither admits it. */
static bool is_failure(const char *text)
{
    return text[0] == 'E' || text[0] == 'P' || text[0] == 'L';
}

static void compare(differ *d, const trial *trial, const verdict *ours, const char *theirs,
                    const char *mode)
{
    bool failed = is_failure(ours->text) && is_failure(theirs);

    if (failed || strcmp(ours->text, theirs) == 0) {
        d->same++;
        d->errors += failed;
        return;
    }
    if (is_known(trial, ours, theirs)) {
        d->known++;
        return;
    }
    if (d->different++ < d->show)
        printf("%s, set %zu: %s\n  cel-go %.200s\n  ours   %.200s%s%s\n", mode, trial->set,
               trial->expression, theirs, ours->text, ours->reason ? ": " : "",
               ours->reason ? ours->reason : "");
}

static void run_block(differ *d, peer *peer, size_t n)
{
    trial *trials = WM_NEW_ARRAY(&d->arena, trial, n);
    wm_buf text;

    wm_buf_init(&text, 1 << 20);
    fprintf(peer->to, "%zu\n", n);
    for (size_t i = 0; i < n; i++) {
        wm_buf_clear(&text);
        grammar_expression(&d->grammar, &text);
        trials[i] = (trial){.set = i % SETS};
        trials[i].expression = wm_arena_strdup(&d->arena, text.data);
        fprintf(peer->to, "%zu %s\n", trials[i].set, trials[i].expression);
    }
    fflush(peer->to);
    for (size_t i = 0; i < n; i++) {
        judge(d, &trials[i], true, &trials[i].loose);
        judge(d, &trials[i], false, &trials[i].checked);
    }
    for (size_t i = 0; i < n; i++) {
        char *theirs = wm_arena_strdup(&d->arena, peer_line(peer)), *second = strchr(theirs, ' ');

        *second++ = 0;
        compare(d, &trials[i], &trials[i].loose, theirs, "parsed");
        compare(d, &trials[i], &trials[i].checked, second, "checked");
    }
    wm_buf_free(&text);
    wm_arena_reset(&d->arena);
}

static int report(const differ *d)
{
    printf("%lu verdicts the same (%lu of them errors), %lu differ as documented, %lu differ\n",
           d->same, d->errors, d->known, d->different);
    for (size_t i = 0; i < WM_ARRAY_LEN(known_differences); i++)
        printf("  %8lu  %s\n", known_differences[i].count, known_differences[i].name);
    return d->different > 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"peer", required_argument, NULL, 'p'},
                                            {"runs", required_argument, NULL, 'n'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"show", required_argument, NULL, 'w'},
                                            {NULL, 0, NULL, 0}};
    const char *program = NULL;
    unsigned long runs = 10000;
    static differ d;
    peer peer;
    int option;

    d.grammar = (grammar){.state = 1, .wrong_percent = WRONG_PERCENT};
    d.show = 20;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'p':
            program = optarg;
            break;
        case 'n':
            runs = strtoul(optarg, NULL, 10);
            break;
        case 's':
            d.grammar.state = strtoull(optarg, NULL, 10) * SEED_STEP + 1;
            break;
        case 'w':
            d.show = strtoul(optarg, NULL, 10);
            break;
        default:
            program = NULL;
            optind = argc + 1;
            break;
        }
    }
    if (program == NULL || optind != argc) {
        fprintf(stderr, "usage: differ --peer PROGRAM [--runs N] [--seed N] [--show N]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    d.env = cel_env_new(NULL);
    wm_arena_init(&d.values_arena, 0);
    wm_arena_init(&d.arena, 0);
    peer_start(&peer, program, "judge");
    tell_variables(&d, &peer);
    tell_values(&d, &peer);
    for (unsigned long done = 0; done < runs; done += BLOCK) {
        unsigned long left = runs - done;

        run_block(&d, &peer, left < BLOCK ? left : BLOCK);
        if (isatty(STDERR_FILENO) || done % (50 * BLOCK) == 0)
            fprintf(stderr, "%lu of %lu expressions, %lu differ\n", done, runs, d.different);
    }
    peer_stop(&peer);
    return report(&d);
}
