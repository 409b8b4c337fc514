/* protoc-gen-waymark-c/memory.c - see memory.h. */
#include "bazel/protoc-gen-waymark-c/memory.h"

#include <stdio.h>
#include <stdlib.h>

void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

char *format_list(const char *fmt, va_list args)
{
    char *text;

    if (vasprintf(&text, fmt, args) < 0)
        abort();
    return text;
}

char *format(const char *fmt, ...)
{
    va_list args;
    char *text;

    va_start(args, fmt);
    text = format_list(fmt, args);
    va_end(args);
    return text;
}
