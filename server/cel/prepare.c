/* cel/prepare.c - what is made of constant areas and calendars once, with the program. */
#include <string.h>

#include "server/cel/area.h"
#include "server/cel/weekly.h"

typedef struct preparer {
    const char *name; /* of the function; its second argument is what is prepared */
    const char *what;
    void *(*make)(wm_arena *arena, const cel_value *value, char why[CEL_WHY_SIZE]);
    void (*free)(void *thing);
} preparer;

static void *make_area(wm_arena *arena, const cel_value *value, char why[CEL_WHY_SIZE])
{
    size_t points;

    return cel_area_new(arena, value, &points, why);
}

static void free_area(void *thing)
{
    cel_area_free(thing);
}

static void *make_weekly(wm_arena *arena, const cel_value *value, char why[CEL_WHY_SIZE])
{
    (void)arena;
    return cel_weekly_new(value->as.text, value->len, why);
}

static void free_weekly(void *thing)
{
    cel_weekly_free(thing);
}

static const preparer preparers[] = {
    {"geo.within", "area", make_area, free_area},
    {"time.in_weekly", "calendar", make_weekly, free_weekly},
};

static const preparer *find(const cel_code *code)
{
    for (size_t i = 0; code->n_overloads > 0 && i < WM_ARRAY_LEN(preparers); i++)
        if (strcmp(code->overloads[0]->name, preparers[i].name) == 0)
            return &preparers[i];
    return NULL;
}

bool cel_prepare(cel_program *program, const cel_source *source, cel_code *code, bool unchecked)
{
    const preparer *how = find(code);
    char why[CEL_WHY_SIZE];
    cel_made *made;
    wm_arena arena;

    if (!how || code->args[1]->run != cel_run_const)
        return true;
    if (code->args[1]->value.kind != CEL_STRING && code->args[1]->value.kind != CEL_MAP)
        return true;
    made = wm_arena_alloc(&program->arena, sizeof *made);
    if (!made)
        return true;
    wm_arena_init(&arena, 0);
    *made = (cel_made){program->made, how->make(&arena, &code->args[1]->value, why), how->free};
    wm_arena_free(&arena);
    code->prepared = made->thing;
    if (made->thing)
        program->made = made;
    if (made->thing || unchecked) /* what is wrong is an error when it is evaluated */
        return true;
    return cel_issue_add(source, code->args[1]->pos, "the %s is wrong: %s", how->what, why);
}
