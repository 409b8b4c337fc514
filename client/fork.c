/* client/fork.c - what becomes of the SDK in the child of a fork.
 *
 * fork() copies the memory and none of the threads, and locks that another thread held stay
 * locked. So nothing from before can be used, not even freed; what can be done is to say so instead
 * of hanging. The child counts its forks, and whatever was made under an earlier count is stale:
 * every function looks before it touches a lock.
 *
 * The gRPC core's own threads are gone as well. Only when nobody used it at the fork may the child
 * start it anew.
 */
#include "client/internal.h"

atomic_uint client_forks;
static atomic_bool core_is_used, core_lost;

const waymark_status client_forked_status = {
    .code = WAYMARK_FAILED_PRECONDITION,
    .message = "this process was forked after the client was made",
    .reason = "CLIENT_FORKED",
    .domain = "waymark.client",
    .retry_delay_ms = -1};

/* In the parent, where the core's locks work; a server of the process counts too. */
static void before_fork(void)
{
    atomic_store(&core_is_used, grpc_is_initialized() != 0);
}

static void in_child(void)
{
    atomic_fetch_add(&client_forks, 1);
    if (atomic_load(&core_is_used))
        atomic_store(&core_lost, true);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, NULL, in_child);
}

bool client_core_use(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, watch_forks);
    if (atomic_load(&core_lost))
        return false;
    grpc_init();
    return true;
}
