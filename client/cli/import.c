/* client/cli/import.c - `waymark geo import`: a track file into the server, exactly once.
 *
 * The whole file is read and checked before anything is sent. Then messages of some hundred
 * fixes go out on one StreamPositions stream, a few of them ahead of their acknowledgements:
 *
 *   OPEN -> SEND (until the window is full) -> ACKNOWLEDGED -> SEND ... -> DONE
 *     ^                                             |
 *     +--- wait a little <--- the stream broke -----+
 *
 * After a break everything behind the last acknowledged fix is sent again, from the same order;
 * what the server had committed meanwhile is acknowledged as a duplicate and changes nothing.
 * The acknowledged position is also kept on disk (import_state.h), so that another run goes on
 * from there. That file could outlive the server's data, so the other run first asks the server
 * for the last acknowledged fix, and starts anew when it is not there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <waymark/geo/v1/track_service.client.h>

#include "base/clock.h"
#include "client/cli/args.h"
#include "client/cli/cli.h"
#include "client/cli/fix.h"
#include "client/cli/import_state.h"
#include "client/cli/progress.h"
#include "client/cli/retry.h"
#include "client/cli/track_file.h"
#include "client/cli/watchdog.h"

enum {
    IMPORT_WINDOW_MAX = 64,
    IMPORT_BATCH_MAX = 10000,
    IMPORT_ERRORS_SHOWN = 10,
    IMPORT_SAVE_EVERY_US = 200000
};

/* A message on its way: what stands behind its last fix. */
typedef struct import_sent {
    int64_t sequence;
    size_t first_offset; /* of its first fix, to find the line of a refused one */
    int64_t first_line;
    import_state after;
    bool answered;
    wm_err err; /* of a refused one; code WM_OK: it was not */
} import_sent;

typedef struct import_job {
    cli *cli;
    const char *path;
    track_file file;
    int64_t total_rows;
    int64_t batch, window;
    double retry_for_s;
    wm_arena arena; /* of the message being made */
    import_state acknowledged;
    import_sent sent[IMPORT_WINDOW_MAX]; /* a ring */
    size_t sent_first, n_sent;
    int64_t next_sequence;
    bool at_end;      /* every fix of the file is sent */
    int64_t saved_us; /* when the state was saved */
    retry retry;
    int64_t stored, duplicates, late, crossings, breaks;
    progress progress;
    watchdog dog; /* of the open stream */
} import_job;

/* ---- the file ---- */

/* Reads every line once; counts fixes and shows what is wrong. */
static bool import_check_file(import_job *job)
{
    track_fix fix;
    wm_err err;
    wm_code code;
    int wrong = 0;

    while ((code = track_file_next(&job->file, &fix, &err)) != WM_NOT_FOUND) {
        if (code == WM_OK || ++wrong > IMPORT_ERRORS_SHOWN)
            continue;
        fprintf(stderr, "%s:%" PRId64 ": %s\n", job->path, job->file.line, err.message);
    }
    job->total_rows = job->file.rows;
    if (wrong > 0) {
        cli_usage(job->cli, "%d wrong line%s in %s; nothing was sent", wrong, wrong == 1 ? "" : "s",
                  job->path);
        return false;
    }
    track_file_rewind(&job->file);
    return true;
}

static void import_seek(import_job *job, const import_state *to)
{
    if (to->rows == 0) {
        track_file_rewind(&job->file);
    } else {
        job->file.at = to->offset;
        job->file.line = to->line;
        job->file.rows = to->rows;
    }
}

/* ---- messages ---- */

/* Makes the next message and notes it as sent; false at the end of the file. */
static bool import_next_message(import_job *job, Waymark__Geo__V1__StreamPositionsRequest *request)
{
    import_sent *sent = &job->sent[(job->sent_first + job->n_sent) % IMPORT_WINDOW_MAX];
    Waymark__Geo__V1__Position **positions;
    track_fix fix;
    wm_err err;
    size_t n = 0;

    wm_arena_reset(&job->arena);
    positions = WM_NEW_ARRAY(&job->arena, Waymark__Geo__V1__Position *, (size_t)job->batch);
    sent->first_offset = job->file.at;
    sent->first_line = job->file.line;
    while (n < (size_t)job->batch && track_file_next(&job->file, &fix, &err) == WM_OK)
        positions[n++] = fix_position(&job->arena, &fix);
    if (n == 0)
        return false;
    sent->sequence = ++job->next_sequence;
    sent->answered = false;
    sent->err.code = WM_OK;
    sent->after = job->acknowledged; /* for its path */
    sent->after.offset = job->file.at;
    sent->after.rows = job->file.rows;
    sent->after.line = job->file.line;
    memcpy(sent->after.entity, fix.entity, sizeof(fix.entity));
    memcpy(sent->after.time, fix.time, sizeof(fix.time));
    job->n_sent++;
    waymark__geo__v1__stream_positions_request__init(request);
    request->namespace_ = (char *)job->cli->namespace_name;
    request->sequence = sent->sequence;
    request->positions = positions;
    request->n_positions = n;
    return true;
}

/* ---- acknowledgements ---- */

static void import_count(import_job *job, const Waymark__Geo__V1__StreamPositionsResponse *answer)
{
    for (size_t i = 0; i < answer->n_outcomes; i++) {
        switch ((int)answer->outcomes[i]) {
        case WAYMARK__GEO__V1__POSITION_OUTCOME__POSITION_OUTCOME_DUPLICATE:
            job->duplicates++;
            break;
        case WAYMARK__GEO__V1__POSITION_OUTCOME__POSITION_OUTCOME_LATE:
            job->late++;
            break;
        default:
            job->stored++;
            break;
        }
    }
    job->crossings += (int64_t)answer->n_crossings;
}

static void import_save(import_job *job, bool now)
{
    int64_t now_us = wm_monotonic_us();

    if (!now && now_us - job->saved_us < IMPORT_SAVE_EVERY_US)
        return;
    job->saved_us = now_us;
    /* Nowhere to keep it: the import itself does not depend on it. */
    if (job->acknowledged.rows > 0 && !import_state_save(&job->acknowledged, &job->file))
        job->acknowledged.path[0] = '\0';
}

/* The line of the file that "positions[17].time" is about; 0 when the field names none. */
static int64_t import_line_of(import_job *job, const import_sent *sent, const char *field)
{
    static const char prefix[] = "positions[";
    track_fix fix;
    wm_err err;
    int64_t index;

    if (strncmp(field, prefix, sizeof(prefix) - 1) != 0)
        return 0;
    index = strtoll(field + sizeof(prefix) - 1, NULL, 10);
    job->file.at = sent->first_offset;
    job->file.line = sent->first_line;
    for (int64_t i = 0; i <= index; i++) {
        if (track_file_next(&job->file, &fix, &err) != WM_OK)
            return 0;
    }
    return job->file.line;
}

typedef enum import_step {
    IMPORT_GO_ON,
    IMPORT_BROKEN, /* worth another try */
    IMPORT_REFUSED /* said why */
} import_step;

static import_step import_refused(import_job *job, const import_sent *sent)
{
    const wm_err *err = &sent->err;
    int64_t line;

    if (retry_is_worth((int)err->code))
        return IMPORT_BROKEN;
    line = import_line_of(job, sent, err->field);
    progress_clear(&job->progress);
    if (line > 0)
        fprintf(stderr, "%s:%" PRId64 ": ", job->path, line);
    fprintf(stderr, "%s %s: %s%s%s\n", wm_code_name(err->code), err->reason, err->field,
            *err->field ? ": " : "", err->message);
    return IMPORT_REFUSED;
}

/* Moves the acknowledged position behind the first message on its way. */
static void import_advance(import_job *job)
{
    const import_sent *sent = &job->sent[job->sent_first];
    char note[64];

    job->acknowledged.offset = sent->after.offset;
    job->acknowledged.rows = sent->after.rows;
    job->acknowledged.line = sent->after.line;
    memcpy(job->acknowledged.entity, sent->after.entity, sizeof(sent->after.entity));
    memcpy(job->acknowledged.time, sent->after.time, sizeof(sent->after.time));
    job->sent_first = (job->sent_first + 1) % IMPORT_WINDOW_MAX;
    job->n_sent--;
    retry_heard(&job->retry);
    import_save(job, false);
    snprintf(note, sizeof(note), "%" PRId64 " crossings", job->crossings);
    progress_show(&job->progress, job->acknowledged.rows, note);
}

/* Commits come in the order of messages, but a refusal may overtake them. */
static import_step import_answered(import_job *job,
                                   const Waymark__Geo__V1__StreamPositionsResponse *answer)
{
    int64_t ahead = answer->sequence - job->sent[job->sent_first].sequence;
    import_sent *sent;

    if (ahead < 0 || ahead >= (int64_t)job->n_sent)
        return IMPORT_BROKEN; /* an answer to nothing */
    sent = &job->sent[(job->sent_first + (size_t)ahead) % IMPORT_WINDOW_MAX];
    sent->answered = true;
    if (answer->error != NULL) {
        wm_fail_field(&sent->err, answer->error->field, answer->error->reason, "%s",
                      answer->error->message);
        sent->err.code = answer->error->code != 0 ? (wm_code)answer->error->code : WM_UNKNOWN;
        job->at_end = true;
    } else {
        import_count(job, answer);
    }
    while (job->n_sent > 0 && job->sent[job->sent_first].answered) {
        if (job->sent[job->sent_first].err.code != WM_OK)
            return import_refused(job, &job->sent[job->sent_first]);
        import_advance(job);
    }
    return IMPORT_GO_ON;
}

/* ---- the stream ---- */

static import_step import_exchange(import_job *job, waymark_stream *stream)
{
    const Waymark__Geo__V1__StreamPositionsResponse *answer;
    import_step step = IMPORT_GO_ON;

    while (step == IMPORT_GO_ON) {
        while (!job->at_end && job->n_sent < (size_t)job->window) {
            Waymark__Geo__V1__StreamPositionsRequest request;

            if (!import_next_message(job, &request)) {
                job->at_end = true;
                break;
            }
            if (!waymark_geo_v1_track_service_stream_positions_write_sync(stream, &request))
                return IMPORT_BROKEN;
        }
        if (job->n_sent == 0)
            return IMPORT_GO_ON;
        answer = waymark_geo_v1_track_service_stream_positions_read_sync(stream);
        if (answer == NULL)
            return IMPORT_BROKEN;
        watchdog_heard(&job->dog);
        step = import_answered(job, answer);
    }
    return step;
}

/* Reads what is left, so that the stream comes to its end and says why. No message of it may be
 * under way any more when the next stream sends the same fixes again. */
static const waymark_status *import_end(waymark_stream *stream)
{
    waymark_stream_close(stream);
    while (waymark_stream_status(stream) == NULL &&
           waymark_geo_v1_track_service_stream_positions_read_sync(stream) != NULL)
        continue;
    return waymark_stream_status(stream);
}

/* One stream, from the last acknowledged fix. `*wait_ms` is what the server asks for. */
static import_step import_stream(import_job *job, int64_t *wait_ms)
{
    waymark_stream *stream;
    import_step step;
    const waymark_status *status;

    import_seek(job, &job->acknowledged);
    job->sent_first = job->n_sent = 0;
    job->at_end = false;
    *wait_ms = 0;
    stream = waymark_geo_v1_track_service_stream_positions_open(job->cli->client, NULL, NULL, NULL);
    watchdog_start(&job->dog, stream, job->retry_for_s);
    step = import_exchange(job, stream);
    if (step == IMPORT_REFUSED)
        waymark_stream_cancel(stream);
    status = import_end(stream);
    watchdog_stop(&job->dog);
    if (step == IMPORT_BROKEN && status != NULL && status->code != WAYMARK_OK) {
        *wait_ms = status->retry_delay_ms;
        if (!retry_is_worth((int)status->code)) {
            progress_clear(&job->progress);
            cli_refused(job->cli, status);
            step = IMPORT_REFUSED;
        }
    }
    waymark_stream_free(stream);
    return step;
}

/* ---- trying again ---- */

/* Waits before another try; false when it is time to give up. */
static bool import_wait(import_job *job, int64_t asked_ms)
{
    char note[64];

    snprintf(note, sizeof(note), "no answer for %.0f s, trying again", retry_silent_s(&job->retry));
    progress_show(&job->progress, job->acknowledged.rows, note);
    return retry_wait(&job->retry, asked_ms);
}

static int import_all(import_job *job)
{
    retry_begin(&job->retry, job->retry_for_s);
    progress_begin(&job->progress, job->acknowledged.rows, job->total_rows);
    for (;;) {
        int64_t rows = job->acknowledged.rows, asked_ms;
        import_step step = import_stream(job, &asked_ms);

        import_save(job, true);
        if (step == IMPORT_REFUSED)
            return CLI_REFUSED;
        if (step == IMPORT_GO_ON)
            return CLI_OK;
        /* A try that got nowhere belongs to the break before it. */
        job->breaks += job->acknowledged.rows > rows || job->breaks == 0;
        if (!import_wait(job, asked_ms)) {
            progress_clear(&job->progress);
            fprintf(stderr,
                    "waymark: no answer from the server for %.0f s; %" PRId64 " of %" PRId64
                    " rows are acknowledged. The same command goes on from there.\n",
                    job->retry_for_s, job->acknowledged.rows, job->total_rows);
            return CLI_REFUSED;
        }
    }
}

/* ---- going on where another run ended ---- */

/* Whether the server has the fix that the state calls acknowledged. */
static bool import_is_known(import_job *job, const import_state *state)
{
    Waymark__Geo__V1__GetTrackRequest request = WAYMARK__GEO__V1__GET_TRACK_REQUEST__INIT;
    const Waymark__Geo__V1__GetTrackResponse *response;
    Google__Protobuf__Timestamp end = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    waymark_call_options options = {.wait_for_ready = true,
                                    .timeout_ms = (int64_t)(job->retry_for_s * 1000) + 1000};
    waymark_reply *reply = NULL;
    bool known;

    request.namespace_ = (char *)job->cli->namespace_name;
    request.entity_id = (char *)state->entity;
    request.start_time = cli_read_time(job->cli, "state", state->time);
    if (request.start_time == NULL)
        return false;
    end.seconds = request.start_time->seconds + 1;
    end.nanos = request.start_time->nanos;
    request.end_time = &end;
    request.page_size = 1;
    response =
        waymark_geo_v1_track_service_get_track_sync(job->cli->client, &request, &options, &reply);
    known = response != NULL && response->n_positions == 1 &&
            response->positions[0]->time != NULL &&
            response->positions[0]->time->seconds == request.start_time->seconds;
    waymark_reply_free(reply);
    return known;
}

static void import_resume(import_job *job, bool restart)
{
    import_state state = job->acknowledged;

    if (restart || !import_state_load(&state, job->cli, &job->file))
        return;
    if (!import_is_known(job, &state)) {
        fprintf(stderr,
                "The server does not have what an earlier import put there; starting anew.\n");
        return;
    }
    job->acknowledged = state;
    if (!job->cli->json)
        fprintf(stderr, "Going on after row %" PRId64 " of %" PRId64 ".\n", state.rows,
                job->total_rows);
}

/* ---- the command ---- */

static void import_print(const import_job *job, int64_t first_row)
{
    double seconds = progress_seconds(&job->progress);
    int64_t rows = job->acknowledged.rows - first_row;
    double rate = seconds > 0 ? (double)rows / seconds : 0;

    if (job->cli->json) {
        printf("{\"rows\":%" PRId64 ",\"resumed_after\":%" PRId64 ",\"stored\":%" PRId64
               ",\"duplicates\":%" PRId64 ",\"late\":%" PRId64 ",\"crossings\":%" PRId64
               ",\"seconds\":%.3f,\"rows_per_s\":%.0f,\"breaks\":%" PRId64 "}\n",
               rows, first_row, job->stored, job->duplicates, job->late, job->crossings, seconds,
               rate, job->breaks);
        return;
    }
    printf("%" PRId64 " rows in %.1f s (%.0f/s): %" PRId64 " stored, %" PRId64
           " had been there, %" PRId64 " late; %" PRId64 " crossings\n",
           rows, seconds, rate, job->stored, job->duplicates, job->late, job->crossings);
    if (job->breaks > 0)
        printf("The connection broke %" PRId64 " time%s; nothing was lost.\n", job->breaks,
               job->breaks == 1 ? "" : "s");
}

static int import_file(import_job *job, const char *state_path, bool restart)
{
    int64_t first_row;
    wm_err err;
    int code;

    if (track_file_open(&job->file, job->path, &err) != WM_OK)
        return cli_failed(job->cli, NULL, &err);
    if (!import_check_file(job) || cli_client(job->cli) == NULL) {
        track_file_close(&job->file);
        return CLI_USAGE;
    }
    import_state_locate(&job->acknowledged, job->cli, job->path, state_path);
    import_resume(job, restart);
    first_row = job->acknowledged.rows;
    code = import_all(job);
    progress_clear(&job->progress);
    if (code == CLI_OK) {
        import_state_remove(&job->acknowledged);
        import_print(job, first_row);
    }
    track_file_close(&job->file);
    return code;
}

static int import_run(cli *cli, int argc, char **argv)
{
    static import_job job = {.batch = 500, .window = 8, .retry_for_s = RETRY_FOR_S};
    const char *state_path = NULL;
    bool restart = false;
    const args_option known[] = {
        {"--batch", ARGS_INT, &job.batch, "N", "fixes in one message (else 500)"},
        {"--window", ARGS_INT, &job.window, "N", "messages ahead of their answers (else 8)"},
        RETRY_OPTION(&job.retry_for_s),
        {"--state-file", ARGS_TEXT, &state_path, "FILE",
         "where to keep the position (else under ~/.local/state)"},
        {"--restart", ARGS_FLAG, &restart, NULL,
         "start at the first row, whatever was done before"},
    };
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), &job.path, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    if (job.batch < 1 || job.batch > IMPORT_BATCH_MAX)
        return cli_usage(cli, "--batch is 1 to %d", IMPORT_BATCH_MAX);
    if (job.window < 1 || job.window > IMPORT_WINDOW_MAX)
        return cli_usage(cli, "--window is 1 to %d", IMPORT_WINDOW_MAX);
    job.cli = cli;
    wm_arena_init(&job.arena, 0);
    code = import_file(&job, state_path, restart);
    wm_arena_free(&job.arena);
    return code;
}

const cli_command cli_import_commands[] = {
    {"geo import", "FILE.csv", "Loads a track file, and goes on where it was cut off.",
     "The first line names columns: entity,time,lon,lat and, if known, alt,speed,heading.\n"
     "The server may be killed meanwhile: what it had acknowledged is there, the rest is sent again.",
     import_run},
    {0},
};
