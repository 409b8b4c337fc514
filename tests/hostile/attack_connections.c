/* tests/hostile/attack_connections.c - connections that only exist, or only come and go. */
#include <string.h>

#include "tests/hostile/attack.h"

enum { IDLE_MS = 1000 };

/* The first bytes of a ClientHello whose record says that 512 follow. */
static void half_hello_fill(hostile *self)
{
    static const uint8_t hello[] = {22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3};

    if (self->step++ == 0)
        wire_add(&self->peer.out, hello, sizeof(hello));
}

/* A handshake that goes on for ever, byte by byte. */
static void slow_hello_fill(hostile *self)
{
    static const uint8_t hello[] = {22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3};
    uint8_t byte = self->step < sizeof(hello) ? hello[self->step] : 0;

    self->step++;
    wire_add(&self->peer.out, &byte, 1);
}

static void half_preface_fill(hostile *self)
{
    if (self->step++ == 0)
        wire_add(&self->peer.out, "PRI * HTTP", strlen("PRI * HTTP"));
}

static void churn_fill(hostile *self)
{
    uint32_t stream = peer_request(&self->peer, NULL, 0);

    wire_message(&self->peer.out, stream, 0, NULL, 0, true);
}

const attack connection_attacks[] = {
    {.name = "idle_connections",
     .summary = "10,000 connections that say hello and nothing else",
     .connections = 10000,
     .pause_ms = IDLE_MS},
    {.name = "half_preface",
     .summary = "1,000 connections that do not end the preface",
     .connections = 1000,
     .flags = PEER_NO_PREFACE,
     .pause_ms = IDLE_MS,
     .fill = half_preface_fill},
    {.name = "unfinished_tls",
     .summary = "1,000 connections that never finish the TLS handshake",
     .connections = 1000,
     .flags = PEER_NO_PREFACE | PEER_NO_TLS,
     .pause_ms = IDLE_MS,
     .needs_tls = true,
     .fill = half_hello_fill},
    {.name = "slow_tls",
     .summary = "100 TLS handshakes byte by byte",
     .connections = 100,
     .flags = PEER_NO_PREFACE | PEER_NO_TLS,
     .pause_ms = 200,
     .needs_tls = true,
     .fill = slow_hello_fill},
    {.name = "connection_churn",
     .summary = "connects, calls once and goes, as fast as it can",
     .connections = 16,
     .pause_ms = 1,
     .closes = true,
     .fill = churn_fill},
    {0},
};
