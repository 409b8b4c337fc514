// The operator's options: which source wins, and what is refused.
#include "server/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
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

TEST_F(Config, LimitsOfCalls)
{
    ASSERT_EQ(WM_OK, read({"--postgres", "p", "--issuer", "https://a.example", "--calls-max=9",
                           "--open-calls-max=8", "--answer-ms=5000"}))
        << err_.message;
    EXPECT_EQ(9u, config_.calls_max);
    EXPECT_EQ(8u, config_.open_calls_max);
    EXPECT_EQ(5000u, config_.answer_ms);
}

TEST_F(Config, BusyPolling)
{
    EXPECT_EQ(100, config_.busy_poll_us);
    ASSERT_EQ(WM_OK, read({"--postgres", "p", "--issuer", "https://a.example", "--busy-poll-us=0"}))
        << err_.message;
    EXPECT_EQ(0, config_.busy_poll_us);
    ASSERT_EQ(WM_OK,
              read({"--postgres", "p", "--issuer", "https://a.example", "--busy-poll-us=1000"}))
        << err_.message;
    EXPECT_EQ(1000, config_.busy_poll_us);
    EXPECT_EQ(WM_INVALID, read({"--busy-poll-us=1001"}));
    EXPECT_EQ(WM_INVALID, read({"--busy-poll-us=-1"}));
    EXPECT_EQ(WM_INVALID, read({"--busy-poll-us=soon"}));
}

TEST_F(Config, LimitsOfMethodsAndConnections)
{
    ASSERT_EQ(WM_OK, read({"--postgres", "p", "--issuer", "https://a.example", "--method-limit",
                           "a.B/C=20:200:2000", "--method-limit", "a.*=5", "--connection-limit",
                           "age-max-ms=600000", "--connection-limit=streams-max=7", "--compress",
                           "a.B/C", "--compressed-requests", "--metrics-listen", "127.0.0.1:9464"}))
        << err_.message;
    ASSERT_EQ(2u, config_.n_method_limits);
    EXPECT_STREQ("a.B/C", config_.method_limits[0].method);
    EXPECT_EQ(200u, config_.method_limits[0].waiting_max);
    EXPECT_STREQ("a.*", config_.method_limits[1].method);
    EXPECT_EQ(600000u, config_.connection.age_max_ms);
    EXPECT_EQ(7u, config_.connection.streams_max);
    EXPECT_EQ(0u, config_.connection.idle_max_ms);
    ASSERT_EQ(1u, config_.n_compressed);
    EXPECT_TRUE(config_.takes_compressed);
    EXPECT_STREQ("127.0.0.1:9464", config_.metrics_listen);
}

TEST_F(Config, NoneOfThemUnlessTheyAreGiven)
{
    ASSERT_EQ(WM_OK, read({"--postgres", "p", "--issuer", "https://a.example"})) << err_.message;
    EXPECT_EQ(0u, config_.n_method_limits);
    EXPECT_EQ(0u, config_.n_compressed);
    EXPECT_FALSE(config_.takes_compressed);
    EXPECT_EQ(nullptr, config_.metrics_listen);
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
        {{"--method-limit", "a.B/C=many"}, "--method-limit"},
        {{"--connection-limit", "age=5"}, "--connection-limit"},
        {{"--connection-limit", "age-max-ms="}, "--connection-limit"},
        {{"--compress", ""}, "--compress"},
        {{"--compressed-requests=perhaps"}, "--compressed-requests"},
    };
    for (auto &each : cases) {
        config_free(&config_);
        config_init(&config_, CONFIG_SERVE);
        EXPECT_EQ(WM_INVALID, read(each.flags));
        EXPECT_NE(nullptr, strstr(err_.message, each.says)) << err_.message;
    }
}

TEST_F(Config, AListenerMayHaveSettingsOfItsOwn)
{
    ASSERT_EQ(WM_OK, read({"--postgres", "x", "--issuer", "https://a.example", "--tls-cert", "c",
                           "--tls-key", "k", "--listen", "0.0.0.0:1", "--listen",
                           "[::]:2,cert=c2,key=k2,client-ca=ca2,gate=never", "--listen",
                           "127.0.0.1:3,plaintext,gate=always", "--gate", "auto"}))
        << err_.message;
    ASSERT_EQ(3u, config_.n_listen);
    EXPECT_STREQ("0.0.0.0:1", config_.listen[0]);
    EXPECT_EQ(nullptr, config_.listeners[0].tls_cert);
    EXPECT_FALSE(config_.listeners[0].has_gate);
    EXPECT_STREQ("[::]:2", config_.listen[1]);
    EXPECT_STREQ("c2", config_.listeners[1].tls_cert);
    EXPECT_STREQ("k2", config_.listeners[1].tls_key);
    EXPECT_STREQ("ca2", config_.listeners[1].tls_client_ca);
    EXPECT_TRUE(config_.listeners[1].has_gate);
    EXPECT_EQ(CONFIG_GATE_NEVER, config_.listeners[1].gate);
    EXPECT_TRUE(config_.listeners[2].is_plaintext);
    EXPECT_EQ(CONFIG_GATE_ALWAYS, config_.listeners[2].gate);
}

TEST_F(Config, TheGateIsSetUp)
{
    ASSERT_EQ(WM_OK, read({"--postgres", "x", "--issuer", "https://a.example", "--gate", "always",
                           "--gate-limit", "resets=7:9", "--gate-limit", "streams=50",
                           "--proxy-protocol", "10.0.0.0/8", "--proxy-protocol", "2001:db8::/32"}))
        << err_.message;
    EXPECT_EQ(CONFIG_GATE_ALWAYS, config_.gate);
    EXPECT_EQ(7u, config_.gate_limits.resets.per_s);
    EXPECT_EQ(50u, config_.gate_limits.streams);
    EXPECT_EQ(2u, config_.n_proxies);
}

TEST_F(Config, RefusesSettingsThatMeanNothing)
{
    const char *cases[][2] = {
        {"--listen", "127.0.0.1:1,cert=c"},
        {"--listen", "127.0.0.1:1,key=k"},
        {"--listen", "127.0.0.1:1,client-ca=ca"},
        {"--listen", "127.0.0.1:1,cert="},
        {"--listen", "127.0.0.1:1,colour=red"},
        {"--listen", "127.0.0.1:1,gate=maybe"},
        {"--listen", "127.0.0.1:1,"},
        {"--gate", "maybe"},
        {"--gate-limit", "resets"},
        {"--gate-limit", "colour=1"},
        {"--proxy-protocol", "everywhere"},
    };
    for (const auto &c : cases) {
        config_free(&config_);
        config_init(&config_, CONFIG_SERVE);
        EXPECT_EQ(WM_INVALID,
                  read({"--postgres", "x", "--issuer", "https://a.example", c[0], c[1]}))
            << c[1];
        EXPECT_NE(nullptr, strstr(err_.message, c[0])) << err_.message;
    }
}

} // namespace
