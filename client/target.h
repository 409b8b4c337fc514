/* client/target.h - what an address says of where it leads, before anybody resolves it.
 *
 * Threads: a pure function of its input.
 */
#ifndef WAYMARK_CLIENT_TARGET_H
#define WAYMARK_CLIENT_TARGET_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* True when what is sent there stays on this machine: a unix socket, loopback addresses (every
 * one of a list), or the name localhost. When in doubt: no. */
bool client_target_is_local(const char *target);

#ifdef __cplusplus
}
#endif
#endif
