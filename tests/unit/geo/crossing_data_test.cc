// Real tracks over real areas: every crossing that an independent program found, and no other.
//
// The data lies beside the repository, in ../shared/data (its README has the format); without it
// these tests are skipped.
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "server/geo/crossing.h"
#include "tests/unit/geo/support.h"

namespace {

// Runfiles are links into the source tree; from there the data is found.
std::string DataFolder()
{
    char *here = realpath("tests/unit/geo/crossing_data_test.cc", nullptr);
    std::string path = here == nullptr ? "" : here;

    free(here);
    for (int i = 0; i < 4 && path.find('/') != std::string::npos; i++)
        path.resize(path.rfind('/'));
    return path + "/../shared/data/";
}

std::string ReadAll(const std::string &path)
{
    std::ifstream file(path);
    std::stringstream text;

    text << file.rdbuf();
    return text.str();
}

struct Entity {
    geo_motion motion = {};
    std::vector<int64_t> keys;
};

class RealTracks : public testing::TestWithParam<const char *> {
  protected:
    void SetUp() override
    {
        folder_ = DataFolder();
        if (!std::ifstream(folder_ + GetParam() + ".csv"))
            GTEST_SKIP() << "no " << GetParam() << " in ../shared/data";
        set_ = geo_fence_set_new();
    }
    void TearDown() override
    {
        if (set_ != nullptr)
            geo_fence_set_free(set_);
    }
    void PutFences();
    std::multiset<std::string> Replay();

    std::string folder_;
    geo_fence_set *set_ = nullptr;
};

void RealTracks::PutFences()
{
    std::string text = ReadAll(folder_ + GetParam() + "-areas.geojson");
    Arena arena;
    wm_json *json = nullptr;
    wm_err err = {};
    int64_t key = 0;

    ASSERT_EQ(WM_OK, wm_json_parse(arena.get(), text.data(), text.size(), &json, &err));
    for (const wm_json *feature = wm_json_find(json, "features")->first; feature != nullptr;
         feature = feature->next) {
        Arena each;
        geo_wkb wkb;

        ASSERT_EQ(WM_OK, geo_geojson_read(each.get(),
                                          StructOf(each.get(), wm_json_find(feature, "geometry")),
                                          "geometry", &wkb, &err))
            << err.message;
        ASSERT_EQ(WM_OK,
                  geo_fence_set_put(set_, ++key, wm_json_find(feature, "id")->text, wkb, &err));
    }
}

// The crossings as lines of the expected file.
std::multiset<std::string> RealTracks::Replay()
{
    std::ifstream file(folder_ + GetParam() + ".csv");
    std::unordered_map<std::string, Entity> entities;
    std::multiset<std::string> lines;
    std::string line;

    std::getline(file, line);
    while (std::getline(file, line)) {
        std::stringstream columns(line);
        std::string id, time, lon, lat;
        geo_fix fix = {0, 0, 0, NAN, NAN, NAN};
        geo_crossing *crossing;
        Arena arena;

        std::getline(columns, id, ',');
        std::getline(columns, time, ',');
        std::getline(columns, lon, ',');
        std::getline(columns, lat, ',');
        EXPECT_TRUE(wm_time_parse(time.data(), time.size(), &fix.time_us));
        fix.lon_deg = strtod(lon.c_str(), nullptr);
        fix.lat_deg = strtod(lat.c_str(), nullptr);

        Entity &entity = entities[id];
        EXPECT_EQ(GEO_STORED, geo_motion_take(&entity.motion, &fix, set_, arena.get(), &crossing));
        entity.keys.assign(entity.motion.keys, entity.motion.keys + entity.motion.n_keys);
        entity.motion.keys = entity.keys.data();
        for (; crossing != nullptr; crossing = crossing->next)
            lines.insert(id + "," + crossing->fence_id + "," +
                         (crossing->kind == GEO_ENTER ? "enter" : "exit") + "," + time + "," +
                         (crossing->first_fix ? "1" : "0"));
    }
    return lines;
}

TEST_P(RealTracks, CrossWhatAnIndependentProgramSays)
{
    std::multiset<std::string> expected;
    std::ifstream file(folder_ + GetParam() + "-crossings.csv");
    std::string line;

    ASSERT_NO_FATAL_FAILURE(PutFences());
    std::getline(file, line);
    while (std::getline(file, line))
        expected.insert(line.substr(0, line.find('\r')));
    EXPECT_GT(expected.size(), 1000u);
    EXPECT_TRUE(expected == Replay());
}

INSTANTIATE_TEST_SUITE_P(Data, RealTracks, testing::Values("flights", "vessels"),
                         [](const auto &each) { return std::string(each.param); });

} // namespace
