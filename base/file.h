/* base/file.h - whether files have been replaced. */
#ifndef WAYMARK_BASE_FILE_H
#define WAYMARK_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whether one of `n` files has another time of change than `seen` says, which then says it. NULL
 * is no file; one that is not there counts as unchanged. */
bool wm_files_changed(char *const *paths, struct timespec *seen, size_t n);

#ifdef __cplusplus
}
#endif
#endif
