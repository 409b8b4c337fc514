/* client/cli/track_file.h - reads fixes from a CSV file.
 *
 *   entity,time,lon,lat,alt,speed,heading
 *
 * The first line names the columns, in any order; the last three may be missing, and columns of
 * other names are passed over. Times are RFC 3339, positions degrees; alt is metres, speed metres
 * per second, heading degrees, and empty means unknown. Fields may be quoted as RFC 4180 says, but
 * not run over several lines.
 *
 * Memory: the file is mapped; texts of a fix point into it or into the reader, and are good until
 *         the next one is read.
 */
#ifndef WAYMARK_CLIENT_CLI_TRACK_FILE_H
#define WAYMARK_CLIENT_CLI_TRACK_FILE_H

#include "base/code.h"

enum { TRACK_COLUMNS = 7, TRACK_FIELD_SIZE = 256 };

typedef struct track_fix {
    char entity[TRACK_FIELD_SIZE];
    char time[TRACK_FIELD_SIZE]; /* as written */
    int64_t seconds;
    int32_t nanos;
    double lon_deg, lat_deg;
    double alt_m, speed_mps, heading_deg;
    bool has_alt, has_speed, has_heading;
} track_fix;

typedef struct track_file {
    const char *bytes;
    size_t size;
    size_t at;                  /* the next line's offset */
    int64_t line;               /* the number of the line that was read last; the first is 1 */
    int64_t rows;               /* fixes read so far */
    int columns[TRACK_COLUMNS]; /* which field of a line; -1: not there */
    size_t first;               /* the offset of the first fix */
    int64_t mtime;
    bool mapped;
} track_file;

/* Maps the file and reads its first line. */
WM_MUST_USE wm_code track_file_open(track_file *file, const char *path, wm_err *err);
/* The same of text in memory, which stays the caller's. `name` is for complaints. */
WM_MUST_USE wm_code track_file_of_text(track_file *file, const char *name, const char *text,
                                       size_t size, wm_err *err);
void track_file_close(track_file *file);

/* WM_OK: a fix. WM_NOT_FOUND: the end. WM_INVALID: line `file->line` is wrong. */
WM_MUST_USE wm_code track_file_next(track_file *file, track_fix *fix, wm_err *err);

/* Goes back to the first fix. */
void track_file_rewind(track_file *file);

#endif
