/* client/credentials.c - where the access tokens of calls come from.
 *
 * A token is kept ready as the slice of a whole header value, so that a call only takes a
 * reference. Three times matter to one that a callback gave: from `renew_us` on the first call that
 * comes asks for the next one and goes on with this one; from `expires_us` on calls wait; and after
 * a failure nobody asks before `ask_us`.
 *
 * Calls that wait are tickets in a list here. Whoever finds a token missing asks for it, on its own
 * thread and outside the lock; the answer takes the whole list out and lets each call go on.
 */
#include "include/waymark/credentials.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/grpc_security.h"
#include "base/random.h"
#include "client/internal.h"

typedef struct file_stamp {
    struct timespec changed;
    off_t size;
    ino_t inode;
} file_stamp;

struct waymark_token_request {
    waymark_credentials *credentials;
};

struct waymark_credentials {
    atomic_uint refs;
    unsigned born; /* client_forks at that time */
    bool owns_core;
    pthread_mutex_t lock;
    bool has_token;
    grpc_slice token; /* "Bearer ..." */

    char *path; /* a file's */
    int64_t checked_us;
    file_stamp stamp;

    waymark_token_fetch fetch; /* a callback's */
    void *ctx;
    int64_t renew_us, expires_us, ask_us;
    int64_t force_us;      /* not before may a refusal of the server's drop the token again */
    int64_t backoff_ms;    /* after the last failure; 0: it was none */
    token_failure failure; /* the last one */
    bool fetching;
    client_ticket *waiters;
    waymark_token_request request;
};

static waymark_credentials *credentials_new(void)
{
    waymark_credentials *credentials = calloc(1, sizeof(*credentials));

    if (credentials == NULL)
        abort();
    credentials->owns_core = client_core_use(); /* slices may outlive every client */
    credentials->born = atomic_load(&client_forks);
    atomic_init(&credentials->refs, 1);
    pthread_mutex_init(&credentials->lock, NULL);
    credentials->renew_us = credentials->expires_us = INT64_MAX;
    credentials->failure = (token_failure){.code = WAYMARK_UNAUTHENTICATED,
                                           .reason = "TOKEN_FETCH_FAILED",
                                           .retry_delay_ms = -1,
                                           .message = "no token came"};
    credentials->request.credentials = credentials;
    return credentials;
}

static void drop_token(waymark_credentials *credentials)
{
    if (credentials->has_token)
        grpc_slice_unref(credentials->token);
    credentials->has_token = false;
}

/* The lock is held, or nobody else knows the credentials. False: HTTP cannot carry it, and there is
 * no token now. */
static bool set_token(waymark_credentials *credentials, const char *token, size_t length)
{
    static const char scheme[] = "Bearer ";
    grpc_slice slice;

    while (length > 0 && isspace((unsigned char)token[length - 1]))
        length--;
    while (length > 0 && isspace((unsigned char)*token))
        token++, length--;
    slice = grpc_slice_malloc(sizeof(scheme) - 1 + length);
    memcpy(GRPC_SLICE_START_PTR(slice), scheme, sizeof(scheme) - 1);
    memcpy(GRPC_SLICE_START_PTR(slice) + sizeof(scheme) - 1, token, length);
    drop_token(credentials);
    if (length == 0 || !grpc_header_nonbin_value_is_legal(slice)) {
        grpc_slice_unref(slice);
        return false;
    }
    credentials->token = slice;
    credentials->has_token = true;
    return true;
}

waymark_credentials *waymark_credentials_token(const char *token)
{
    waymark_credentials *credentials = credentials_new();

    set_token(credentials, token, strlen(token));
    return credentials;
}

waymark_credentials *waymark_credentials_file(const char *path)
{
    waymark_credentials *credentials = credentials_new();

    credentials->path = strdup(path);
    if (credentials->path == NULL)
        abort();
    return credentials;
}

waymark_credentials *waymark_credentials_callback(waymark_token_fetch fetch, void *ctx)
{
    waymark_credentials *credentials = credentials_new();

    credentials->fetch = fetch;
    credentials->ctx = ctx;
    return credentials;
}

waymark_credentials *credentials_ref(waymark_credentials *credentials)
{
    if (credentials != NULL)
        atomic_fetch_add_explicit(&credentials->refs, 1, memory_order_relaxed);
    return credentials;
}

void waymark_credentials_free(waymark_credentials *credentials)
{
    if (credentials == NULL || CLIENT_IS_STALE(credentials->born) ||
        atomic_fetch_sub_explicit(&credentials->refs, 1, memory_order_acq_rel) != 1)
        return;
    assert(credentials->waiters == NULL);
    drop_token(credentials);
    free(credentials->path);
    pthread_mutex_destroy(&credentials->lock);
    if (credentials->owns_core)
        grpc_shutdown();
    free(credentials);
}

/* ---- files ---- */

static bool read_token(waymark_credentials *credentials, int fd)
{
    char *text = malloc(CREDENTIALS_TOKEN_SIZE_MAX);
    ssize_t size = 0, got;
    bool is_token;

    if (text == NULL)
        abort();
    while (size < CREDENTIALS_TOKEN_SIZE_MAX) {
        got = read(fd, text + size, (size_t)(CREDENTIALS_TOKEN_SIZE_MAX - size));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size += got;
    }
    is_token = set_token(credentials, text, (size_t)size);
    memset(text, 0, (size_t)size);
    free(text);
    return is_token;
}

/* Reads the file again if it changed. What cannot be read is forgotten. */
static void check_file(waymark_credentials *credentials)
{
    int64_t now = wm_monotonic_us();
    struct stat stat;
    file_stamp stamp;
    int fd;

    if (credentials->checked_us != 0 &&
        now - credentials->checked_us < CREDENTIALS_CHECK_MS * INT64_C(1000) &&
        credentials->has_token)
        return;
    credentials->checked_us = now;

    fd = open(credentials->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0) {
        drop_token(credentials);
    } else {
        stamp = (file_stamp){.changed = stat.st_mtim, .size = stat.st_size, .inode = stat.st_ino};
        if (!credentials->has_token || stamp.changed.tv_sec != credentials->stamp.changed.tv_sec ||
            stamp.changed.tv_nsec != credentials->stamp.changed.tv_nsec ||
            stamp.size != credentials->stamp.size || stamp.inode != credentials->stamp.inode) {
            if (!read_token(credentials, fd))
                drop_token(credentials);
            credentials->stamp = stamp;
        }
    }
    if (fd >= 0)
        close(fd);
}

/* ---- waiting; the lock is held ---- */

static void enlist(waymark_credentials *credentials, client_ticket *ticket)
{
    ticket->prev = NULL;
    ticket->next = credentials->waiters;
    if (ticket->next != NULL)
        ticket->next->prev = ticket;
    credentials->waiters = ticket;
    ticket->listed = true;
}

static void delist(client_ticket *ticket)
{
    if (ticket->prev != NULL)
        ticket->prev->next = ticket->next;
    else
        ticket->credentials->waiters = ticket->next;
    if (ticket->next != NULL)
        ticket->next->prev = ticket->prev;
    ticket->listed = false;
}

void credentials_forget(client_ticket *ticket)
{
    waymark_credentials *credentials = ticket->credentials;
    bool listed;

    if (credentials == NULL)
        return;
    pthread_mutex_lock(&credentials->lock);
    listed = ticket->listed;
    if (listed)
        delist(ticket);
    pthread_mutex_unlock(&credentials->lock);
    if (listed)
        client_ticket_unref(ticket);
}

/* ---- asking ---- */

static void static_failure(const waymark_credentials *credentials, token_failure *failure)
{
    bool file = credentials->path != NULL;

    failure->code = WAYMARK_UNAUTHENTICATED;
    failure->reason = file ? "TOKEN_FILE_UNREADABLE" : "TOKEN_INVALID";
    failure->retry_delay_ms = -1;
    snprintf(failure->message, sizeof(failure->message), "%s",
             file ? "the token file cannot be read or holds no token"
                  : "the token is empty or has characters that HTTP does not allow");
}

/* What a call that comes now gets. Sets `ask` when it is the one to ask; the lock is held. */
static token_answer look(waymark_credentials *credentials, grpc_slice *token,
                         token_failure *failure, bool *ask)
{
    int64_t now_us = credentials->fetch != NULL ? wm_monotonic_us() : 0;

    *ask = false;
    if (credentials->path != NULL)
        check_file(credentials);
    if (credentials->has_token && credentials->expires_us != INT64_MAX &&
        now_us >= credentials->expires_us)
        drop_token(credentials);
    if (credentials->fetch != NULL && !credentials->fetching && now_us >= credentials->ask_us &&
        (!credentials->has_token || now_us >= credentials->renew_us))
        *ask = credentials->fetching = true;

    if (credentials->has_token) {
        *token = grpc_slice_ref(credentials->token);
        return TOKEN_READY;
    }
    if (credentials->fetching)
        return TOKEN_AWAITED;
    if (credentials->fetch == NULL) {
        static_failure(credentials, failure);
    } else {
        *failure = credentials->failure;
        failure->retry_delay_ms = (credentials->ask_us - now_us + 999) / 1000;
    }
    return TOKEN_REFUSED;
}

/* The call is parked; is there still something to wait for? The lock is held. */
static token_answer look_again(waymark_credentials *credentials, client_ticket *ticket,
                               grpc_slice *token, token_failure *failure)
{
    if (credentials->fetching) {
        enlist(credentials, ticket);
        /* Whoever broke the parking before this found it in no list. */
        if (atomic_load(&ticket->call) != NULL)
            return TOKEN_AWAITED;
        delist(ticket);
        return TOKEN_CANCELLED;
    }
    if (credentials->has_token) {
        *token = grpc_slice_ref(credentials->token);
        return TOKEN_READY;
    }
    *failure = credentials->failure;
    return TOKEN_REFUSED;
}

/* Parks the call until the token is there. An answer that came meanwhile is taken at once. */
static token_answer wait_for_token(waymark_credentials *credentials, client_call *call,
                                   grpc_slice *token, token_failure *failure)
{
    client_ticket *ticket =
        client_park(call, PARKED_UNTIL_DEADLINE, call->deadline_us, credentials);
    token_answer answer;

    if (ticket == NULL)
        return TOKEN_CANCELLED;
    pthread_mutex_lock(&credentials->lock);
    answer = look_again(credentials, ticket, token, failure);
    pthread_mutex_unlock(&credentials->lock);
    if (answer == TOKEN_AWAITED)
        return answer;
    /* Not in the list, so the ticket's end is ours; the call may be somebody else's by now. */
    if (client_unpark(ticket) != NULL)
        return answer;
    if (answer == TOKEN_READY)
        grpc_slice_unref(*token);
    return TOKEN_AWAITED;
}

token_answer credentials_get(waymark_credentials *credentials, client_call *call, grpc_slice *token,
                             token_failure *failure)
{
    token_answer answer;
    bool ask;

    pthread_mutex_lock(&credentials->lock);
    answer = look(credentials, token, failure, &ask);
    if (ask) /* the request keeps the credentials alive until it is answered */
        credentials_ref(credentials);
    pthread_mutex_unlock(&credentials->lock);

    if (answer == TOKEN_AWAITED) {
        /* Once it is parked the call may end, and its client with the last other reference. */
        credentials_ref(credentials);
        answer = wait_for_token(credentials, call, token, failure);
        waymark_credentials_free(credentials);
    }
    /* Last, as the answer may come from inside; by then the call may be over. */
    if (ask)
        credentials->fetch(credentials->ctx, &credentials->request);
    return answer;
}

bool credentials_renew(const waymark_credentials *credentials)
{
    return credentials->fetch != NULL || credentials->path != NULL;
}

bool credentials_refused(waymark_credentials *credentials, const grpc_slice *token)
{
    int64_t now_us = wm_monotonic_us();
    bool other;

    pthread_mutex_lock(&credentials->lock);
    if (credentials->path != NULL) {
        credentials->checked_us = 0; /* look at the file at once */
        check_file(credentials);
    }
    other = !credentials->has_token || !grpc_slice_eq(credentials->token, *token);
    /* A server that refuses whatever it gets must not make us flood the issuer. */
    if (!other && credentials->fetch != NULL && now_us >= credentials->force_us) {
        credentials->force_us = now_us + CREDENTIALS_FORCE_MS * INT64_C(1000);
        drop_token(credentials);
        other = true;
    }
    pthread_mutex_unlock(&credentials->lock);
    return other;
}

/* ---- answering ---- */

/* Ends the open request; the lock is held. The waiters are the caller's to tell. */
static client_ticket *take_waiters(waymark_credentials *credentials)
{
    client_ticket *waiters = credentials->waiters;

    assert(credentials->fetching && "a token request is answered once");
    for (client_ticket *ticket = waiters; ticket != NULL; ticket = ticket->next)
        ticket->listed = false;
    credentials->waiters = NULL;
    credentials->fetching = false;
    return waiters;
}

static void tell_waiters(client_ticket *waiters, const grpc_slice *token,
                         const token_failure *failure)
{
    client_ticket *next;
    client_call *call;

    for (; waiters != NULL; waiters = next) {
        next = waiters->next; /* the ticket is given up here */
        call = client_unpark(waiters);
        if (call == NULL)
            continue;
        client_call_token(call, failure == NULL ? grpc_slice_ref(*token) : grpc_empty_slice(),
                          failure);
    }
}

/* When to renew a token: a tenth of its life before its end, at most a minute, and up to a tenth
 * of that earlier, so that programs that started together do not come together. */
static void set_lifetime(waymark_credentials *credentials, int64_t lifetime_ms)
{
    int64_t now_us = wm_monotonic_us(), early_ms = lifetime_ms / 10;

    credentials->renew_us = credentials->expires_us = INT64_MAX;
    if (lifetime_ms <= 0 || lifetime_ms > CLIENT_TIMEOUT_MAX_MS)
        return;
    if (early_ms > CREDENTIALS_RENEW_MAX_MS)
        early_ms = CREDENTIALS_RENEW_MAX_MS;
    early_ms += (int64_t)wm_random_below((uint64_t)early_ms / 10 + 1);
    credentials->expires_us = now_us + lifetime_ms * 1000;
    credentials->renew_us = credentials->expires_us - early_ms * 1000;
}

/* The next time to ask, and what to say until then; the lock is held. */
static void set_failure(waymark_credentials *credentials, const token_failure *failure)
{
    int64_t wait_ms = credentials->backoff_ms * 2;

    if (wait_ms < CREDENTIALS_BACKOFF_MS)
        wait_ms = CREDENTIALS_BACKOFF_MS;
    if (wait_ms > CREDENTIALS_BACKOFF_MAX_MS)
        wait_ms = CREDENTIALS_BACKOFF_MAX_MS;
    credentials->backoff_ms = wait_ms;
    wait_ms -= (int64_t)wm_random_below((uint64_t)wait_ms / 2);
    if (wait_ms < failure->retry_delay_ms)
        wait_ms = failure->retry_delay_ms;
    credentials->failure = *failure;
    credentials->ask_us = wm_monotonic_us() + wait_ms * 1000;
}

static void fail_request(waymark_token_request *request, const token_failure *failure)
{
    waymark_credentials *credentials = request->credentials;
    client_ticket *waiters;

    if (CLIENT_IS_STALE(credentials->born))
        return;
    pthread_mutex_lock(&credentials->lock);
    set_failure(credentials, failure);
    waiters = take_waiters(credentials);
    pthread_mutex_unlock(&credentials->lock);

    tell_waiters(waiters, NULL, failure);
    waymark_credentials_free(credentials);
}

void waymark_token_fail(waymark_token_request *request, const char *why)
{
    token_failure failure = {
        .code = WAYMARK_UNAUTHENTICATED, .reason = "TOKEN_FETCH_FAILED", .retry_delay_ms = -1};

    snprintf(failure.message, sizeof(failure.message), "%s", why);
    fail_request(request, &failure);
}

void waymark_token_unavailable(waymark_token_request *request, const char *why,
                               int64_t retry_after_ms)
{
    token_failure failure = {.code = WAYMARK_UNAVAILABLE,
                             .reason = "TOKEN_ISSUER_UNAVAILABLE",
                             .retry_delay_ms = retry_after_ms > 0 ? retry_after_ms : -1};

    if (failure.retry_delay_ms > CLIENT_TIMEOUT_MAX_MS)
        failure.retry_delay_ms = CLIENT_TIMEOUT_MAX_MS;
    snprintf(failure.message, sizeof(failure.message), "%s", why);
    fail_request(request, &failure);
}

void waymark_token_give(waymark_token_request *request, const char *token, int64_t lifetime_ms)
{
    waymark_credentials *credentials = request->credentials;
    client_ticket *waiters;
    grpc_slice slice;

    if (CLIENT_IS_STALE(credentials->born))
        return;
    pthread_mutex_lock(&credentials->lock);
    if (!set_token(credentials, token, strlen(token))) {
        pthread_mutex_unlock(&credentials->lock);
        waymark_token_fail(request, "what was fetched is empty or no token");
        return;
    }
    set_lifetime(credentials, lifetime_ms);
    credentials->backoff_ms = credentials->ask_us = 0;
    slice = grpc_slice_ref(credentials->token);
    waiters = take_waiters(credentials);
    pthread_mutex_unlock(&credentials->lock);

    tell_waiters(waiters, &slice, NULL);
    grpc_slice_unref(slice);
    waymark_credentials_free(credentials);
}
