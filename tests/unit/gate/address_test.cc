// Addresses, blocks of them, and what one address may do.
#include "server/gate/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>
#include <string>

namespace {

gate_address at(const char *text, uint16_t port = 1)
{
    sockaddr_in6 v6 = {};
    sockaddr_in v4 = {};
    gate_address address;
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        gate_address_set(&address, reinterpret_cast<sockaddr *>(&v4));
    else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1)
        gate_address_set(&address, reinterpret_cast<sockaddr *>(&v6));
    else
        ADD_FAILURE() << text;
    return address;
}

std::string text_of(const gate_address &address)
{
    char text[GATE_ADDRESS_TEXT_SIZE];
    gate_address_format(&address, text);
    return text;
}

TEST(GateAddress, IsWrittenAsTheCoreWritesIt)
{
    EXPECT_EQ("ipv4:192.0.2.1:5000", text_of(at("192.0.2.1", 5000)));
    EXPECT_EQ("ipv6:%5B2001:db8::1%5D:5000", text_of(at("2001:db8::1", 5000)));
    EXPECT_EQ("ipv4:192.0.2.1:5000", text_of(at("::ffff:192.0.2.1", 5000)));
    gate_address none;
    sockaddr local = {};
    local.sa_family = AF_UNIX;
    gate_address_set(&none, &local);
    EXPECT_EQ("unknown", text_of(none));
}

TEST(GateCidr, HoldsItsAddresses)
{
    struct {
        const char *cidr, *address;
        bool is_in;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"192.0.2.128/25", "192.0.2.129", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::/0", "2001:db8::1", true},
        {"::1", "::1", true},
    };
    for (const auto &c : cases) {
        gate_cidr cidr;
        wm_err err;
        gate_address address = at(c.address);
        ASSERT_EQ(WM_OK, gate_cidr_parse(c.cidr, &cidr, &err)) << err.message;
        EXPECT_EQ(c.is_in, gate_cidr_has(&cidr, &address)) << c.cidr << " " << c.address;
    }
    gate_address none = {};
    gate_cidr all;
    ASSERT_EQ(WM_OK, gate_cidr_parse("::/0", &all, nullptr));
    EXPECT_FALSE(gate_cidr_has(&all, &none));
}

TEST(GateCidr, RefusesWhatIsNone)
{
    for (const char *text : {"", "10.0.0.0/33", "::/129", "10.0.0/8", "host", "10.0.0.0/",
                             "10.0.0.0/8x", "10.0.0.0/-1", "2001:db8:::/32"}) {
        gate_cidr cidr;
        wm_err err;
        EXPECT_EQ(WM_INVALID, gate_cidr_parse(text, &cidr, &err)) << text;
    }
}

class GateAddresses : public testing::Test {
  protected:
    void SetUp() override
    {
        gate_limits_init(&limits_);
        limits_.address_connections = 3;
        limits_.address_handshakes = {10, 5};
        limits_.address_resets = {10, 4};
        limits_.address_opens = {10, 8};
        limits_.address_streams = 12;
        addresses_ = gate_addresses_new(&limits_);
    }
    void TearDown() override
    {
        gate_addresses_free(addresses_);
    }
    gate_breach enter(const char *text, int64_t now_us = 0)
    {
        gate_address address = at(text);
        return gate_addresses_enter(addresses_, &address, now_us, &entry_);
    }
    gate_limits limits_;
    gate_addresses *addresses_;
    gate_address_entry *entry_ = nullptr;
};

TEST_F(GateAddresses, CountConnectionsUntilTheyLeave)
{
    ASSERT_EQ(GATE_FINE, enter("192.0.2.1"));
    gate_address_entry *first = entry_;
    ASSERT_EQ(GATE_FINE, enter("192.0.2.1"));
    ASSERT_EQ(GATE_FINE, enter("192.0.2.1"));
    EXPECT_EQ(GATE_ADDRESS_CONNECTIONS, enter("192.0.2.1"));
    EXPECT_EQ(nullptr, entry_);
    EXPECT_EQ(GATE_FINE, enter("192.0.2.2")) << "another address is another peer";
    gate_addresses_leave(addresses_, first, 0);
    EXPECT_EQ(GATE_FINE, enter("192.0.2.1"));
}

TEST_F(GateAddresses, PaceStreamsThatTheServerDoesNotEnd)
{
    ASSERT_EQ(GATE_FINE, enter("192.0.2.1"));
    EXPECT_EQ(8u, gate_addresses_room(addresses_, entry_, 0));
    gate_stream_news opened = {8, 0, 8}, ended = {0, 3, -3}, dropped = {0, 0, -5};
    ASSERT_EQ(GATE_FINE, gate_addresses_streams(addresses_, entry_, &opened, 0));
    EXPECT_EQ(0u, gate_addresses_room(addresses_, entry_, 0));
    ASSERT_EQ(GATE_FINE, gate_addresses_streams(addresses_, entry_, &ended, 0));
    EXPECT_EQ(3u, gate_addresses_room(addresses_, entry_, 0));
    ASSERT_EQ(GATE_FINE, gate_addresses_streams(addresses_, entry_, &dropped, 0));
    EXPECT_EQ(3u, gate_addresses_room(addresses_, entry_, 0))
        << "given up by the client: not paid back";
    EXPECT_EQ(4u, gate_addresses_room(addresses_, entry_, 100000)) << "but by time";
}

TEST_F(GateAddresses, MakeThoseWaitLongerThatOpenedMore)
{
    ASSERT_EQ(GATE_FINE, enter("192.0.2.1"));
    gate_stream_news opened = {10, 0, 0};
    ASSERT_EQ(GATE_FINE, gate_addresses_streams(addresses_, entry_, &opened, 0));
    EXPECT_EQ(0u, gate_addresses_room(addresses_, entry_, 200000));
    EXPECT_EQ(1u, gate_addresses_room(addresses_, entry_, 300000));
}

TEST_F(GateAddresses, CountStreamsOfAllConnections)
{
    ASSERT_EQ(GATE_FINE, enter("192.0.2.1"));
    ASSERT_EQ(GATE_FINE, enter("192.0.2.1"));
    gate_stream_news opened = {8, 0, 8}, more = {5, 0, 5};
    ASSERT_EQ(GATE_FINE, gate_addresses_streams(addresses_, entry_, &opened, 0));
    EXPECT_EQ(GATE_ADDRESS_STREAMS, gate_addresses_streams(addresses_, entry_, &more, 0));
    gate_addresses_leave(addresses_, entry_, 13);
    EXPECT_EQ(GATE_FINE, gate_addresses_streams(addresses_, entry_, &opened, 0));
}

TEST_F(GateAddresses, TakeAnIpv6NetworkForOnePeer)
{
    for (const char *text : {"2001:db8::1", "2001:db8::2", "2001:db8::ffff:0:0:1"})
        ASSERT_EQ(GATE_FINE, enter(text));
    EXPECT_EQ(GATE_ADDRESS_CONNECTIONS, enter("2001:db8::3"));
    EXPECT_EQ(GATE_FINE, enter("2001:db8:0:1::1"));
}

TEST_F(GateAddresses, LimitHandshakesAndResetsPerTime)
{
    for (int i = 0; i < 5; i++) {
        ASSERT_EQ(GATE_FINE, enter("192.0.2.1"));
        gate_addresses_leave(addresses_, entry_, 0);
    }
    EXPECT_EQ(GATE_ADDRESS_HANDSHAKES, enter("192.0.2.1"));
    ASSERT_EQ(GATE_FINE, enter("192.0.2.1", 100000)) << "one a tenth of a second";
    EXPECT_EQ(GATE_FINE, gate_addresses_reset(addresses_, entry_, 4, 100000));
    EXPECT_EQ(GATE_ADDRESS_RESETS, gate_addresses_reset(addresses_, entry_, 1, 100000));
    EXPECT_EQ(GATE_FINE, gate_addresses_reset(addresses_, entry_, 1, 200000));
}

TEST_F(GateAddresses, AreForgottenOnlyWhenNothingIsOwed)
{
    ASSERT_EQ(GATE_FINE, enter("192.0.2.1"));
    gate_addresses_sweep(addresses_, 100000000);
    EXPECT_EQ(1u, gate_addresses_count(addresses_)) << "it is connected";
    gate_addresses_leave(addresses_, entry_, 0);
    gate_addresses_sweep(addresses_, 50000);
    EXPECT_EQ(1u, gate_addresses_count(addresses_)) << "its handshake is not paid";
    gate_addresses_sweep(addresses_, 200000);
    EXPECT_EQ(0u, gate_addresses_count(addresses_));
}

TEST_F(GateAddresses, AreBounded)
{
    for (unsigned i = 0; i < GATE_ADDRESSES_MAX; i++) {
        std::string text = "10." + std::to_string(i >> 16) + "." + std::to_string(i >> 8 & 255) +
                           "." + std::to_string(i & 255);
        ASSERT_EQ(GATE_FINE, enter(text.c_str()));
    }
    EXPECT_EQ(GATE_CONNECTIONS, enter("192.0.2.1"));
    EXPECT_EQ(GATE_FINE, enter("10.0.0.1")) << "who is known comes in";
}

} // namespace
