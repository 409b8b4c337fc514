// GeoJSON in and out: what is an area, what is not, and where the mistake is.
#include "tests/unit/geo/support.h"

namespace {

wm_err ErrorOf(const std::string &text)
{
    Arena arena;
    geo_wkb wkb;
    wm_err err = {};

    EXPECT_EQ(WM_INVALID,
              geo_geojson_read(arena.get(), StructOf(arena.get(), text), "g", &wkb, &err))
        << text;
    return err;
}

TEST(GeoJson, ComesOutAsItWentIn)
{
    const char *texts[] = {
        R"({"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10],[0,10],[0,0]]]})",
        R"({"type":"Polygon","coordinates":[[[0,0],[0,10],[10,10],[10,0],[0,0]],[[1,1],[2,1],[2,2],[1,1]]]})",
        R"({"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]],[[[5.25,5],[6,5],[6,6],[5.25,5]]]]})",
    };

    for (const char *text : texts) {
        Arena arena;
        Google__Protobuf__Struct *geometry = nullptr;
        wm_err err = {};
        wm_buf out;

        ASSERT_EQ(WM_OK, geo_geojson_write(arena.get(), WkbOf(arena.get(), text), &geometry, &err));
        wm_buf_init(&out, 1 << 20);
        wm_json_from_message(&out, &geometry->base);
        EXPECT_STREQ(text, out.data);
        wm_buf_free(&out);
    }
}

TEST(GeoJson, NamesThePlaceOfTheMistake)
{
    const struct {
        const char *text, *field;
    } cases[] = {
        {R"({})", "g.type"},
        {R"({"type":"Point","coordinates":[0,0]})", "g.type"},
        {R"({"type":5})", "g.type"},
        {R"({"type":"Polygon"})", "g.coordinates"},
        {R"({"type":"Polygon","coordinates":[]})", "g.coordinates"},
        {R"({"type":"Polygon","coordinates":7})", "g.coordinates"},
        {R"({"type":"Polygon","coordinates":[[[0,0],[1,0],[0,0]]]})", "g.coordinates[0]"},
        {R"({"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,1]]]})", "g.coordinates[0]"},
        {R"({"type":"Polygon","coordinates":[[[0,0],[1,0],"x",[0,0]]]})", "g.coordinates[0][2]"},
        {R"({"type":"Polygon","coordinates":[[[0,0],[1],[1,1],[0,0]]]})", "g.coordinates[0][1]"},
        {R"({"type":"Polygon","coordinates":[[[0,0],[1,null],[1,1],[0,0]]]})",
         "g.coordinates[0][1]"},
        {R"({"type":"Polygon","coordinates":[[[0,0],[181,0],[1,1],[0,0]]]})",
         "g.coordinates[0][1]"},
        {R"({"type":"MultiPolygon","coordinates":[[[[0,0],[1,0],[1,1],[0,0]]],[[[0,0],[1,-91],[1,1],[0,0]]]]})",
         "g.coordinates[1][0][1]"},
        {R"({"type":"Polygon","coordinates":[[[0,0],[2,2],[2,0],[0,2],[0,0]]]})", "g"},
        {R"({"type":"Polygon","coordinates":[[[0,0],[1,0],[1,0],[0,0]]]})", "g"},
        {R"({"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]],[[5,5],[6,5],[6,6],[5,5]]]})",
         "g"},
    };

    for (const auto &each : cases) {
        wm_err err = ErrorOf(each.text);

        EXPECT_STREQ(each.field, err.field) << each.text;
        EXPECT_TRUE(strcmp(err.reason, "GEOMETRY_INVALID") == 0 ||
                    strcmp(err.reason, "COORDINATE_OUT_OF_RANGE") == 0)
            << err.reason;
    }
}

TEST(GeoJson, BoundsTheNumberOfPoints)
{
    std::string ring = "[0,0]";

    for (int i = 1; i < GEO_AREA_POINTS_MAX; i++)
        ring += ",[" + std::to_string(1 + i * 1e-5) + ",1]";
    wm_err err = ErrorOf(R"({"type":"Polygon","coordinates":[[)" + ring + ",[0,0]]]}");
    EXPECT_NE(nullptr, strstr(err.message, "50000")) << err.message;
}

TEST(GeoJson, DropsElevation)
{
    Arena arena;
    geo_wkb flat = WkbOf(arena.get(), Square(0, 0, 1, 1));
    geo_wkb high =
        WkbOf(arena.get(),
              R"({"type":"Polygon","coordinates":[[[0,0,5],[1,0,5],[1,1,5],[0,1,5],[0,0,5]]]})");

    ASSERT_EQ(flat.size, high.size);
    EXPECT_EQ(0, memcmp(flat.bytes, high.bytes, flat.size));
}

TEST(Area, HoldsItsBorderAndNotItsHoles)
{
    Arena arena;
    geo_area *area;
    wm_err err = {};

    ASSERT_EQ(
        WM_OK,
        geo_area_new(
            WkbOf(
                arena.get(),
                R"({"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10],[0,10],[0,0]],[[4,4],[6,4],[6,6],[4,6],[4,4]]]})"),
            &area, &err));
    EXPECT_TRUE(geo_area_contains(area, 1, 1));
    EXPECT_TRUE(geo_area_contains(area, 0, 5));
    EXPECT_TRUE(geo_area_contains(area, 10, 10));
    EXPECT_TRUE(geo_area_contains(area, 4, 5));
    EXPECT_FALSE(geo_area_contains(area, 5, 5));
    EXPECT_FALSE(geo_area_contains(area, 10.0000001, 5));
    geo_area_free(area);
}

TEST(Area, RefusesBytesThatAreNone)
{
    geo_area *area;
    wm_err err = {};

    EXPECT_EQ(WM_DATA_LOSS, geo_area_new({"junk", 4}, &area, &err));
}

} // namespace
