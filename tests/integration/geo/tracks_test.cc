// Real tracks over real areas through the whole way: every crossing that an independent program
// found, once, by replies and by ListFenceEvents; by one stream, by two servers in turn, and while
// PostgreSQL is killed again and again.
//
// The data lies beside the repository, in ../shared/data (its README has the format); without it
// these tests are skipped.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/integration/geo/geo_server.h"

using waymark_test::TestPostgres;

namespace {

enum { MESSAGE_LEN = 200 };

typedef std::vector<std::string> Lines;

// Runfiles are links into the source tree; from there the data is found.
std::string DataFile(const std::string &name)
{
    char *here = realpath("tests/integration/geo/tracks_test.cc", nullptr);
    std::string path = here == nullptr ? "" : here;

    free(here);
    for (int i = 0; i < 4 && path.find('/') != std::string::npos; i++)
        path.resize(path.rfind('/'));
    return path + "/../shared/data/" + name;
}

class Tracks : public testing::Test {
  protected:
    void SetUp() override
    {
        if (!std::ifstream(DataFile("flights.csv")))
            GTEST_SKIP() << "no flights in ../shared/data";
        ReadFixes();
        postgres_ = std::make_unique<TestPostgres>();
        server_ = std::make_unique<GeoServer>(postgres_->conninfo());
        CreateFences();
    }
    void ReadFixes();
    void CreateFences();
    std::vector<Fix> Message(size_t i) const
    {
        auto from = fixes_.begin() + static_cast<ptrdiff_t>(i * MESSAGE_LEN);

        return {from, from + std::min<ptrdiff_t>(MESSAGE_LEN, fixes_.end() - from)};
    }
    size_t Messages() const
    {
        return (fixes_.size() + MESSAGE_LEN - 1) / MESSAGE_LEN;
    }
    static Lines Expected();
    // What ListFenceEvents says is what must have happened, and so is what the database counts.
    void ExpectExactEvents();

    std::vector<Fix> fixes_;
    std::unique_ptr<TestPostgres> postgres_;
    std::unique_ptr<GeoServer> server_;
};

void Tracks::ReadFixes()
{
    std::ifstream file(DataFile("flights.csv"));
    std::string line;

    std::getline(file, line);
    while (std::getline(file, line)) {
        std::stringstream columns(line);
        std::string time, lon, lat;
        Fix fix;

        std::getline(columns, fix.entity, ',');
        std::getline(columns, time, ',');
        std::getline(columns, lon, ',');
        std::getline(columns, lat, ',');
        ASSERT_TRUE(wm_time_parse(time.data(), time.size(), &fix.time_us));
        fix.lon = strtod(lon.c_str(), nullptr);
        fix.lat = strtod(lat.c_str(), nullptr);
        fixes_.push_back(fix);
    }
}

void Tracks::CreateFences()
{
    std::ifstream file(DataFile("flights-areas.geojson"));
    std::stringstream text;
    Arena arena;
    wm_json *json = nullptr;
    wm_err err = {};

    text << file.rdbuf();
    ASSERT_EQ(WM_OK, wm_json_parse(arena.get(), text.str().data(), text.str().size(), &json, &err));
    for (const wm_json *feature = wm_json_find(json, "features")->first; feature != nullptr;
         feature = feature->next) {
        Google__Protobuf__Struct *geometry =
            StructOf(arena.get(), wm_json_find(feature, "geometry"));
        Result result = CreateFence(*server_, wm_json_find(feature, "id")->text, geometry);

        ASSERT_EQ(WAYMARK_OK, result.code) << result.message;
    }
}

Lines Tracks::Expected()
{
    std::ifstream file(DataFile("flights-crossings.csv"));
    Lines lines;
    std::string line;

    std::getline(file, line);
    while (std::getline(file, line))
        lines.push_back(line.substr(0, line.rfind(','))); /* without first_fix */
    std::sort(lines.begin(), lines.end());
    return lines;
}

void Tracks::ExpectExactEvents()
{
    Lines events = AllEvents(*server_, 10000);

    std::sort(events.begin(), events.end());
    EXPECT_TRUE(events == Expected()) << events.size() << " events";
    EXPECT_EQ(std::to_string(fixes_.size()),
              postgres_->query_one("SELECT count(*) FROM waymark.position"));
}

TEST_F(Tracks, ByOneStream)
{
    waymark_stream *stream = waymark_geo_v1_track_service_stream_positions_open(
        server_->client(), nullptr, nullptr, nullptr);
    std::thread writer([&] {
        for (size_t i = 0; i < Messages(); i++) {
            Positions positions(Message(i));
            Waymark__Geo__V1__StreamPositionsRequest request =
                WAYMARK__GEO__V1__STREAM_POSITIONS_REQUEST__INIT;

            request.n_positions = positions.len();
            request.positions = positions.get();
            waymark_geo_v1_track_service_stream_positions_write_sync(stream, &request);
        }
        waymark_stream_close(stream);
    });
    Lines crossings;

    while (const auto *response = waymark_geo_v1_track_service_stream_positions_read_sync(stream)) {
        EXPECT_EQ(nullptr, response->error);
        AppendCrossings(&crossings, response->crossings, response->n_crossings);
    }
    writer.join();
    EXPECT_EQ(WAYMARK_OK, waymark_stream_status(stream)->code);
    waymark_stream_free(stream);
    std::sort(crossings.begin(), crossings.end());
    EXPECT_TRUE(crossings == Expected()) << crossings.size() << " crossings";
    ExpectExactEvents();
}

TEST_F(Tracks, ByTwoServersInTurn)
{
    GeoServer other(postgres_->conninfo());
    Lines crossings;

    for (size_t i = 0; i < Messages(); i++) {
        Result result = Report(i % 2 == 0 ? *server_ : other, Message(i));

        ASSERT_EQ(WAYMARK_OK, result.code) << result.message;
        crossings.insert(crossings.end(), result.lines.begin(), result.lines.end());
    }
    std::sort(crossings.begin(), crossings.end());
    EXPECT_TRUE(crossings == Expected()) << crossings.size() << " crossings";
    ExpectExactEvents();
}

// A reply may be lost with its commit done, so crossings are counted by the events alone.
TEST_F(Tracks, WhilePostgresIsKilledAgainAndAgain)
{
    enum { KILLS = 4, TRIES_MAX = 100 };
    std::atomic<size_t> sent{0};
    std::atomic<bool> over{false};
    std::thread writer([&] {
        for (size_t i = 0; i < Messages(); sent = ++i) {
            Result result = Report(*server_, Message(i));

            for (int tries = 0; result.code != WAYMARK_OK && tries < TRIES_MAX; tries++) {
                std::this_thread::sleep_for(std::chrono::milliseconds(100));
                result = Report(*server_, Message(i));
            }
            EXPECT_EQ(WAYMARK_OK, result.code) << result.message;
            if (result.code != WAYMARK_OK)
                break;
        }
        over = true;
    });

    /* By this thread: the server dies with the thread that started it. */
    for (size_t kill = 1; kill <= KILLS; kill++) {
        waymark_test::wait_for([&] { return over || sent >= kill * Messages() / (KILLS + 1); },
                               600000);
        postgres_->kill9();
        postgres_->start();
    }
    writer.join();
    ExpectExactEvents();
}

// Messages that could not be stored take those behind them along, so whoever sends again from the
// first of them gets every crossing.
TEST_F(Tracks, ByAStreamThatIsOpenedAgainAfterOutages)
{
    enum { OUTAGES = 2, OUTAGE_MS = 4000 };
    std::atomic<size_t> stored{0};
    int failures = 0;
    std::thread client([&] {
        while (stored < Messages()) {
            std::atomic<bool> failed{false};
            size_t from = stored;
            waymark_stream *stream = waymark_geo_v1_track_service_stream_positions_open(
                server_->client(), nullptr, nullptr, nullptr);
            std::thread writer([&] {
                for (size_t i = from; i < Messages() && !failed; i++) {
                    Positions positions(Message(i));
                    Waymark__Geo__V1__StreamPositionsRequest request =
                        WAYMARK__GEO__V1__STREAM_POSITIONS_REQUEST__INIT;

                    request.sequence = static_cast<int64_t>(i);
                    request.n_positions = positions.len();
                    request.positions = positions.get();
                    waymark_geo_v1_track_service_stream_positions_write_sync(stream, &request);
                }
                waymark_stream_close(stream);
            });

            while (const auto *response =
                       waymark_geo_v1_track_service_stream_positions_read_sync(stream)) {
                if (response->error != nullptr) {
                    failed = true;
                    failures++;
                } else {
                    EXPECT_FALSE(failed) << "a message overtook a lost one";
                    EXPECT_EQ(static_cast<int64_t>(stored), response->sequence);
                    stored++;
                }
            }
            writer.join();
            EXPECT_EQ(WAYMARK_OK, waymark_stream_status(stream)->code);
            waymark_stream_free(stream);
        }
    });

    /* By this thread: the server dies with the thread that started it. */
    for (size_t outage = 1; outage <= OUTAGES; outage++) {
        EXPECT_TRUE(waymark_test::wait_for(
            [&] { return stored >= outage * Messages() / (OUTAGES + 1); }, 300000));
        postgres_->kill9();
        std::this_thread::sleep_for(std::chrono::milliseconds(OUTAGE_MS));
        postgres_->start();
    }
    client.join();
    /* Whether any failed depends on where the kill fell: a commit in flight is looked up. */
    RecordProperty("messages_refused", failures);
    ExpectExactEvents();
}

} // namespace
