/* protoc-gen-waymark-c/options.c - what --waymark-c_opt may say; see options.h. */
#include "bazel/protoc-gen-waymark-c/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/memory.h"

static const struct {
    const char *name;
    unsigned kind;
} kinds[] = {
    {"messages", OPTION_MESSAGES},
    {"methods", OPTION_METHODS},
    {"server", OPTION_SERVER},
    {"client", OPTION_CLIENT},
};

static const char tool_option[] = "protoc-gen-c=";

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

static bool parse_one(options *options, const char *text, size_t length)
{
    size_t tool_length = sizeof(tool_option) - 1;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (is_word(text, length, kinds[i].name)) {
            options->kinds |= kinds[i].kind;
            return true;
        }
    if (is_word(text, length, "tree")) {
        options->is_tree = true;
        return true;
    }
    if (length > tool_length && memcmp(text, tool_option, tool_length) == 0) {
        free(options->protoc_gen_c);
        options->protoc_gen_c = strndup(text + tool_length, length - tool_length);
        return options->protoc_gen_c != NULL;
    }
    return false;
}

char *options_parse(options *options, const char *text)
{
    char *error = NULL;

    memset(options, 0, sizeof(*options));
    while (text && *text && !error) {
        size_t length = strcspn(text, ",");

        if (length > 0 && !parse_one(options, text, length))
            error = format("unknown option \"%.*s\"; known are messages, methods, server, client, "
                           "protoc-gen-c=PATH",
                           (int)length, text);
        text += length + (text[length] == ',');
    }
    if (options->kinds == 0)
        options->kinds = OPTION_KINDS;
    if (options->protoc_gen_c == NULL)
        options->protoc_gen_c = must(strdup("protoc-gen-c"));
    return error;
}
