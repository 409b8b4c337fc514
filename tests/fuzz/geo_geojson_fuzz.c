/* tests/fuzz/geo_geojson_fuzz.c - any JSON object may be a geometry; one that is taken comes out as
 * an area that can be asked, and reads back as the same bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "google/protobuf/struct.pb-c.h"
#include "server/geo/area.h"
#include "server/geo/fence.h"

enum { ARENA_SIZE_MAX = 64 * 1024 * 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Corners of the box are asked too: they may lie on the border. */
static void ask(geo_wkb wkb)
{
    geo_fence_set *set = geo_fence_set_new();
    const int64_t *keys;
    geo_area *area;
    geo_box box;
    wm_err err;

    if (geo_area_new(wkb, &area, &err) != WM_OK ||
        geo_fence_set_put(set, 1, "a", wkb, &err) != WM_OK)
        abort();
    box = geo_area_bounds(area);
    if (geo_area_contains(area, box.west_deg, box.south_deg) !=
        (geo_fence_set_at(set, box.west_deg, box.south_deg, &keys) == 1))
        abort();
    geo_area_free(area);
    geo_fence_set_free(set);
}

static void check(wm_arena *arena, const Google__Protobuf__Struct *geometry)
{
    Google__Protobuf__Struct *written;
    geo_wkb wkb, again;
    wm_err err;

    if (geo_geojson_read(arena, geometry, "geometry", &wkb, &err) != WM_OK) {
        if (strncmp(err.field, "geometry", 8) != 0)
            abort(); /* every error names its place */
        return;
    }
    ask(wkb);
    if (geo_geojson_write(arena, wkb, &written, &err) != WM_OK ||
        geo_geojson_read(arena, written, "geometry", &again, &err) != WM_OK ||
        again.size != wkb.size || memcmp(again.bytes, wkb.bytes, wkb.size) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    wm_arena arena;
    wm_json *json;
    ProtobufCMessage *geometry;
    wm_err err;

    wm_arena_init(&arena, ARENA_SIZE_MAX);
    if (wm_json_parse(&arena, (const char *)bytes, size, &json, &err) == WM_OK &&
        wm_json_to_message(&arena, json, &google__protobuf__struct__descriptor, &geometry, &err) ==
            WM_OK)
        check(&arena, (const Google__Protobuf__Struct *)geometry);
    wm_arena_free(&arena);
    return 0;
}
