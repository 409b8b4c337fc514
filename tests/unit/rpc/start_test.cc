// A server that cannot start says why and leaves nothing behind; one that can starts more than
// once.
#include <gtest/gtest.h>

#include <string>

#include "server/rpc/rpc.h"

namespace {

class Start : public testing::Test {
  protected:
    void SetUp() override
    {
        ASSERT_EQ(lane_new(0, &lane_, &err_), WM_OK);
        config_.lanes = &lane_;
        config_.n_lanes = 1;
    }
    void TearDown() override
    {
        lane_free(lane_);
    }
    wm_code start(const rpc_listener &listener, rpc_server **server)
    {
        config_.listeners = &listener;
        config_.n_listeners = 1;
        return rpc_server_start(&config_, server, &err_);
    }
    lane *lane_ = nullptr;
    rpc_config config_ = {};
    wm_err err_ = {};
};

TEST_F(Start, AgainAndAgain)
{
    for (int i = 0; i < 3; i++) {
        rpc_server *server = nullptr;
        ASSERT_EQ(start({"127.0.0.1:0", nullptr, nullptr, nullptr}, &server), WM_OK)
            << err_.message;
        EXPECT_GT(rpc_server_port(server, 0), 0);
        rpc_server_set_serving(server, true);
        rpc_server_drain(server, 100);
        rpc_server_free(server);
    }
}

TEST_F(Start, SaysThatAPortIsTaken)
{
    rpc_server *server = nullptr, *second = nullptr;
    ASSERT_EQ(start({"127.0.0.1:0", nullptr, nullptr, nullptr}, &server), WM_OK) << err_.message;
    std::string address = "127.0.0.1:" + std::to_string(rpc_server_port(server, 0));

    EXPECT_EQ(start({address.c_str(), nullptr, nullptr, nullptr}, &second), WM_UNAVAILABLE);
    EXPECT_NE(std::string(err_.message).find(address), std::string::npos);
    rpc_server_free(server);
}

TEST_F(Start, SaysWhichFileCannotBeRead)
{
    rpc_server *server = nullptr;
    EXPECT_EQ(start({"127.0.0.1:0", "/nowhere/cert.pem", "/nowhere/key.pem", nullptr}, &server),
              WM_INVALID);
    EXPECT_NE(std::string(err_.message).find("/nowhere/cert.pem"), std::string::npos);
    EXPECT_EQ(start({"127.0.0.1:0", "/nowhere/cert.pem", nullptr, nullptr}, &server), WM_INVALID);
}

TEST_F(Start, RefusesADamagedDescriptorSet)
{
    rpc_server *server = nullptr;
    config_.descriptor_set = "\x0a\x7f";
    config_.descriptor_set_size = 2;
    EXPECT_NE(start({"127.0.0.1:0", nullptr, nullptr, nullptr}, &server), WM_OK);
}

} // namespace
