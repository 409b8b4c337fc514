/* protoc-gen-waymark-c/braces.c - initial values of oneofs that begin with bytes or an enum; see
 * braces.h.
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
#include "bazel/protoc-gen-waymark-c/memory.h"

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

        if (begins(lines->line[i], "typedef enum"))
            return NULL;
        if (!ends(name, mark))
            continue;
        return format("%.*s, {0}", (int)(strlen(name) - strlen(" = 0,")), name);
    }
    return NULL;
}

/* What is to be between the braces for a union whose first member is declared by that line, " Type
 * x;": NULL where 0 is right. Pointers have a star; what is neither one nor listed is an enum. */
static char *make_value(const char *member)
{
    static const char *const numbers[] = {"int32_t", "uint32_t", "int64_t",           "uint64_t",
                                          "float",   "double",   "protobuf_c_boolean"};
    const char *type = member + strspn(member, " ");
    size_t length = strcspn(type, " ");

    if (strchr(type, '*') != NULL)
        return NULL;
    if (begins(type, "ProtobufCBinaryData "))
        return must(strdup("{0,NULL}"));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (strlen(numbers[i]) == length && strncmp(numbers[i], type, length) == 0)
            return NULL;
    return format("(%.*s)0", (int)length, type);
}

/* In the line, if it has the initial value: the one with `value` in place of 0. Another oneof's
 * name may end like this one's, so what is in front must not be part of a name. */
static void replace(char **line, const char *initial, const char *value)
{
    size_t length = strlen(initial);
    char *at = strstr(*line, initial), *made;

    if (!begins(*line, "    , ") || !at || at[-1] != ' ')
        return;
    made = format("%.*s%.*s{%s}%s", (int)(at - *line), *line, (int)(length - strlen("{0}")),
                  initial, value, at + length);
    free(*line);
    *line = made;
}

/* The line of the first member behind that line; comments stand in front of members. */
static size_t find_member(const lines *lines, size_t i)
{
    if (++i < lines->n && strcmp(lines->line[i], "    /*") == 0)
        while (i < lines->n && strcmp(lines->line[i++], "     */") != 0)
            ;
    return i;
}

void braces_add(output_type *file)
{
    lines lines;

    if (!ends(file->name, ".pb-c.h"))
        return;
    lines = lines_split(file->content);
    for (size_t i = 1; i + 1 < lines.n; i++) {
        char *initial, *value;
        size_t member;

        if (strcmp(lines.line[i], "  union {") != 0)
            continue;
        member = find_member(&lines, i);
        value = member < lines.n ? make_value(lines.line[member]) : NULL;
        if (value == NULL)
            continue;
        initial = make_initial(&lines, find_enum_end(&lines, i - 1));
        for (size_t k = i; initial && k < lines.n; k++)
            replace(&lines.line[k], initial, value);
        free(initial);
        free(value);
    }
    free(file->content);
    file->content = lines_join(&lines);
}
