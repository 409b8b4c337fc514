/* client/cli/progress.h - a bar on standard error, where that is a terminal; nothing elsewhere. */
#ifndef WAYMARK_CLIENT_CLI_PROGRESS_H
#define WAYMARK_CLIENT_CLI_PROGRESS_H

#include "base/code.h"

typedef struct progress {
    bool shown;
    int64_t start_us, last_us;
    int64_t start_rows, total_rows;
} progress;

void progress_begin(progress *progress, int64_t rows, int64_t total_rows);
/* At most ten times a second. `note` stands behind the bar. */
void progress_show(progress *progress, int64_t rows, const char *note);
/* Takes the bar away, so that other lines can be printed. */
void progress_clear(progress *progress);
double progress_seconds(const progress *progress);

#endif
