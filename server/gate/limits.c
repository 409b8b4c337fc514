/* server/gate/limits.c - see limits.h. One table; nothing else knows the names. */
#include "server/gate/limits.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum limit_kind { LIMIT_RATE, LIMIT_NUMBER } limit_kind;

typedef struct limit {
    const char *name;
    limit_kind kind;
    size_t offset;
    gate_rate value; /* numbers in per_s */
} limit;

#define RATE(name, member, per_s, burst)                 \
    {                                                    \
        name, LIMIT_RATE, offsetof(gate_limits, member), \
        {                                                \
            per_s, burst                                 \
        }                                                \
    }
#define NUMBER(name, member, value)                        \
    {                                                      \
        name, LIMIT_NUMBER, offsetof(gate_limits, member), \
        {                                                  \
            value, 0                                       \
        }                                                  \
    }

static const limit limits_table[] = {
    RATE("resets", resets, 100, 500),
    RATE("settings", settings, 10, 100),
    RATE("pings", pings, 20, 200),
    RATE("priorities", priorities, 10, 200),
    RATE("window-updates", window_updates, 200, 2000),
    RATE("empty-data", empty_data, 20, 200),
    RATE("other-frames", other_frames, 20, 500),
    RATE("tls-messages", tls_messages, 1, 100),
    NUMBER("streams", streams, 512),
    NUMBER("header-bytes", header_bytes, 64 * 1024),
    NUMBER("header-frames", header_frames, 16),
    NUMBER("handshake-ms", handshake_ms, 10000),
    NUMBER("preface-ms", preface_ms, 10000),
    NUMBER("header-ms", header_ms, 10000),
    NUMBER("frame-stall-ms", frame_stall_ms, 30000),
    NUMBER("slow-reader-ms", slow_reader_ms, 30000),
    NUMBER("idle-ms", idle_ms, 1800000),
    NUMBER("idle-busy-ms", idle_busy_ms, 30000),
    NUMBER("address-connections", address_connections, 1000),
    RATE("address-handshakes", address_handshakes, 100, 1000),
    RATE("address-resets", address_resets, 500, 2000),
    RATE("address-opens", address_opens, 5000, 512),
    NUMBER("address-streams", address_streams, 4096),
    NUMBER("connections", connections, 10000),
    NUMBER("held-bytes", held_bytes, 32 * 1024 * 1024),
};

static void *member_of(gate_limits *limits, const limit *limit)
{
    return (char *)limits + limit->offset;
}

void gate_limits_init(gate_limits *limits)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(limits_table); i++) {
        const limit *limit = &limits_table[i];
        if (limit->kind == LIMIT_RATE)
            *(gate_rate *)member_of(limits, limit) = limit->value;
        else
            *(uint32_t *)member_of(limits, limit) = limit->value.per_s;
    }
}

/* A number from 1 on; `*end` is what follows it. */
static bool number_read(const char *text, uint32_t *number, const char **end)
{
    char *stop;
    unsigned long parsed;

    errno = 0;
    parsed = strtoul(text, &stop, 10);
    if (!isdigit((unsigned char)*text) || errno != 0 || parsed == 0 || parsed > INT32_MAX)
        return false;
    *number = (uint32_t)parsed;
    *end = stop;
    return true;
}

static bool rate_read(const char *text, gate_rate *rate)
{
    return number_read(text, &rate->per_s, &text) && *text == ':' &&
           number_read(text + 1, &rate->burst, &text) && *text == '\0';
}

static const limit *limit_find(const char *name, size_t len)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(limits_table); i++) {
        const limit *limit = &limits_table[i];
        if (strlen(limit->name) == len && memcmp(limit->name, name, len) == 0)
            return limit;
    }
    return NULL;
}

wm_code gate_limits_set(gate_limits *limits, const char *text, wm_err *err)
{
    size_t len = strcspn(text, "=");
    const limit *limit = limit_find(text, len);
    const char *value = text + len + 1;
    uint32_t number;
    gate_rate rate;

    if (limit == NULL || text[len] == '\0')
        return wm_fail(err, WM_INVALID, "OPTION_INVALID", "\"%s\" is no limit of the gate", text);
    if (limit->kind == LIMIT_RATE) {
        if (!rate_read(value, &rate))
            return wm_fail(err, WM_INVALID, "OPTION_INVALID",
                           "%s: \"%s\" is not PER_SECOND:BURST, both from 1 on", limit->name,
                           value);
        if (rate.per_s > GATE_RATE_MAX)
            return wm_fail(err, WM_INVALID, "OPTION_INVALID",
                           "%s: %u a second is more than %d, which is the most", limit->name,
                           rate.per_s, GATE_RATE_MAX);
        *(gate_rate *)member_of(limits, limit) = rate;
        return WM_OK;
    }
    if (!number_read(value, &number, &value) || *value != '\0')
        return wm_fail(err, WM_INVALID, "OPTION_INVALID", "%s: not a number from 1 on",
                       limit->name);
    *(uint32_t *)member_of(limits, limit) = number;
    return WM_OK;
}

bool gate_limits_describe(const gate_limits *limits, size_t i, const char **name, char *value,
                          size_t size)
{
    const limit *limit;
    const void *member;

    if (i >= WM_ARRAY_LEN(limits_table))
        return false;
    limit = &limits_table[i];
    member = (const char *)limits + limit->offset;
    *name = limit->name;
    if (limit->kind == LIMIT_RATE) {
        const gate_rate *rate = member;
        snprintf(value, size, "%u:%u", rate->per_s, rate->burst);
    } else {
        snprintf(value, size, "%u", *(const uint32_t *)member);
    }
    return true;
}
