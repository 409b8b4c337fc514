/* server/sdk/internal.h - an rpc_call under its public name. */
#ifndef WAYMARK_SERVER_SDK_INTERNAL_H
#define WAYMARK_SERVER_SDK_INTERNAL_H

#include <waymark/server.h>

#include "server/rpc/rpc.h"

static inline rpc_call *sdk_call(waymark_server_call *call)
{
    return (rpc_call *)(void *)call;
}

static inline const rpc_call *sdk_call_const(const waymark_server_call *call)
{
    return (const rpc_call *)(const void *)call;
}

static inline waymark_server_call *sdk_public(rpc_call *call)
{
    return (waymark_server_call *)(void *)call;
}

#endif
