// Which addresses keep a token on this machine.
#include "client/target.h"

#include <gtest/gtest.h>

namespace {

TEST(ClientTarget, OfThisMachine)
{
    for (const char *target : {"unix:/run/waymark.sock",
                               "unix:relative",
                               "unix:///run/s",
                               "unix-abstract:name",
                               "127.0.0.1:7654",
                               "127.1.2.3:1",
                               "127.0.0.1",
                               "[::1]:7654",
                               "::1",
                               "localhost:7654",
                               "LocalHost",
                               "dns:localhost:1",
                               "dns:///localhost:1",
                               "dns:///127.0.0.1:1",
                               "dns://8.8.8.8/localhost:1",
                               "ipv4:127.0.0.1:1",
                               "ipv4:127.0.0.1:1,127.0.0.2:2",
                               "ipv6:[::1]:1",
                               "ipv6:[::1]:1,[::1]:2",
                               "[::ffff:127.0.0.1]:5"})
        EXPECT_TRUE(client_target_is_local(target)) << target;
}

TEST(ClientTarget, OfOthersOrUnclear)
{
    for (const char *target :
         {"10.0.0.1:7654",
          "waymark.example:443",
          "dns:///waymark.example:443",
          "localhost.evil:1",
          "127.0.0.1.evil.example:1",
          "127.0.0.1@evil:1",
          "ipv4:127.0.0.1:1,10.0.0.1:1",
          "ipv4:127.0.0.1:1,",
          "ipv4:,127.0.0.1:1",
          "ipv6:[::2]:1",
          "[::1",
          "[::ffff:10.0.0.1]:5",
          "0.0.0.0:1",
          "[::]:1",
          "",
          ":1",
          "ipv4:",
          "dns:",
          "dns://localhost",
          "xds:///localhost",
          "http://localhost:1",
          "127.1:1",
          "0x7f000001:1",
          "2130706433:1",
          "localhost0123456789012345678901234567890123456789012345678901234567890123456789"})
        EXPECT_FALSE(client_target_is_local(target)) << target;
}

} // namespace
