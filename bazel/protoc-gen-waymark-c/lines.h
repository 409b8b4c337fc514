/* protoc-gen-waymark-c/lines.h - a text as its lines, to be changed and put together again. */
#ifndef WAYMARK_PROTOC_GEN_LINES_H
#define WAYMARK_PROTOC_GEN_LINES_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Lines without their ends; each, and the array, is on the heap. */
typedef struct lines {
    char **line;
    size_t n;
} lines;

lines lines_split(const char *text);
/* The text, each line with an end; frees the lines. */
char *lines_join(lines *lines);

#ifdef __cplusplus
}
#endif
#endif
