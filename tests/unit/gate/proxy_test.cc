// The PROXY header, version 2.
#include "server/gate/proxy.h"

#include <gtest/gtest.h>

#include <string>

namespace {

const std::string SIGNATURE("\r\n\r\n\0\r\nQUIT\n", 12);

std::string header(int version_command, int family, const std::string &rest)
{
    std::string bytes = SIGNATURE;
    bytes += static_cast<char>(version_command);
    bytes += static_cast<char>(family);
    bytes += static_cast<char>(rest.size() >> 8);
    bytes += static_cast<char>(rest.size());
    return bytes + rest;
}

const std::string IPV4("\xc0\x00\x02\x01"
                       "\x0a\x00\x00\x01"
                       "\x13\x88"
                       "\x1d\xe6",
                       12);

gate_proxy_result parse(const std::string &bytes, size_t *taken, gate_address *client)
{
    return gate_proxy_parse(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(), taken,
                            client);
}

std::string text_of(const gate_address &address)
{
    char text[GATE_ADDRESS_TEXT_SIZE];
    gate_address_format(&address, text);
    return text;
}

TEST(GateProxy, NamesTheClient)
{
    gate_address client = {};
    size_t taken;
    ASSERT_EQ(GATE_PROXY_CLIENT, parse(header(0x21, 0x11, IPV4), &taken, &client));
    EXPECT_EQ(28u, taken);
    EXPECT_EQ("ipv4:192.0.2.1:5000", text_of(client));

    std::string ipv6 = std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + "\x01" +
                       std::string(16, '\0') + std::string("\x13\x88\x1d\xe6", 4);
    ASSERT_EQ(GATE_PROXY_CLIENT, parse(header(0x21, 0x21, ipv6), &taken, &client));
    EXPECT_EQ(52u, taken);
    EXPECT_EQ("ipv6:%5B2001:db8::1%5D:5000", text_of(client));
}

TEST(GateProxy, SkipsWhatFollowsTheAddresses)
{
    gate_address client = {};
    size_t taken;
    std::string tlv("\x01\x00\x02h2", 5);
    ASSERT_EQ(GATE_PROXY_CLIENT, parse(header(0x21, 0x11, IPV4 + tlv) + "PRI", &taken, &client));
    EXPECT_EQ(28u + 5u, taken);
}

TEST(GateProxy, AHealthCheckSpeaksForItself)
{
    gate_address client = {};
    size_t taken;
    EXPECT_EQ(GATE_PROXY_LOCAL, parse(header(0x20, 0x00, ""), &taken, &client));
    EXPECT_EQ(16u, taken);
    EXPECT_EQ(GATE_PROXY_LOCAL, parse(header(0x20, 0x11, IPV4), &taken, &client));
    EXPECT_FALSE(client.is_known);
}

TEST(GateProxy, AsksForMoreUntilItIsWhole)
{
    std::string whole = header(0x21, 0x11, IPV4);
    for (size_t size = 0; size < whole.size(); size++) {
        gate_address client = {};
        size_t taken;
        ASSERT_EQ(GATE_PROXY_MORE, parse(whole.substr(0, size), &taken, &client)) << size;
        ASSERT_GT(taken, size);
        ASSERT_LE(taken, whole.size());
    }
}

TEST(GateProxy, RefusesEverythingElse)
{
    const std::string cases[] = {
        "PROXY TCP4 192.0.2.1 10.0.0.1 5000 7654\r\n", // version 1
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01",
        header(0x11, 0x11, IPV4),                // version 1 in a header of version 2
        header(0x22, 0x11, IPV4),                // no such command
        header(0x21, 0x12, IPV4),                // UDP
        header(0x21, 0x31, std::string(216, 0)), // unix sockets
        header(0x21, 0x11, IPV4.substr(1)),
        header(0x21, 0x21, IPV4),
        header(0x21, 0x11, std::string(2000, 'x')),
    };
    for (const std::string &bytes : cases) {
        gate_address client = {};
        size_t taken;
        EXPECT_EQ(GATE_PROXY_BAD, parse(bytes, &taken, &client)) << bytes;
    }
}

} // namespace
