/* server/rpc/trace.c - W3C Trace Context (https://www.w3.org/TR/trace-context/), level 1.
 *
 *   traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *                version  trace id                  parent id        flags
 *
 * Pure but for rpc_trace_get(), which reads a call's metadata. Nothing is kept: most calls carry no
 * trace, and those that do are asked about it in a log line at most.
 */
#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/rpc/internal.h"

enum { TRACEPARENT_LEN = 55, TRACE_ID_AT = 3, PARENT_ID_AT = 36, FLAGS_AT = 53 };

/* Lower case only, says the specification. */
static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static bool hex_parse(const char *text, uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool is_zero(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

bool rpc_traceparent_parse(const char *text, size_t len, rpc_trace *trace)
{
    rpc_trace read = *trace;
    uint8_t version;

    if (len < TRACEPARENT_LEN || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return false;
    if (!hex_parse(text, &version, 1) || version == 0xff)
        return false;
    /* A later version may say more, after another dash. */
    if (len > TRACEPARENT_LEN && (version == 0 || text[TRACEPARENT_LEN] != '-'))
        return false;
    if (!hex_parse(text + TRACE_ID_AT, read.trace_id, sizeof(read.trace_id)) ||
        !hex_parse(text + PARENT_ID_AT, read.parent_id, sizeof(read.parent_id)) ||
        !hex_parse(text + FLAGS_AT, &read.flags, 1))
        return false;
    if (is_zero(read.trace_id, sizeof(read.trace_id)) ||
        is_zero(read.parent_id, sizeof(read.parent_id)))
        return false;
    read.has_parent = true;
    *trace = read;
    return true;
}

void rpc_trace_get(const rpc_call *call, rpc_trace *trace)
{
    size_t len;
    const char *text = rpc_metadata(call, "traceparent", &len);
    uint64_t halves[2] = {htobe64(call->queue->server->trace_seed), htobe64(call->id)};

    memset(trace, 0, sizeof(*trace));
    trace->span_id = call->id;
    if (text != NULL && rpc_traceparent_parse(text, len, trace))
        return;
    memcpy(trace->trace_id, halves, sizeof(halves));
}

static void hex_format(char *text, const uint8_t *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * n] = '\0';
}

void rpc_trace_id_format(const rpc_trace *trace, char text[RPC_TRACE_ID_SIZE])
{
    hex_format(text, trace->trace_id, sizeof(trace->trace_id));
}

void rpc_traceparent_format(const rpc_trace *trace, char text[RPC_TRACEPARENT_SIZE])
{
    char trace_id[RPC_TRACE_ID_SIZE];

    rpc_trace_id_format(trace, trace_id);
    /* Of the flags only `sampled` is known to us. */
    snprintf(text, RPC_TRACEPARENT_SIZE, "00-%s-%016" PRIx64 "-%02x", trace_id, trace->span_id,
             trace->flags & 1);
}
