/* server/gate/proxy.h - the PROXY protocol, version 2: a balancer names the client it speaks for.
 *
 * Pure. Only binary headers (version 2) over TCP are known; what follows the addresses inside
 * the header (TLVs) is skipped.
 */
#ifndef WAYMARK_SERVER_GATE_PROXY_H
#define WAYMARK_SERVER_GATE_PROXY_H

#include "server/gate/address.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GATE_PROXY_FIXED_SIZE = 16,
    GATE_PROXY_SIZE_MAX = 1024 /* with TLVs; a certificate in one does not fit, and is not read */
};

typedef enum gate_proxy_result {
    GATE_PROXY_MORE,  /* not whole yet: read on */
    GATE_PROXY_BAD,   /* this is no header that we take */
    GATE_PROXY_LOCAL, /* the balancer speaks for itself: a health check */
    GATE_PROXY_CLIENT /* `*client` is who it speaks for */
} gate_proxy_result;

/* Looks at the first bytes of a connection. `*taken` is the size of a whole header; while it is
 * not whole, how many bytes it will have at least. */
gate_proxy_result gate_proxy_parse(const uint8_t *bytes, size_t size, size_t *taken,
                                   gate_address *client);

#ifdef __cplusplus
}
#endif
#endif
