/* cel/fn_net.c - IP addresses and networks, as Kubernetes has them. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "server/cel/net.h"

#define FN(name) static cel_value name(cel_call *call, const cel_value *args, size_t n)
#define UNUSED (void)call, (void)n

/* ---- texts ---- */

/* The longest run of zero groups (two at least) is left out. */
static size_t ipv6_text(const uint8_t *bytes, char *to, size_t room)
{
    int from = -1, run = 1;
    size_t len = 0;

    for (int i = 0, n; i<8; i += n> 0 ? n : 1) {
        for (n = 0; i + n < 8 && bytes[(i + n) * 2] == 0 && bytes[(i + n) * 2 + 1] == 0;)
            n++;
        if (n > run) {
            from = i;
            run = n;
        }
    }
    for (int i = 0; i < 8;) {
        if (i == from) {
            len += (size_t)snprintf(to + len, room - len, "::");
            i += run;
            continue;
        }
        len += (size_t)snprintf(to + len, room - len, "%s%x",
                                i > 0 && !(from >= 0 && i == from + run) ? ":" : "",
                                (unsigned)(bytes[i * 2] << 8 | bytes[i * 2 + 1]));
        i++;
    }
    return len;
}

size_t cel_net_text(const cel_value *value, char text[64])
{
    const cel_net *net = value->as.net;
    size_t len;

    if (net->family == 4)
        len = (size_t)snprintf(text, 64, "%u.%u.%u.%u", net->bytes[0], net->bytes[1], net->bytes[2],
                               net->bytes[3]);
    else
        len = ipv6_text(net->bytes, text, 64);
    if (value->kind == CEL_CIDR)
        len += (size_t)snprintf(text + len, 64 - len, "/%u", net->prefix);
    return len;
}

/* ::ffff:0:0/96 */
static bool is_mapped(const cel_net *net)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(net->bytes, prefix, sizeof prefix) == 0;
}

/* No zones, and no IPv4 that is mapped to IPv6 and written with dots. */
static bool parse_ip(const char *text, size_t len, cel_net *net)
{
    char copy[64];

    memset(net, 0, sizeof *net);
    if (len == 0 || len >= sizeof copy || memchr(text, 0, len))
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    if (!strchr(copy, ':')) {
        net->family = 4;
        return inet_pton(AF_INET, copy, net->bytes) == 1;
    }
    net->family = 6;
    return inet_pton(AF_INET6, copy, net->bytes) == 1 && !(strchr(copy, '.') && is_mapped(net));
}

static bool parse_cidr(const char *text, size_t len, cel_net *net)
{
    const char *slash = memchr(text, '/', len);
    size_t digits = slash ? (size_t)(text + len - slash) - 1 : 0;
    unsigned prefix = 0;

    if (digits == 0 || digits > 3 || !parse_ip(text, (size_t)(slash - text), net) ||
        (digits > 1 && slash[1] == '0'))
        return false;
    for (size_t i = 1; i <= digits; i++) {
        if (slash[i] < '0' || slash[i] > '9')
            return false;
        prefix = prefix * 10 + (unsigned)(slash[i] - '0');
    }
    net->prefix = (uint8_t)prefix;
    return prefix <= (net->family == 4 ? 32u : 128u);
}

static cel_value net_value(cel_call *call, cel_kind kind, const cel_net *net)
{
    cel_net *kept = cel_alloc(call, sizeof *kept);

    if (!kept)
        return cel_fail_memory(call);
    *kept = *net;
    return (cel_value){.kind = kind, .as = {.net = kept}};
}

static cel_value parse_failed(cel_call *call, const char *what, const cel_value *text)
{
    return cel_fail(call, CEL_ERROR_ARGUMENT, "'%.*s' is no %s",
                    text->len > 60 ? 60 : (int)text->len, text->as.text, what);
}

FN(ip_string)
{
    cel_net net;

    (void)n;
    return parse_ip(args->as.text, args->len, &net) ? net_value(call, CEL_IP, &net)
                                                    : parse_failed(call, "IP address", args);
}

FN(is_ip)
{
    cel_net net;

    UNUSED;
    return cel_of_bool(parse_ip(args->as.text, args->len, &net));
}

FN(is_canonical)
{
    cel_net net;
    cel_value value = {.kind = CEL_IP, .as = {.net = &net}};
    char text[64];

    (void)n;
    if (!parse_ip(args->as.text, args->len, &net))
        return parse_failed(call, "IP address", args);
    cel_net_text(&value, text);
    return cel_of_bool(strlen(text) == args->len && memcmp(text, args->as.text, args->len) == 0);
}

FN(cidr_string)
{
    cel_net net;

    (void)n;
    return parse_cidr(args->as.text, args->len, &net) ? net_value(call, CEL_CIDR, &net)
                                                      : parse_failed(call, "CIDR", args);
}

FN(is_cidr)
{
    cel_net net;

    UNUSED;
    return cel_of_bool(parse_cidr(args->as.text, args->len, &net));
}

/* ---- what an address is ---- */

FN(family)
{
    UNUSED;
    return cel_of_int(args->as.net->family);
}

static bool all_zero(const cel_net *net, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        if (net->bytes[i])
            return false;
    return true;
}

static bool is_loopback(const cel_net *net)
{
    return net->family == 4 ? net->bytes[0] == 127 : all_zero(net, 0, 15) && net->bytes[15] == 1;
}

static bool is_multicast(const cel_net *net)
{
    return net->family == 4 ? net->bytes[0] >> 4 == 14 : net->bytes[0] == 0xff;
}

static bool is_link_local(const cel_net *net)
{
    return net->family == 4 ? net->bytes[0] == 169 && net->bytes[1] == 254
                            : net->bytes[0] == 0xfe && (net->bytes[1] & 0xc0) == 0x80;
}

FN(fn_is_unspecified)
{
    UNUSED;
    return cel_of_bool(all_zero(args->as.net, 0, 16));
}

FN(fn_is_loopback)
{
    UNUSED;
    return cel_of_bool(is_loopback(args->as.net));
}

FN(fn_is_link_local_unicast)
{
    UNUSED;
    return cel_of_bool(is_link_local(args->as.net));
}

FN(fn_is_link_local_multicast)
{
    const cel_net *net = args->as.net;

    UNUSED;
    return cel_of_bool(net->family == 4 ? net->bytes[0] == 224 && all_zero(net, 1, 3)
                                        : net->bytes[0] == 0xff && (net->bytes[1] & 15) == 2);
}

FN(fn_is_global_unicast)
{
    const cel_net *net = args->as.net;
    bool broadcast = net->family == 4 && net->bytes[0] == 255 && net->bytes[1] == 255 &&
                     net->bytes[2] == 255 && net->bytes[3] == 255;

    UNUSED;
    return cel_of_bool(!broadcast && !all_zero(net, 0, 16) && !is_loopback(net) &&
                       !is_multicast(net) && !is_link_local(net));
}

/* ---- networks ---- */

static bool same_prefix(const cel_net *a, const cel_net *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a->bytes, b->bytes, whole) != 0)
        return false;
    return rest == 0 || (a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest) == 0;
}

static cel_value contains(const cel_net *net, const cel_net *other, bool cidr)
{
    return cel_of_bool(net->family == other->family && (!cidr || other->prefix >= net->prefix) &&
                       same_prefix(net, other, net->prefix));
}

FN(contains_ip)
{
    cel_net net;

    (void)n;
    if (args[1].kind != CEL_STRING)
        return contains(args[0].as.net, args[1].as.net, false);
    return parse_ip(args[1].as.text, args[1].len, &net)
               ? contains(args[0].as.net, &net, false)
               : parse_failed(call, "IP address", &args[1]);
}

FN(contains_cidr)
{
    cel_net net;

    (void)n;
    if (args[1].kind != CEL_STRING)
        return contains(args[0].as.net, args[1].as.net, true);
    return parse_cidr(args[1].as.text, args[1].len, &net) ? contains(args[0].as.net, &net, true)
                                                          : parse_failed(call, "CIDR", &args[1]);
}

FN(cidr_ip)
{
    cel_net net = *args->as.net;

    (void)n;
    net.prefix = 0;
    return net_value(call, CEL_IP, &net);
}

static cel_net masked_of(const cel_net *of)
{
    cel_net net = *of;

    for (unsigned bit = net.prefix; bit < 128; bit++)
        net.bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
    return net;
}

FN(masked)
{
    cel_net net = masked_of(args->as.net);

    (void)n;
    return net_value(call, CEL_CIDR, &net);
}

FN(is_mask)
{
    cel_net net = masked_of(args->as.net);

    UNUSED;
    return cel_of_bool(memcmp(net.bytes, args->as.net->bytes, sizeof net.bytes) == 0);
}

FN(prefix_length)
{
    UNUSED;
    return cel_of_int(args->as.net->prefix);
}

CEL_TABLE(cel_fn_net, {"ip", false, false, "s", "I", ip_string},
          {"ip.isCanonical", false, false, "s", "b", is_canonical},
          {"isIP", false, false, "s", "b", is_ip}, {"cidr", false, false, "s", "C", cidr_string},
          {"isCIDR", false, false, "s", "b", is_cidr}, {"family", true, false, "I", "i", family},
          {"isUnspecified", true, false, "I", "b", fn_is_unspecified},
          {"isLoopback", true, false, "I", "b", fn_is_loopback},
          {"isGlobalUnicast", true, false, "I", "b", fn_is_global_unicast},
          {"isLinkLocalMulticast", true, false, "I", "b", fn_is_link_local_multicast},
          {"isLinkLocalUnicast", true, false, "I", "b", fn_is_link_local_unicast},
          {"containsIP", true, false, "CI", "b", contains_ip},
          {"containsIP", true, false, "Cs", "b", contains_ip},
          {"containsCIDR", true, false, "CC", "b", contains_cidr},
          {"containsCIDR", true, false, "Cs", "b", contains_cidr},
          {"ip", true, false, "C", "I", cidr_ip}, {"masked", true, false, "C", "C", masked},
          {"isMask", true, false, "C", "b", is_mask},
          {"prefixLength", true, false, "C", "i", prefix_length});
