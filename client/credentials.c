/* client/credentials.c - where the access tokens of calls come from.
 *
 * A token is kept ready as the slice of a whole header value, so that a call only takes a
 * reference. Whoever finds it missing or too old becomes a waiter; the first waiter's thread
 * calls fetch(). Waiters are told outside the lock.
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
    pthread_mutex_t lock;
    bool has_token;
    grpc_slice token; /* "Bearer ..." */
    int64_t expires_us;

    char *path; /* a file's */
    int64_t checked_us;
    file_stamp stamp;

    waymark_token_fetch fetch; /* a callback's */
    void *ctx;
    bool fetching;
    token_waiter *waiters;
    waymark_token_request request;
};

static waymark_credentials *credentials_new(void)
{
    waymark_credentials *credentials = calloc(1, sizeof(*credentials));

    if (credentials == NULL)
        abort();
    grpc_init(); /* slices may be made before there is a client, and outlive it */
    atomic_init(&credentials->refs, 1);
    pthread_mutex_init(&credentials->lock, NULL);
    credentials->expires_us = INT64_MAX;
    credentials->request.credentials = credentials;
    return credentials;
}

/* The lock is held, or nobody else knows the credentials. */
static void set_token(waymark_credentials *credentials, const char *token, size_t length)
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
    if (credentials->has_token)
        grpc_slice_unref(credentials->token);
    credentials->token = slice;
    credentials->has_token = true;
}

static void drop_token(waymark_credentials *credentials)
{
    if (credentials->has_token)
        grpc_slice_unref(credentials->token);
    credentials->has_token = false;
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
    if (credentials == NULL ||
        atomic_fetch_sub_explicit(&credentials->refs, 1, memory_order_acq_rel) != 1)
        return;
    assert(credentials->waiters == NULL);
    drop_token(credentials);
    free(credentials->path);
    pthread_mutex_destroy(&credentials->lock);
    free(credentials);
    grpc_shutdown();
}

/* ---- files ---- */

static bool read_token(waymark_credentials *credentials, int fd)
{
    char *text = malloc(CREDENTIALS_TOKEN_SIZE_MAX);
    ssize_t size = 0, got;

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
    if (size > 0)
        set_token(credentials, text, (size_t)size);
    memset(text, 0, (size_t)size);
    free(text);
    return size > 0;
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

/* ---- waiting ---- */

static void add_waiter(waymark_credentials *credentials, token_waiter *waiter)
{
    waiter->prev = NULL;
    waiter->next = credentials->waiters;
    if (waiter->next != NULL)
        waiter->next->prev = waiter;
    credentials->waiters = waiter;
}

token_answer credentials_get(waymark_credentials *credentials, token_waiter *waiter,
                             grpc_slice *token, const char **reason, const char **why)
{
    token_answer answer = TOKEN_READY;
    bool fetch = false;

    pthread_mutex_lock(&credentials->lock);
    if (credentials->path != NULL)
        check_file(credentials);
    if (credentials->has_token && credentials->expires_us != INT64_MAX &&
        wm_monotonic_us() >= credentials->expires_us)
        drop_token(credentials);

    if (credentials->has_token) {
        *token = grpc_slice_ref(credentials->token);
    } else if (credentials->fetch != NULL) {
        answer = TOKEN_AWAITED;
        add_waiter(credentials, waiter);
        fetch = !credentials->fetching;
        credentials->fetching = true;
    } else {
        answer = TOKEN_REFUSED;
        *reason = "TOKEN_FILE_UNREADABLE";
        *why = "the token file cannot be read or is empty";
    }
    pthread_mutex_unlock(&credentials->lock);

    if (fetch) {
        /* The request keeps the credentials alive until it is answered. */
        credentials_ref(credentials);
        credentials->fetch(credentials->ctx, &credentials->request);
    }
    return answer;
}

bool credentials_forget(waymark_credentials *credentials, token_waiter *waiter)
{
    token_waiter *other;

    pthread_mutex_lock(&credentials->lock);
    for (other = credentials->waiters; other != NULL && other != waiter; other = other->next)
        ;
    if (other != NULL) {
        if (waiter->prev != NULL)
            waiter->prev->next = waiter->next;
        else
            credentials->waiters = waiter->next;
        if (waiter->next != NULL)
            waiter->next->prev = waiter->prev;
    }
    pthread_mutex_unlock(&credentials->lock);
    return other != NULL;
}

bool credentials_has_waiters(waymark_credentials *credentials)
{
    bool has;

    pthread_mutex_lock(&credentials->lock);
    has = credentials->waiters != NULL;
    pthread_mutex_unlock(&credentials->lock);
    return has;
}

void credentials_refused(waymark_credentials *credentials, const grpc_slice *token)
{
    pthread_mutex_lock(&credentials->lock);
    if (credentials->fetch != NULL && credentials->has_token &&
        grpc_slice_eq(credentials->token, *token))
        drop_token(credentials);
    if (credentials->path != NULL)
        credentials->checked_us = 0; /* look at the file at once */
    pthread_mutex_unlock(&credentials->lock);
}

/* Ends the open request; the lock is held. The waiters are the caller's to tell. */
static token_waiter *take_waiters(waymark_credentials *credentials)
{
    token_waiter *waiters = credentials->waiters;

    assert(credentials->fetching && "a token request is answered once");
    credentials->waiters = NULL;
    credentials->fetching = false;
    return waiters;
}

void waymark_token_give(waymark_token_request *request, const char *token, int64_t lifetime_ms)
{
    waymark_credentials *credentials = request->credentials;
    token_waiter *waiters, *next;
    grpc_slice slice;

    pthread_mutex_lock(&credentials->lock);
    set_token(credentials, token, strlen(token));
    credentials->expires_us = lifetime_ms > 0 ? wm_monotonic_us() + lifetime_ms * 1000 : INT64_MAX;
    slice = grpc_slice_ref(credentials->token);
    waiters = take_waiters(credentials);
    pthread_mutex_unlock(&credentials->lock);

    for (; waiters != NULL; waiters = next) {
        next = waiters->next; /* the waiter is gone after ready() */
        waiters->ready(waiters, grpc_slice_ref(slice), NULL, NULL);
    }
    grpc_slice_unref(slice);
    waymark_credentials_free(credentials);
}

void waymark_token_fail(waymark_token_request *request, const char *why)
{
    waymark_credentials *credentials = request->credentials;
    token_waiter *waiters, *next;

    pthread_mutex_lock(&credentials->lock);
    waiters = take_waiters(credentials);
    pthread_mutex_unlock(&credentials->lock);

    for (; waiters != NULL; waiters = next) {
        next = waiters->next;
        waiters->ready(waiters, grpc_empty_slice(), "TOKEN_FETCH_FAILED", why);
    }
    waymark_credentials_free(credentials);
}
