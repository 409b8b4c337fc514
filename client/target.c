/* client/target.c - what an address says of where it leads. */
#include "client/target.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

enum { HOST_MAX = 64 }; /* longer ones are not on this machine */

static bool is_loopback(const char *host)
{
    unsigned char bytes[16];
    static const unsigned char one[16] = {[15] = 1}, mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (inet_pton(AF_INET, host, bytes) == 1)
        return bytes[0] == 127;
    if (inet_pton(AF_INET6, host, bytes) != 1)
        return false;
    if (memcmp(bytes, one, sizeof(one)) == 0)
        return true;
    return memcmp(bytes, mapped, sizeof(mapped)) == 0 && bytes[12] == 127;
}

/* The host of "host", "host:port", "[host]:port" or a bare IPv6 address. */
static bool host_of(const char *text, size_t len, char host[HOST_MAX])
{
    const char *end = text + len, *colon;

    if (len > 0 && *text == '[') {
        text++;
        end = memchr(text, ']', len - 1);
        if (end == NULL)
            return false;
    } else {
        colon = memchr(text, ':', len);
        if (colon != NULL && memchr(colon + 1, ':', (size_t)(end - colon - 1)) == NULL)
            end = colon;
    }
    len = (size_t)(end - text);
    if (len == 0 || len >= HOST_MAX)
        return false;
    memcpy(host, text, len);
    host[len] = 0;
    return true;
}

static bool is_local_host(const char *text, size_t len)
{
    char host[HOST_MAX];

    return host_of(text, len, host) && (is_loopback(host) || strcasecmp(host, "localhost") == 0);
}

static bool all_local(const char *list)
{
    for (;;) {
        size_t len = strcspn(list, ",");

        if (!is_local_host(list, len))
            return false;
        if (list[len] == 0)
            return true;
        list += len + 1;
    }
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool client_target_is_local(const char *target)
{
    if (starts_with(target, "unix:") || starts_with(target, "unix-abstract:"))
        return true;
    if (starts_with(target, "ipv4:") || starts_with(target, "ipv6:"))
        return all_local(target + 5);
    if (starts_with(target, "dns:")) {
        target += 4;
        if (starts_with(target, "//")) { /* the name server, of which nothing is known here */
            target = strchr(target + 2, '/');
            if (target == NULL)
                return false;
        }
        if (*target == '/')
            target++;
    }
    return is_local_host(target, strlen(target));
}
