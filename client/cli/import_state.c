/* client/cli/import_state.c - how far an import has come; see import_state.h. */
#include "client/cli/import_state.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- where ---- */

/* FNV-1a; names a file, protects nothing. */
static uint64_t state_hash(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    return (hash ^ 0xFF) * UINT64_C(1099511628211);
}

static bool state_make_dirs(char *dir)
{
    for (char *slash = strchr(dir + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(dir, 0700) != 0 && errno != EEXIST)
            return false;
        *slash = '/';
    }
    return mkdir(dir, 0700) == 0 || errno == EEXIST;
}

static bool state_dir(char dir[IMPORT_STATE_PATH_SIZE])
{
    const char *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int len;

    if (xdg != NULL && *xdg == '/')
        len = snprintf(dir, IMPORT_STATE_PATH_SIZE, "%s/waymark/import", xdg);
    else if (home != NULL && *home == '/')
        len = snprintf(dir, IMPORT_STATE_PATH_SIZE, "%s/.local/state/waymark/import", home);
    else
        return false;
    return len < IMPORT_STATE_PATH_SIZE - 64 && state_make_dirs(dir);
}

void import_state_locate(import_state *state, const cli *cli, const char *track_path,
                         const char *chosen)
{
    char dir[IMPORT_STATE_PATH_SIZE], real[PATH_MAX];
    const char *address = cli->address != NULL ? cli->address : getenv("WAYMARK_ADDRESS");
    uint64_t hash = UINT64_C(14695981039346656037);

    memset(state, 0, sizeof(*state));
    if (chosen != NULL) {
        snprintf(state->path, sizeof(state->path), "%s", chosen);
        return;
    }
    if (!state_dir(dir) || realpath(track_path, real) == NULL)
        return;
    hash = state_hash(hash, real);
    hash = state_hash(hash, address != NULL ? address : "");
    hash = state_hash(hash, cli->namespace_name);
    if (snprintf(state->path, sizeof(state->path), "%s/%016" PRIx64 ".json", dir, hash) >=
        (int)sizeof(state->path))
        state->path[0] = '\0';
}

/* ---- reading ---- */

static int64_t state_number(const wm_json *json, const char *name)
{
    const wm_json *member = wm_json_find(json, name);

    return member != NULL && member->kind == WM_JSON_NUMBER ? strtoll(member->text, NULL, 10) : -1;
}

static bool state_text(const wm_json *json, const char *name, char to[TRACK_FIELD_SIZE])
{
    const wm_json *member = wm_json_find(json, name);

    return member != NULL && member->kind == WM_JSON_STRING &&
           snprintf(to, TRACK_FIELD_SIZE, "%s", member->text) < TRACK_FIELD_SIZE;
}

bool import_state_load(import_state *state, cli *cli, const track_file *file)
{
    char text[4096];
    size_t len;
    FILE *from = *state->path != '\0' ? fopen(state->path, "r") : NULL;
    wm_json *json;
    wm_err err;

    if (from == NULL)
        return false;
    len = fread(text, 1, sizeof(text), from);
    fclose(from);
    if (wm_json_parse(&cli->arena, text, len, &json, &err) != WM_OK ||
        state_number(json, "size") != (int64_t)file->size ||
        state_number(json, "mtime") != file->mtime || !state_text(json, "entity", state->entity) ||
        !state_text(json, "time", state->time))
        return false;
    state->offset = (size_t)state_number(json, "offset");
    state->rows = state_number(json, "rows");
    state->line = state_number(json, "line");
    return state->offset > file->first && state->offset <= file->size && state->rows > 0 &&
           state->line > 0 && file->bytes[state->offset - 1] == '\n';
}

/* ---- writing ---- */

bool import_state_save(const import_state *state, const track_file *file)
{
    char temporary[IMPORT_STATE_PATH_SIZE + 8];
    FILE *to;
    wm_buf buf;
    bool ok;

    if (*state->path == '\0')
        return false;
    wm_buf_init(&buf, 4096);
    wm_buf_printf(&buf, "{\"size\":%zu,\"mtime\":%" PRId64 ",\"offset\":%zu,\"rows\":%" PRId64,
                  file->size, file->mtime, state->offset, state->rows);
    wm_buf_printf(&buf, ",\"line\":%" PRId64 ",\"entity\":", state->line);
    wm_json_write_string(&buf, state->entity, strlen(state->entity));
    wm_buf_text(&buf, ",\"time\":");
    wm_json_write_string(&buf, state->time, strlen(state->time));
    wm_buf_text(&buf, "}\n");
    snprintf(temporary, sizeof(temporary), "%s.new", state->path);
    to = fopen(temporary, "w");
    ok = to != NULL && fwrite(buf.data, 1, buf.size, to) == buf.size;
    ok = (to == NULL || fclose(to) == 0) && ok && rename(temporary, state->path) == 0;
    wm_buf_free(&buf);
    return ok;
}

void import_state_remove(const import_state *state)
{
    if (*state->path != '\0')
        unlink(state->path);
}
