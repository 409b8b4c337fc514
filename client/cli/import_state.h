/* client/cli/import_state.h - how far an import has come, across runs.
 *
 * A small JSON file holds the last position that the server acknowledged, and the fix there. It
 * is replaced as a whole, and removed when the import is done. It counts only for the very same
 * file: size and time of change are compared.
 */
#ifndef WAYMARK_CLIENT_CLI_IMPORT_STATE_H
#define WAYMARK_CLIENT_CLI_IMPORT_STATE_H

#include "client/cli/cli.h"
#include "client/cli/track_file.h"

enum { IMPORT_STATE_PATH_SIZE = 4096 };

typedef struct import_state {
    char path[IMPORT_STATE_PATH_SIZE];                     /* "" when there is nowhere to keep it */
    size_t offset;                                         /* where the next fix starts */
    int64_t rows, line;                                    /* before it */
    char entity[TRACK_FIELD_SIZE], time[TRACK_FIELD_SIZE]; /* of the last fix before it */
} import_state;

/* Where the state of this import is: `chosen`, or a file under XDG_STATE_HOME that is named after
 * the track file, the server and the namespace. */
void import_state_locate(import_state *state, const cli *cli, const char *track_path,
                         const char *chosen);
/* False when there is none for this file; then the import starts at its first fix. */
bool import_state_load(import_state *state, cli *cli, const track_file *file);
/* False when it cannot be written. */
bool import_state_save(const import_state *state, const track_file *file);
void import_state_remove(const import_state *state);

#endif
