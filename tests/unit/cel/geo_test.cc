// Places and weekly calendars in expressions.
#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/cel/support.h"

namespace {

const char square[] = "'{\"type\":\"Polygon\",\"coordinates\":[[[0,0],[10,0],[10,10],[0,10],[0,0]],"
                      "[[4,4],[6,4],[6,6],[4,6],[4,4]]]}'";

TEST(CelGeo, MakesPoints)
{
    Cel cel;

    EXPECT_EQ(cel.run("geo.point(2, 48.5)"), "{\"lon_deg\": 2.0, \"lat_deg\": 48.5}");
    EXPECT_EQ(cel.run("geo.point(dyn(-180.0), 90)"), "{\"lon_deg\": -180.0, \"lat_deg\": 90.0}");
    EXPECT_EQ(cel.run("geo.point(180.5, 0)"),
              "error: the longitude 180.5 is not between -180 and 180");
    EXPECT_EQ(cel.run("geo.point(0, -90.01)"),
              "error: the latitude -90.01 is not between -90 and 90");
    EXPECT_EQ(cel.run("geo.point(0.0 / 0.0, 0)"),
              "error: the longitude nan is not between -180 and 180");
    EXPECT_EQ(cel.run("geo.point('a', 0)").substr(0, 39),
              "issue: no overload of 'geo.point' takes");
}

TEST(CelGeo, MeasuresOnTheEarth)
{
    Cel cel;

    EXPECT_EQ(cel.run("math.round(geo.distance_m(geo.point(0, 0), geo.point(1, 0)) * 1000.0)"),
              "1.11319491e+08");
    EXPECT_EQ(cel.run("math.round(geo.distance_m(geo.point(0, 0), geo.point(0, 90)))"),
              "1.0001966e+07");
    EXPECT_EQ(cel.run("geo.distance_m(geo.point(179, 10), geo.point(-179, 10)) < 220000.0"),
              "true");
    EXPECT_EQ(
        cel.run("geo.distance_m({'lon_deg': 3, 'lat_deg': 4u, 'more': 'x'}, geo.point(3, 4))"),
        "0.0");
    EXPECT_EQ(cel.run("geo.bearing_deg(geo.point(0, 0), geo.point(1, 0))"), "90.0");
    EXPECT_EQ(cel.run("geo.bearing_deg(geo.point(0, 0), geo.point(-1, 0))"), "270.0");
    EXPECT_EQ(cel.run("geo.bearing_deg(geo.point(5, 5), geo.point(5, 5))"), "0.0");
    EXPECT_EQ(cel.run("geo.bearing_deg(geo.point(0, 1), geo.point(0, 0))"), "180.0");
    EXPECT_EQ(cel.run("geo.distance_m({'lon_deg': 3}, geo.point(3, 4))"),
              "error: a point has the numbers lon_deg and lat_deg");
    EXPECT_EQ(cel.run("geo.distance_m(dyn({'lon_deg': '3', 'lat_deg': 1}), geo.point(3, 4))"),
              "error: a point has the numbers lon_deg and lat_deg");
}

TEST(CelGeo, KnowsWhatIsWithin)
{
    const char *inside[] = {"geo.point(1, 1)", "geo.point(0, 0)", "geo.point(10, 5)",
                            "geo.point(4, 5)", "{'lon_deg': 3, 'lat_deg': 9}"};
    const char *outside[] = {"geo.point(5, 5)", "geo.point(10.000001, 5)", "geo.point(-1, 3)"};
    Cel cel;

    for (const char *point : inside)
        EXPECT_EQ(cel.run(std::string("geo.within(") + point + ", " + square + ")"), "true")
            << point;
    for (const char *point : outside)
        EXPECT_EQ(cel.run(std::string("geo.within(") + point + ", " + square + ")"), "false")
            << point;
    EXPECT_EQ(cel.run("geo.within(geo.point(1, 1), {'type': 'MultiPolygon', 'coordinates': "
                      "[[[[179, 0], [180, 0], [180, 2], [179, 2], [179, 0]]], "
                      "[[[-180, 0], [-179, 0], [-179, 2], [-180, 2], [-180, 0]]]]}) "
                      "|| geo.within(geo.point(-179.5, 1), {'type': 'MultiPolygon', 'coordinates': "
                      "[[[[179, 0], [180, 0], [180, 2], [179, 2], [179, 0]]], "
                      "[[[-180, 0], [-179, 0], [-179, 2], [-180, 2], [-180, 0]]]]})"),
              "true");
    EXPECT_EQ(cel.run("geo.within(geo.point(179.999, 0), geo.circle(geo.point(-179.999, 0), 300))"),
              "true");
    EXPECT_EQ(cel.run("geo.within(geo.point(0, 1), geo.circle(geo.point(0, 0), 110574))"), "false");
    EXPECT_EQ(cel.run("geo.within(geo.point(0, 1), geo.circle(geo.point(0, 0), 110575))"), "true");
    EXPECT_EQ(cel.run("geo.within(geo.point(0, 0), geo.circle(geo.point(0, 0), 0))"), "true");
}

TEST(CelGeo, RefusesBadAreas)
{
    Cel cel({{"area", "dyn", cel_of_string("{", 1)}});

    EXPECT_EQ(cel.run("geo.within(geo.point(0, 0), '{')").substr(0, 25),
              "issue: the area is wrong:");
    EXPECT_EQ(cel.run("geo.within(geo.point(0, 0), {'type': 'Point', 'coordinates': [1, 2]})"),
              "issue: the area is wrong: an area is a Polygon, a MultiPolygon or a Circle");
    EXPECT_EQ(
        cel.run("geo.within(geo.point(0, 0), '{\"type\":\"Polygon\",\"coordinates\":[[[0,0],[1,1]"
                ",[1,0],[0,1],[0,0]]]}')"),
        "issue: the area is wrong: Self-intersection[0.5 0.5]");
    EXPECT_EQ(
        cel.run("geo.within(geo.point(0, 0), '{\"type\":\"Polygon\",\"coordinates\":[[[0,0],[1,1]"
                ",[1,0],[0,1]]]}')"),
        "issue: the area is wrong: a ring ends where it began");
    EXPECT_EQ(
        cel.run("geo.within(geo.point(0, 0), '{\"type\":\"Polygon\",\"coordinates\":[[[0,0],[1,91]"
                ",[1,0],[0,0]]]}')"),
        "issue: the area is wrong: the latitude 91 is not between -90 and 90");
    EXPECT_EQ(cel.run("geo.within(geo.point(0, 0), area)").substr(0, 7), "error: ");
    EXPECT_EQ(cel.run("geo.circle(geo.point(0, 0), -1)"),
              "error: the radius -1 is not between 0 and 20037509");
}

TEST(CelGeo, AreasAreSharedByThreads)
{
    Cel cel({{"p", "dyn", cel_of_null()}});
    std::vector<std::thread> threads;

    ASSERT_TRUE(cel.compile(std::string("geo.within(p, ") + square + ")"));
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&, t] {
            for (int i = 0; i < 300; i++) {
                cel_entry entries[2] = {{cel_of_string("lon_deg", 7), cel_of_double(i % 20)},
                                        {cel_of_string("lat_deg", 7), cel_of_double(t + 0.5)}};
                wm_arena arena;

                wm_arena_init(&arena, 0);
                cel_value point = cel_map_value(&arena, entries, 2);
                cel_vars vars = {&point, 1, nullptr, nullptr};
                cel_value value = cel_eval(cel.program, &vars, nullptr, &arena);
                EXPECT_EQ(value.as.boolean, i % 20 <= 10);
                wm_arena_free(&arena);
            }
        });
    for (std::thread &thread : threads)
        thread.join();
}

// ---- calendars ----

std::string weekly(Cel &cel, const std::string &time, const std::string &calendar,
                   const std::string &zone = "UTC")
{
    return cel.run("time.in_weekly(timestamp('" + time + "'), '" + calendar + "', '" + zone + "')");
}

TEST(CelWeekly, KnowsTheHoursOfAWeek)
{
    const std::string office = "Mo-Fr 08:00-18:00; Sa 09:00-12:00";
    Cel cel;

    // 2026-11-23 is a Monday.
    EXPECT_EQ(weekly(cel, "2026-11-23T08:00:00Z", office), "true");
    EXPECT_EQ(weekly(cel, "2026-11-23T07:59:59.999Z", office), "false");
    EXPECT_EQ(weekly(cel, "2026-11-23T17:59:59Z", office), "true");
    EXPECT_EQ(weekly(cel, "2026-11-23T18:00:00Z", office), "false");
    EXPECT_EQ(weekly(cel, "2026-11-28T11:00:00Z", office), "true");
    EXPECT_EQ(weekly(cel, "2026-11-28T12:00:00Z", office), "false");
    EXPECT_EQ(weekly(cel, "2026-11-29T10:00:00Z", office), "false");
    EXPECT_EQ(weekly(cel, "2026-11-23T07:30:00Z", office, "Europe/Paris"), "true");
    EXPECT_EQ(weekly(cel, "2026-11-23T17:30:00Z", office, "Europe/Paris"), "false");
    EXPECT_EQ(weekly(cel, "2026-11-23T03:00:00Z", office, "+05:30"), "true");
    EXPECT_EQ(weekly(cel, "1969-12-29T09:00:00Z", office), "true");
    EXPECT_EQ(weekly(cel, "0001-01-01T09:00:00Z", office), "true");
}

TEST(CelWeekly, GoesOnAfterMidnight)
{
    Cel cel;

    EXPECT_EQ(weekly(cel, "2026-11-24T05:59:00Z", "Mo-Su 22:00-06:00"), "true");
    EXPECT_EQ(weekly(cel, "2026-11-24T06:00:00Z", "Mo-Su 22:00-06:00"), "false");
    EXPECT_EQ(weekly(cel, "2026-11-23T01:00:00Z", "Su 22:00-02:00"), "true");
    EXPECT_EQ(weekly(cel, "2026-11-29T01:00:00Z", "Su 22:00-02:00"), "false");
    EXPECT_EQ(weekly(cel, "2026-11-28T01:00:00Z", "Fr 22:00-02:00; Sa off"), "true");
    EXPECT_EQ(weekly(cel, "2026-11-28T23:59:59Z", "00:00-24:00"), "true");
    EXPECT_EQ(weekly(cel, "2026-11-28T03:00:00Z", "Sa-Mo 00:00-24:00"), "true");
    EXPECT_EQ(weekly(cel, "2026-11-25T03:00:00Z", "Sa-Mo 00:00-24:00"), "false");
    EXPECT_EQ(weekly(cel, "2026-11-23T12:30:00Z", "Mo,We 08:00-12:00,13:00-17:00"), "false");
    EXPECT_EQ(weekly(cel, "2026-11-25T13:30:00Z", "Mo,We 08:00-12:00,13:00-17:00"), "true");
    EXPECT_EQ(weekly(cel, "2026-11-25T13:30:00Z", "08:00-18:00; We off"), "false");
}

TEST(CelWeekly, FollowsTheClocks)
{
    Cel cel;

    // On 2026-03-29 Paris goes from 02:00 to 03:00, at 01:00 UTC; on 2026-10-25 back again.
    EXPECT_EQ(weekly(cel, "2026-03-29T00:59:59Z", "Su 01:00-02:00", "Europe/Paris"), "true");
    EXPECT_EQ(weekly(cel, "2026-03-29T01:00:00Z", "Su 02:00-03:00", "Europe/Paris"), "false");
    EXPECT_EQ(weekly(cel, "2026-03-29T01:00:00Z", "Su 03:00-04:00", "Europe/Paris"), "true");
    EXPECT_EQ(weekly(cel, "2026-10-25T00:30:00Z", "Su 02:00-03:00", "Europe/Paris"), "true");
    EXPECT_EQ(weekly(cel, "2026-10-25T01:30:00Z", "Su 02:00-03:00", "Europe/Paris"), "true");
    EXPECT_EQ(weekly(cel, "2026-10-25T02:00:00Z", "Su 02:00-03:00", "Europe/Paris"), "false");
}

TEST(CelWeekly, RefusesWhatIsNoCalendar)
{
    const char *wrong[][2] = {
        {"", "expected a time, 00:00 to 24:00, at byte 1, before ''"},
        {"Mo", "expected a time, 00:00 to 24:00, at byte 3, before ''"},
        {"Xo 08:00-09:00",
         "expected a day, Mo Tu We Th Fr Sa or Su, at byte 1, before 'Xo 08:00-09:00'"},
        {"Mo 8:00-09:00", "expected a time, 00:00 to 24:00, at byte 4, before '8:00-09:00'"},
        {"Mo 08:00-24:01", "expected a time, 00:00 to 24:00, at byte 10, before '24:01'"},
        {"Mo 08:60-09:00", "expected a time, 00:00 to 24:00, at byte 4, before '08:60-09:00'"},
        {"Mo 08:00-08:00", "expected a span that is not empty at byte 15, before ''"},
        {"Mo 08:00", "expected '-' at byte 9, before ''"},
        {"Mo 08:00-09:00 x", "expected ';' or the end at byte 16, before 'x'"},
    };
    Cel cel({{"c", "string", cel_of_string("x", 1)}});

    for (auto &each : wrong)
        EXPECT_EQ(weekly(cel, "2026-11-23T08:00:00Z", each[0]),
                  std::string("issue: the calendar is wrong: ") + each[1]);
    EXPECT_EQ(cel.run("time.in_weekly(timestamp(0), c, 'UTC')").substr(0, 37),
              "error: the calendar is wrong: expecte");
    EXPECT_EQ(weekly(cel, "2026-11-23T08:00:00Z", "Mo 08:00-09:00", "Mars/Base"),
              "error: unknown time zone 'Mars/Base'");
}

} // namespace
