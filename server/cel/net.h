/* cel/net.h - addresses, networks and base64 as texts. Private to cel/. */
#ifndef WAYMARK_SERVER_CEL_NET_H
#define WAYMARK_SERVER_CEL_NET_H

#include "server/cel/internal.h"

/* "2001:db8::1" (RFC 5952) or "10.0.0.0/8". */
size_t cel_net_text(const cel_value *value, char text[64]);
void cel_base64_put(wm_buf *buf, const char *bytes, size_t len);

#endif
