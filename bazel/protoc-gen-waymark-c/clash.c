/* protoc-gen-waymark-c/clash.c - parts of a proto that would have the same name in C.
 *
 * All names that a file defines are collected, and sorted, so that equal ones are neighbours.
 * Members of structs are names of their own and written as "struct.member".
 */
#include "bazel/protoc-gen-waymark-c/clash.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/memory.h"
#include "bazel/protoc-gen-waymark-c/names.h"

typedef Google__Protobuf__FileDescriptorProto file_type;
typedef Google__Protobuf__DescriptorProto message_type;
typedef Google__Protobuf__EnumDescriptorProto enum_type;
typedef Google__Protobuf__FieldDescriptorProto field_type;

typedef struct taken {
    char *name; /* in C */
    char *of;   /* what has it, in the proto */
    size_t place;
} taken;

typedef struct taken_list {
    taken *names;
    size_t n;
} taken_list;

/* What `of` is in the proto is, once more, this in C. */
static void take(taken_list *list, const char *of, const char *fmt, ...)
{
    va_list args;
    taken *last;

    list->names = must(realloc(list->names, (list->n + 1) * sizeof(list->names[0])));
    last = &list->names[list->n];
    va_start(args, fmt);
    last->name = format_list(fmt, args);
    va_end(args);
    last->of = must(strdup(of));
    last->place = list->n++;
}

static int compare_taken(const void *a, const void *b)
{
    const taken *left = a, *right = b;
    int order = strcmp(left->name, right->name);

    return order != 0 ? order : (left->place > right->place) - (left->place < right->place);
}

/* The error, if two of the names are the same, or NULL. Frees the list. */
static char *find_clash(taken_list *list, const char *file)
{
    char *error = NULL;

    if (list->n > 0)
        qsort(list->names, list->n, sizeof(list->names[0]), compare_taken);
    for (size_t i = 1; i < list->n && error == NULL; i++) {
        const taken *one = &list->names[i - 1], *other = &list->names[i];

        if (strcmp(one->name, other->name) == 0)
            error = format("%s: %s and %s are both %s in C", file, one->of, other->of, one->name);
    }
    for (size_t i = 0; i < list->n; i++) {
        free(list->names[i].name);
        free(list->names[i].of);
    }
    free(list->names);
    return error;
}

/* ---- services ---- */

enum { UNARY = 1, IN = 2, OUT = 4, BOTH = 8, STREAM = IN | OUT | BOTH }; /* kinds of methods */

/* What is behind the joined name of a method in the names that it has, and which kinds have it. */
static const struct {
    const char *end;
    unsigned kinds;
} calls[] = {
    {"", UNARY},
    {"_done", UNARY},
    {"_sync", UNARY},
    {"_open", STREAM},
    {"_callbacks", STREAM},
    {"_write", IN | BOTH},
    {"_write_sync", IN | BOTH},
    {"_read_sync", OUT | BOTH},
    {"_finish_sync", IN},
    {"_send", OUT | BOTH},
    {"_reply", UNARY | IN},
    {"__done", UNARY},
    {"__request", UNARY | OUT},
    {"__message", STREAM},
    {"__writable", IN | BOTH},
    {"__ended", STREAM},
    {"__kind", STREAM},
};

static unsigned kind_of(const model_method *method)
{
    if (method->client_streaming)
        return method->server_streaming ? BOTH : IN;
    return method->server_streaming ? OUT : UNARY;
}

static void take_method(taken_list *list, const model_service *service, const model_method *method)
{
    char *of = format("%s.%s", service->full_name, method->name);

    take(list, of, "%s_%s", service->upper, method->upper);
    take(list, of, "%s_handlers.%s", service->lower, method->member);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (calls[i].kinds & kind_of(method))
            take(list, of, "%s_%s%s", service->lower, method->lower, calls[i].end);
    free(of);
}

static void take_service(taken_list *list, const model_service *service)
{
    static const char *const lower[] = {"",          "_handlers",    "_bind",
                                        "__methods", "__no_request", "__no_opened"};
    static const char *const upper[] = {"_METHODS_N", "_HANDLERS_N"};

    for (size_t i = 0; i < sizeof(lower) / sizeof(lower[0]); i++)
        take(list, service->full_name, "%s%s", service->lower, lower[i]);
    for (size_t i = 0; i < sizeof(upper) / sizeof(upper[0]); i++)
        take(list, service->full_name, "%s%s", service->upper, upper[i]);
    for (size_t i = 0; i < service->n_methods; i++)
        take_method(list, service, &service->methods[i]);
}

char *clash_of_services(const model_file *file)
{
    taken_list list = {NULL, 0};

    for (size_t i = 0; i < file->n_services; i++)
        take_service(&list, &file->services[i]);
    return find_clash(&list, file->name);
}

/* ---- messages, as protoc-gen-c names them ---- */

/* A message, enum or oneof in the words that its names are made of. */
typedef struct words {
    char *full_name; /* "c.Item.price" */
    char *type;      /* "C__Item__Price" */
    char *lower;     /* "c__item__price" */
    char *upper;     /* "C__ITEM__PRICE" */
} words;

static words words_of(const char *parent, const char *name)
{
    words words;

    words.full_name = format("%s%s%s", parent, *parent ? "." : "", name);
    words.type = names_message_type(words.full_name);
    words.lower = names_message_prefix(words.full_name);
    words.upper = names_upper(words.lower);
    return words;
}

static void words_free(words *words)
{
    free(words->full_name);
    free(words->type);
    free(words->lower);
    free(words->upper);
}

static void take_enum(taken_list *list, const char *parent, const enum_type *proto)
{
    words words = words_of(parent, proto->name);

    take(list, words.full_name, "%s", words.type);
    take(list, words.full_name, "%s__descriptor", words.lower);
    take(list, words.full_name, "_%s_IS_INT_SIZE", words.upper);
    for (size_t i = 0; i < proto->n_value; i++) {
        char *of = format("%s.%s", words.full_name, proto->value[i]->name);

        take(list, of, "%s__%s", words.upper, proto->value[i]->name);
        free(of);
    }
    words_free(&words);
}

static void take_oneof(taken_list *list, const words *message, const char *name)
{
    words words = words_of(message->full_name, name);
    char *lower = names_lower(name);

    take(list, words.full_name, "%sCase", words.type);
    take(list, words.full_name, "%s__NOT_SET", words.upper);
    take(list, words.full_name, "_%s__CASE_IS_INT_SIZE", words.upper);
    take(list, words.full_name, "%s.%s_case", message->type, lower);
    free(lower);
    words_free(&words);
}

static void take_field(taken_list *list, const words *message, const message_type *proto,
                       const field_type *field, const char *of)
{
    char *member = names_field(field->name);

    take(list, of, "%s.%s", message->type, member);
    if (field->label == GOOGLE__PROTOBUF__FIELD_DESCRIPTOR_PROTO__LABEL__LABEL_REPEATED)
        take(list, of, "%s.n_%s", message->type, member);
    if (field->has_oneof_index) {
        words oneof = words_of(message->full_name, proto->oneof_decl[field->oneof_index]->name);
        char *lower = names_lower(field->name), *upper = names_upper(lower);

        take(list, of, "%s_%s", oneof.upper, upper);
        free(lower);
        free(upper);
        words_free(&oneof);
    }
    free(member);
}

static void take_message(taken_list *list, const file_type *file, const rename_list *renames,
                         const char *parent, const message_type *proto)
{
    words words = words_of(parent, proto->name);

    take(list, words.full_name, "%s", words.type);
    take(list, words.full_name, "%s__INIT", words.upper);
    take(list, words.full_name, "%s__init", words.lower);
    take(list, words.full_name, "%s__descriptor", words.lower);
    take(list, words.full_name, "%s.base", words.type);
    for (size_t i = 0; i < proto->n_field; i++) {
        const char *name = rename_original(renames, file->name, proto->field[i]->name);
        char *of = format("%s.%s", words.full_name, name);

        take_field(list, &words, proto, proto->field[i], of);
        free(of);
    }
    for (size_t i = 0; i < proto->n_oneof_decl; i++)
        take_oneof(list, &words, proto->oneof_decl[i]->name);
    for (size_t i = 0; i < proto->n_enum_type; i++)
        take_enum(list, words.full_name, proto->enum_type[i]);
    for (size_t i = 0; i < proto->n_nested_type; i++)
        take_message(list, file, renames, words.full_name, proto->nested_type[i]);
    words_free(&words);
}

char *clash_of_messages(const file_type *file, const rename_list *renames)
{
    const char *package = file->package ? file->package : "";
    taken_list list = {NULL, 0};

    for (size_t i = 0; i < file->n_enum_type; i++)
        take_enum(&list, package, file->enum_type[i]);
    for (size_t i = 0; i < file->n_message_type; i++)
        take_message(&list, file, renames, package, file->message_type[i]);
    return find_clash(&list, file->name);
}
