/* base/file.c - see file.h. */
#include "base/file.h"

#include <sys/stat.h>

bool wm_files_changed(char *const *paths, struct timespec *seen, size_t n)
{
    bool have_changed = false;

    for (size_t i = 0; i < n; i++) {
        struct stat status;

        if (paths[i] == NULL || stat(paths[i], &status) != 0)
            continue;
        if (status.st_mtim.tv_sec != seen[i].tv_sec || status.st_mtim.tv_nsec != seen[i].tv_nsec)
            have_changed = true;
        seen[i] = status.st_mtim;
    }
    return have_changed;
}
