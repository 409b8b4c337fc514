/* server/gate/address.c - see address.h. */
#include "server/gate/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <uv.h>

enum { ADDRESS_BITS = 128, IPV4_BITS = 32, PEER_BYTES = 16, PEER_BYTES_IPV6 = 8 };

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_ipv4(const gate_address *address)
{
    return memcmp(address->bytes, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

void gate_address_set(gate_address *address, const struct sockaddr *socket_address)
{
    memset(address, 0, sizeof(*address));
    if (socket_address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, socket_address, sizeof(v4));
        memcpy(address->bytes, mapped_prefix, sizeof(mapped_prefix));
        memcpy(address->bytes + sizeof(mapped_prefix), &v4.sin_addr, sizeof(v4.sin_addr));
        address->port = ntohs(v4.sin_port);
        address->is_known = true;
    } else if (socket_address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, socket_address, sizeof(v6));
        memcpy(address->bytes, &v6.sin6_addr, sizeof(address->bytes));
        address->port = ntohs(v6.sin6_port);
        address->is_known = true;
    }
}

void gate_address_format(const gate_address *address, char text[GATE_ADDRESS_TEXT_SIZE])
{
    char ip[INET6_ADDRSTRLEN];

    if (!address->is_known) {
        snprintf(text, GATE_ADDRESS_TEXT_SIZE, "unknown");
    } else if (is_ipv4(address)) {
        inet_ntop(AF_INET, address->bytes + sizeof(mapped_prefix), ip, sizeof(ip));
        snprintf(text, GATE_ADDRESS_TEXT_SIZE, "ipv4:%s:%u", ip, address->port);
    } else {
        inet_ntop(AF_INET6, address->bytes, ip, sizeof(ip));
        snprintf(text, GATE_ADDRESS_TEXT_SIZE, "ipv6:%%5B%s%%5D:%u", ip, address->port);
    }
}

/* ---- blocks of addresses ---- */

static wm_code cidr_refuse(wm_err *err, const char *text)
{
    return wm_fail(err, WM_INVALID, "OPTION_INVALID", "\"%s\" is not ADDRESS or ADDRESS/BITS",
                   text);
}

static bool bits_read(const char *text, unsigned max, unsigned *bits)
{
    char *end;
    unsigned long parsed;

    errno = 0;
    parsed = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 || parsed > max)
        return false;
    *bits = (unsigned)parsed;
    return true;
}

wm_code gate_cidr_parse(const char *text, gate_cidr *cidr, wm_err *err)
{
    char ip[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "/");
    unsigned max = ADDRESS_BITS, bits;

    if (len >= sizeof(ip))
        return cidr_refuse(err, text);
    memcpy(ip, text, len);
    ip[len] = '\0';
    memcpy(cidr->bytes, mapped_prefix, sizeof(mapped_prefix));
    if (inet_pton(AF_INET, ip, cidr->bytes + sizeof(mapped_prefix)) == 1)
        max = IPV4_BITS;
    else if (inet_pton(AF_INET6, ip, cidr->bytes) != 1)
        return cidr_refuse(err, text);
    bits = max;
    if (text[len] == '/' && !bits_read(text + len + 1, max, &bits))
        return cidr_refuse(err, text);
    cidr->bits = (uint8_t)(ADDRESS_BITS - max + bits);
    return WM_OK;
}

bool gate_cidr_has(const gate_cidr *cidr, const gate_address *address)
{
    unsigned whole = cidr->bits / 8, rest = cidr->bits % 8;

    if (!address->is_known || memcmp(cidr->bytes, address->bytes, whole) != 0)
        return false;
    return rest == 0 || ((cidr->bytes[whole] ^ address->bytes[whole]) >> (8 - rest)) == 0;
}

/* ---- the table ---- */

struct gate_address_entry {
    uint8_t peer[PEER_BYTES];
    uint32_t connections;
    int64_t streams; /* open on them */
    gate_bucket handshakes, resets, opens;
    UT_hash_handle hh;
};

struct gate_addresses {
    const gate_limits *limits;
    uv_mutex_t mutex;
    gate_address_entry *entries;
};

gate_addresses *gate_addresses_new(const gate_limits *limits)
{
    gate_addresses *addresses = calloc(1, sizeof(*addresses));

    if (addresses == NULL || uv_mutex_init(&addresses->mutex) != 0)
        abort();
    addresses->limits = limits;
    return addresses;
}

static void entry_forget(gate_addresses *addresses, gate_address_entry *entry)
{
    HASH_DEL(addresses->entries, entry);
    free(entry);
}

void gate_addresses_free(gate_addresses *addresses)
{
    gate_address_entry *entry, *next;

    if (addresses == NULL)
        return;
    HASH_ITER (hh, addresses->entries, entry, next)
        entry_forget(addresses, entry);
    uv_mutex_destroy(&addresses->mutex);
    free(addresses);
}

static void peer_of(const gate_address *address, uint8_t peer[PEER_BYTES])
{
    memset(peer, 0, PEER_BYTES);
    memcpy(peer, address->bytes, is_ipv4(address) ? PEER_BYTES : PEER_BYTES_IPV6);
}

/* Locked. NULL when the table is full. */
static gate_address_entry *entry_get(gate_addresses *addresses, const gate_address *address)
{
    uint8_t peer[PEER_BYTES];
    gate_address_entry *entry;

    peer_of(address, peer);
    HASH_FIND(hh, addresses->entries, peer, PEER_BYTES, entry);
    if (entry != NULL || HASH_COUNT(addresses->entries) >= GATE_ADDRESSES_MAX)
        return entry;
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        abort();
    memcpy(entry->peer, peer, PEER_BYTES);
    HASH_ADD(hh, addresses->entries, peer, PEER_BYTES, entry);
    return entry;
}

gate_breach gate_addresses_enter(gate_addresses *addresses, const gate_address *address,
                                 int64_t now_us, gate_address_entry **made)
{
    const gate_limits *limits = addresses->limits;
    gate_breach breach = GATE_FINE;
    gate_address_entry *entry;

    uv_mutex_lock(&addresses->mutex);
    entry = entry_get(addresses, address);
    if (entry == NULL)
        breach = GATE_CONNECTIONS;
    else if (!gate_bucket_take(&entry->handshakes, limits->address_handshakes, now_us))
        breach = GATE_ADDRESS_HANDSHAKES;
    else if (entry->connections >= limits->address_connections)
        breach = GATE_ADDRESS_CONNECTIONS;
    else
        entry->connections++;
    uv_mutex_unlock(&addresses->mutex);
    *made = breach == GATE_FINE ? entry : NULL;
    return breach;
}

void gate_addresses_leave(gate_addresses *addresses, gate_address_entry *entry, uint32_t streams)
{
    uv_mutex_lock(&addresses->mutex);
    entry->connections--;
    entry->streams -= streams;
    uv_mutex_unlock(&addresses->mutex);
}

gate_breach gate_addresses_reset(gate_addresses *addresses, gate_address_entry *entry, unsigned n,
                                 int64_t now_us)
{
    gate_breach breach = GATE_FINE;

    uv_mutex_lock(&addresses->mutex);
    while (n-- > 0 && breach == GATE_FINE)
        if (!gate_bucket_take(&entry->resets, addresses->limits->address_resets, now_us))
            breach = GATE_ADDRESS_RESETS;
    uv_mutex_unlock(&addresses->mutex);
    return breach;
}

unsigned gate_addresses_room(gate_addresses *addresses, gate_address_entry *entry, int64_t now_us)
{
    unsigned room;

    uv_mutex_lock(&addresses->mutex);
    room = gate_bucket_tokens(&entry->opens, addresses->limits->address_opens, now_us);
    uv_mutex_unlock(&addresses->mutex);
    return room;
}

gate_breach gate_addresses_streams(gate_addresses *addresses, gate_address_entry *entry,
                                   const gate_stream_news *news, int64_t now_us)
{
    const gate_limits *limits = addresses->limits;
    gate_breach breach = GATE_FINE;

    uv_mutex_lock(&addresses->mutex);
    gate_bucket_owe(&entry->opens, limits->address_opens, news->opened, now_us);
    gate_bucket_give(&entry->opens, limits->address_opens, 2 * news->ended);
    entry->streams += news->change;
    if (news->change > 0 && entry->streams > limits->address_streams)
        breach = GATE_ADDRESS_STREAMS;
    uv_mutex_unlock(&addresses->mutex);
    return breach;
}

void gate_addresses_sweep(gate_addresses *addresses, int64_t now_us)
{
    gate_address_entry *entry, *next;

    uv_mutex_lock(&addresses->mutex);
    HASH_ITER (hh, addresses->entries, entry, next) {
        if (entry->connections == 0 && gate_bucket_is_full(&entry->handshakes, now_us) &&
            gate_bucket_is_full(&entry->resets, now_us) &&
            gate_bucket_is_full(&entry->opens, now_us))
            entry_forget(addresses, entry);
    }
    uv_mutex_unlock(&addresses->mutex);
}

size_t gate_addresses_count(gate_addresses *addresses)
{
    size_t n;

    uv_mutex_lock(&addresses->mutex);
    n = HASH_COUNT(addresses->entries);
    uv_mutex_unlock(&addresses->mutex);
    return n;
}
