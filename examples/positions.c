/* examples/positions.c - reports where something is, then asks what is near.
 *
 *     eval "$(./dev env)"
 *     cc positions.c $(pkg-config --cflags --libs waymark) -o positions
 *     ./positions ferry-1 4.05 51.95
 *
 * Unary calls in their waiting form. The address and the token come from WAYMARK_ADDRESS and
 * WAYMARK_TOKEN.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <waymark/waymark.h>

#include "waymark/geo/v1/track_service.client.h"

/* Says why a call failed, and ends the program. */
static void fail(const char *what, const waymark_status *status)
{
    fprintf(stderr, "%s: %s %s: %s\n", what, waymark_code_name(status->code), status->reason,
            status->message);
    for (size_t i = 0; i < status->n_violations; i++)
        fprintf(stderr, "  %s: %s\n", status->violations[i].field,
                status->violations[i].description);
    exit(1);
}

static void report(waymark_client *client, const char *entity_id, double lon_deg, double lat_deg)
{
    Google__Protobuf__Timestamp now = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Waymark__Geo__V1__Position position = WAYMARK__GEO__V1__POSITION__INIT;
    Waymark__Geo__V1__Position *positions[] = {&position};
    Waymark__Geo__V1__ReportPositionsRequest request =
        WAYMARK__GEO__V1__REPORT_POSITIONS_REQUEST__INIT;
    const Waymark__Geo__V1__ReportPositionsResponse *response;
    waymark_reply *reply;

    now.seconds = time(NULL);
    position.entity_id = (char *)entity_id;
    position.time = &now;
    position.lon_deg = lon_deg;
    position.lat_deg = lat_deg;
    request.positions = positions;
    request.n_positions = 1;

    response = waymark_geo_v1_track_service_report_positions_sync(client, &request, NULL, &reply);
    if (response == NULL)
        fail("report", waymark_reply_status(reply));
    printf("stored; %zu crossings\n", response->n_crossings);
    waymark_reply_free(reply);
}

static void print_nearby(waymark_client *client, double lon_deg, double lat_deg)
{
    Waymark__Geo__V1__SearchNearbyRequest request = WAYMARK__GEO__V1__SEARCH_NEARBY_REQUEST__INIT;
    const Waymark__Geo__V1__SearchNearbyResponse *response;
    waymark_reply *reply;

    request.lon_deg = lon_deg;
    request.lat_deg = lat_deg;
    request.limit = 5;
    response = waymark_geo_v1_track_service_search_nearby_sync(client, &request, NULL, &reply);
    if (response == NULL)
        fail("nearby", waymark_reply_status(reply));
    for (size_t i = 0; i < response->n_entities; i++)
        printf("%-20s %10.1f m\n", response->entities[i]->position->entity_id,
               response->entities[i]->distance_m);
    waymark_reply_free(reply);
}

int main(int argc, char **argv)
{
    waymark_problem problem;
    waymark_client *client;

    if (argc != 4) {
        fprintf(stderr, "usage: %s ENTITY LON LAT\n", argv[0]);
        return 2;
    }
    client = waymark_client_new(NULL, &problem);
    if (client == NULL) {
        fprintf(stderr, "%s\n", problem.message);
        return 1;
    }
    report(client, argv[1], atof(argv[2]), atof(argv[3]));
    print_nearby(client, atof(argv[2]), atof(argv[3]));
    waymark_client_free(client);
    return 0;
}
