/* cel/regex.h - regular expressions by RE2, which is linear in the text, but not in the pattern.
 * Private to cel/.
 *
 * Matches begin and end between characters; RE2 by itself takes \C, any byte, and finds \B within
 * a character.
 *
 * Threads: a compiled one may be used by any number of threads.
 * Memory:  on the heap; freed by cel_regex_free().
 */
#ifndef WAYMARK_SERVER_CEL_REGEX_H
#define WAYMARK_SERVER_CEL_REGEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cel_regex cel_regex;

enum { CEL_REGEX_GROUPS_MAX = 10 };

typedef struct cel_span {
    const char *text; /* NULL: the group took no part */
    size_t len;
} cel_span;

/* NULL when it does not parse or is too large; `why` says so. */
cel_regex *cel_regex_new(const char *pattern, size_t len, char *why, size_t why_size);
void cel_regex_free(cel_regex *regex);
int cel_regex_groups(const cel_regex *regex);
/* Of its program: about 100 ns went into each. */
int cel_regex_size(const cel_regex *regex);
/* Work units (10 ns) of one look through `len` bytes at most, whatever is in them. With groups the
 * match is gone through once more. */
uint64_t cel_regex_cost(const cel_regex *regex, size_t len, bool groups);
/* Finds the pattern in the text from a place between characters on; fills the whole match and the
 * first groups. */
bool cel_regex_find(const cel_regex *regex, const char *text, size_t len, size_t from,
                    cel_span *spans, size_t n);

#ifdef __cplusplus
}
#endif
#endif
