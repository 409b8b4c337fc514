// What geo/ lets in, and what it says to the rest.
#include "server/geo/point.h"

#include <cmath>
#include <functional>

#include "tests/unit/geo/support.h"

namespace {

const int64_t kNow = INT64_C(1600000000000000);

struct Fix {
    Waymark__Geo__V1__Position position;
    Google__Protobuf__Timestamp time;
    Google__Protobuf__DoubleValue alt, speed, heading;
    char id[200];

    Fix()
    {
        waymark__geo__v1__position__init(&position);
        google__protobuf__timestamp__init(&time);
        google__protobuf__double_value__init(&alt);
        google__protobuf__double_value__init(&speed);
        google__protobuf__double_value__init(&heading);
        strcpy(id, "ship-1");
        position.entity_id = id;
        position.time = &time;
        time.seconds = 1500000000;
        time.nanos = 123456789;
        position.lon_deg = 8.5;
        position.lat_deg = -47.25;
    }
};

TEST(Point, ReadsWhatIsGivenAndKnowsWhatIsNot)
{
    Fix fix;
    geo_fix read;
    wm_err err = {};

    fix.position.speed_mps = &fix.speed;
    fix.speed.value = 3.5;
    ASSERT_EQ(WM_OK, geo_fix_read(&fix.position, 0, kNow, &read, &err)) << err.message;
    EXPECT_EQ(INT64_C(1500000000123456), read.time_us);
    EXPECT_EQ(8.5, read.lon_deg);
    EXPECT_EQ(-47.25, read.lat_deg);
    EXPECT_EQ(3.5, read.speed_mps);
    EXPECT_TRUE(std::isnan(read.alt_m));
    EXPECT_TRUE(std::isnan(read.heading_deg));
}

TEST(Point, NamesTheFieldThatIsWrong)
{
    const struct {
        const char *field, *reason;
        std::function<void(Fix &)> breaks;
    } cases[] = {
        {"entity_id", "FIELD_REQUIRED", [](Fix &f) { f.id[0] = '\0'; }},
        {"entity_id", "ID_MALFORMED", [](Fix &f) { strcpy(f.id, "-ship"); }},
        {"entity_id", "ID_MALFORMED", [](Fix &f) { strcpy(f.id, "ship 1"); }},
        {"entity_id", "ID_MALFORMED", [](Fix &f) { strcpy(f.id, "sch\xc3\xbc"); }},
        {"entity_id", "ID_MALFORMED", [](Fix &f) { strcpy(f.id, std::string(129, 'a').c_str()); }},
        {"time", "TIME_INVALID", [](Fix &f) { f.position.time = nullptr; }},
        {"time", "TIME_INVALID", [](Fix &f) { f.time.nanos = 1000000000; }},
        {"time", "TIME_INVALID", [](Fix &f) { f.time.nanos = -1; }},
        {"time", "TIME_INVALID", [](Fix &f) { f.time.seconds = -1; }},
        {"time", "TIME_INVALID", [](Fix &f) { f.time.seconds = INT64_MAX; }},
        {"time", "TIME_IN_FUTURE", [](Fix &f) { f.time.seconds = kNow / 1000000 + 60; }},
        {"lon_deg", "COORDINATE_OUT_OF_RANGE", [](Fix &f) { f.position.lon_deg = 180.0000001; }},
        {"lon_deg", "COORDINATE_OUT_OF_RANGE", [](Fix &f) { f.position.lon_deg = NAN; }},
        {"lat_deg", "COORDINATE_OUT_OF_RANGE", [](Fix &f) { f.position.lat_deg = -91; }},
        {"lat_deg", "COORDINATE_OUT_OF_RANGE", [](Fix &f) { f.position.lat_deg = INFINITY; }},
        {"alt_m", "FIELD_INVALID",
         [](Fix &f) { f.position.alt_m = &f.alt, f.alt.value = INFINITY; }},
        {"speed_mps", "FIELD_INVALID",
         [](Fix &f) { f.position.speed_mps = &f.speed, f.speed.value = -1; }},
        {"speed_mps", "FIELD_INVALID",
         [](Fix &f) { f.position.speed_mps = &f.speed, f.speed.value = NAN; }},
        {"heading_deg", "FIELD_INVALID",
         [](Fix &f) { f.position.heading_deg = &f.heading, f.heading.value = 360.5; }},
    };

    for (const auto &each : cases) {
        Fix fix;
        geo_fix read;
        wm_err err = {};

        each.breaks(fix);
        EXPECT_EQ(WM_INVALID, geo_fix_read(&fix.position, 17, kNow, &read, &err)) << each.field;
        EXPECT_EQ(std::string("positions[17].") + each.field, err.field);
        EXPECT_STREQ(each.reason, err.reason) << each.field;
    }
}

TEST(Point, TakesTheLimitsThemselves)
{
    Fix fix;
    geo_fix read;
    wm_err err = {};

    strcpy(fix.id, ("A" + std::string(123, 'z') + "._:@/-").substr(0, 128).c_str());
    fix.position.lon_deg = -180;
    fix.position.lat_deg = 90;
    fix.time.seconds = kNow / 1000000 + 59;
    fix.time.nanos = 999999999;
    fix.position.heading_deg = &fix.heading;
    fix.heading.value = 360;
    EXPECT_EQ(WM_OK, geo_fix_read(&fix.position, 0, kNow, &read, &err)) << err.message;
    fix.time.seconds = fix.time.nanos = 0;
    EXPECT_EQ(WM_OK, geo_fix_read(&fix.position, 0, kNow, &read, &err)) << err.message;
}

TEST(Point, BoxesCrossTheAntimeridian)
{
    const geo_box box = {170, -10, -170, 10};

    EXPECT_TRUE(geo_box_contains(&box, 175, 0));
    EXPECT_TRUE(geo_box_contains(&box, -175, 0));
    EXPECT_TRUE(geo_box_contains(&box, 170, 10));
    EXPECT_FALSE(geo_box_contains(&box, 0, 0));
    EXPECT_FALSE(geo_box_contains(&box, 175, 11));
}

TEST(Point, BoxesAreChecked)
{
    Waymark__Geo__V1__Box box = WAYMARK__GEO__V1__BOX__INIT;
    geo_box read;
    wm_err err = {};

    box.north_deg = 91;
    EXPECT_EQ(WM_INVALID, geo_box_read(&box, &read, &err));
    EXPECT_STREQ("box.north_deg", err.field);
    box.north_deg = -1;
    EXPECT_EQ(WM_INVALID, geo_box_read(&box, &read, &err));
    EXPECT_STREQ("FIELD_INVALID", err.reason);
    box.north_deg = 1;
    EXPECT_EQ(WM_OK, geo_box_read(&box, &read, &err));
}

TEST(Point, WritesWhatItRead)
{
    Arena arena;
    geo_fix fix = {-1, 1, 2, NAN, 0, NAN}, read;
    Waymark__Geo__V1__Position *position = geo_position_write(arena.get(), "a", &fix);
    wm_err err = {};

    EXPECT_EQ(-1, position->time->seconds);
    EXPECT_EQ(999999000, position->time->nanos);
    position->time->seconds = 5;
    ASSERT_EQ(WM_OK, geo_fix_read(position, 0, kNow, &read, &err));
    EXPECT_EQ(5999999, read.time_us);
    EXPECT_EQ(0, read.speed_mps);
    EXPECT_EQ(nullptr, position->alt_m);
}

} // namespace
