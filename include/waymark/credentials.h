/* waymark/credentials.h - where the access tokens of calls come from.
 *
 * Threads: any thread, also the callback (see there).
 * Memory:  credentials are counted: a client keeps its own reference, so they may be freed
 *          right after waymark_client_new(). Texts are copied. Tokens are never logged.
 */
#ifndef WAYMARK_CREDENTIALS_H
#define WAYMARK_CREDENTIALS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct waymark_credentials waymark_credentials;

/* One token for ever. */
waymark_credentials *waymark_credentials_token(const char *token);

/* The token in a file, read again when the file's time or size changes (looked at once a
 * second at most). White space around it is ignored. While it cannot be read, calls end with
 * UNAUTHENTICATED and reason TOKEN_FILE_UNREADABLE. */
waymark_credentials *waymark_credentials_file(const char *path);

/* Asks fetch() for a token when one is needed: before the first call, when the last one's
 * lifetime is over, and after a call ended with UNAUTHENTICATED. One request is open at a
 * time; calls that need the token wait for it. fetch() answers with exactly one
 * waymark_token_give() or waymark_token_fail(), at once or later, from any thread. It runs
 * on the thread of a call that needs it and must not block. */
typedef struct waymark_token_request waymark_token_request;
typedef void (*waymark_token_fetch)(void *ctx, waymark_token_request *request);
waymark_credentials *waymark_credentials_callback(waymark_token_fetch fetch, void *ctx);

/* `lifetime_ms`: how long the token may be used; 0: until the server refuses it. */
void waymark_token_give(waymark_token_request *request, const char *token, int64_t lifetime_ms);
/* Ends the waiting calls with UNAUTHENTICATED, reason TOKEN_FETCH_FAILED. `why` must hold no
 * secret. */
void waymark_token_fail(waymark_token_request *request, const char *why);

/* NULL is fine. */
void waymark_credentials_free(waymark_credentials *credentials);

#ifdef __cplusplus
}
#endif
#endif
