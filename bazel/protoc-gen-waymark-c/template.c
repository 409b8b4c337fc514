/* protoc-gen-waymark-c/template.c - texts with $names$ in them. */
#include "bazel/protoc-gen-waymark-c/template.h"

#include <assert.h>
#include <string.h>

static const char *find(const template_name *names, size_t n, const char *name, size_t length)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(names[i].name) == length && memcmp(names[i].name, name, length) == 0)
            return names[i].value;
    return NULL;
}

void template_write(FILE *out, const template_name *names, size_t n, const char *text)
{
    for (;;) {
        size_t plain = strcspn(text, "$"), length;
        const char *value;

        fwrite(text, 1, plain, out);
        text += plain;
        if (*text == 0)
            return;

        length = strcspn(++text, "$");
        assert(text[length] == '$' && "a template's name ends with a dollar");
        value = length == 0 ? "$" : find(names, n, text, length);
        assert(value && "a template's name is known");
        fputs(value, out);
        text += length + 1;
    }
}
