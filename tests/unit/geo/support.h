// tests/unit/geo/support.h - arenas, GeoJSON text as Structs, and squares, for the tests of geo/.
#ifndef WAYMARK_TESTS_UNIT_GEO_SUPPORT_H
#define WAYMARK_TESTS_UNIT_GEO_SUPPORT_H

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/json.h"
#include "google/protobuf/struct.pb-c.h"
#include "server/geo/area.h"

// An arena that lives as long as its scope.
class Arena {
  public:
    Arena()
    {
        wm_arena_init(&arena_, 0);
    }
    ~Arena()
    {
        wm_arena_free(&arena_);
    }
    Arena(const Arena &) = delete;
    Arena &operator=(const Arena &) = delete;
    wm_arena *get()
    {
        return &arena_;
    }

  private:
    wm_arena arena_;
};

inline Google__Protobuf__Struct *StructOf(wm_arena *arena, const wm_json *json)
{
    ProtobufCMessage *message = nullptr;
    wm_err err = {};

    EXPECT_EQ(WM_OK, wm_json_to_message(arena, json, &google__protobuf__struct__descriptor,
                                        &message, &err))
        << err.message;
    return reinterpret_cast<Google__Protobuf__Struct *>(message);
}

inline Google__Protobuf__Struct *StructOf(wm_arena *arena, const std::string &text)
{
    wm_json *json = nullptr;
    wm_err err = {};

    EXPECT_EQ(WM_OK, wm_json_parse(arena, text.data(), text.size(), &json, &err)) << err.message;
    return StructOf(arena, json);
}

// The WKB of a geometry that must be valid.
inline geo_wkb WkbOf(wm_arena *arena, const std::string &text)
{
    geo_wkb wkb = {};
    wm_err err = {};

    EXPECT_EQ(WM_OK, geo_geojson_read(arena, StructOf(arena, text), "geometry", &wkb, &err))
        << err.field << " " << err.message;
    return wkb;
}

inline std::string Square(double west, double south, double east, double north)
{
    char text[512];

    snprintf(text, sizeof(text),
             "{\"type\":\"Polygon\",\"coordinates\":[[[%.9f,%.9f],[%.9f,%.9f],[%.9f,%.9f],"
             "[%.9f,%.9f],[%.9f,%.9f]]]}",
             west, south, east, south, east, north, west, north, west, south);
    return text;
}

#endif
