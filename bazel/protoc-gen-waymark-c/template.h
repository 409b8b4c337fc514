/* protoc-gen-waymark-c/template.h - texts with $names$ in them. */
#ifndef WAYMARK_PROTOC_GEN_TEMPLATE_H
#define WAYMARK_PROTOC_GEN_TEMPLATE_H

#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct template_name {
    const char *name;
    const char *value;
} template_name;

/* Writes `text` with each $name$ replaced; "$$" is a dollar. A name that is not in `names`
 * is a bug and asserts. */
void template_write(FILE *out, const template_name *names, size_t n, const char *text);

#ifdef __cplusplus
}
#endif
#endif
