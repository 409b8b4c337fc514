// Page tokens, page sizes, and the id filters of watches.
#include "server/geo/page.h"

#include "server/geo/filter.h"
#include "tests/unit/geo/support.h"

namespace {

geo_page_query QueryOf(const char *method, int32_t namespace_id, const char *text)
{
    geo_page_query query;

    geo_page_query_init(&query, method, namespace_id);
    geo_page_query_text(&query, text);
    return query;
}

TEST(PageToken, ComesBackToItsOwnQueryOnly)
{
    Arena arena;
    geo_page_query query = QueryOf("List", 1, "a");
    const char *token = geo_page_token_write(arena.get(), &query, "ship.7"), *position;
    wm_err err = {};

    ASSERT_EQ(WM_OK, geo_page_token_read(token, &query, &position, &err));
    EXPECT_STREQ("ship.7", position);
    for (geo_page_query other :
         {QueryOf("Find", 1, "a"), QueryOf("List", 2, "a"), QueryOf("List", 1, "b")}) {
        EXPECT_EQ(WM_INVALID, geo_page_token_read(token, &other, &position, &err));
        EXPECT_STREQ("PAGE_TOKEN_INVALID", err.reason);
        EXPECT_STREQ("page_token", err.field);
    }
}

TEST(PageToken, EmptyMeansTheBeginning)
{
    geo_page_query query = QueryOf("List", 1, "a");
    const char *position = "x";
    wm_err err = {};

    ASSERT_EQ(WM_OK, geo_page_token_read("", &query, &position, &err));
    EXPECT_EQ(nullptr, position);
    for (const char *text : {".", "a", "0123456789abcdef", "0123456789abcdef."})
        EXPECT_EQ(WM_INVALID, geo_page_token_read(text, &query, &position, &err)) << text;
}

TEST(PageSize, HasADefaultAndAMaximum)
{
    int32_t size;
    wm_err err = {};

    ASSERT_EQ(WM_OK, geo_page_size(0, "page_size", 100, 1000, &size, &err));
    EXPECT_EQ(100, size);
    ASSERT_EQ(WM_OK, geo_page_size(1, "page_size", 100, 1000, &size, &err));
    EXPECT_EQ(1, size);
    ASSERT_EQ(WM_OK, geo_page_size(INT32_MAX, "page_size", 100, 1000, &size, &err));
    EXPECT_EQ(1000, size);
    EXPECT_EQ(WM_INVALID, geo_page_size(-1, "page_size", 100, 1000, &size, &err));
    EXPECT_STREQ("page_size", err.field);
}

TEST(Filter, HasWhatItWasGiven)
{
    Arena arena;
    geo_filter filter = {};
    char c[] = "c", a[] = "a", b[] = "b", bad[] = "a b";
    char *ids[] = {c, a, b}, *wrong[] = {a, bad};
    wm_err err = {};

    EXPECT_TRUE(geo_filter_has(&filter, "anything"));
    ASSERT_EQ(WM_OK, geo_filter_init(&filter, arena.get(), ids, 3, "entity_ids", &err));
    EXPECT_TRUE(geo_filter_has(&filter, "a"));
    EXPECT_TRUE(geo_filter_has(&filter, "c"));
    EXPECT_FALSE(geo_filter_has(&filter, "d"));
    EXPECT_EQ(WM_INVALID, geo_filter_init(&filter, arena.get(), wrong, 2, "entity_ids", &err));
    EXPECT_STREQ("entity_ids[1]", err.field);
    EXPECT_EQ(WM_INVALID, geo_filter_init(&filter, arena.get(), ids, GEO_FILTER_LEN_MAX + 1,
                                          "entity_ids", &err));
    EXPECT_STREQ("FIELD_TOO_LONG", err.reason);
}

} // namespace
