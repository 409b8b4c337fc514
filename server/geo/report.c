/* geo/report.c - ReportPositions and StreamPositions: fixes in, outcomes and crossings out.
 *
 * A message of a stream is a request of its own with an arena of its own. It is on one of two
 * lists: with the ingest, or answered and waiting for the stream to be writable. At most
 * WINDOW messages are on either; then the stream is not read until one is gone. Nor is it while
 * too many fixes of all streams wait: it stands in line for room (ingest.h).
 *
 *   read ──> message ──> ingest ──> answered ──> sent
 *     ^         └─ refused ────────────^           │
 *     └────────────────────────────────────────────┘
 *
 * Answers to refused messages wait their turn in `answered` like the others.
 *
 * A message that is lost for want of the database takes those behind it along: had they been
 * stored without it, its fixes would be late when they are sent again, and crossings missing. A
 * message that is refused for what is in it does not.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/geo/internal.h"

enum {
    WINDOW = 64,          /* messages of a stream */
    WINDOW_FIXES = 20000, /* and fixes in them: with so many the stream is not read either */
    BUSY_RETRY_MS = 200
};

/* ---- reading a request ---- */

static wm_code positions_check_len(size_t n, wm_err *err)
{
    if (n == 0)
        return wm_fail_field(err, "positions", "FIELD_REQUIRED", "positions is empty");
    if (n > GEO_REPORT_LEN_MAX)
        return wm_fail_field(err, "positions", "FIELD_TOO_LONG",
                             "positions has %zu fixes, at most %d are allowed", n,
                             GEO_REPORT_LEN_MAX);
    return WM_OK;
}

/* Fills the report from the message; ids are copied when the message will not last. */
static wm_code report_read(geo_report *report, wm_arena *arena, size_t n,
                           Waymark__Geo__V1__Position *const *positions, bool copy_ids, wm_err *err)
{
    wm_code code = positions_check_len(n, err);
    int64_t now_us = wm_now_us();
    const char **ids;
    geo_fix *fixes;

    if (code != WM_OK)
        return code;
    ids = WM_NEW_ARRAY(arena, const char *, n);
    fixes = WM_NEW_ARRAY(arena, geo_fix, n);
    for (size_t i = 0; i < n; i++) {
        code = geo_fix_read(positions[i], i, now_us, &fixes[i], err);
        if (code != WM_OK)
            return code;
        ids[i] =
            copy_ids ? wm_arena_strdup(arena, positions[i]->entity_id) : positions[i]->entity_id;
    }
    report->n = n;
    report->entity_ids = ids;
    report->fixes = fixes;
    report->arena = arena;
    return WM_OK;
}

/* ---- writing an answer ---- */

static Waymark__Geo__V1__PositionOutcome *outcomes_write(wm_arena *arena, const geo_report *report)
{
    Waymark__Geo__V1__PositionOutcome *outcomes =
        WM_NEW_ARRAY(arena, Waymark__Geo__V1__PositionOutcome, report->n);

    for (size_t i = 0; i < report->n; i++)
        outcomes[i] = (Waymark__Geo__V1__PositionOutcome)report->outcomes[i];
    return outcomes;
}

static Waymark__Geo__V1__Crossing **crossings_write(wm_arena *arena, const geo_report *report)
{
    Waymark__Geo__V1__Crossing **crossings =
        WM_NEW_ARRAY(arena, Waymark__Geo__V1__Crossing *, report->n_crossings);
    size_t n = 0;

    for (const geo_report_crossing *c = report->crossings; c != NULL; c = c->next) {
        Waymark__Geo__V1__Crossing *crossing = WM_NEW(arena, Waymark__Geo__V1__Crossing);

        waymark__geo__v1__crossing__init(crossing);
        crossing->entity_id = (char *)(uintptr_t)c->entity_id; /* packed, never freed */
        crossing->fence_id = (char *)(uintptr_t)c->fence_id;
        crossing->kind = (Waymark__Geo__V1__CrossingKind)c->kind;
        crossing->time = geo_time_write(arena, c->time_us);
        crossings[n++] = crossing;
    }
    return crossings;
}

/* ---- ReportPositions ---- */

typedef struct report_call {
    rpc_call *call;
    geo_report report;
} report_call;

static void report_call_done(geo_report *report)
{
    report_call *op = wm_container_of(report, report_call, report);
    wm_arena *arena = rpc_arena(op->call);
    Waymark__Geo__V1__ReportPositionsResponse response =
        WAYMARK__GEO__V1__REPORT_POSITIONS_RESPONSE__INIT;

    if (report->op.code != WM_OK) {
        rpc_fail(op->call, &report->op.err);
        return;
    }
    response.n_outcomes = report->n;
    response.outcomes = outcomes_write(arena, report);
    response.n_crossings = report->n_crossings;
    response.crossings = crossings_write(arena, report);
    response.revision = report->revision;
    waymark_geo_v1_track_service_report_positions_reply(op->call, &response);
}

static wm_code room_check(const geo_ingest *ingest, wm_err *err)
{
    if (!geo_ingest_is_full(ingest))
        return WM_OK;
    wm_fail(err, WM_EXHAUSTED, "STORE_BUSY", "%d fixes wait to be stored", GEO_PENDING_MAX);
    err->retry_after_ms = BUSY_RETRY_MS;
    return err->code;
}

void geo_report_positions(rpc_call *call, const Waymark__Geo__V1__ReportPositionsRequest *request)
{
    report_call *op = WM_NEW(rpc_arena(call), report_call);
    wm_err err = {0};

    op->call = call;
    op->report.namespace_id = rpc_namespace(call);
    op->report.deadline_us = rpc_deadline_us(call);
    op->report.done = report_call_done;
    if (report_read(&op->report, rpc_arena(call), request->n_positions, request->positions, false,
                    &err) != WM_OK ||
        room_check(geo_lane_of(call)->ingest, &err) != WM_OK ||
        !geo_ingest_add(geo_lane_of(call)->ingest, &op->report, &err))
        rpc_fail(call, &err);
}

/* ---- StreamPositions ---- */

typedef struct stream stream;

typedef struct stream_message stream_message;
struct stream_message {
    stream_message *next;
    stream *stream;
    int64_t sequence;
    size_t n_fixes;
    geo_report report;
    wm_err err; /* why it was refused; code WM_OK: it was not */
    wm_arena arena;
};

struct stream {
    rpc_call *call;
    geo_ingest *ingest;
    geo_room_wait room_wait;
    size_t n_open, n_open_fixes; /* read and not yet answered */
    stream_message *answered, **answered_tail;
    bool reading, half_closed, cancelled, over;
    bool lost; /* a message was: none behind it is taken */
};

static void stream_message_free(stream_message *message)
{
    wm_arena_free(&message->arena);
    free(message);
}

static bool answer_send(stream_message *message)
{
    geo_report *report = &message->report;
    Waymark__Geo__V1__StreamPositionsResponse response =
        WAYMARK__GEO__V1__STREAM_POSITIONS_RESPONSE__INIT;
    Waymark__Geo__V1__StreamPositionsError error = WAYMARK__GEO__V1__STREAM_POSITIONS_ERROR__INIT;

    response.sequence = message->sequence;
    if (message->err.code != WM_OK) {
        error.code = (int32_t)message->err.code;
        error.reason = message->err.reason;
        error.field = message->err.field;
        error.message = message->err.message;
        response.error = &error;
    } else {
        response.n_outcomes = report->n;
        response.outcomes = outcomes_write(&message->arena, report);
        response.n_crossings = report->n_crossings;
        response.crossings = crossings_write(&message->arena, report);
        response.revision = report->revision;
    }
    return waymark_geo_v1_track_service_stream_positions_send(message->stream->call, &response);
}

static void stream_send(stream *s)
{
    while (s->answered != NULL && (s->cancelled || rpc_is_writable(s->call))) {
        stream_message *message = s->answered;

        if (!s->cancelled && !answer_send(message))
            break;
        s->answered = message->next;
        if (s->answered == NULL)
            s->answered_tail = &s->answered;
        s->n_open--;
        s->n_open_fixes -= message->n_fixes;
        stream_message_free(message);
    }
}

static void stream_read(stream *s)
{
    if (s->reading || s->n_open >= WINDOW || s->n_open_fixes >= WINDOW_FIXES)
        return;
    if (geo_ingest_is_full(s->ingest)) {
        geo_ingest_room_wait(s->ingest, &s->room_wait);
        return;
    }
    s->reading = true;
    rpc_read(s->call);
}

/* Sends what can be sent, then reads on, or ends the call. */
static void stream_go_on(stream *s)
{
    if (s->over)
        return;
    stream_send(s);
    if (!s->half_closed && !s->cancelled) {
        stream_read(s);
    } else if (s->n_open == 0) {
        s->over = true;
        geo_ingest_room_cancel(s->ingest, &s->room_wait);
        rpc_finish(s->call);
    }
}

static void stream_room(geo_room_wait *wait)
{
    stream_go_on(wm_container_of(wait, stream, room_wait));
}

static void stream_answer(stream_message *message)
{
    stream *s = message->stream;

    message->next = NULL;
    *s->answered_tail = message;
    s->answered_tail = &message->next;
    stream_go_on(s);
}

static void stream_report_done(geo_report *report)
{
    stream_message *message = wm_container_of(report, stream_message, report);

    if (report->op.code != WM_OK) {
        message->err = report->op.err;
        message->stream->lost |= report->op.code != WM_INVALID;
    }
    stream_answer(message);
}

void geo_stream_opened(rpc_call *call)
{
    stream *s = WM_NEW(rpc_arena(call), stream);

    s->call = call;
    s->ingest = geo_lane_of(call)->ingest;
    s->room_wait.room = stream_room;
    s->answered_tail = &s->answered;
    rpc_set_data(call, s);
    stream_go_on(s);
}

/* The namespace was fixed by the first message. */
static wm_code stream_namespace_check(rpc_call *call, const char *name, wm_err *err)
{
    if (name[0] == '\0' || strcmp(name, rpc_namespace_name(call)) == 0)
        return WM_OK;
    return wm_fail_field(err, "namespace", "FIELD_INVALID",
                         "namespace differs from that of the stream's first message");
}

void geo_stream_message(rpc_call *call, const Waymark__Geo__V1__StreamPositionsRequest *request)
{
    stream *s = rpc_data(call);
    stream_message *message = calloc(1, sizeof(*message));

    if (message == NULL)
        abort();
    wm_arena_init(&message->arena, 0);
    message->stream = s;
    message->sequence = request->sequence;
    message->report.namespace_id = rpc_namespace(call);
    message->report.deadline_us = rpc_deadline_us(call);
    message->report.done = stream_report_done;
    message->report.lost = &s->lost;
    message->n_fixes = request->n_positions;
    s->reading = false;
    s->n_open++;
    s->n_open_fixes += message->n_fixes;
    if (stream_namespace_check(call, request->namespace_, &message->err) != WM_OK ||
        report_read(&message->report, &message->arena, request->n_positions, request->positions,
                    true, &message->err) != WM_OK) {
        stream_answer(message);
    } else if (s->lost) {
        geo_fail_overtaking(&message->err);
        stream_answer(message);
    } else if (!geo_ingest_add(s->ingest, &message->report, &message->err)) {
        s->lost = true;
        stream_answer(message);
    } else {
        stream_go_on(s);
    }
}

void geo_stream_half_closed(rpc_call *call)
{
    stream *s = rpc_data(call);

    s->reading = false;
    s->half_closed = true;
    stream_go_on(s);
}

void geo_stream_writable(rpc_call *call)
{
    stream_go_on(rpc_data(call));
}

void geo_stream_cancelled(rpc_call *call)
{
    stream *s = rpc_data(call);

    s->cancelled = true;
    stream_go_on(s);
}

void geo_stream_ended(rpc_call *call)
{
    const stream *s = rpc_data(call);

    assert(s->n_open == 0);
    (void)s;
}
