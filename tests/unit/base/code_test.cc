/* Errors fit their room and stay text. */
#include "base/code.h"
#include "base/utf8.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace {

TEST(Code, NamesAreThoseOfGrpc)
{
    EXPECT_STREQ(wm_code_name(WM_OK), "OK");
    EXPECT_STREQ(wm_code_name(WM_INVALID), "INVALID_ARGUMENT");
    EXPECT_STREQ(wm_code_name(WM_UNAUTHENTICATED), "UNAUTHENTICATED");
    EXPECT_STREQ(wm_code_name(static_cast<wm_code>(99)), "UNKNOWN");
}

TEST(Code, FailFillsTheError)
{
    wm_err err;
    EXPECT_EQ(wm_fail(&err, WM_NOT_FOUND, "FENCE_NOT_FOUND", "no fence %s", "a"), WM_NOT_FOUND);
    EXPECT_EQ(err.code, WM_NOT_FOUND);
    EXPECT_STREQ(err.reason, "FENCE_NOT_FOUND");
    EXPECT_STREQ(err.message, "no fence a");
    EXPECT_STREQ(err.field, "");
    EXPECT_EQ(err.retry_after_ms, 0u);
    EXPECT_EQ(wm_fail_field(&err, "positions[3].lon_deg", "FIELD_INVALID", "%d", 3), WM_INVALID);
    EXPECT_STREQ(err.field, "positions[3].lon_deg");
    EXPECT_EQ(wm_fail(nullptr, WM_ABORTED, "X", "%s", "y"), WM_ABORTED);
}

TEST(Code, CutsBetweenCharacters)
{
    std::string text;
    while (text.size() < 2 * WM_ERR_MESSAGE_SIZE)
        text += "\xe2\x82\xac"; /* the euro sign */
    for (int shift = 0; shift < 3; shift++) {
        wm_err err;
        (void)wm_fail_field(&err, text.c_str(), text.c_str(), "%s",
                            (std::string(shift, 'x') + text).c_str());
        EXPECT_EQ(wm_utf8_check(err.message, strlen(err.message)), WM_UTF8_OK);
        EXPECT_EQ(wm_utf8_check(err.field, strlen(err.field)), WM_UTF8_OK);
        EXPECT_GT(strlen(err.message), static_cast<size_t>(WM_ERR_MESSAGE_SIZE - 5));
    }
}

TEST(Utf8, TellsTextFromBytes)
{
    const struct {
        std::string text;
        wm_utf8 expected;
    } cases[] = {
        {"", WM_UTF8_OK},
        {"plain text of more than eight bytes", WM_UTF8_OK},
        {"gr\xc3\xbc\xc3\x9f", WM_UTF8_OK},
        {"\xe2\x82\xac", WM_UTF8_OK},
        {"\xf0\x9f\x9b\xb0", WM_UTF8_OK},
        {"\xf4\x8f\xbf\xbf", WM_UTF8_OK},
        {"\xed\x9f\xbf", WM_UTF8_OK},
        {"\xc0\x80", WM_UTF8_BAD},
        {"\xc1\xbf", WM_UTF8_BAD},
        {"\xe0\x9f\xbf", WM_UTF8_BAD},
        {"\xed\xa0\x80", WM_UTF8_BAD},
        {"\xf0\x8f\xbf\xbf", WM_UTF8_BAD},
        {"\xf4\x90\x80\x80", WM_UTF8_BAD},
        {"\xf5\x80\x80\x80", WM_UTF8_BAD},
        {"\x80", WM_UTF8_BAD},
        {"\xe2\x82", WM_UTF8_BAD},
        {"\xff", WM_UTF8_BAD},
        {"1234567\xff"
         "9abcdef",
         WM_UTF8_BAD},
        {std::string("\0", 1), WM_UTF8_NUL},
        {std::string("1234567\0x", 9), WM_UTF8_NUL},
        {std::string("12345678\0x", 10), WM_UTF8_NUL},
    };
    for (const auto &c : cases) {
        EXPECT_EQ(wm_utf8_check(c.text.data(), c.text.size()), c.expected) << c.text;
        std::string later = "12345678" + c.text;
        EXPECT_EQ(wm_utf8_check(later.data(), later.size()), c.expected) << c.text;
    }
}

} // namespace
