// tests/integration/auth/auth_server.cc - auth/ behind the call runtime on a real PostgreSQL, for
// auth_test.py.
//
// It serves AuthService as it is, and of TrackService only what shows whether a call was let
// through. One line of JSON tells where it is; it stops when its standard input ends. The bytes
// '-' and '+' there stop and start its own PostgreSQL, and are answered by a line.
//
//   auth_server [--issuer URL AUDIENCE]... [--admin ID]... [--dev-issuer KEY_FILE] [--postgres
//   CONNINFO]
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "server/auth/auth.h"
#include "server/auth/dev_grant.h"
#include "server/dev/issuer.h"
#include "tests/support/lane.h"
#include "tests/support/postgres.h"
#include "waymark/geo/v1/track_service.server.h"

namespace {

using waymark_test::TestLane;
using waymark_test::TestPostgres;

void get_entity(rpc_call *call, const Waymark__Geo__V1__GetEntityRequest *)
{
    Waymark__Geo__V1__GetEntityResponse reply = WAYMARK__GEO__V1__GET_ENTITY_RESPONSE__INIT;
    waymark_geo_v1_track_service_get_entity_reply(call, &reply);
}

void report_positions(rpc_call *call, const Waymark__Geo__V1__ReportPositionsRequest *)
{
    Waymark__Geo__V1__ReportPositionsResponse reply =
        WAYMARK__GEO__V1__REPORT_POSITIONS_RESPONSE__INIT;
    waymark_geo_v1_track_service_report_positions_reply(call, &reply);
}

void watch_positions(rpc_call *call, const Waymark__Geo__V1__WatchPositionsRequest *)
{
    Waymark__Geo__V1__WatchPositionsResponse first =
        WAYMARK__GEO__V1__WATCH_POSITIONS_RESPONSE__INIT;
    if (!waymark_geo_v1_track_service_watch_positions_send(call, &first))
        abort();
}

void watch_cancelled(rpc_call *call)
{
    wm_err err;
    wm_fail(&err, WM_CANCELLED, "INTERNAL", "cancelled");
    rpc_fail(call, &err);
}

struct Options {
    std::vector<std::string> texts; // keeps what the others point to
    std::vector<auth_issuer> issuers;
    std::vector<const char *> admins;
    std::string dev_issuer_key, postgres;
};

Options read_options(int argc, char **argv)
{
    Options options;
    for (int i = 1; i < argc; i++) {
        std::string name = argv[i];
        if (name == "--issuer" && i + 2 < argc) {
            options.issuers.push_back({argv[i + 1], argv[i + 2], nullptr, nullptr, true});
            i += 2;
        } else if (name == "--admin" && i + 1 < argc) {
            options.admins.push_back(argv[++i]);
        } else if (name == "--dev-issuer" && i + 1 < argc) {
            options.dev_issuer_key = argv[++i];
        } else if (name == "--postgres" && i + 1 < argc) {
            options.postgres = argv[++i];
        } else {
            fprintf(stderr, "auth_server: bad option %s\n", argv[i]);
            exit(2);
        }
    }
    return options;
}

void serve(TestPostgres *postgres)
{
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
        if (byte == '-')
            postgres->stop();
        else
            postgres->start();
        puts("done");
        fflush(stdout);
    }
}

void die(const char *what, const wm_err &err)
{
    fprintf(stderr, "auth_server: %s: %s\n", what, err.message);
    exit(1);
}

} // namespace

int main(int argc, char **argv)
{
    Options options = read_options(argc, argv);
    wm_err err = {};

    std::unique_ptr<TestPostgres> postgres;
    if (options.postgres.empty()) {
        postgres = std::make_unique<TestPostgres>();
        options.postgres = postgres->conninfo();
    }

    dev_issuer *issuer = nullptr;
    std::string dev_admin;
    if (!options.dev_issuer_key.empty()) {
        dev_issuer_config config = {"127.0.0.1:0", options.dev_issuer_key.c_str(), "waymark"};
        if (dev_issuer_new(&config, &issuer, &err) != WM_OK)
            die("issuer", err);
        options.issuers.push_back({dev_issuer_url(issuer), "waymark", nullptr, nullptr, true});
        dev_admin = std::string(dev_issuer_url(issuer)) + "#root";
        options.admins.push_back(dev_admin.c_str());
    }

    TestLane lane0(0), lane1(1);
    lane *lanes[] = {lane0.get(), lane1.get()};
    lane0.open_store(options.postgres);
    lane1.open_store(options.postgres);
    event_hub *hub;
    if (event_hub_new(lanes, 2, nullptr, nullptr, &hub, &err) != WM_OK)
        die("hub", err);

    auth_config config = {options.issuers.data(), options.issuers.size(), options.admins.data(),
                          options.admins.size(), true};
    auth *door;
    if (auth_new(&config, lanes, 2, hub, &door, &err) != WM_OK)
        die("auth", err);
    if (issuer)
        dev_issuer_set_grant(issuer, auth_dev_grant, door);

    waymark_geo_v1_track_service_handlers tracks = {};
    tracks.get_entity.request = get_entity;
    tracks.report_positions.request = report_positions;
    tracks.watch_positions.request = watch_positions;
    tracks.watch_positions.cancelled = watch_cancelled;
    rpc_handler storage[WAYMARK_GEO_V1_TRACK_SERVICE_HANDLERS_N];
    rpc_service services[] = {auth_service(door),
                              waymark_geo_v1_track_service_bind(&tracks, storage, nullptr)};
    rpc_interceptor *interceptors[] = {auth_interceptor(door)};
    rpc_listener listener = {"127.0.0.1:0", nullptr, nullptr, nullptr};
    rpc_config rpc = {};
    rpc.lanes = lanes;
    rpc.n_lanes = 2;
    rpc.listeners = &listener;
    rpc.n_listeners = 1;
    rpc.services = services;
    rpc.n_services = 2;
    rpc.interceptors = interceptors;
    rpc.n_interceptors = 1;
    rpc_server *server;
    if (rpc_server_start(&rpc, &server, &err) != WM_OK)
        die("server", err);

    printf("{\"port\": %d, \"postgres\": \"%s\", \"issuer\": \"%s\"}\n", rpc_server_port(server, 0),
           options.postgres.c_str(), issuer ? dev_issuer_url(issuer) : "");
    fflush(stdout);
    serve(postgres.get());

    if (issuer)
        dev_issuer_set_grant(issuer, nullptr, nullptr);
    rpc_server_drain(server, 1000);
    rpc_server_free(server);
    auth_free(door);
    event_hub_free(hub);
    lane0.close_store();
    lane1.close_store();
    dev_issuer_free(issuer);
    return 0;
}
