/* server/rpc/wake.c - lets the core stop at once.
 *
 * While a peer does not read what was written for it, the core of 1.51 keeps a poller of its own on
 * an executor thread, which looks whether it is still needed only when something happens to a
 * socket, or every ten seconds. grpc_shutdown() joins that thread. When the last connections have
 * gone nothing happens to a socket any more, so a stop took up to ten seconds.
 *
 * Must be called when the server and its queues are gone, and before grpc_shutdown().
 */
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>

#include "base/grpc_security.h"
#include "server/rpc/internal.h"

/* A connected socket that is new to the core can be written: that is the event. */
void rpc_wake_core(void)
{
    grpc_channel_credentials *credentials;
    grpc_channel *channel;
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
        return; /* then it stops later */
    credentials = grpc_insecure_credentials_create();
    channel = grpc_channel_create_from_fd("stop", ends[0], credentials, NULL); /* owns its end */
    grpc_channel_credentials_release(credentials);
    close(ends[1]);
    grpc_channel_destroy(channel);
}
