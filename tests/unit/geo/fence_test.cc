// Fence sets and crossings, against a slow and obvious version.
#include "server/geo/fence.h"

#include <cmath>
#include <map>
#include <random>
#include <vector>

#include "server/geo/crossing.h"
#include "tests/unit/geo/support.h"

namespace {

// A set that frees itself.
class Set {
  public:
    Set() : set_(geo_fence_set_new())
    {
    }
    ~Set()
    {
        geo_fence_set_free(set_);
    }
    Set(const Set &) = delete;
    Set &operator=(const Set &) = delete;

    void Put(int64_t key, const std::string &geometry)
    {
        wm_err err = {};

        EXPECT_EQ(WM_OK, geo_fence_set_put(set_, key, ("f" + std::to_string(key)).c_str(),
                                           WkbOf(arena_.get(), geometry), &err));
    }
    std::vector<int64_t> At(double lon, double lat)
    {
        const int64_t *keys;
        size_t n = geo_fence_set_at(set_, lon, lat, &keys);

        return {keys, keys + n};
    }
    geo_fence_set *get()
    {
        return set_;
    }

  private:
    Arena arena_;
    geo_fence_set *set_;
};

typedef std::vector<std::pair<double, double>> Ring;

std::string RingText(const Ring &ring)
{
    std::string text = "{\"type\":\"Polygon\",\"coordinates\":[[";
    char point[80];

    for (const auto &[lon, lat] : ring) {
        snprintf(point, sizeof(point), "[%.17g,%.17g],", lon, lat);
        text += point;
    }
    snprintf(point, sizeof(point), "[%.17g,%.17g]]]}", ring[0].first, ring[0].second);
    return text + point;
}

// Counts the edges east of the point.
bool Inside(const Ring &ring, double lon, double lat)
{
    bool inside = false;

    for (size_t i = 0, j = ring.size() - 1; i < ring.size(); j = i++) {
        if ((ring[i].second > lat) != (ring[j].second > lat) &&
            lon < (ring[j].first - ring[i].first) * (lat - ring[i].second) /
                          (ring[j].second - ring[i].second) +
                      ring[i].first)
            inside = !inside;
    }
    return inside;
}

// A star around a centre: never crosses itself.
Ring RandomStar(std::mt19937_64 &random)
{
    std::uniform_real_distribution<double> unit(0, 1);
    double lon = -100 + 200 * unit(random), lat = -60 + 120 * unit(random);
    double size = 0.1 + 20 * unit(random) * unit(random);
    int corners = 3 + static_cast<int>(unit(random) * 30);
    Ring ring;

    for (int i = 0; i < corners; i++) {
        double angle = 2 * M_PI * i / corners, radius = size * (0.2 + 0.8 * unit(random));

        ring.push_back({lon + radius * cos(angle), lat + radius * sin(angle)});
    }
    return ring;
}

TEST(FenceSet, AgreesWithCountingEdges)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        std::mt19937_64 random(seed);
        std::uniform_real_distribution<double> lon(-120, 120), lat(-80, 80);
        std::map<int64_t, Ring> rings;
        Set set;

        for (int64_t key = 1; key <= 60; key++) {
            rings[key * 7 % 61] = RandomStar(random);
            set.Put(key * 7 % 61, RingText(rings[key * 7 % 61]));
        }
        for (int i = 0; i < 500; i++) {
            double x = lon(random), y = lat(random);
            std::vector<int64_t> expected;

            if (i % 50 == 49) {
                int64_t gone = rings.begin()->first;

                rings.erase(gone);
                geo_fence_set_remove(set.get(), gone);
            }
            for (const auto &[key, ring] : rings) {
                if (Inside(ring, x, y))
                    expected.push_back(key);
            }
            ASSERT_EQ(expected, set.At(x, y)) << "seed " << seed << " at " << x << " " << y;
        }
    }
}

TEST(FenceSet, IsEmptyAtFirstAndAtLast)
{
    Set set;

    EXPECT_TRUE(set.At(0, 0).empty());
    set.Put(5, Square(-1, -1, 1, 1));
    EXPECT_EQ((std::vector<int64_t>{5}), set.At(0, 0));
    EXPECT_STREQ("f5", geo_fence_set_id(set.get(), 5));
    set.Put(5, Square(2, 2, 3, 3));
    EXPECT_TRUE(set.At(0, 0).empty());
    EXPECT_EQ(1u, geo_fence_set_len(set.get()));
    geo_fence_set_remove(set.get(), 5);
    EXPECT_TRUE(set.At(2.5, 2.5).empty());
    EXPECT_EQ(nullptr, geo_fence_set_id(set.get(), 5));
}

TEST(FenceSet, KeepsWhatItHasWhenBytesAreBad)
{
    Set set;
    wm_err err = {};

    set.Put(1, Square(-1, -1, 1, 1));
    EXPECT_EQ(WM_DATA_LOSS, geo_fence_set_put(set.get(), 1, "f1", {"junk", 4}, &err));
    EXPECT_EQ((std::vector<int64_t>{1}), set.At(0, 0));
}

// ---- crossings ----

// "enter f1, exit f2"
std::string Take(geo_motion *motion, Set &set, wm_arena *arena, int64_t time_us, double lon,
                 geo_outcome outcome = GEO_STORED)
{
    geo_fix fix = {time_us, lon, 0, NAN, NAN, NAN};
    geo_crossing *crossings;
    std::string text;

    EXPECT_EQ(outcome, geo_motion_take(motion, &fix, set.get(), arena, &crossings));
    for (; crossings != nullptr; crossings = crossings->next) {
        text += text.empty() ? "" : ", ";
        text += crossings->first_fix ? "first " : "";
        text += crossings->kind == GEO_ENTER ? "enter " : "exit ";
        text += crossings->fence_id;
    }
    return text;
}

TEST(Crossing, ComparesWithTheFixBefore)
{
    Arena arena;
    Set set;
    geo_motion motion = {};

    set.Put(1, Square(0, -1, 10, 1));
    set.Put(2, Square(5, -1, 15, 1));
    EXPECT_EQ("", Take(&motion, set, arena.get(), 1, -1));
    EXPECT_EQ("enter f1", Take(&motion, set, arena.get(), 2, 1));
    EXPECT_EQ("", Take(&motion, set, arena.get(), 3, 2));
    EXPECT_EQ("enter f2", Take(&motion, set, arena.get(), 4, 7));
    EXPECT_EQ("exit f1", Take(&motion, set, arena.get(), 5, 12));
    EXPECT_EQ("exit f2, enter f1", Take(&motion, set, arena.get(), 6, 1));
    EXPECT_EQ("exit f1", Take(&motion, set, arena.get(), 7, 20));
    EXPECT_TRUE(motion.keys_changed);
    EXPECT_EQ(0u, motion.n_keys);
}

TEST(Crossing, FirstFixInsideIsAnEnter)
{
    Arena arena;
    Set set;
    geo_motion motion = {};

    set.Put(1, Square(0, -1, 10, 1));
    EXPECT_EQ("first enter f1", Take(&motion, set, arena.get(), 1, 1));
    EXPECT_EQ("exit f1", Take(&motion, set, arena.get(), 2, -1));
}

TEST(Crossing, RepeatsAndLateFixesChangeNothing)
{
    Arena arena;
    Set set;
    geo_motion motion = {};

    set.Put(1, Square(0, -1, 10, 1));
    EXPECT_EQ("first enter f1", Take(&motion, set, arena.get(), 10, 1));
    EXPECT_EQ("", Take(&motion, set, arena.get(), 10, -1, GEO_DUPLICATE));
    EXPECT_EQ("", Take(&motion, set, arena.get(), 9, -1, GEO_LATE));
    EXPECT_EQ(10, motion.time_us);
    EXPECT_EQ(1u, motion.n_keys);
}

TEST(Crossing, FencesTakeEffectWithTheNextFix)
{
    Arena arena;
    Set set;
    geo_motion motion = {};

    EXPECT_EQ("", Take(&motion, set, arena.get(), 1, 1));
    set.Put(1, Square(0, -1, 10, 1));
    EXPECT_EQ("enter f1", Take(&motion, set, arena.get(), 2, 1));
    set.Put(1, Square(20, -1, 30, 1));
    EXPECT_EQ("exit f1", Take(&motion, set, arena.get(), 3, 1));
}

TEST(Crossing, DeletedFencesAreLeftSilently)
{
    Arena arena;
    Set set;
    geo_motion motion = {};

    set.Put(1, Square(0, -1, 10, 1));
    set.Put(2, Square(0, -1, 10, 1));
    EXPECT_EQ("first enter f1, first enter f2", Take(&motion, set, arena.get(), 1, 1));
    geo_fence_set_remove(set.get(), 1);
    motion.keys_changed = false;
    EXPECT_EQ("", Take(&motion, set, arena.get(), 2, 1));
    EXPECT_TRUE(motion.keys_changed);
    EXPECT_EQ(1u, motion.n_keys);
    EXPECT_EQ(2, motion.keys[0]);
}

} // namespace
