// What a token says, checked: each failed check has its own reason.
#include "server/auth/claims.h"

#include <gtest/gtest.h>

#include <string>

namespace {

const int64_t NOW_S = 1700000000;

class Claims : public testing::Test {
  protected:
    void SetUp() override
    {
        wm_arena_init(&arena_, 0);
    }
    void TearDown() override
    {
        wm_arena_free(&arena_);
    }
    std::string read(const std::string &json)
    {
        static const auth_issuer issuers[] = {
            {"https://a.example", "waymark", nullptr, nullptr, false},
            {"https://b.example", "other", nullptr, nullptr, false}};
        wm_err err = {};
        wm_code code = claims_read(&arena_, issuers, 2, json.data(), json.size(), NOW_S * 1000000,
                                   &claims_, &issuer_, &err);
        EXPECT_EQ(code == WM_OK ? WM_OK : WM_UNAUTHENTICATED, code);
        return code == WM_OK ? "" : err.reason;
    }
    // A good token's claims with one changed; "" leaves it out.
    std::string with(const std::string &name, const std::string &value)
    {
        std::string json = "{\"x\":0";
        auto add = [&](const std::string &member, const std::string &usual) {
            const std::string &text = member == name ? value : usual;
            if (!text.empty())
                json += ",\"" + member + "\":" + text;
        };
        add("iss", "\"https://a.example\"");
        add("aud", "\"waymark\"");
        add("exp", "1700000060");
        add("nbf", "1699999940");
        add("sub", "\"alice\"");
        add("groups", "[\"ops\",\"\",7,\"night\"]");
        return read(json + "}");
    }

    wm_arena arena_;
    auth_principal claims_ = {};
    size_t issuer_ = 99;
};

TEST_F(Claims, ReadsAGoodToken)
{
    ASSERT_EQ("", with("", ""));
    EXPECT_EQ(0u, issuer_);
    EXPECT_STREQ("https://a.example", claims_.issuer);
    EXPECT_STREQ("alice", claims_.subject);
    EXPECT_STREQ("alice", claims_.name);
    EXPECT_STREQ("", claims_.client_id);
    ASSERT_EQ(2u, claims_.n_groups);
    EXPECT_STREQ("night", claims_.groups[1]);
    EXPECT_EQ(1700000060000000, claims_.expire_time_us);
}

TEST_F(Claims, EachCheckHasItsReason)
{
    const struct {
        const char *name, *value, *reason;
    } cases[] = {
        {"iss", "", "TOKEN_ISSUER"},
        {"iss", "\"https://evil.example\"", "TOKEN_ISSUER"},
        {"iss", "\"https://a.example/\"", "TOKEN_ISSUER"},
        {"iss", "[\"https://a.example\"]", "TOKEN_ISSUER"},
        {"iss", "\"https://b.example\"", "TOKEN_AUDIENCE"}, // that issuer's audience is another
        {"aud", "", "TOKEN_AUDIENCE"},
        {"aud", "\"Waymark\"", "TOKEN_AUDIENCE"},
        {"aud", "[]", "TOKEN_AUDIENCE"},
        {"aud", "[\"x\",[\"waymark\"]]", "TOKEN_AUDIENCE"},
        {"aud", "{\"waymark\":1}", "TOKEN_AUDIENCE"},
        {"aud", "[\"x\",\"waymark\"]", ""},
        {"exp", "", "TOKEN_EXPIRED"},
        {"exp", "null", "TOKEN_EXPIRED"},
        {"exp", "\"1700000060\"", "TOKEN_EXPIRED"},
        {"exp", "-1", "TOKEN_EXPIRED"},
        {"exp", "1700000000", "TOKEN_EXPIRED"},
        {"exp", "1700000000.5", ""},
        {"exp", "1e300", ""},
        {"nbf", "", ""},
        {"nbf", "1700000004", ""}, // clocks differ a little
        {"nbf", "1700000006", "TOKEN_NOT_YET_VALID"},
        {"nbf", "1e300", "TOKEN_NOT_YET_VALID"},
        {"nbf", "\"0\"", "TOKEN_NOT_YET_VALID"},
        {"sub", "", "TOKEN_SUBJECT"},
        {"sub", "\"\"", "TOKEN_SUBJECT"},
        {"sub", "7", "TOKEN_SUBJECT"},
        {"groups", "\"ops\"", ""},
    };
    for (const auto &c : cases)
        EXPECT_EQ(c.reason, with(c.name, c.value)) << c.name << " " << c.value;
    EXPECT_EQ("TOKEN_SUBJECT", with("sub", "\"" + std::string(256, 'a') + "\""));
    EXPECT_EQ("", with("sub", "\"" + std::string(255, 'a') + "\""));
}

TEST_F(Claims, RefusesWhatIsNoObject)
{
    for (const char *text :
         {"", "[]", "\"x\"", "{", "{} {}", "{\"iss\":\"a\",\"iss\":\"b\"}", "foo"})
        EXPECT_EQ("TOKEN_MALFORMED", read(text)) << text;
}

} // namespace
