/* tests/fuzz/cli_track_fuzz.c - any bytes may be read as a track file; a fix that is taken is in
 * range, and reading the file again gives as many.
 */
#include <math.h>
#include <stdlib.h>

#include "client/cli/track_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static int64_t count_fixes(track_file *file)
{
    track_fix fix;
    wm_err err;
    wm_code code;

    while ((code = track_file_next(file, &fix, &err)) != WM_NOT_FOUND) {
        if (code != WM_OK)
            continue;
        if (fix.entity[0] == '\0' || !(fabs(fix.lon_deg) <= 180) || !(fabs(fix.lat_deg) <= 90) ||
            fix.nanos < 0 || fix.nanos > 999999999)
            abort();
    }
    return file->rows;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    track_file file;
    wm_err err;
    int64_t rows;

    if (track_file_of_text(&file, "fuzz", (const char *)bytes, size, &err) != WM_OK)
        return 0;
    rows = count_fixes(&file);
    track_file_rewind(&file);
    if (count_fixes(&file) != rows)
        abort();
    track_file_close(&file);
    return 0;
}
