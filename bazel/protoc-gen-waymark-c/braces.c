/* protoc-gen-waymark-c/braces.c - initial values of oneofs that begin with bytes; see braces.h.
 *
 * A header has for each oneof, in this order:
 *
 *     typedef enum {
 *       NAME__NOT_SET = 0,
 *       ...
 *     } Type;
 *     struct ... {
 *       Type x_case;
 *       union {
 *         ProtobufCBinaryData x;
 *     #define ... NAME__NOT_SET, {0} ...
 */
#include "bazel/protoc-gen-waymark-c/braces.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/lines.h"

typedef Google__Protobuf__Compiler__CodeGeneratorResponse__File output_type;

static bool begins(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
    size_t length = strlen(text), with_length = strlen(with);

    return length >= with_length && strcmp(text + length - with_length, with) == 0;
}

/* The line of the enum's end, "} Type;", for the type of a member's line, "  Type x_case;". Enums
 * are above. */
static size_t find_enum_end(const lines *lines, size_t member)
{
    const char *type = lines->line[member] + strspn(lines->line[member], " ");
    size_t length = strcspn(type, " ");

    for (size_t i = member; i-- > 0;) {
        const char *line = lines->line[i];

        if (begins(line, "} ") && strncmp(line + 2, type, length) == 0 && line[2 + length] == ';')
            return i;
    }
    return 0;
}

/* "NAME__NOT_SET, {0}" of the enum that ends in that line; NULL when there is none. */
static char *make_initial(const lines *lines, size_t enum_end)
{
    static const char mark[] = "__NOT_SET = 0,";

    for (size_t i = enum_end; i-- > 0;) {
        const char *name = lines->line[i] + strspn(lines->line[i], " ");
        char *initial;

        if (begins(lines->line[i], "typedef enum"))
            return NULL;
        if (!ends(name, mark))
            continue;
        if (asprintf(&initial, "%.*s, {0}", (int)(strlen(name) - strlen(" = 0,")), name) < 0)
            abort();
        return initial;
    }
    return NULL;
}

/* In the line, if it has the initial value: the one with braces. Another oneof's name may end like
 * this one's, so what is in front must not be part of a name. */
static void replace(char **line, const char *initial)
{
    size_t length = strlen(initial);
    char *at = strstr(*line, initial), *made;

    if (!begins(*line, "    , ") || !at || at[-1] != ' ')
        return;
    if (asprintf(&made, "%.*s%.*s{{0,NULL}}%s", (int)(at - *line), *line,
                 (int)(length - strlen("{0}")), initial, at + length) < 0)
        abort();
    free(*line);
    *line = made;
}

void braces_add(output_type *file)
{
    lines lines;

    if (!ends(file->name, ".pb-c.h"))
        return;
    lines = lines_split(file->content);
    for (size_t i = 1; i + 1 < lines.n; i++) {
        char *initial;

        if (strcmp(lines.line[i], "  union {") != 0 ||
            !begins(lines.line[i + 1], "    ProtobufCBinaryData "))
            continue;
        initial = make_initial(&lines, find_enum_end(&lines, i - 1));
        for (size_t k = i; initial && k < lines.n; k++)
            replace(&lines.line[k], initial);
        free(initial);
    }
    free(file->content);
    file->content = lines_join(&lines);
}
