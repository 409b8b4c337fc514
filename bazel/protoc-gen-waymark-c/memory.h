/* protoc-gen-waymark-c/memory.h - memory on the heap, or the end: protoc runs us once, and what is
 * left of a file is of no use.
 */
#ifndef WAYMARK_PROTOC_GEN_MEMORY_H
#define WAYMARK_PROTOC_GEN_MEMORY_H

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What malloc() and its like gave, if they did. */
void *must(void *memory);
/* A text that the caller frees. */
char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *format_list(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));

#ifdef __cplusplus
}
#endif
#endif
