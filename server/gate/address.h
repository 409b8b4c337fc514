/* server/gate/address.h - where a peer is, and what all of its connections may do together.
 *
 * An address counts as one peer by itself (IPv4) or by its /64 (IPv6), which is what one
 * customer of a provider gets. The table forgets addresses that have no connection and whose
 * buckets are full again; it has a bound, beyond which a new address is refused.
 *
 * Threads: addresses and CIDRs are values. A table is locked: every lane's loop uses it, when a
 *          connection comes or goes, and once for a chunk in which streams begin or end.
 * Memory:  a table owns its entries; an entry stays while a connection holds it.
 */
#ifndef WAYMARK_SERVER_GATE_ADDRESS_H
#define WAYMARK_SERVER_GATE_ADDRESS_H

#include <sys/socket.h>

#include "server/gate/budget.h"

#ifdef __cplusplus
extern "C" {
#endif

/* IPv4 as ::ffff:a.b.c.d. */
typedef struct gate_address {
    uint8_t bytes[16];
    uint16_t port;
    bool is_known; /* false: neither IPv4 nor IPv6 */
} gate_address;

enum { GATE_ADDRESS_TEXT_SIZE = 64 };

void gate_address_set(gate_address *address, const struct sockaddr *socket_address);
/* "ipv4:192.0.2.1:5000", "ipv6:%5B2001:db8::1%5D:5000", as the core names its peers. */
void gate_address_format(const gate_address *address, char text[GATE_ADDRESS_TEXT_SIZE]);

/* A block of addresses: "10.0.0.0/8", "2001:db8::/32", or one address. */
typedef struct gate_cidr {
    uint8_t bytes[16];
    uint8_t bits; /* of the 128 */
} gate_cidr;

WM_MUST_USE wm_code gate_cidr_parse(const char *text, gate_cidr *cidr, wm_err *err);
bool gate_cidr_has(const gate_cidr *cidr, const gate_address *address);

/* ---- the table ---- */
typedef struct gate_addresses gate_addresses;
typedef struct gate_address_entry gate_address_entry;

enum { GATE_ADDRESSES_MAX = 65536 };

gate_addresses *gate_addresses_new(const gate_limits *limits);
void gate_addresses_free(gate_addresses *addresses);

/* A connection has come. GATE_FINE gives its entry, to be left when it goes. */
WM_MUST_USE gate_breach gate_addresses_enter(gate_addresses *addresses, const gate_address *address,
                                             int64_t now_us, gate_address_entry **entry);
/* It goes, with so many streams still open. */
void gate_addresses_leave(gate_addresses *addresses, gate_address_entry *entry, uint32_t streams);
/* It has reset `n` streams. */
WM_MUST_USE gate_breach gate_addresses_reset(gate_addresses *addresses, gate_address_entry *entry,
                                             unsigned n, int64_t now_us);
/* How many streams its connections may open now. Each costs a token, which comes back at once when
 * the server has ended the stream, and else with time: so a client may have as many calls answered
 * as the server can, and still cannot have more than a few wait inside the core. */
unsigned gate_addresses_room(gate_addresses *addresses, gate_address_entry *entry, int64_t now_us);
/* What a connection's streams have done since it last told. */
typedef struct gate_stream_news {
    uint32_t opened, ended; /* by the client; by the server, to their end */
    int32_t change;         /* in how many are open */
} gate_stream_news;
WM_MUST_USE gate_breach gate_addresses_streams(gate_addresses *addresses, gate_address_entry *entry,
                                               const gate_stream_news *news, int64_t now_us);
/* Forgets what need not be known any more; now and then. */
void gate_addresses_sweep(gate_addresses *addresses, int64_t now_us);
size_t gate_addresses_count(gate_addresses *addresses);

#ifdef __cplusplus
}
#endif
#endif
