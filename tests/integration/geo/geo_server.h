// tests/integration/geo/geo_server.h - the geo subject behind real calls, on a test's PostgreSQL.
//
// A GeoServer is what one server process has: two lanes with stores, a hub, geo and the call
// runtime, and a client connected to it. Several of them share a database as processes would.
// In place of auth, an interceptor takes the namespace "default" as 1 and any other as 2.
#ifndef WAYMARK_TESTS_INTEGRATION_GEO_GEO_SERVER_H
#define WAYMARK_TESTS_INTEGRATION_GEO_GEO_SERVER_H

#include <gtest/gtest.h>
#include <waymark/waymark.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "server/geo/geo.h"
#include "tests/support/lane.h"
#include "tests/support/postgres.h"
#include "tests/unit/geo/support.h"
#include "waymark/geo/v1/fence_service.client.h"
#include "waymark/geo/v1/track_service.client.h"

class NamespaceInterceptor {
  public:
    NamespaceInterceptor()
    {
        it_.name = "namespace";
        it_.self = this;
        it_.started = [](rpc_interceptor *, rpc_call *call) { rpc_next(call); };
        it_.requested = [](rpc_interceptor *, rpc_call *call, const ProtobufCMessage *request) {
            const ProtobufCFieldDescriptor *field =
                protobuf_c_message_descriptor_get_field_by_name(request->descriptor, "namespace");
            const char *name = *reinterpret_cast<const char *const *>(
                reinterpret_cast<const char *>(request) + field->offset);
            bool other = name[0] != '\0' && strcmp(name, "default") != 0;

            rpc_set_namespace(call, other ? 2 : 1, other ? name : "default");
            rpc_next(call);
        };
    }
    rpc_interceptor *get()
    {
        return &it_;
    }

  private:
    rpc_interceptor it_ = {};
};

class GeoServer {
  public:
    explicit GeoServer(const std::string &conninfo, workflow *wf = nullptr)
    {
        lane *lanes[2];
        wm_err err = {};

        for (unsigned i = 0; i < 2; i++) {
            lanes_[i] = std::make_unique<waymark_test::TestLane>(i);
            lanes_[i]->open_store(conninfo);
            lanes[i] = lanes_[i]->get();
        }
        Must(event_hub_new(lanes, 2, nullptr, nullptr, &hub_, &err), err);
        geo_ = geo_new(lanes, 2, hub_, wf);

        std::string address = "unix:" + dir_.path() + "/s";
        rpc_listener listener = {address.c_str(), nullptr, nullptr, nullptr};
        rpc_service services[] = {geo_track_service(geo_), geo_fence_service(geo_)};
        rpc_interceptor *interceptors[] = {interceptor_.get()};
        rpc_config config = {};

        config.lanes = lanes;
        config.n_lanes = 2;
        config.listeners = &listener;
        config.n_listeners = 1;
        config.services = services;
        config.n_services = 2;
        config.interceptors = interceptors;
        config.n_interceptors = 1;
        Must(rpc_server_start(&config, &server_, &err), err);
        rpc_server_set_serving(server_, true);

        waymark_client_options options = {};

        options.address = address.c_str();
        options.own_connection = true;
        client_ = waymark_client_new(&options, nullptr);
    }
    ~GeoServer()
    {
        waymark_client_free(client_);
        rpc_server_drain(server_, 5000);
        rpc_server_free(server_);
        geo_free(geo_);
        event_hub_free(hub_);
    }
    GeoServer(const GeoServer &) = delete;
    GeoServer &operator=(const GeoServer &) = delete;
    waymark_client *client() const
    {
        return client_;
    }

  private:
    static void Must(wm_code code, const wm_err &err)
    {
        if (code != WM_OK)
            throw std::runtime_error(err.message);
    }

    waymark_test::TempDir dir_;
    std::unique_ptr<waymark_test::TestLane> lanes_[2];
    NamespaceInterceptor interceptor_;
    event_hub *hub_ = nullptr;
    geo *geo_ = nullptr;
    rpc_server *server_ = nullptr;
    waymark_client *client_ = nullptr;
};

// ---- requests ----

struct Fix {
    std::string entity;
    int64_t time_us;
    double lon, lat;
};

// Positions as messages, for as long as this lives.
class Positions {
  public:
    explicit Positions(const std::vector<Fix> &fixes)
    {
        for (const Fix &fix : fixes) {
            geo_fix value = {fix.time_us, fix.lon, fix.lat, NAN, NAN, NAN};

            messages_.push_back(geo_position_write(arena_.get(), fix.entity.c_str(), &value));
        }
    }
    size_t len() const
    {
        return messages_.size();
    }
    Waymark__Geo__V1__Position **get()
    {
        return messages_.data();
    }

  private:
    Arena arena_;
    std::vector<Waymark__Geo__V1__Position *> messages_;
};

inline std::string TimeText(const Google__Protobuf__Timestamp *time)
{
    char text[WM_TIME_TEXT_SIZE];

    wm_time_format(time->seconds * 1000000 + time->nanos / 1000, text);
    return text;
}

inline const char *KindText(Waymark__Geo__V1__CrossingKind kind)
{
    return kind == WAYMARK__GEO__V1__CROSSING_KIND__CROSSING_KIND_ENTER ? "enter" : "exit";
}

// What a unary call brought, as values.
struct Result {
    waymark_code code = WAYMARK_OK;
    std::string reason, field, message;
    std::vector<int> outcomes;
    std::vector<std::string> lines; // "entity,fence,kind,time" or ids
    std::string revision, next;

    void SetStatus(const waymark_reply *reply)
    {
        const waymark_status *status = waymark_reply_status(reply);

        code = status->code;
        reason = status->reason;
        message = status->message;
        field = status->n_violations > 0 ? status->violations[0].field : "";
    }
};

// protobuf-c has no const; the text must outlive the request.
inline char *Text(const char *text)
{
    return const_cast<char *>(text);
}

inline char *Text(const std::string &text)
{
    return Text(text.c_str());
}

inline void AppendCrossings(std::vector<std::string> *lines,
                            Waymark__Geo__V1__Crossing *const *crossings, size_t n)
{
    for (size_t i = 0; i < n; i++)
        lines->push_back(std::string(crossings[i]->entity_id) + "," + crossings[i]->fence_id + "," +
                         KindText(crossings[i]->kind) + "," + TimeText(crossings[i]->time));
}

inline Result Report(const GeoServer &server, const std::vector<Fix> &fixes,
                     const std::string &name = "")
{
    Positions positions(fixes);
    Waymark__Geo__V1__ReportPositionsRequest request =
        WAYMARK__GEO__V1__REPORT_POSITIONS_REQUEST__INIT;
    waymark_reply *reply;
    Result result;

    request.namespace_ = Text(name);
    request.n_positions = positions.len();
    request.positions = positions.get();
    const auto *response = waymark_geo_v1_track_service_report_positions_sync(
        server.client(), &request, nullptr, &reply);
    result.SetStatus(reply);
    if (response != nullptr) {
        result.outcomes.assign(response->outcomes, response->outcomes + response->n_outcomes);
        AppendCrossings(&result.lines, response->crossings, response->n_crossings);
        result.revision = response->revision;
    }
    waymark_reply_free(reply);
    return result;
}

inline Result CreateFence(const GeoServer &server, const std::string &id,
                          Google__Protobuf__Struct *geometry)
{
    Waymark__Geo__V1__Fence fence = WAYMARK__GEO__V1__FENCE__INIT;
    Waymark__Geo__V1__CreateFenceRequest request = WAYMARK__GEO__V1__CREATE_FENCE_REQUEST__INIT;
    waymark_reply *reply;
    Result result;

    fence.fence_id = Text(id);
    fence.geometry = geometry;
    request.fence = &fence;
    waymark_geo_v1_fence_service_create_fence_sync(server.client(), &request, nullptr, &reply);
    result.SetStatus(reply);
    waymark_reply_free(reply);
    return result;
}

inline Result CreateFence(const GeoServer &server, const std::string &id,
                          const std::string &geojson)
{
    Arena arena;

    return CreateFence(server, id, StructOf(arena.get(), geojson));
}

inline Result UpdateFence(const GeoServer &server, const std::string &id,
                          const std::string &geojson, const std::string &etag = "",
                          bool allow_missing = false)
{
    Arena arena;
    Waymark__Geo__V1__Fence fence = WAYMARK__GEO__V1__FENCE__INIT;
    Waymark__Geo__V1__UpdateFenceRequest request = WAYMARK__GEO__V1__UPDATE_FENCE_REQUEST__INIT;
    Google__Protobuf__FieldMask mask = GOOGLE__PROTOBUF__FIELD_MASK__INIT;
    char path[] = "geometry";
    char *paths[] = {path};
    waymark_reply *reply;
    Result result;

    fence.fence_id = Text(id);
    fence.geometry = StructOf(arena.get(), geojson);
    fence.etag = Text(etag);
    mask.n_paths = 1;
    mask.paths = paths;
    request.fence = &fence;
    request.update_mask = &mask;
    request.allow_missing = allow_missing;
    waymark_geo_v1_fence_service_update_fence_sync(server.client(), &request, nullptr, &reply);
    result.SetStatus(reply);
    waymark_reply_free(reply);
    return result;
}

inline Result DeleteFence(const GeoServer &server, const std::string &id)
{
    Waymark__Geo__V1__DeleteFenceRequest request = WAYMARK__GEO__V1__DELETE_FENCE_REQUEST__INIT;
    waymark_reply *reply;
    Result result;

    request.fence_id = Text(id);
    waymark_geo_v1_fence_service_delete_fence_sync(server.client(), &request, nullptr, &reply);
    result.SetStatus(reply);
    waymark_reply_free(reply);
    return result;
}

// One page of crossings; `entity` and `fence` filter.
inline Result ListEvents(const GeoServer &server, const std::string &page_token = "",
                         int page_size = 0, const std::string &entity = "",
                         const std::string &fence = "", const std::string &order_by = "")
{
    Waymark__Geo__V1__ListFenceEventsRequest request =
        WAYMARK__GEO__V1__LIST_FENCE_EVENTS_REQUEST__INIT;
    waymark_reply *reply;
    Result result;

    request.page_token = Text(page_token);
    request.page_size = page_size;
    request.entity_id = Text(entity);
    request.fence_id = Text(fence);
    request.order_by = Text(order_by);
    const auto *response = waymark_geo_v1_fence_service_list_fence_events_sync(
        server.client(), &request, nullptr, &reply);
    result.SetStatus(reply);
    if (response != nullptr) {
        for (size_t i = 0; i < response->n_events; i++) {
            const Waymark__Geo__V1__FenceEvent *e = response->events[i];

            result.lines.push_back(std::string(e->entity_id) + "," + e->fence_id + "," +
                                   KindText(e->kind) + "," + TimeText(e->time));
        }
        result.next = response->next_page_token;
    }
    waymark_reply_free(reply);
    return result;
}

inline std::vector<std::string> AllEvents(const GeoServer &server, int page_size = 0,
                                          const std::string &order_by = "")
{
    std::vector<std::string> lines;
    Result page;

    do {
        page = ListEvents(server, page.next, page_size, "", "", order_by);
        EXPECT_EQ(WAYMARK_OK, page.code) << page.message;
        lines.insert(lines.end(), page.lines.begin(), page.lines.end());
    } while (!page.next.empty());
    return lines;
}

// "entity" ids, nearest first.
inline Result Nearby(const GeoServer &server, double lon, double lat, int limit, double radius = 0,
                     const std::string &revision = "")
{
    Waymark__Geo__V1__SearchNearbyRequest request = WAYMARK__GEO__V1__SEARCH_NEARBY_REQUEST__INIT;
    waymark_reply *reply;
    Result result;

    request.lon_deg = lon;
    request.lat_deg = lat;
    request.limit = limit;
    request.radius_m = radius;
    request.revision = Text(revision);
    const auto *response =
        waymark_geo_v1_track_service_search_nearby_sync(server.client(), &request, nullptr, &reply);
    result.SetStatus(reply);
    for (size_t i = 0; response != nullptr && i < response->n_entities; i++)
        result.lines.push_back(response->entities[i]->position->entity_id);
    waymark_reply_free(reply);
    return result;
}

#endif
