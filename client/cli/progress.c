/* client/cli/progress.c - a bar on standard error; see progress.h. */
#include "client/cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { PROGRESS_WIDTH = 24, PROGRESS_EVERY_US = 100000 };

void progress_begin(progress *progress, int64_t rows, int64_t total_rows)
{
    progress->shown = isatty(STDERR_FILENO);
    progress->start_us = wm_monotonic_us();
    progress->last_us = 0;
    progress->start_rows = rows;
    progress->total_rows = total_rows;
}

double progress_seconds(const progress *progress)
{
    return (double)(wm_monotonic_us() - progress->start_us) / 1e6;
}

void progress_show(progress *progress, int64_t rows, const char *note)
{
    char bar[PROGRESS_WIDTH + 1];
    int64_t now_us = wm_monotonic_us();
    double seconds = progress_seconds(progress), rate, left;
    int done;

    if (!progress->shown ||
        (now_us - progress->last_us < PROGRESS_EVERY_US && rows < progress->total_rows))
        return;
    progress->last_us = now_us;
    done = progress->total_rows > 0 ? (int)(PROGRESS_WIDTH * rows / progress->total_rows) : 0;
    memset(bar, ' ', PROGRESS_WIDTH);
    memset(bar, '#', (size_t)done);
    bar[PROGRESS_WIDTH] = '\0';
    rate = seconds > 0 ? (double)(rows - progress->start_rows) / seconds : 0;
    left = rate > 0 ? (double)(progress->total_rows - rows) / rate : 0;
    fprintf(stderr, "\r[%s] %3d%%  %" PRId64 "/%" PRId64 "  %.0f/s  %.0f s left  %s\033[K", bar,
            progress->total_rows > 0 ? (int)(100 * rows / progress->total_rows) : 0, rows,
            progress->total_rows, rate, left, note);
}

void progress_clear(progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
}
