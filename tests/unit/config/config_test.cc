// The operator's options: which source wins, and what is refused.
#include "server/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace {

class Config : public testing::Test {
  protected:
    void SetUp() override
    {
        config_init(&config_, CONFIG_SERVE);
    }
    void TearDown() override
    {
        config_free(&config_);
        unsetenv("WAYMARKD_LISTEN");
        unsetenv("WAYMARKD_POSTGRES");
    }
    wm_code read(std::vector<std::string> flags)
    {
        std::vector<char *> argv;
        for (std::string &flag : flags)
            argv.push_back(&flag[0]);
        return config_read(&config_, static_cast<int>(argv.size()), argv.data(), &err_);
    }
    config config_;
    wm_err err_ = {};
};

TEST_F(Config, FlagsComeWithSpaceOrEqualsSign)
{
    ASSERT_EQ(WM_OK, read({"--postgres", "host=a", "--issuer=https://a.example", "--drain-ms=5"}))
        << err_.message;
    EXPECT_STREQ("host=a", config_.postgres);
    EXPECT_EQ(5u, config_.drain_ms);
    EXPECT_STREQ("waymark", config_.issuers[0].audience);
    EXPECT_STREQ("127.0.0.1:7654", config_.listen[0]);
}

TEST_F(Config, FlagsWinOverEnvironmentOverFile)
{
    std::string path = testing::TempDir() + "waymarkd.conf";
    std::ofstream(path) << "# a comment\npostgres = host=file\nredis = file:1\n"
                           "issuer = https://file.example\naudience = file\nlisten = 127.0.0.1:1\n";
    setenv("WAYMARKD_POSTGRES", "host=environment", 1);
    setenv("WAYMARKD_LISTEN", "127.0.0.1:2", 1);
    ASSERT_EQ(WM_OK, read({"--listen", "127.0.0.1:3", "--config", path, "--listen", "127.0.0.1:4"}))
        << err_.message;
    unlink(path.c_str());
    EXPECT_STREQ("host=environment", config_.postgres);
    EXPECT_STREQ("file:1", config_.redis);
    EXPECT_STREQ("file", config_.issuers[0].audience);
    ASSERT_EQ(2u, config_.n_listen);
    EXPECT_STREQ("127.0.0.1:3", config_.listen[0]);
    EXPECT_STREQ("127.0.0.1:4", config_.listen[1]);
}

TEST_F(Config, SaysWhichOptionIsWrong)
{
    struct {
        std::vector<std::string> flags;
        const char *says;
    } cases[] = {
        {{"--postgre", "x"}, "--postgre"},
        {{"--state", "x"}, "--state"}, // dev mode's
        {{"--lanes", "many"}, "--lanes"},
        {{"--lanes"}, "--lanes"},
        {{"--audience", "x"}, "--audience"},
        {{"--admin", "x"}, "--admin"},
        {{"--listen", "here"}, "--listen"},
        {{"--connections", "1"}, "--connections"},
        {{"--log-level", "loud"}, "--log-level"},
        {{"--config", "/nonexistent"}, "/nonexistent"},
        {{"--postgres", "x"}, "--issuer"},
        {{"--issuer", "https://a.example"}, "--postgres"},
        {{"--postgres", "x", "--issuer", "https://a.example", "--tls-cert", "c"}, "--tls-key"},
    };
    for (auto &each : cases) {
        config_free(&config_);
        config_init(&config_, CONFIG_SERVE);
        EXPECT_EQ(WM_INVALID, read(each.flags));
        EXPECT_NE(nullptr, strstr(err_.message, each.says)) << err_.message;
    }
}

} // namespace
