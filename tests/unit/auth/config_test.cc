// Which issuers and admins a server may be configured with.
#include <gtest/gtest.h>

#include <string>

#include "server/auth/auth.h"

namespace {

// "" when it would be accepted: then a lane would be needed, so only refusals are tried.
std::string refusal(const auth_issuer &issuer, bool dev_mode = false, const char *admin = nullptr)
{
    auth_config config = {&issuer, 1, &admin, admin ? 1u : 0u, dev_mode};
    auth *made;
    wm_err err = {};
    EXPECT_EQ(WM_INVALID, auth_new(&config, nullptr, 0, nullptr, &made, &err));
    EXPECT_EQ(nullptr, made);
    return err.message;
}

TEST(AuthConfig, RefusesADevelopmentIssuerInProduction)
{
    auth_issuer issuer = {"http://127.0.0.1:7655", "waymark", nullptr, nullptr, true};
    EXPECT_NE(std::string::npos, refusal(issuer).find("development issuer"));
}

TEST(AuthConfig, RefusesIssuersOverPlainHttp)
{
    for (const char *url :
         {"http://issuer.example", "http://127.0.0.1.example", "http://localhost.example/",
          "ftp://127.0.0.1", "HTTPS://issuer.example", "issuer.example", "",
          "https://a.example#x"}) {
        auth_issuer issuer = {url, "waymark", nullptr, nullptr, false};
        EXPECT_NE("", refusal(issuer)) << url;
    }
    auth_issuer discovery = {"https://a.example", "waymark", "http://a.example/discovery", nullptr,
                             false};
    EXPECT_NE("", refusal(discovery));
}

TEST(AuthConfig, NeedsAnAudienceAndWholeAdmins)
{
    auth_issuer none = {"https://a.example", "", nullptr, nullptr, false};
    EXPECT_NE("", refusal(none));
    auth_issuer good = {"https://a.example", "waymark", nullptr, nullptr, false};
    EXPECT_NE("", refusal(good, false, "alice"));
    auth_issuer twice[] = {good, good};
    auth_config config = {twice, 2, nullptr, 0, false};
    auth *made;
    wm_err err = {};
    EXPECT_EQ(WM_INVALID, auth_new(&config, nullptr, 0, nullptr, &made, &err));
}

} // namespace
