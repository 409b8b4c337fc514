// Which peers count as one; what that bounds is in tests/integration/rpc/places_test.py.
#include <gtest/gtest.h>

#include <string>

#include "server/rpc/internal.h"

namespace {

std::string address_of(const std::string &peer)
{
    char address[RPC_ADDRESS_SIZE];

    rpc_address_of(peer.c_str(), address);
    return address;
}

TEST(AddressOf, LeavesThePortOut)
{
    EXPECT_EQ(address_of("ipv4:192.0.2.1:5000"), address_of("ipv4:192.0.2.1:6000"));
    EXPECT_NE(address_of("ipv4:192.0.2.1:5000"), address_of("ipv4:192.0.2.2:5000"));
    EXPECT_NE(address_of("ipv4:192.0.2.1:5000"), address_of("ipv4:192.0.2.12:5000"));
}

TEST(AddressOf, TakesANetworkOfIPv6ForOne)
{
    EXPECT_EQ(address_of("ipv6:%5B2001:db8::1%5D:5000"),
              address_of("ipv6:%5B2001:db8:0:0:ffff:ffff:ffff:ffff%5D:6000"));
    EXPECT_NE(address_of("ipv6:%5B2001:db8::1%5D:5000"),
              address_of("ipv6:%5B2001:db8:0:1::1%5D:5000"));
    EXPECT_EQ(address_of("ipv6:%5Bfe80::1%25eth0%5D:5000"),
              address_of("ipv6:%5Bfe80::2%25eth0%5D:5000"));
}

TEST(AddressOf, ReadsWhateverComes)
{
    EXPECT_EQ(address_of("unix:/run/a.sock"), address_of("unix:"));
    EXPECT_EQ(address_of(""), "");
    EXPECT_EQ(address_of("unknown"), "");
    EXPECT_NE(address_of("ipv6:%5B:1"), address_of("ipv4:192.0.2.1:1"));
    EXPECT_EQ(address_of(std::string(300, 'x') + ":1").size(), RPC_ADDRESS_SIZE - 1u);
    EXPECT_LT(address_of("ipv6:%5B2001:db8:1111:2222:3333:4444:5555:6666%25" +
                         std::string(100, 'x') + "%5D:1")
                  .size(),
              size_t{RPC_ADDRESS_SIZE});
}

} // namespace
