/* protoc-gen-waymark-c/names.c - C names of proto names.
 *
 * protoc-gen-c splits a full name at its dots, writes each part in CamelCase (types) or in
 * lower_case (functions), and joins the parts with two underscores. We must arrive at the
 * same names, letter by letter; tests compile the output against its headers.
 */
#include "bazel/protoc-gen-waymark-c/names.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bazel/protoc-gen-waymark-c/memory.h"

/* Room for any name made of `length` characters: each may gain an underscore, and two more may be
 * put behind. */
static char *room_for(size_t length)
{
    return must(malloc(2 * length + 3));
}

/* Writes one dot-free part in CamelCase; returns the end. */
static char *put_camel(char *out, const char *part, size_t length)
{
    bool upper = true;

    for (size_t i = 0; i < length; i++) {
        if (part[i] == '_') {
            upper = true;
            continue;
        }
        *out++ = upper ? (char)toupper((unsigned char)part[i]) : part[i];
        upper = false;
    }
    return out;
}

/* Writes one dot-free part in lower_case: an underscore before each run of capitals. */
static char *put_lower(char *out, const char *part, size_t length)
{
    bool was_upper = true; /* no underscore in front */

    for (size_t i = 0; i < length; i++) {
        bool is_upper = isupper((unsigned char)part[i]) != 0;

        if (is_upper && !was_upper)
            *out++ = '_';
        *out++ = (char)tolower((unsigned char)part[i]);
        was_upper = is_upper;
    }
    return out;
}

/* Each part by `put`, joined by `glue`; empty parts (a leading dot) are left out. */
static char *join_parts(const char *name, const char *glue,
                        char *(*put)(char *out, const char *part, size_t length))
{
    char *made = room_for(strlen(name) + 1), *out = made;

    while (*name) {
        size_t length = strcspn(name, ".");

        if (length > 0) {
            if (out != made)
                out = stpcpy(out, glue);
            out = put(out, name, length);
        }
        name += length + (name[length] == '.');
    }
    *out = 0;
    return made;
}

char *names_message_type(const char *full_name)
{
    return join_parts(full_name, "__", put_camel);
}

char *names_message_prefix(const char *full_name)
{
    return join_parts(full_name, "__", put_lower);
}

char *names_lower(const char *camel)
{
    return join_parts(camel, "_", put_lower);
}

char *names_service(const char *package, const char *service)
{
    char *full = *package ? format("%s.%s", package, service) : format("%s.service", service);
    char *name = names_lower(full);

    free(full);
    return name;
}

/* What protoc-gen-c knows. */
static const char keywords[] =
    " and and_eq asm auto bitand bitor bool break case catch char class compl const "
    "const_cast continue default delete do double dynamic_cast else enum explicit "
    "extern false float for friend goto if inline int long mutable namespace new "
    "not not_eq operator or or_eq private protected public register "
    "reinterpret_cast return short signed sizeof static static_cast struct switch "
    "template this throw true try typedef typeid typename union unsigned using "
    "virtual void volatile wchar_t while xor xor_eq ";

/* What it does not; and the types that generated structs use, which a member called so would hide
 * from those behind it in C++. */
static const char newer_keywords[] =
    " alignas alignof assert char8_t char16_t char32_t concept consteval constexpr "
    "constinit co_await co_return co_yield decltype errno export int32_t int64_t linux "
    "noexcept nullptr protobuf_c_boolean requires restrict size_t static_assert stderr "
    "stdin stdout thread_local typeof typeof_unqual uint32_t uint64_t unix "
    "waymark_server_call ";

static bool is_listed(const char *name, const char *list)
{
    size_t length = strlen(name);

    while (*(list += strspn(list, " "))) {
        size_t word = strcspn(list, " ");

        if (word == length && strncasecmp(list, name, length) == 0)
            return true;
        list += word;
    }
    return false;
}

/* Could it be the compiler's, such as __func__, __asm or __linux__? Those have two underscores in
 * front and none or two behind. */
static bool is_of_compiler(const char *name)
{
    size_t length = strlen(name), behind = 0;

    while (behind < length && name[length - 1 - behind] == '_')
        behind++;
    return strncmp(name, "__", 2) == 0 && (behind == 0 || behind == 2);
}

bool names_is_newer_keyword(const char *name)
{
    return is_listed(name, newer_keywords) || is_of_compiler(name);
}

char *names_member(const char *camel)
{
    char *name = names_lower(camel);

    while (is_listed(name, keywords) || names_is_newer_keyword(name))
        strcat(name, "_"); /* room_for() left room for two */
    return name;
}

char *names_field(const char *field)
{
    size_t length = strlen(field);
    char *name = room_for(length);

    for (size_t i = 0; i <= length; i++)
        name[i] = (char)tolower((unsigned char)field[i]);
    return is_listed(name, keywords) ? strcat(name, "_") : name;
}

char *names_upper(const char *text)
{
    size_t length = strlen(text);
    char *name = room_for(length);

    for (size_t i = 0; i < length; i++)
        name[i] = isalnum((unsigned char)text[i]) ? (char)toupper((unsigned char)text[i]) : '_';
    name[length] = 0;
    return name;
}

char *names_guard(const char *stem)
{
    static const char prefix[] = "WAYMARK_C_";
    char *name = must(malloc(sizeof(prefix) + 3 * strlen(stem)));
    char *out = stpcpy(name, prefix);

    for (; *stem; stem++) {
        unsigned char c = (unsigned char)*stem;

        out += isalnum(c) ? sprintf(out, "%c", c) : sprintf(out, "_%02x", c);
    }
    return name;
}

char *names_stem(const char *proto_file)
{
    size_t length = strlen(proto_file);
    char *stem = must(strdup(proto_file));

    if (length > 6 && strcmp(stem + length - 6, ".proto") == 0)
        stem[length - 6] = 0;
    return stem;
}
