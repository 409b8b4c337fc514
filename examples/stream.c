/* examples/stream.c - streams positions of a ship on a circle, and prints the fences it crosses.
 *
 *     ./stream ferry-1 4.05 51.95 100
 *
 * A stream with callbacks: the next message is written when the stream can take one, and the
 * answers, which come after the commit, are read one by one. Nothing piles up on either side.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <waymark/waymark.h>

#include "waymark/geo/v1/track_service.client.h"

/* What the callbacks share. They all run on the client's one thread. */
typedef struct track {
    char *entity_id;
    double lon_deg, lat_deg;
    int64_t start, sent, answered, total;
    int failed;
    /* For main(), which waits for the end. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int over;
} track;

static void write_more(void *ctx, waymark_stream *stream)
{
    track *track = ctx;

    while (track->sent < track->total) {
        Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
        Waymark__Geo__V1__Position position = WAYMARK__GEO__V1__POSITION__INIT;
        Waymark__Geo__V1__Position *positions[] = {&position};
        Waymark__Geo__V1__StreamPositionsRequest message =
            WAYMARK__GEO__V1__STREAM_POSITIONS_REQUEST__INIT;
        double angle = (double)track->sent / 10;

        time.seconds = track->start + track->sent;
        position.entity_id = track->entity_id;
        position.time = &time;
        position.lon_deg = track->lon_deg + 0.05 * cos(angle);
        position.lat_deg = track->lat_deg + 0.05 * sin(angle);
        message.sequence = track->sent + 1;
        message.positions = positions;
        message.n_positions = 1;
        if (!waymark_geo_v1_track_service_stream_positions_write(stream, &message))
            return; /* called again when there is room */
        track->sent++;
    }
    waymark_stream_close(stream);
}

static void answer_came(void *ctx, waymark_stream *stream,
                        const Waymark__Geo__V1__StreamPositionsResponse *answer)
{
    track *track = ctx;

    track->answered++;
    if (answer->error != NULL)
        fprintf(stderr, "message %lld: %s: %s\n", (long long)answer->sequence,
                answer->error->reason, answer->error->message);
    for (size_t i = 0; i < answer->n_crossings; i++)
        printf("%s %s %s\n", answer->crossings[i]->entity_id,
               answer->crossings[i]->kind == WAYMARK__GEO__V1__CROSSING_KIND__CROSSING_KIND_ENTER
                   ? "enters"
                   : "leaves",
               answer->crossings[i]->fence_id);
    waymark_stream_read(stream);
}

static void ended(void *ctx, waymark_stream *stream, const waymark_status *status)
{
    track *track = ctx;

    (void)stream;
    if (status->code != WAYMARK_OK)
        fprintf(stderr, "%s %s: %s\n", waymark_code_name(status->code), status->reason,
                status->message);
    pthread_mutex_lock(&track->lock);
    track->failed = status->code != WAYMARK_OK;
    track->over = 1;
    pthread_cond_signal(&track->changed);
    pthread_mutex_unlock(&track->lock);
}

static const waymark_geo_v1_track_service_stream_positions_callbacks callbacks = {
    .message = answer_came,
    .writable = write_more,
    .ended = ended,
};

int main(int argc, char **argv)
{
    track track = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    waymark_problem problem;
    waymark_client *client;
    waymark_stream *stream;

    if (argc != 5) {
        fprintf(stderr, "usage: %s ENTITY LON LAT COUNT\n", argv[0]);
        return 2;
    }
    track.entity_id = argv[1];
    track.lon_deg = atof(argv[2]);
    track.lat_deg = atof(argv[3]);
    track.total = atoll(argv[4]);
    track.start = (int64_t)time(NULL) - track.total;

    client = waymark_client_new(NULL, &problem);
    if (client == NULL) {
        fprintf(stderr, "%s\n", problem.message);
        return 1;
    }
    stream = waymark_geo_v1_track_service_stream_positions_open(client, NULL, &callbacks, &track);
    waymark_stream_read(stream);
    write_more(&track, stream);

    pthread_mutex_lock(&track.lock);
    while (!track.over)
        pthread_cond_wait(&track.changed, &track.lock);
    pthread_mutex_unlock(&track.lock);
    printf("%lld of %lld positions acknowledged\n", (long long)track.answered,
           (long long)track.total);
    waymark_stream_free(stream);
    waymark_client_free(client);
    return track.failed;
}
