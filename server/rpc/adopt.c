/* server/rpc/adopt.c - connections that the gate has accepted, and who is at the other end.
 *
 * The core calls the peer of such a connection "fd:N", N being the number of the descriptor that it
 * was given. What the gate knows of the peer is kept under N. A number is free again as soon as
 * the core closes it, while calls of the dead connection may still be on their way to a handler;
 * these must never be taken for calls of the next one. So:
 *
 * - numbers are handed out in turn over a wide range, not the lowest first;
 * - none is used again before its connection has been closed for ADOPT_REST_US;
 * - once its connection is closed a call gets no identity at all, only the name of the peer.
 *
 * Certificates of clients that come to the core's own TLS listeners are read here too.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <grpc/grpc_posix.h>
#include <grpc/support/alloc.h>
#include <grpc/support/string_util.h>

#include "base/clock.h"
#include "base/grpc_security.h"
#include "server/rpc/internal.h"

enum {
    ADOPT_NUMBERS_MAX = 65536,
    /* Below are those that the rest of the process opens, lowest first. */
    ADOPT_NUMBER_FIRST = 512,
    ADOPT_TRIES = 64, /* others may hold numbers in our range */
    /* Far longer than a call of a dead connection waits for its slot. With 65,000 numbers it allows
     * 6,500 new connections a second. */
    ADOPT_REST_US = 10 * 1000000
};

typedef struct adopted {
    char *peer;
    rpc_identity *identity; /* NULL: none */
    int64_t closed_us;      /* 0: open */
} adopted;

struct rpc_adoption {
    uv_mutex_t mutex; /* gate and queue threads */
    grpc_server_credentials *credentials;
    adopted *entries; /* by number */
    int end;          /* numbers are below */
    int next;
};

/* ---- identities ---- */

static char **texts_copy(char *const *texts, size_t n)
{
    char **copy = calloc(n + 1, sizeof(*copy));

    if (copy == NULL)
        abort();
    for (size_t i = 0; i < n; i++)
        if ((copy[i] = strdup(texts[i])) == NULL)
            abort();
    return copy;
}

static rpc_identity *identity_copy(const rpc_identity *identity)
{
    rpc_identity *copy = calloc(1, sizeof(*copy));

    if (copy == NULL || (copy->common_name = strdup(identity->common_name)) == NULL)
        abort();
    copy->n_dns = identity->n_dns;
    copy->dns = texts_copy(identity->dns, identity->n_dns);
    copy->n_uris = identity->n_uris;
    copy->uris = texts_copy(identity->uris, identity->n_uris);
    copy->n_emails = identity->n_emails;
    copy->emails = texts_copy(identity->emails, identity->n_emails);
    return copy;
}

static void texts_free(char **texts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(texts[i]);
    free(texts);
}

void rpc_identity_free(rpc_identity *identity)
{
    if (identity == NULL)
        return;
    texts_free(identity->dns, identity->n_dns);
    texts_free(identity->uris, identity->n_uris);
    texts_free(identity->emails, identity->n_emails);
    free(identity->common_name);
    free(identity);
}

static char **texts_arena(wm_arena *arena, char *const *texts, size_t n)
{
    char **copy = wm_arena_alloc(arena, (n + 1) * sizeof(*copy));

    for (size_t i = 0; i < n; i++)
        copy[i] = wm_arena_strdup(arena, texts[i]);
    return copy;
}

static const rpc_identity *identity_arena(wm_arena *arena, const rpc_identity *identity)
{
    rpc_identity *copy = WM_NEW(arena, rpc_identity);

    copy->common_name = wm_arena_strdup(arena, identity->common_name);
    copy->n_dns = identity->n_dns;
    copy->dns = texts_arena(arena, identity->dns, identity->n_dns);
    copy->n_uris = identity->n_uris;
    copy->uris = texts_arena(arena, identity->uris, identity->n_uris);
    copy->n_emails = identity->n_emails;
    copy->emails = texts_arena(arena, identity->emails, identity->n_emails);
    return copy;
}

/* ---- the table ---- */

void rpc_adoption_init(rpc_server *server)
{
    rpc_adoption *adoption = calloc(1, sizeof(*adoption));

    if (adoption == NULL || uv_mutex_init(&adoption->mutex) != 0)
        abort();
    adoption->credentials = grpc_insecure_server_credentials_create();
    server->adoption = adoption;
}

/* With the first connection, when the limit of open files is what it will be. */
static void entries_init(rpc_adoption *adoption)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur > ADOPT_NUMBERS_MAX)
        files.rlim_cur = ADOPT_NUMBERS_MAX;
    adoption->end = (int)files.rlim_cur;
    adoption->next = ADOPT_NUMBER_FIRST;
    adoption->entries = calloc((size_t)adoption->end, sizeof(*adoption->entries));
    if (adoption->entries == NULL)
        abort();
}

static void entry_clear(adopted *entry)
{
    free(entry->peer);
    rpc_identity_free(entry->identity);
    *entry = (adopted){0};
}

void rpc_adoption_free(rpc_server *server)
{
    rpc_adoption *adoption = server->adoption;

    if (adoption == NULL)
        return;
    for (int i = 0; adoption->entries != NULL && i < adoption->end; i++)
        entry_clear(&adoption->entries[i]);
    free(adoption->entries);
    grpc_server_credentials_release(adoption->credentials);
    uv_mutex_destroy(&adoption->mutex);
    free(adoption);
}

static bool number_is_rested(const rpc_adoption *adoption, int number)
{
    const adopted *entry = &adoption->entries[number];

    return entry->peer == NULL ||
           (entry->closed_us != 0 && wm_monotonic_us() - entry->closed_us >= ADOPT_REST_US);
}

/* Goes to the next number that has rested, once around at most. */
static bool number_seek(rpc_adoption *adoption)
{
    for (int seen = ADOPT_NUMBER_FIRST; seen <= adoption->end; seen++) {
        if (adoption->next >= adoption->end)
            adoption->next = ADOPT_NUMBER_FIRST;
        if (adoption->next < adoption->end && number_is_rested(adoption, adoption->next))
            return true;
        adoption->next++;
    }
    return false;
}

/* A second descriptor for `fd` under the next number that has rested; -1 when there is none. */
static int number_take(rpc_adoption *adoption, int fd)
{
    for (int tries = 0; tries < ADOPT_TRIES && number_seek(adoption); tries++) {
        int number = fcntl(fd, F_DUPFD_CLOEXEC, adoption->next);

        if (number < 0) { /* none is free up to the end: again from the beginning */
            adoption->next = adoption->end;
            continue;
        }
        adoption->next = number + 1;
        if (number < adoption->end && number_is_rested(adoption, number))
            return number;
        close(number);
    }
    return -1;
}

static int number_claim(rpc_adoption *adoption, int fd, const char *peer,
                        const rpc_identity *identity)
{
    int number;

    uv_mutex_lock(&adoption->mutex);
    if (adoption->entries == NULL)
        entries_init(adoption);
    number = number_take(adoption, fd);
    if (number >= 0) {
        adopted *entry = &adoption->entries[number];
        entry_clear(entry);
        if ((entry->peer = strdup(peer)) == NULL)
            abort();
        if (identity != NULL)
            entry->identity = identity_copy(identity);
    }
    uv_mutex_unlock(&adoption->mutex);
    close(fd);
    return number;
}

int rpc_server_adopt(rpc_server *server, int fd, const char *peer, const rpc_identity *identity)
{
    int number = number_claim(server->adoption, fd, peer, identity);

    if (number >= 0)
        grpc_server_add_channel_from_fd(server->core, number, server->adoption->credentials);
    return number;
}

void rpc_server_abandon(rpc_server *server, int number)
{
    adopted *entry = &server->adoption->entries[number];

    uv_mutex_lock(&server->adoption->mutex);
    entry->closed_us = wm_monotonic_us();
    rpc_identity_free(entry->identity);
    entry->identity = NULL;
    uv_mutex_unlock(&server->adoption->mutex);
}

/* ---- what a call asks ---- */

/* Locks the table and answers the entry that a peer of the core means; NULL (and unlocked) when
 * it is none of ours. */
static adopted *entry_lock(rpc_adoption *adoption, const char *core_peer)
{
    int number;

    if (core_peer == NULL || strncmp(core_peer, "fd:", 3) != 0)
        return NULL;
    number = atoi(core_peer + 3);
    uv_mutex_lock(&adoption->mutex);
    if (adoption->entries != NULL && number >= 0 && number < adoption->end &&
        adoption->entries[number].peer != NULL)
        return &adoption->entries[number];
    uv_mutex_unlock(&adoption->mutex);
    return NULL;
}

char *rpc_adoption_peer(rpc_server *server, char *core_peer)
{
    adopted *entry = entry_lock(server->adoption, core_peer);

    if (entry == NULL)
        return core_peer;
    gpr_free(core_peer);
    core_peer = gpr_strdup(entry->peer);
    uv_mutex_unlock(&server->adoption->mutex);
    return core_peer;
}

/* All values of a property of the core's security context. */
static size_t property_read(const grpc_auth_context *context, const char *name, wm_arena *arena,
                            char ***texts)
{
    grpc_auth_property_iterator values = grpc_auth_context_find_properties_by_name(context, name);
    const grpc_auth_property *value;
    size_t n = 0, i = 0;

    while (grpc_auth_property_iterator_next(&values) != NULL)
        n++;
    *texts = wm_arena_alloc(arena, (n + 1) * sizeof(**texts));
    values = grpc_auth_context_find_properties_by_name(context, name);
    while ((value = grpc_auth_property_iterator_next(&values)) != NULL && i < n)
        (*texts)[i++] = wm_arena_strndup(arena, value->value, value->value_length);
    return n;
}

static const rpc_identity *identity_of_core(rpc_call *call)
{
    grpc_auth_context *context = grpc_call_auth_context(call->core);
    rpc_identity *identity = NULL;
    char **names;

    if (context == NULL)
        return NULL;
    if (grpc_auth_context_peer_is_authenticated(context)) {
        identity = WM_NEW(&call->arena, rpc_identity);
        identity->common_name =
            property_read(context, GRPC_X509_CN_PROPERTY_NAME, &call->arena, &names) > 0 ? names[0]
                                                                                         : "";
        identity->n_dns =
            property_read(context, GRPC_PEER_DNS_PROPERTY_NAME, &call->arena, &identity->dns);
        identity->n_uris =
            property_read(context, GRPC_PEER_URI_PROPERTY_NAME, &call->arena, &identity->uris);
        identity->n_emails =
            property_read(context, GRPC_PEER_EMAIL_PROPERTY_NAME, &call->arena, &identity->emails);
    }
    grpc_auth_context_release(context);
    return identity;
}

const rpc_identity *rpc_peer_identity(rpc_call *call)
{
    rpc_adoption *adoption = call->queue->server->adoption;
    char *core_peer = grpc_call_get_peer(call->core);
    const rpc_identity *identity = NULL;
    adopted *entry = entry_lock(adoption, core_peer);

    if (entry == NULL) {
        identity = identity_of_core(call);
    } else {
        if (entry->identity != NULL && entry->closed_us == 0)
            identity = identity_arena(&call->arena, entry->identity);
        uv_mutex_unlock(&adoption->mutex);
    }
    gpr_free(core_peer);
    return identity;
}
