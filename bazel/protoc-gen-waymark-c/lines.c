/* protoc-gen-waymark-c/lines.c - a text as its lines, to be changed and put together again. */
#include "bazel/protoc-gen-waymark-c/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/memory.h"

lines lines_split(const char *text)
{
    lines lines = {NULL, 0};

    while (*text) {
        size_t length = strcspn(text, "\n");

        lines.line = must(realloc(lines.line, (lines.n + 1) * sizeof(lines.line[0])));
        lines.line[lines.n++] = must(strndup(text, length));
        text += length + (text[length] == '\n');
    }
    return lines;
}

char *lines_join(lines *lines)
{
    char *text = NULL;
    size_t size;
    FILE *out = must(open_memstream(&text, &size));

    for (size_t i = 0; i < lines->n; i++) {
        fprintf(out, "%s\n", lines->line[i]);
        free(lines->line[i]);
    }
    free(lines->line);
    if (fclose(out) != 0)
        abort();
    return text;
}
