/* client/cli/track_file.c - reads fixes from a CSV file; see track_file.h. */
#include "client/cli/track_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

enum {
    COLUMN_ENTITY,
    COLUMN_TIME,
    COLUMN_LON,
    COLUMN_LAT,
    COLUMN_ALT,
    COLUMN_SPEED,
    COLUMN_HEADING
};

enum { TRACK_FIELDS_MAX = 64 };

static const char *const track_names[TRACK_COLUMNS] = {"entity", "time",  "lon",    "lat",
                                                       "alt",    "speed", "heading"};

/* The fields of one line. Quoted ones are decoded into `text`. */
typedef struct track_line {
    char text[4096];
    const char *fields[TRACK_FIELDS_MAX];
    size_t n;
} track_line;

/* ---- lines ---- */

/* One field from `at` on into `to`; the comma or the end behind it, or NULL when it is malformed.
 */
static const char *line_field(const char *at, const char *end, char **to)
{
    bool quoted = at < end && *at == '"';

    at += quoted ? 1 : 0;
    for (; at < end; at++) {
        if (quoted && *at == '"') {
            if (at + 1 < end && at[1] == '"') {
                at++;
            } else {
                at++;
                break;
            }
        } else if (!quoted && *at == ',') {
            break;
        } else if (quoted && at + 1 == end) {
            return NULL; /* the quote does not end */
        }
        *(*to)++ = *at;
    }
    *(*to)++ = '\0';
    return at == end || *at == ',' ? at : NULL;
}

static bool line_split(track_line *line, const char *at, const char *end)
{
    char *to = line->text;

    line->n = 0;
    if ((size_t)(end - at) > sizeof(line->text) / 2)
        return false;
    while (line->n < TRACK_FIELDS_MAX) {
        line->fields[line->n++] = to;
        at = line_field(at, end, &to);
        if (at == NULL)
            return false;
        if (at == end)
            return true;
        at++;
    }
    return false;
}

/* The next line that is not empty; false at the end of the file. */
static bool track_next_line(track_file *file, const char **at, const char **end)
{
    while (file->at < file->size) {
        const char *start = file->bytes + file->at;
        const char *newline = memchr(start, '\n', file->size - file->at);
        const char *stop = newline != NULL ? newline : file->bytes + file->size;

        file->at = (size_t)(stop - file->bytes) + (newline != NULL ? 1 : 0);
        file->line++;
        if (stop > start && stop[-1] == '\r')
            stop--;
        if (stop > start) {
            *at = start;
            *end = stop;
            return true;
        }
    }
    return false;
}

/* ---- the first line ---- */

static wm_code track_read_titles(track_file *file, const char *path, wm_err *err)
{
    track_line line;
    const char *at, *end;

    for (size_t i = 0; i < TRACK_COLUMNS; i++)
        file->columns[i] = -1;
    if (file->size >= 3 && memcmp(file->bytes, "\xef\xbb\xbf", 3) == 0)
        file->at = 3; /* a byte order mark */
    if (!track_next_line(file, &at, &end) || !line_split(&line, at, end))
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "%s has no first line that names columns",
                       path);
    for (size_t k = 0; k < line.n; k++) {
        for (size_t i = 0; i < TRACK_COLUMNS; i++) {
            if (strcasecmp(line.fields[k], track_names[i]) == 0)
                file->columns[i] = (int)k;
        }
    }
    for (size_t i = COLUMN_ENTITY; i <= COLUMN_LAT; i++) {
        if (file->columns[i] < 0)
            return wm_fail(err, WM_INVALID, "FIELD_INVALID",
                           "the first line of %s names no column \"%s\"; it must be like "
                           "entity,time,lon,lat,alt,speed,heading",
                           path, track_names[i]);
    }
    file->first = file->at;
    return WM_OK;
}

/* ---- fixes ---- */

static const char *track_field(const track_file *file, const track_line *line, size_t column)
{
    int index = file->columns[column];

    return index < 0 || (size_t)index >= line->n ? "" : line->fields[index];
}

static wm_code track_number(const char *text, size_t column, double min, double max, double *number,
                            wm_err *err)
{
    char *end;

    errno = 0;
    *number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(*number) || errno == ERANGE)
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "%s is not a number: \"%.40s\"",
                       track_names[column], text);
    if (*number < min || *number > max)
        return wm_fail(err, WM_INVALID, "COORDINATE_OUT_OF_RANGE", "%s is not in %g to %g: %s",
                       track_names[column], min, max, text);
    return WM_OK;
}

static wm_code track_optional(const track_file *file, const track_line *line, size_t column,
                              double *number, bool *has, wm_err *err)
{
    const char *text = track_field(file, line, column);

    *has = *text != '\0';
    *number = 0;
    return *has ? track_number(text, column, -HUGE_VAL, HUGE_VAL, number, err) : WM_OK;
}

static wm_code track_texts(const track_file *file, const track_line *line, track_fix *fix,
                           wm_err *err)
{
    const char *entity = track_field(file, line, COLUMN_ENTITY);
    const char *time = track_field(file, line, COLUMN_TIME);
    size_t len = strlen(entity);

    if (len == 0 || len > 128 || wm_utf8_check(entity, len) != WM_UTF8_OK)
        return wm_fail(err, WM_INVALID, "ID_MALFORMED",
                       "the entity is empty, longer than 128 bytes or not UTF-8");
    memcpy(fix->entity, entity, len + 1);
    if (strlen(time) >= TRACK_FIELD_SIZE ||
        !wm_time_parse_ns(time, strlen(time), &fix->seconds, &fix->nanos))
        return wm_fail(err, WM_INVALID, "TIME_INVALID",
                       "time is not like 2018-08-01T05:00:00Z: \"%.40s\"", time);
    memcpy(fix->time, time, strlen(time) + 1);
    return WM_OK;
}

static wm_code track_numbers(const track_file *file, const track_line *line, track_fix *fix,
                             wm_err *err)
{
    wm_code code = track_number(track_field(file, line, COLUMN_LON), COLUMN_LON, -180, 180,
                                &fix->lon_deg, err);

    if (code == WM_OK)
        code = track_number(track_field(file, line, COLUMN_LAT), COLUMN_LAT, -90, 90, &fix->lat_deg,
                            err);
    if (code == WM_OK)
        code = track_optional(file, line, COLUMN_ALT, &fix->alt_m, &fix->has_alt, err);
    if (code == WM_OK)
        code = track_optional(file, line, COLUMN_SPEED, &fix->speed_mps, &fix->has_speed, err);
    if (code == WM_OK)
        code =
            track_optional(file, line, COLUMN_HEADING, &fix->heading_deg, &fix->has_heading, err);
    return code;
}

wm_code track_file_next(track_file *file, track_fix *fix, wm_err *err)
{
    track_line line;
    const char *at, *end;
    wm_code code;

    if (!track_next_line(file, &at, &end))
        return WM_NOT_FOUND;
    if (!line_split(&line, at, end))
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "the line is not CSV");
    code = track_texts(file, &line, fix, err);
    if (code == WM_OK)
        code = track_numbers(file, &line, fix, err);
    if (code == WM_OK)
        file->rows++;
    return code;
}

void track_file_rewind(track_file *file)
{
    file->at = file->first;
    file->line = 1;
    file->rows = 0;
}

/* ---- the file ---- */

static wm_code track_fail_open(const char *path, int fd, wm_err *err)
{
    wm_code code =
        wm_fail(err, WM_INVALID, "FIELD_INVALID", "cannot read %s: %s", path, strerror(errno));

    if (fd >= 0)
        close(fd);
    return code;
}

wm_code track_file_open(track_file *file, const char *path, wm_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    void *bytes;
    wm_code code;

    memset(file, 0, sizeof(*file));
    if (fd < 0 || fstat(fd, &info) != 0)
        return track_fail_open(path, fd, err);
    if (!S_ISREG(info.st_mode) || info.st_size == 0) {
        close(fd);
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "%s is empty, or not a file", path);
    }
    bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return track_fail_open(path, fd, err);
    close(fd);
    file->bytes = bytes;
    file->mapped = true;
    file->size = (size_t)info.st_size;
    file->mtime = (int64_t)info.st_mtim.tv_sec * 1000000 + info.st_mtim.tv_nsec / 1000;
    code = track_read_titles(file, path, err);
    if (code != WM_OK)
        track_file_close(file);
    return code;
}

wm_code track_file_of_text(track_file *file, const char *name, const char *text, size_t size,
                           wm_err *err)
{
    memset(file, 0, sizeof(*file));
    file->bytes = text;
    file->size = size;
    return track_read_titles(file, name, err);
}

void track_file_close(track_file *file)
{
    if (file->mapped)
        munmap((void *)(uintptr_t)file->bytes, file->size);
    file->bytes = NULL;
    file->mapped = false;
}
