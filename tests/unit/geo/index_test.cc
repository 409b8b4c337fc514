// The live index against a list that is walked from end to end.
#include "server/geo/index.h"

#include <geodesic.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/geo/support.h"

namespace {

class Index {
  public:
    Index() : index_(geo_index_new())
    {
        geod_init(&geodesic_, 6378137, 1 / 298.257223563);
    }
    ~Index()
    {
        geo_index_free(index_);
    }
    Index(const Index &) = delete;
    Index &operator=(const Index &) = delete;

    void Move(const std::string &id, int64_t time_us, double lon, double lat)
    {
        geo_fix fix = {time_us, lon, lat, NAN, NAN, NAN};
        geo_index_update update = {id.c_str(), fix};

        geo_index_apply(index_, &update, 1);
        auto [at, added] = all_.try_emplace(id, fix);
        if (!added && at->second.time_us < time_us)
            at->second = fix;
    }
    std::vector<std::string> Nearby(double lon, double lat, size_t limit, double radius)
    {
        Arena arena;
        geo_hit *hits;
        size_t n = geo_index_nearby(index_, arena.get(), lon, lat, limit, radius, &hits);

        return Ids(hits, n);
    }
    std::vector<std::string> NearbySlowly(double lon, double lat, size_t limit, double radius)
    {
        std::vector<std::pair<double, std::string>> ranked;
        std::vector<std::string> ids;

        for (const auto &[id, fix] : all_) {
            double distance;

            geod_inverse(&geodesic_, lat, lon, fix.lat_deg, fix.lon_deg, &distance, nullptr,
                         nullptr);
            if (distance <= radius)
                ranked.push_back({distance, id});
        }
        std::sort(ranked.begin(), ranked.end());
        for (size_t i = 0; i < ranked.size() && i < limit; i++)
            ids.push_back(ranked[i].second);
        return ids;
    }
    std::vector<std::string> Within(const geo_box &box, geo_area *area = nullptr,
                                    const char *after = "", size_t limit = 1000000)
    {
        Arena arena;
        geo_hit *hits;
        size_t n = geo_index_within(index_, arena.get(), &box, area, after, limit, &hits);

        return Ids(hits, n);
    }
    std::vector<std::string> WithinSlowly(const geo_box &box, geo_area *area = nullptr)
    {
        std::vector<std::string> ids;

        for (const auto &[id, fix] : all_) {
            if (geo_box_contains(&box, fix.lon_deg, fix.lat_deg) &&
                (area == nullptr || geo_area_contains(area, fix.lon_deg, fix.lat_deg)))
                ids.push_back(id);
        }
        return ids;
    }
    geo_index *get()
    {
        return index_;
    }

  private:
    static std::vector<std::string> Ids(const geo_hit *hits, size_t n)
    {
        std::vector<std::string> ids;

        for (size_t i = 0; i < n; i++)
            ids.push_back(hits[i].entity_id);
        return ids;
    }

    geo_index *index_;
    geod_geodesic geodesic_;
    std::map<std::string, geo_fix> all_;
};

// Places of all kinds: anywhere, in crowds, on the poles, on both sides of the antimeridian, on
// the borders of cells.
class Places {
  public:
    explicit Places(uint64_t seed) : random_(seed)
    {
    }

    std::pair<double, double> Next()
    {
        switch (Below(8)) {
        case 0:
            return {-180 + 360 * Unit(), 90 - 2 * Unit() * Unit()};
        case 1:
            return {-180 + 360 * Unit(), -90 + Unit() * Unit()};
        case 2:
            return {180 - Unit(), -5 + 10 * Unit()};
        case 3:
            return {-180 + Unit(), -5 + 10 * Unit()};
        case 4:
            return {-180 + 45.0 * Below(9), -90 + 45.0 * Below(5)};
        case 5:
            return {8 + Unit() * Unit() * Unit(), 47 + Unit() * Unit() * Unit()};
        default:
            return {-180 + 360 * Unit(), asin(2 * Unit() - 1) * 180 / M_PI};
        }
    }
    double Unit()
    {
        return std::uniform_real_distribution<double>(0, 1)(random_);
    }
    int Below(int n)
    {
        return std::uniform_int_distribution<int>(0, n - 1)(random_);
    }

  private:
    std::mt19937_64 random_;
};

void Fill(Index &index, Places &places, int moves, int entities)
{
    for (int i = 0; i < moves; i++) {
        auto [lon, lat] = places.Next();

        index.Move("e" + std::to_string(places.Below(entities)), 1 + places.Below(moves), lon, lat);
    }
}

TEST(Index, FindsTheNearest)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        Places places(seed);
        Index index;

        Fill(index, places, 4000, 1500);
        for (int i = 0; i < 60; i++) {
            auto [lon, lat] = places.Next();
            size_t limit = 1 + static_cast<size_t>(places.Below(40));

            ASSERT_EQ(index.NearbySlowly(lon, lat, limit, INFINITY),
                      index.Nearby(lon, lat, limit, INFINITY))
                << "seed " << seed << " at " << lon << " " << lat << " limit " << limit;
        }
    }
}

TEST(Index, FindsAllWithinARadius)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        Places places(seed);
        Index index;

        Fill(index, places, 3000, 1500);
        for (int i = 0; i < 60; i++) {
            auto [lon, lat] = places.Next();
            double radius = pow(10, 1 + 6.4 * places.Unit());

            ASSERT_EQ(index.NearbySlowly(lon, lat, 10000, radius),
                      index.Nearby(lon, lat, 10000, radius))
                << "seed " << seed << " at " << lon << " " << lat << " radius " << radius;
            ASSERT_EQ(index.NearbySlowly(lon, lat, 5, radius), index.Nearby(lon, lat, 5, radius));
        }
    }
}

TEST(Index, FindsWhatIsInABoxPageByPage)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        Places places(seed);
        Index index;

        Fill(index, places, 3000, 1500);
        for (int i = 0; i < 60; i++) {
            auto [west, south] = places.Next();
            auto [east, north] = places.Next();
            geo_box box = {west, std::min(south, north), east, std::max(south, north)};
            std::vector<std::string> expected = index.WithinSlowly(box), paged, page;

            ASSERT_EQ(expected, index.Within(box)) << "seed " << seed;
            do {
                page = index.Within(box, nullptr, paged.empty() ? "" : paged.back().c_str(), 37);
                paged.insert(paged.end(), page.begin(), page.end());
            } while (!page.empty());
            ASSERT_EQ(expected, paged) << "seed " << seed;
        }
    }
}

TEST(Index, FindsWhatIsInAnArea)
{
    Places places(1);
    Index index;
    Arena arena;
    geo_area *area;
    wm_err err = {};

    Fill(index, places, 3000, 1500);
    ASSERT_EQ(
        WM_OK,
        geo_area_new(
            WkbOf(
                arena.get(),
                R"({"type":"Polygon","coordinates":[[[-60,-40],[90,10],[8.5,70],[8.2,48],[-60,-40]]]})"),
            &area, &err));
    geo_box box = geo_area_bounds(area);
    EXPECT_LT(10u, index.WithinSlowly(box, area).size());
    EXPECT_EQ(index.WithinSlowly(box, area), index.Within(box, area));
    geo_area_free(area);
}

TEST(Index, OlderFixesChangeNothing)
{
    Index index;

    index.Move("a", 10, 1, 1);
    index.Move("a", 9, 50, 50);
    index.Move("a", 10, 60, 60);
    EXPECT_EQ(1u, geo_index_len(index.get()));
    EXPECT_EQ((std::vector<std::string>{"a"}), index.Within({0, 0, 2, 2}));
}

TEST(Index, ManyInOnePlace)
{
    Index index;

    for (int i = 0; i < 5000; i++)
        index.Move("e" + std::to_string(i), 1, 8, 47);
    EXPECT_EQ(5000u, index.Nearby(8, 47, 10000, 1).size());
    EXPECT_EQ((std::vector<std::string>{"e0", "e1", "e10"}), index.Nearby(8.1, 47, 3, INFINITY));
    for (int i = 0; i < 5000; i++)
        index.Move("e" + std::to_string(i), 2, i % 100, 0);
    EXPECT_TRUE(index.Nearby(8, 47, 10, 1000).empty());
    EXPECT_EQ(50u, index.Within({8, 0, 8, 0}).size());
}

TEST(Index, IsEmptyAtFirst)
{
    Index index;

    EXPECT_TRUE(index.Nearby(0, 0, 10, INFINITY).empty());
    EXPECT_TRUE(index.Within({-180, -90, 180, 90}).empty());
    EXPECT_FALSE(geo_index_has(index.get(), "a"));
}

TEST(Index, ReadersAndWritersShareIt)
{
    Index index;
    std::atomic<bool> stop{false};
    std::thread writer([&] {
        Places places(7);

        for (int64_t time = 1; time <= 20000; time++) {
            auto [lon, lat] = places.Next();
            std::string id = "e" + std::to_string(places.Below(500));
            geo_index_update update = {id.c_str(), {time, lon, lat, NAN, NAN, NAN}};

            geo_index_apply(index.get(), &update, 1);
        }
        stop = true;
    });
    Places places(8);

    while (!stop) {
        auto [lon, lat] = places.Next();

        EXPECT_GE(10u, index.Nearby(lon, lat, 10, INFINITY).size());
    }
    writer.join();
    EXPECT_EQ(10u, index.Nearby(0, 0, 10, INFINITY).size());
}

} // namespace
