/* server/gate/proxy.c - see proxy.h. The layout is that of HAProxy's proxy-protocol.txt, 2.2:
 *
 *   12 bytes signature | version 2, command | family, protocol | 2 bytes length | addresses | TLVs
 */
#include "server/gate/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum {
    AT_COMMAND = 12,
    AT_FAMILY = 13,
    AT_LENGTH = 14,
    VERSION_2 = 0x20,
    COMMAND_LOCAL = 0,
    COMMAND_PROXY = 1,
    TCP_OVER_IPV4 = 0x11,
    TCP_OVER_IPV6 = 0x21,
    IPV4_SIZE = 12, /* two addresses, two ports */
    IPV6_SIZE = 36
};

static const uint8_t signature[AT_COMMAND] = "\r\n\r\n\0\r\nQUIT\n";

static gate_proxy_result read_ipv4(const uint8_t *bytes, size_t length, gate_address *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    if (length < IPV4_SIZE)
        return GATE_PROXY_BAD;
    memcpy(&address.sin_addr, bytes, 4);
    memcpy(&address.sin_port, bytes + 8, 2);
    gate_address_set(client, (const struct sockaddr *)&address);
    return GATE_PROXY_CLIENT;
}

static gate_proxy_result read_ipv6(const uint8_t *bytes, size_t length, gate_address *client)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6};

    if (length < IPV6_SIZE)
        return GATE_PROXY_BAD;
    memcpy(&address.sin6_addr, bytes, 16);
    memcpy(&address.sin6_port, bytes + 32, 2);
    gate_address_set(client, (const struct sockaddr *)&address);
    return GATE_PROXY_CLIENT;
}

gate_proxy_result gate_proxy_parse(const uint8_t *bytes, size_t size, size_t *taken,
                                   gate_address *client)
{
    size_t known = size < sizeof(signature) ? size : sizeof(signature);
    size_t length;

    *taken = GATE_PROXY_FIXED_SIZE;
    if (memcmp(bytes, signature, known) != 0)
        return GATE_PROXY_BAD;
    if (size < GATE_PROXY_FIXED_SIZE)
        return GATE_PROXY_MORE;
    length = (size_t)bytes[AT_LENGTH] << 8 | bytes[AT_LENGTH + 1];
    *taken = GATE_PROXY_FIXED_SIZE + length;
    if ((bytes[AT_COMMAND] & 0xf0) != VERSION_2 || *taken > GATE_PROXY_SIZE_MAX)
        return GATE_PROXY_BAD;
    if (size < *taken)
        return GATE_PROXY_MORE;
    if ((bytes[AT_COMMAND] & 0xf) == COMMAND_LOCAL)
        return GATE_PROXY_LOCAL;
    if ((bytes[AT_COMMAND] & 0xf) != COMMAND_PROXY)
        return GATE_PROXY_BAD;
    if (bytes[AT_FAMILY] == TCP_OVER_IPV4)
        return read_ipv4(bytes + GATE_PROXY_FIXED_SIZE, length, client);
    if (bytes[AT_FAMILY] == TCP_OVER_IPV6)
        return read_ipv6(bytes + GATE_PROXY_FIXED_SIZE, length, client);
    return GATE_PROXY_BAD;
}
