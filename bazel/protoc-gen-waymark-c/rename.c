/* protoc-gen-waymark-c/rename.c - fields whose names would not compile; see rename.h.
 *
 * Of protoc-gen-c's output, two places name fields as the proto does: a line `    "name",` in the
 * table of fields, and the comments of the table that is sorted by name, which must be sorted
 * again, since the order is by name and lookups halve it.
 */
#include "bazel/protoc-gen-waymark-c/rename.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bazel/protoc-gen-waymark-c/lines.h"
#include "bazel/protoc-gen-waymark-c/memory.h"
#include "bazel/protoc-gen-waymark-c/names.h"

typedef Google__Protobuf__Compiler__CodeGeneratorResponse__File output_type;
typedef Google__Protobuf__FileDescriptorProto file_type;
typedef Google__Protobuf__DescriptorProto message_type;
typedef Google__Protobuf__FieldDescriptorProto field_type;

/* ---- which ---- */

/* The first member of every message. protoc-gen-c writes members in lower case. */
static bool is_base(const char *name)
{
    return strcasecmp(name, "base") == 0;
}

static bool is_joined(const char *member, const char *front, const char *name, const char *behind)
{
    size_t front_length = strlen(front), length = strlen(name);

    return strncmp(member, front, front_length) == 0 &&
           strncmp(member + front_length, name, length) == 0 &&
           strcmp(member + front_length + length, behind) == 0;
}

/* Is a field of that name what protoc-gen-c adds beside another one or a oneof of the message? */
static bool is_added(const message_type *message, const char *name)
{
    char *member = names_field(name);
    bool is = false;

    for (size_t i = 0; i < message->n_field && !is; i++) {
        const field_type *field = message->field[i];
        char *beside = names_field(field->name);

        is = field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED &&
             is_joined(member, "n_", beside, "");
        free(beside);
    }
    for (size_t i = 0; i < message->n_oneof_decl && !is; i++) {
        char *oneof = names_lower(message->oneof_decl[i]->name);

        is = is_joined(member, "", oneof, "_case");
        free(oneof);
    }
    free(member);
    return is;
}

/* Has one of these messages, or one nested in them, a part of that name? */
static bool has_name(message_type *const *messages, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        const message_type *message = messages[i];

        for (size_t k = 0; k < message->n_field; k++)
            if (strcasecmp(message->field[k]->name, name) == 0)
                return true;
        for (size_t k = 0; k < message->n_oneof_decl; k++)
            if (strcasecmp(message->oneof_decl[k]->name, name) == 0)
                return true;
        for (size_t k = 0; k < message->n_enum_type; k++)
            if (strcasecmp(message->enum_type[k]->name, name) == 0)
                return true;
        for (size_t k = 0; k < message->n_nested_type; k++)
            if (strcasecmp(message->nested_type[k]->name, name) == 0)
                return true;
        if (has_name(message->nested_type, message->n_nested_type, name))
            return true;
    }
    return false;
}

/* ---- there ---- */

static const char *find_renamed(const rename_list *list, const char *file, const char *proto)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->pairs[i].file, file) == 0 && strcmp(list->pairs[i].proto, proto) == 0)
            return list->pairs[i].renamed;
    return NULL;
}

/* Underscores behind the name until nothing is called so, in the file or in C. Values of enums are
 * not looked at: protoc would have to be given one that ends like this, beside such a field. */
static char *make_name(const file_type *file, const char *proto)
{
    char *name = must(strdup(proto)), *longer;

    do {
        longer = format("%s_", name);
        free(name);
        name = longer;
    } while (has_name(file->message_type, file->n_message_type, name) ||
             names_is_newer_keyword(name));
    return name;
}

static const char *add_pair(rename_list *list, const file_type *file, const char *proto)
{
    rename_pair *pair;

    list->pairs = must(realloc(list->pairs, (list->n + 1) * sizeof(list->pairs[0])));
    pair = &list->pairs[list->n];
    pair->file = must(strdup(file->name));
    pair->proto = must(strdup(proto));
    pair->renamed = make_name(file, proto);
    list->n++;
    return pair->renamed;
}

/* Renames what is added, or what is unfit in any message. */
static void rename_some(rename_list *list, const file_type *file, message_type *message, bool added)
{
    for (size_t i = 0; i < message->n_field; i++) {
        field_type *field = message->field[i];
        const char *renamed;

        if (added ? !is_added(message, field->name)
                  : !is_base(field->name) && !names_is_newer_keyword(field->name))
            continue;
        renamed = find_renamed(list, file->name, field->name);
        if (renamed == NULL)
            renamed = add_pair(list, file, field->name);
        free(field->name);
        field->name = must(strdup(renamed));
    }
}

/* What is added is called after the fields, hence comes last. */
static void rename_message(rename_list *list, const file_type *file, message_type *message)
{
    rename_some(list, file, message, false);
    rename_some(list, file, message, true);
    for (size_t i = 0; i < message->n_nested_type; i++)
        rename_message(list, file, message->nested_type[i]);
}

void rename_fields(rename_list *list, file_type *file)
{
    for (size_t i = 0; i < file->n_message_type; i++)
        rename_message(list, file, file->message_type[i]);
}

/* ---- and back ---- */

const char *rename_original(const rename_list *list, const char *file, const char *name)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->pairs[i].file, file) == 0 && strcmp(list->pairs[i].renamed, name) == 0)
            return list->pairs[i].proto;
    return name;
}

/* Is `output` the source that was made of `proto`? */
static bool is_source_of(const output_type *output, const char *proto)
{
    char *stem = names_stem(proto);
    size_t length = strlen(stem);
    bool is =
        strncmp(output->name, stem, length) == 0 && strcmp(output->name + length, ".pb-c.c") == 0;

    free(stem);
    return is;
}

/* The place and length of the field's name in an entry of the table sorted by name, which is a
 * number and the comment "field[number] = name"; NULL in other lines. */
static const char *entry_name(const char *line, size_t *length)
{
    static const char mark[] = "/* field[";
    const char *end = line + strcspn(line, "\n"), *at = strstr(line, mark), *name;

    if (at == NULL || at > end)
        return NULL;
    name = strstr(at, "] = ");
    if (name == NULL || name > end)
        return NULL;
    name += 4;
    *length = strcspn(name, " \n");
    return name;
}

static int compare_entries(const void *a, const void *b)
{
    size_t a_length = 0, b_length = 0, least;
    const char *a_name = entry_name(*(char *const *)a, &a_length);
    const char *b_name = entry_name(*(char *const *)b, &b_length);
    int order;

    least = a_length < b_length ? a_length : b_length;
    order = memcmp(a_name, b_name, least);
    return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

/* Puts runs of table entries into the order of their names. */
static void sort_tables(lines *lines)
{
    size_t length;

    for (size_t i = 0; i < lines->n;) {
        size_t run = 0;

        while (i + run < lines->n && entry_name(lines->line[i + run], &length) != NULL)
            run++;
        if (run > 1)
            qsort(&lines->line[i], run, sizeof(lines->line[0]), compare_entries);
        i += run > 0 ? run : 1;
    }
}

/* The line with the proto's name in place of ours, where it is one of the two kinds. */
static char *restore_line(const rename_pair *pair, const char *line)
{
    char *made, *wanted;
    size_t length;
    const char *name = entry_name(line, &length);

    if (name != NULL && strlen(pair->renamed) == length &&
        memcmp(name, pair->renamed, length) == 0) {
        return format("%.*s%s%s", (int)(name - line), line, pair->proto, name + length);
    }
    wanted = format("    \"%s\",", pair->renamed);
    if (strcmp(line, wanted) != 0)
        made = must(strdup(line));
    else
        made = format("    \"%s\",", pair->proto);
    free(wanted);
    return made;
}

void rename_restore(const rename_list *list, output_type *file)
{
    lines lines;
    bool any = false;

    for (size_t i = 0; i < list->n; i++)
        any = any || is_source_of(file, list->pairs[i].file);
    if (!any)
        return;

    lines = lines_split(file->content);
    for (size_t i = 0; i < list->n; i++) {
        if (!is_source_of(file, list->pairs[i].file))
            continue;
        for (size_t k = 0; k < lines.n; k++) {
            char *restored = restore_line(&list->pairs[i], lines.line[k]);

            free(lines.line[k]);
            lines.line[k] = restored;
        }
    }
    sort_tables(&lines);
    free(file->content);
    file->content = lines_join(&lines);
}

void rename_list_free(rename_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->pairs[i].file);
        free(list->pairs[i].proto);
        free(list->pairs[i].renamed);
    }
    free(list->pairs);
}
