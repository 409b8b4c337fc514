/* bazel/embed/embedded.h - files that a program carries inside itself.
 *
 * waymark_embed(name = "migrations", srcs = ...) of bazel/waymark_embed.bzl makes a library with
 * the header "<package>/migrations.h", which declares one table of these:
 *
 *     extern const wm_embedded migrations[];
 *     extern const size_t migrations_n;
 *
 * Threads: constant data.
 * Memory:  static; never freed.
 */
#ifndef WAYMARK_BAZEL_EMBED_EMBEDDED_H
#define WAYMARK_BAZEL_EMBED_EMBEDDED_H

#include <stddef.h>

typedef struct wm_embedded {
    const char *name;           /* base name of the file, "0001_core.sql" */
    const unsigned char *bytes; /* its content, followed by a NUL that size does not count */
    size_t size;
} wm_embedded;

#endif
