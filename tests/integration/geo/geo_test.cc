// TrackService and FenceService over real calls on a real PostgreSQL.
#include <algorithm>
#include <atomic>
#include <thread>

#include "server/workflow/events_in.h"
#include "tests/integration/geo/geo_server.h"

using waymark_test::TestPostgres;

namespace {

const int64_t kStart = INT64_C(1533081600000000); // 2018-08-01T00:00:00Z
const int64_t kSecond = 1000000;

typedef std::vector<int> Outcomes;
typedef std::vector<std::string> Lines;
enum { STORED = 1, DUPLICATE = 2, LATE = 3 };

std::string At(int seconds)
{
    char text[WM_TIME_TEXT_SIZE];

    wm_time_format(kStart + seconds * kSecond, text);
    return text;
}

Fix F(const std::string &entity, int seconds, double lon, double lat = 0)
{
    return {entity, kStart + seconds * kSecond, lon, lat};
}

TestPostgres *postgres;

class Environment : public testing::Environment {
    void SetUp() override
    {
        postgres = new TestPostgres();
    }
    void TearDown() override
    {
        delete postgres;
    }
};

const auto *environment = testing::AddGlobalTestEnvironment(new Environment);

class GeoTest : public testing::Test {
  protected:
    GeoTest()
    {
        postgres->query("TRUNCATE waymark.entity, waymark.position, waymark.fence,"
                        " waymark.fence_revision, waymark.fence_event");
        server_ = std::make_unique<GeoServer>(postgres->conninfo());
    }

    void Restart()
    {
        server_.reset();
        server_ = std::make_unique<GeoServer>(postgres->conninfo());
    }
    int Count(const std::string &what)
    {
        return std::stoi(postgres->query_one("SELECT count(*) FROM " + what));
    }

    std::unique_ptr<GeoServer> server_;
};

TEST_F(GeoTest, AnswersWithCrossingsAfterTheCommit)
{
    ASSERT_EQ(WAYMARK_OK, CreateFence(*server_, "port", Square(0, -1, 10, 1)).code);
    Result result = Report(*server_, {F("ship", 0, -5), F("ship", 1, 5), F("ship", 2, 15)});

    ASSERT_EQ(WAYMARK_OK, result.code) << result.message;
    EXPECT_EQ((Outcomes{STORED, STORED, STORED}), result.outcomes);
    EXPECT_EQ((Lines{"ship,port,enter," + At(1), "ship,port,exit," + At(2)}), result.lines);
    EXPECT_EQ(result.lines, AllEvents(*server_));
    EXPECT_EQ(3, Count("waymark.position"));
    EXPECT_EQ(2, Count("waymark.fence_event"));
}

TEST_F(GeoTest, TakesFixesOfAMessageByTime)
{
    ASSERT_EQ(WAYMARK_OK, CreateFence(*server_, "port", Square(0, -1, 10, 1)).code);
    Result result = Report(*server_, {F("b", 2, 15), F("b", 0, -5), F("a", 0, 5), F("b", 1, 5)});

    EXPECT_EQ((Outcomes{STORED, STORED, STORED, STORED}), result.outcomes);
    std::sort(result.lines.begin(), result.lines.end());
    EXPECT_EQ((Lines{"a,port,enter," + At(0), "b,port,enter," + At(1), "b,port,exit," + At(2)}),
              result.lines);
}

TEST_F(GeoTest, RepeatsAndLateFixesDoNotMove)
{
    ASSERT_EQ(WAYMARK_OK, CreateFence(*server_, "port", Square(0, -1, 10, 1)).code);
    EXPECT_EQ((Outcomes{STORED}), Report(*server_, {F("ship", 10, -5)}).outcomes);
    EXPECT_EQ((Outcomes{DUPLICATE}), Report(*server_, {F("ship", 10, 5)}).outcomes);
    EXPECT_EQ((Outcomes{LATE, DUPLICATE}),
              Report(*server_, {F("ship", 5, 5), F("ship", 10, 5)}).outcomes);
    EXPECT_EQ((Outcomes{DUPLICATE}), Report(*server_, {F("ship", 5, 6)}).outcomes);
    EXPECT_EQ((Outcomes{LATE, DUPLICATE, LATE}),
              Report(*server_, {F("ship", 7, 5), F("ship", 7, 5), F("ship", 6, 5)}).outcomes);
    /* A repeat of a fix that this very request stored, after a newer one. */
    EXPECT_EQ((Outcomes{STORED, STORED, DUPLICATE}),
              Report(*server_, {F("ship", 20, -6), F("ship", 21, -6), F("ship", 20, 5)}).outcomes);
    EXPECT_TRUE(AllEvents(*server_).empty());
    EXPECT_EQ(6, Count("waymark.position"));
}

TEST_F(GeoTest, RefusesARequestWhole)
{
    Result result = Report(*server_, {F("a", 0, 0), F("b", 0, 181), F("c", 0, 0)});

    EXPECT_EQ(WAYMARK_INVALID_ARGUMENT, result.code);
    EXPECT_EQ("COORDINATE_OUT_OF_RANGE", result.reason);
    EXPECT_EQ("positions[1].lon_deg", result.field);
    EXPECT_EQ("FIELD_REQUIRED", Report(*server_, {}).reason);
    EXPECT_EQ("FIELD_TOO_LONG", Report(*server_, std::vector<Fix>(10001, F("a", 0, 0))).reason);
    EXPECT_EQ(0, Count("waymark.entity"));
    EXPECT_EQ(0, Count("waymark.position"));
}

TEST_F(GeoTest, FencesTakeEffectWithTheNextFixOnEveryServer)
{
    GeoServer other(postgres->conninfo());

    EXPECT_EQ((Lines{}), Report(*server_, {F("ship", 0, 5)}).lines);
    EXPECT_EQ((Lines{}), Report(other, {F("ship", 1, 5)}).lines);
    for (int i = 0; i < 10; i++) {
        std::string id = "f" + std::to_string(i);
        int s = 10 * (i + 1);

        ASSERT_EQ(WAYMARK_OK, CreateFence(*server_, id, Square(0, -1, 10, 1)).code);
        EXPECT_EQ((Lines{"ship," + id + ",enter," + At(s)}),
                  Report(other, {F("ship", s, 5)}).lines);
        ASSERT_EQ(WAYMARK_OK, UpdateFence(other, id, Square(20, -1, 30, 1)).code);
        EXPECT_EQ((Lines{"ship," + id + ",exit," + At(s + 1)}),
                  Report(*server_, {F("ship", s + 1, 5)}).lines);
        ASSERT_EQ(WAYMARK_OK, DeleteFence(other, id).code);
        EXPECT_EQ((Lines{}), Report(*server_, {F("ship", s + 2, 25)}).lines);
    }
}

TEST_F(GeoTest, DeletedFencesAreLeftSilently)
{
    ASSERT_EQ(WAYMARK_OK, CreateFence(*server_, "port", Square(0, -1, 10, 1)).code);
    ASSERT_EQ(1u, Report(*server_, {F("ship", 0, 5)}).lines.size());
    ASSERT_EQ(WAYMARK_OK, DeleteFence(*server_, "port").code);
    EXPECT_EQ((Lines{}), Report(*server_, {F("ship", 1, 50)}).lines);
    ASSERT_EQ(WAYMARK_OK, CreateFence(*server_, "port", Square(0, -1, 100, 1)).code);
    EXPECT_EQ((Lines{"ship,port,enter," + At(2)}), Report(*server_, {F("ship", 2, 50)}).lines);
}

TEST_F(GeoTest, MembershipSurvivesARestart)
{
    ASSERT_EQ(WAYMARK_OK, CreateFence(*server_, "port", Square(0, -1, 10, 1)).code);
    EXPECT_EQ(1u, Report(*server_, {F("ship", 0, 5)}).lines.size());
    Restart();
    EXPECT_EQ((Lines{}), Report(*server_, {F("ship", 1, 6)}).lines);
    Restart();
    EXPECT_EQ((Lines{"ship,port,exit," + At(2)}), Report(*server_, {F("ship", 2, 60)}).lines);
    EXPECT_EQ((Lines{"ship"}), Nearby(*server_, 0, 0, 5).lines);
}

TEST_F(GeoTest, SearchesSeeWhatRepliesSaid)
{
    GeoServer other(postgres->conninfo());

    for (int i = 0; i < 20; i++) {
        GeoServer &writer = i % 2 == 0 ? *server_ : other, &reader = i % 2 == 0 ? other : *server_;
        Result result = Report(writer, {F("e" + std::to_string(i), 0, i, 0)});

        ASSERT_EQ(WAYMARK_OK, result.code);
        EXPECT_EQ((Lines{"e" + std::to_string(i)}), Nearby(writer, i, 0, 1).lines);
        EXPECT_EQ((Lines{"e" + std::to_string(i)}),
                  Nearby(reader, i, 0, 1, 0, result.revision).lines);
    }
    EXPECT_EQ("FIELD_INVALID", Nearby(*server_, 0, 0, 1, 0, "nonsense").reason);
    EXPECT_EQ("REVISION_NOT_REACHED", Nearby(*server_, 0, 0, 1, 0, "7fffffffffff.0badcafe").reason);
}

TEST_F(GeoTest, NearbyTakesLimitAndRadius)
{
    std::vector<Fix> fixes;

    for (int i = 0; i < 30; i++)
        fixes.push_back(F("e" + std::to_string(i), 0, i * 0.01, 0));
    ASSERT_EQ(WAYMARK_OK, Report(*server_, fixes).code);
    EXPECT_EQ(10u, Nearby(*server_, 0, 0, 0).lines.size());
    EXPECT_EQ((Lines{"e0", "e1", "e2"}), Nearby(*server_, 0, 0, 3).lines);
    EXPECT_EQ(15u, Nearby(*server_, 0, 0, 0, 0.1401 * 111319.49).lines.size());
    EXPECT_EQ((Lines{"e0"}), Nearby(*server_, 0, 0, 5, 100).lines);
    EXPECT_EQ("lat_deg", Nearby(*server_, 0, 91, 3).field);
    EXPECT_EQ("radius_m", Nearby(*server_, 0, 0, 3, -1).field);
    EXPECT_EQ("limit", Nearby(*server_, 0, 0, -3).field);
}

TEST_F(GeoTest, WithinTakesABoxOrAPolygonPageByPage)
{
    Waymark__Geo__V1__SearchWithinRequest request = WAYMARK__GEO__V1__SEARCH_WITHIN_REQUEST__INIT;
    Waymark__Geo__V1__Box box = WAYMARK__GEO__V1__BOX__INIT;
    Arena arena;
    std::vector<Fix> fixes;
    Lines expected, found;
    std::string token;
    waymark_reply *reply;

    for (int i = 0; i < 50; i++)
        fixes.push_back(F("e" + std::to_string(100 + i), 0, i < 25 ? 179 : -179, 0));
    ASSERT_EQ(WAYMARK_OK, Report(*server_, fixes).code);
    box.west_deg = 170;
    box.east_deg = -170;
    box.south_deg = -1;
    box.north_deg = 1;
    request.area_case = WAYMARK__GEO__V1__SEARCH_WITHIN_REQUEST__AREA_BOX;
    request.box = &box;
    request.page_size = 7;
    do {
        request.page_token = Text(token);
        const auto *response = waymark_geo_v1_track_service_search_within_sync(
            server_->client(), &request, nullptr, &reply);
        ASSERT_NE(nullptr, response);
        for (size_t i = 0; i < response->n_positions; i++)
            found.push_back(response->positions[i]->entity_id);
        std::string next = response->next_page_token;
        token = next;
        waymark_reply_free(reply);
    } while (!token.empty());
    for (const Fix &fix : fixes)
        expected.push_back(fix.entity);
    EXPECT_EQ(expected, found);

    request.area_case = WAYMARK__GEO__V1__SEARCH_WITHIN_REQUEST__AREA_POLYGON;
    request.polygon = StructOf(arena.get(), Square(178, -1, 180, 1));
    request.page_token = Text("");
    request.page_size = 0;
    const auto *response = waymark_geo_v1_track_service_search_within_sync(
        server_->client(), &request, nullptr, &reply);
    ASSERT_NE(nullptr, response);
    EXPECT_EQ(25u, response->n_positions);
    waymark_reply_free(reply);

    request.page_token = Text("0123456789abcdef.e1");
    waymark_geo_v1_track_service_search_within_sync(server_->client(), &request, nullptr, &reply);
    EXPECT_STREQ("PAGE_TOKEN_INVALID", waymark_reply_status(reply)->reason);
    waymark_reply_free(reply);
}

TEST_F(GeoTest, KeepsTheTrack)
{
    Waymark__Geo__V1__GetTrackRequest request = WAYMARK__GEO__V1__GET_TRACK_REQUEST__INIT;
    std::vector<Fix> fixes;
    std::string token;
    std::vector<double> lons;
    waymark_reply *reply;

    for (int i = 0; i < 100; i++) /* over two years, so in many partitions */
        fixes.push_back(F("ship", i * 700000, i));
    std::reverse(fixes.begin(), fixes.end());
    ASSERT_EQ(WAYMARK_OK, Report(*server_, fixes).code);
    request.entity_id = Text("ship");
    request.page_size = 33;
    do {
        request.page_token = Text(token);
        const auto *response = waymark_geo_v1_track_service_get_track_sync(
            server_->client(), &request, nullptr, &reply);
        ASSERT_NE(nullptr, response) << waymark_reply_status(reply)->message;
        for (size_t i = 0; i < response->n_positions; i++)
            lons.push_back(response->positions[i]->lon_deg);
        std::string next = response->next_page_token;
        token = next;
        waymark_reply_free(reply);
    } while (!token.empty());
    ASSERT_EQ(100u, lons.size());
    for (int i = 0; i < 100; i++)
        EXPECT_EQ(i, lons[static_cast<size_t>(i)]);

    Arena arena;
    request.page_size = 0;
    request.page_token = Text("");
    request.start_time = geo_time_write(arena.get(), kStart + 10 * 700000 * kSecond);
    request.end_time = geo_time_write(arena.get(), kStart + 12 * 700000 * kSecond);
    const auto *response =
        waymark_geo_v1_track_service_get_track_sync(server_->client(), &request, nullptr, &reply);
    ASSERT_NE(nullptr, response);
    EXPECT_EQ(2u, response->n_positions);
    waymark_reply_free(reply);
}

TEST_F(GeoTest, GetEntityKnowsWhereItIs)
{
    Waymark__Geo__V1__GetEntityRequest request = WAYMARK__GEO__V1__GET_ENTITY_REQUEST__INIT;
    waymark_reply *reply;

    CreateFence(*server_, "b", Square(0, -1, 10, 1));
    CreateFence(*server_, "a", Square(0, -1, 10, 1));
    CreateFence(*server_, "gone", Square(0, -1, 10, 1));
    Report(*server_, {F("ship", 0, 5)});
    DeleteFence(*server_, "gone");
    request.entity_id = Text("ship");
    const auto *response =
        waymark_geo_v1_track_service_get_entity_sync(server_->client(), &request, nullptr, &reply);
    ASSERT_NE(nullptr, response);
    EXPECT_EQ(5, response->entity->position->lon_deg);
    EXPECT_EQ(nullptr, response->entity->position->alt_m);
    ASSERT_EQ(2u, response->entity->n_fence_ids);
    EXPECT_STREQ("a", response->entity->fence_ids[0]);
    EXPECT_STREQ("b", response->entity->fence_ids[1]);
    waymark_reply_free(reply);

    request.entity_id = Text("nobody");
    waymark_geo_v1_track_service_get_entity_sync(server_->client(), &request, nullptr, &reply);
    EXPECT_STREQ("ENTITY_NOT_FOUND", waymark_reply_status(reply)->reason);
    waymark_reply_free(reply);
}

TEST_F(GeoTest, NamespacesAreApart)
{
    ASSERT_EQ(WAYMARK_OK, CreateFence(*server_, "port", Square(0, -1, 10, 1)).code);
    EXPECT_EQ((Lines{}), Report(*server_, {F("ship", 0, 5)}, "other").lines);
    EXPECT_EQ(1u, Report(*server_, {F("ship", 0, 5)}).lines.size());
    EXPECT_EQ((Outcomes{DUPLICATE}), Report(*server_, {F("ship", 0, 5)}, "other").outcomes);
    EXPECT_EQ(2, Count("waymark.entity"));
}

TEST_F(GeoTest, RefusesWhatCrossesTooMuchAtOnce)
{
    std::vector<Fix> crowd, before;

    for (int i = 0; i < 30; i++)
        CreateFence(*server_, "a-fence-with-a-long-name-" + std::to_string(i),
                    Square(0, -1, 10, 1));
    for (int i = 0; i < 2000; i++)
        crowd.push_back(F("e" + std::to_string(i), 1, 5));
    before.push_back(F("e1", 0, 50));
    EXPECT_EQ(WAYMARK_OK, Report(*server_, before).code);
    Result result = Report(*server_, crowd);
    EXPECT_EQ(WAYMARK_INVALID_ARGUMENT, result.code);
    EXPECT_EQ("TOO_MANY_CROSSINGS", result.reason);
    EXPECT_EQ(0, Count("waymark.fence_event"));
    EXPECT_EQ(1, Count("waymark.position"));
    EXPECT_EQ(1, Count("waymark.entity"));

    crowd.resize(500);
    result = Report(*server_, crowd);
    EXPECT_EQ(WAYMARK_OK, result.code) << result.message;
    EXPECT_EQ(15000u, result.lines.size());
    EXPECT_EQ(15000, Count("waymark.fence_event"));
}

// ---- fences ----

TEST_F(GeoTest, FencesAreCreatedOnce)
{
    EXPECT_EQ(WAYMARK_OK, CreateFence(*server_, "port", Square(0, -1, 10, 1)).code);
    EXPECT_EQ("FENCE_EXISTS", CreateFence(*server_, "port", Square(0, -1, 10, 1)).reason);
    EXPECT_EQ("ID_MALFORMED", CreateFence(*server_, "por t", Square(0, -1, 10, 1)).reason);
    EXPECT_EQ("FENCE_NOT_FOUND", UpdateFence(*server_, "pier", Square(0, -1, 10, 1)).reason);
    EXPECT_EQ(WAYMARK_OK, UpdateFence(*server_, "pier", Square(0, -1, 10, 1), "", true).code);
    EXPECT_EQ("ETAG_MISMATCH", UpdateFence(*server_, "pier", Square(0, -1, 9, 1), "77").reason);
    EXPECT_EQ("FENCE_NOT_FOUND", DeleteFence(*server_, "quay").reason);
    Result result = CreateFence(
        *server_, "bow", R"({"type":"Polygon","coordinates":[[[0,0],[2,2],[2,0],[0,2],[0,0]]]})");
    EXPECT_EQ("GEOMETRY_INVALID", result.reason);
    EXPECT_EQ("fence.geometry", result.field);
}

TEST_F(GeoTest, FencesAreListedByIdPageByPage)
{
    Waymark__Geo__V1__ListFencesRequest request = WAYMARK__GEO__V1__LIST_FENCES_REQUEST__INIT;
    std::string token;
    Lines ids;
    waymark_reply *reply;

    for (int i = 0; i < 10; i++)
        CreateFence(*server_, "f" + std::to_string(i), Square(i, 0, i + 1, 1));
    DeleteFence(*server_, "f3");
    request.page_size = 4;
    request.view = WAYMARK__GEO__V1__FENCE_VIEW__FENCE_VIEW_FULL;
    do {
        request.page_token = Text(token);
        const auto *response = waymark_geo_v1_fence_service_list_fences_sync(
            server_->client(), &request, nullptr, &reply);
        ASSERT_NE(nullptr, response);
        for (size_t i = 0; i < response->n_fences; i++) {
            ids.push_back(response->fences[i]->fence_id);
            EXPECT_NE(nullptr, response->fences[i]->geometry);
        }
        std::string next = response->next_page_token;
        token = next;
        waymark_reply_free(reply);
    } while (!token.empty());
    EXPECT_EQ((Lines{"f0", "f1", "f2", "f4", "f5", "f6", "f7", "f8", "f9"}), ids);
}

TEST_F(GeoTest, EventsAreFilteredAndPaged)
{
    Lines all;

    CreateFence(*server_, "a", Square(0, -1, 10, 1));
    CreateFence(*server_, "b", Square(5, -1, 15, 1));
    for (int i = 0; i < 40; i++) {
        Result result =
            Report(*server_, {F("e" + std::to_string(i % 3), i, i * 7 % 20), F("far", i, 100)});

        all.insert(all.end(), result.lines.begin(), result.lines.end());
    }
    Lines listed = AllEvents(*server_, 7);
    Lines sorted = listed;

    EXPECT_LT(10u, all.size());
    std::sort(all.begin(), all.end());
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(all, sorted);
    Lines down = AllEvents(*server_, 7, "time desc");
    std::reverse(down.begin(), down.end());
    EXPECT_EQ(listed, down);

    for (const std::string &line : ListEvents(*server_, "", 0, "e1", "").lines)
        EXPECT_EQ(0u, line.find("e1,"));
    size_t of_a = ListEvents(*server_, "", 0, "", "a").lines.size();
    size_t of_b = ListEvents(*server_, "", 0, "", "b").lines.size();
    EXPECT_EQ(all.size(), of_a + of_b);
    EXPECT_LT(0u, ListEvents(*server_, "", 0, "e1", "a").lines.size());
    EXPECT_EQ("FIELD_INVALID", ListEvents(*server_, "", 0, "", "", "fence").reason);
}

// ---- streams ----

TEST_F(GeoTest, StreamAnswersEachMessageAfterItsCommit)
{
    waymark_stream *stream = waymark_geo_v1_track_service_stream_positions_open(
        server_->client(), nullptr, nullptr, nullptr);
    std::thread writer([&] {
        for (int i = 1; i <= 300; i++) {
            Positions positions(
                {F("ship", i, i % 10 < 5 ? 5 : 50), F("other", i, i == 100 ? 999 : 0)});
            Waymark__Geo__V1__StreamPositionsRequest request =
                WAYMARK__GEO__V1__STREAM_POSITIONS_REQUEST__INIT;

            request.sequence = i;
            request.n_positions = positions.len();
            request.positions = positions.get();
            EXPECT_TRUE(waymark_geo_v1_track_service_stream_positions_write_sync(stream, &request));
        }
        waymark_stream_close(stream);
    });
    size_t crossings = 0;
    int answers = 0, errors = 0;

    CreateFence(*server_, "port", Square(1, -1, 10, 1));
    while (const auto *response = waymark_geo_v1_track_service_stream_positions_read_sync(stream)) {
        answers++;
        crossings += response->n_crossings;
        if (response->error != nullptr) {
            errors++;
            EXPECT_EQ(100, response->sequence);
            EXPECT_STREQ("positions[1].lon_deg", response->error->field);
            EXPECT_STREQ("COORDINATE_OUT_OF_RANGE", response->error->reason);
            EXPECT_EQ(3, response->error->code);
        } else {
            EXPECT_EQ(2u, response->n_outcomes);
        }
    }
    writer.join();
    EXPECT_EQ(WAYMARK_OK, waymark_stream_status(stream)->code)
        << waymark_stream_status(stream)->message;
    waymark_stream_free(stream);
    EXPECT_EQ(300, answers);
    EXPECT_EQ(1, errors);
    EXPECT_EQ(crossings, AllEvents(*server_).size());
    EXPECT_EQ(598, Count("waymark.position"));
}

TEST_F(GeoTest, WatchesSeeWhatIsCommittedOnAnyServer)
{
    GeoServer other(postgres->conninfo());
    Waymark__Geo__V1__WatchPositionsRequest request =
        WAYMARK__GEO__V1__WATCH_POSITIONS_REQUEST__INIT;
    char *ids[] = {Text("ship"), Text("boat")};

    request.n_entity_ids = 2;
    request.entity_ids = ids;
    waymark_stream *stream = waymark_geo_v1_track_service_watch_positions_open(
        server_->client(), &request, nullptr, nullptr, nullptr);
    const auto *response = waymark_geo_v1_track_service_watch_positions_read_sync(stream);

    ASSERT_NE(nullptr, response);
    EXPECT_EQ(0u, response->n_positions);
    Report(other, {F("car", 0, 1), F("ship", 0, 1)});
    response = waymark_geo_v1_track_service_watch_positions_read_sync(stream);
    ASSERT_NE(nullptr, response);
    ASSERT_EQ(1u, response->n_positions);
    EXPECT_STREQ("ship", response->positions[0]->entity_id);
    Report(*server_, {F("boat", 0, 1)});
    response = waymark_geo_v1_track_service_watch_positions_read_sync(stream);
    ASSERT_NE(nullptr, response);
    EXPECT_STREQ("boat", response->positions[0]->entity_id);
    waymark_stream_cancel(stream);
    waymark_stream_free(stream);
}

// Reads events until there are n; the last resume token.
std::string ReadEvents(waymark_stream *stream, size_t n, Lines *lines)
{
    std::string token;

    while (lines->size() < n) {
        const auto *response = waymark_geo_v1_fence_service_watch_fence_events_read_sync(stream);

        if (response == nullptr) {
            ADD_FAILURE() << waymark_stream_status(stream)->message;
            break;
        }
        for (size_t i = 0; i < response->n_events; i++)
            lines->push_back(std::string(response->events[i]->entity_id) + "," +
                             response->events[i]->fence_id + "," +
                             KindText(response->events[i]->kind) + "," +
                             TimeText(response->events[i]->time));
        token = response->resume_token;
    }
    return token;
}

waymark_stream *WatchEvents(const GeoServer &server, const std::string &token)
{
    Waymark__Geo__V1__WatchFenceEventsRequest request =
        WAYMARK__GEO__V1__WATCH_FENCE_EVENTS_REQUEST__INIT;

    request.resume_token = Text(token);
    return waymark_geo_v1_fence_service_watch_fence_events_open(server.client(), &request, nullptr,
                                                                nullptr, nullptr);
}

TEST_F(GeoTest, EventWatchesResumeWithoutLoss)
{
    Lines seen, expected;

    CreateFence(*server_, "port", Square(0, -1, 10, 1));
    waymark_stream *stream = WatchEvents(*server_, "");
    const auto *first = waymark_geo_v1_fence_service_watch_fence_events_read_sync(stream);

    ASSERT_NE(nullptr, first);
    EXPECT_EQ(0u, first->n_events);
    std::string token = first->resume_token;
    EXPECT_FALSE(token.empty());
    for (int round = 0; round < 4; round++) {
        if (round > 0) {
            waymark_stream_cancel(stream);
            waymark_stream_free(stream);
        }
        for (int i = 0; i < 300; i++) {
            Result result =
                Report(*server_, {F("e" + std::to_string(i), round, round % 2 ? 50 : 5)});

            expected.insert(expected.end(), result.lines.begin(), result.lines.end());
        }
        if (round == 2)
            Restart();
        if (round > 0)
            stream = WatchEvents(*server_, token);
        token = ReadEvents(stream, expected.size(), &seen);
    }
    EXPECT_EQ(1200u, expected.size());
    EXPECT_EQ(expected, seen);
    waymark_stream_cancel(stream);
    waymark_stream_free(stream);

    stream = WatchEvents(*server_, "nonsense");
    EXPECT_EQ(nullptr, waymark_geo_v1_fence_service_watch_fence_events_read_sync(stream));
    EXPECT_STREQ("RESUME_TOKEN_INVALID", waymark_stream_status(stream)->reason);
    waymark_stream_free(stream);
}

// A watch whose queue is full leaves the hub, and comes back for the rest.
TEST_F(GeoTest, EventWatchesOfSlowReadersLoseNothing)
{
    std::vector<Fix> inside, outside;
    Lines seen, expected;

    for (int i = 0; i < 30; i++)
        CreateFence(*server_, "f" + std::to_string(i), Square(0, -1, 10, 1));
    waymark_stream *stream = WatchEvents(*server_, "");
    ASSERT_NE(nullptr, waymark_geo_v1_fence_service_watch_fence_events_read_sync(stream));
    for (int round = 0; round < 4; round++) {
        std::vector<Fix> fixes;

        for (int i = 0; i < 500; i++)
            fixes.push_back(F("e" + std::to_string(i), round, round % 2 ? 50 : 5));
        Result result = Report(*server_, fixes);
        ASSERT_EQ(WAYMARK_OK, result.code) << result.message;
        expected.insert(expected.end(), result.lines.begin(), result.lines.end());
    }
    EXPECT_EQ(60000u, expected.size());
    ReadEvents(stream, expected.size(), &seen);
    EXPECT_TRUE(expected == seen) << seen.size();
    waymark_stream_cancel(stream);
    waymark_stream_free(stream);
}

// ---- many writers ----

TEST_F(GeoTest, WritersOnTwoServersAgree)
{
    GeoServer other(postgres->conninfo());
    std::vector<std::thread> writers;
    std::atomic<size_t> crossings{0};

    CreateFence(*server_, "port", Square(0, -1, 10, 1));
    for (int w = 0; w < 8; w++) {
        writers.emplace_back([&, w] {
            const GeoServer &server = w % 2 == 0 ? *server_ : other;

            for (int i = 0; i < 60; i++) {
                /* The same entities from all sides, in opposite orders. */
                std::vector<Fix> fixes;

                for (int e = 0; e < 10; e++)
                    fixes.push_back(F("e" + std::to_string(w % 2 ? e : 9 - e), i * 8 + w,
                                      (i + w) % 2 ? 5 : 50));
                Result result = Report(server, fixes);

                EXPECT_EQ(WAYMARK_OK, result.code) << result.message;
                crossings += result.lines.size();
            }
        });
    }
    for (std::thread &writer : writers)
        writer.join();

    /* For each entity enters and exits take turns, and begin with an enter. */
    EXPECT_EQ(crossings, AllEvents(*server_).size());
    EXPECT_EQ("0", postgres->query_one(
                       "SELECT count(*) FROM (SELECT kind, lag(kind) OVER (PARTITION BY entity_id"
                       " ORDER BY time) AS before FROM waymark.fence_event) e"
                       " WHERE kind = coalesce(before, 2)"));
    EXPECT_EQ(4800, Count("waymark.position"));
}

} // namespace
